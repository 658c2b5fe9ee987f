//! Each rule by itself, and what is said when it cannot be kept.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use capmesh_placement::{Obstacle, Plan, Problem, Unplaceable, Weights, place};
use common::{capsule, chain, node, wire};

fn plan(problem: &Problem) -> Plan {
    place(problem, &Weights::default()).expect("there is a plan")
}

fn refusal(problem: &Problem) -> String {
    place(problem, &Weights::default()).expect_err("there is no plan").to_string()
}

fn node_of(plan: &Plan, name: &str) -> String {
    plan.rows[&(name.into(), 0)].node.clone()
}

#[test]
fn a_capsule_goes_where_its_sensor_is_and_the_plan_says_why_not_elsewhere() {
    let mut problem = chain(&[1_000, 1_000, 1_000]);
    problem.nodes.get_mut("n1").unwrap().sensors.insert("dust".into());
    let mut clean = capsule(100);
    clean.sensors.insert("dust".into());
    problem.capsules.insert("clean".into(), clean);
    let plan = plan(&problem);
    assert_eq!(node_of(&plan, "clean"), "n1");
    let row = &plan.rows[&("clean".into(), 0)];
    assert_eq!(row.ruled_out[&Obstacle::Sensor("dust".into())], 2);
    assert_eq!(row.runner_up, None);
    assert!(plan.optimal);
}

#[test]
fn what_no_node_has_is_named_with_the_best_node() {
    let mut problem = chain(&[1_000, 400]);
    problem.nodes.get_mut("n1").unwrap().sensors.insert("dust".into());
    let mut clean = capsule(500);
    clean.sensors.insert("dust".into());
    problem.capsules.insert("clean".into(), clean);
    assert_eq!(refusal(&problem), "no node can run clean: the best, `n0`, has no sensor `dust`");
    problem.nodes.get_mut("n0").unwrap().draining = true;
    problem.nodes.get_mut("n0").unwrap().abi.clear();
    assert_eq!(
        refusal(&problem),
        "no node can run clean: the best, `n0`, is being drained and does not offer version 1 of \
         the contract and has no sensor `dust`"
    );
}

#[test]
fn labels_and_actuators_count_like_sensors() {
    let mut problem = chain(&[1_000, 1_000, 1_000]);
    problem.nodes.get_mut("n1").unwrap().labels.insert("outdoor".into());
    problem.nodes.get_mut("n2").unwrap().actuators.insert("valve".into());
    let (mut a, mut b) = (capsule(1), capsule(1));
    a.labels.insert("outdoor".into());
    b.actuators.insert("valve".into());
    problem.capsules.extend([("a".into(), a), ("b".into(), b)]);
    let plan = plan(&problem);
    assert_eq!((node_of(&plan, "a"), node_of(&plan, "b")), ("n1".into(), "n2".into()));
}

#[test]
fn no_room_beside_the_others_is_proven_and_says_what_is_missing() {
    let mut problem = chain(&[1_000, 1_000]);
    for name in ["a", "b", "c"] {
        problem.capsules.insert(name.into(), capsule(600));
    }
    assert_eq!(
        refusal(&problem),
        "c/0 fits nowhere beside the others: the best, `n0`, is short of 200 bytes of flash and \
         200 bytes of RAM and 200 fuel per second"
    );
}

#[test]
fn a_tight_packing_is_found_when_there_is_one() {
    let mut problem = chain(&[1_000, 1_000, 1_000]);
    for (i, needs) in [500, 300, 200, 700, 300, 400, 600].into_iter().enumerate() {
        problem.capsules.insert(format!("c{i}"), capsule(needs));
    }
    assert_eq!(plan(&problem).rows.len(), 7);
}

#[test]
fn chatty_capsules_go_next_to_each_other() {
    let mut problem = chain(&[1_000, 1_000, 1_000, 1_000]);
    problem.nodes.get_mut("n0").unwrap().sensors.insert("dust".into());
    problem.nodes.get_mut("n3").unwrap().actuators.insert("valve".into());
    let (mut source, mut sink) = (capsule(450), capsule(450));
    source.sensors.insert("dust".into());
    sink.actuators.insert("valve".into());
    problem.capsules.extend([
        ("source".into(), source),
        ("filter".into(), capsule(450)),
        ("sink".into(), sink),
    ]);
    problem.wires = vec![wire("source", "filter", 9_000), wire("filter", "sink", 10)];
    assert_eq!(node_of(&plan(&problem), "filter"), "n0");
    problem.wires = vec![wire("source", "filter", 10), wire("filter", "sink", 9_000)];
    let plan = plan(&problem);
    assert_eq!(node_of(&plan, "filter"), "n3");
    assert_eq!(plan.rows[&("filter".into(), 0)].runner_up.as_ref().unwrap().node, "n2");
    assert_eq!(plan.cost.traffic, 30);
}

#[test]
fn messages_longer_than_the_path_carries_rule_it_out() {
    let mut problem = chain(&[1_000, 1_000, 1_000]);
    problem.nodes.get_mut("n0").unwrap().sensors.insert("dust".into());
    let mut source = capsule(600);
    source.sensors.insert("dust".into());
    problem.capsules.extend([("source".into(), source), ("sink".into(), capsule(600))]);
    problem.wires = vec![wire("source", "sink", 1)];
    for link in problem.links.values_mut() {
        link.mtu = 63;
    }
    assert_eq!(
        refusal(&problem),
        "sink/0 fits nowhere beside the others: `n1` has room, but no path for its wires or a \
         capsule it must be apart from"
    );
    problem.wires[0].message = 63;
    assert_eq!(node_of(&plan(&problem), "sink"), "n1");
}

#[test]
fn replicas_spread_unless_that_costs_too_much() {
    let mut problem = chain(&[1_000, 1_000, 1_000]);
    let mut clean = capsule(10);
    clean.replicas = 3;
    problem.capsules.insert("clean".into(), clean);
    let nodes: std::collections::BTreeSet<_> =
        plan(&problem).rows.into_values().map(|row| row.node).collect();
    assert_eq!(nodes.len(), 3);
}

#[test]
fn together_and_apart_are_kept_and_contradictions_named() {
    let mut problem = chain(&[1_000, 1_000]);
    let (mut a, mut c) = (capsule(300), capsule(300));
    a.together.insert("b".into());
    c.apart.insert("a".into());
    problem.capsules.extend([("a".into(), a), ("b".into(), capsule(300)), ("c".into(), c)]);
    problem.wires = vec![wire("b", "c", 1_000_000)];
    let found = plan(&problem);
    assert_eq!(node_of(&found, "a"), node_of(&found, "b"));
    assert_ne!(node_of(&found, "a"), node_of(&found, "c"));
    problem.capsules.get_mut("b").unwrap().apart.insert("a".into());
    assert_eq!(refusal(&problem), "`b` and `a` must be on one node and on different ones");
}

#[test]
fn replicas_kept_apart_need_as_many_nodes() {
    let mut problem = chain(&[1_000, 1_000]);
    let mut clean = capsule(10);
    clean.replicas = 2;
    clean.apart.insert("clean".into());
    problem.capsules.insert("clean".into(), clean);
    assert_eq!(plan(&problem).rows.len(), 2);
    problem.capsules.get_mut("clean").unwrap().replicas = 3;
    assert!(refusal(&problem).contains("fits nowhere beside the others: `n0` has room"));
}

#[test]
fn an_instance_stays_where_it_runs_unless_moving_pays() {
    let mut problem = chain(&[1_000, 1_000]);
    problem.capsules.insert("a".into(), capsule(100));
    problem.current.insert(("a".into(), 0), "n1".into());
    let stays = plan(&problem);
    assert_eq!(node_of(&stays, "a"), "n1");
    assert_eq!(stays.rows[&("a".into(), 0)].moves_from, None);
    problem.nodes.get_mut("n1").unwrap().draining = true;
    let moves = plan(&problem);
    assert_eq!(node_of(&moves, "a"), "n0");
    assert_eq!(moves.rows[&("a".into(), 0)].moves_from.as_deref(), Some("n1"));
    assert_eq!(moves.cost.moving, Weights::default().moving);
}

#[test]
fn a_node_that_joins_does_not_make_everything_move() {
    let mut problem = chain(&[1_000]);
    for i in 0..4 {
        problem.capsules.insert(format!("c{i}"), capsule(150));
        problem.current.insert((format!("c{i}"), 0), "n0".into());
    }
    problem.nodes.insert("n1".into(), node(1_000));
    let moved = plan(&problem).rows.into_values().filter(|row| row.moves_from.is_some()).count();
    assert!(moved <= 1, "{moved} moved");
}

#[test]
fn mistakes_in_the_problem_are_named() {
    assert_eq!(place(&Problem::default(), &Weights::default()), Err(Unplaceable::NoNodes));
    let mut problem = chain(&[1]);
    problem.wires = vec![wire("a", "b", 1)];
    assert_eq!(refusal(&problem), "there is no capsule `a`, which a wire names");
    problem.wires.clear();
    let mut a = capsule(1);
    a.apart.insert("ghost".into());
    problem.capsules.insert("a".into(), a);
    assert_eq!(refusal(&problem), "there is no capsule `ghost`, which a names");
}

#[test]
fn nothing_wanted_is_an_empty_plan() {
    let plan = plan(&chain(&[1_000]));
    assert!(plan.rows.is_empty() && plan.optimal);
}
