//! The instances of a node: what each is doing, and whose turn it is.
//!
//! This is their table and their clocks. What they are told, and what becomes of what they ask for,
//! is the node's affair; their messages are the router's.

pub(crate) mod fuel;
pub(crate) mod profile;
pub(crate) mod row;

use crate::config::Restart;
use crate::flash::Ticket;
use crate::host::HostInstance;
use crate::migrate::Offer;
use crate::router::Mark;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use capmesh_coap::endpoint::Responder;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId, Instant, NodeId};
use core::time::Duration;
use fuel::{Allowance, Meter};
use profile::Profile;
use row::Phase;

/// The table of instances: at most as many as the budget says, and as many again that are over and of
/// which nothing but the epoch is left.
#[derive(Debug)]
pub(crate) struct Instances<I> {
    slots: Vec<Slot<I>>,
    most: usize,
    /// Whose turn it is.
    turn: usize,
}

/// An instance.
#[derive(Debug)]
pub(crate) struct Slot<I> {
    pub(crate) id: InstanceId,
    pub(crate) epoch: Epoch,
    pub(crate) capsule: Digest,
    pub(crate) phase: Phase,
    pub(crate) from_plan: bool,
    pub(crate) state: InstanceState,
    pub(crate) reason: Option<ErrorCode>,
    pub(crate) moved_to: Option<NodeId>,
    /// Its capsule while it runs.
    pub(crate) running: Option<Box<Running<I>>>,
    /// Whether the router knows it.
    pub(crate) routed: bool,
    /// How long it may run without hearing of the gateway, and until when.
    pub(crate) lease: Option<Lease>,
    /// RAM and fuel per second that are kept for it although it does not run yet.
    pub(crate) reserved: Option<(u32, u32)>,
    /// How often its state is made durable even if no message asks for that.
    pub(crate) checkpoint: Option<Duration>,
    pub(crate) faults: Faults,
    pub(crate) commit: Commit,
    /// Its state, as it is offered to others.
    pub(crate) offer: Option<Offer>,
    /// Who waits for its result, if it is a one-shot capsule's.
    pub(crate) result: Option<Responder>,
    /// What it asked for and what came for it that had no place, beside what the router counts.
    pub(crate) dropped: u32,
    pub(crate) meter: Meter,
}

/// A right to run that ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// `None` until the gateway has given it.
    pub(crate) until: Option<Instant>,
}

impl Lease {
    /// One that is yet to be given.
    pub(crate) const NONE: Self = Self { until: None };

    /// Whether it allows to run.
    pub(crate) fn holds(self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

/// What went wrong, and when to try again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// In a row.
    pub(crate) count: u8,
    /// How often it was started anew.
    pub(crate) restarts: u32,
    pub(crate) last: Option<Instant>,
    pub(crate) retry_at: Option<Instant>,
}

/// How far the state is durable.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// The commit that is being written.
    pub(crate) writing: Option<Writing>,
    /// When the last one was taken.
    pub(crate) taken: Option<Instant>,
    /// Whether a handler has ended since.
    pub(crate) is_dirty: bool,
    /// Whether one is wanted at once, and who waits for it.
    pub(crate) wanted: Option<Responder>,
    /// Why the instance is to be started anew once the commit is written: until then it is not known
    /// which state it goes on from.
    pub(crate) fault: Option<ErrorCode>,
}

/// A commit that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    /// Names its last write. A long one has none before that.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) mark: Mark,
    /// Whether it is the one that was wanted. One that was begun before somebody asked is not: it may
    /// not cover the last handler, and has not the queues that a move needs.
    pub(crate) is_wanted: bool,
}

/// A capsule that runs.
#[derive(Debug)]
pub(crate) struct Running<I> {
    /// On the heap, where it was made.
    pub(crate) instance: Box<I>,
    pub(crate) profile: Profile,
    /// Those that are set, at most as many as the manifest says.
    pub(crate) timers: Vec<(u16, Instant)>,
    /// Changes of digital inputs that wait.
    pub(crate) changes: VecDeque<(u8, f64)>,
    /// Which samples of its sensors it has been given.
    pub(crate) seen: Vec<u32>,
    /// Requests that it has made and that are not answered: number, peer, resource.
    pub(crate) asked: Vec<(u32, u32, u32)>,
    /// What it is handling.
    pub(crate) current: Option<Current>,
    /// Whether it has yet to be told to start.
    pub(crate) is_fresh: bool,
    /// Whether a timer was handled last: the router's turn then.
    pub(crate) timer_was_last: bool,
    pub(crate) fuel: Allowance,
    pub(crate) log: Allowance,
    /// Lines that it wrote and that were dropped.
    pub(crate) silenced: u32,
}

/// What an instance is handling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Current {
    Start,
    Timer(u16),
    Change,
    /// What the router gave; a request names the service that it asks.
    Routed {
        service: Option<u8>,
    },
    Run,
}

impl<I> Slot<I> {
    pub(crate) fn new(id: InstanceId, epoch: Epoch, capsule: Digest, phase: Phase) -> Self {
        Self {
            id,
            epoch,
            capsule,
            phase,
            from_plan: false,
            state: InstanceState::Stopped,
            reason: None,
            moved_to: None,
            running: None,
            routed: false,
            lease: None,
            reserved: None,
            checkpoint: None,
            faults: Faults::default(),
            commit: Commit::default(),
            offer: None,
            result: None,
            dropped: 0,
            meter: Meter::default(),
        }
    }

    /// What it takes of the node's RAM and fuel.
    pub(crate) fn promised(&self) -> (u32, u32) {
        let running = self.running.as_ref();
        let takes = running.map(|r| (r.profile.ram, r.profile.fuel_per_second));
        takes.or(self.reserved).unwrap_or_default()
    }

    /// Notes a fault. Says whether the instance is to be tried again.
    pub(crate) fn fault(&mut self, now: Instant, why: ErrorCode, config: &Restart) -> bool {
        let faults = &mut self.faults;
        let is_old = |last: Instant| now.saturating_since(last) >= config.healthy;
        if faults.last.is_some_and(is_old) {
            faults.count = 0;
        }
        faults.last = Some(now);
        faults.count = faults.count.saturating_add(1);
        self.reason = Some(why);
        if faults.count > config.attempts {
            self.state = InstanceState::Failed;
            faults.retry_at = None;
            return false;
        }
        let doubled = config.min.saturating_mul(1 << (faults.count - 1).min(16));
        faults.retry_at = Some(now + doubled.min(config.max));
        self.state = InstanceState::BackingOff;
        true
    }

    /// When its lease ends what runs of it. What is on its way elsewhere handles nothing: if it comes back,
    /// it ends then.
    pub(crate) fn runs_out(&self) -> Option<Instant> {
        self.running.as_ref().filter(|_| self.phase == Phase::Run)?;
        self.lease?.until
    }

    /// When its lease runs out, it is tried again, or what it offers has been offered long enough.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        let offer = self.offer.as_ref().and_then(|offer| offer.until);
        [self.runs_out(), self.faults.retry_at, offer].into_iter().flatten().min()
    }

    /// When a timer of its capsule runs out, if it may be told.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let running = self.running.as_ref().filter(|_| self.state == InstanceState::Running)?;
        running.timers.iter().map(|(_, at)| *at).min()
    }
}

impl<I: HostInstance> Running<I> {
    /// A fresh instance that has handled nothing. `log` is what it may write.
    pub(crate) fn new(now: Instant, instance: Box<I>, profile: Profile, log: Allowance) -> Self {
        Self {
            instance,
            timers: Vec::new(),
            changes: VecDeque::new(),
            seen: profile.sensors.iter().map(|_| 0).collect(),
            asked: Vec::new(),
            current: None,
            is_fresh: true,
            timer_was_last: false,
            fuel: Allowance::new(now, profile.fuel_per_second),
            log,
            silenced: 0,
            profile,
        }
    }

    /// The first timer that is due, taken from the table.
    pub(crate) fn take_timer(&mut self, now: Instant) -> Option<u16> {
        let due = self.timers.iter().enumerate().filter(|(_, (_, at))| *at <= now);
        let (place, _) = due.min_by_key(|(_, (_, at))| *at)?;
        Some(self.timers.swap_remove(place).0)
    }
}

impl<I> Instances<I> {
    /// An empty table for `most` instances that are not over.
    pub(crate) const fn new(most: usize) -> Self {
        Self { slots: Vec::new(), most, turn: 0 }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot<I>> {
        self.slots.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<I>> {
        self.slots.iter_mut()
    }

    pub(crate) fn at(&mut self, place: usize) -> Option<&mut Slot<I>> {
        self.slots.get_mut(place)
    }

    pub(crate) fn get(&self, id: InstanceId) -> Option<&Slot<I>> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Slot<I>> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    /// How many are not over.
    pub(crate) fn live(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.phase.is_over()).count()
    }

    /// Whether there is an instance of a capsule.
    pub(crate) fn uses(&self, capsule: &Digest) -> bool {
        self.slots.iter().any(|slot| slot.capsule == *capsule && !slot.phase.is_over())
    }

    /// Whether another one has room.
    pub(crate) fn has_room(&self) -> bool {
        self.live() < self.most
    }

    /// An instance to be forgotten that is over, if there are more of those than there may be. Preferably none
    /// that the plan names, as `is_named` says: without its epoch it would be taken for a new one.
    pub(crate) fn surplus(&self, is_named: impl Fn(&Slot<I>) -> bool) -> Option<InstanceId> {
        let over = || self.slots.iter().filter(|slot| slot.phase.is_over());
        if over().count() <= self.most {
            return None;
        }
        over().find(|slot| !is_named(slot)).or_else(|| over().next()).map(|slot| slot.id)
    }

    pub(crate) fn push(&mut self, slot: Slot<I>) {
        self.slots.push(slot);
    }

    pub(crate) fn remove(&mut self, id: InstanceId) {
        self.slots.retain(|slot| slot.id != id);
    }

    /// What is promised to all of them: RAM and fuel per second.
    pub(crate) fn promised(&self) -> (u32, u32) {
        self.slots
            .iter()
            .map(Slot::promised)
            .fold((0, 0), |(ram, fuel), (r, f)| (ram.saturating_add(r), fuel.saturating_add(f)))
    }

    /// The places of the table, beginning with the one whose turn it is.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = usize> + use<I> {
        let (turn, len) = (self.turn, self.slots.len());
        (0..len).map(move |place| (turn + place) % len.max(1))
    }

    /// Says that the one at this place has had its turn.
    pub(crate) fn had_turn(&mut self, place: usize) {
        self.turn = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_plan_names_is_forgotten_last() {
        let mut instances = Instances::<()>::new(2);
        let push = |instances: &mut Instances<()>, id, phase| {
            let capsule = Digest::from_bytes([0; Digest::LEN]);
            instances.push(Slot::new(InstanceId(id), Epoch(1), capsule, phase));
        };
        let is_first = |slot: &Slot<()>| slot.id == InstanceId(1);
        for (id, phase) in [(1, Phase::Released), (2, Phase::Stopped), (3, Phase::Run)] {
            push(&mut instances, id, phase);
        }
        assert_eq!(instances.surplus(is_first), None);
        push(&mut instances, 4, Phase::Released);
        assert_eq!(instances.surplus(is_first), Some(InstanceId(2)));
        assert_eq!(instances.surplus(|_| true), Some(InstanceId(1)));
    }
}
