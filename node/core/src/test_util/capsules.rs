//! Capsules for tests, from text, packed and signed as a publisher would.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, clippy::missing_panics_doc, reason = "helpers of tests")]

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use capmesh_blob::geometry::DEFAULT_CHUNK_LOG2;
use capmesh_blob::{Geometry, lay_out};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Actuator, Capsule, Needs, Port, StateLayout};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{BlobRef, CapsuleName, Digest, List, Manifest, Name, Schema, Tag, Unit};

/// A capsule as a publisher hands it out.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The signed manifest.
    pub manifest: Vec<u8>,
    /// The module.
    pub blob: BlobRef,
    /// The module with its pages behind it, as peers store it.
    pub stored: Vec<u8>,
    /// Its pieces.
    pub geometry: Geometry,
}

impl Packed {
    /// Its module.
    #[must_use]
    pub fn module(&self) -> &[u8] {
        &self.stored[..self.blob.size as usize]
    }

    /// The digest of its manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Manifest::digest(&self.manifest)
    }

    /// Its pieces, each with its place.
    pub fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.geometry.pieces()).map(|piece| {
            let at = self.geometry.offset(piece);
            let len = usize::from(self.geometry.len(piece));
            (at, &self.stored[at as usize..][..len])
        })
    }
}

/// What modules of text begin with: imports, and a page of memory.
pub const IMPORTS: &str = r#"
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (import "capmesh1" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 256 256 (pagesize 1))"#;

/// Publishes the numbers from 1 to `count`, one every `micros`.
#[must_use]
pub fn source(count: u32, micros: u64) -> String {
    format!(
        r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const {micros}))))
    (func (export "timer") (param i32)
        (if (i64.ge_u (i64.load (i32.const 0)) (i64.const {count})) (then (return)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (drop (call $set_timer (i32.const 0) (i64.const {micros})))))"#
    )
}

/// Publishes the sum of what it has had; does something else first.
#[must_use]
pub fn adder(first: &str) -> String {
    format!(
        r#"(module {IMPORTS}
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
        {first}
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load (i32.const 8))))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#
    )
}

/// Sets its first actuator to the number of messages it has had, and its second to what they and their
/// order give ([`hash`]).
#[must_use]
pub fn sink() -> String {
    format!(
        r#"(module {IMPORTS}
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 16) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (i64.store (i32.const 8) (i64.rem_u
            (i64.add (i64.mul (i64.load (i32.const 8)) (i64.const 31)) (i64.load (i32.const 16)))
            (i64.const 1000000007)))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0)))))
        (drop (call $actuate (i32.const 1) (f64.convert_i64_u (i64.load (i32.const 8)))))))"#
    )
}

/// What a [`sink`] makes of these messages.
pub fn hash(messages: impl Iterator<Item = u64>) -> u64 {
    messages.fold(0, |hash, message| (hash.wrapping_mul(31).wrapping_add(message)) % 1_000_000_007)
}

/// What a [`sink`]'s actuators end at when every message of a [`source`] has passed an [`adder`] once, in
/// order.
#[must_use]
pub fn expected(count: u32) -> (f64, f64) {
    let sums = (1..=u64::from(count)).scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    });
    (f64::from(count), hash(sums) as f64)
}

/// The schema of everything here: one number.
#[must_use]
pub fn number() -> Schema<'static> {
    let name = |name| Name::new(name).unwrap();
    let field = Field { name: name("n"), ty: FieldType::U64, unit: Unit::None, optional: false };
    let fields: &'static [_] = vec![field].leak();
    Schema::new(name("number"), 1, List::new(fields).unwrap()).unwrap()
}

/// Packs and signs a version of a capsule, which is newer the larger it is. `ports` are its inputs, outputs
/// and actuators; their one schema has number 0. `change` has the last word on what the manifest says.
pub fn pack(
    name: &str,
    version: u16,
    module: Vec<u8>,
    ports: [&[&str]; 3],
    publisher: &SigningKey,
    change: impl FnOnce(Capsule<'static>) -> Capsule<'static>,
) -> Packed {
    let size = module.len() as u32;
    // What is small has small chunks, so that it has several, too.
    let chunk_log2 = if size < 8 << 10 { 8 } else { DEFAULT_CHUNK_LOG2 };
    let geometry = Geometry::new(size, chunk_log2).unwrap();
    let mut stored = module;
    stored.resize(geometry.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, chunk_log2).unwrap();
    let [inputs, outputs, actuators] = ports.map(names);
    let port = |name: &Name<'static>| Port { name: *name, schema: 0 };
    let ports = |names: Vec<_>| &*names.iter().map(port).collect::<Vec<_>>().leak();
    let actuator = |name| Actuator { name, unit: Unit::None };
    let actuators: Vec<_> = actuators.into_iter().map(actuator).collect();
    let needs = Needs {
        memory: 16 << 10,
        ram: 8 << 10,
        fuel_per_second: 50_000,
        fuel_per_handler: 100_000,
        outbox_bytes: 64,
        outbox_entries: 4,
        timers: 2,
        table_elements: 0,
    };
    let tag = Tag::new(version.to_string().leak()).unwrap();
    let capsule = change(Capsule {
        schemas: List::new(vec![number()].leak()).unwrap(),
        inputs: List::new(ports(inputs)).unwrap(),
        outputs: List::new(ports(outputs)).unwrap(),
        actuators: List::new(actuators.leak()).unwrap(),
        state: Some(StateLayout { version: 1, oldest: 1 }),
        ..Capsule::bare(tag, 1, chunk_log2, blob.root, needs)
    });
    let manifest = Manifest {
        sequence: version.into(),
        name: CapsuleName::new(name).unwrap(),
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule,
    };
    let mut envelope = vec![0; 2_048];
    let len = manifest.sign(publisher, &mut envelope).unwrap();
    envelope.truncate(len);
    Packed { manifest: envelope, blob, stored, geometry }
}

/// Names that live as long as the test does.
fn names(names: &[&str]) -> Vec<Name<'static>> {
    names.iter().map(|name| Name::new((*name).to_owned().leak()).unwrap()).collect()
}
