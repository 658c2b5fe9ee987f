//! Nodes, instances, capsules.

use crate::api::codes::{
    capsule_state, link_kind, optional_instance_state, optional_reason, optional_text, text,
};
use capmesh_wire::inventory::{CapsuleState, InstanceState, LinkKind};
use capmesh_wire::{Digest, ErrorCode, KeyId, NodeId};
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// What it is called.
    pub name: String,
    /// Its id.
    #[serde(with = "text")]
    pub id: NodeId,
    /// Whether it can be reached.
    pub state: NodeState,
    /// Whether it takes no new instances and loses those it has.
    pub draining: bool,
    /// Words that pipelines can ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Where it is, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// When it was heard last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<u64>,
    /// How long ago it was heard last; absent if it never was since the gateway's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<u64>,
    /// Name and version of its firmware.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub firmware: String,
    /// What board it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub board: String,
    /// Since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// How often it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<u32>,
    /// The revision of the roster that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster: Option<u32>,
    /// The revision of the plan that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u32>,
    /// What it knows of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockView>,
    /// Flash for capsules, in bytes.
    pub flash: ShareView,
    /// RAM for capsules, in bytes.
    pub ram: ShareView,
    /// Fuel per second.
    pub fuel: ShareView,
    /// Instances.
    pub places: ShareView,
    /// Its sensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    /// Its actuators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actuators: Vec<String>,
    /// Its digital inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The neighbours that it hears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
    /// The instances that it hosts or is to host, as `pipeline/name/replica`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// What it has refused since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedView>,
}

/// Whether a node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It is being adopted, or was not heard since.
    Joining,
    /// It answers.
    Online,
    /// It has not answered for a while.
    Suspect,
    /// It is lost: its instances go elsewhere, if they may.
    Offline,
    /// It was taken off the roster.
    Revoked,
}

/// An amount, and what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// All there is.
    pub total: u32,
    /// What is left.
    pub free: u32,
}

/// What a node knows of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockView {
    /// How far off its time may be by now.
    pub uncertainty_us: u64,
}

/// A way from a node to a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The neighbour's name, or its id if it is not on the roster.
    pub to: String,
    /// Where the neighbour is on this link.
    pub address: SocketAddr,
    /// What sort of link it is.
    #[serde(with = "link_kind")]
    pub kind: LinkKind,
    /// How many of 255 datagrams arrive from it, as far as is known.
    pub quality: u8,
    /// The longest datagram that passes unfragmented, in bytes.
    pub mtu: u16,
}

/// What a node has refused since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// Datagrams from nobody on the roster, or not authentic.
    pub unauthenticated: u32,
    /// Requests that a role does not allow.
    pub forbidden: u32,
    /// Messages that do not fit their schema, or that no wire brings.
    pub messages: u32,
    /// Blobs, manifests and rosters that failed verification.
    pub unverified: u32,
}

/// An instance: where it is to run, and how it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its number.
    pub instance: u32,
    /// `pipeline/name/replica`.
    pub path: String,
    /// The pipeline.
    pub pipeline: String,
    /// What the pipeline calls it.
    pub name: String,
    /// Which of the replicas.
    pub replica: u8,
    /// The capsule's name.
    pub capsule: String,
    /// The capsule's digest.
    #[serde(with = "text")]
    pub digest: Digest,
    /// The name of the node that owns it.
    pub node: String,
    /// Its epoch.
    pub epoch: u32,
    /// What it is doing; absent as long as its node has not said so, and while its node is lost.
    #[serde(default, with = "optional_instance_state", skip_serializing_if = "Option::is_none")]
    pub state: Option<InstanceState>,
    /// Whether its node is lost.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub lost: bool,
    /// Why, if it is backing off or has failed.
    #[serde(default, with = "optional_reason", skip_serializing_if = "Option::is_none")]
    pub reason: Option<ErrorCode>,
    /// Why it is placed there, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// How long it may run without hearing of the gateway; absent for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u32>,
    /// What it has counted.
    pub counters: Counters,
}

/// What an instance has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// How often it was started anew after a fault.
    pub restarts: u32,
    /// Messages handled.
    pub handled: u64,
    /// Messages published.
    pub published: u64,
    /// Messages lost on `latest` wires, or dropped by a full outbox.
    pub dropped: u32,
    /// Fuel used in the last second.
    pub fuel_per_second: u32,
    /// Messages that wait in the inbox.
    pub inbox: u16,
    /// Messages that wait in the outbox.
    pub outbox: u16,
}

/// A capsule that is in use or held somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapsuleView {
    /// The digest of its manifest.
    #[serde(with = "text")]
    pub digest: Digest,
    /// Its name in the registry.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Which of two capsules of one name is newer.
    pub sequence: u64,
    /// Who has signed it.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub publisher: Option<KeyId>,
    /// The module's length in bytes.
    pub size: u32,
    /// RAM that an instance takes, in bytes.
    pub ram: u32,
    /// Fuel that an instance takes in a second.
    pub fuel_per_second: u32,
    /// Instances of it.
    pub instances: u32,
    /// The nodes that have it or are to have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Holder>,
}

/// A node that has a capsule or is to have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The node's name.
    pub node: String,
    /// What is being done about it.
    #[serde(with = "capsule_state")]
    pub state: CapsuleState,
}
