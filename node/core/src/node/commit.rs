//! Commits: the state of instances made durable, and handed on.

use super::states::Kept;
use super::{Node, Then};
use crate::flash::Ticket;
use crate::flash::kinds::ROW;
use crate::host::{CapsuleHost, HostInstance};
use crate::instances::Slot;
use crate::instances::Writing;
use crate::instances::row::{Phase, Row};
use crate::migrate::{self, Offer, Sections};
use crate::problem::Reason;
use crate::router::{Export, Extent};
use crate::trace::{Trace, print};
use alloc::vec::Vec;
use capmesh_session::Link;
use capmesh_wire::control::Reply;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::log::Level;
use capmesh_wire::snapshot::{Header, SectionKind, Snapshot, Timer};
use capmesh_wire::{ErrorCode, InstanceId, Instant, List, format};
use core::time::Duration;

/// For how long a checkpoint that was asked for is offered.
const OFFERED: Duration = Duration::from_secs(120);

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Takes the state of one instance for which that is due, and asks flash to keep it. Returns
    /// whether there was one. The work grows with the instance's memory.
    pub(super) fn commit_one(&mut self, now: Instant, flash: &[u8]) -> bool {
        if self.store_is_full {
            return false;
        }
        let due = self.instances.iter().map(|slot| slot.id).find(|id| self.is_commit_due(now, *id));
        let Some(id) = due else { return false };
        let moves = self.instances.get(id).is_some_and(|s| s.state == InstanceState::Quiescing);
        match self.take_commit(now, flash, id, moves) {
            Ok(()) => true,
            Err(reason) if reason.code == ErrorCode::Busy => {
                self.store_is_full = true;
                false
            }
            Err(reason) => {
                self.say(now, Some(id), Level::Error, format_args!("cannot be kept: {reason}"));
                if moves {
                    self.give_up_move(now, id, &reason);
                } else {
                    self.fault(now, id, reason.code);
                }
                true
            }
        }
    }

    /// When a commit is due next.
    pub(super) fn next_commit(&self) -> Option<Instant> {
        if self.store_is_full {
            return None;
        }
        self.instances.iter().filter_map(|slot| self.commit_time(slot.id)).min()
    }

    fn is_commit_due(&self, now: Instant, id: InstanceId) -> bool {
        self.commit_time(id).is_some_and(|at| at <= now)
    }

    /// When the state of an instance is to be taken: `None` while it cannot be, or need not be.
    fn commit_time(&self, id: InstanceId) -> Option<Instant> {
        let slot = self.instances.get(id)?;
        let running = slot.running.as_deref()?;
        if slot.commit.writing.is_some()
            || running.current.is_some()
            || running.is_fresh
            || slot.result.is_some()
            || !self.router.can_export(id)
        {
            return None;
        }
        if slot.state == InstanceState::Quiescing || slot.commit.wanted.is_some() {
            return Some(Instant::ZERO);
        }
        if slot.state != InstanceState::Running {
            return None;
        }
        let routed = self.router.commit_due(id);
        let every = slot.checkpoint.filter(|_| slot.commit.is_dirty);
        let checkpoint = every.and_then(|every| Some(slot.commit.taken? + every));
        [routed, checkpoint].into_iter().flatten().min()
    }

    /// Takes the state of an instance and begins to write it: with the whole of its queues and its new
    /// phase, if it `moves`.
    fn take_commit(
        &mut self,
        now: Instant,
        flash: &[u8],
        id: InstanceId,
        moves: bool,
    ) -> Result<(), Reason> {
        if let Some(to) = self.instances.get(id).and_then(|slot| slot.moved_to).filter(|_| moves) {
            self.router.quiesce(id, to);
        }
        let extent = if moves { Extent::Move } else { Extent::Commit };
        let mut export = Export::default();
        let mark = self.router.export(id, extent, &mut export);
        let mark = mark.ok_or(Reason::new(ErrorCode::Busy))?;
        let written = self.snapshot(now, flash, id, extent, &export).and_then(|bytes| {
            let kept = self.write_commit(flash, id, &bytes, moves)?;
            Ok((bytes, kept))
        });
        let (bytes, kept) = match written {
            Ok(written) => written,
            Err(reason) => {
                self.router.abandoned(id, mark);
                return Err(reason);
            }
        };
        if let Some(slot) = self.instances.get_mut(id) {
            let epoch = slot.epoch;
            self.tracer.note(|| {
                let (print, memory) = (print(&bytes), print(runtime_of(&bytes)));
                Trace::Taken { instance: id, epoch, print, memory, moves }
            });
            let ticket = if let Kept::With(ticket) = kept { Some(ticket) } else { None };
            let is_wanted = moves || slot.commit.wanted.is_some();
            slot.commit.writing = Some(Writing { ticket, mark, is_wanted });
            slot.commit.taken = Some(now);
            slot.commit.is_dirty = false;
            if is_wanted {
                slot.offer = Offer::new(&bytes, (!moves).then(|| now + OFFERED));
            }
        }
        Ok(())
    }

    /// Takes the state of an instance that is about to go on as another version of its capsule, if no
    /// handler is in the way: else that version goes on from the last commit, as after a crash.
    ///
    /// # Errors
    /// If flash has no room now.
    pub(super) fn commit_before_update(
        &mut self,
        now: Instant,
        flash: &[u8],
        id: InstanceId,
    ) -> Result<(), Reason> {
        let is_between = |slot: &Slot<H::Instance>| {
            let rests = |r: &crate::instances::Running<_>| r.current.is_none() && !r.is_fresh;
            slot.commit.writing.is_none() && slot.running.as_deref().is_some_and(rests)
        };
        if !self.instances.get(id).is_some_and(is_between) || !self.router.can_export(id) {
            return Ok(());
        }
        match self.take_commit(now, flash, id, false) {
            Err(reason) if reason.code == ErrorCode::Busy => Err(reason),
            _ => Ok(()),
        }
    }

    /// Asks flash to keep a state, and that its instance moves if it does.
    fn write_commit(
        &mut self,
        flash: &[u8],
        id: InstanceId,
        bytes: &[u8],
        moves: bool,
    ) -> Result<Kept, Reason> {
        let slot = self.instances.get(id).ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        let kept = self.store.get(flash, ROW, id.0).and_then(Row::parse);
        let row = Row {
            phase: Phase::Quiesced,
            from_plan: slot.from_plan,
            epoch: slot.epoch,
            moved_to: slot.moved_to,
            assignment: kept.map_or(&[][..], |row| row.assignment),
        };
        self.keep_state(flash, id, bytes, moves.then_some(&row), None)
    }

    /// The state of a quiescent instance as a snapshot.
    fn snapshot(
        &self,
        now: Instant,
        flash: &[u8],
        id: InstanceId,
        extent: Extent,
        export: &Export,
    ) -> Result<Vec<u8>, Reason> {
        let limit = usize::try_from(self.config.snapshot).unwrap_or(usize::MAX);
        let slot = self.instances.get(id).ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        let running = slot.running.as_deref().ok_or(Reason::new(ErrorCode::WrongState))?;
        let held = self.install.held(flash, &self.store, &slot.capsule);
        let held = held.ok_or(Reason::new(ErrorCode::UnknownCapsule))?;
        let mut runtime = Vec::new();
        running.instance.snapshot(held.module, &mut runtime, limit).map_err(|why| {
            let code = match why {
                crate::host::SnapshotError::TooLarge => ErrorCode::TooLarge,
                _ => ErrorCode::Internal,
            };
            Reason::new(code).because(why)
        })?;
        let timers: Vec<_> = running
            .timers
            .iter()
            .map(|(number, at)| {
                let remaining = at.as_micros().saturating_sub(now.as_micros());
                Timer { number: *number, remaining }
            })
            .collect();
        let many = |_| Reason::new(ErrorCode::Internal);
        let header = Header {
            format: format::SNAPSHOT,
            instance: id,
            epoch: slot.epoch,
            capsule: slot.capsule,
            layout: running.profile.layout,
            taken: self.time(now),
            outputs: List::new(&export.outputs).map_err(many)?,
            inputs: List::new(&export.inputs).map_err(many)?,
            timers: List::new(&timers).map_err(many)?,
            sections: List::EMPTY,
        };
        let parts = Sections {
            moves: matches!(extent, Extent::Move),
            runtime: &runtime,
            inbox: &export.inbox,
            outbox: &export.outbox,
        };
        migrate::write(&header, &parts, limit).ok_or(Reason::new(ErrorCode::TooLarge))
    }

    /// A write is durable: what waited for it goes on.
    pub(super) fn durable(&mut self, now: Instant, flash: &[u8], ticket: Ticket) {
        let is_written = |slot: &&Slot<H::Instance>| {
            slot.commit.writing.as_ref().and_then(|w| w.ticket).is_some_and(|of| of <= ticket)
        };
        let committed = self.instances.iter().filter(is_written).map(|slot| slot.id);
        for id in committed.collect::<Vec<_>>() {
            self.committed(now, id);
        }
        while let Some(at) = self.pending.iter().position(|(of, _)| *of <= ticket) {
            let (_, then) = self.pending.remove(at);
            match then {
                Then::Phase(id, waiting) => {
                    self.settle(now, flash, id, true);
                    self.answer_phase(now, id, waiting);
                }
            }
        }
        if self.reconcile {
            self.reconcile(now, flash);
        }
    }

    /// The commit of an instance is durable: what it covers may be acknowledged and sent.
    fn committed(&mut self, now: Instant, id: InstanceId) {
        let Some(slot) = self.instances.get_mut(id) else { return };
        let Some(Writing { mark, is_wanted, .. }) = slot.commit.writing.take() else { return };
        let epoch = slot.epoch;
        self.tracer.note(|| Trace::Kept { instance: id, epoch });
        self.router.committed(id, mark);
        if let Some(why) = slot.commit.fault.take() {
            self.fault(now, id, why);
            return;
        }
        if !is_wanted {
            return;
        }
        let waiting = slot.commit.wanted.take();
        let blob = slot.offer.as_ref().map(|offer| offer.blob);
        if slot.state == InstanceState::Quiescing {
            slot.state = InstanceState::Quiescent;
            slot.phase = Phase::Quiesced;
            self.changed.status = true;
        }
        match blob {
            Some(blob) => self.reply(now, waiting, &Reply::Snapshot(blob)),
            None => self.refuse(now, waiting, &Reason::new(ErrorCode::TooLarge)),
        }
    }

    /// An instance that was to move goes on here.
    fn give_up_move(&mut self, now: Instant, id: InstanceId, reason: &Reason) {
        let Some(slot) = self.instances.get_mut(id) else { return };
        slot.state = InstanceState::Running;
        slot.moved_to = None;
        let waiting = slot.commit.wanted.take();
        self.router.run(id);
        self.refuse(now, waiting, reason);
    }

    /// Flash takes nothing any more: what waited for it is told, and no instance whose state has to be
    /// durable goes on.
    pub(super) fn flash_failed(&mut self, now: Instant) {
        self.long = None;
        for (_, then) in core::mem::take(&mut self.pending) {
            let Then::Phase(_, waiting) = then;
            self.refuse(now, waiting, &Reason::new(ErrorCode::Flash));
        }
        let waiting = self.instances.iter().filter(|slot| slot.commit.writing.is_some());
        let ids: Vec<_> = waiting.map(|slot| slot.id).collect();
        for id in ids {
            if let Some(slot) = self.instances.get_mut(id) {
                slot.commit.fault = None;
                if let Some(Writing { mark, .. }) = slot.commit.writing.take() {
                    self.router.abandoned(id, mark);
                }
            }
            self.fault(now, id, ErrorCode::Flash);
        }
    }
}

/// The capsule's own state in a snapshot.
fn runtime_of(bytes: &[u8]) -> &[u8] {
    let state = Snapshot::parse(bytes).ok();
    state.and_then(|state| state.section(SectionKind::Runtime)).unwrap_or_default()
}
