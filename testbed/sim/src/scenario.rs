//! What tests and tables begin with: pipelines that run, and questions about their instances.

use crate::{Host, World, capsules};
use capmesh_gateway::api::{Answer, Deploy, InstanceRef, InstanceView, Migrate, Request};
use capmesh_wire::inventory::InstanceState;
use std::time::Duration;

/// Stack of a thread that runs a world: a gateway's endpoint passes over it when it is made.
pub const STACK: usize = 64 << 20;

/// How often a [`lamp`] acts.
pub const BEAT: Duration = Duration::from_millis(100);

/// Lines about a source and an adder of a [`sum`] that have its three capsules run on three nodes.
pub const APART: [&str; 2] =
    ["affinity = { apart = [\"adder\", \"sink\"] }", "affinity = { apart = [\"sink\"] }"];

/// Runs something on a thread with the stack that it needs.
pub fn with_stack<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(what).unwrap();
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The pipeline source -> adder -> sink, on these terms for each of them.
#[must_use]
pub fn sum(source: &str, adder: &str, sink: &str) -> String {
    format!(
        r#"
[pipeline]
name = "test"

[[capsule]]
name = "source"
use = "test/source:1"
{source}

[[capsule]]
name = "adder"
use = "test/adder:1"
{adder}

[[capsule]]
name = "sink"
use = "test/sink:1"
{sink}

[[wire]]
from = "source.out"
to = "adder.in"
delivery = "every"

[[wire]]
from = "adder.out"
to = "sink.in"
delivery = "every"
"#
    )
}

/// A [`sum`] on three nodes, whose adder waits for its node when that is lost.
#[must_use]
pub fn sum_apart() -> String {
    let [source, adder] = APART;
    sum(source, &format!("{adder}\nfailover = \"none\""), "")
}

/// Gives the registry the capsules of a [`sum`]; the source sends `count` messages, one each 20 ms.
pub fn push_sum(world: &mut World, count: u32) {
    world.registry.push("test/source:1", &capsules::source(count, 20_000));
    world.registry.push("test/adder:1", &capsules::adder());
    world.registry.push("test/sink:1", &capsules::sink());
}

/// Deploys a pipeline of one beacon, called lamp, on these terms.
pub fn lamp(world: &mut World, terms: &str) {
    let micros = BEAT.as_micros() as u32;
    world.registry.push("test/beacon:1", &capsules::beacon(micros));
    let capsule = "[[capsule]]\nname = \"lamp\"\nuse = \"test/beacon:1\"";
    deploy(world, &format!("[pipeline]\nname = \"test\"\n{capsule}\n{terms}\n"));
    await_running(world);
}

/// A world of nodes of which the first are `adopted`, and run a [`lamp`] on these terms.
#[must_use]
pub fn lit(seed: u64, nodes: Host, adopted: Host, terms: &str) -> World {
    let mut world = World::new(seed, nodes, &capsules::config());
    (1..=adopted).for_each(|n| world.adopt(n));
    lamp(&mut world, terms);
    world
}

/// Has the gateway deploy a pipeline.
pub fn deploy(world: &mut World, text: &str) {
    let (text, file) = (text.to_owned(), None);
    world.insist(&Request::Deploy(Deploy { text, file, dry_run: false }));
}

/// What has the first instance of a capsule move to a node.
#[must_use]
pub fn migrate(name: &str, to: &str) -> Request {
    Request::Migrate(Migrate { instance: InstanceRef::place("test", name, 0), to: to.into() })
}

/// All instances.
pub fn instances(world: &mut World) -> Vec<InstanceView> {
    match world.insist(&Request::Instances(Default::default())) {
        Answer::Instances(instances) => instances,
        other => panic!("{other:?}"),
    }
}

/// The first instance of a capsule.
pub fn instance(world: &mut World, name: &str) -> InstanceView {
    let all = instances(world);
    all.into_iter().find(|instance| instance.name == name).unwrap()
}

/// The node that the first instance of a capsule is on.
pub fn host(world: &mut World, name: &str) -> Host {
    number(&instance(world, name).node)
}

/// A node that hosts nothing.
pub fn free_node(world: &mut World) -> String {
    let all = instances(world);
    let mut nodes = (1..=world.machines.len()).map(|n| format!("n{n}"));
    nodes.find(|n| all.iter().all(|i| i.node != *n)).unwrap()
}

/// The number of a node by its name.
#[must_use]
pub fn number(node: &str) -> Host {
    node.trim_start_matches('n').parse().unwrap()
}

/// Waits until all instances run.
pub fn await_running(world: &mut World) {
    for _ in 0..300 {
        let all = instances(world);
        if !all.is_empty() && all.iter().all(|i| i.state == Some(InstanceState::Running)) {
            return;
        }
        world.run_for(Duration::from_millis(200));
    }
    let all = instances(world);
    panic!("seed {}: not all run: {all:#?}", world.seed);
}

/// Runs until a move has come to a step; says whether it did within a minute.
pub fn await_step(world: &mut World, step: &str) -> bool {
    let until = world.now + Duration::from_secs(60);
    loop {
        let mut steps = world.gate.migrations.values().flat_map(|m| &m.steps);
        if steps.any(|of| of.step == step) {
            return true;
        }
        if !world.step(until) {
            return false;
        }
    }
}
