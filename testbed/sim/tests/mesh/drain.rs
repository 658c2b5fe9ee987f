//! Nodes are emptied, and take instances again.

use super::moves::{await_calm, running};
use super::{await_all, await_running, deploy, free_node, instance, sum_apart, with_stack, world};
use capmesh_gateway::api::{Answer, OnNode, Request};
use capmesh_sim::World;
use std::time::Duration;

/// Messages that go through.
const COUNT: u32 = 150;

fn drain(world: &mut World, node: &str) -> String {
    done(world, &Request::Drain(OnNode { node: node.to_owned() }))
}

fn undrain(world: &mut World, node: &str) -> String {
    done(world, &Request::Undrain(OnNode { node: node.to_owned() }))
}

fn done(world: &mut World, request: &Request) -> String {
    match world.insist(request) {
        Answer::Done(done) => done.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_is_emptied_under_load_and_takes_instances_again() {
    with_stack(|| {
        let mut world = running(1);
        let (first, second) = (instance(&mut world, "adder").node, free_node(&mut world));
        assert_eq!(drain(&mut world, &first), format!("{first} is being emptied"));
        await_calm(&mut world);
        assert_eq!(instance(&mut world, "adder").node, second);
        // It stays empty as long as it is drained, whatever the others are like.
        world.run_for(Duration::from_secs(60));
        assert_eq!(free_node(&mut world), first);
        undrain(&mut world, &first);
        drain(&mut world, &second);
        await_calm(&mut world);
        assert_eq!(instance(&mut world, "adder").node, first);
        await_running(&mut world);
        await_all(&mut world, COUNT);
    });
}

#[test]
fn what_has_no_other_place_stays_until_there_is_one() {
    with_stack(|| {
        let mut world = world(2, 4, COUNT);
        (1..=3).for_each(|n| world.adopt(n));
        deploy(&mut world, &sum_apart());
        await_running(&mut world);
        let node = instance(&mut world, "adder").node;
        let said = drain(&mut world, &node);
        assert!(said.contains("what has no other place stays"), "{said}");
        world.run_for(Duration::from_secs(30));
        assert_eq!(instance(&mut world, "adder").node, node);
        await_running(&mut world);
        world.adopt(4);
        world.run_for(Duration::from_secs(10));
        await_calm(&mut world);
        assert_eq!(instance(&mut world, "adder").node, "n4");
        await_all(&mut world, COUNT);
    });
}

#[test]
fn a_gateway_that_was_killed_goes_on_emptying() {
    with_stack(|| {
        for millis in [0, 1, 3, 5, 8, 12, 20, 50] {
            let mut world = running(3);
            let node = instance(&mut world, "adder").node;
            drain(&mut world, &node);
            world.run_for(Duration::from_millis(millis));
            world.kill_gateway();
            world.run_for(Duration::from_secs(15));
            await_calm(&mut world);
            await_running(&mut world);
            assert_ne!(instance(&mut world, "adder").node, node, "{millis} ms");
            await_all(&mut world, COUNT);
        }
    });
}
