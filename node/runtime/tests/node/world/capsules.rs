//! Capsules for tests, from text, packed and signed as a publisher would.

use super::{PUBLISHER, key};
use capmesh_node::Config;
use capmesh_node::config::{Actuator as NodeActuator, Sensor};
use capmesh_node::test_util::capsules::{self as common, IMPORTS};
pub(crate) use capmesh_node::test_util::capsules::{Packed, number};
use capmesh_wire::manifest::Capsule;
use capmesh_wire::plan::{
    Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, PeerBinding,
};
use capmesh_wire::{Digest, Epoch, InstanceId, List, Name, Payload, Unit};

/// Publishes the numbers from 1 to `count`, one every `micros`.
pub(crate) fn source(count: u32, micros: u32) -> Packed {
    pack("source", &common::source(count, micros.into()), &[], &["out"], &[])
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
    pack("adder", &common::adder(""), &["in"], &["out"], &[])
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
    pack("sink", &common::sink(), &["in"], &[], &["count", "hash"])
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

/// As [`pack`], with changes to what the manifest says.
pub(crate) fn pack_with(
    name: &str,
    text: &str,
    inputs: &[&str],
    outputs: &[&str],
    actuators: &[&str],
    change: impl FnOnce(Capsule<'static>) -> Capsule<'static>,
) -> Packed {
    let module = wat::parse_str(text).expect("valid text");
    common::pack(name, 1, module, [inputs, outputs, actuators], &key(PUBLISHER), change)
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
