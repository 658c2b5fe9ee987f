//! The phases of a run.

use super::{Failure, Report, failure, mesh};
use crate::Host;
use crate::event::Event;
use crate::script::{Action, Script, on};
use crate::world::World;
use capmesh_gateway::api::Request;
use capmesh_wire::Instant;
use std::hash::Hasher;
use std::time::Duration;

/// How long the mesh may take until what was deployed first runs, while nothing goes wrong.
const SETTLE: Duration = Duration::from_secs(120);

/// How long it may take, once everything is healed, until it is as it should be: longer than a node counts
/// as lost, an instance waits for its next start, and a document needs to reach all.
const CONVERGE: Duration = Duration::from_secs(600);

/// For how long nothing may be handled or published until nothing is taken to come any more: longer than the
/// longest wait between two attempts of whoever found nobody there.
const QUIET: Duration = Duration::from_secs(100);

/// For how long one that falls over its messages is tried again until it has failed for good: eight waits,
/// each twice as long as the one before it. As long may somebody wait who sends to it.
const FALLS: Duration = Duration::from_secs(256);

/// How far apart the mesh is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a script to its end, or to where something is wrong.
#[must_use]
pub fn run(script: &Script) -> Report {
    run_and(script, false).0
}

/// As [`run`]; also returns everything that happened.
#[must_use]
pub fn run_noted(script: &Script) -> (Report, Vec<(Instant, Event)>) {
    run_and(script, true)
}

fn run_and(script: &Script, keeps: bool) -> (Report, Vec<(Instant, Event)>) {
    let mut world = None;
    let outcome = failure::catch(|| {
        let world = world.insert(World::of(script));
        world.history = keeps.then(Vec::new);
        Run { world, script }.phases()
    });
    let now = world.as_ref().map_or(Instant::ZERO, |world| world.now);
    let violation = world.as_ref().and_then(|world| world.violation.as_ref());
    let failure = match (violation, outcome) {
        (Some(violation), _) => Some(Failure::of(violation)),
        (None, Ok(Ok(()))) => None,
        (None, Ok(Err(failure))) => Some(failure),
        (None, Err((kind, what))) => Some(Failure::new(now, kind, what)),
    };
    let hash = world.as_ref().map_or(0, |world| world.fingerprint.finish());
    let history = world.and_then(|world| world.history).unwrap_or_default();
    let lasted = Duration::from_micros(now.as_micros());
    (Report { seed: script.seed, hash, lasted, failure }, history)
}

struct Run<'a> {
    world: &'a mut World,
    script: &'a Script,
}

impl Run<'_> {
    fn phases(&mut self) -> Result<(), Failure> {
        let Self { script, .. } = *self;
        for pipeline in &script.pipelines {
            self.world.apply(&Action::Deploy(Box::new(pipeline.clone())));
            self.run_to(self.world.now + LOOK);
        }
        let all: Vec<Host> = (1..=script.shape.nodes).collect();
        self.await_none("settle", SETTLE, &all)?;
        let start = self.world.now;
        for (after, action) in &script.actions {
            self.run_to(start + *after);
            self.world.apply(action);
        }
        self.run_to(start + script.shape.lasts);
        self.world.mend(&script.core);
        self.ask_again();
        self.await_none("converge", CONVERGE, &script.core)?;
        self.rest()
    }

    /// What was asked while the gateway was down was asked in vain: people ask again.
    fn ask_again(&mut self) {
        let Self { script, .. } = *self;
        for node in &script.core {
            let joins = |(_, action): &(_, Action)| *action == Action::Join { node: *node };
            if script.actions.iter().any(joins) {
                self.insist(&World::adoption(*node));
            }
            self.insist(&Request::Undrain(on(*node)));
        }
    }

    fn run_to(&mut self, until: Instant) {
        while self.world.step(until) {}
        self.world.expect_no_violation();
    }

    /// Asks until there is an answer, whatever it is.
    fn insist(&mut self, request: &Request) {
        while self.world.ask(request).is_none() {}
    }

    /// Waits until nothing is amiss, but not longer than `most`.
    fn await_none(&mut self, phase: &str, most: Duration, well: &[Host]) -> Result<(), Failure> {
        let until = self.world.now + most;
        loop {
            let amiss = mesh::amiss(self.world, self.script, well);
            if amiss.what.is_empty() {
                return Ok(());
            }
            if self.world.now >= until {
                return Err(amiss.failure(self.world, format!("does not {phase}"), most.as_secs()));
            }
            self.run_to(self.world.now + LOOK);
        }
    }

    /// Waits until all that was sent has come to its end; sources that were started afresh send for as long
    /// as they did at first.
    fn rest(&mut self) -> Result<(), Failure> {
        // One of them may have had to wait for another.
        let falls = FALLS * mesh::falling(self.script);
        let most = self.script.shape.lasts + Duration::from_secs(120) + falls;
        let until = self.world.now + most;
        loop {
            let before = mesh::flow(self.world);
            self.run_to(self.world.now + QUIET);
            if before.is_some() && before == mesh::flow(self.world) {
                // What an instance that fell over its messages has not had, it will not have.
                if mesh::all_run(self.world) {
                    self.world.rest();
                }
                return Ok(());
            }
            // What was seen to flow may have flowed before the time was over.
            if self.world.now >= until + QUIET {
                let what = format!("messages still flow after {} s", most.as_secs());
                return Err(Failure::new(self.world.now, "does not rest", what));
            }
        }
    }
}
