//! No budget is ever exceeded: RAM, fuel, instances, flash, outboxes.
//!
//! Source: the configuration of nodes ([`Budget`](capmesh_node::config::Budget)) and what manifests need.
//! What is checked, exactly:
//!
//! - what is promised to instances of RAM, fuel per second, places, and what records take of flash: at every
//!   look, by what each node says of itself against its configuration;
//! - inboxes and outboxes of instances, in messages and bytes, likewise;
//! - one handler uses no more fuel than its manifest allows, and what the host may go past it;
//! - all handlers of a node use no more fuel in any [`WINDOW`] seconds than its budget and those of its
//!   instances allow in that time, and one more second's worth to begin with.

use super::{Checker, Mesh, Verdict, Violation};
use crate::{Event, Host};
use capmesh_node::trace::{Gauge, Trace};
use capmesh_wire::Instant;
use std::collections::{BTreeMap, HashMap};

/// Over so many seconds is added up what a node's handlers use.
pub const WINDOW: u64 = 10;

/// What a handler may go past its fuel: a host stops at the end of what it is at, be it a loop over
/// memory that it does for the capsule.
const PAST: u64 = 100_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Budgets {
    /// Of each instance on each node: what it may use for a handler, and what it had used.
    handlers: HashMap<(Host, u32), (u64, u64)>,
    /// What each node has used in this window.
    used: BTreeMap<Host, u64>,
    since: Instant,
}

impl Checker for Budgets {
    fn name(&self) -> &'static str {
        "budgets"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        let Event::Node { host, trace } = event else { return Ok(()) };
        match *trace {
            Trace::Up { instance, fuel, .. } => {
                self.handlers.insert((*host, instance.0), (fuel, 0));
            }
            Trace::Ends { instance, fuel: total, .. } => {
                let Some((most, before)) = self.handlers.get_mut(&(*host, instance.0)) else {
                    return Ok(());
                };
                let used = total.saturating_sub(std::mem::replace(before, total));
                *self.used.entry(*host).or_default() += used;
                if used > *most + PAST {
                    let seen = format!("a handler has used {used} of fuel");
                    let wrong = Violation::new("budgets", at, seen).should(format!("{most}"));
                    return Err(wrong.on(*host).of(instance.0));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        let is_over = at.saturating_since(self.since).as_secs() >= WINDOW;
        for host in mesh.nodes() {
            let gauges = mesh.gauges(host);
            for gauge in gauges.iter().filter(|gauge| is_budget(gauge)) {
                expect(self.name(), at, host, gauge)?;
            }
            let used = if is_over { self.used.remove(&host) } else { None };
            let rate = gauges.iter().find(|gauge| gauge.name == FUEL);
            if let (Some(used), Some(rate)) = (used, rate) {
                let seconds = at.saturating_since(self.since).as_secs() + 2;
                // What its instances are promised they have beside what nobody is promised.
                let most = (rate.most + rate.has.min(rate.most)) * seconds + PAST;
                if used > most {
                    let seen = format!("its handlers have used {used} of fuel in {seconds} s");
                    let wrong = Violation::new(self.name(), at, seen);
                    return Err(wrong.should(format!("at most {most}")).on(host));
                }
            }
        }
        if is_over {
            self.since = at;
            self.used.clear();
        }
        Ok(())
    }
}

const FUEL: &str = "budget: fuel per second";

/// Whether a gauge is of what capsules use, and not of the node's own tables.
pub(super) fn is_budget(gauge: &Gauge) -> bool {
    ["budget:", "flash:", "inbox:", "outbox:"].iter().any(|kind| gauge.name.starts_with(kind))
}

/// Something holds no more than it may.
pub(super) fn expect(promise: &'static str, at: Instant, host: Host, gauge: &Gauge) -> Verdict {
    let Gauge { name, has, most } = gauge;
    if has <= most {
        return Ok(());
    }
    let wrong = Violation::new(promise, at, format!("{name}: {has}"));
    Err(wrong.should(format!("at most {most}")).on(host))
}

#[cfg(test)]
mod tests;
