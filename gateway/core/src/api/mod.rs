//! What people and programs say to a gateway and hear from it, as JSON.
//!
//! HTTP, requests over MQTT, the typed client and the command all use these types: a [`Request`] is
//! answered by an [`Answer`] or a [`Refusal`], and an [`Event`] says that something has changed.
//!
//! # JSON
//! - Keys are in snake case, codes (states, operations, reasons) in kebab case.
//! - A request is an object with its operation in `op`: `{"op":"drain","node":"n03"}`. Keys that it
//!   does not know are refused, so that a typing error is noticed.
//! - An answer is an object with one key that says what it is: `{"nodes":[...]}`. What is absent is
//!   left out. Readers pass over keys that they do not know: answers and events grow.
//! - Times of day are milliseconds since 1970 (`..._at`), lengths of time milliseconds (`..._ms`) or
//!   microseconds (`..._us`). Times of day are absent as long as the gateway does not know them.
//! - A node is called by its name or its id, an instance `pipeline/name/replica` or by its number
//!   ([`InstanceRef`]), a capsule as in the registry (`city/clean:1`, `city/clean@sha256:...`).
//!
//! # Bounds
//! Requests come from outside: [`Request::parse`] takes no more than [`limits::REQUEST`] bytes, and
//! [`Request::check`] refuses what breaks a grammar or a bound of [`limits`]. Views are made by the
//! gateway and are as large as what they show.

mod answer;
mod codes;
mod event;
pub mod limits;
mod reference;
mod refusal;
mod request;
mod view;

pub use answer::{Answer, Deployed, Done};
pub use event::{Event, Gone};
pub use reference::{InstanceRef, InvalidInstance};
pub use refusal::{Mistake, Refusal, RefusalCode};
pub use request::{
    Adopt, Deploy, Label, LogQuery, Migrate, OnInstance, OnNode, OnPipeline, Remove, Rename,
    Request, Which,
};
pub use view::{
    CapsuleView, Change, ClockView, Counters, Direction, FieldView, Holder, InstanceView, LinkView,
    LogLine, MigrationState, MigrationView, MqttView, NodeState, NodeView, PipelineState,
    PipelineView, PlanRow, PlanView, PortView, RefusedView, RegistryView, ShareView, SiteView,
    StepView, TopicView, ValueView, WireView,
};

#[cfg(test)]
mod tests;
