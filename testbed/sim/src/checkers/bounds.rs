//! The memory and the tables of nodes, gateway, registry and sessions stay within their named bounds.
//!
//! Source: ARCHITECTURE.md ("Every table and queue has a bound"). At every look, every host says how full its tables and queues are, and
//! none is fuller than its bound. Tables whose bound is in their type (sessions, exchanges, observers) cannot
//! be fuller; they are in there where their host can say how full they are.

use super::budgets::{expect, is_budget};
use super::{Checker, Mesh, Verdict};
use crate::Event;
use crate::site::{GATEWAY, REGISTRY};
use capmesh_wire::Instant;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Bounds;

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn see(&mut self, _: Instant, _: &Event) -> Verdict {
        Ok(())
    }

    fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        for host in mesh.nodes().into_iter().chain([GATEWAY, REGISTRY]) {
            for gauge in mesh.gauges(host).iter().filter(|gauge| !is_budget(gauge)) {
                expect(self.name(), at, host, gauge)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
