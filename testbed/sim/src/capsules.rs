//! Capsules for tests, from text, packed and signed as a publisher would.

use crate::host::Script;
use crate::site::{Dice, PUBLISHER, key};
use capmesh_blob::{Geometry, lay_out};
use capmesh_node::Config;
use capmesh_node::config::{Actuator as NodeActuator, Budget};
use capmesh_wire::manifest::{Actuator, Capsule, Needs, Port, StateLayout};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{BlobRef, CapsuleName, Digest, List, Manifest, Name, Schema, Tag, Unit, format};

/// A capsule as a publisher hands it out.
#[derive(Clone, Debug)]
pub struct Packed {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blob: BlobRef,
    /// The module with its pages behind it, as peers store it.
    pub(crate) stored: Vec<u8>,
    pub(crate) geometry: Geometry,
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
}

pub(crate) const IMPORTS: &str = r#"
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (import "capmesh1" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 256 256 (pagesize 1))"#;

/// Publishes the numbers from 1 to `count`, one every `micros`.
#[must_use]
pub fn source(count: u32, micros: u32) -> Packed {
    pack(
        "test/source",
        &format!(
            r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const {micros}))))
    (func (export "timer") (param i32)
        (if (i64.ge_u (i64.load (i32.const 0)) (i64.const {count})) (then (return)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (drop (call $set_timer (i32.const 0) (i64.const {micros})))))"#
        ),
        &[],
        &["out"],
        &[],
    )
}

/// Publishes the sum of what it has had.
#[must_use]
pub fn adder() -> Packed {
    pack(
        "test/adder",
        &format!(
            r#"(module {IMPORTS}
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load (i32.const 8))))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#
        ),
        &["in"],
        &["out"],
        &[],
    )
}

/// Sets `count` to the number of messages it has had, and `hash` to what they and their order give.
#[must_use]
pub fn sink() -> Packed {
    pack(
        "test/sink",
        &format!(
            r#"(module {IMPORTS}
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 16) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (i64.store (i32.const 8) (i64.rem_u
            (i64.add (i64.mul (i64.load (i32.const 8)) (i64.const 31)) (i64.load (i32.const 16)))
            (i64.const 1000000007)))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0)))))
        (drop (call $actuate (i32.const 1) (f64.convert_i64_u (i64.load (i32.const 8)))))))"#
        ),
        &["in"],
        &[],
        &["count", "hash"],
    )
}

/// Sets `count` to the numbers from 1 on, one every `micros`.
#[must_use]
pub fn beacon(micros: u32) -> Packed {
    pack(
        "test/beacon",
        &format!(
            r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const {micros}))))
    (func (export "timer") (param i32)
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0)))))
        (drop (call $set_timer (i32.const 0) (i64.const {micros})))))"#
        ),
        &[],
        &[],
        &["count"],
    )
}

/// Does nothing, and is so many bytes long, of which none follow from others.
#[must_use]
pub fn ballast(bytes: u32) -> Packed {
    let mut dice = Dice(bytes.into());
    // The rest of the module.
    let bytes = bytes - 320;
    let padding: String = (0..bytes).map(|_| format!("\\{:02x}", dice.below(256))).collect();
    pack(
        "test/ballast",
        &format!(
            r#"(module {IMPORTS}
    (func (export "timer") (param i32))
    (@custom "ballast" (after last) "{padding}"))"#
        ),
        &[],
        &[],
        &[],
    )
}

/// What `sink` makes of these messages.
#[must_use]
pub fn hash(messages: impl Iterator<Item = u64>) -> u64 {
    messages.fold(0, |hash, message| (hash.wrapping_mul(31).wrapping_add(message)) % 1_000_000_007)
}

/// What every capsule here needs.
const NEEDS: Needs = Needs {
    memory: 16 << 10,
    ram: 8 << 10,
    fuel_per_second: 50_000,
    fuel_per_handler: 100_000,
    outbox_bytes: 64,
    outbox_entries: 4,
    timers: 2,
    table_elements: 0,
};

/// Packs and signs a capsule; its one schema has number 0.
fn pack(name: &str, text: &str, inputs: &[&str], outputs: &[&str], actuators: &[&str]) -> Packed {
    pack_version(name, 1, text, inputs, outputs, actuators)
}

/// Packs and signs a version of a capsule, which is newer the larger it is.
pub(crate) fn pack_version(
    name: &str,
    version: u16,
    text: &str,
    inputs: &[&str],
    outputs: &[&str],
    actuators: &[&str],
) -> Packed {
    let module = if Script::is_one(text.as_bytes()) {
        text.as_bytes().to_vec()
    } else {
        wat::parse_str(text).expect("valid text")
    };
    let size = module.len() as u32;
    let geometry = Geometry::new(size, 8).unwrap();
    let mut stored = module;
    stored.resize(geometry.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, 8).unwrap();
    let schemas: &'static [_] = vec![number()].leak();
    let ports = |names: &[&'static str]| -> Vec<Port<'static>> {
        names.iter().map(|name| Port { name: Name::new(name).unwrap(), schema: 0 }).collect()
    };
    let (inputs, outputs) = (ports(&leak(inputs)).leak(), ports(&leak(outputs)).leak());
    let actuators: Vec<_> = leak(actuators)
        .into_iter()
        .map(|name| Actuator { name: Name::new(name).unwrap(), unit: Unit::None })
        .collect();
    let actuators = actuators.leak();
    let capsule = Capsule {
        format: format::CAPSULE,
        version: Tag::new(version.to_string().leak()).unwrap(),
        abi: 1,
        chunk_log2: 8,
        root: blob.root,
        needs: NEEDS,
        schemas: List::new(schemas).unwrap(),
        inputs: List::new(inputs).unwrap(),
        outputs: List::new(outputs).unwrap(),
        sensors: List::EMPTY,
        actuators: List::new(actuators).unwrap(),
        sources: List::EMPTY,
        peers: List::EMPTY,
        services: List::EMPTY,
        config: List::EMPTY,
        state: Some(StateLayout { version: 1, oldest: 1 }),
    };
    let manifest = Manifest {
        sequence: version.into(),
        name: CapsuleName::new(name).unwrap(),
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule,
    };
    let mut envelope = vec![0; 2_048];
    let len = manifest.sign(&key(PUBLISHER), &mut envelope).unwrap();
    envelope.truncate(len);
    Packed { manifest: envelope, blob, stored, geometry }
}

/// Names that live as long as the test does.
fn leak(names: &[&str]) -> Vec<&'static str> {
    names.iter().map(|name| &*name.to_string().leak()).collect()
}

/// The schema of everything here: one number.
fn number() -> Schema<'static> {
    let name = |name| Name::new(name).unwrap();
    let field = Field { name: name("n"), ty: FieldType::U64, unit: Unit::None, optional: false };
    let fields: &'static [_] = vec![field].leak();
    Schema::new(name("number"), 1, List::new(fields).unwrap()).unwrap()
}

/// A node that has what the capsules here want.
#[must_use]
pub fn config() -> Config {
    let actuator = |name: &str| NodeActuator { name: name.into(), unit: Unit::None };
    Config {
        actuators: vec![actuator("count"), actuator("hash")],
        budget: Budget { instances: 8, ..Config::default().budget },
        ..Config::default()
    }
}

/// What the sink's actuators end at when every message has passed the adder once, in order.
#[must_use]
pub fn expected(count: u32) -> (f64, f64) {
    let sums = (1..=u64::from(count)).scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    });
    (f64::from(count), hash(sums) as f64)
}
