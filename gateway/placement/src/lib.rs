//! Which node runs which capsule: `(Problem, Weights) -> Plan | Unplaceable`.
//!
//! # How it decides
//! First *filter*: an instance may go only where its sensors, actuators, labels and contract are
//! and where it would fit an empty node. Then *search* for the assignment of all instances that
//! overcommits no node, keeps together and apart what must be, has a path of sufficient MTU under
//! every wire, and costs least. The cost is the sum of
//! - *traffic*: bytes per second of each wire times the cost of the cheapest path under it,
//! - *pressure*: how far beyond half a node's flash, RAM and fuel are used,
//! - *sharing*: replicas of one capsule on one node, which fail together,
//! - *moving*: instances that run elsewhere now; a move has to pay for itself.
//!
//! The search is a greedy start, improved by moving and swapping with restarts from disturbed
//! solutions, and then a branch-and-bound that proves the result where the problem is small enough
//! ([`Plan::optimal`]). Its work is bounded by [`Weights::effort`].
//!
//! # Invariants
//! - Pure and deterministic: no clock, no random source, integers only, ordered maps only. The same
//!   problem gives the same plan on every machine.
//! - A plan never overcommits a node.
//! - Every row says why ([`Row::parts`], [`Row::runner_up`], [`Row::ruled_out`]); an [`Unplaceable`]
//!   names the capsule, what it needs and what the best node lacks.
//!
//! # Deliberately absent
//! Names' meaning, digests, leases and epochs (the gateway's core), and prediction of what a capsule
//! needs (the packer measures it).

mod cost;
mod explain;
mod filter;
mod model;
mod paths;
mod search;

pub use explain::{Lack, Parts, Plan, Row, RunnerUp, Unplaceable};
pub use filter::Obstacle;
pub use model::{Capsule, Instance, Link, Node, Problem, Resources, Weights, Wire};
pub use search::EFFORT;

/// Places every instance of `problem`.
///
/// # Errors
/// What cannot be placed and why, or a mistake in the problem itself.
pub fn place(problem: &Problem, weights: &Weights) -> Result<Plan, Unplaceable> {
    let prepared = filter::prepare(problem, weights)?;
    let (assignment, optimal) = search::search(&prepared)
        .map_err(|stuck| explain::unplaceable(problem, &prepared, &stuck))?;
    Ok(explain::plan(problem, &prepared, &assignment, optimal))
}
