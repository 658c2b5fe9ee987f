//! Shorter ways to what is asked most.

use crate::api::{
    Adopt, Answer, CapsuleView, Deploy, Deployed, Done, InstanceRef, InstanceView, LogLine,
    LogQuery, Migrate, MigrationView, NodeView, OnInstance, OnNode, OnPipeline, PipelineView,
    PlanView, Request, SiteView, TopicView, Which,
};
use crate::{Client, Error};

/// One method for each request: its documentation, name, arguments, request, and the answer's variant.
macro_rules! asks {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $request:expr
        => $variant:ident: $answer:ty;)*) => {
        impl Client {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// As [`Client::ask`].
            pub async fn $name(&self, $($argument: $type),*) -> Result<$answer, Error> {
                match self.ask(&$request).await? {
                    Answer::$variant(answer) => Ok(answer.into_answer()),
                    other => Err(another(&other)),
                }
            }
        )*}
    };
}

asks! {
    /// The site.
    site() = Request::Site => Site: SiteView;
    /// All nodes.
    nodes() = Request::Nodes => Nodes: Vec<NodeView>;
    /// A node, by its name or id.
    node(node: &str) = Request::Node(on_node(node)) => Node: NodeView;
    /// The instances that fit.
    instances(which: Which) = Request::Instances(which) => Instances: Vec<InstanceView>;
    /// An instance.
    instance(instance: InstanceRef)
        = Request::Instance(OnInstance { instance }) => Instance: InstanceView;
    /// All pipelines.
    pipelines() = Request::Pipelines => Pipelines: Vec<PipelineView>;
    /// A pipeline.
    pipeline(name: &str) = Request::Pipeline(on_pipeline(name)) => Pipeline: PipelineView;
    /// What runs where and why.
    plan() = Request::Plan => Plan: PlanView;
    /// All topics.
    topics() = Request::Topics => Topics: Vec<TopicView>;
    /// Lines of the log, oldest first.
    log(query: LogQuery) = Request::Log(query) => Log: Vec<LogLine>;
    /// All capsules.
    capsules() = Request::Capsules => Capsules: Vec<CapsuleView>;
    /// Migrations, newest first.
    migrations() = Request::Migrations => Migrations: Vec<MigrationView>;
    /// Runs a pipeline, or says what would be done.
    deploy(deploy: Deploy) = Request::Deploy(deploy) => Deployed: Deployed;
    /// Ends a pipeline.
    undeploy(name: &str) = Request::Undeploy(on_pipeline(name)) => Done: Done;
    /// Moves an instance; answered once that has begun.
    migrate(instance: InstanceRef, to: &str)
        = Request::Migrate(Migrate { instance, to: to.to_owned() }) => Migration: MigrationView;
    /// Takes a node into the site.
    adopt(adopt: Adopt) = Request::Adopt(adopt) => Node: NodeView;
    /// Takes a node off the roster.
    revoke(node: &str) = Request::Revoke(on_node(node)) => Done: Done;
    /// Puts nothing new on a node, and moves away what is there.
    drain(node: &str) = Request::Drain(on_node(node)) => Done: Done;
    /// Lets a node take instances again.
    undrain(node: &str) = Request::Undrain(on_node(node)) => Done: Done;
}

fn on_node(node: &str) -> OnNode {
    OnNode { node: node.to_owned() }
}

fn on_pipeline(name: &str) -> OnPipeline {
    OnPipeline { pipeline: name.to_owned() }
}

fn another(answer: &Answer) -> Error {
    let text = serde_json::to_string(answer).unwrap_or_default();
    let kind = text.split('"').nth(1).unwrap_or_default();
    Error::protocol(&format_args!("something else was answered: {kind}"))
}

/// What an answer holds, whether it is in a box or not.
trait IntoAnswer<T> {
    fn into_answer(self) -> T;
}

impl<T> IntoAnswer<T> for T {
    fn into_answer(self) -> T {
        self
    }
}

impl<T> IntoAnswer<T> for Box<T> {
    fn into_answer(self) -> T {
        *self
    }
}
