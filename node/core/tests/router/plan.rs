//! Which instances there are, where they are, and what ties them together.

use crate::world::node;
use capmesh_wire::cbor::Writer;
use capmesh_wire::manifest::{Capsule, Needs, Port, Service};
use capmesh_wire::plan::{
    Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, PeerBinding,
};
use capmesh_wire::schema::{Field, FieldType, PayloadWriter};
use capmesh_wire::{
    Digest, Epoch, InstanceId, List, Name, NodeId, Payload, Schema, Tag, Unit, Value,
};
use std::collections::BTreeMap;

/// A wire of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) input: u8,
    pub(crate) delivery: Delivery,
    pub(crate) overflow: Overflowing,
}

impl Wire {
    pub(crate) fn every(from: u32, to: u32) -> Self {
        let (delivery, overflow) = (Delivery::Every, Overflowing::PauseProducer);
        Self { from, to, input: 0, delivery, overflow }
    }

    pub(crate) fn latest(from: u32, to: u32) -> Self {
        Self { delivery: Delivery::Latest, ..Self::every(from, to) }
    }
}

/// What a gateway would have decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Instances with their machine and epoch.
    pub(crate) hosts: BTreeMap<u32, (u8, u32)>,
    pub(crate) wires: Vec<Wire>,
    /// Who may ask whom, as its peer 0.
    pub(crate) peers: Vec<(u32, u32)>,
}

impl Plan {
    pub(crate) fn new(hosts: &[(u32, u8)], wires: &[Wire]) -> Self {
        let hosts = hosts.iter().map(|(instance, machine)| (*instance, (*machine, 1))).collect();
        Self { hosts, wires: wires.to_vec(), peers: Vec::new() }
    }

    fn host(&self, instance: u32) -> NodeId {
        node(self.hosts[&instance].0)
    }

    /// The row of an instance.
    pub(crate) fn with_row<T>(&self, instance: u32, then: impl FnOnce(&Assignment<'_>) -> T) -> T {
        let inbound: Vec<Inbound> = self
            .wires
            .iter()
            .filter(|wire| wire.to == instance)
            .map(|wire| Inbound {
                input: wire.input,
                node: self.host(wire.from),
                instance: InstanceId(wire.from),
                output: 0,
                delivery: wire.delivery,
            })
            .collect();
        let outbound: Vec<Outbound> = self
            .wires
            .iter()
            .filter(|wire| wire.from == instance)
            .map(|wire| Outbound {
                output: 0,
                node: self.host(wire.to),
                instance: InstanceId(wire.to),
                input: wire.input,
                delivery: wire.delivery,
                overflow: wire.overflow,
            })
            .collect();
        let peers: Vec<PeerBinding> = self
            .peers
            .iter()
            .filter(|(asker, _)| *asker == instance)
            .map(|(_, asked)| PeerBinding {
                peer: 0,
                node: self.host(*asked),
                instance: InstanceId(*asked),
            })
            .collect();
        let name = format!("c{instance}");
        then(&Assignment {
            instance: InstanceId(instance),
            epoch: Epoch(self.hosts[&instance].1),
            capsule: Digest::of(b"capsule"),
            pipeline: Name::new("test").unwrap(),
            name: Name::new(&name).unwrap(),
            replica: 0,
            lease_ms: None,
            failover: Failover::None,
            checkpoint_ms: None,
            rollback: false,
            config: None,
            inbound: List::new(&inbound).unwrap(),
            outbound: List::new(&outbound).unwrap(),
            peers: List::new(&peers).unwrap(),
        })
    }
}

/// The capsule that all instances run: two inputs, an output and a service, all of one number.
pub(crate) fn with_capsule<T>(then: impl FnOnce(&Capsule<'_>) -> T) -> T {
    let name = |text| Name::new(text).unwrap();
    let fields = [Field { name: name("v"), ty: FieldType::U64, unit: Unit::None, optional: false }];
    let schemas = [Schema::new(name("value"), 1, List::new(&fields).unwrap()).unwrap()];
    let inputs = [Port { name: name("a"), schema: 0 }, Port { name: name("b"), schema: 0 }];
    let outputs = [Port { name: name("out"), schema: 0 }];
    let services = [Service { name: name("double"), request: Some(0), response: Some(0) }];
    then(&Capsule {
        schemas: List::new(&schemas).unwrap(),
        inputs: List::new(&inputs).unwrap(),
        outputs: List::new(&outputs).unwrap(),
        services: List::new(&services).unwrap(),
        ..Capsule::bare(
            Tag::new("1").unwrap(),
            1,
            8,
            Digest::of(b""),
            Needs {
                memory: 0,
                ram: 0,
                fuel_per_second: 0,
                fuel_per_handler: 0,
                outbox_bytes: 16,
                outbox_entries: 2,
                timers: 1,
                table_elements: 0,
            },
        )
    })
}

/// A payload with one number.
pub(crate) fn payload(value: u64, buf: &mut [u8; 16]) -> Payload<'_> {
    let len = with_capsule(|capsule| {
        let schema = capsule.schema(0).unwrap();
        let mut writer = Writer::new(buf);
        let mut payload = PayloadWriter::new(schema.fields(), &mut writer).unwrap();
        payload.value(Value::Uint(value)).unwrap();
        payload.finish().unwrap();
        writer.len()
    });
    Payload::new(&buf[..len]).unwrap()
}

/// The number in a payload.
pub(crate) fn value(payload: Payload<'_>) -> u64 {
    with_capsule(|capsule| {
        let schema = capsule.schema(0).unwrap();
        match payload.values(schema.fields()).unwrap().next() {
            Some(Ok(Value::Uint(value))) => value,
            other => panic!("{other:?}"),
        }
    })
}
