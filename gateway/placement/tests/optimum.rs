//! Plans against an integer linear program that is solved exactly, on random small problems.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use capmesh_placement::{Plan, Problem, Resources, Weights, place};
use common::{capsule, chain, link, wire};
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, variable};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The least cost by linear programming, or `None` if there is no plan. Only for what [`problems`]
/// makes: one replica each, links of whole cost, and capacities of 1000, so that nothing is rounded.
fn optimum(problem: &Problem, weights: &Weights) -> Option<f64> {
    let nodes: Vec<&String> = problem.nodes.keys().collect();
    let paths = hops(problem, &nodes);
    let mut variables = ProblemVariables::new();
    let mut constraints = Vec::new();
    let mut cost = Expression::from(0);
    let mut at: BTreeMap<(&str, usize), Variable> = BTreeMap::new();
    for (name, capsule) in &problem.capsules {
        let mut sum = Expression::from(0);
        for (n, node) in nodes.iter().enumerate() {
            let allowed = capsule.sensors.is_subset(&problem.nodes[*node].sensors);
            let there = variables.add(variable().binary());
            if !allowed {
                constraints.push(Expression::from(there).eq(0));
            }
            sum += there;
            at.insert((name, n), there);
            let home = problem.current.get(&(name.clone(), 0));
            if home.is_some_and(|home| home != *node) {
                cost +=
                    (weights.moving + capsule.move_bytes.div_ceil(weights.payback)) as f64 * there;
            }
        }
        constraints.push(sum.eq(1));
    }
    for n in 0..nodes.len() {
        for amount in [|r: &Resources| r.flash, |r: &Resources| r.ram, |r: &Resources| r.fuel] {
            let used: Expression = problem
                .capsules
                .iter()
                .map(|(name, c)| amount(&c.needs) as f64 * at[&(&**name, n)])
                .sum();
            constraints.push(used.clone().leq(1_000));
            for (from, slope) in [(Weights::EASY, 1.0), (Weights::TIGHT, 2.0)] {
                let over = variables.add(variable().min(0));
                constraints.push((used.clone() - over).leq(from as f64));
                cost += slope * weights.pressure as f64 * over;
            }
        }
    }
    for wire in &problem.wires {
        for a in 0..nodes.len() {
            for b in 0..nodes.len() {
                let (x, y) = (at[&(&*wire.from, a)], at[&(&*wire.to, b)]);
                match paths[a][b] {
                    Some(0) => {}
                    Some(hops) => {
                        let both = variables.add(variable().min(0));
                        constraints.push((x + y - both).leq(1));
                        cost += (wire.rate * hops) as f64 * both;
                    }
                    None => constraints.push((x + y).leq(1)),
                }
            }
        }
    }
    let mut model = variables.minimise(cost.clone()).using(good_lp::microlp);
    for constraint in constraints {
        model.add_constraint(constraint);
    }
    model.solve().ok().map(|solution| solution.eval(cost))
}

/// Whole costs of the cheapest paths, by Floyd and Warshall's algorithm.
fn hops(problem: &Problem, nodes: &[&String]) -> Vec<Vec<Option<u64>>> {
    let n = nodes.len();
    let mut costs = vec![vec![None; n]; n];
    for (a, row) in costs.iter_mut().enumerate() {
        for (b, cost) in row.iter_mut().enumerate() {
            let link = problem.links.get(&(nodes[a].clone(), nodes[b].clone()));
            *cost = if a == b { Some(0) } else { link.map(|link| u64::from(link.cost) / 1_000) };
        }
    }
    for k in 0..n {
        for a in 0..n {
            for b in 0..n {
                let via: Option<u64> = costs[a][k].zip(costs[k][b]).map(|(x, y)| x + y);
                costs[a][b] = [costs[a][b], via].into_iter().flatten().min();
            }
        }
    }
    costs
}

prop_compose! {
    fn problems()(
        nodes in 2_usize..5,
        needs in proptest::collection::vec(100_u64..700, 1..6),
        wires in proptest::collection::vec((0_usize..6, 0_usize..6, 1_u64..300), 0..7),
        links in proptest::collection::vec((0_usize..5, 0_usize..5, 1_u32..4), 0..4),
        sensors in proptest::collection::vec((0_usize..5, 0_usize..6), 0..3),
        homes in proptest::collection::vec(proptest::option::of((0_usize..5, 0_u64..10_000)), 6),
    ) -> Problem {
        let mut problem = chain(&vec![1_000; nodes]);
        for (a, b, cost) in links {
            if a % nodes != b % nodes {
                link(&mut problem, a % nodes, b % nodes, cost * 1_000);
            }
        }
        for (i, needs) in needs.iter().enumerate() {
            problem.capsules.insert(format!("c{i}"), capsule(*needs));
        }
        let name = |i: usize| format!("c{}", i % needs.len());
        for (from, to, rate) in wires {
            if name(from) != name(to) {
                problem.wires.push(wire(&name(from), &name(to), rate));
            }
        }
        for (node, i) in sensors {
            let sensor = format!("s{i}");
            problem.nodes.get_mut(&format!("n{}", node % nodes)).unwrap().sensors.insert(sensor.clone());
            problem.capsules.get_mut(&name(i)).unwrap().sensors.insert(sensor);
        }
        for (i, home) in homes.into_iter().enumerate().take(needs.len()) {
            if let Some((node, bytes)) = home {
                problem.current.insert((name(i), 0), format!("n{}", node % nodes));
                problem.capsules.get_mut(&name(i)).unwrap().move_bytes = bytes;
            }
        }
        problem
    }
}

fn check(problem: &Problem, plan: &Plan) {
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    for ((name, _), row) in &plan.rows {
        *used.entry(&row.node).or_default() += problem.capsules[name].needs.ram;
        let sensors = &problem.nodes[&row.node].sensors;
        assert!(problem.capsules[name].sensors.is_subset(sensors));
    }
    assert!(used.values().all(|used| *used <= 1_000), "overcommitted");
    assert_eq!(plan.rows.len(), problem.capsules.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn plans_cost_what_the_exact_optimum_costs(problem in problems()) {
        let weights = Weights::default();
        let exact = optimum(&problem, &weights);
        match place(&problem, &weights) {
            Ok(plan) => {
                check(&problem, &plan);
                let exact = exact.expect("the solver finds a plan where there is one");
                let cost = plan.cost.total() as f64;
                prop_assert!(cost >= exact - 0.01, "cheaper than the optimum: {cost} < {exact}");
                prop_assert!(cost <= exact * 1.01 + 0.01, "{cost} against {exact}");
                prop_assert!(plan.optimal, "small enough to be proven");
                prop_assert_eq!(&place(&problem, &weights), &Ok(plan));
            }
            Err(why) => prop_assert!(exact.is_none(), "{why}, but there is a plan for {exact:?}"),
        }
    }
}
