//! What there is, as people see it.

mod flow;
mod node;
mod plan;
mod site;

pub use flow::{Direction, FieldView, LogLine, PortView, TopicView, ValueView};
pub use node::{
    CapsuleView, ClockView, Counters, Holder, InstanceView, LinkView, NodeState, NodeView,
    RefusedView, ShareView,
};
pub use plan::{
    Change, MigrationState, MigrationView, PipelineState, PipelineView, PlanRow, PlanView,
    StepView, WireView,
};
pub use site::{MqttView, RegistryView, SiteView};
