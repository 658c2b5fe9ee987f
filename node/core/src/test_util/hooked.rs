//! A host of capsules that does what another does, but for what a test sees or changes of it.

use crate::host::{
    Busy, CapsuleHost, Effect, Event, HostInstance, Limits, Progress, RestoreError, SnapshotError,
    Surroundings,
};
use alloc::vec::Vec;

/// What a test sees or changes of an instance. As it stands, it changes nothing.
pub trait Hook: Clone {
    /// A handler begins.
    fn begun(&mut self, _event: &Event<'_>) {}

    /// See [`HostInstance::run`].
    fn run(&mut self, instance: &mut impl HostInstance, fuel: u64) -> Progress {
        instance.run(fuel)
    }

    /// See [`HostInstance::fuel_used`].
    fn fuel_used(&self, instance: &impl HostInstance) -> u64 {
        instance.fuel_used()
    }

    /// See [`HostInstance::restore`].
    ///
    /// # Errors
    /// As there.
    fn restore(
        &mut self,
        instance: &mut impl HostInstance,
        snapshot: &[u8],
    ) -> Result<(), RestoreError> {
        instance.restore(snapshot)
    }
}

/// A host, or an instance of it, with a hook; each instance has a clone of its host's.
#[derive(Clone, Debug)]
pub struct Hooked<T, K> {
    /// What does the work.
    pub inner: T,
    /// The hook.
    pub hook: K,
}

impl<H: CapsuleHost, K: Hook> CapsuleHost for Hooked<H, K> {
    type Admitted = H::Admitted;
    type Instance = Hooked<H::Instance, K>;
    type Refusal = H::Refusal;

    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Self::Admitted, Self::Refusal> {
        self.inner.admit(module, limits)
    }

    fn instantiate(
        &self,
        admitted: &Self::Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Self::Instance, Self::Refusal> {
        let inner = self.inner.instantiate(admitted, limits, surroundings, seed)?;
        Ok(Hooked { inner, hook: self.hook.clone() })
    }
}

impl<I: HostInstance, K: Hook> HostInstance for Hooked<I, K> {
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        let begun = self.inner.begin(event, time, uncertainty)?;
        if begun {
            self.hook.begun(event);
        }
        Ok(begun)
    }

    fn run(&mut self, fuel: u64) -> Progress {
        self.hook.run(&mut self.inner, fuel)
    }

    fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        self.inner.effects()
    }

    fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy> {
        self.inner.set_sample(sensor, record)
    }

    fn is_quiescent(&self) -> bool {
        self.inner.is_quiescent()
    }

    fn fuel_used(&self) -> u64 {
        self.hook.fuel_used(&self.inner)
    }

    fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        self.inner.snapshot(module, out, limit)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.hook.restore(&mut self.inner, snapshot)
    }
}
