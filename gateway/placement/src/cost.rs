//! What an assignment costs, kept up to date while units are put and taken.

use crate::explain::Parts;
use crate::filter::{Prepared, Unit};
use crate::model::{Resources, Weights};

/// A partial assignment.
#[derive(Clone, Debug)]
pub(crate) struct Board<'p> {
    pub(crate) problem: &'p Prepared,
    /// Where each unit is.
    pub(crate) place: Vec<Option<usize>>,
    used: Vec<Resources>,
    /// How hard that presses on each node.
    pressure: Vec<u64>,
    /// How many instances of each capsule are on each node.
    instances: Vec<u16>,
}

impl<'p> Board<'p> {
    pub(crate) fn new(problem: &'p Prepared) -> Self {
        let nodes = problem.capacity.len();
        Self {
            problem,
            place: vec![None; problem.units.len()],
            used: vec![Resources::default(); nodes],
            pressure: vec![0; nodes],
            instances: vec![0; nodes * problem.capsules],
        }
    }

    /// What putting `unit` on `node` adds to the cost, or `None` if it may not go there beside what
    /// is placed. Whether the node is eligible at all is the caller's to know.
    pub(crate) fn price(&self, unit: usize, node: usize) -> Option<u64> {
        self.parts(unit, node).map(|parts| parts.total())
    }

    /// [`Board::price`] in its parts.
    pub(crate) fn parts(&self, unit: usize, node: usize) -> Option<Parts> {
        let this = self.problem.units.get(unit)?;
        let capacity = self.problem.capacity.get(node)?;
        let after = self.used.get(node)?.plus(&this.needs);
        if !after.fits(capacity) || this.apart.iter().any(|other| self.at(*other) == Some(node)) {
            return None;
        }
        let weights = &self.problem.weights;
        Some(Parts {
            traffic: self.traffic(this, node)?,
            pressure: pressure(weights, &after, capacity) - self.pressure.get(node)?,
            sharing: self.sharing(this, node),
            moving: this.away - this.at_home(node),
        })
    }

    pub(crate) fn put(&mut self, unit: usize, node: usize) {
        self.change(unit, node, Resources::plus, |count| count.saturating_add(1));
        if let Some(place) = self.place.get_mut(unit) {
            *place = Some(node);
        }
    }

    /// Takes a unit off its node; returns which that was.
    pub(crate) fn take(&mut self, unit: usize) -> Option<usize> {
        let node = self.place.get_mut(unit)?.take()?;
        self.change(unit, node, Resources::minus, |count| count.saturating_sub(1));
        Some(node)
    }

    pub(crate) fn at(&self, unit: usize) -> Option<usize> {
        self.place.get(unit).copied().flatten()
    }

    /// What is left on a node.
    pub(crate) fn left(&self, node: usize) -> Resources {
        let capacity = self.problem.capacity.get(node).copied().unwrap_or_default();
        capacity.minus(&self.used.get(node).copied().unwrap_or_default())
    }

    /// The cost of everything placed.
    pub(crate) fn total(&self) -> Parts {
        let mut board = Board::new(self.problem);
        let mut total = Parts::default();
        for (unit, node) in self.place.iter().enumerate() {
            if let Some(node) = node {
                total += board.parts(unit, *node).unwrap_or_default();
                board.put(unit, *node);
            }
        }
        total
    }

    fn traffic(&self, unit: &Unit, node: usize) -> Option<u64> {
        let mut sum = 0_u64;
        for flow in &unit.flows {
            let Some(other) = self.at(flow.other) else { continue };
            let (from, to) = if flow.outgoing { (node, other) } else { (other, node) };
            let path = self.problem.paths.get(flow.paths)?.cost(from, to)?;
            sum = sum.saturating_add(flow.rate.saturating_mul(path) / 1_000);
        }
        Some(sum)
    }

    fn sharing(&self, unit: &Unit, node: usize) -> u64 {
        let shared = unit.members.iter().filter(|(capsule, _)| {
            self.instances.get(node * self.problem.capsules + capsule).is_some_and(|n| *n > 0)
        });
        shared.count() as u64 * self.problem.weights.sharing
    }

    fn change(
        &mut self,
        unit: usize,
        node: usize,
        resources: impl Fn(&Resources, &Resources) -> Resources,
        count: impl Fn(u16) -> u16,
    ) {
        let Some(unit) = self.problem.units.get(unit) else { return };
        if let Some(used) = self.used.get_mut(node) {
            *used = resources(used, &unit.needs);
            let capacity = self.problem.capacity.get(node).copied().unwrap_or_default();
            if let Some(known) = self.pressure.get_mut(node) {
                *known = pressure(&self.problem.weights, used, &capacity);
            }
        }
        for (capsule, _) in &unit.members {
            if let Some(n) = self.instances.get_mut(node * self.problem.capsules + capsule) {
                *n = count(*n);
            }
        }
    }
}

/// How hard the use of a node presses: a convex function of each resource's use, so that the last
/// free bytes are the dearest.
fn pressure(weights: &Weights, used: &Resources, capacity: &Resources) -> u64 {
    let of = |(used, capacity): (u64, u64)| {
        // Most nodes are hardly used: they cost no division.
        if used <= capacity / 2 {
            return 0;
        }
        let use_ = used.saturating_mul(1_000).checked_div(capacity).unwrap_or(0);
        use_.saturating_sub(Weights::EASY) + 2 * use_.saturating_sub(Weights::TIGHT)
    };
    used.amounts().into_iter().zip(capacity.amounts()).map(of).sum::<u64>() * weights.pressure
}
