//! A mesh in which nothing goes wrong any more is soon as it is to be.
//!
//! From [`Event::Healed`] on, unless the script does something again, the mesh has [`WITHIN`] to become as
//! [`Rest`](super::Rest) wants it. That is what the parts of it may take one after the other: nodes are
//! silent for some seconds before they count as lost, restarts of capsules and exchanges back off to five
//! minutes, a lease runs out.

use super::rest::differs;
use super::{Checker, Mesh, Verdict};
use crate::{Event, Host};
use capmesh_wire::Instant;
use std::time::Duration;

/// How long it may take.
pub const WITHIN: Duration = Duration::from_secs(600);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Convergence {
    healed: Option<Instant>,
    without: Vec<Host>,
    /// How long it took, each time.
    took: Vec<Duration>,
}

/// Times that are remembered.
const TIMES: usize = 64;

impl Convergence {
    /// How long it took, each time.
    #[must_use]
    pub fn took(&self) -> &[Duration] {
        &self.took
    }
}

impl Checker for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        match event {
            Event::Healed { without } => {
                (self.healed, self.without) = (Some(at), without.to_vec());
            }
            Event::Done { .. } => self.healed = None,
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        let Some(healed) = self.healed else { return Ok(()) };
        let after = at.saturating_since(healed);
        match differs(mesh, &self.without) {
            None => {
                self.healed = None;
                self.took.truncate(TIMES - 1);
                self.took.push(after);
                Ok(())
            }
            Some(other) if after > WITHIN => {
                let should = format!("as planned within {} s", WITHIN.as_secs());
                Err(other.violation(self.name(), at).should(should))
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
