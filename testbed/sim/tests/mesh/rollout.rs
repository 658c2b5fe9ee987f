//! Capsules come to every node of a mesh.

use super::with_stack;
use capmesh_sim::rollout::distribution;

#[test]
fn a_capsule_comes_to_every_node_on_a_radio() {
    with_stack(|| {
        let outcome = distribution::run(4, 1);
        println!("{outcome:?}");
        assert!(outcome.egress < 4.5, "{outcome:?}");
    });
}
