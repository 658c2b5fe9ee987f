//! Every checker finds the bug that is planted for it, and nothing when it is not.
//!
//! The bugs are in the world around the cores: flash that loses what it said was durable, a database that
//! loses what was committed, a host that does not keep the contract, a machine whose random numbers repeat.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod flash;
mod hosts;
mod others;

use capmesh_sim::checkers::{Checker, Checkers};
use capmesh_sim::scenario::{
    APART, await_running, deploy, free_node, host, migrate, number, push_sum, sum, with_stack,
};
use capmesh_sim::{World, capsules};
use std::time::Duration;

/// Plays a scenario with and without its bug, and has a checker find it.
fn finds(promise: &'static str, scenario: impl Fn(bool) -> World + Send + 'static) {
    with_stack(move || {
        let right = scenario(false);
        assert_eq!(right.violation, None, "without the bug");
        let found = scenario(true).violation.expect("the bug is found");
        assert_eq!(found.promise, promise, "{found}");
    });
}

/// Four nodes, on three of which a pipeline runs that also goes to MQTT: a message each 20 ms, watched by
/// one checker.
fn running(checker: impl Checker + 'static) -> World {
    let mut world = World::new(1, 4, &capsules::config());
    world.checkers = Checkers::only(vec![Box::new(checker)]);
    push_sum(&mut world, 100_000);
    (1..=4).for_each(|n| world.adopt(n));
    let pipeline = sum(APART[0], APART[1], "");
    let bridge = "[bridge]\npublish = [{ from = \"adder.out\", delivery = \"every\" }]";
    deploy(&mut world, &format!("{pipeline}\n{bridge}\n"));
    await_running(&mut world);
    world
}

/// Lets so many milliseconds pass, or fewer if a checker minds.
fn play(world: &mut World, millis: u64) {
    let until = world.now + Duration::from_millis(millis);
    while world.step(until) {}
}

/// Has an instance move to the node that hosts nothing.
fn moves(world: &mut World, name: &str) {
    let free = free_node(world);
    world.insist(&migrate(name, &free));
    for _ in 0..100 {
        play(world, 200);
        if host(world, name) == number(&free) {
            play(world, 2_000);
            return;
        }
    }
    panic!("it does not move");
}
