//! Cheapest paths between nodes.

use crate::model::{Link, Problem};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What a byte costs from one node to another, in thousandths.
pub(crate) type Cost = u64;

/// Where links lead, by where they begin, and what a byte costs on each.
type Neighbours = Vec<Vec<(usize, Cost)>>;

/// Cheapest paths for messages up to some length.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    nodes: usize,
    costs: Vec<Option<Cost>>,
}

impl Paths {
    /// Finds them over the links and uplinks that carry `message` bytes in one datagram. A cheapest path
    /// either leads through the network of the uplinks, to which and from which Dijkstra's algorithm is run
    /// once, or over links alone: these are followed from each node for as long as that is the cheaper way.
    pub(crate) fn new(problem: &Problem, message: u32) -> Self {
        let carries = |link: &Link| link.mtu >= message;
        let index: BTreeMap<&str, usize> =
            problem.nodes.keys().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let nodes = index.len();
        let (mut onward, mut back) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
        for ((from, to), link) in problem.links.iter().filter(|(_, link)| carries(link)) {
            let ends = index.get(from.as_str()).zip(index.get(to.as_str()));
            let Some((&from, &to)) = ends else { continue };
            join(&mut onward, from, to, link);
            join(&mut back, to, from, link);
        }
        let uplinks = problem.nodes.values().map(|node| node.uplink.filter(carries));
        let uplinks: Vec<Option<Cost>> = uplinks.map(|link| Some(link?.cost.into())).collect();
        let mut queue = BinaryHeap::new();
        let (mut up, mut down) = (uplinks.clone(), uplinks);
        let starts = |costs: &[Option<Cost>]| {
            let starts = costs.iter().enumerate();
            starts.filter_map(|(node, cost)| Some((node, (*cost)?))).collect::<Vec<_>>()
        };
        dijkstra(&back, &starts(&up), &mut up, &mut queue);
        dijkstra(&onward, &starts(&down), &mut down, &mut queue);
        let mut costs = Vec::with_capacity(nodes * nodes);
        let mut row = Vec::with_capacity(nodes);
        for (start, up) in up.into_iter().enumerate() {
            row.clear();
            row.extend(down.iter().map(|down| Some(up?.saturating_add((*down)?))));
            if let Some(own) = row.get_mut(start) {
                *own = Some(0);
            }
            dijkstra(&onward, &[(start, 0)], &mut row, &mut queue);
            costs.extend_from_slice(&row);
        }
        Self { nodes, costs }
    }

    /// The cost of a byte between two nodes, by their places in the order of names; `None` if there
    /// is no path.
    pub(crate) fn cost(&self, from: usize, to: usize) -> Option<Cost> {
        self.costs.get(from * self.nodes + to).copied().flatten()
    }
}

fn join(neighbours: &mut Neighbours, from: usize, to: usize, link: &Link) {
    if let Some(list) = neighbours.get_mut(from) {
        list.push((to, link.cost.into()));
    }
}

/// Lowers `costs`, of ways that are known, to those of paths from `starts` wherever these are cheaper. A start's
/// own cost is in `costs` already.
fn dijkstra(
    neighbours: &Neighbours,
    starts: &[(usize, Cost)],
    costs: &mut [Option<Cost>],
    queue: &mut BinaryHeap<Reverse<(Cost, usize)>>,
) {
    queue.extend(starts.iter().map(|&(node, cost)| Reverse((cost, node))));
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
}

#[cfg(test)]
mod tests;
