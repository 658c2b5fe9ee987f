//! Capsules for tests, from text, packed and signed as a publisher would.

use super::{PUBLISHER, key};
use capmesh_blob::{Geometry, lay_out};
use capmesh_node::Config;
use capmesh_node::config::{Actuator as NodeActuator, Sensor};
use capmesh_wire::manifest::{Actuator, Capsule, Needs, Port, StateLayout};
use capmesh_wire::plan::{
    Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, PeerBinding,
};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{
    BlobRef, CapsuleName, Digest, Epoch, InstanceId, List, Manifest, Name, Payload, Schema, Tag,
    Unit, format,
};

/// A capsule as a publisher hands it out.
#[derive(Clone)]
pub(crate) struct Packed {
    pub(crate) manifest: Vec<u8>,
    pub(crate) module: Vec<u8>,
    pub(crate) blob: BlobRef,
    /// The module with its pages behind it, as peers store it.
    pub(crate) stored: Vec<u8>,
    pub(crate) geometry: Geometry,
}

impl Packed {
    pub(crate) fn digest(&self) -> Digest {
        Manifest::digest(&self.manifest)
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.geometry.pieces()).map(|piece| {
            let at = self.geometry.offset(piece);
            let len = usize::from(self.geometry.len(piece));
            (at, &self.stored[at as usize..][..len])
        })
    }
}

const IMPORTS: &str = r#"
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (import "capmesh1" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 256 256 (pagesize 1))"#;

/// Publishes the numbers from 1 to `count`, one every `micros`.
pub(crate) fn source(count: u32, micros: u32) -> Packed {
    pack(
        "source",
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

/// The same with so many bytes of data that it does not look at, so that it comes in many pieces.
pub(crate) fn padded_source(bytes: usize) -> Packed {
    let noise: String = (0..bytes).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    pack(
        "padded",
        &format!(
            r#"(module
    (memory (export "memory") 16384 16384 (pagesize 1))
    (data (i32.const 64) "{noise}")
    (func (export "timer") (param i32)))"#
        ),
        &[],
        &["out"],
        &[],
    )
}

/// Publishes the sum of what it has had.
pub(crate) fn adder() -> Packed {
    pack(
        "adder",
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

/// The same with 9 KB of state that changes with every message.
pub(crate) fn big_adder() -> Packed {
    pack(
        "adder",
        r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 12288 12288 (pagesize 1))
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load (i32.const 8))))
        (memory.fill (i32.const 64) (i32.or (i32.const 1) (i32.load8_u (i32.const 0)))
            (i32.const 9000))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#,
        &["in"],
        &["out"],
        &[],
    )
}

/// Sets `count` to the number of messages it has had, and `hash` to what they and their order give.
pub(crate) fn sink() -> Packed {
    pack(
        "sink",
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

/// What `sink` makes of these messages.
pub(crate) fn hash(messages: impl Iterator<Item = u64>) -> u64 {
    messages.fold(0, |hash, message| (hash.wrapping_mul(31).wrapping_add(message)) % 1_000_000_007)
}

/// Does something bad on every timer, which it sets again and again.
pub(crate) fn hostile(what: &str) -> Packed {
    pack(
        "hostile",
        &format!(
            r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const 1000))))
    (func $deep (drop (i32.const 0)) (call $deep))
    (func (export "timer") (param i32)
        (drop (call $set_timer (i32.const 0) (i64.const 1000)))
        {what}))"#
        ),
        &[],
        &["out"],
        &[],
    )
}

pub(crate) fn pack(
    name: &str,
    text: &str,
    inputs: &[&str],
    outputs: &[&str],
    actuators: &[&str],
) -> Packed {
    pack_with(name, text, inputs, outputs, actuators, |capsule| capsule)
}

/// As [`pack`], with changes to what the manifest says; its one schema has number 0.
pub(crate) fn pack_with(
    name: &str,
    text: &str,
    inputs: &[&str],
    outputs: &[&str],
    actuators: &[&str],
    change: impl Fn(Capsule<'static>) -> Capsule<'static>,
) -> Packed {
    let module = wat::parse_str(text).expect("valid text");
    let size = module.len() as u32;
    let geometry = Geometry::new(size, 8).unwrap();
    let mut stored = module.clone();
    stored.resize(geometry.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, 8).unwrap();
    let schemas: &'static [_] = vec![number()].leak();
    let ports = |names: &[&'static str]| -> Vec<Port<'static>> {
        names.iter().map(|name| Port { name: Name::new(name).unwrap(), schema: 0 }).collect()
    };
    let leak = |names: &[&str]| -> Vec<&'static str> {
        names.iter().map(|name| &*Box::leak(name.to_string().into_boxed_str())).collect()
    };
    let (inputs, outputs) = (ports(&leak(inputs)).leak(), ports(&leak(outputs)).leak());
    let actuators: Vec<_> = leak(actuators)
        .into_iter()
        .map(|name| Actuator { name: Name::new(name).unwrap(), unit: Unit::None })
        .collect();
    let actuators = actuators.leak();
    let capsule = change(Capsule {
        format: format::CAPSULE,
        version: Tag::new("1").unwrap(),
        abi: 1,
        chunk_log2: 8,
        root: blob.root,
        needs: Needs {
            memory: 16 << 10,
            ram: 8 << 10,
            fuel_per_second: 50_000,
            fuel_per_handler: 100_000,
            outbox_bytes: 64,
            outbox_entries: 4,
            timers: 2,
            table_elements: 0,
        },
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
    });
    let manifest = Manifest {
        sequence: 1,
        name: CapsuleName::new(name).unwrap(),
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule,
    };
    let mut envelope = vec![0; 2_048];
    let len = manifest.sign(&key(PUBLISHER), &mut envelope).unwrap();
    envelope.truncate(len);
    Packed { manifest: envelope, module, blob, stored, geometry }
}

/// The schema of everything here: one number.
pub(crate) fn number() -> Schema<'static> {
    let name = |name| Name::new(name).unwrap();
    let field = Field { name: name("n"), ty: FieldType::U64, unit: Unit::None, optional: false };
    let fields: &'static [_] = vec![field].leak();
    Schema::new(name("number"), 1, List::new(fields).unwrap()).unwrap()
}

/// A node that has what the capsules here want.
pub(crate) fn config() -> Config {
    let actuator = |name: &str| NodeActuator { name: name.into(), unit: Unit::None };
    Config {
        actuators: vec![actuator("count"), actuator("hash")],
        sensors: vec![Sensor { name: "meter".into(), schema: number().id().tag() }],
        sources: vec!["button".into()],
        ..Config::default()
    }
}

/// What instances are called.
const NAMES: [&str; 9] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"];

/// One end of a wire: node and instance.
#[derive(Clone, Copy)]
pub(crate) struct End(pub(crate) u8, pub(crate) u32);

/// A row with at most one wire in and one wire out, both of one kind.
pub(crate) struct RowOf {
    pub(crate) instance: u32,
    pub(crate) epoch: u32,
    pub(crate) capsule: Digest,
    inbound: Vec<Inbound>,
    outbound: Vec<Outbound>,
    pub(crate) lease_ms: Option<u32>,
    pub(crate) config: Option<Payload<'static>>,
    pub(crate) peers: Vec<PeerBinding>,
}

impl RowOf {
    pub(crate) fn new(
        instance: u32,
        epoch: u32,
        capsule: &Packed,
        from: Option<End>,
        to: Option<End>,
        delivery: Delivery,
    ) -> Self {
        let inbound = from.map(|End(node, producer)| Inbound {
            input: 0,
            node: super::node_id(node),
            instance: InstanceId(producer),
            output: 0,
            delivery,
        });
        let outbound = to.map(|End(node, consumer)| Outbound {
            output: 0,
            node: super::node_id(node),
            instance: InstanceId(consumer),
            input: 0,
            delivery,
            overflow: Overflowing::PauseProducer,
        });
        Self {
            instance,
            epoch,
            capsule: capsule.digest(),
            inbound: inbound.into_iter().collect(),
            outbound: outbound.into_iter().collect(),
            lease_ms: None,
            config: None,
            peers: Vec::new(),
        }
    }

    pub(crate) fn row(&self) -> Assignment<'_> {
        Assignment {
            instance: InstanceId(self.instance),
            epoch: Epoch(self.epoch),
            capsule: self.capsule,
            pipeline: Name::new("test").unwrap(),
            name: Name::new(NAMES[self.instance as usize]).unwrap(),
            replica: 0,
            lease_ms: self.lease_ms,
            failover: Failover::None,
            checkpoint_ms: None,
            rollback: false,
            config: self.config,
            inbound: List::new(&self.inbound).unwrap(),
            outbound: List::new(&self.outbound).unwrap(),
            peers: List::new(&self.peers).unwrap(),
        }
    }
}
