//! At rest the mesh is as the plan says.
//!
//! Source: mesh-protocol.md, "Placement" and "Life of an instance". What is checked, exactly: every row of the
//! gateway's durable plan whose node is there is an instance of that node, in the row's epoch, and runs (or
//! has failed, or waits to be tried again, because its own handlers trap); and no node that is there runs
//! anything else.

use super::{Checker, Life, Mesh, Verdict, Violation};
use crate::{Event, Host};
use capmesh_wire::Instant;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Rest {
    without: Vec<Host>,
}

impl Checker for Rest {
    fn name(&self) -> &'static str {
        "rest"
    }

    fn see(&mut self, _: Instant, event: &Event) -> Verdict {
        if let Event::Healed { without } = event {
            self.without = without.to_vec();
        }
        Ok(())
    }

    fn at_rest(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        match differs(mesh, &self.without) {
            None => Ok(()),
            Some(seen) => Err(Violation::new(self.name(), at, seen).should("as planned")),
        }
    }
}

/// What is other than planned, in words, on nodes that are on and not among those `without` which the mesh
/// was healed.
pub(super) fn differs(mesh: &dyn Mesh, without: &[Host]) -> Option<String> {
    let plan = mesh.plan();
    let on = |host| mesh.instances(host).filter(|_| !without.contains(&host));
    for row in &plan {
        let Some(instances) = on(row.host) else { continue };
        let (host, planned) = (row.host, (row.instance, row.epoch));
        match instances.iter().find(|of| of.instance == row.instance) {
            None => return Some(format!("instance {} is not on host {host}", row.instance)),
            Some(of) if (of.instance, of.epoch) != planned => {
                let (has, epoch) = (of.epoch, row.epoch);
                return Some(format!("host {host} has {} in {has}, not {epoch}", row.instance));
            }
            Some(of) if of.life == Life::Other => {
                return Some(format!("instance {} on host {host} does not run", row.instance));
            }
            Some(_) => {}
        }
    }
    for host in mesh.nodes() {
        let Some(instances) = on(host) else { continue };
        let is_planned = |id| plan.iter().any(|row| (row.instance, row.host) == (id, host));
        let ghost = instances.iter().find(|of| of.life == Life::Runs && !is_planned(of.instance));
        if let Some(ghost) = ghost {
            let of = ghost.instance;
            return Some(format!("host {host} runs instance {of}, which is not planned there"));
        }
    }
    None
}

#[cfg(test)]
mod tests;
