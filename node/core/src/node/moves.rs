//! Snapshots of other nodes' instances on their way here.

use super::states::Kept;
use super::{Node, Then};
use crate::flash::Ticket;
use crate::flash::kinds::ROW;
use crate::host::{CapsuleHost, HostInstance};
use crate::instances::profile::Profile;
use crate::instances::row::{Phase, Row};
use crate::migrate::Restoring;
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_coap::endpoint::Responder;
use capmesh_session::Link;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::snapshot::{SectionKind, Snapshot};
use capmesh_wire::{Digest, ErrorCode, InstanceId, Instant};

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Goes on with the snapshots that are on their way here.
    #[inline(never)]
    pub(super) fn advance_restoring(&mut self, now: Instant, flash: &[u8]) {
        let mut at = 0;
        while let Some(restoring) = self.restoring.get_mut(at) {
            match restoring.poll(now, &mut self.link) {
                None => at += 1,
                Some(result) => {
                    let result = result.map(Vec::from);
                    let restoring = self.restoring.remove(at);
                    let said = result
                        .map_err(Reason::new)
                        .and_then(|bytes| self.fetched(flash, &restoring, &bytes));
                    if let Err(reason) = said {
                        self.refuse(now, restoring.waiting, &reason);
                    }
                }
            }
        }
    }

    /// A snapshot is here: it is kept if it is one of the instance that was prepared for.
    fn fetched(&mut self, flash: &[u8], restoring: &Restoring, bytes: &[u8]) -> Result<(), Reason> {
        let target = restoring.order.target;
        let state = Snapshot::parse(bytes)
            .map_err(|error| Reason::new(ErrorCode::Malformed).because(error))?;
        let slot = self.instances.get(target.instance);
        let slot = slot.filter(|slot| slot.epoch == target.epoch && slot.phase == Phase::Prepared);
        let slot = slot.ok_or(Reason::new(ErrorCode::WrongState))?;
        let header = state.header();
        if header.instance != target.instance
            || header.capsule != slot.capsule
            || header.epoch >= target.epoch
        {
            return Err(Reason::new(ErrorCode::StateMismatch));
        }
        let runtime = state.section(SectionKind::Runtime).unwrap_or_default();
        self.try_state(flash, &slot.capsule.clone(), runtime)?;
        let kept = self.store.get(flash, ROW, target.instance.0);
        let kept = kept.and_then(Row::parse).ok_or(Reason::new(ErrorCode::WrongState))?;
        let row = Row { phase: Phase::Restored, ..kept };
        let waiting = restoring.waiting;
        let kept = self.keep_state(flash, target.instance, bytes, Some(&row), waiting)?;
        if let Kept::With(ticket) = kept {
            self.restored(target.instance, ticket, waiting);
        }
        Ok(())
    }

    /// The state of an instance that was prepared for is on its way into flash: whatever is written
    /// from now on comes after it.
    pub(super) fn restored(&mut self, id: InstanceId, ticket: Ticket, waiting: Option<Responder>) {
        self.pending.push((ticket, Then::Phase(id, waiting)));
        if let Some(slot) = self.instances.get_mut(id) {
            slot.phase = Phase::Restored;
            slot.state = InstanceState::Restored;
        }
        self.changed.status = true;
    }

    /// Tries whether a state fits its capsule, with an instance that is thrown away.
    fn try_state(&mut self, flash: &[u8], capsule: &Digest, runtime: &[u8]) -> Result<(), Reason> {
        let unknown = Reason::new(ErrorCode::UnknownCapsule);
        let held = self.install.held(flash, &self.store, capsule).ok_or(unknown)?;
        let manifest = held.manifest;
        let profile = Profile::new(&self.config, &manifest, manifest.module_size)?;
        let surroundings = profile.bare_surroundings();
        let mut instance = self.make(held.module, &profile, surroundings)?;
        instance.restore(runtime).map_err(|why| Reason::new(ErrorCode::StateMismatch).because(why))
    }
}
