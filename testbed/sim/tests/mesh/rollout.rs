//! Capsules and rosters come to every node of a mesh.

use super::with_stack;
use capmesh_sim::rollout::{distribution, revocation};
use std::time::Duration;

#[test]
fn a_revocation_comes_to_200_nodes_within_30_seconds_without_the_gateway() {
    with_stack(|| {
        let outcome = revocation::run(200, 10, 200, 1).unwrap();
        println!("{outcome:?}");
        assert_eq!(outcome.nodes, 199);
        assert!(outcome.all <= Duration::from_secs(30), "{outcome:?}");
    });
}

/// The goal, with some seeds, among them the slowest of the first ten: how long one alone takes varies with the
/// seed, since a command that is lost takes seconds to come again, and so it is the mean that counts.
#[test]
fn a_capsule_comes_to_50_nodes_on_a_radio_in_2_5_times_the_time_of_one() {
    with_stack(|| {
        let seeds = 1..=10;
        let alone: Duration = seeds.map(|seed| distribution::run(1, seed).last).sum();
        for seed in [1, 3, 8] {
            let outcome = distribution::run(50, seed);
            println!("{seed}: {outcome:?}, {:?} alone", alone / 10);
            assert!(outcome.last * 2 <= alone / 10 * 5, "{seed}: {outcome:?}");
            assert!(outcome.egress <= 1.5, "{seed}: {outcome:?}");
        }
    });
}

#[test]
fn a_capsule_comes_to_every_node_on_a_radio() {
    with_stack(|| {
        let outcome = distribution::run(4, 1);
        println!("{outcome:?}");
        assert!(outcome.egress < 4.5, "{outcome:?}");
    });
}
