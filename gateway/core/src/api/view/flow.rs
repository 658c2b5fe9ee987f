//! Topics, values, the log.

use crate::api::codes::{delivery, level, unit};
use capmesh_wire::Unit;
use capmesh_wire::log::Level;
use capmesh_wire::plan::Delivery;
use serde::{Deserialize, Serialize};

/// A topic that passes the gateway on its way to the broker or from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name in the mesh: `pipeline/capsule/output`, or `pipeline/capsule/input` for one that comes
    /// from the broker.
    pub topic: String,
    /// Its name at the broker.
    pub mqtt: String,
    /// Which way it goes.
    pub direction: Direction,
    /// What is promised.
    #[serde(with = "delivery")]
    pub delivery: Delivery,
    /// The number of the instance that publishes or takes it.
    pub instance: u32,
    /// The name of the node that hosts it.
    pub node: String,
    /// The type of its messages.
    pub schema: PortView,
    /// Messages since the gateway's start.
    pub messages: u64,
    /// Messages that are missing or were dropped since the gateway's start.
    pub lost: u64,
    /// The last value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ValueView>,
}

/// Which way a topic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the mesh to the broker.
    Publish,
    /// From the broker to the mesh.
    Subscribe,
}

/// The type of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// The schema's name.
    pub name: String,
    /// Which of the schemas of that name.
    pub version: u16,
    /// Its fields.
    pub fields: Vec<FieldView>,
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldView {
    /// What it is called.
    pub name: String,
    /// What it holds: `bool`, `u8`, ... `f64`, `text`, `bytes`.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is measured in.
    #[serde(with = "unit")]
    pub unit: Unit,
    /// Whether it may be absent.
    pub optional: bool,
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueView {
    /// The topic's name in the mesh.
    pub topic: String,
    /// The number of the instance that published it.
    pub instance: u32,
    /// The epoch of the producer.
    pub epoch: u32,
    /// Its number in its stream.
    pub seq: u64,
    /// When it was sampled, in microseconds since 1970; absent if its node does not know the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_us: Option<u64>,
    /// The message as it goes to the broker.
    pub value: serde_json::Map<String, serde_json::Value>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The node whose log it is in; absent for the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its number in that log since the node's start: a gap is what was dropped.
    pub number: u32,
    /// The instance that wrote it, as `pipeline/name/replica`; absent if the node did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How serious it is.
    #[serde(with = "level")]
    pub level: Level,
    /// What it says.
    pub text: String,
}
