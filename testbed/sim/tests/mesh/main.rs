//! The whole mesh in virtual time: real gateway, real nodes, and what goes wrong between them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod drain;
mod failover;
mod lease;
mod matrix;
mod moves;
mod rebalance;
mod relay;
mod rollout;
mod site;

use capmesh_gateway::api::{Answer, Deploy, InstanceRef, InstanceView, Migrate, Request};
use capmesh_sim::{Host, World, capsules};
use capmesh_wire::inventory::InstanceState;

/// The pipeline source -> adder -> sink on three nodes.
const PIPELINE: &str = r#"
[pipeline]
name = "test"

[[capsule]]
name = "source"
use = "test/source:1"
affinity = { apart = ["adder", "sink"] }

[[capsule]]
name = "adder"
use = "test/adder:1"
affinity = { apart = ["sink"] }
failover = "none"

[[capsule]]
name = "sink"
use = "test/sink:1"

[[wire]]
from = "source.out"
to = "adder.in"
delivery = "every"

[[wire]]
from = "adder.out"
to = "sink.in"
delivery = "every"
"#;

/// Runs a test with room for a gateway's endpoint on the stack.
fn with_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A world whose registry has the capsules; the source sends `count` messages, one each 20 ms.
fn world(seed: u64, nodes: Host, count: u32) -> World {
    let mut world = World::new(seed, nodes, &capsules::config());
    push(&mut world, count);
    world
}

/// Gives the registry the capsules of the pipeline.
fn push(world: &mut World, count: u32) {
    world.registry.push("test/source:1", &capsules::source(count, 20_000));
    world.registry.push("test/adder:1", &capsules::adder());
    world.registry.push("test/sink:1", &capsules::sink());
}

fn deploy(world: &mut World, text: &str) {
    let (text, file) = (text.to_owned(), None);
    world.insist(&Request::Deploy(Deploy { text, file, dry_run: false }));
}

fn instances(world: &mut World) -> Vec<InstanceView> {
    match world.insist(&Request::Instances(Default::default())) {
        Answer::Instances(instances) => instances,
        other => panic!("{other:?}"),
    }
}

fn instance(world: &mut World, name: &str) -> InstanceView {
    let all = instances(world);
    all.into_iter().find(|instance| instance.name == name).unwrap()
}

/// Waits until all instances run.
fn await_running(world: &mut World) {
    for _ in 0..300 {
        let all = instances(world);
        if !all.is_empty() && all.iter().all(|i| i.state == Some(InstanceState::Running)) {
            return;
        }
        world.run_for(std::time::Duration::from_millis(200));
    }
    let all = instances(world);
    panic!("seed {}: not all run: {all:#?}", world.seed);
}

fn migrate(name: &str, to: &str) -> Request {
    Request::Migrate(Migrate { instance: InstanceRef::place("test", name, 0), to: to.into() })
}

/// A node that hosts nothing.
fn free_node(world: &mut World) -> String {
    let all = instances(world);
    let nodes = (1..=world.machines.len()).map(|n| format!("n{n}"));
    nodes.into_iter().find(|n| all.iter().all(|i| i.node != *n)).unwrap()
}

/// Waits until every message has come through once, in order.
fn await_all(world: &mut World, count: u32) {
    let (messages, hash) = capsules::expected(count);
    world.run_until(600, |world| world.last(0) >= messages);
    world.run_for(std::time::Duration::from_secs(2));
    assert_eq!((world.last(0), world.last(1)), (messages, hash), "seed {}", world.seed);
}
