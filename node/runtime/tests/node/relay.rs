//! Nodes that do not hear each other.

use crate::world::capsules::{self, End, Packed, RowOf};
use crate::world::site::{expected, last, pipeline, plan};
use crate::world::{GATEWAY, MTU, World, address, node_id};
use capmesh_coap::Code;
use capmesh_wire::inventory::{Inventory, Link, LinkKind};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{NodeId, cbor, paths};
use std::net::SocketAddr;
use std::time::Duration;

/// Source and sink on node 1 and the adder on node 3, which do not hear each other; both hear node 2.
/// Only node 1 has the capsules.
fn walled(seed: u64, count: u32, delivery: Delivery) -> (World, [RowOf; 3]) {
    let mut world = World::new(seed, 3, &capsules::config());
    world.walls.push((1, 3));
    let capsules: [Packed; 3] =
        [capsules::source(count, 5_000), capsules::adder(), capsules::sink()];
    let rows = [
        RowOf::new(1, 1, &capsules[0], None, Some(End(3, 2)), delivery),
        RowOf::new(2, 1, &capsules[1], Some(End(1, 1)), Some(End(1, 3)), delivery),
        RowOf::new(3, 1, &capsules[2], Some(End(3, 2)), None, delivery),
    ];
    for (id, capsule) in (1..).zip(&capsules) {
        world.machine(1).preload(id, capsule);
    }
    world.boot_all();
    (world, rows)
}

#[test]
fn a_capsule_and_messages_go_through_a_relay() {
    let (mut world, rows) = walled(1, 300, Delivery::Every);
    plan(&mut world, 1, &[(1, &rows[0]), (3, &rows[1]), (1, &rows[2])]);
    world.run_until(120, |world| last(world, 1, 0) >= 300.0);
    world.run_for(Duration::from_secs(5));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), expected(300));
    // Its node says so, for whoever places capsules.
    assert_eq!(links(&mut world, 1), [(node_id(3), address(2), LinkKind::Relay)]);
}

/// The nodes that a node says it can reach.
fn links(world: &mut World, n: u8) -> Vec<(NodeId, SocketAddr, LinkKind)> {
    let answer = world.ask(n, Code::GET, paths::INVENTORY, 0, &[]);
    let inventory: Inventory<'_> = cbor::decode(&answer.payload).expect("an inventory");
    let links = inventory.links.iter().filter(|link| link.node != node_id(GATEWAY));
    links
        .map(|Link { node, address, kind, quality, mtu }| {
            assert_eq!((quality, usize::from(mtu)), (255, MTU));
            (node, address.0, kind)
        })
        .collect()
}

#[test]
fn a_node_says_whom_it_reaches() {
    let mut world = World::new(1, 2, &capsules::config());
    let (capsules, rows) = pipeline(100, 5_000, Delivery::Every);
    for n in [1, 2] {
        for (id, capsule) in (1..).zip(&capsules) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    assert_eq!(links(&mut world, 1), []);
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(links(&mut world, 1), [(node_id(2), address(2), LinkKind::Ethernet)]);
    assert_eq!(links(&mut world, 2), [(node_id(1), address(1), LinkKind::Ethernet)]);
}

#[test]
fn nothing_is_lost_when_the_relay_or_an_end_falls_over() {
    for seed in crate::world::seeds(3) {
        let (mut world, rows) = walled(seed, 300, Delivery::Every);
        world.faults.loss = 3;
        plan(&mut world, 1, &[(1, &rows[0]), (3, &rows[1]), (1, &rows[2])]);
        for n in [2, 3, 1, 2] {
            let rest = world.dice.within(0..3_000);
            world.run_for(Duration::from_millis(rest));
            world.crash(n);
            world.run_for(Duration::from_millis(rest / 2));
            world.boot(n);
        }
        world.faults.loss = 0;
        world.run_until(900, |world| last(world, 1, 0) >= 300.0);
        world.run_for(Duration::from_secs(5));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, expected(300), "seed {seed}");
    }
}

#[test]
fn without_a_relay_in_the_plan_nothing_arrives() {
    let (mut world, rows) = walled(1, 100, Delivery::Every);
    world.walls.push((1, 2));
    for machine in 1..=3 {
        let now = world.now;
        let machine = world.machine(machine);
        if let Some(node) = &mut machine.node {
            node.found(now, machine.nor.bytes(), node_id(2), address(2));
        }
    }
    plan(&mut world, 1, &[(1, &rows[0]), (3, &rows[1]), (1, &rows[2])]);
    world.run_for(Duration::from_secs(60));
    assert!(last(&mut world, 1, 0) < 1.0);
}
