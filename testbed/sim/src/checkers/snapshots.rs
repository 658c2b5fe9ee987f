//! An instance goes on from the state that was taken of it.
//!
//! Source: ARCHITECTURE.md, "One message's way". What is checked, exactly:
//!
//! - The state that an instance goes on from, byte for byte, was taken of it before, on whichever node.
//! - After it was restored, taking it again gives the capsule's part of it, byte for byte (unless another
//!   version of the capsule takes it over).
//! - It is none older than the last one that was durable on its node in its epoch; and there is one if there
//!   was one.

use super::{Checker, Verdict, Violation};
use crate::{Event, Host};
use capmesh_node::trace::{Restored, Trace};
use capmesh_wire::{Digest, Epoch, Instant};
use std::collections::{BTreeMap, VecDeque};

/// States of an instance that are remembered. One that is older may be gone on from unchecked.
const STATES: usize = 4_096;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Snapshots {
    instances: BTreeMap<u32, Instance>,
}

#[derive(Debug, Default)]
struct Instance {
    taken: VecDeque<State>,
    /// How many were forgotten.
    forgotten: u64,
    /// Of each node: in which epoch, and which of the states was durable last.
    kept: BTreeMap<Host, (Epoch, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    print: u64,
    memory: u64,
    host: Host,
}

impl Checker for Snapshots {
    fn name(&self) -> &'static str {
        "snapshots"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        if let Event::Owned { instance, by: None, .. } = event {
            // Its number may be given to another one, whose epochs begin anew.
            self.instances.entry(*instance).or_default().kept.clear();
        }
        let Event::Node { host, trace } = event else { return Ok(()) };
        match *trace {
            Trace::Taken { instance, print, memory, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                if found.taken.len() >= STATES {
                    found.taken.pop_front();
                    found.forgotten += 1;
                }
                found.taken.push_back(State { print, memory, host: *host });
                Ok(())
            }
            Trace::Kept { instance, epoch } => {
                let found = self.instances.entry(instance.0).or_default();
                if let Some(place) = found.taken.iter().rposition(|state| state.host == *host) {
                    found.kept.insert(*host, (epoch, found.forgotten + place as u64));
                }
                Ok(())
            }
            Trace::Up { instance, epoch, capsule, from, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                let verdict = found.up(at, *host, (epoch, capsule), from);
                verdict.map_err(|wrong| wrong.on(*host).of(instance.0))
            }
            _ => Ok(()),
        }
    }
}

impl Instance {
    fn up(
        &self,
        at: Instant,
        host: Host,
        (epoch, capsule): (Epoch, Digest),
        from: Option<Restored>,
    ) -> Verdict {
        let wrong =
            |seen: &str, should: &str| Err(Violation::new("snapshots", at, seen).should(should));
        let kept = self.kept.get(&host).filter(|(of, _)| *of == epoch).map(|(_, number)| *number);
        let Some(from) = from else {
            return match kept {
                Some(_) => wrong("it begins afresh", "it has a durable state"),
                None => Ok(()),
            };
        };
        if from.capsule == capsule && from.now.is_some_and(|now| now != from.memory) {
            return wrong("its state is another than that it was given", "the same");
        }
        let Some(place) = self.taken.iter().rposition(|state| state.print == from.print) else {
            return match self.forgotten {
                0 => wrong("it goes on from a state that was never taken", "one that was"),
                _ => Ok(()),
            };
        };
        if self.taken.get(place).is_some_and(|state| state.memory != from.memory) {
            return wrong("a part of its state is another", "the same as was taken");
        }
        match kept {
            Some(kept) if self.forgotten + (place as u64) < kept => {
                wrong("it goes on from an old state", "the last one that was durable")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
