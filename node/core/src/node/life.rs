//! The life of instances: how they come, start, fail, go on and end.

use super::reach::others_of;
use super::states::{extent_of, state_of};
use super::{Node, Then};
use crate::flash::Error;
use crate::flash::kinds::{COMMIT, ROW};
use crate::host::CapsuleHost;
use crate::instances::profile::Profile;
use crate::instances::row::{Phase, Row};
use crate::instances::{Lease, Slot};
use crate::migrate;
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_coap::endpoint::Responder;
use capmesh_session::Link;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::log::Level;
use capmesh_wire::plan::{Assignment, Plan};
use capmesh_wire::snapshot::Snapshot;
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId, Instant, NodeId, limits};
use core::time::Duration;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Takes up what flash says of instances: after a start of the node.
    pub(super) fn take_up(&mut self, flash: &[u8]) {
        let plan = self.site.plan(flash, &self.store);
        let Self { store, instances, .. } = self;
        for (id, bytes) in store.iter(flash, ROW) {
            let Some(row) = Row::parse(bytes) else { continue };
            let id = InstanceId(id);
            let assignment = assignment_of(plan.as_ref(), Some(&row), id);
            // A plan that came just before the power went may name another version of the capsule than
            // the one that has run in this epoch, which its state says.
            let current = assignment.filter(|a| a.epoch == row.epoch).map(|a| a.capsule);
            let capsule = current
                .or_else(|| {
                    Some(Snapshot::parse(state_of(flash, store, id)?).ok()?.header().capsule)
                })
                .unwrap_or(Digest::from_bytes([0; 32]));
            let mut slot = Slot::new(id, row.epoch, capsule, row.phase);
            slot.from_plan = row.from_plan;
            slot.moved_to = row.moved_to;
            // Its time may have run out while the node was off.
            slot.lease = assignment.and_then(|a| a.lease_ms).map(|_| Lease::NONE);
            slot.state = match row.phase {
                Phase::Run if slot.lease.is_some() => InstanceState::Stopped,
                Phase::Run => InstanceState::Fetching,
                Phase::Stopped | Phase::Released => InstanceState::Stopped,
                Phase::Prepared => InstanceState::Prepared,
                Phase::Quiesced => InstanceState::Quiescent,
                Phase::Restored => InstanceState::Restored,
            };
            if slot.state == InstanceState::Stopped && row.phase == Phase::Run {
                slot.reason = Some(ErrorCode::LeaseExpired);
            }
            instances.push(slot);
        }
        self.reconcile = true;
    }

    /// Compares the plan with what there is, and begins what is missing. The work is a pass over the
    /// plan for each instance.
    pub(super) fn reconcile(&mut self, now: Instant, flash: &[u8]) {
        self.reconcile = false;
        let plan = self.site.plan(flash, &self.store);
        if let Some(plan) = &plan {
            self.reach_plan(now, flash, plan);
            self.router.look_again();
        }
        for row in plan.iter().flat_map(|plan| plan.assignments.iter()) {
            if self.take_row(now, flash, &row).is_err() {
                // Flash is busy or full: again when it has room.
                self.reconcile = true;
            }
        }
        let ids: Vec<_> = self.instances.iter().map(|slot| slot.id).collect();
        for id in ids {
            let planned = plan.as_ref().and_then(|plan| plan.assignment(id));
            self.settle(now, flash, id, planned.is_some());
        }
    }

    /// Makes one row of the plan an instance, if it is newer than what there is.
    fn take_row(&mut self, now: Instant, flash: &[u8], row: &Assignment<'_>) -> Result<(), Reason> {
        let known = self.instances.get(row.instance).map(|slot| (slot.epoch, slot.phase));
        match known {
            Some((epoch, _)) if epoch > row.epoch => return Ok(()),
            Some((epoch, phase)) if epoch == row.epoch => match phase {
                // The plan is the gateway's word that the instance is this node's.
                Phase::Restored => {}
                _ => {
                    if let Some(slot) = self.instances.get_mut(row.instance) {
                        slot.from_plan = true;
                    }
                    let _ = self.router.rewire(row);
                    return Ok(());
                }
            },
            _ => {}
        }
        if known.is_none() && !self.instances.has_room() {
            return Ok(());
        }
        let sources = plan_sources(row);
        self.want(now, flash, &row.capsule, sources.into_iter())?;
        self.begin(now, flash, row, Phase::Run, true, None)
    }

    /// Gives an instance a new epoch and phase, durably. What it did in an older epoch ends.
    ///
    /// # Errors
    /// If flash has no room, now or at all.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        flash: &[u8],
        row: &Assignment<'_>,
        phase: Phase,
        from_plan: bool,
        waiting: Option<Responder>,
    ) -> Result<(), Reason> {
        let id = row.instance;
        let is_restored = |slot: &Slot<_>| slot.epoch == row.epoch && slot.phase == Phase::Restored;
        let updates = phase == Phase::Run && self.updates(row);
        let keeps_state = updates || self.instances.get(id).is_some_and(is_restored);
        if updates {
            self.commit_before_update(now, flash, id)?;
        }
        let mut encoded = Vec::new();
        if !from_plan {
            encoded.resize(super::BODY, 0);
            let len = capmesh_wire::cbor::encode(row, &mut encoded)
                .map_err(|_| Reason::new(ErrorCode::TooLarge))?;
            encoded.truncate(len);
        }
        let written =
            Row { phase, from_plan, epoch: row.epoch, moved_to: None, assignment: &encoded };
        self.write_row(flash, id, &written, !keeps_state, waiting)?;
        if self.instances.get(id).is_none_or(|slot| slot.epoch != row.epoch) {
            self.end(now, id);
            self.instances.remove(id);
            self.instances.push(Slot::new(id, row.epoch, row.capsule, phase));
        }
        if let Some(slot) = self.instances.get_mut(id) {
            slot.phase = phase;
            slot.from_plan = from_plan;
            slot.capsule = row.capsule;
            slot.moved_to = None;
            slot.reason = None;
            slot.faults = crate::instances::Faults::default();
            // It may run once its lease is renewed: this row may have been long on its way.
            slot.lease = row.lease_ms.map(|_| Lease::NONE);
            slot.state = InstanceState::Fetching;
        }
        self.make_room(flash);
        Ok(())
    }

    /// Whether a row has an instance that runs here go on here at once with another version of its
    /// capsule, which may take over its state.
    fn updates(&self, row: &Assignment<'_>) -> bool {
        self.instances.get(row.instance).is_some_and(|slot| {
            let is_next = slot.epoch.0.checked_add(1) == Some(row.epoch.0);
            // Where an epoch is missing the instance has run elsewhere meanwhile.
            slot.phase == Phase::Run && is_next && slot.capsule != row.capsule
        })
    }

    /// Writes an instance's row, and forgets its state if that is asked.
    ///
    /// # Errors
    /// If flash has no room, now or at all.
    pub(super) fn write_row(
        &mut self,
        flash: &[u8],
        id: InstanceId,
        row: &Row<'_>,
        forget_state: bool,
        waiting: Option<Responder>,
    ) -> Result<(), Reason> {
        let extent = extent_of(flash, &self.store, id);
        let mut group = self.store.group();
        group.put_parts(ROW, id.0, &[&row.head(), row.assignment]).map_err(full)?;
        if forget_state {
            group.delete(COMMIT, id.0).map_err(full)?;
            if let Some(extent) = extent {
                group.remove_extent(flash, extent).map_err(full)?;
            }
        }
        let ticket = group.submit().map_err(full)?;
        self.pending.push((ticket, Then::Phase(id, waiting)));
        Ok(())
    }

    /// Changes the phase of an instance durably, and keeps the rest of its row.
    ///
    /// # Errors
    /// If there is no such instance, or flash has no room.
    pub(super) fn set_phase(
        &mut self,
        flash: &[u8],
        id: InstanceId,
        epoch: Epoch,
        phase: Phase,
        moved_to: Option<NodeId>,
        waiting: Option<Responder>,
    ) -> Result<(), Reason> {
        let slot = self.instances.get(id).ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        let kept = self.store.get(flash, ROW, id.0).and_then(Row::parse);
        let assignment = kept.filter(|_| !phase.is_over()).map_or(&[][..], |row| row.assignment);
        let row = Row { phase, from_plan: slot.from_plan, epoch, moved_to, assignment };
        self.write_row(flash, id, &row, phase.is_over(), waiting)?;
        if let Some(slot) = self.instances.get_mut(id) {
            (slot.phase, slot.epoch, slot.moved_to) = (phase, epoch, moved_to);
        }
        Ok(())
    }

    /// Does what is left to do for an instance to be what its phase says.
    pub(super) fn settle(&mut self, now: Instant, flash: &[u8], id: InstanceId, planned: bool) {
        let Some(slot) = self.instances.get(id) else { return };
        if slot.from_plan && !planned && !slot.phase.is_over() && slot.phase != Phase::Quiesced {
            // The plan has it no more.
            let epoch = slot.epoch;
            match self.set_phase(flash, id, epoch, Phase::Released, None, None) {
                Ok(()) => self.end(now, id),
                Err(_) => self.reconcile = true,
            }
            return;
        }
        let is_waiting = self
            .pending
            .iter()
            .any(|(_, then)| matches!(then, Then::Phase(other, _) if *other == id));
        if is_waiting {
            return;
        }
        match slot.phase {
            Phase::Run if slot.state == InstanceState::Quiescent => {
                self.router.run(id);
                if let Some(slot) = self.instances.get_mut(id) {
                    slot.state = InstanceState::Running;
                    slot.offer = None;
                }
            }
            Phase::Run => {
                let is_due = slot.state == InstanceState::Fetching
                    || slot.faults.retry_at.is_some_and(|at| at <= now);
                if slot.running.is_none() && slot.commit.fault.is_none() && is_due {
                    self.try_bring_up(now, flash, id);
                }
            }
            Phase::Prepared => self.prepare(now, flash, id),
            Phase::Quiesced => {
                if slot.routed || slot.running.is_some() {
                    return;
                }
                self.resume_quiescent(now, flash, id);
            }
            Phase::Stopped | Phase::Released | Phase::Restored => {}
        }
    }

    fn try_bring_up(&mut self, now: Instant, flash: &[u8], id: InstanceId) {
        if let Some(slot) = self.instances.get_mut(id)
            && slot.lease.is_some_and(|lease| !lease.holds(now))
            && self.install.held(flash, &self.store, &slot.capsule).is_some()
        {
            slot.state = InstanceState::Stopped;
            slot.reason = Some(ErrorCode::LeaseExpired);
            slot.faults.retry_at = None;
            self.changed.status = true;
            return;
        }
        match self.bring_up(now, flash, id, true) {
            Ok(true) => self.say(now, Some(id), Level::Info, format_args!("runs")),
            Ok(false) => {}
            Err(reason) => {
                self.say(now, Some(id), Level::Error, format_args!("cannot run: {reason}"));
                self.fault(now, id, reason.code);
                if reason.code == ErrorCode::Untrusted
                    && let Some(slot) = self.instances.get_mut(id)
                {
                    // Time does not mend that; another roster may.
                    slot.state = InstanceState::Failed;
                    slot.faults.retry_at = None;
                }
            }
        }
        self.changed.status = true;
    }

    /// Reserves what a prepared instance will need, once its capsule is there.
    fn prepare(&mut self, now: Instant, flash: &[u8], id: InstanceId) {
        let Some(slot) = self.instances.get(id) else { return };
        if slot.reserved.is_some() {
            return;
        }
        let capsule = slot.capsule;
        let Some(held) = self.install.held(flash, &self.store, &capsule) else {
            let plan = self.site.plan(flash, &self.store);
            let kept = self.store.get(flash, ROW, id.0).and_then(Row::parse);
            if let Some(row) = assignment_of(plan.as_ref(), kept.as_ref(), id)
                && self.fetch_again(now, flash, &row).is_err()
            {
                self.reconcile = true;
            }
            return;
        };
        let manifest = held.manifest;
        let needs = manifest.capsule.needs;
        let fits = Profile::new(&self.config, &manifest, manifest.module_size)
            .and_then(|_| self.check_budget(needs.ram, needs.fuel_per_second));
        let Some(slot) = self.instances.get_mut(id) else { return };
        match fits {
            Ok(()) => {
                slot.reserved = Some((needs.ram, needs.fuel_per_second));
                slot.state = InstanceState::Prepared;
                slot.reason = None;
            }
            Err(code) => {
                slot.state = InstanceState::Failed;
                slot.reason = Some(code);
            }
        }
        self.changed.status = true;
    }

    /// Has the capsule of a row fetched if nobody does: after a start of the node, which remembers
    /// what it is to run and not what it was fetching.
    pub(super) fn fetch_again(
        &mut self,
        now: Instant,
        flash: &[u8],
        row: &Assignment<'_>,
    ) -> Result<(), Reason> {
        if self.install.state(&row.capsule).is_none() {
            self.want(now, flash, &row.capsule, plan_sources(row).into_iter())?;
        }
        Ok(())
    }

    /// After a start of the node: an instance that is on its way elsewhere still says so.
    fn resume_quiescent(&mut self, now: Instant, flash: &[u8], id: InstanceId) {
        let Some(to) = self.instances.get(id).and_then(|slot| slot.moved_to) else { return };
        let Ok(true) = self.bring_up(now, flash, id, false) else { return };
        self.router.quiesce(id, to);
        let offer = self.state(flash, id).and_then(|state| migrate::Offer::new(state, None));
        if let Some(slot) = self.instances.get_mut(id) {
            slot.state = InstanceState::Quiescent;
            slot.offer = offer;
        }
    }

    /// Whether so much RAM and fuel per second are left.
    pub(super) fn check_budget(&self, ram: u32, fuel: u32) -> Result<(), ErrorCode> {
        let (used_ram, used_fuel) = self.instances.promised();
        let budget = self.config.budget;
        if used_ram.saturating_add(ram) > budget.ram {
            return Err(ErrorCode::NoRam);
        }
        if used_fuel.saturating_add(fuel) > budget.fuel_per_second {
            return Err(ErrorCode::NoFuel);
        }
        Ok(())
    }

    /// Notes that an instance has gone wrong: it is started anew from its last commit after a while,
    /// or has failed for good. While a commit is being written it is not known which is the last.
    pub(super) fn fault(&mut self, now: Instant, id: InstanceId, why: ErrorCode) {
        let config = self.config.restart;
        let Some(slot) = self.instances.get_mut(id) else { return };
        self.changed.status = true;
        slot.running = None;
        if let Some(responder) = slot.result.take() {
            self.instances.remove(id);
            self.refuse(now, Some(responder), &Reason::new(why));
            return;
        }
        slot.reason = Some(why);
        if slot.commit.writing.is_some() {
            slot.commit.fault = Some(why);
            slot.state = InstanceState::BackingOff;
            return;
        }
        let waiting = slot.commit.wanted.take();
        let goes_on = slot.fault(now, why, &config);
        if slot.routed {
            self.router.failed(id);
        }
        if goes_on {
            slot.faults.restarts = slot.faults.restarts.saturating_add(1);
        }
        if !goes_on {
            self.say(
                now,
                Some(id),
                Level::Error,
                format_args!("has failed and is not tried again"),
            );
        }
        self.refuse(now, waiting, &Reason::new(why));
    }

    /// Ends what runs of an instance. Its row stays.
    pub(super) fn end(&mut self, now: Instant, id: InstanceId) {
        let Some(slot) = self.instances.get_mut(id) else { return };
        slot.running = None;
        slot.offer = None;
        slot.reserved = None;
        slot.faults.retry_at = None;
        slot.state = InstanceState::Stopped;
        let waiting = slot.commit.wanted.take();
        slot.commit.writing = None;
        slot.commit.fault = None;
        self.forget_long(id);
        let Some(slot) = self.instances.get_mut(id) else { return };
        if core::mem::take(&mut slot.routed) {
            match slot.moved_to {
                Some(to) => self.router.release(now, id, to),
                None => self.router.remove(id),
            }
        }
        self.restoring.retain(|restoring| restoring.order.target.instance != id);
        self.refuse(now, waiting, &Reason::new(ErrorCode::WrongState));
        self.changed.status = true;
    }

    /// Forgets some of those that are over, where there are too many.
    fn make_room(&mut self, flash: &[u8]) {
        let plan = self.site.plan(flash, &self.store);
        let is_named = |slot: &Slot<H::Instance>| {
            let row = plan.as_ref().and_then(|plan| plan.assignment(slot.id));
            row.is_some_and(|row| row.epoch == slot.epoch)
        };
        while let Some(id) = self.instances.surplus(is_named) {
            if self.store.delete(ROW, id.0).is_err() {
                return;
            }
            self.instances.remove(id);
        }
    }

    /// Does what is due by the clock: leases that run out, and instances that are tried again.
    pub(super) fn tick(&mut self, now: Instant, flash: &[u8]) {
        let due: Vec<_> = self
            .instances
            .iter()
            .filter(|slot| slot.next_time().is_some_and(|at| at <= now))
            .map(|slot| slot.id)
            .collect();
        for id in due {
            let Some(slot) = self.instances.get_mut(id) else { continue };
            slot.offer.take_if(|offer| offer.until.is_some_and(|until| until <= now));
            if slot.runs_out().is_some_and(|until| until <= now) {
                self.end(now, id);
                if let Some(slot) = self.instances.get_mut(id) {
                    slot.reason = Some(ErrorCode::LeaseExpired);
                }
                self.say(now, Some(id), Level::Warning, format_args!("its lease has run out"));
            } else if slot.faults.retry_at.is_some_and(|at| at <= now) {
                self.settle(now, flash, id, true);
            }
        }
    }

    /// A number that no other instance or transfer of this node gets.
    pub(super) const fn next_seed(&mut self) -> u64 {
        self.seed =
            self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.seed ^ self.seed >> 29
    }
}

/// A lease as this node's clock measures it: shorter by what that clock may be slow.
pub(super) fn drifted(lease: Duration) -> Duration {
    lease - lease / LEASE_DRIFT
}

/// One part in so many: 1 %, far more than a crystal drifts, and what gateways have to wait longer
/// before they start an instance elsewhere.
const LEASE_DRIFT: u32 = 100;

/// The nodes that a row names may have its capsule, too.
fn plan_sources(row: &Assignment<'_>) -> Vec<NodeId> {
    let mut sources: Vec<_> = others_of(row).take(limits::SOURCES).collect();
    sources.dedup();
    sources
}

/// The assignment of an instance: the plan's row if it has one as new as the epoch, else the one that
/// came with a command.
pub(super) fn assignment_of<'a>(
    plan: Option<&Plan<'a>>,
    kept: Option<&Row<'a>>,
    id: InstanceId,
) -> Option<Assignment<'a>> {
    let planned = plan.and_then(|plan| plan.assignment(id));
    let epoch = kept.map_or(Epoch(0), |row| row.epoch);
    planned.filter(|row| row.epoch >= epoch).or_else(|| kept?.assignment())
}

/// What flash says as a reason for others.
pub(super) fn full(error: Error) -> Reason {
    match error {
        Error::Busy => Reason::retry(ErrorCode::Busy, 1_000),
        Error::TooLarge => Reason::new(ErrorCode::TooLarge),
        _ => Reason::new(ErrorCode::NoFlash),
    }
}
