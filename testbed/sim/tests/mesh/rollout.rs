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

#[test]
fn a_capsule_comes_to_every_node_on_a_radio() {
    with_stack(|| {
        let outcome = distribution::run(4, 1);
        println!("{outcome:?}");
        assert!(outcome.egress < 4.5, "{outcome:?}");
    });
}
