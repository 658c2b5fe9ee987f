//! How instances come to run: from a capsule that is held, and the state that flash has.

use super::Node;
use super::life::assignment_of;
use crate::flash::kinds::ROW;
use crate::host::{CapsuleHost, HostInstance, Surroundings};
use crate::instances::Running;
use crate::instances::profile::Profile;
use crate::instances::row::Row;
use crate::migrate;
use crate::problem::Reason;
use crate::router::Origin;
use crate::trace::{Restored, Trace, print};
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_session::Link;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::log::Level;
use capmesh_wire::plan::Assignment;
use capmesh_wire::snapshot::{Header, SectionKind, Snapshot, Timer};
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId, Instant};
use core::time::Duration;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Makes an instance of a capsule that is held, in the state that flash has of it. `Ok(false)` if
    /// its capsule is not here yet. The work grows with the module's length and the snapshot's.
    pub(super) fn bring_up(
        &mut self,
        now: Instant,
        flash: &[u8],
        id: InstanceId,
        run: bool,
    ) -> Result<bool, Reason> {
        let plan = self.site.plan(flash, &self.store);
        let kept = self.store.get(flash, ROW, id.0).and_then(Row::parse);
        let row = assignment_of(plan.as_ref(), kept.as_ref(), id);
        let row = row.ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        let Some(slot) = self.instances.get_mut(id) else { return Ok(false) };
        (slot.capsule, slot.reserved) = (row.capsule, None);
        slot.checkpoint = row.checkpoint_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let (epoch, routed) = (slot.epoch, slot.routed);
        let Some(held) = self.install.held(flash, &self.store, &row.capsule) else {
            slot.state = InstanceState::Fetching;
            slot.faults.retry_at = None;
            self.fetch_again(now, flash, &row)?;
            return Ok(false);
        };
        if self.install.untrusted(flash, &self.store, &self.site).any(|d| d == row.capsule) {
            return Err(Reason::new(ErrorCode::Untrusted).because("its publisher"));
        }
        let manifest = held.manifest;
        let profile = Profile::new(&self.config, &manifest, manifest.module_size)?;
        self.check_budget(profile.ram, profile.fuel_per_second)?;
        let surroundings = profile.surroundings(&manifest.capsule, Some(&row))?;
        let mut instance = self.make(held.module, &profile, surroundings)?;
        let bytes = self.state(flash, id);
        let state = bytes.map(Snapshot::parse).transpose();
        let mut state = state.map_err(|error| Reason::new(ErrorCode::Malformed).because(error))?;
        if let Some(other) = state.filter(|state| state.header().capsule != row.capsule) {
            let Header { capsule: before, layout, .. } = *other.header();
            let fits = layout != 0 && manifest.capsule.state.is_some_and(|s| s.accepts(layout));
            if fits && restore(&mut *instance, &other).is_ok() {
                let text = format_args!("takes the state of capsule {}", before.prefix());
                self.say(now, Some(id), Level::Info, text);
            } else {
                let text = format_args!("starts afresh: no state of capsule {}", before.prefix());
                self.say(now, Some(id), Level::Warning, text);
                state = None;
                let surroundings = profile.surroundings(&manifest.capsule, Some(&row))?;
                instance = self.make(held.module, &profile, surroundings)?;
            }
        } else if let Some(state) = &state {
            restore(&mut *instance, state)?;
        }
        let timers = state.iter().flat_map(|state| timers_of(now, state)).collect();
        if !routed {
            self.router
                .add(&row, &manifest.capsule, origin_of(state.as_ref(), &row.capsule, epoch))
                .map_err(|why| Reason::new(ErrorCode::WrongState).because(why))?;
        }
        if run {
            self.router.run(id);
        }
        let from = (state.as_ref(), bytes.unwrap_or_default());
        let module = (held.module, self.config.snapshot);
        self.tracer.note(|| up(&row, (epoch, run), &profile, &*instance, from, module));
        let mut running = Running::new(now, instance, profile, self.log.allowance(now));
        (running.timers, running.is_fresh) = (timers, state.is_none());
        self.has_come_up(now, id, running);
        Ok(true)
    }

    fn has_come_up(&mut self, now: Instant, id: InstanceId, running: Running<H::Instance>) {
        let Some(slot) = self.instances.get_mut(id) else { return };
        slot.running = Some(Box::new(running));
        slot.routed = true;
        slot.state = InstanceState::Running;
        slot.commit.is_dirty = false;
        slot.commit.taken = Some(now);
        slot.faults.retry_at = None;
    }

    /// Makes a fresh instance of a module.
    #[inline(never)]
    pub(super) fn make(
        &mut self,
        module: &[u8],
        profile: &Profile,
        surroundings: Surroundings,
    ) -> Result<Box<H::Instance>, Reason> {
        let refused = |code| move |why: H::Refusal| Reason::new(code).because(why);
        let admitted = self.host.admit(module, &profile.limits);
        let admitted = admitted.map_err(refused(ErrorCode::InvalidModule))?;
        let seed = self.next_seed();
        let instance = self.host.instantiate(&admitted, &profile.limits, surroundings, seed);
        instance.map(Box::new).map_err(refused(ErrorCode::NoRam))
    }
}

/// Puts a state into a fresh instance.
fn restore<I: HostInstance>(instance: &mut I, state: &Snapshot<'_>) -> Result<(), Reason> {
    let runtime = state.section(SectionKind::Runtime).unwrap_or_default();
    instance.restore(runtime).map_err(|why| Reason::new(ErrorCode::StateMismatch).because(why))
}

/// What comes up, and from where, for those who check it.
fn up<I: HostInstance>(
    row: &Assignment<'_>,
    (epoch, runs): (Epoch, bool),
    profile: &Profile,
    instance: &I,
    (state, bytes): (Option<&Snapshot<'_>>, &[u8]),
    (module, limit): (&[u8], u32),
) -> Trace {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let restored = |state: &Snapshot<'_>| {
        let Header { epoch, capsule, .. } = *state.header();
        let mut now = Vec::new();
        let has = instance.snapshot(module, &mut now, limit).is_ok();
        Restored {
            epoch,
            capsule,
            print: print(bytes),
            memory: print(state.section(SectionKind::Runtime).unwrap_or_default()),
            now: has.then(|| print(&now)),
            is_last: migrate::is_last(state),
        }
    };
    Trace::Up {
        instance: row.instance,
        epoch,
        capsule: row.capsule,
        runs,
        leased: row.lease_ms.is_some(),
        fuel: profile.limits.handler_fuel,
        from: state.map(restored),
    }
}

/// The timers that go on.
fn timers_of(now: Instant, state: &Snapshot<'_>) -> impl Iterator<Item = (u16, Instant)> {
    let remaining = move |timer: Timer| now + Duration::from_micros(timer.remaining);
    state.header().timers.iter().map(move |timer| (timer.number, remaining(timer)))
}

/// Where a state comes from. That of another version of the capsule was committed here.
fn origin_of<'a>(state: Option<&'a Snapshot<'a>>, capsule: &Digest, epoch: Epoch) -> Origin<'a> {
    match state {
        None => Origin::Fresh,
        Some(state) if state.header().capsule != *capsule => Origin::Restarted(state),
        Some(state) if state.header().epoch >= epoch => Origin::Restarted(state),
        Some(state) if migrate::is_last(state) => Origin::Moved(state),
        Some(state) => Origin::Recovered(state),
    }
}
