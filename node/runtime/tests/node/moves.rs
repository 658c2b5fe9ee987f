//! Instances move between nodes.

use crate::world::capsules::{self, End, RowOf};
use crate::world::site::{expected, last, migrate, migrate_and_undo, pipeline, plan, target};
use crate::world::{World, node_id, seeds};
use capmesh_wire::Epoch;
use capmesh_wire::control::{Command, Quiesce, Reply};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::Delivery;
use std::time::Duration;

#[test]
fn ten_thousand_messages_with_three_moves_give_what_they_give_without() {
    let count = 10_000;
    let mut world = World::new(3, 3, &capsules::config());
    let (capsules, mut rows) = pipeline(count, 1_000, Delivery::Every);
    for n in [1, 2, 3] {
        for (id, capsule) in (1..).zip(&capsules) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    for (epoch, from, to) in [(2, 2, 3), (3, 3, 2), (4, 2, 3)] {
        world.run_for(Duration::from_secs(2));
        rows[0] = RowOf::new(1, 1, &capsules[0], None, Some(End(to, 2)), Delivery::Every);
        rows[1] =
            RowOf::new(2, epoch, &capsules[1], Some(End(1, 1)), Some(End(1, 3)), Delivery::Every);
        rows[2] = RowOf::new(3, 1, &capsules[2], Some(End(to, 2)), None, Delivery::Every);
        let all = [(1, &rows[0]), (to, &rows[1]), (1, &rows[2])];
        migrate(&mut world, &rows[1], epoch, from, to, &all);
    }
    world.run_until(600, |world| last(world, 1, 0) >= f64::from(count));
    world.run_for(Duration::from_secs(3));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), expected(count));
    assert_eq!(world.status(3, 2).expect("it is there").state, InstanceState::Running);
}

/// How many worlds a test with chance in it makes.
const SEEDS: u64 = 6;

#[test]
fn a_crash_at_any_step_of_a_move_leaves_one_owner_and_loses_nothing() {
    for seed in seeds(SEEDS) {
        let count = 400;
        let mut world = World::new(seed, 3, &capsules::config());
        let (capsules, mut rows) = pipeline(count, 10_000, Delivery::Every);
        for n in [1, 2, 3] {
            for (id, capsule) in (1..).zip(&capsules) {
                world.machine(n).preload(id, capsule);
            }
        }
        world.boot_all();
        plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
        (world.faults.loss, world.chaos) = (3, 35);
        let (mut epoch, mut at) = (1, 2);
        for _ in 0..3 {
            let rest = world.dice.within(0..500);
            world.run_for(Duration::from_millis(rest));
            epoch += 1;
            let to = 5 - at;
            let wires = (Some(End(1, 1)), Some(End(1, 3)));
            rows[1] = RowOf::new(2, epoch, &capsules[1], wires.0, wires.1, Delivery::Every);
            if world.dice.within(0..3) == 0 {
                migrate_and_undo(&mut world, &rows[1], epoch, at, to);
                break;
            }
            rows[0] = RowOf::new(1, 1, &capsules[0], None, Some(End(to, 2)), Delivery::Every);
            rows[2] = RowOf::new(3, 1, &capsules[2], Some(End(to, 2)), None, Delivery::Every);
            let all = [(1, &rows[0]), (to, &rows[1]), (1, &rows[2])];
            migrate(&mut world, &rows[1], epoch, at, to, &all);
            at = to;
        }
        (world.faults.loss, world.chaos) = (0, 0);
        world.run_until(900, |world| last(world, 1, 0) >= f64::from(count));
        world.run_for(Duration::from_secs(5));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, expected(count), "seed {seed}");
        let runs = [2, 3].map(|n| {
            let status = world.status(n, 2);
            status.is_some_and(|status| status.state == InstanceState::Running)
        });
        assert_eq!(runs, [at == 2, at == 3], "seed {seed}");
    }
}

#[test]
fn a_large_state_survives_crashes_and_moves() {
    for seed in seeds(3) {
        let count = 150;
        let mut config = capsules::config();
        config.snapshot = 16 << 10;
        let mut world = World::new(seed, 3, &config);
        let (mut capsules, mut rows) = pipeline(count, 20_000, Delivery::Every);
        capsules[1] = capsules::big_adder();
        let wires = (Some(End(1, 1)), Some(End(1, 3)));
        rows[1] = RowOf::new(2, 1, &capsules[1], wires.0, wires.1, Delivery::Every);
        for n in [1, 2, 3] {
            for (id, capsule) in (1..).zip(&capsules) {
                world.machine(n).preload(id, capsule);
            }
        }
        world.boot_all();
        plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
        world.chaos = 30;
        for (epoch, from, to) in [(2, 2, 3), (3, 3, 2)] {
            world.run_for(Duration::from_millis(700));
            rows[0] = RowOf::new(1, 1, &capsules[0], None, Some(End(to, 2)), Delivery::Every);
            rows[1] = RowOf::new(2, epoch, &capsules[1], wires.0, wires.1, Delivery::Every);
            rows[2] = RowOf::new(3, 1, &capsules[2], Some(End(to, 2)), None, Delivery::Every);
            let all = [(1, &rows[0]), (to, &rows[1]), (1, &rows[2])];
            migrate(&mut world, &rows[1], epoch, from, to, &all);
        }
        world.chaos = 0;
        world.run_until(900, |world| last(world, 1, 0) >= f64::from(count));
        world.run_for(Duration::from_secs(5));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, expected(count), "seed {seed}");
    }
}

#[test]
fn a_move_asked_for_while_a_commit_is_being_written_takes_what_came_after_it() {
    let count = 1_500;
    let mut world = World::new(5, 3, &capsules::config());
    let (capsules, rows) = pipeline(count, 20_000, Delivery::Every);
    for n in [1, 2] {
        for (id, capsule) in (1..).zip(&capsules) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    world.run_for(Duration::from_millis(500));
    // A write takes longer than the next message takes to come.
    world.faults.flash = 60_000;
    world.run_for(Duration::from_millis(700));
    for round in 0..8 {
        world.run_until(600, |world| world.machine(2).is_flashing());
        let quiesce = Command::Quiesce(Quiesce { target: target(2, 1), to: node_id(3) });
        let answer = world.command(2, &quiesce);
        let Reply::Snapshot(snapshot) = answer.reply() else { panic!("{round}: {answer:?}") };
        let status = world.status(2, 2).expect("it is there");
        assert_eq!(status.state, InstanceState::Quiescent, "{round}");
        // What is handed over is what flash has, with the phase that says so.
        world.crash(2);
        world.boot(2);
        assert_eq!(world.wait(2, 2, InstanceState::Quiescent).epoch, Epoch(1), "{round}");
        let answer = world.retry(2, &quiesce);
        assert_eq!(answer.reply(), Reply::Snapshot(snapshot), "{round}");
        world.retry(2, &Command::Resume(target(2, 1)));
        let rest = world.dice.within(0..200_000);
        world.run_for(Duration::from_micros(rest));
    }
    world.run_until(900, |world| last(world, 1, 0) >= f64::from(count));
    world.run_for(Duration::from_secs(5));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), expected(count));
}
