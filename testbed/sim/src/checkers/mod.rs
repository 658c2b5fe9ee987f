//! What has to hold, whatever happens: the promises of the mesh, each as a program that watches it.
//!
//! A [`Checker`] sees every [`Event`], looks at the [`Mesh`] now and then, and once more when all is at
//! rest. What it finds wrong is a [`Violation`]. [`Checkers`] are all of them.

pub mod bounds;
pub mod budgets;
pub mod convergence;
pub mod delivery;
pub mod installed;
pub mod nonces;
pub mod ownership;
pub mod rest;
pub mod snapshots;
#[cfg(test)]
mod testing;
mod world;

pub use bounds::Bounds;
pub use budgets::Budgets;
pub use convergence::Convergence;
pub use delivery::Delivery;
pub use installed::Installed;
pub use nonces::Nonces;
pub use ownership::Ownership;
pub use rest::Rest;
pub use snapshots::Snapshots;

use capmesh_node::trace::Gauge;
use capmesh_wire::Digest;

use crate::{Event, Host};
use capmesh_wire::Instant;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// Watches over one promise. Its memory is bounded by the size of the mesh, not by how long it runs.
pub trait Checker {
    /// What it is called: the name of its file.
    fn name(&self) -> &'static str;

    /// Something has happened.
    ///
    /// # Errors
    /// If it must not.
    fn see(&mut self, at: Instant, event: &Event) -> Verdict;

    /// Time has passed: about [`EVERY`] since this was called last.
    ///
    /// # Errors
    /// If the mesh is not as it must be at any time.
    fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        let _ = (at, mesh);
        Ok(())
    }

    /// Nothing has gone wrong for a long time, and nothing is under way.
    ///
    /// # Errors
    /// If the mesh is not as it must be then.
    fn at_rest(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        let _ = (at, mesh);
        Ok(())
    }
}

/// A mesh whose hosts are asked once how full they are, however many checkers want to know: for as long as
/// nothing changes.
struct Looked<'m> {
    mesh: &'m dyn Mesh,
    gauges: RefCell<HashMap<Host, Vec<Gauge>>>,
}

impl Mesh for Looked<'_> {
    fn nodes(&self) -> Vec<Host> {
        self.mesh.nodes()
    }

    fn gauges(&self, host: Host) -> Vec<Gauge> {
        let mut known = self.gauges.borrow_mut();
        known.entry(host).or_insert_with(|| self.mesh.gauges(host)).clone()
    }

    fn held(&self, host: Host, capsule: &Digest) -> Option<(&[u8], &[u8])> {
        self.mesh.held(host, capsule)
    }

    fn instances(&self, host: Host) -> Option<Vec<Has>> {
        self.mesh.instances(host)
    }

    fn is_member(&self, host: Host) -> bool {
        self.mesh.is_member(host)
    }

    fn plan(&self) -> Vec<Planned> {
        self.mesh.plan()
    }
}

/// How often checkers look at the mesh.
pub const EVERY: Duration = Duration::from_secs(1);

/// Whether a promise was kept.
pub type Verdict = Result<(), Box<Violation>>;

/// What checkers can ask of a mesh.
pub trait Mesh {
    /// The nodes, be they on or off.
    fn nodes(&self) -> Vec<Host>;

    /// How full the tables and queues of a host are: of a node, the gateway, the registry. Nothing if it
    /// is off.
    fn gauges(&self, host: Host) -> Vec<Gauge>;

    /// What a node holds of a capsule: its envelope and its module. `None` if it is off, or does not.
    fn held(&self, host: Host, capsule: &Digest) -> Option<(&[u8], &[u8])>;

    /// What a node has of instances. `None` if it is off.
    fn instances(&self, host: Host) -> Option<Vec<Has>>;

    /// Whether a node is of the site: one that was revoked is told nothing any more.
    fn is_member(&self, host: Host) -> bool;

    /// Who is to run what, as the gateway has decided it, durably.
    fn plan(&self) -> Vec<Planned>;
}

/// An instance on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    /// The instance.
    pub instance: u32,
    /// Its epoch there.
    pub epoch: u32,
    /// What it is doing.
    pub life: Life,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Runs,
    /// Its handlers trap: it has failed, or is tried again after a while.
    Fails,
    /// It does not run.
    Other,
}

/// A row of the gateway's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The instance.
    pub instance: u32,
    /// Its epoch.
    pub epoch: u32,
    /// The node that is to run it.
    pub host: Host,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that says so.
    pub promise: &'static str,
    /// When.
    pub at: Instant,
    /// Where.
    pub host: Option<Host>,
    /// Of which instance.
    pub instance: Option<u32>,
    /// What was seen.
    pub seen: String,
    /// What should have been seen.
    pub should: String,
}

impl Violation {
    /// Something was seen that should not have been.
    #[must_use]
    pub fn new(promise: &'static str, at: Instant, seen: impl Into<String>) -> Box<Self> {
        let (seen, should) = (seen.into(), String::new());
        Box::new(Self { promise, at, host: None, instance: None, seen, should })
    }

    /// Says what should have been seen.
    #[must_use]
    pub fn should(mut self: Box<Self>, should: impl Into<String>) -> Box<Self> {
        self.should = should.into();
        self
    }

    /// Says where.
    #[must_use]
    pub fn on(mut self: Box<Self>, host: Host) -> Box<Self> {
        self.host = Some(host);
        self
    }

    /// Says of which instance.
    #[must_use]
    pub fn of(mut self: Box<Self>, instance: u32) -> Box<Self> {
        self.instance = Some(instance);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} us", self.promise, self.at.as_micros())?;
        if let Some(host) = self.host {
            write!(f, ", host {host}")?;
        }
        if let Some(instance) = self.instance {
            write!(f, ", instance {instance}")?;
        }
        write!(f, ": {}", self.seen)?;
        if self.should.is_empty() { Ok(()) } else { write!(f, "; should be: {}", self.should) }
    }
}

impl std::error::Error for Violation {}

/// All checkers.
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    next: Instant,
}

impl Default for Checkers {
    /// Every checker there is.
    fn default() -> Self {
        Self::only(vec![
            Box::new(Nonces::default()),
            Box::new(Ownership::default()),
            Box::new(Delivery::default()),
            Box::new(Snapshots::default()),
            Box::new(Installed::default()),
            Box::new(Budgets::default()),
            Box::new(Bounds),
            Box::new(Rest::default()),
            Box::new(Convergence::default()),
        ])
    }
}

impl Checkers {
    /// Only these.
    #[must_use]
    pub const fn only(all: Vec<Box<dyn Checker>>) -> Self {
        Self { all, next: Instant::ZERO }
    }

    /// Nobody minds anything.
    #[must_use]
    pub const fn none() -> Self {
        Self::only(Vec::new())
    }

    /// Without the one of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.all.retain(|checker| checker.name() != name);
        self
    }

    /// Something has happened.
    ///
    /// # Errors
    /// What the first checker that minds says.
    pub fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        self.all.iter_mut().try_for_each(|checker| checker.see(at, event))
    }

    /// Whether [`Checkers::look`] wants to be called.
    #[must_use]
    pub fn is_due(&self, at: Instant) -> bool {
        at >= self.next
    }

    /// Time has passed. Does nothing more often than every [`EVERY`].
    ///
    /// # Errors
    /// What the first checker that minds says.
    pub fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        if !self.is_due(at) {
            return Ok(());
        }
        self.next = at + EVERY;
        let looked = Looked { mesh, gauges: RefCell::default() };
        self.all.iter_mut().try_for_each(|checker| checker.look(at, &looked))
    }

    /// All is at rest.
    ///
    /// # Errors
    /// What the first checker that minds says.
    pub fn at_rest(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        self.all.iter_mut().try_for_each(|checker| checker.at_rest(at, mesh))
    }
}

impl fmt::Debug for Checkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|checker| checker.name())).finish()
    }
}
