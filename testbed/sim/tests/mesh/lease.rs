//! Instances that are cut off: with a lease they stop by themselves, without one they go on.

use super::{host, migrate, with_stack};
use capmesh_gateway::api::{OnNode, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_sim::net::Way;
use capmesh_sim::scenario::{BEAT, lit};
use capmesh_sim::{GATEWAY, Host, REGISTRY, World};
use capmesh_wire::Instant;
use std::time::Duration;

/// A world of three nodes on one of which a lamp acts; the node.
fn beacon(seed: u64, terms: &str) -> (World, Host) {
    let mut world = lit(seed, 3, 3, terms);
    world.run_for(Duration::from_secs(5));
    let node = host(&mut world, "lamp");
    (world, node)
}

/// When a node acted after `since`.
fn acts(world: &mut World, n: Host, since: Instant) -> Vec<Instant> {
    let all = &world.machine(n).actuations;
    all.iter().map(|(at, ..)| *at).filter(|at| *at > since).collect()
}

/// That no two nodes ever act in turns: each has stopped before the next one begins.
fn assert_one_at_a_time(world: &mut World) {
    let mut spans: Vec<_> = (1..=3)
        .filter_map(|n| {
            let acts = acts(world, n, Instant::ZERO);
            Some((*acts.first()?, *acts.last()?, n))
        })
        .collect();
    spans.sort();
    for pair in spans.windows(2) {
        assert!(pair[0].1 < pair[1].0, "seed {}: two at once: {spans:?}", world.seed);
    }
}

#[test]
fn with_a_lease_it_stops_by_itself_and_never_runs_twice() {
    with_stack(|| {
        let (mut world, n) = beacon(1, "lease = \"10s\"");
        let cut = world.now;
        world.partition(&[n], Way::Both);
        world.run_for(Duration::from_secs(60));
        let last = *acts(&mut world, n, cut).last().unwrap();
        assert!(last <= cut + Duration::from_secs(10), "it goes on until {last:?}");
        let other = host(&mut world, "lamp");
        assert_ne!(other, n);
        assert_one_at_a_time(&mut world);
        world.heal();
        let healed = world.now;
        world.run_for(Duration::from_secs(30));
        assert!(acts(&mut world, n, healed).is_empty());
        assert!(acts(&mut world, other, healed).len() > 250);
    });
}

#[test]
fn a_cut_that_is_shorter_than_its_lease_changes_nothing() {
    with_stack(|| {
        let (mut world, n) = beacon(2, "lease = \"10s\"");
        let cut = world.now;
        for _ in 0..10 {
            world.partition(&[n], Way::Both);
            world.run_for(Duration::from_secs(4));
            world.heal();
            world.run_for(Duration::from_secs(4));
        }
        let acts = acts(&mut world, n, cut);
        let gap = acts.windows(2).map(|pair| pair[1].saturating_since(pair[0])).max();
        assert!(gap.unwrap() <= BEAT * 2, "{gap:?}");
        assert_eq!(host(&mut world, "lamp"), n);
    });
}

#[test]
fn a_lease_does_not_outlive_a_start_of_its_node() {
    with_stack(|| {
        let (mut world, n) = beacon(3, "lease = \"10s\"");
        world.partition(&[n], Way::Both);
        world.run_for(Duration::from_secs(5));
        world.crash(n, Tear::Everything);
        world.boot(n);
        let booted = world.now;
        world.run_for(Duration::from_secs(60));
        assert!(acts(&mut world, n, booted).is_empty());
        assert_one_at_a_time(&mut world);
        // One that is back in time goes on where it is.
        let n = host(&mut world, "lamp");
        world.heal();
        world.crash(n, Tear::Everything);
        world.boot(n);
        let booted = world.now;
        world.run_for(Duration::from_secs(10));
        assert!(acts(&mut world, n, booted).len() > 30);
    });
}

#[test]
fn a_revoked_node_cannot_be_told_so_its_lease_is_waited_for() {
    with_stack(|| {
        let (mut world, n) = beacon(5, "lease = \"10s\"");
        let revoked = world.now;
        world.insist(&Request::Revoke(OnNode { node: format!("n{n}") }));
        // Nor may a gateway that starts anew believe that there was never anything there.
        world.kill_gateway();
        world.run_for(Duration::from_secs(60));
        let last = *acts(&mut world, n, revoked).last().unwrap();
        assert!(last <= revoked + Duration::from_secs(10), "it goes on until {last:?}");
        assert_ne!(host(&mut world, "lamp"), n);
        assert_one_at_a_time(&mut world);
    });
}

#[test]
fn what_the_gateway_said_before_it_lost_a_node_gives_no_lease_when_it_comes_late() {
    with_stack(|| {
        for seed in 0..12 {
            let (mut world, n) = beacon(100 + seed, "lease = \"10s\"");
            world.run_for(Duration::from_millis(seed * 330));
            // First neither hears the other; then what the gateway says comes through, some of it said
            // long ago.
            world.part(n, GATEWAY, Way::Both);
            world.run_for(Duration::from_secs(8 + seed));
            world.heal();
            world.part(n, GATEWAY, Way::Out);
            world.run_for(Duration::from_secs(120));
            world.heal();
            world.run_for(Duration::from_secs(30));
            assert_one_at_a_time(&mut world);
            assert_ne!(host(&mut world, "lamp"), n);
        }
    });
}

#[test]
fn an_instance_is_given_its_lease_while_it_is_being_moved() {
    with_stack(|| {
        let (mut world, n) = beacon(9, "lease = \"10s\"");
        // The target cannot fetch the capsule, for longer than the lease.
        let to = if n == 1 { 2 } else { 1 };
        [REGISTRY, n, 6 - n - to].into_iter().for_each(|other| world.part(to, other, Way::Both));
        world.insist(&migrate("lamp", &format!("n{to}")));
        let begun = world.now;
        world.run_for(Duration::from_secs(60));
        let acts = acts(&mut world, n, begun);
        let gap = acts.windows(2).map(|pair| pair[1].saturating_since(pair[0])).max();
        assert!(gap.unwrap() <= BEAT * 2 && acts.len() > 500, "{gap:?}, {}", acts.len());
        world.heal();
        world.run_for(Duration::from_secs(60));
        assert_eq!(host(&mut world, "lamp"), to);
        assert_one_at_a_time(&mut world);
    });
}

#[test]
fn without_a_lease_it_goes_on_until_it_hears_of_its_successor() {
    with_stack(|| {
        let (mut world, n) = beacon(4, "lease = \"none\"");
        let cut = world.now;
        world.partition(&[n], Way::Both);
        world.run_for(Duration::from_secs(60));
        assert!(acts(&mut world, n, cut).len() > 590);
        let other = host(&mut world, "lamp");
        assert_ne!(other, n);
        world.heal();
        world.run_for(Duration::from_secs(10));
        let healed = world.now;
        world.run_for(Duration::from_secs(10));
        assert!(acts(&mut world, n, healed).is_empty());
        assert!(acts(&mut world, other, healed).len() > 90);
    });
}
