//! Carries messages between instances, on one node and across the mesh.
//!
//! # Words
//! A *stream* is an output of an instance; its messages are numbered without gaps. A *wire* leads from
//! an output to an input. The *inbox* of an instance is what has come and is not handled; its *outbox*
//! is what it has published and somebody still needs. A *commit* is an atomic record of an instance's
//! state in flash: the node takes it, from what [`Router::export`] gives, and says so with
//! [`Router::committed`].
//!
//! # What is promised
//! - On a `latest` wire the newest message arrives, nothing older comes after something newer, and
//!   what is lost is counted at the receiver. A fast producer is held to a pace.
//! - On an `every` wire nothing is lost, nothing comes twice, and the order of a stream is kept: over
//!   lossy links, across crashes of either side at any moment and across migrations of both. For
//!   that, nothing is sent before a commit of its producer covers it, and nothing is acknowledged
//!   before a commit of its consumer covers that it was handled. Instances without `every` wires wait
//!   for nothing.
//! - A stale copy of an instance does no harm: a receiver refuses epochs older than it has seen.
//! - Wires between two instances of one node promise the same, without datagrams.
//!
//! # How a stream stays whole
//! A receiver keeps one cursor for a stream, the number of the message that comes next, at first 0. It
//! drops what is below it, refuses what leaves a gap, and answers with the number up to which a commit
//! covers it ([`Ack`](capmesh_wire::message::Ack)); the sender forgets what is below that number and
//! goes on from there. If what is asked for is gone (it was dropped by a full outbox, or is from before
//! the wire), the sender says so with a batch without messages, whose first number is the oldest that
//! it has: the receiver goes on from there.
//!
//! Where numbers cannot go on, they jump: a stream of an instance that starts afresh in a later epoch
//! begins at a number that no earlier epoch has reached, and one on `latest` wires alone, whose
//! messages no commit covers, at one that no earlier start of the node has. A receiver does not count
//! such a jump as loss.
//!
//! # Bounds
//! [`Config`] names all of them. A full inbox answers 5.03 with a time to try again; a full outbox
//! does what the wire's policy says.
//!
//! # What is not here
//! Flash, instances themselves, and which peer belongs to a node: whoever drives a router knows.
//! Requests between capsules ([`Router::ask`]) are made once and may fail; they are not covered by
//! commits.

mod asks;
mod batch;
mod config;
mod handle;
mod inbox;
mod instance;
mod link;
mod local;
mod output;
mod receive;
mod resources;
mod save;
mod send;
mod shape;
#[cfg(any(test, feature = "test-util"))]
mod view;

pub use asks::{Ask, AskError, ServiceError};
pub use config::Config;
pub use handle::{Event, PublishError};
pub use receive::Received;
pub use resources::{InboxResource, ServicesResource, TopicsResource};
pub use save::{Export, Extent, Mark};
pub use send::Notice;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use asks::{Asked, Served};
use capmesh_coap::endpoint::{ExchangeId, Responder};
use capmesh_wire::manifest::Capsule;
use capmesh_wire::plan::Assignment;
use capmesh_wire::snapshot::Snapshot;
use capmesh_wire::{DecodeError, Epoch, InstanceId, Instant, NodeId, Seq};
use core::fmt;
use instance::{Instance, State};
use receive::Held;

/// What a message takes of an inbox's or outbox's bytes beside its payload: its place in the queue
/// and the allocator's share.
pub const MESSAGE: usize = 64;

/// The messages of one node. See the [module](self).
#[derive(Debug)]
pub struct Router {
    config: Config,
    own: NodeId,
    boot: u32,
    instances: Vec<Instance>,
    /// Requests that are answered when a commit covers them.
    held: Vec<Held>,
    /// Requests that get no answer, and requests of our own that nobody waits for, of which there are
    /// as many as there were flights and asks: the endpoint is to be told.
    ignored: Vec<Responder>,
    cancelled: Vec<ExchangeId>,
    asks: Vec<Asked>,
    served: Vec<Served>,
    /// Counts what comes, so that an instance handles it in order.
    arrivals: u64,
    moved: VecDeque<(InstanceId, NodeId)>,
    /// Whether there may be something to do.
    dirty: bool,
    /// Which instance goes first, so that each has its turn.
    turn: usize,
    scratch: Vec<u8>,
    text: String,
    stats: Stats,
}

/// What has become of the messages of one instance, since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages handled, those whose handlers failed included.
    pub handled: u64,
    /// Messages published.
    pub published: u64,
    /// Messages lost on `latest` wires, or dropped by a full inbox or outbox.
    pub dropped: u32,
    /// Messages that wait in the inbox.
    pub inbox: u16,
    /// Messages that wait in the outbox.
    pub outbox: u16,
}

/// What a router has refused since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that do not fit their schema, or that no wire brings.
    pub refused: u32,
    /// Batches from those who may not send them.
    pub forbidden: u32,
    /// Batches of an older epoch than was seen.
    pub stale: u32,
    /// Messages that came again.
    pub repeated: u32,
    /// Batches that left a gap.
    pub gaps: u32,
    /// Batches, requests and replies that found a table full.
    pub full: u32,
}

/// Where the state of an instance comes from, which decides how its streams' numbers go on.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Nowhere: it starts afresh.
    Fresh,
    /// From its last commit on this node.
    Restarted(&'a Snapshot<'a>),
    /// From another node where it is quiescent: everything goes on exactly.
    Moved(&'a Snapshot<'a>),
    /// From a commit of a node that was lost: what it did later is lost, and its numbers are void.
    Recovered(&'a Snapshot<'a>),
}

/// Why an instance was not added or wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// There are as many instances as there may be.
    Full,
    /// The instance is there already, or it is not.
    Exists,
    /// A schema cannot be read.
    Schema,
    /// The row names a port that the capsule does not have, promises what this version does not know,
    /// or contradicts itself.
    Row,
    /// The snapshot cannot be read.
    Snapshot(DecodeError),
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there are as many instances as there may be",
            Self::Exists => "the instance exists already, or does not",
            Self::Schema => "a schema of the capsule cannot be read",
            Self::Row => "the wires do not fit the capsule",
            Self::Snapshot(error) => return write!(f, "the snapshot cannot be read: {error}"),
        })
    }
}

impl core::error::Error for AddError {}

impl Router {
    /// A router without instances for the node `own`, which has started for the `boot`-th time.
    #[must_use]
    pub fn new(config: Config, own: NodeId, boot: u32) -> Self {
        Self {
            config,
            own,
            boot,
            instances: Vec::new(),
            held: Vec::new(),
            ignored: Vec::new(),
            cancelled: Vec::new(),
            asks: Vec::new(),
            served: Vec::new(),
            arrivals: 0,
            moved: VecDeque::new(),
            dirty: false,
            turn: 0,
            scratch: Vec::new(),
            text: String::new(),
            stats: Stats::default(),
        }
    }

    /// Adds an instance with the wires of its row. It takes and sends nothing before [`Router::run`].
    /// The work is one pass over row, capsule and snapshot.
    ///
    /// # Errors
    /// [`AddError`]; nothing has changed then.
    pub fn add(
        &mut self,
        row: &Assignment<'_>,
        capsule: &Capsule<'_>,
        origin: Origin<'_>,
    ) -> Result<(), AddError> {
        match self.index(row.instance) {
            Some(at) if !self.is_released(at) => return Err(AddError::Exists),
            None if self.instances.len() >= usize::from(self.config.instances) => {
                return Err(AddError::Full);
            }
            _ => {}
        }
        let first = match origin {
            Origin::Fresh => first_of(row.epoch, 0),
            _ => Seq::default(),
        };
        let mut instance = Instance::new(&self.config, row, capsule, first)?;
        instance.wire(&self.config, row)?;
        let base = first_of(row.epoch, self.boot);
        save::restore(&mut instance, origin, base, &mut self.arrivals)?;
        self.remove(row.instance);
        self.instances.push(instance);
        self.dirty = true;
        Ok(())
    }

    /// Takes the wires of a new row for an instance that is there. Wires that stay go on where they
    /// are, also when their other end has moved; new ones begin at the next message.
    ///
    /// # Errors
    /// [`AddError`]; nothing has changed then.
    pub fn rewire(&mut self, row: &Assignment<'_>) -> Result<(), AddError> {
        let config = &self.config;
        let found = self.instances.iter_mut().find(|instance| instance.id == row.instance);
        let instance = found.filter(|i| !matches!(i.state, State::Released(..)));
        let ended = instance.ok_or(AddError::Exists)?.wire(config, row)?;
        self.cancelled.extend(ended);
        self.dirty = true;
        Ok(())
    }

    /// It may be known by now where others are: wires that waited for that wait no longer.
    pub fn look_again(&mut self) {
        let links = self.instances.iter_mut().flat_map(|instance| &mut instance.links);
        for link in links.filter(|link| link.lost) {
            (link.retry_at, link.lost, link.failures) = (None, false, 0);
            self.dirty = true;
        }
    }

    /// Has an instance take and send messages: at its start, or again after [`Router::quiesce`].
    pub fn run(&mut self, instance: InstanceId) {
        self.set_state(instance, State::Running);
    }

    /// Has an instance take no more messages, because it goes to another node: others are told to wait.
    /// It sends nothing either, but what is on its way is still acknowledged.
    pub fn quiesce(&mut self, instance: InstanceId, to: NodeId) {
        self.set_state(instance, State::Moving(to));
    }

    /// Forgets an instance, but for where it is now: others are told so for a while.
    pub fn release(&mut self, now: Instant, instance: InstanceId, to: NodeId) {
        let released = (0..self.instances.len()).filter(|at| self.is_released(*at));
        if released.clone().count() >= usize::from(self.config.released) {
            let until = |at: &usize| self.instances.get(*at).map(|i| i.state);
            let oldest = released.min_by_key(|at| match until(at) {
                Some(State::Released(_, until)) => until,
                _ => Instant::ZERO,
            });
            if let Some(oldest) = oldest.and_then(|at| self.instances.get(at)).map(|i| i.id) {
                self.remove(oldest);
            }
        }
        let until = now + self.config.released_for;
        if let Some(found) = self.instances.iter_mut().find(|found| found.id == instance) {
            found.state = State::Released(to, until);
            let flights = found.links.iter().flat_map(|link| &link.flights);
            self.cancelled.extend(flights.map(|flight| flight.exchange));
            found.forget();
        }
        self.forget_requests(instance);
        self.dirty = true;
    }

    /// Forgets an instance.
    pub fn remove(&mut self, instance: InstanceId) {
        let Some(at) = self.index(instance) else { return };
        let gone = self.instances.remove(at);
        let flights = gone.links.iter().flat_map(|link| &link.flights);
        self.cancelled.extend(flights.map(|flight| flight.exchange));
        self.forget_requests(instance);
        self.dirty = true;
    }

    /// How an instance is doing.
    #[must_use]
    pub fn counters(&self, instance: InstanceId) -> Option<Counters> {
        let instance = self.instances.get(self.index(instance)?)?;
        let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Some(Counters {
            inbox: short(instance.inbox.waiting()),
            outbox: short(instance.outbox.messages),
            ..instance.counters
        })
    }

    /// What was refused since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    fn set_state(&mut self, instance: InstanceId, state: State) {
        let found = self.instances.iter_mut().find(|found| found.id == instance);
        if let Some(found) = found.filter(|found| !matches!(found.state, State::Released(..))) {
            found.state = state;
            self.dirty = true;
        }
    }

    fn index(&self, instance: InstanceId) -> Option<usize> {
        self.instances.iter().position(|found| found.id == instance)
    }

    fn is_released(&self, at: usize) -> bool {
        self.instances.get(at).is_some_and(|i| matches!(i.state, State::Released(..)))
    }

    fn arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }
}

/// A number that no stream of an earlier epoch, or of an earlier start of the node in this one, has
/// reached: 16 bits of epoch, 20 of starts, and 28 of messages, two years of one each quarter second.
/// In the first epoch and at the first start it is 0.
fn first_of(epoch: Epoch, boot: u32) -> Seq {
    let epoch = u64::from(epoch.0.saturating_sub(1)) & 0xffff;
    let boot = u64::from(boot.saturating_sub(1)) & 0xf_ffff;
    Seq(epoch << 48 | boot << 28)
}

/// From which difference on numbers have jumped rather than been lost.
const JUMP: u64 = 1 << 24;
