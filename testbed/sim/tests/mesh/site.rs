//! Nodes come, pipelines run.

use super::{PIPELINE, await_all, await_running, deploy, instances, push, with_stack, world};
use capmesh_sim::{World, capsules};

#[test]
fn a_pipeline_runs_on_nodes_that_were_just_adopted() {
    with_stack(|| {
        let mut world = world(1, 3, 100);
        (1..=3).for_each(|n| world.adopt(n));
        deploy(&mut world, PIPELINE);
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
        push(&mut world, 100);
        deploy(&mut world, PIPELINE);
        await_running(&mut world);
        await_all(&mut world, 100);
    });
}
