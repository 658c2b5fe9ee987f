//! Hosts that are wrong on purpose: what checkers must find.

use capmesh_node::host::{HostInstance, Progress, RestoreError};
use capmesh_node::test_util::Hook;

/// What a host of capsules does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// It says that it has restored a state, and has not.
    Forgets,
    /// It lets a handler go on past its fuel: so much further in each slice.
    Burns(u64),
}

/// Does a [`HostFault`], if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    fault: Option<HostFault>,
    burnt: u64,
}

impl Faulty {
    pub(crate) const fn new(fault: Option<HostFault>) -> Self {
        Self { fault, burnt: 0 }
    }
}

impl Hook for Faulty {
    fn run(&mut self, instance: &mut impl HostInstance, fuel: u64) -> Progress {
        if let Some(HostFault::Burns(fuel)) = self.fault {
            self.burnt += fuel;
        }
        instance.run(fuel)
    }

    fn fuel_used(&self, instance: &impl HostInstance) -> u64 {
        instance.fuel_used() + self.burnt
    }

    fn restore(
        &mut self,
        instance: &mut impl HostInstance,
        snapshot: &[u8],
    ) -> Result<(), RestoreError> {
        match self.fault {
            Some(HostFault::Forgets) => Ok(()),
            _ => instance.restore(snapshot),
        }
    }
}
