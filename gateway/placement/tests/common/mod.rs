//! Problems for the tests.
#![allow(dead_code, reason = "each test file uses a part")]

use capmesh_placement::{Capsule, Link, Node, Problem, Resources, Wire};

/// Flash, RAM and fuel alike, so that a per mille of a 1000 is one.
pub(crate) const fn amount(n: u64) -> Resources {
    Resources { flash: n, ram: n, fuel: n, instances: 0 }
}

pub(crate) fn node(capacity: u64) -> Node {
    Node { capacity: amount(capacity), abi: [1].into(), ..Node::default() }
}

pub(crate) fn capsule(needs: u64) -> Capsule {
    Capsule { needs: amount(needs), ..Capsule::default() }
}

pub(crate) fn wire(from: &str, to: &str, rate: u64) -> Wire {
    Wire { from: from.into(), to: to.into(), rate, message: 64, paired: false }
}

/// Nodes `n0`, `n1`, ... of the given capacities, each linked to the next in both directions.
pub(crate) fn chain(capacities: &[u64]) -> Problem {
    let mut problem = Problem::default();
    for (i, capacity) in capacities.iter().enumerate() {
        problem.nodes.insert(format!("n{i}"), node(*capacity));
        if i > 0 {
            link(&mut problem, i - 1, i, 1_000);
        }
    }
    problem
}

pub(crate) fn link(problem: &mut Problem, a: usize, b: usize, cost: u32) {
    for (from, to) in [(a, b), (b, a)] {
        let ends = (format!("n{from}"), format!("n{to}"));
        problem.links.insert(ends, Link { cost, mtu: 1_024 });
    }
}
