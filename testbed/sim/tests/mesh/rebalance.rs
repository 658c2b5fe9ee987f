//! Nodes join, and what runs spreads: only where it pays, and not to and fro.

use super::moves::await_calm;
use super::{await_running, deploy, instances, with_stack};
use capmesh_node::Config;
use capmesh_node::config::Budget;
use capmesh_sim::net::Way;
use capmesh_sim::scenario::lit;
use capmesh_sim::{World, capsules};
use std::collections::BTreeMap;
use std::time::Duration;

fn per_node(world: &mut World) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for instance in instances(world) {
        *all.entry(instance.node).or_default() += 1;
    }
    all
}

#[test]
fn instances_spread_to_nodes_that_join_and_stay_there() {
    with_stack(|| {
        let mut world = lit(1, 3, 1, "replicas = 6");
        world.run_for(Duration::from_secs(120));
        assert!(world.gate.migrations.is_empty());
        world.adopt(2);
        world.adopt(3);
        let joined = world.now;
        // Whatever has just come may go again: nothing moves at once.
        world.run_for(Duration::from_secs(25));
        assert!(world.gate.migrations.is_empty(), "{:?}", world.now.saturating_since(joined));
        world.run_for(Duration::from_secs(60));
        await_calm(&mut world);
        let spread = per_node(&mut world);
        assert_eq!(spread.len(), 3, "{spread:?}");
        let moves = world.gate.migrations.len();
        assert!(moves <= 4, "{moves} moves");
        world.run_for(Duration::from_secs(1_200));
        assert_eq!((world.gate.migrations.len(), per_node(&mut world)), (moves, spread));
        await_running(&mut world);
    });
}

#[test]
fn a_node_that_comes_and_goes_moves_nothing_to_and_fro() {
    with_stack(|| {
        let mut world = lit(2, 3, 2, "replicas = 6");
        world.run_for(Duration::from_secs(120));
        let (moves, before) = (world.gate.migrations.len(), per_node(&mut world));
        world.adopt(3);
        for _ in 0..20 {
            world.run_for(Duration::from_secs(12));
            world.partition(&[3], Way::Both);
            world.run_for(Duration::from_secs(12));
            world.heal();
        }
        assert_eq!((world.gate.migrations.len(), per_node(&mut world)), (moves, before));
    });
}

/// Two capsules in two instances each; `terms` are those of the first.
fn pairs(terms: &str) -> String {
    let capsule = |name: &str, terms: &str| {
        format!("[[capsule]]\nname = \"{name}\"\nuse = \"test/{name}:1\"\nreplicas = 2\n{terms}\n")
    };
    let (first, second) = (capsule("beacon", terms), capsule("ballast", ""));
    format!("[pipeline]\nname = \"test\"\n{first}{second}")
}

#[test]
fn instances_of_full_nodes_do_not_wait_for_each_others_places_for_ever() {
    with_stack(|| {
        let config = capsules::config();
        let config = Config { budget: Budget { instances: 2, ..config.budget }, ..config };
        let mut world = World::new(4, 2, &config);
        (1..=2).for_each(|n| world.adopt(n));
        world.registry.push("test/beacon:1", &capsules::beacon(100_000));
        world.registry.push("test/ballast:1", &capsules::ballast(1_000));
        deploy(&mut world, &pairs("affinity = { apart = [\"ballast\"] }"));
        await_running(&mut world);
        assert_eq!(per_node(&mut world).into_values().collect::<Vec<_>>(), [2, 2]);
        // One of each would be better on each node, and there is no third place to move by. What a person
        // has deployed is tried once, for as long as a node may take to fetch a capsule.
        deploy(&mut world, &pairs(""));
        world.run_for(Duration::from_secs(400));
        let moves = world.gate.migrations.len();
        assert!(moves > 0);
        world.run_for(Duration::from_secs(1_200));
        assert_eq!(world.gate.migrations.len(), moves);
        await_calm(&mut world);
        await_running(&mut world);
    });
}
