//! The rows of a pipeline: settings, wires, peers, and the wires that leave the mesh.

use super::problem::Known;
use super::{BridgeName, Ends};
use crate::catalog::{Port, Resolved};
use crate::pipeline::Pipeline;
use crate::rows::{Row, Rows};
use capmesh_wire::plan::{Delivery, Inbound, Outbound, PeerBinding};
use capmesh_wire::{InstanceId, NodeId};
use std::collections::BTreeMap;

/// A stream that ends at the gateway and goes to MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The gateway's instance that it ends at, at input 0; one for all replicas.
    pub end: InstanceId,
    /// The instance that sends.
    pub producer: InstanceId,
    /// The output's name.
    pub output: String,
    /// The output's number.
    pub number: u8,
    /// Its encoded schema.
    pub schema: Vec<u8>,
    /// What is promised.
    pub delivery: Delivery,
}

/// A stream that begins at the gateway: the messages of an MQTT topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The gateway's instance that it begins at, at output 0.
    pub end: InstanceId,
    /// The pipeline.
    pub pipeline: String,
    /// The topic.
    pub topic: String,
    /// The encoded schema of its messages.
    pub schema: Vec<u8>,
    /// What is promised.
    pub delivery: Delivery,
    /// Who receives.
    pub consumers: Vec<Consumer>,
}

/// An instance that receives from the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The instance.
    pub instance: InstanceId,
    /// The name of its input.
    pub input: String,
    /// The number of its input.
    pub number: u8,
}

/// Where nodes stand in wires until a plan is written: see [`Rows::bound`].
pub(super) const UNBOUND: NodeId = NodeId::from_bytes([0; NodeId::LEN]);

/// Puts settings, wires and peers into rows whose instances and owners are known.
pub(super) fn weave(known: &Known<'_>, rows: &mut Rows, ends: &Ends) {
    let places: BTreeMap<(String, String, u8), InstanceId> = rows
        .iter()
        .map(|row| ((row.pipeline.clone(), row.name.clone(), row.replica), row.instance))
        .collect();
    for (name, (pipeline, resolved)) in known {
        let mut weave = Weave { name, pipeline, resolved, places: &places, rows, ends };
        weave.terms();
        weave.wires();
        weave.peers();
        weave.bridges();
    }
}

struct Weave<'w> {
    name: &'w str,
    pipeline: &'w Pipeline,
    resolved: &'w Resolved,
    places: &'w BTreeMap<(String, String, u8), InstanceId>,
    rows: &'w mut Rows,
    ends: &'w Ends,
}

impl Weave<'_> {
    fn replicas(&self, capsule: usize) -> u8 {
        self.resolved.capsules.get(capsule).map_or(0, |capsule| capsule.replicas)
    }

    fn instance(&self, capsule: usize, replica: u8) -> Option<InstanceId> {
        let capsule = self.pipeline.capsules.get(capsule)?.name.value.clone();
        self.places.get(&(self.name.to_owned(), capsule, replica)).copied()
    }

    fn instances(&self, port: Port) -> Vec<InstanceId> {
        let replicas = 0..self.replicas(port.capsule);
        replicas.filter_map(|replica| self.instance(port.capsule, replica)).collect()
    }

    fn row(&mut self, instance: InstanceId) -> Option<&mut Row> {
        self.rows.0.get_mut(&instance)
    }

    /// What the pipeline says of its capsules. One that is another capsule now, or has other settings,
    /// goes on in a later epoch.
    fn terms(&mut self) {
        let there = self.pipeline.capsules.iter().zip(&self.resolved.capsules).enumerate();
        for (place, (capsule, resolved)) in there {
            for replica in 0..resolved.replicas {
                let row = self.instance(place, replica).and_then(|instance| self.row(instance));
                let Some(row) = row else { continue };
                if row.capsule != resolved.capsule || row.config != resolved.config {
                    row.fence = row.fence.next();
                    row.epoch = row.fence;
                    (row.capsule, row.config) = (resolved.capsule, resolved.config.clone());
                }
                row.lease_ms = capsule.lease_ms;
                row.failover = capsule.failover;
                row.checkpoint_ms = capsule.checkpoint_ms;
                row.rollback = capsule.rollback;
                row.inbound.clear();
                row.outbound.clear();
                row.peers.clear();
            }
        }
    }

    fn wires(&mut self) {
        for wire in &self.resolved.wires {
            let replicas = (self.replicas(wire.from.capsule), self.replicas(wire.to.capsule));
            for (from, to) in wire.replicas.pairs(replicas.0, replicas.1) {
                let producer = self.instance(wire.from.capsule, from);
                let consumer = self.instance(wire.to.capsule, to);
                let Some((producer, consumer)) = producer.zip(consumer) else { continue };
                let (output, input) = (wire.from.number, wire.to.number);
                let (delivery, overflow, node) = (wire.delivery, wire.overflow, UNBOUND);
                let instance = consumer;
                let out = Outbound { output, node, instance, input, delivery, overflow };
                let instance = producer;
                let into = Inbound { input, node, instance, output, delivery };
                if let Some(row) = self.row(producer) {
                    row.outbound.push(out);
                }
                if let Some(row) = self.row(consumer) {
                    row.inbound.push(into);
                }
            }
        }
    }

    fn peers(&mut self) {
        for (place, capsule) in self.resolved.capsules.iter().enumerate() {
            for replica in 0..capsule.replicas {
                let Some(asking) = self.instance(place, replica) else { continue };
                for &(peer, asked) in &capsule.peers {
                    let count = self.replicas(asked).max(1);
                    let Some(instance) = self.instance(asked, replica % count) else { continue };
                    let binding = PeerBinding { peer, node: UNBOUND, instance };
                    if let Some(row) = self.row(asking) {
                        row.peers.push(binding);
                    }
                }
            }
        }
    }

    fn bridges(&mut self) {
        for publish in &self.resolved.publish {
            let Some(instance) = self.ends.published(self.name, &publish.name) else { continue };
            let (output, node) = (publish.from.number, UNBOUND);
            let (delivery, overflow) = (publish.delivery, publish.overflow);
            let out = Outbound { output, node, instance, input: 0, delivery, overflow };
            for producer in self.instances(publish.from) {
                if let Some(row) = self.row(producer) {
                    row.outbound.push(out);
                }
            }
        }
        for subscribe in &self.resolved.subscribe {
            let end = self.ends.subscribed(self.name, &subscribe.topic);
            let Some(instance) = end else { continue };
            let (input, delivery) = (subscribe.to.number, subscribe.delivery);
            let into = Inbound { input, node: UNBOUND, instance, output: 0, delivery };
            for consumer in self.instances(subscribe.to) {
                if let Some(row) = self.row(consumer) {
                    row.inbound.push(into);
                }
            }
        }
    }
}

impl Ends {
    fn published(
        &self,
        pipeline: &str,
        (capsule, output): &(String, String),
    ) -> Option<InstanceId> {
        let (pipeline, capsule, output) = (pipeline.to_owned(), capsule.clone(), output.clone());
        self.0.get(&BridgeName::Publish { pipeline, capsule, output }).copied()
    }

    fn subscribed(&self, pipeline: &str, topic: &str) -> Option<InstanceId> {
        let (pipeline, topic) = (pipeline.to_owned(), topic.to_owned());
        self.0.get(&BridgeName::Subscribe { pipeline, topic }).copied()
    }
}

/// The wires of the gateway's own ends, from and to the instances that there are.
pub(super) fn bridges(known: &Known<'_>, rows: &Rows, ends: &Ends) -> (Vec<Egress>, Vec<Ingress>) {
    let (mut egress, mut ingress) = (Vec::new(), BTreeMap::<(&str, &str), Ingress>::new());
    for (name, (pipeline, resolved)) in known {
        let instances = |port: Port| {
            let capsule = pipeline.capsules.get(port.capsule);
            let replicas = resolved.capsules.get(port.capsule).map_or(0, |c| c.replicas);
            let row = move |replica| rows.find(name, &capsule?.name, replica);
            (0..replicas).filter_map(row).map(|row| row.instance).collect::<Vec<_>>()
        };
        for publish in &resolved.publish {
            let Some(end) = ends.published(name, &publish.name) else { continue };
            egress.extend(instances(publish.from).into_iter().map(|producer| Egress {
                end,
                producer,
                output: publish.name.1.clone(),
                number: publish.from.number,
                schema: publish.schema.clone(),
                delivery: publish.delivery,
            }));
        }
        for subscribe in &resolved.subscribe {
            let Some(end) = ends.subscribed(name, &subscribe.topic) else { continue };
            let stream = ingress.entry((name, &subscribe.topic)).or_insert_with(|| Ingress {
                end,
                pipeline: (*name).to_owned(),
                topic: subscribe.topic.clone(),
                schema: subscribe.schema.clone(),
                delivery: subscribe.delivery,
                consumers: Vec::new(),
            });
            let (input, number) = (subscribe.input.clone(), subscribe.to.number);
            stream.consumers.extend(instances(subscribe.to).into_iter().map(|instance| Consumer {
                instance,
                input: input.clone(),
                number,
            }));
        }
    }
    (egress, ingress.into_values().collect())
}
