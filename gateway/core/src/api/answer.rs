//! What a granted request gives.

use super::{
    CapsuleView, InstanceView, LogLine, MigrationView, NodeView, PipelineView, PlanView, SiteView,
    TopicView,
};
use serde::{Deserialize, Serialize};

/// What a granted request gives: an object with one key, which is the variant's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done, and there is no more to say than a sentence.
    Done(Done),
    /// The site.
    Site(Box<SiteView>),
    /// All nodes, by name.
    Nodes(Vec<NodeView>),
    /// A node.
    Node(Box<NodeView>),
    /// Instances, by pipeline, name and replica.
    Instances(Vec<InstanceView>),
    /// An instance.
    Instance(Box<InstanceView>),
    /// All pipelines, by name, without their texts.
    Pipelines(Vec<PipelineView>),
    /// A pipeline, with its text.
    Pipeline(Box<PipelineView>),
    /// What runs where and why.
    Plan(PlanView),
    /// All topics, by name.
    Topics(Vec<TopicView>),
    /// Lines of the log, oldest first.
    Log(Vec<LogLine>),
    /// All capsules, by name and digest.
    Capsules(Vec<CapsuleView>),
    /// Migrations, newest first.
    Migrations(Vec<MigrationView>),
    /// A migration that has begun.
    Migration(Box<MigrationView>),
    /// A pipeline was deployed, or would be.
    Deployed(Box<Deployed>),
}

/// It is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in a sentence.
    pub message: String,
}

/// A pipeline was deployed, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// Whether nothing was done, because only that was asked for.
    pub dry_run: bool,
    /// The pipeline.
    pub pipeline: PipelineView,
    /// Where its instances go and why, and what moves for it.
    pub plan: PlanView,
}

impl Answer {
    /// It is done.
    #[must_use]
    pub fn done(message: impl Into<String>) -> Self {
        Self::Done(Done { message: message.into() })
    }
}
