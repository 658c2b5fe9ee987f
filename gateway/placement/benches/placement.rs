//! How long a plan takes: 50 capsules on 200 nodes, and small problems that are proven.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a benchmark")]

use capmesh_placement::{Capsule, Link, Node, Problem, Resources, Weights, Wire, place};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// A grid of nodes with three kinds of sensors, and pipelines of four capsules each.
fn problem(nodes: usize, capsules: usize) -> Problem {
    let mut problem = Problem::default();
    let width = nodes.isqrt().max(1);
    for i in 0..nodes {
        let size = 65_536 << (i % 3);
        let node = Node {
            capacity: Resources { flash: 4 * size, ram: size, fuel: 5_000_000, instances: 0 },
            sensors: [format!("s{}", i % 3)].into(),
            abi: [1].into(),
            ..Node::default()
        };
        problem.nodes.insert(format!("n{i:03}"), node);
        for j in [i + 1, i + width].into_iter().filter(|j| *j < nodes) {
            for (a, b) in [(i, j), (j, i)] {
                let link = Link { cost: 1_000 + u32::try_from(i * 37 % 900).unwrap(), mtu: 1_024 };
                problem.links.insert((format!("n{a:03}"), format!("n{b:03}")), link);
            }
        }
    }
    for i in 0..capsules {
        let mut capsule = Capsule {
            needs: Resources {
                flash: 8_000,
                ram: 10_000 + 900 * (i as u64 % 7),
                fuel: 300_000,
                instances: 0,
            },
            ..Capsule::default()
        };
        if i % 4 == 0 {
            capsule.sensors.insert(format!("s{}", i % 3));
        } else {
            let (from, to) = (format!("c{:03}", i - 1), format!("c{i:03}"));
            problem.wires.push(Wire {
                from,
                to,
                rate: 400 >> (i % 4),
                message: 200,
                paired: false,
            });
        }
        problem.capsules.insert(format!("c{i:03}"), capsule);
    }
    problem
}

fn plans(c: &mut Criterion) {
    for (nodes, capsules) in [(6, 5), (20, 12), (200, 50)] {
        let problem = problem(nodes, capsules);
        let plan = place(&problem, &Weights::default()).expect("there is room");
        println!("{capsules} on {nodes}: cost {}, optimal {}", plan.cost.total(), plan.optimal);
        c.bench_function(&format!("{capsules} capsules on {nodes} nodes"), |b| {
            b.iter(|| place(black_box(&problem), &Weights::default()));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = plans
}
criterion_main!(benches);
