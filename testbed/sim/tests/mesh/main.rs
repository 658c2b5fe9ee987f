//! The whole mesh in virtual time: real gateway, real nodes, and what goes wrong between them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod drain;
mod failover;
mod lease;
mod matrix;
mod moves;
mod mqtt;
mod plans;
mod rebalance;
mod registry;
mod relay;
mod rollout;
mod site;

use capmesh_sim::scenario::{
    await_running, await_step, deploy, free_node, host, instance, instances, migrate, push_sum,
    sum_apart, with_stack,
};
use capmesh_sim::{Host, World, capsules};
use std::time::Duration;

/// A world whose registry has the capsules; the source sends `count` messages, one each 20 ms.
fn world(seed: u64, nodes: Host, count: u32) -> World {
    let mut world = World::new(seed, nodes, &capsules::config());
    push_sum(&mut world, count);
    world
}

/// Waits until every message has come through once, in order.
fn await_all(world: &mut World, count: u32) {
    let (messages, hash) = capsules::expected(count);
    world.run_until(600, |world| world.last(0) >= messages);
    world.run_for(Duration::from_secs(2));
    assert_eq!((world.last(0), world.last(1)), (messages, hash), "seed {}", world.seed);
}
