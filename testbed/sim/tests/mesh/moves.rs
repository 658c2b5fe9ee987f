//! Instances move, whatever falls over meanwhile.

use super::{
    await_all, await_running, await_step, deploy, free_node, instance, migrate, sum_apart,
    with_stack, world,
};
use capmesh_gateway::api::{Answer, MigrationState, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_sim::scenario::number;
use capmesh_sim::{Doom, World};
use std::time::Duration;

/// Messages that go through.
const COUNT: u32 = 150;

/// A world of four nodes in which the pipeline runs.
pub(crate) fn running(seed: u64) -> World {
    let mut world = world(seed, 4, COUNT);
    (1..=4).for_each(|n| world.adopt(n));
    deploy(&mut world, &sum_apart());
    await_running(&mut world);
    world
}

/// Waits until no migration is under way.
pub(crate) fn await_calm(world: &mut World) {
    let is_over = |state| matches!(state, MigrationState::Done | MigrationState::Undone);
    for _ in 0..120 {
        world.run_for(Duration::from_secs(1));
        if let Some(Ok(Answer::Migrations(all))) = world.ask(&Request::Migrations)
            && all.iter().all(|migration| is_over(migration.state))
        {
            return;
        }
    }
    panic!("seed {}: a migration does not end: {:#?}", world.seed, world.gate.migrations);
}

#[test]
fn an_instance_moves_under_load_and_nothing_is_lost_or_doubled() {
    with_stack(|| {
        let mut world = running(1);
        let before = instance(&mut world, "adder");
        let to = free_node(&mut world);
        world.insist(&migrate("adder", &to));
        await_calm(&mut world);
        let after = instance(&mut world, "adder");
        assert_eq!((after.node, after.epoch > before.epoch), (to, true));
        let moved: Vec<_> = world.gate.migrations.values().cloned().collect();
        assert!(moved.iter().any(|m| m.blackout_us.is_some_and(|us| us < 100_000)), "{moved:#?}");
        await_all(&mut world, COUNT);
    });
}

/// How far the gateway comes without anything going wrong, in commits: before and after the move.
fn commits() -> (u64, u64) {
    let mut world = running(1);
    let before = world.gate.commits;
    let to = free_node(&mut world);
    world.insist(&migrate("adder", &to));
    await_calm(&mut world);
    (before, world.gate.commits)
}

#[test]
fn the_gateway_is_killed_at_every_commit_of_a_move() {
    with_stack(|| {
        let (first, last) = commits();
        assert!(last >= first + 4, "a move is begun, committed, and forgotten");
        for number in first + 1..=last {
            for doom in [Doom::Before(number), Doom::After(number)] {
                let mut world = running(1);
                let to = free_node(&mut world);
                world.gate.doom = Some(doom);
                let _ = world.ask(&migrate("adder", &to));
                await_calm(&mut world);
                await_running(&mut world);
                assert!(world.gate.starts > 1, "{doom:?} did not happen");
                await_all(&mut world, COUNT);
            }
        }
    });
}

#[test]
fn the_gateway_is_killed_at_every_commit_from_the_start() {
    with_stack(|| {
        let (first, _) = commits();
        for number in 1..=first {
            let mut world = world(1, 4, COUNT);
            world.gate.doom =
                Some(if number % 2 == 0 { Doom::Before(number) } else { Doom::After(number) });
            (1..=4).for_each(|n| world.adopt(n));
            deploy(&mut world, &sum_apart());
            await_running(&mut world);
            assert!(world.gate.starts > 1, "commit {number} did not happen");
            await_all(&mut world, COUNT);
        }
    });
}

/// Who falls over.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Source,
    Target,
    Gateway,
}

/// The steps of a move, each with how long after its beginning somebody falls over, in microseconds.
const STEPS: [(&str, u64); 6] = [
    ("prepare", 1_500),
    ("quiesce", 0),
    ("restore", 1_500),
    ("commit", 0),
    ("start", 1_500),
    ("release", 0),
];

#[test]
fn the_source_falls_over_at_every_step() {
    with_stack(|| STEPS.iter().for_each(|(step, later)| falls_over(step, Victim::Source, *later)));
}

#[test]
fn the_target_falls_over_at_every_step() {
    with_stack(|| STEPS.iter().for_each(|(step, later)| falls_over(step, Victim::Target, *later)));
}

#[test]
fn the_gateway_falls_over_at_every_step() {
    with_stack(|| STEPS.iter().for_each(|(step, later)| falls_over(step, Victim::Gateway, *later)));
}

fn falls_over(step: &str, victim: Victim, later: u64) {
    let what = format!("{victim:?} at {step} and {later} us");
    let mut world = running(1);
    let from = instance(&mut world, "adder").node;
    let to = free_node(&mut world);
    world.insist(&migrate("adder", &to));
    assert!(await_step(&mut world, step), "{what}: it does not come so far");
    world.run_for(Duration::from_micros(later));
    match victim {
        Victim::Gateway => world.kill_gateway(),
        Victim::Source | Victim::Target => {
            let n = number(if matches!(victim, Victim::Source) { &from } else { &to });
            world.crash(n, Tear::Bits(later));
            world.run_for(Duration::from_millis(1_000));
            world.boot(n);
        }
    }
    await_calm(&mut world);
    await_running(&mut world);
    let owner = instance(&mut world, "adder").node;
    assert!(owner == from || owner == to, "{what}: {owner}");
    await_all(&mut world, COUNT);
}

#[test]
fn a_lossy_network_changes_nothing() {
    with_stack(|| {
        // In the last three, answers to an earlier step of a move came in a later one.
        for seed in [1, 2, 3, 15, 16, 21] {
            let mut world = running(seed);
            world.net.weather.loss = 100;
            world.net.weather.duplication = 100;
            for _ in 0..2 {
                let to = free_node(&mut world);
                world.insist(&migrate("adder", &to));
                await_calm(&mut world);
            }
            await_all(&mut world, COUNT);
        }
    });
}
