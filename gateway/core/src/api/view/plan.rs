//! Pipelines, plans, migrations.

use crate::api::codes::{delivery, overflow};
use capmesh_wire::plan::{Delivery, Overflowing};
use serde::{Deserialize, Serialize};

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: PipelineState,
    /// When it was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<u64>,
    /// Its instances, as `pipeline/name/replica`.
    pub instances: Vec<String>,
    /// How many of them run.
    pub running: u32,
    /// Its wires.
    pub wires: Vec<WireView>,
    /// Its outputs that go to the broker: `capsule.output`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishes: Vec<String>,
    /// Its inputs that come from the broker: MQTT topics and `capsule.input`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribes: Vec<(String, String)>,
    /// What keeps it from being as it should, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Its text in TOML, where a single pipeline was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How a pipeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelineState {
    /// Instances are on their way to where they are to run.
    Starting,
    /// All of its instances run.
    Running,
    /// Some of its instances do not run, and are not just starting.
    Degraded,
    /// There is no place for it any more.
    Unplaceable,
    /// It is being ended.
    Ending,
}

/// A wire of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireView {
    /// `capsule.output`.
    pub from: String,
    /// `capsule.input`.
    pub to: String,
    /// What it promises.
    #[serde(with = "delivery")]
    pub delivery: Delivery,
    /// What a full outbox does.
    #[serde(with = "overflow")]
    pub overflow: Overflowing,
}

/// What runs where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Its revision; that of the plan it would replace, in a dry run.
    pub revision: u32,
    /// One row for each instance.
    pub rows: Vec<PlanRow>,
    /// What it costs in all, in the unit of `gateway/placement`.
    pub cost: u64,
    /// Whether no plan costs less.
    pub optimal: bool,
}

/// Where an instance goes and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// The instance's number; absent in a dry run, if it has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// `pipeline/name/replica`.
    pub path: String,
    /// The capsule: its name and version.
    pub capsule: String,
    /// The node.
    pub node: String,
    /// What happens to it.
    pub change: Change,
    /// The node that it comes from, if it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Why this node, a sentence each.
    pub why: Vec<String>,
}

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It stays where it is.
    Stays,
    /// It starts.
    Starts,
    /// It moves to another node.
    Moves,
    /// It goes on with another capsule or configuration.
    Changes,
    /// It ends.
    Ends,
}

/// A move of an instance from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationView {
    /// The instance's number.
    pub instance: u32,
    /// `pipeline/name/replica`.
    pub path: String,
    /// The node that it leaves.
    pub from: String,
    /// The node that it goes to.
    pub to: String,
    /// Its epoch afterwards.
    pub epoch: u32,
    /// How far it is.
    pub state: MigrationState,
    /// Who or what wants it, in a sentence.
    pub cause: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<u64>,
    /// What was done, in order.
    pub steps: Vec<StepView>,
    /// Bytes of the state that moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_bytes: Option<u32>,
    /// For how long it ran nowhere: from when its node was told to quiesce it until the other one had
    /// started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout_us: Option<u64>,
    /// What went wrong, if it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationState {
    /// The other node does not own it yet.
    Running,
    /// The other node owns it; what is left is to start it and to clear up.
    Committed,
    /// It is done.
    Done,
    /// It is being undone.
    Undoing,
    /// It was undone: the instance runs where it was.
    Undone,
}

/// A step of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// What it is called: `prepare`, `quiesce`, `restore`, `commit`, `start`, `release`, `resume`.
    pub step: String,
    /// When it began, after the migration did.
    pub after_us: u64,
    /// How long it took; absent as long as it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}
