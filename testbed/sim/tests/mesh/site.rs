//! Nodes come, pipelines run.

use super::{await_all, await_running, deploy, instances, push_sum, sum_apart, with_stack, world};
use capmesh_gateway::api::{InstanceView, OnPipeline, Request};
use capmesh_sim::scenario::lamp;
use capmesh_sim::{Doom, World, capsules};
use capmesh_wire::inventory::InstanceState;
use std::time::Duration;

#[test]
fn a_pipeline_runs_on_nodes_that_were_just_adopted() {
    with_stack(|| {
        let mut world = world(1, 3, 100);
        (1..=3).for_each(|n| world.adopt(n));
        deploy(&mut world, &sum_apart());
        await_running(&mut world);
        await_all(&mut world, 100);
        let nodes: std::collections::BTreeSet<_> =
            instances(&mut world).into_iter().map(|instance| instance.node).collect();
        assert_eq!(nodes.len(), 3);
    });
}

#[test]
fn a_site_that_has_its_nodes_already_runs_a_pipeline() {
    with_stack(|| {
        let mut world = World::settled(1, 3, &capsules::config());
        push_sum(&mut world, 100);
        deploy(&mut world, &sum_apart());
        await_running(&mut world);
        await_all(&mut world, 100);
    });
}

#[test]
fn what_is_ended_runs_or_is_gone_wherever_the_gateway_is_killed() {
    with_stack(|| {
        for commit in 1..4 {
            let mut world = World::settled(commit, 2, &capsules::config());
            lamp(&mut world, "");
            world.run_for(Duration::from_secs(1));
            world.gate.doom = Some(Doom::Before(world.gate.commits + commit));
            let pipeline = "test".to_owned();
            world.begin_ask(&Request::Undeploy(OnPipeline { pipeline }));
            world.run_for(Duration::from_secs(10));
            let all = instances(&mut world);
            let is_well = |view: &InstanceView| view.state == Some(InstanceState::Running);
            assert!(all.iter().all(is_well), "before commit {commit}: {all:#?}");
        }
    });
}
