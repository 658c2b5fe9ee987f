//! Exactly one owner runs each instance, and a stale copy is harmless.
//!
//! Source: [`capmesh_wire::control`] and [`capmesh_wire::plan`], on epochs and leases. What is checked, exactly:
//!
//! - No two nodes run an instance in the same epoch.
//! - Once an instance with a lease has run in some epoch somewhere, it runs in no earlier one any more.
//!   (Nodes' clocks may drift by 1 %; what leases wait for that is their own, so nothing is forgiven here.)
//! - Once an epoch was handed over with its last state, and the instance has run in the later one, the one
//!   that was handed over does not run any more.
//! - No node runs an instance in an earlier epoch than it has run it in before.
//! - An instance without a lease that was started elsewhere because its node was lost or revoked may go on
//!   there ("keeps running while cut off; receivers' epoch check keeps a stale copy harmless"), also while
//!   the one that took its place is handed on, as long as nobody takes anything from it: that is
//!   [`Delivery`](super::Delivery)'s affair, as is [`Rest`](super::Rest)'s that it ends once its node is
//!   found again.
//!
//! An instance *runs* when it begins a handler, and is up to do so.

use super::{Checker, Verdict, Violation};
use crate::{Event, Host};
use capmesh_node::trace::Trace;
use capmesh_wire::{Epoch, Instant};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The epochs that were handed over to a later one that has run.
    over: BTreeSet<Epoch>,
    /// The newest epoch that each host has run.
    ran: BTreeMap<Host, Epoch>,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    host: Host,
    epoch: Epoch,
    leased: bool,
    /// The epoch that was handed over to it.
    ends: Option<Epoch>,
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
                let up = self.instances.remove(instance).unwrap_or_default().up;
                self.instances.insert(*instance, Instance { up, ..Instance::default() });
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
                let from = from.filter(|from| from.is_last && from.epoch < epoch);
                let ends = from.map(|from| from.epoch);
                let copy = Copy { host, epoch, leased, ends, runs };
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
        let ran = self.ran.entry(host).or_insert(copy.epoch);
        if *ran > copy.epoch {
            let seen = format!("it runs in epoch {}", copy.epoch);
            return Err(Violation::new("ownership", at, seen).should(format!("it has run {ran}")));
        }
        *ran = copy.epoch;
        let Some(newest) = self.newest.filter(|newest| newest.epoch >= copy.epoch) else {
            self.over.extend(copy.ends);
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
        if !(copy.leased || self.over.contains(&copy.epoch)) {
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
