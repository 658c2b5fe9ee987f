//! Every checker finds the bug that is planted for it, and nothing when it is not.
//!
//! The bugs are in the world around the cores: flash that loses what it said was durable, a database that
//! loses what was committed, a host that does not keep the contract, a machine whose random numbers repeat.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod flash;
mod hosts;
mod others;

use capmesh_gateway::api::{Answer, Deploy, InstanceRef, InstanceView, Migrate, Request};
use capmesh_sim::checkers::{Checker, Checkers};
use capmesh_sim::{Host, World, capsules};
use capmesh_wire::inventory::InstanceState;
use std::time::Duration;

/// The pipeline source -> adder -> sink, each on a node of its own, and to MQTT.
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

[[capsule]]
name = "sink"
use = "test/sink:1"

[[wire]]
from = "source.out"
to = "adder.in"
delivery = "every"
overflow = "pause-producer"

[[wire]]
from = "adder.out"
to = "sink.in"
delivery = "every"
overflow = "pause-producer"

[bridge]
publish = [{ from = "adder.out", delivery = "every" }]
"#;

/// Plays a scenario with and without its bug, and has a checker find it.
fn finds(promise: &'static str, scenario: impl Fn(bool) -> World + Send + 'static) {
    let play = move || {
        let right = scenario(false);
        assert_eq!(right.violation, None, "without the bug");
        let found = scenario(true).violation.expect("the bug is found");
        assert_eq!(found.promise, promise, "{found}");
    };
    // A gateway's endpoint passes over the stack when it is made.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(play).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Four nodes on which the pipeline runs, a message each 20 ms, watched by one checker.
fn running(checker: impl Checker + 'static) -> World {
    let mut world = World::new(1, 4, &capsules::config());
    world.checkers = Checkers::only(vec![Box::new(checker)]);
    world.registry.push("test/source:1", &capsules::source(100_000, 20_000));
    world.registry.push("test/adder:1", &capsules::adder());
    world.registry.push("test/sink:1", &capsules::sink());
    (1..=4).for_each(|n| world.adopt(n));
    let (text, file) = (PIPELINE.to_owned(), None);
    world.insist(&Request::Deploy(Deploy { text, file, dry_run: false }));
    for _ in 0..300 {
        let all = instances(&mut world);
        if !all.is_empty() && all.iter().all(|i| i.state == Some(InstanceState::Running)) {
            return world;
        }
        play(&mut world, 200);
    }
    panic!("it does not run");
}

fn instances(world: &mut World) -> Vec<InstanceView> {
    match world.insist(&Request::Instances(Default::default())) {
        Answer::Instances(instances) => instances,
        other => panic!("{other:?}"),
    }
}

/// The node that an instance is on.
fn host(world: &mut World, name: &str) -> Host {
    let found = instances(world).into_iter().find(|instance| instance.name == name).unwrap();
    found.node.trim_start_matches('n').parse().unwrap()
}

/// Lets so many milliseconds pass, or fewer if a checker minds.
fn play(world: &mut World, millis: u64) {
    let until = world.now + Duration::from_millis(millis);
    while world.step(until) {}
}

/// Has an instance move to the node that hosts nothing.
fn moves(world: &mut World, name: &str) {
    let all = instances(world);
    let free = (1..=4).find(|n| all.iter().all(|i| i.node != format!("n{n}"))).unwrap();
    let instance = InstanceRef::place("test", name, 0);
    world.insist(&Request::Migrate(Migrate { instance, to: format!("n{free}") }));
    for _ in 0..100 {
        play(world, 200);
        if host(world, name) == free {
            play(world, 2_000);
            return;
        }
    }
    panic!("it does not move");
}
