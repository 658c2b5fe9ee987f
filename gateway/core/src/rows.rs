//! What runs where: the rows of the plan, as the gateway keeps them.
//!
//! A row says which node owns an instance, in which epoch, and what the instance is to do. Its wires name
//! instances; on which nodes those are is looked up when a node's plan is written, so that a move changes
//! one row. An instance that has no row is an end of the gateway's own: a stream to or from MQTT.

use capmesh_wire::cbor::{self, Decode, Encode, List, Reader, Writer};
use capmesh_wire::plan::{Assignment, Failover, Inbound, Outbound, PeerBinding};
use capmesh_wire::schema::Payload;
use capmesh_wire::{Digest, Epoch, InstanceId, Name, NodeId, limits};
use std::collections::BTreeMap;

/// Rows of the site.
pub const ROWS: usize = 4_096;

/// Bytes of a row's durable form: what a command can carry, and a little more.
const BYTES: usize = 4_096;

/// What one instance is to do, and who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The instance.
    pub instance: InstanceId,
    /// Its owner.
    pub node: NodeId,
    /// The epoch in which its owner owns it.
    pub epoch: Epoch,
    /// The newest epoch that was ever given out for it: the next one is later.
    pub fence: Epoch,
    /// The digest of its capsule's manifest.
    pub capsule: Digest,
    /// The pipeline that it belongs to.
    pub pipeline: String,
    /// What the pipeline calls it.
    pub name: String,
    /// Which of the replicas of that name.
    pub replica: u8,
    /// How long it may run without hearing of the gateway, in milliseconds; absent for ever.
    pub lease_ms: Option<u32>,
    /// What becomes of it when its node is lost.
    pub failover: Failover,
    /// How often a checkpoint is taken, in milliseconds; absent if never.
    pub checkpoint_ms: Option<u32>,
    /// Whether an older capsule of its name may be taken.
    pub rollback: bool,
    /// Its configuration: values in the order of the manifest's fields.
    pub config: Option<Vec<u8>>,
    /// The wires that end at it. Their nodes are those that the rows name when a plan is written.
    pub inbound: Vec<Inbound>,
    /// The wires that begin at it, likewise.
    pub outbound: Vec<Outbound>,
    /// The instances that its capsule asks, likewise.
    pub peers: Vec<PeerBinding>,
}

impl Row {
    /// What people call it: `pipeline/name/replica`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.pipeline, self.name, self.replica)
    }

    /// The row as a node is told it. `None` if a list is longer, or a name no name, than the wire's
    /// limits allow.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment<'_>> {
        Some(Assignment {
            instance: self.instance,
            epoch: self.epoch,
            capsule: self.capsule,
            pipeline: Name::new(&self.pipeline).ok()?,
            name: Name::new(&self.name).ok()?,
            replica: self.replica,
            lease_ms: self.lease_ms,
            failover: self.failover,
            checkpoint_ms: self.checkpoint_ms,
            rollback: self.rollback,
            config: match &self.config {
                Some(bytes) => Some(Payload::new(bytes).ok()?),
                None => None,
            },
            inbound: List::new(&self.inbound).ok()?,
            outbound: List::new(&self.outbound).ok()?,
            peers: List::new(&self.peers).ok()?,
        })
    }

    /// Whether it is the same but for its owner and epochs, and for where the others are.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let bare = |row: &Self| {
            let mut row = Self {
                node: NodeId::from_bytes([0; NodeId::LEN]),
                epoch: Epoch(0),
                fence: Epoch(0),
                ..row.clone()
            };
            row.bind(|_| NodeId::from_bytes([0; NodeId::LEN]));
            row
        };
        bare(self) == bare(other)
    }

    /// Fills in on which node each instance is that a wire names.
    pub fn bind(&mut self, node_of: impl Fn(InstanceId) -> NodeId) {
        self.inbound.iter_mut().for_each(|wire| wire.node = node_of(wire.instance));
        self.outbound.iter_mut().for_each(|wire| wire.node = node_of(wire.instance));
        self.peers.iter_mut().for_each(|peer| peer.node = node_of(peer.instance));
    }

    /// Its durable form: owner, fence, assignment. `None` as for [`Row::assignment`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.array(3);
        self.node.write(&mut writer);
        self.fence.write(&mut writer);
        self.assignment()?.write(&mut writer);
        let len = writer.finish().ok()?;
        bytes.truncate(len);
        bytes.shrink_to_fit();
        Some(bytes)
    }

    /// Reads what [`Row::encode`] gave.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Kept { node, fence, row } = cbor::decode(bytes).ok()?;
        Some(Self {
            instance: row.instance,
            node,
            epoch: row.epoch,
            fence,
            capsule: row.capsule,
            pipeline: row.pipeline.as_str().to_owned(),
            name: row.name.as_str().to_owned(),
            replica: row.replica,
            lease_ms: row.lease_ms,
            failover: row.failover,
            checkpoint_ms: row.checkpoint_ms,
            rollback: row.rollback,
            config: row.config.map(|config| config.as_bytes().to_vec()),
            inbound: row.inbound.iter().collect(),
            outbound: row.outbound.iter().collect(),
            peers: row.peers.iter().collect(),
        })
    }
}

struct Kept<'a> {
    node: NodeId,
    fence: Epoch,
    row: Assignment<'a>,
}

impl<'a> Decode<'a> for Kept<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        let extra = reader.tuple(3);
        let (node, fence) = (NodeId::read(reader), Epoch::read(reader));
        let row = Assignment::read(reader);
        reader.skip_items(extra);
        Self { node, fence, row }
    }
}

/// All rows, by instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<InstanceId, Row>);

impl Rows {
    /// The row of an instance.
    #[must_use]
    pub fn get(&self, instance: InstanceId) -> Option<&Row> {
        self.0.get(&instance)
    }

    /// All of them, by instance.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.values()
    }

    /// Those that a node owns.
    pub fn of(&self, node: NodeId) -> impl Iterator<Item = &Row> {
        self.0.values().filter(move |row| row.node == node)
    }

    /// Where an instance is: at its owner, or at the gateway if it has no row.
    #[must_use]
    pub fn node_of(&self, instance: InstanceId, gateway: NodeId) -> NodeId {
        self.0.get(&instance).map_or(gateway, |row| row.node)
    }

    /// A row with the nodes of the others filled in.
    #[must_use]
    pub fn bound(&self, instance: InstanceId, gateway: NodeId) -> Option<Row> {
        let mut row = self.0.get(&instance)?.clone();
        row.bind(|instance| self.node_of(instance, gateway));
        Some(row)
    }

    /// The instance of that place in a pipeline.
    #[must_use]
    pub fn find(&self, pipeline: &str, name: &str, replica: u8) -> Option<&Row> {
        self.iter()
            .find(|row| row.pipeline == pipeline && row.name == name && row.replica == replica)
    }
}

const _: () = assert!(limits::ASSIGNMENTS <= ROWS);

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_wire::plan::{Delivery, Overflowing};

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; NodeId::LEN])
    }

    fn row(instance: u32, owner: u8) -> Row {
        let consumer = InstanceId(instance + 1);
        Row {
            instance: InstanceId(instance),
            node: node(owner),
            epoch: Epoch(3),
            fence: Epoch(4),
            capsule: Digest::of(b"capsule"),
            pipeline: "city".into(),
            name: "clean".into(),
            replica: 1,
            lease_ms: Some(60_000),
            failover: Failover::Checkpoint,
            checkpoint_ms: Some(30_000),
            rollback: true,
            config: Some(vec![0x80]),
            inbound: vec![],
            outbound: vec![Outbound {
                output: 0,
                node: node(0),
                instance: consumer,
                input: 2,
                delivery: Delivery::Every,
                overflow: Overflowing::PauseProducer,
            }],
            peers: vec![PeerBinding { peer: 0, node: node(0), instance: InstanceId(99) }],
        }
    }

    #[test]
    fn a_row_survives() {
        let row = row(7, 1);
        assert_eq!(Row::decode(&row.encode().unwrap()), Some(row));
        assert_eq!(Row::decode(b"no row"), None);
    }

    #[test]
    fn wires_lead_to_owners_or_the_gateway() {
        let rows = Rows([row(7, 1), row(8, 2)].map(|row| (row.instance, row)).into());
        let bound = rows.bound(InstanceId(7), node(9)).unwrap();
        assert_eq!(bound.outbound[0].node, node(2));
        assert_eq!(bound.peers[0].node, node(9));
        assert!(bound.is_like(rows.get(InstanceId(7)).unwrap()));
        assert!(!bound.is_like(rows.get(InstanceId(8)).unwrap()));
        assert_eq!(rows.of(node(2)).count(), 1);
        assert_eq!(rows.find("city", "clean", 1).map(|row| row.instance), Some(InstanceId(7)));
    }

    #[test]
    fn what_no_node_would_take_has_no_durable_form() {
        let mut row = row(7, 1);
        row.name = "No Name".into();
        assert_eq!(row.encode(), None);
    }
}
