//! What of a script it takes for a failure, found by running parts of it.

use super::Failure;
use crate::script::Script;

/// What is left of a script.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// How many of the first actions it takes.
    pub prefix: usize,
    /// Those of them without which it does not fail.
    pub script: Script,
    /// How it fails.
    pub failure: Failure,
    /// How many scripts were run.
    pub runs: usize,
}

/// The smallest prefix of a script that fails as the whole does, and what of that prefix it takes. `run`
/// runs a script; at most `budget` are run, and the smallest that failed is the answer.
pub fn shrink(
    script: &Script,
    failure: Failure,
    budget: usize,
    mut run: impl FnMut(&Script) -> Option<Failure>,
) -> Shrunk {
    let mut search = Search { failure, script: script.clone(), runs: 0, budget };
    search.prefix(&mut run);
    let prefix = search.script.actions.len();
    search.thin(&mut run);
    let Search { failure, script, runs, .. } = search;
    Shrunk { prefix, script, failure, runs }
}

struct Search {
    /// The smallest script that failed so far, and how it did.
    script: Script,
    failure: Failure,
    runs: usize,
    budget: usize,
}

impl Search {
    /// Whether a script still fails in the same way; it is kept if it does.
    fn fails(&mut self, script: Script, run: &mut impl FnMut(&Script) -> Option<Failure>) -> bool {
        if self.runs >= self.budget {
            return false;
        }
        self.runs += 1;
        match run(&script) {
            Some(failure) if failure.kind == self.failure.kind => {
                (self.script, self.failure) = (script, failure);
                true
            }
            _ => false,
        }
    }

    /// Halves the number of actions in question until the last one is needed.
    fn prefix(&mut self, run: &mut impl FnMut(&Script) -> Option<Failure>) {
        let whole = self.script.clone();
        // So many are too few, and so many enough.
        let (mut few, mut enough) = (0, whole.actions.len());
        if enough == 0 || self.fails(whole.prefix(0), run) {
            return;
        }
        while few + 1 < enough {
            let middle = few.midpoint(enough);
            if self.fails(whole.prefix(middle), run) {
                enough = middle;
            } else {
                few = middle;
            }
        }
    }

    /// Leaves out runs of actions, first long ones, as long as the failure stays.
    fn thin(&mut self, run: &mut impl FnMut(&Script) -> Option<Failure>) {
        let mut length = self.script.actions.len() / 2;
        while length > 0 && self.runs < self.budget {
            let mut end = self.script.actions.len();
            while end > 0 && self.runs < self.budget {
                let start = end.saturating_sub(length);
                let mut less = self.script.clone();
                less.actions.drain(start..end);
                self.fails(less, run);
                end = start;
            }
            length /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Action, Shape};
    use capmesh_wire::Instant;
    use std::time::Duration;

    fn script(count: u16) -> Script {
        let lasts = Duration::from_secs(60);
        let mut script = Script::draw(1, Shape { nodes: 3, lasts, capsules: Some(1) });
        let action = |n| (Duration::from_secs(u64::from(n)), Action::Boot { node: n });
        script.actions = (0..count).map(action).collect();
        script
    }

    fn nodes(script: &Script) -> Vec<u16> {
        let node = |action: &(Duration, Action)| match action.1 {
            Action::Boot { node } => node,
            _ => 0,
        };
        script.actions.iter().map(node).collect()
    }

    fn failure(kind: &str) -> Failure {
        Failure::new(Instant::ZERO, kind, "")
    }

    /// Fails where all of these are there.
    fn fails_with(needed: &'static [u16]) -> impl Fn(&Script) -> Option<Failure> {
        move |script| {
            let there = nodes(script);
            needed.iter().all(|node| there.contains(node)).then(|| failure("lost"))
        }
    }

    #[test]
    fn what_is_not_needed_goes() {
        for needed in [&[][..], &[0], &[39], &[3, 17], &[1, 2, 30], &[5, 6, 7, 8]] {
            let shrunk = shrink(&script(40), failure("lost"), 1_000, fails_with(needed));
            assert_eq!(nodes(&shrunk.script), needed);
            assert_eq!(shrunk.prefix, needed.last().map_or(0, |last| usize::from(*last) + 1));
        }
    }

    #[test]
    fn no_more_runs_are_made_than_allowed_and_what_is_left_still_fails() {
        for budget in 0..20 {
            let mut runs = 0;
            let fails = fails_with(&[3, 17]);
            let shrunk = shrink(&script(40), failure("lost"), budget, |script| {
                runs += 1;
                fails(script)
            });
            assert!(runs <= budget && shrunk.runs == runs);
            assert!(fails(&shrunk.script).is_some());
        }
    }

    #[test]
    fn another_failure_is_not_taken_for_this_one() {
        let shrunk = shrink(&script(10), failure("lost"), 1_000, |script| {
            let is_whole = script.actions.len() == 10;
            Some(failure(if is_whole { "lost" } else { "doubled" }))
        });
        assert_eq!(shrunk.script.actions.len(), 10);
    }
}
