//! Instances come, run, survive and go.

use crate::world::capsules::{self, RowOf};
use crate::world::site::{expected, last, pipeline, plan, start, target};
use crate::world::{World, seeds};
use capmesh_wire::Epoch;
use capmesh_wire::control::{Command, Nothing, Reply};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::Delivery;
use std::time::Duration;

#[test]
fn an_instance_starts_by_command_and_is_there_after_a_restart() {
    let mut world = World::new(1, 1, &capsules::config());
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    let row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
    assert_eq!(world.command(1, &start(&row)).reply(), Reply::Done(Nothing {}));
    world.run_for(Duration::from_secs(1));
    assert!(world.log(1).contains("runs"), "{}", world.log(1));
    let status = world.status(1, 1).expect("it is there");
    assert_eq!(status.state, InstanceState::Running);
    assert!((95..=101).contains(&status.published), "{status:?}");
    // Repeated, it has the same outcome.
    assert_eq!(world.command(1, &start(&row)).reply(), Reply::Done(Nothing {}));
    world.crash(1);
    world.boot(1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.wait(1, 1, InstanceState::Running).epoch, Epoch(1));
    assert_eq!(world.command(1, &Command::Stop(target(1, 1))).reply(), Reply::Done(Nothing {}));
    world.crash(1);
    world.boot(1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.status(1, 1).expect("it is there").state, InstanceState::Stopped);
}

#[test]
fn a_pipeline_over_two_nodes_loses_nothing_and_repeats_nothing() {
    let mut world = World::new(2, 2, &capsules::config());
    let (capsules, rows) = pipeline(500, 2_000, Delivery::Every);
    for n in [1, 2] {
        for (id, capsule) in (1..).zip(&capsules) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    world.run_until(60, |world| last(world, 1, 0) >= 500.0);
    world.run_for(Duration::from_secs(5));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), expected(500));
}

#[test]
fn crashes_at_any_moment_leave_everything_as_it_was() {
    for seed in seeds(SEEDS) {
        let mut world = World::new(seed, 2, &capsules::config());
        let (capsules, rows) = pipeline(300, 5_000, Delivery::Every);
        for n in [1, 2] {
            for (id, capsule) in (1..).zip(&capsules) {
                world.machine(n).preload(id, capsule);
            }
        }
        world.boot_all();
        plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
        for _ in 0..6 {
            let rest = 10 + world.dice.within(0..400);
            world.run_for(Duration::from_millis(rest));
            let n = if world.dice.within(0..2) == 0 { 1 } else { 2 };
            world.crash(n);
            let off = world.dice.within(0..3_000);
            world.run_for(Duration::from_millis(off));
            world.boot(n);
        }
        world.run_until(300, |world| last(world, 1, 0) >= 300.0);
        world.run_for(Duration::from_secs(3));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, expected(300), "seed {seed}");
    }
}

/// How many worlds a test with chance in it makes.
const SEEDS: u64 = 4;

#[test]
fn a_node_with_nothing_to_do_sleeps() {
    let mut world = World::new(1, 1, &capsules::config());
    let sink = capsules::sink();
    world.machine(1).preload(1, &sink);
    world.boot_all();
    world.retry(1, &start(&RowOf::new(3, 1, &sink, None, None, Delivery::Every)));
    world.wait(1, 3, InstanceState::Running);
    world.run_for(Duration::from_secs(600));
    let (end, mut steps) = (world.now + Duration::from_secs(600), 0);
    while world.step(end) {
        steps += 1;
    }
    // It asks for the time.
    assert!(steps <= 20, "woken {steps} times in 10 minutes");
}
