//! Plans of nodes: a new one only where it says something new, whatever becomes of the gateway.

use super::{host, with_stack};
use capmesh_gateway::api::{Answer, NodeView, Request};
use capmesh_gateway::{Key, Table};
use capmesh_sim::scenario::{await_running, lit, migrate};
use capmesh_sim::{Host, World};
use std::time::Duration;

/// The revisions of the nodes' plans, as they say.
fn plans(world: &mut World) -> Vec<Option<u32>> {
    let Answer::Nodes(nodes) = world.insist(&Request::Nodes) else { panic!("no nodes") };
    nodes.iter().map(|node: &NodeView| node.plan).collect()
}

fn revision(world: &mut World) -> u32 {
    let Answer::Plan(plan) = world.insist(&Request::Plan) else { panic!("no plan") };
    plan.revision
}

#[test]
fn a_gateway_that_starts_anew_does_not_make_them_anew() {
    with_stack(|| {
        let mut world = lit(21, 3, 3, "");
        world.run_for(Duration::from_secs(10));
        let (before, newest) = (plans(&mut world), revision(&mut world));
        for _ in 0..3 {
            world.kill_gateway();
            world.run_for(Duration::from_secs(20));
        }
        assert_eq!((plans(&mut world), revision(&mut world)), (before.clone(), newest));

        // It still tells those for whom there is something new.
        let n = host(&mut world, "lamp");
        let to: Host = 1 + n % 3;
        world.insist(&migrate("lamp", &format!("n{to}")));
        world.run_for(Duration::from_secs(10));
        await_running(&mut world);
        assert_eq!(host(&mut world, "lamp"), to);
        assert!(plans(&mut world) > before);
    });
}

#[test]
fn one_whose_state_is_older_than_what_it_has_told_makes_them_anew() {
    with_stack(|| {
        let mut world = lit(22, 3, 3, "");
        let old = world.gate.durable.clone();
        let n = host(&mut world, "lamp");
        let to: Host = 1 + n % 3;
        world.insist(&migrate("lamp", &format!("n{to}")));
        world.run_for(Duration::from_secs(20));
        let told = plans(&mut world);

        // Somebody brings back a copy of what it had known of plans.
        let key = Key::new(Table::Counters, "revision");
        world.kill_gateway();
        world.gate.durable.retain(|key, _| key.table != Table::Sheets);
        let sheets = old.into_iter().filter(|(of, _)| of.table == Table::Sheets || *of == key);
        world.gate.durable.extend(sheets);
        world.run_for(Duration::from_secs(20));
        let again = plans(&mut world);
        assert!(again.iter().zip(&told).filter(|(again, told)| again > told).count() >= 2);
        await_running(&mut world);
    });
}
