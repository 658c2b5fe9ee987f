//! The pipeline's two capsules, packed and signed.

use std::error::Error;

use capmesh_blob::{Geometry, lay_out};
use capmesh_wire::{
    BlobRef, CapsuleName, Digest, List, Manifest, Name, Schema, Tag, Unit, bundle,
    cose::SigningKey,
    manifest::{Actuator, Capsule, Needs, Port, StateLayout},
    schema::{Field, FieldType},
};

/// Chunks of 256 bytes.
const CHUNK_LOG2: u8 = 8;

/// Publishes the numbers from 1 on, one every 10 ms.
const SOURCE: &str = r#"(module
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (memory (export "memory") 64 64 (pagesize 1))
    (func $wait (drop (call $set_timer (i32.const 0) (i64.const 10000))))
    (func (export "start") (call $wait))
    (func (export "timer") (param i32)
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (call $wait)))"#;

/// Sets an actuator to the sum of the numbers.
const SINK: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (memory (export "memory") 1376 1376 (pagesize 1))
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load (i32.const 8))))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0)))))))"#;

/// A capsule as its publisher gives it away.
pub(crate) struct Packed {
    manifest: Vec<u8>,
    blob: BlobRef,
    stored: Vec<u8>,
}

impl Packed {
    pub(crate) fn digest(&self) -> Digest {
        Manifest::digest(&self.manifest)
    }

    /// Manifest, pages and chunks in one file.
    pub(crate) fn bundle(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let geometry = Geometry::new(self.blob.size, CHUNK_LOG2)?;
        let head = bundle::head(self.manifest.len()).ok_or("the manifest is too long")?;
        let mut file = [&head[..], &self.manifest].concat();
        for piece in bundle::Pieces::of(&self.blob)? {
            let at = geometry.offset(piece.number) as usize;
            file.extend_from_slice(&self.stored[at..][..usize::from(piece.len)]);
        }
        Ok(file)
    }
}

pub(crate) fn source(publisher: &SigningKey) -> Result<Packed, Box<dyn Error>> {
    let output = [Port { name: Name::new("out")?, schema: 0 }];
    pack("source", SOURCE, publisher, (&[], &output, &[]))
}

pub(crate) fn sink(publisher: &SigningKey) -> Result<Packed, Box<dyn Error>> {
    let input = [Port { name: Name::new("in")?, schema: 0 }];
    let actuator = [Actuator { name: Name::new("sum")?, unit: Unit::None }];
    pack("sink", SINK, publisher, (&input, &[], &actuator))
}

fn pack(
    name: &str,
    text: &str,
    publisher: &SigningKey,
    (inputs, outputs, actuators): (&[Port<'_>], &[Port<'_>], &[Actuator<'_>]),
) -> Result<Packed, Box<dyn Error>> {
    let module = wat::parse_str(text)?;
    let size = u32::try_from(module.len())?;
    let geometry = Geometry::new(size, CHUNK_LOG2)?;
    let mut stored = module.clone();
    stored.resize(geometry.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, CHUNK_LOG2)?;
    let field =
        [Field { name: Name::new("n")?, ty: FieldType::U64, unit: Unit::None, optional: false }];
    let schemas = [Schema::new(Name::new("number")?, 1, List::new(&field)?)?];
    let capsule = Capsule {
        schemas: List::new(&schemas)?,
        inputs: List::new(inputs)?,
        outputs: List::new(outputs)?,
        actuators: List::new(actuators)?,
        state: Some(StateLayout { version: 1, oldest: 1 }),
        ..Capsule::bare(
            Tag::new("1")?,
            1,
            CHUNK_LOG2,
            blob.root,
            Needs {
                memory: 1376,
                ram: 6 << 10,
                fuel_per_second: 50_000,
                fuel_per_handler: 100_000,
                outbox_bytes: 16,
                outbox_entries: 2,
                timers: 1,
                table_elements: 0,
            },
        )
    };
    let manifest = Manifest {
        sequence: 1,
        name: CapsuleName::new(name)?,
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule,
    };
    let mut envelope = vec![0; 2048];
    let len = manifest.sign(publisher, &mut envelope)?;
    envelope.truncate(len);
    Ok(Packed { manifest: envelope, blob, stored })
}
