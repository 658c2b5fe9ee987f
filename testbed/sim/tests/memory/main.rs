//! What a gateway takes of memory for each node, all of it: members, nodes with inventory, status and
//! what they are told, rows of the plan, sessions and observations, streams of the bridge.
//!
//! ```sh
//! cargo test -p capmesh-sim --profile sim --test memory -- --ignored --nocapture
//! ```
//!
//! Measured is what is freed when a gateway is dropped that real nodes have sessions with, idle ones and
//! ones that each run an instance with an `every` wire to the broker. Two sites of different sizes tell
//! what comes with each node, and what is there whatever their number: the tables of an endpoint for 1,000
//! nodes, in which sessions and observations have their places. A roster has 500 entries at most, so that
//! these tables are never full here.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use capmesh_capsule::meter::{Meter, live};
use capmesh_gateway::api::{Answer, NodeState, Request};
use capmesh_sim::scenario::{await_running, deploy, with_stack};
use capmesh_sim::{Host, World, capsules};
use std::time::Duration;

#[global_allocator]
static METER: Meter = Meter;

/// The sites that are compared. Both have an endpoint of the large size.
const SITES: [Host; 2] = [120, 480];

/// Nodes that the tables of the large size are for.
const NODES: usize = 1_000;

/// What a node may take that runs an instance, its part of the tables with it.
const MOST: usize = 8 << 10;

/// Replicas of one capsule.
const REPLICAS: Host = 8;

/// Bytes of memory of a gateway with so many nodes.
fn bytes(nodes: Host, are_busy: bool) -> usize {
    let mut world = World::settled(1, nodes, &capsules::config());
    world.registry.push("test/source:1", &capsules::source(1_000_000, 2_000_000));
    if are_busy {
        (0..nodes / REPLICAS).for_each(|number| deploy(&mut world, &pipeline(number)));
        await_running(&mut world);
    }
    world.run_for(Duration::from_secs(30));
    let Answer::Nodes(all) = world.insist(&Request::Nodes) else { panic!("other nodes") };
    assert_eq!(all.len(), usize::from(nodes));
    assert!(all.iter().all(|node| node.state == NodeState::Online));
    drop(all);
    let before = live();
    drop(world.gate.gateway.take());
    usize::try_from(before - live()).unwrap()
}

fn pipeline(number: Host) -> String {
    format!(
        r#"
[pipeline]
name = "p{number}"

[[capsule]]
name = "source"
use = "test/source:1"
replicas = {REPLICAS}

[bridge]
publish = [{{ from = "source.out", delivery = "every" }}]
"#
    )
}

/// What comes with a node, and what is there without any.
fn measure(are_busy: bool) -> (usize, usize) {
    let [few, many] = SITES.map(|nodes| bytes(nodes, are_busy));
    let each = (many - few) / usize::from(SITES[1] - SITES[0]);
    (each, few - each * usize::from(SITES[0]))
}

#[test]
#[ignore = "without optimisation it takes minutes, and a stack of 128 MB"]
fn a_gateway_takes_so_much_for_each_node() {
    with_stack(|| {
        let (idle, tables) = measure(false);
        let (busy, _) = measure(true);
        println!("{idle} bytes come with an idle node, {busy} with one that runs an instance");
        let part = tables / NODES;
        println!("{tables} bytes are there whatever their number: {part} for each of {NODES}");
        println!("{} bytes in all for a node that runs an instance", busy + part);
        assert!(idle <= busy && busy + part <= MOST);
    });
}
