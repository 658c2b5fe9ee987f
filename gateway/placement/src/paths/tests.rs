use super::{Cost, Paths};
use crate::model::{Link, Node, Problem};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(bound)).unwrap()
    }

    fn link(&mut self) -> Link {
        Link { cost: 1 + self.below(9), mtu: 100 * (1 + self.below(3)) }
    }
}

/// Some nodes, of which some have an uplink and some a link to others, in one direction or in both.
fn problem(random: &mut Random) -> Problem {
    let mut problem = Problem::default();
    let count = 1 + random.below(9);
    let (of_ten, name) = (random.below(11), |n: u32| format!("n{n}"));
    for n in 0..count {
        let uplink = (random.below(10) < of_ten).then(|| random.link());
        problem.nodes.insert(name(n), Node { uplink, ..Node::default() });
    }
    for _ in 0..random.below(3 * count) {
        // Some lead to a node that is not there.
        let ends = (name(random.below(count + 1)), name(random.below(count)));
        problem.links.insert(ends, random.link());
    }
    problem
}

/// The same by the algorithm of Floyd and Warshall, with the network of the uplinks in the last place.
fn all_pairs(problem: &Problem, message: u32) -> Vec<Vec<Option<Cost>>> {
    let names: Vec<&String> = problem.nodes.keys().collect();
    let hub = names.len();
    let mut costs = vec![vec![None; hub + 1]; hub + 1];
    let mut join = |from: usize, to: usize, link: &Link| {
        if link.mtu >= message {
            costs[from][to] = Some(Cost::from(link.cost));
        }
    };
    for ((from, to), link) in &problem.links {
        let place = |name: &String| names.iter().position(|other| *other == name);
        if let Some((from, to)) = place(from).zip(place(to)) {
            join(from, to, link);
        }
    }
    for (node, of) in problem.nodes.values().enumerate() {
        if let Some(link) = &of.uplink {
            join(node, hub, link);
            join(hub, node, link);
        }
    }
    (0..=hub).for_each(|node| costs[node][node] = Some(0));
    for over in 0..=hub {
        for from in 0..=hub {
            for to in 0..=hub {
                let through = costs[from][over].zip(costs[over][to]).map(|(a, b)| a + b);
                costs[from][to] = costs[from][to].into_iter().chain(through).min();
            }
        }
    }
    costs
}

#[test]
fn no_path_is_cheaper() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2_000 {
        let problem = problem(&mut random);
        for message in [100, 200, 300, 400] {
            let (paths, wanted) = (Paths::new(&problem, message), all_pairs(&problem, message));
            let nodes = problem.nodes.len();
            for (from, wanted) in wanted.iter().enumerate().take(nodes) {
                for (to, cost) in wanted.iter().enumerate().take(nodes) {
                    assert_eq!(paths.cost(from, to), *cost, "{from} -> {to} of {problem:?}");
                }
            }
        }
    }
}
