//! Whether a mesh is as it should be.

use super::Failure;
use crate::Host;
use crate::script::{Action, Capsule, Failover, Pipeline, Script};
use crate::site::name;
use crate::world::World;
use capmesh_gateway::api::{Answer, InstanceView, MigrationState, NodeState, NodeView, Request};
use capmesh_wire::ErrorCode;
use capmesh_wire::inventory::InstanceState;
use std::collections::BTreeMap;

/// What is not as it should be, and whom it is about.
#[derive(Debug, Default)]
pub(super) struct Amiss {
    pub(super) what: Vec<String>,
    instances: Vec<u32>,
    hosts: Vec<Host>,
}

impl Amiss {
    fn host(&mut self, host: Host, what: String) {
        self.hosts.push(host);
        self.what.push(what);
    }

    fn instance(&mut self, instance: u32, what: String) {
        self.instances.push(instance);
        self.what.push(what);
    }

    /// As a failure, if there is anything.
    pub(super) fn failure(self, world: &World, kind: String, after: u64) -> Failure {
        let what = format!("after {after} s: {}", self.what.join("; "));
        let Self { instances, hosts, .. } = self;
        Failure { instances, hosts, ..Failure::new(world.now, kind, what) }
    }
}

/// What is not as it should be where these nodes are well and all others are gone. Time passes until the
/// gateway has answered.
pub(super) fn amiss(world: &mut World, script: &Script, well: &[Host]) -> Amiss {
    let mut amiss = Amiss::default();
    let asked = (
        world.ask(&Request::Site),
        world.ask(&Request::Nodes),
        world.ask(&Request::Instances(Default::default())),
        world.ask(&Request::Migrations),
    );
    let (
        Some(Ok(Answer::Site(site))),
        Some(Ok(Answer::Nodes(nodes))),
        Some(Ok(Answer::Instances(instances))),
        Some(Ok(Answer::Migrations(migrations))),
    ) = asked
    else {
        amiss.what.push("the gateway does not answer".to_owned());
        return amiss;
    };
    for host in well {
        if let Some(node) = nodes.iter().find(|node| node.name == name(*host))
            && let Some(what) = of_node(node, site.roster)
        {
            amiss.host(*host, what);
        }
    }
    let names: Vec<String> = well.iter().map(|host| name(*host)).collect();
    let capsules = capsules(script);
    for instance in &instances {
        if let Some(what) = of_instance(instance, &names, &capsules) {
            amiss.instance(instance.instance, what);
        }
    }
    let is_over = |state| matches!(state, MigrationState::Done | MigrationState::Undone);
    for migration in migrations.iter().filter(|migration| !is_over(migration.state)) {
        let (path, to) = (&migration.path, &migration.to);
        let what = format!("{path} is still being moved to {to} ({:?})", migration.state);
        amiss.instance(migration.instance, what);
    }
    amiss
}

fn of_node(node: &NodeView, roster: u32) -> Option<String> {
    let name = &node.name;
    match node.state {
        NodeState::Revoked => None,
        NodeState::Online if node.draining => Some(format!("{name} is still being drained")),
        NodeState::Online if node.roster != Some(roster) => {
            Some(format!("{name} has roster {:?} and not {roster}", node.roster))
        }
        NodeState::Online => None,
        state => Some(format!("{name} is {state:?}")),
    }
}

fn of_instance(
    instance: &InstanceView,
    well: &[String],
    capsules: &BTreeMap<String, Capsule>,
) -> Option<String> {
    let InstanceView { path, node, state, reason, .. } = instance;
    let capsule = capsules.get(&format!("{}/{}", instance.pipeline, instance.name));
    if !well.contains(node) {
        let may_wait = capsule.is_none_or(|capsule| capsule.failover == Failover::None);
        return (!may_wait).then(|| format!("{path} is still on {node}, which is gone"));
    }
    // One that falls over its messages is where it is to be, whatever it is doing; and a node takes no
    // older version of a capsule unless it may.
    let may_fall = capsule.is_some_and(|capsule| capsule.recipe.is_hostile());
    let may_be_old = capsule.is_some_and(|capsule| !capsule.rollback);
    match (state, reason) {
        (Some(InstanceState::Running), _) => None,
        (Some(InstanceState::BackingOff | InstanceState::Failed), _) if may_fall => None,
        (Some(InstanceState::Failed), Some(ErrorCode::RolledBack)) if may_be_old => None,
        _ => Some(format!("{path} on {node} is {state:?} ({reason:?})")),
    }
}

/// The capsules of a script, by pipeline and name.
fn capsules(script: &Script) -> BTreeMap<String, Capsule> {
    let later = script.actions.iter().filter_map(|(_, action)| match action {
        Action::Deploy(pipeline) => Some(&**pipeline),
        _ => None,
    });
    let of = |pipeline: &Pipeline| {
        let name = pipeline.name.clone();
        let capsules = pipeline.capsules.clone().into_iter().enumerate();
        capsules.map(move |(place, capsule)| (format!("{name}/c{place}"), capsule))
    };
    script.pipelines.iter().chain(later).flat_map(of).collect()
}

/// How many capsules fall over their messages.
pub(super) fn falling(script: &Script) -> u32 {
    capsules(script).values().filter(|capsule| capsule.recipe.is_hostile()).count() as u32
}

/// Whether all instances run, also those that may fall over.
pub(super) fn all_run(world: &mut World) -> bool {
    let all = world.ask(&Request::Instances(Default::default()));
    let Some(Ok(Answer::Instances(all))) = all else { return false };
    all.iter().all(|instance| instance.state == Some(InstanceState::Running))
}

/// How many messages were handled and published so far, over all instances.
pub(super) fn flow(world: &mut World) -> Option<(u64, u64)> {
    let all = world.ask(&Request::Instances(Default::default()));
    let Some(Ok(Answer::Instances(all))) = all else { return None };
    let sum = |of: fn(&InstanceView) -> u64| all.iter().map(of).sum();
    Some((sum(|i| i.counters.handled), sum(|i| i.counters.published)))
}
