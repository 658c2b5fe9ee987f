//! The interpreter as a node's core sees it.

use crate::{Admitted, Instance, Refusal, Runtime};
use alloc::vec::Vec;
use capmesh_node::host::{
    Busy, CapsuleHost, Effect, Event, HostInstance, Limits, Progress, RestoreError, SnapshotError,
    Surroundings,
};

impl CapsuleHost for Runtime {
    type Admitted = Admitted;
    type Instance = Instance;
    type Refusal = Refusal;

    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Admitted, Refusal> {
        Self::admit(self, module, limits)
    }

    fn instantiate(
        &self,
        admitted: &Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Instance, Refusal> {
        Self::instantiate(self, admitted, limits, surroundings, seed)
    }
}

impl HostInstance for Instance {
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        Self::begin(self, event, time, uncertainty)
    }

    fn run(&mut self, fuel: u64) -> Progress {
        Self::run(self, fuel)
    }

    fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        Self::effects(self)
    }

    fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy> {
        Self::set_sample(self, sensor, record)
    }

    fn is_quiescent(&self) -> bool {
        Self::is_quiescent(self)
    }

    fn fuel_used(&self) -> u64 {
        Self::fuel_used(self)
    }

    fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        Self::snapshot(self, module, out, limit)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        Self::restore(self, snapshot)
    }
}
