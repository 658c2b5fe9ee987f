//! Nodes that do not hear each other, and those between them.

use super::{await_all, await_running, deploy, instance, migrate, push_sum, with_stack};
use capmesh_gateway::api::{Answer, Label, Request};
use capmesh_node::Config;
use capmesh_sim::net::{Way, group};
use capmesh_sim::scenario::sum;
use capmesh_sim::{World, capsules};
use capmesh_wire::inventory::LinkKind;
use std::time::Duration;

/// Messages that go through.
const COUNT: u32 = 150;

/// The pipeline, whose adder is to be on the other end of the row than the others.
fn pipeline() -> String {
    let [left, right] =
        ["left", "right"].map(|label| format!("affinity = {{ labels = [\"{label}\"] }}"));
    sum(&left, &right, &left)
}

/// Three nodes in a row, of which the first and the last do not hear each other.
fn row(seed: u64) -> World {
    let config = Config { group: Some(group()), link: LinkKind::Ieee802154, ..capsules::config() };
    let mut world = World::new(seed, 3, &config);
    world.part(1, 3, Way::Both);
    push_sum(&mut world, COUNT);
    world
}

fn label(world: &mut World, node: &str, label: &str) {
    let add = vec![label.to_owned()];
    let label = Label { node: node.to_owned(), add, remove: Vec::new() };
    world.insist(&Request::Label(label));
}

#[test]
fn messages_go_through_a_relay_that_both_hear() {
    with_stack(|| {
        for seed in 1..4 {
            let mut world = row(seed);
            (1..=3).for_each(|n| world.adopt(n));
            label(&mut world, "n1", "left");
            label(&mut world, "n3", "right");
            // They announce themselves meanwhile.
            world.run_for(Duration::from_secs(30));
            deploy(&mut world, &pipeline());
            await_running(&mut world);
            assert_eq!(instance(&mut world, "adder").node, "n3");
            assert_eq!(instance(&mut world, "sink").node, "n1");
            await_all(&mut world, COUNT);
        }
    });
}

#[test]
fn an_instance_moves_between_nodes_that_do_not_hear_each_other() {
    with_stack(|| {
        let mut world = row(5);
        (1..=3).for_each(|n| world.adopt(n));
        label(&mut world, "n1", "left");
        label(&mut world, "n3", "right");
        label(&mut world, "n1", "right");
        world.run_for(Duration::from_secs(30));
        deploy(&mut world, &pipeline());
        await_running(&mut world);
        let from = instance(&mut world, "adder").node;
        let to = if from == "n1" { "n3" } else { "n1" };
        world.insist(&migrate("adder", to));
        super::moves::await_calm(&mut world);
        assert_eq!(instance(&mut world, "adder").node, to);
        await_all(&mut world, COUNT);
        if let Answer::Migrations(all) = world.insist(&Request::Migrations) {
            assert!(all.iter().any(|m| m.to == to && m.problem.is_none()), "{all:#?}");
        }
    });
}
