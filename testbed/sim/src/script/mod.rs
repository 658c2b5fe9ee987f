//! Everything that happens *to* a mesh in a run, drawn from the seed before the run.
//!
//! A [`Script`] is a list of [`Action`]s with their times. Which kinds of fault are in it at all, and how
//! often each comes, is drawn too ([`Swarm`]); so are the pipelines that run ([`Pipeline`]). As nothing in it
//! depends on what the mesh does, a run repeats up to the first action that is taken away: that is how the
//! part of it that matters is found.

mod action;
mod apply;
mod draw;
mod recipe;
mod swarm;
#[cfg(test)]
mod tests;
mod workload;

use crate::Host;
use crate::site::Dice;
pub use action::Action;
pub(crate) use apply::on;
use capmesh_node::trace::print;
pub use recipe::Recipe;
use std::time::Duration;
pub use swarm::{Kind, Swarm};
pub use workload::{Capsule, Failover, Part, Pipeline, Temper, Wire};

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes that belong to the site from the start.
    pub nodes: Host,
    /// How long things happen, in virtual time. What comes before and after is not in it.
    pub lasts: Duration,
    /// Instances that run at a time; by chance if absent.
    pub capsules: Option<u16>,
}

/// What happens in a run, and when, counted from the end of the settling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it was drawn from.
    pub seed: u64,
    /// How large the run is.
    pub shape: Shape,
    /// Which kinds of trouble it has.
    pub swarm: Swarm,
    /// What is deployed before anything happens.
    pub pipelines: Vec<Pipeline>,
    /// Nodes that join on the way: beyond those of the shape.
    pub spare: Host,
    /// What happens, in the order of time.
    pub actions: Vec<(Duration, Action)>,
    /// Nodes that are well in the end, each up and reached by all others that are; the rest are off.
    pub core: Vec<Host>,
}

impl Script {
    /// Draws a script.
    #[must_use]
    pub fn draw(seed: u64, shape: Shape) -> Self {
        draw::script(seed, shape, Swarm::draw(seed))
    }

    /// Draws a script without some kinds of trouble; what else happens, happens as it would have.
    #[must_use]
    pub fn draw_without(seed: u64, shape: Shape, kinds: &[Kind]) -> Self {
        draw::script(seed, shape, Swarm::draw(seed).without(kinds))
    }

    /// The same with the actions of these numbers only.
    #[must_use]
    pub fn only(&self, numbers: &[usize]) -> Self {
        let is_there = |(number, _): &(usize, _)| numbers.contains(number);
        let actions = self.actions.iter().enumerate().filter(is_there);
        let actions = actions.map(|(_, action)| action.clone()).collect();
        Self { actions, ..self.clone() }
    }

    /// The numbers of those actions that are also in a part of this script.
    #[must_use]
    pub fn numbers_of(&self, part: &Self) -> Vec<usize> {
        let mut left = part.actions.iter().peekable();
        let all = self.actions.iter().enumerate();
        all.filter(|(_, action)| left.next_if(|next| *next == *action).is_some())
            .map(|(number, _)| number)
            .collect()
    }

    /// The same with the first so many actions only.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Self {
        let mut script = self.clone();
        script.actions.truncate(count);
        script
    }
}

/// A stream of chance of its own: what is drawn from one does not change what others give.
fn fork(seed: u64, label: &str) -> Dice {
    Dice(seed).fork(print(label.as_bytes()))
}
