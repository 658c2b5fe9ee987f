//! What is inside of a node, for those who check it.

use super::{Node, PENDING, RESTORING};
use crate::host::CapsuleHost;
use crate::trace::Gauge;
use alloc::vec::Vec;
use capmesh_session::Link;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId};

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// How full its tables and queues are, and how much of its budgets is promised.
    #[must_use]
    pub fn gauges(&self, flash: &[u8]) -> Vec<Gauge> {
        let budget = self.config.budget;
        let (ram, fuel) = self.instances.promised();
        let usage = self.store.usage(flash);
        let most = usize::from(budget.instances);
        let gauge = |name, has: usize, most: usize| Gauge {
            name,
            has: has.try_into().unwrap_or(u64::MAX),
            most: most.try_into().unwrap_or(u64::MAX),
        };
        let small = |name, has: u32, most: u32| Gauge { name, has: has.into(), most: most.into() };
        let mut gauges = alloc::vec![
            small("budget: bytes of RAM", ram, budget.ram),
            small("budget: fuel per second", fuel, budget.fuel_per_second),
            gauge("budget: instances", self.instances.live(), most),
            small("flash: bytes of records", usage.log_used, usage.log_capacity),
            small("flash: records", usage.records, u32::from(self.config.flash.max_records)),
            gauge(
                "instances, those that are over included",
                self.instances.iter().count(),
                2 * most + 1
            ),
            gauge("changes of phase that wait for flash", self.pending.len(), PENDING),
            gauge("snapshots that are fetched", self.restoring.len(), RESTORING),
            gauge("lines of the log", self.log.since(0).count(), self.config.log.lines.into()),
        ];
        self.router.gauges(&mut gauges);
        gauges
    }

    /// What is held of a capsule: its envelope and its module.
    #[must_use]
    pub fn held<'f>(&self, flash: &'f [u8], capsule: &Digest) -> Option<(&'f [u8], &'f [u8])> {
        let held = self.install.held(flash, &self.store, capsule)?;
        Some((self.install.envelope(flash, &self.store, capsule)?, held.module))
    }

    /// Its instances, what each is doing, and why its capsule was refused, if it was.
    pub fn instances(
        &self,
    ) -> impl Iterator<Item = (InstanceId, Epoch, InstanceState, Option<ErrorCode>)> {
        self.instances.iter().map(|slot| {
            let refused = self.install.state(&slot.capsule).and_then(|(_, why)| why);
            (slot.id, slot.epoch, slot.state, refused)
        })
    }
}
