//! Two nodes and a gateway in one image, joined by memory: what a node costs.
//!
//! The gateway brings node 1 two capsules, over EDHOC and OSCORE, block by block. By their plans node
//! 1 runs the source and node 2 fetches the sink from node 1 and runs it. After a while the sink
//! moves to node 1: it is quiesced, its snapshot is fetched and restored, and the sum goes on as if
//! nothing had been. Each party's heap is counted by itself; the image's flash has the gateway in it,
//! which is an endpoint and little more.
#![no_std]
#![no_main]

extern crate alloc;

mod gateway;
mod machine;
mod world;

use cortex_m_rt::entry;
use footprint::{Depth, exit, fail, report};
use node_footprint::{init, party, report_part};
use world::World;

macro_rules! site {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}
use site;

#[entry]
fn main() -> ! {
    init();
    report(b"endpoint.bytes", size_of::<machine::Core>() as u32);
    report(
        b"node.bytes",
        size_of::<capmesh_node::Node<&mut machine::Core, capmesh_runtime::Runtime>>() as u32,
    );
    let mut world = World::new();
    let [one, two] = [world.identity(0), world.identity(1)];
    let depth = Depth::begin();
    let mut first = machine::endpoint(one, 1);
    report_part(b"endpoint", b".stack", depth.reached() as usize);
    let mut second = machine::endpoint(two, 2);
    world.step(b"boot", |world| world.boot([&mut first, &mut second]));
    world.step(b"handshake", |world| {
        world.get(0, "s");
        world.get(1, "s");
    });
    world.step(b"install_source", |world| world.upload(site!("source.bundle")));
    world.step(b"install_sink", |world| world.upload(site!("sink.bundle")));
    world.step(b"start_source", |world| world.put(0, "p", site!("plan1.first")));
    world.step(b"fetch_and_start_sink", |world| {
        world.put(1, "p", site!("plan1.second"));
        world.run_until(|world| world.sum(1) >= 1.0);
    });
    world.step(b"twenty_messages", |world| world.run_until(|world| world.sum(1) >= 210.0));
    for n in [0, 1] {
        report_part([&b"first_node"[..], &b"second_node"[..]][n], b".heap", party(n).live);
    }
    world.step(b"move_sink", migrate);
    let before = world.sum(1);
    world.step(b"messages_after_the_move", |world| world.run_until(|world| world.sum(0) >= 820.0));
    // The numbers from 1 on, each once.
    if !is_triangular(world.sum(0)) || !is_triangular(before) {
        fail(b"a message was lost or repeated");
    }
    for n in [0, 1] {
        report_part([&b"first_node"[..], &b"second_node"[..]][n], b".heap_peak", party(n).peak);
    }
    report(b"heap.reached", node_footprint::reached() as u32);
    exit()
}

/// What a gateway does to move an instance.
fn migrate(world: &mut World<'_>) {
    world.command(0, site!("prepare"));
    let snapshot = world.quiesce(1, site!("quiesce"));
    world.restore(0, snapshot);
    world.command(0, site!("start"));
    world.put(0, "p", site!("plan2.first"));
    world.put(1, "p", site!("plan2.second"));
    world.command(1, site!("release"));
}

/// Whether it is the sum of the numbers from 1 to some n.
fn is_triangular(sum: f64) -> bool {
    let (mut total, mut n) = (0.0, 0.0);
    while total < sum {
        n += 1.0;
        total += n;
    }
    total == sum
}
