//! At rest the mesh is as the plan says.
//!
//! Source: [`capmesh_wire::plan`]. What is checked, exactly: every row of the gateway's durable plan whose
//! node is there is an instance of that node, in the row's epoch, and runs (or has failed, or waits to be
//! tried again, because its own handlers trap); and no node that is there runs anything else. A node that
//! was revoked is not asked: nobody can tell it to end what it runs, and nobody listens to that.

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
            Some(other) => Err(other.violation(self.name(), at).should("as planned")),
        }
    }
}

/// Something that is other than planned.
pub(super) struct Other {
    instance: u32,
    host: Host,
    seen: String,
}

impl Other {
    pub(super) fn violation(self, promise: &'static str, at: Instant) -> Box<Violation> {
        Violation::new(promise, at, self.seen).on(self.host).of(self.instance)
    }
}

/// What is other than planned, on nodes that are on and not among those `without` which the mesh was healed.
pub(super) fn differs(mesh: &dyn Mesh, without: &[Host]) -> Option<Other> {
    let plan = mesh.plan();
    let on = |host| mesh.instances(host).filter(|_| !without.contains(&host));
    for row in &plan {
        let (instance, host) = (row.instance, row.host);
        let Some(instances) = on(host) else { continue };
        let seen = match instances.iter().find(|of| of.instance == instance) {
            None => "it is not there".to_owned(),
            Some(of) if of.epoch != row.epoch => {
                format!("it is in epoch {}, not {}", of.epoch, row.epoch)
            }
            Some(of) if of.life == Life::Other => "it does not run".to_owned(),
            Some(_) => continue,
        };
        return Some(Other { instance, host, seen });
    }
    mesh.nodes().into_iter().find_map(|host| {
        let is_planned = |id| plan.iter().any(|row| (row.instance, row.host) == (id, host));
        let instances = on(host)?;
        let ghost = instances.iter().find(|of| of.life == Life::Runs && !is_planned(of.instance));
        let ghost = ghost.filter(|_| mesh.is_member(host));
        let seen = "it runs, and is not planned there".to_owned();
        Some(Other { instance: ghost?.instance, host, seen })
    })
}

#[cfg(test)]
mod tests;
