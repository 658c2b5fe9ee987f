//! Hosts that are wrong on purpose: what checkers must find.

use capmesh_node::host::{
    Busy, CapsuleHost, Effect, Event, HostInstance, Limits, Progress, RestoreError, SnapshotError,
    Surroundings,
};

/// What a host of capsules does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// It says that it has restored a state, and has not.
    Forgets,
    /// It lets a handler go on past its fuel: so much further, each one.
    Burns(u64),
}

/// A host that does what another does, unless it has a [`HostFault`].
#[derive(Clone, Debug)]
pub(crate) struct Faulty<H> {
    pub(crate) host: H,
    pub(crate) fault: Option<HostFault>,
}

/// An instance of such a host.
#[derive(Debug)]
pub(crate) struct FaultyInstance<I> {
    instance: I,
    fault: Option<HostFault>,
    burnt: u64,
}

impl<H: CapsuleHost> CapsuleHost for Faulty<H> {
    type Admitted = H::Admitted;
    type Instance = FaultyInstance<H::Instance>;
    type Refusal = H::Refusal;

    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Self::Admitted, Self::Refusal> {
        self.host.admit(module, limits)
    }

    fn instantiate(
        &self,
        admitted: &Self::Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Self::Instance, Self::Refusal> {
        let instance = self.host.instantiate(admitted, limits, surroundings, seed)?;
        Ok(FaultyInstance { instance, fault: self.fault, burnt: 0 })
    }
}

impl<I: HostInstance> HostInstance for FaultyInstance<I> {
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        self.instance.begin(event, time, uncertainty)
    }

    fn run(&mut self, fuel: u64) -> Progress {
        if let Some(HostFault::Burns(fuel)) = self.fault {
            self.burnt += fuel;
        }
        self.instance.run(fuel)
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
        self.instance.fuel_used() + self.burnt
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
        match self.fault {
            Some(HostFault::Forgets) => Ok(()),
            _ => self.instance.restore(snapshot),
        }
    }
}
