//! Exactly one owner runs each instance, and a stale copy is harmless.
//!
//! Source: [`capmesh_wire::control`] and [`capmesh_wire::plan`], on epochs and leases. What is checked, exactly:
//!
//! - No two nodes run an instance in the same epoch.
//! - Once an instance has run in some epoch somewhere, it runs in no earlier one any more: if it has a
//!   lease, or was handed over with its last state. (Nodes' clocks may drift by 1 %; what leases wait for
//!   that is their own, so nothing is forgiven here.)
//! - An instance without a lease that was started elsewhere because its node was lost may go on there, as
//!   long as nobody takes anything from it: that is [`Delivery`](super::Delivery)'s affair, as is
//!   [`Rest`](super::Rest)'s that it ends once its node is found again.
//!
//! An instance *runs* when it begins a handler, and is up to do so.

use super::{Checker, Verdict, Violation};
use crate::{Event, Host};
use capmesh_node::trace::Trace;
use capmesh_wire::{Epoch, Instant};
use std::collections::BTreeMap;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Ownership {
    instances: BTreeMap<u32, Instance>,
}

#[derive(Debug, Default)]
struct Instance {
    /// Those that are up: who, in which epoch, with a lease, and handed over from another node.
    up: Vec<Copy>,
    /// The one of the newest epoch that has run.
    newest: Option<Copy>,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    host: Host,
    epoch: Epoch,
    leased: bool,
    handed_over: bool,
    runs: bool,
}

impl Checker for Ownership {
    fn name(&self) -> &'static str {
        "ownership"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        match event {
            Event::Node { host, trace } => {
                self.trace(at, *host, trace).map_err(|wrong| wrong.on(*host))
            }
            Event::Owned { instance, by: None, .. } => {
                // Its number may be given to another one, whose epochs begin anew.
                self.instances.entry(*instance).or_default().newest = None;
                Ok(())
            }
            Event::Crashed { host } => {
                let all = self.instances.values_mut();
                all.for_each(|instance| instance.up.retain(|copy| copy.host != *host));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Ownership {
    fn trace(&mut self, at: Instant, host: Host, trace: &Trace) -> Verdict {
        match *trace {
            Trace::Up { instance, epoch, runs, leased, from, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                found.up.retain(|copy| copy.host != host);
                let handed_over = from.is_some_and(|from| from.is_last && from.epoch < epoch);
                let copy = Copy { host, epoch, leased, handed_over, runs };
                found.up.push(copy);
                let other = found
                    .up
                    .iter()
                    .find(|other| runs && other.runs && other.host != host && other.epoch == epoch);
                let Some(other) = other else { return Ok(()) };
                let seen = format!("hosts {host} and {} both run epoch {epoch}", other.host);
                Err(Violation::new("ownership", at, seen).should("one owner").of(instance.0))
            }
            Trace::Down { instance, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                found.up.retain(|copy| copy.host != host);
                Ok(())
            }
            Trace::Begins { instance, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                found.begins(at, host).map_err(|wrong| wrong.of(instance.0))
            }
            _ => Ok(()),
        }
    }
}

impl Instance {
    fn begins(&mut self, at: Instant, host: Host) -> Verdict {
        let Some(copy) = self.up.iter().find(|copy| copy.host == host).copied() else {
            return Err(Violation::new("ownership", at, "a handler runs in what is not up"));
        };
        let Some(newest) = self.newest.filter(|newest| newest.epoch >= copy.epoch) else {
            self.newest = Some(copy);
            return Ok(());
        };
        if newest.epoch == copy.epoch {
            // The same node, after a restart; or a row that was written anew.
            if newest.host == host || !self.up.iter().any(|up| up.host == newest.host && up.runs) {
                self.newest = Some(copy);
                return Ok(());
            }
            let seen = format!("epoch {} runs, which host {} runs", copy.epoch, newest.host);
            return Err(Violation::new("ownership", at, seen).should("one owner"));
        }
        if !(copy.leased || newest.handed_over) {
            return Ok(());
        }
        let seen = format!("it runs in epoch {}", copy.epoch);
        let why = if copy.leased { "it has a lease" } else { "it was handed over" };
        let should = format!("host {} has run epoch {}, and {why}", newest.host, newest.epoch);
        Err(Violation::new("ownership", at, seen).should(should))
    }
}

#[cfg(test)]
mod tests;
