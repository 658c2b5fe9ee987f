//! Nodes come, pipelines run.

use super::{PIPELINE, await_all, await_running, deploy, instances, with_stack, world};

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
