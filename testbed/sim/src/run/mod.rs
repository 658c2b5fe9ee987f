//! Runs scripts: in phases, twice, and in ever smaller parts where something is wrong.
//!
//! A run settles, goes through everything its script has while checkers watch that nothing happens that
//! must not, is healed but for some nodes that are gone for good, and then has to become as it should be
//! within a stated time, and come to rest.

mod failure;
mod mesh;
mod phases;
mod shrink;
mod timeline;

use crate::script::Script;
pub use failure::{Failure, keep_panics_quiet};
pub use phases::{run, run_noted};
pub use shrink::{Shrunk, shrink};
use std::time::Duration;
pub use timeline::{timeline, trace};

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
    /// Of everything that happened in it.
    pub hash: u64,
    /// For how long, in virtual time.
    pub lasted: Duration,
    /// What was wrong.
    pub failure: Option<Failure>,
}

/// Runs a script twice: two runs that are not the same are a failure too.
#[must_use]
pub fn run_twice(script: &Script) -> Report {
    let mut first = run(script);
    if first.failure.is_some() {
        return first;
    }
    let second = run(script);
    if (first.hash, &first.failure) != (second.hash, &second.failure) {
        let what = format!("{:016x} at first, then {:016x}", first.hash, second.hash);
        let at = capmesh_wire::Instant::ZERO + first.lasted;
        first.failure = Some(Failure::new(at, "two runs of one seed differ", what));
    }
    first
}
