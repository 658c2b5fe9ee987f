//! The runtime, and a record of whose turn it was.

use capmesh_node::host::{
    Busy, CapsuleHost, Effect, Event, HostInstance, Limits, Progress, RestoreError, SnapshotError,
    Surroundings,
};
use capmesh_runtime::{Admitted, Instance, Refusal, Runtime};
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

/// A host whose instances tell the record.
#[derive(Debug)]
pub(crate) struct Watched {
    runtime: Runtime,
    record: Record,
}

impl Watched {
    pub(crate) fn new(record: &Record) -> Self {
        Self { runtime: Runtime::new(), record: record.clone() }
    }
}

/// An instance that does.
#[derive(Debug)]
pub(crate) struct WatchedInstance {
    instance: Instance,
    record: Record,
}

impl CapsuleHost for Watched {
    type Admitted = Admitted;
    type Instance = WatchedInstance;
    type Refusal = Refusal;

    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Admitted, Refusal> {
        self.runtime.admit(module, limits)
    }

    fn instantiate(
        &self,
        admitted: &Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<WatchedInstance, Refusal> {
        let instance = self.runtime.instantiate(admitted, limits, surroundings, seed)?;
        Ok(WatchedInstance { instance, record: self.record.clone() })
    }
}

impl HostInstance for WatchedInstance {
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        let begun = self.instance.begin(event, time, uncertainty)?;
        if begun && matches!(event, Event::Digital { .. }) {
            let mut seen = self.record.0.borrow_mut();
            seen.heard += 1;
            seen.heard_at = seen.fuel;
        }
        Ok(begun)
    }

    fn run(&mut self, fuel: u64) -> Progress {
        let before = self.instance.fuel_used();
        let progress = self.instance.run(fuel);
        let mut seen = self.record.0.borrow_mut();
        seen.slice = self.instance.fuel_used() - before;
        seen.fuel += seen.slice;
        progress
    }

    fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        self.instance.effects()
    }

    fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy> {
        self.instance.set_sample(sensor, record)
    }

    fn is_quiescent(&self) -> bool {
        self.instance.is_quiescent()
    }

    fn fuel_used(&self) -> u64 {
        self.instance.fuel_used()
    }

    fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        self.instance.snapshot(module, out, limit)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.instance.restore(snapshot)
    }
}
