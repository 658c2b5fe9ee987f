//! A node is lost: its instances begin anew elsewhere, go on from a checkpoint, or wait.

use super::{await_running, deploy, instance, migrate, with_stack};
use capmesh_gateway::api::MigrationState;
use capmesh_node::flash::nor::Tear;
use capmesh_sim::{Host, World, capsules};
use capmesh_wire::Instant;
use std::time::Duration;

/// How often a beacon counts.
const EVERY: Duration = Duration::from_millis(100);

/// A world in which a beacon has counted for half a minute; its node.
fn counting(seed: u64, terms: &str) -> (World, Host) {
    let mut world = World::new(seed, 3, &capsules::config());
    let micros = EVERY.as_micros().try_into().unwrap();
    world.registry.push("test/beacon:1", &capsules::beacon(micros));
    (1..=3).for_each(|n| world.adopt(n));
    let text =
        "[pipeline]\nname = \"test\"\n[[capsule]]\nname = \"lamp\"\nuse = \"test/beacon:1\"\n";
    deploy(&mut world, &format!("{text}{terms}\n"));
    await_running(&mut world);
    world.run_for(Duration::from_secs(30));
    let node = host(&mut world);
    (world, node)
}

fn host(world: &mut World) -> Host {
    instance(world, "lamp").node.trim_start_matches('n').parse().unwrap()
}

/// What was counted after `since`, and when.
fn counted(world: &World, since: Instant) -> Vec<(Instant, f64)> {
    let all = world.machines.iter().flat_map(|machine| &machine.actuations);
    let mut all: Vec<_> = all.filter(|(at, ..)| *at > since).map(|a| (a.0, a.2)).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

#[test]
fn with_restart_it_begins_anew_elsewhere_within_ten_seconds() {
    with_stack(|| {
        let (mut world, n) = counting(1, "failover = \"restart\"");
        let lost = world.now;
        world.crash(n, Tear::Everything);
        world.run_for(Duration::from_secs(30));
        assert_ne!(host(&mut world), n);
        let counted = counted(&world, lost);
        assert_eq!(counted[0].1, 1.0);
        assert!(counted[0].0 <= lost + Duration::from_secs(10), "{:?}", counted[0]);
    });
}

#[test]
fn one_that_has_just_come_goes_on_elsewhere_if_its_new_node_is_lost() {
    with_stack(|| {
        let (mut world, n) = counting(9, "failover = \"restart\"");
        let to = 1 + n % 3;
        world.begin_ask(&migrate("lamp", &format!("n{to}")));
        let is_committed = |world: &World| {
            world.gate.migrations.values().any(|m| m.state == MigrationState::Committed)
        };
        world.run_until(10, |world| is_committed(world));
        // It owns the instance, and has not been told.
        world.crash(to, Tear::Nothing);
        let lost = world.now;
        world.run_for(Duration::from_secs(30));
        assert_ne!(host(&mut world), to);
        assert!(!counted(&world, lost).is_empty());
        assert!(!is_committed(&world));
    });
}

#[test]
fn with_checkpoint_it_goes_on_from_the_last_one() {
    with_stack(|| {
        let terms = "failover = \"checkpoint\"\ncheckpoint = \"2s\"";
        for seed in 2..6 {
            let (mut world, n) = counting(seed, terms);
            let (lost, before) = (world.now, world.last(0));
            world.crash(n, Tear::Everything);
            world.run_for(Duration::from_secs(30));
            assert_ne!(host(&mut world), n);
            let counted = counted(&world, lost);
            let (at, first) = counted[0];
            assert!(first > before - 30.0 && first <= before + 1.0, "{before}, then {first}");
            assert!(at <= lost + Duration::from_secs(10), "{at:?}");
            // The one that was lost comes back and finds that it is not its any more.
            world.boot(n);
            world.run_for(Duration::from_secs(10));
            let back = world.now;
            world.run_for(Duration::from_secs(10));
            assert!(world.machine(n).actuations.iter().all(|(at, ..)| *at < back));
            assert_ne!(host(&mut world), n);
        }
    });
}

#[test]
fn a_checkpoint_survives_the_gateway() {
    with_stack(|| {
        let (mut world, n) = counting(7, "failover = \"checkpoint\"\ncheckpoint = \"2s\"");
        let before = world.last(0);
        world.crash(n, Tear::Everything);
        world.kill_gateway();
        let lost = world.now;
        world.run_for(Duration::from_secs(40));
        assert_ne!(host(&mut world), n);
        let first = counted(&world, lost)[0].1;
        assert!(first > before - 30.0, "{before}, then {first}");
    });
}

#[test]
fn with_none_it_waits_for_its_node_and_goes_on_there() {
    with_stack(|| {
        let (mut world, n) = counting(8, "failover = \"none\"\ncheckpoint = \"2s\"");
        let (lost, before) = (world.now, world.last(0));
        world.crash(n, Tear::Everything);
        world.run_for(Duration::from_secs(120));
        assert!(counted(&world, lost).is_empty());
        assert_eq!(host(&mut world), n);
        world.boot(n);
        world.run_for(Duration::from_secs(10));
        let first = counted(&world, lost)[0].1;
        assert!(first > 1.0 && first <= before + 1.0, "{before}, then {first}");
        assert_eq!(host(&mut world), n);
    });
}
