//! A node is lost: its instances begin anew elsewhere, go on from a checkpoint, or wait.

use super::{host, migrate, with_stack};
use capmesh_gateway::api::{InstanceRef, MigrationState, OnInstance, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_sim::scenario::lit;
use capmesh_sim::{GATEWAY, Host, World};
use capmesh_wire::Instant;
use std::time::Duration;

/// A world in which a lamp has counted for half a minute; its node.
fn counting(seed: u64, terms: &str) -> (World, Host) {
    let mut world = lit(seed, 3, 3, terms);
    world.run_for(Duration::from_secs(30));
    let node = host(&mut world, "lamp");
    (world, node)
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
        assert_ne!(host(&mut world, "lamp"), n);
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
        assert_ne!(host(&mut world, "lamp"), to);
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
            assert_ne!(host(&mut world, "lamp"), n);
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
            assert_ne!(host(&mut world, "lamp"), n);
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
        assert_ne!(host(&mut world, "lamp"), n);
        let first = counted(&world, lost)[0].1;
        assert!(first > before - 30.0, "{before}, then {first}");
    });
}

#[test]
fn what_was_started_anew_does_not_go_on_from_before() {
    with_stack(|| {
        // The gateway holds a checkpoint, and still hears the node or not.
        for clogged in [0, 100].map(Duration::from_millis) {
            let terms = "failover = \"checkpoint\"\ncheckpoint = \"100ms\"";
            let (mut world, n) = counting(10, terms);
            assert!(world.last(0) > 100.0);
            world.clog(n, GATEWAY, clogged);
            let instance = InstanceRef::place("test", "lamp", 0);
            world.begin_ask(&Request::Restart(OnInstance { instance }));
            world.run_for(Duration::from_millis(3));
            world.crash(n, Tear::Everything);
            let lost = world.now;
            world.run_for(Duration::from_secs(30));
            assert_ne!(host(&mut world, "lamp"), n);
            let (_, first) = counted(&world, lost)[0];
            assert_eq!(first, 1.0, "clogged for {clogged:?}");
        }
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
        assert_eq!(host(&mut world, "lamp"), n);
        world.boot(n);
        world.run_for(Duration::from_secs(10));
        let first = counted(&world, lost)[0].1;
        assert!(first > 1.0 && first <= before + 1.0, "{before}, then {first}");
        assert_eq!(host(&mut world, "lamp"), n);
    });
}
