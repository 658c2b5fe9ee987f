//! Towards the plan: what a node is still to be told, until what it says of itself is what its rows say.
//!
//! Everything here may be said twice: a node that has heard it before answers the same. What is said and
//! not answered, or refused for now, is said again after a while, each time a longer one, with a random
//! part, so that a site that comes back does not all speak at once.

mod document;

pub(crate) use document::{Around, Relays, relays, says, signed};

use crate::nodes::Node;
use crate::rows::Row;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId, Instant, Revision};
use core::time::Duration;

/// Things that are said to one node at a time.
pub(crate) const IN_FLIGHT: usize = 3;

/// The first wait before something is said again, and the longest.
const AGAIN: Duration = Duration::from_millis(500);
const LONGEST_AGAIN: Duration = Duration::from_secs(30);

/// Part of a lease after which it is renewed. It counts from what the node said at the renewal before, so
/// that a node that was just renewed has four parts of five left, and three before the next one.
pub(crate) const RENEWED_AFTER: u32 = 5;

/// Something that a node is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    /// The roster.
    Roster(Revision),
    /// Its plan.
    Plan(Revision),
    /// To fetch a capsule.
    Install([u8; Digest::LEN]),
    /// To run an instance that it has stopped.
    Start(InstanceId),
    /// To go on running it.
    Renew(InstanceId),
    /// To give its state.
    Checkpoint(InstanceId, Epoch),
    /// To go on after a migration that nobody knows of any more.
    Resume(InstanceId, Epoch),
    /// To forget what it had of such a migration, or of an instance that is elsewhere by now.
    Stop(InstanceId, Epoch),
    /// To forget what went elsewhere while it was lost.
    Release(InstanceId, Epoch),
}

/// How it went so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    times: u8,
    /// Not again before.
    again_at: Option<Instant>,
    in_flight: bool,
    refused: Option<ErrorCode>,
}

/// What a node is being told. Mostly nothing, and else a few things: lists, which take nothing when they are
/// empty.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    tried: Vec<(Duty, Tried)>,
    /// The documents that it has taken since it started, whether its status says so yet or not.
    pub(crate) roster: Revision,
    pub(crate) plan: Revision,
    /// When each lease was renewed, and each checkpoint taken, last.
    times: Vec<(Duty, Instant)>,
}

impl Duties {
    /// Whether something may be said now.
    pub(crate) fn may(&self, now: Instant, duty: Duty) -> bool {
        let tried = self.tried.iter().find(|(other, _)| *other == duty).map(|(_, tried)| tried);
        // A node takes one document at a time.
        let mut underway = self.tried.iter().filter(|(_, tried)| tried.in_flight);
        let is_underway = |other: &Duty| match (duty, other) {
            (Duty::Roster(_) | Duty::Plan(_), Duty::Roster(_) | Duty::Plan(_)) => true,
            _ => *other == duty,
        };
        self.in_flight() < IN_FLIGHT
            && !underway.any(|(other, _)| is_underway(other))
            && tried.is_none_or(|t| !t.in_flight && t.again_at.is_none_or(|at| at <= now))
    }

    fn in_flight(&self) -> usize {
        self.tried.iter().filter(|(_, tried)| tried.in_flight).count()
    }

    /// Notes how it went with one of them.
    fn note(&mut self, duty: Duty, change: impl FnOnce(&mut Tried)) {
        if let Some((_, tried)) = self.tried.iter_mut().find(|(other, _)| *other == duty) {
            return change(tried);
        }
        let mut tried = Tried::default();
        change(&mut tried);
        self.tried.push((duty, tried));
    }

    /// When a lease was renewed, or a checkpoint taken, last.
    fn last(&self, duty: Duty) -> Option<Instant> {
        self.times.iter().find(|(other, _)| *other == duty).map(|(_, at)| *at)
    }

    /// Lets a lease be renewed, or a checkpoint be taken, again at once.
    pub(crate) fn hurry(&mut self, duty: Duty) {
        self.times.retain(|(other, _)| *other != duty);
    }

    /// It is being said.
    pub(crate) fn begin(&mut self, duty: Duty) {
        self.note(duty, |tried| tried.in_flight = true);
    }

    /// It was heard and taken. What is to be said again as long as it has no effect waits a while.
    pub(crate) fn done(&mut self, now: Instant, duty: Duty, random: u32) {
        match duty {
            Duty::Roster(revision) => self.roster = self.roster.max(revision),
            Duty::Plan(revision) => self.plan = self.plan.max(revision),
            Duty::Renew(_) | Duty::Checkpoint(..) => {
                self.hurry(duty);
                self.times.push((duty, now));
                self.tried.retain(|(other, _)| *other != duty);
                return;
            }
            _ => {}
        }
        self.fail(now, duty, None, None, random);
    }

    /// It was refused, or not heard: again after `after`, or after a wait that grows.
    pub(crate) fn fail(
        &mut self,
        now: Instant,
        duty: Duty,
        refused: Option<ErrorCode>,
        after: Option<Duration>,
        random: u32,
    ) {
        self.note(duty, |tried| {
            let wait = (AGAIN * (1 << tried.times.min(6))).min(LONGEST_AGAIN);
            tried.times = tried.times.saturating_add(1);
            tried.in_flight = false;
            tried.refused = refused;
            let wait = after.unwrap_or(wait);
            tried.again_at =
                Some(now + wait + wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0));
        });
    }

    /// It has been silent: what it was told of leases may not have come, and waits long to be said again.
    pub(crate) fn renew_again(&mut self) {
        self.tried.retain(|(duty, _)| !matches!(duty, Duty::Renew(_)));
    }

    /// The node has started anew: what it was told may have been lost on the way.
    pub(crate) fn forget(&mut self) {
        self.tried.retain(|(_, tried)| tried.in_flight);
        (self.roster, self.plan) = (Revision(0), Revision(0));
    }

    /// Forgets what is no more to be said.
    pub(crate) fn keep(&mut self, is_wanted: impl Fn(&Duty) -> bool) {
        self.tried.retain(|(duty, tried)| tried.in_flight || is_wanted(duty));
        self.times.retain(|(duty, _)| is_wanted(duty));
        self.tried.shrink_to_fit();
        self.times.shrink_to_fit();
    }

    /// When something may be said that may not be said now.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let waiting = self.tried.iter().map(|(_, tried)| tried).filter(|tried| !tried.in_flight);
        waiting.filter_map(|tried| tried.again_at).filter(|at| *at > now).min()
    }

    /// Why a row is not yet what it should be, if its node has refused something.
    pub(crate) fn refusal_of(&self, row: &Row) -> Option<ErrorCode> {
        let concerns = |duty: &Duty| match duty {
            Duty::Install(capsule) => capsule == row.capsule.as_bytes(),
            Duty::Start(instance) | Duty::Renew(instance) => *instance == row.instance,
            Duty::Plan(_) => true,
            _ => false,
        };
        let mut tried = self.tried.iter().filter(|(duty, _)| concerns(duty));
        tried.find_map(|(_, tried)| tried.refused)
    }

    pub(crate) fn memory(&self) -> usize {
        self.tried.len() * (size_of::<Duty>() + size_of::<Tried>())
            + self.times.len() * (size_of::<Duty>() + size_of::<Instant>())
    }
}

/// What a node is to be told about one of its rows, and from when on. `has_plan` says that it has the
/// newest plan.
pub(crate) fn of_row(now: Instant, node: &Node, row: &Row, has_plan: bool) -> Vec<(Duty, Instant)> {
    let mut duties = Vec::new();
    let status = node.instance(row.instance).filter(|status| status.epoch == row.epoch);
    let state = status.map(|status| status.state);
    let held = node.holds(&row.capsule);
    if !held && !matches!(state, Some(InstanceState::Running)) {
        duties.push((Duty::Install(*row.capsule.as_bytes()), now));
    }
    let for_lease = status.and_then(|status| status.reason) == Some(ErrorCode::LeaseExpired);
    let waits = match state {
        Some(InstanceState::Stopped) => !for_lease,
        Some(InstanceState::Prepared | InstanceState::Restored) => true,
        _ => false,
    };
    if has_plan && waits {
        duties.push((Duty::Start(row.instance), now));
    }
    if state == Some(InstanceState::Quiescent) {
        duties.push((Duty::Resume(row.instance, row.epoch), now));
    }
    let last = |duty| node.duties.last(duty);
    if let (Some(lease), Some(_)) = (row.lease_ms, state) {
        let every = Duration::from_millis(u64::from(lease)) / RENEWED_AFTER;
        let duty = Duty::Renew(row.instance);
        duties.push((duty, last(duty).map_or(now, |at| at + every)));
    }
    if let (Some(every), Some(InstanceState::Running)) = (row.checkpoint_ms, state)
        && row.failover == capmesh_wire::plan::Failover::Checkpoint
    {
        let every = Duration::from_millis(u64::from(every));
        let duty = Duty::Checkpoint(row.instance, row.epoch);
        duties.push((duty, last(duty).map_or(now, |at| at + every)));
    }
    duties
}

/// What a node is to be told about instances that are not its own: `owned` says whether one is, `elsewhere`
/// whether its row is another node's, or there is none. `knows_plan` says that the node said how it is when
/// it had the newest plan. An instance that came with a command and never was in a plan of the node's does
/// not end with the plan.
pub(crate) fn of_others(
    now: Instant,
    node: &Node,
    knows_plan: bool,
    owned: impl Fn(InstanceId, Epoch) -> bool,
    elsewhere: impl Fn(InstanceId) -> bool,
) -> Vec<(Duty, Instant)> {
    let Some(status) = node.status() else { return Vec::new() };
    let others = status
        .instances
        .iter()
        .filter(|other| !other.instance.is_local() && !owned(other.instance, other.epoch));
    others
        .filter_map(|other| match other.state {
            InstanceState::Quiescent => Some(Duty::Release(other.instance, other.epoch)),
            InstanceState::Prepared | InstanceState::Restored => {
                Some(Duty::Stop(other.instance, other.epoch))
            }
            InstanceState::Stopped => None,
            _ => (knows_plan && elsewhere(other.instance))
                .then_some(Duty::Stop(other.instance, other.epoch)),
        })
        .map(|duty| (duty, now))
        .collect()
}
