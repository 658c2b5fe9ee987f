//! A record of whose turn it was.

use capmesh_node::host::{Event, HostInstance, Progress};
use capmesh_node::test_util::Hook;
use std::cell::RefCell;
use std::rc::Rc;

/// What the instances of a node have done, all together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Rc<RefCell<Seen>>);

/// Of all instances, and of those that hear of digital inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Fuel so far.
    pub(crate) fuel: u64,
    /// Fuel of the slice that was the last.
    pub(crate) slice: u64,
    /// How often a digital input was begun to be handled, and the fuel before the last one.
    pub(crate) heard: u64,
    pub(crate) heard_at: u64,
}

impl Record {
    pub(crate) fn seen(&self) -> Seen {
        *self.0.borrow()
    }
}

impl Hook for Record {
    fn begun(&mut self, event: &Event<'_>) {
        if matches!(event, Event::Digital { .. }) {
            let mut seen = self.0.borrow_mut();
            seen.heard += 1;
            seen.heard_at = seen.fuel;
        }
    }

    fn run(&mut self, instance: &mut impl HostInstance, fuel: u64) -> Progress {
        let before = instance.fuel_used();
        let progress = instance.run(fuel);
        let mut seen = self.0.borrow_mut();
        seen.slice = instance.fuel_used() - before;
        seen.fuel += seen.slice;
        progress
    }
}
