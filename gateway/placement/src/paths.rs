//! Cheapest paths between nodes.

use crate::model::Problem;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What a byte costs from one node to another, in thousandths.
pub(crate) type Cost = u64;

/// Cheapest paths for messages up to some length.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Places of a start in `costs`: one for each node, and one for the network of the uplinks.
    places: usize,
    costs: Vec<Option<Cost>>,
}

impl Paths {
    /// Finds them by Dijkstra's algorithm from each node, over the links and uplinks that carry `message` bytes
    /// in one datagram.
    pub(crate) fn new(problem: &Problem, message: u32) -> Self {
        let index: BTreeMap<&str, usize> =
            problem.nodes.keys().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let nodes = index.len();
        let mut neighbours = vec![Vec::new(); nodes + 1];
        for ((from, to), link) in &problem.links {
            let ends = index.get(from.as_str()).zip(index.get(to.as_str()));
            if let Some((&from, &to)) = ends
                && link.mtu >= message
                && let Some(list) = neighbours.get_mut(from)
            {
                list.push((to, Cost::from(link.cost)));
            }
        }
        let uplinks = problem.nodes.values().map(|node| node.uplink);
        for (node, uplink) in uplinks.enumerate() {
            let Some(link) = uplink.filter(|link| link.mtu >= message) else { continue };
            for (from, to) in [(node, nodes), (nodes, node)] {
                if let Some(list) = neighbours.get_mut(from) {
                    list.push((to, Cost::from(link.cost)));
                }
            }
        }
        let costs = (0..nodes).flat_map(|start| dijkstra(&neighbours, start)).collect();
        Self { places: nodes + 1, costs }
    }

    /// The cost of a byte between two nodes, by their places in the order of names; `None` if there
    /// is no path.
    pub(crate) fn cost(&self, from: usize, to: usize) -> Option<Cost> {
        self.costs.get(from * self.places + to).copied().flatten()
    }
}

fn dijkstra(neighbours: &[Vec<(usize, Cost)>], start: usize) -> Vec<Option<Cost>> {
    let mut costs = vec![None; neighbours.len()];
    if let Some(cost) = costs.get_mut(start) {
        *cost = Some(0);
    }
    let mut queue = BinaryHeap::from([Reverse((0 as Cost, start))]);
    while let Some(Reverse((cost, node))) = queue.pop() {
        // It was reached by a better way since.
        if costs.get(node).copied().flatten().is_some_and(|known| known < cost) {
            continue;
        }
        for &(next, step) in neighbours.get(node).into_iter().flatten() {
            let through = cost.saturating_add(step);
            // Few links are better than what is known, so that dense meshes cost little more than
            // a look at each link.
            if let Some(known) = costs.get_mut(next)
                && known.is_none_or(|known| through < known)
            {
                *known = Some(through);
                queue.push(Reverse((through, next)));
            }
        }
    }
    costs
}
