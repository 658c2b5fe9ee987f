//! What has changed, for whoever watches.

use super::{
    InstanceView, LogLine, MigrationView, MqttView, NodeView, PipelineView, PlanView, ValueView,
};
use serde::{Deserialize, Serialize};

/// Something has changed: a server-sent event whose name is [`Event::name`] and whose data is this as
/// JSON, an object with one key. Each says the whole new state of one thing, so that a watcher that
/// missed some is right again after the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A node has come, or is not as it was.
    Node(Box<NodeView>),
    /// An instance has come, or is not as it was.
    Instance(Box<InstanceView>),
    /// A pipeline has come, or is not as it was.
    Pipeline(Box<PipelineView>),
    /// There is another plan.
    Plan(PlanView),
    /// A migration has begun, come further, or ended.
    Migration(Box<MigrationView>),
    /// The newest value of a topic. There is no event for each message: a topic that has more than one
    /// between two events shows the last.
    Value(ValueView),
    /// A line of the log.
    Log(LogLine),
    /// The way to the broker.
    Mqtt(MqttView),
    /// Something is no more.
    Gone(Gone),
}

/// Something is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gone {
    /// The node of this name.
    Node(String),
    /// The instance of this number.
    Instance(u32),
    /// The pipeline of this name.
    Pipeline(String),
    /// The topic of this name.
    Topic(String),
}

impl Event {
    /// The name of the server-sent event: the key of the object.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Instance(_) => "instance",
            Self::Pipeline(_) => "pipeline",
            Self::Plan(_) => "plan",
            Self::Migration(_) => "migration",
            Self::Value(_) => "value",
            Self::Log(_) => "log",
            Self::Mqtt(_) => "mqtt",
            Self::Gone(_) => "gone",
        }
    }
}
