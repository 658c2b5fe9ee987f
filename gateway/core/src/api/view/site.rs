//! The site and its gateway.

use crate::api::codes::text;
use capmesh_wire::NodeId;
use serde::{Deserialize, Serialize};

/// A site, as its gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    /// Its name.
    pub site: String,
    /// What the gateway is called on the roster.
    pub gateway: String,
    /// The gateway's id.
    #[serde(with = "text")]
    pub gateway_id: NodeId,
    /// The version of the gateway's program.
    pub version: String,
    /// For how long the gateway has run.
    pub uptime_ms: u64,
    /// The time of day at the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_at: Option<u64>,
    /// Whether the site's key is here, so that nodes can be adopted and revoked.
    pub has_site_key: bool,
    /// The revision of the roster.
    pub roster: u32,
    /// The revision of the plan.
    pub plan: u32,
    /// Nodes on the roster.
    pub nodes: u32,
    /// How many of them are online.
    pub online: u32,
    /// Pipelines.
    pub pipelines: u32,
    /// Instances that are to run.
    pub instances: u32,
    /// How many of them do.
    pub running: u32,
    /// The way to the broker.
    pub mqtt: MqttView,
    /// The registry that is asked for capsules.
    #[serde(default)]
    pub registry: RegistryView,
}

/// The registry, as the gateway sees it. It is asked something once a minute while instances are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryView {
    /// Registries on the roster of which it is known where they are.
    pub known: u32,
    /// Whether the one that is asked answered what it was asked last.
    pub answers: bool,
    /// How long ago it answered; absent: never since the gateway was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    /// Capsules that are in use and that it does not have, as `NAME:VERSION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The way from the mesh to the broker and back. Counters count from the start of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MqttView {
    /// Whether the broker is connected.
    pub connected: bool,
    /// Messages that wait in the durable outbox.
    pub waiting: u64,
    /// How many may wait before producers are told to hold.
    pub most: u64,
    /// Messages from the mesh that were published.
    pub published: u64,
    /// Messages for `latest` wires that were superseded before they could be published.
    pub superseded: u64,
    /// Messages for `latest` wires that a producer sent and that did not arrive.
    pub lost: u64,
    /// Batches that were told to come again later.
    pub held_off: u64,
    /// Messages from the broker that were passed on into the mesh.
    pub taken: u64,
    /// Messages from the broker that were refused: not what the schema says, or no room.
    pub refused: u64,
}
