//! An instance as the router sees it: its ports, its wires, what waits for it and from it.

use super::inbox::{Bounds, Inbox, cost};
use super::link::Link;
use super::output::{Freed, Output};
use super::shape::Shape;
use super::{AddError, Config, Counters, MESSAGE};
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_coap::endpoint::ExchangeId;
use capmesh_wire::manifest::Capsule;
use capmesh_wire::message::Stream;
use capmesh_wire::plan::{Assignment, Delivery, Inbound, Overflowing, PeerBinding};
use capmesh_wire::{Epoch, InstanceId, Instant, NodeId, Seq};

/// What an instance is doing, as far as messages are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is not started yet: others are to wait.
    Waiting,
    /// It takes and sends messages.
    Running,
    /// It is on its way to another node.
    Moving(NodeId),
    /// It is on another node, and is forgotten after a while.
    Released(NodeId, Instant),
}

/// What an instance has had of a stream.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) stream: Stream,
    /// The node that hosts the producer.
    pub(super) node: NodeId,
    /// The inputs that the stream ends at, a bit for each.
    pub(super) ports: u8,
    pub(super) every: bool,
    /// The number of its schema's shape.
    pub(super) shape: usize,
    /// The highest epoch seen.
    pub(super) epoch: Epoch,
    /// The first message that it has not accepted.
    pub(super) next: Seq,
    /// The first message that no commit covers.
    pub(super) committed: Seq,
    /// What `committed` will be when the commit that is being written has been.
    pub(super) exported: Option<Seq>,
    /// Whether there was any message yet.
    pub(super) seen: bool,
}

/// A resource of the capsule's.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: Box<str>,
    /// The number of the shape of a request's payload, if it has one.
    pub(super) request: Option<usize>,
}

/// What a handler is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    /// The first message of the inbox, on this input.
    Message(u8),
    /// A request, by its number.
    Request(u64),
    /// A reply, by the number of its request.
    Reply(u32),
}

/// The commit that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) mark: u32,
    /// What was uncovered before it.
    pub(super) uncovered: u16,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) epoch: Epoch,
    pub(super) state: State,
    pub(super) pipeline: Box<str>,
    pub(super) name: Box<str>,
    pub(super) replica: u8,
    pub(super) shapes: Vec<Shape>,
    /// The number of each input's shape.
    pub(super) ports: Vec<usize>,
    pub(super) outputs: Vec<Output>,
    pub(super) inputs: Vec<Input>,
    pub(super) links: Vec<Link>,
    pub(super) services: Vec<Service>,
    pub(super) peers: Vec<PeerBinding>,
    pub(super) inbox: Inbox,
    pub(super) inbox_bounds: Bounds,
    /// What waits in the queues of all outputs, and what may.
    pub(super) outbox: Freed,
    pub(super) outbox_bounds: Bounds,
    /// What one handler may publish.
    need: Bounds,
    /// Whether it takes part in commits: an `every` wire begins or ends at it.
    pub(super) commits: bool,
    pub(super) current: Option<Current>,
    /// Whether a handler failed while a commit was being written: what that does not cover is undone
    /// when it has been.
    pub(super) failing: bool,
    /// Messages that no commit covers, and since when there are any.
    pub(super) uncovered: u16,
    pub(super) uncovered_since: Instant,
    pub(super) pending: Option<Pending>,
    /// The number of the last commit.
    pub(super) mark: u32,
    pub(super) counters: Counters,
}

impl Instance {
    /// An instance without wires. The work is one pass over the capsule's description.
    pub(super) fn new(
        config: &Config,
        row: &Assignment<'_>,
        capsule: &Capsule<'_>,
        first: Seq,
    ) -> Result<Self, AddError> {
        let shapes: Option<Vec<_>> =
            capsule.schemas.iter().map(|schema| Shape::of(&schema)).collect();
        let shapes = shapes.ok_or(AddError::Schema)?;
        let (need, inbox_bounds, outbox_bounds) = bounds(config, capsule);
        Ok(Self {
            id: row.instance,
            epoch: row.epoch,
            state: State::Waiting,
            pipeline: row.pipeline.as_str().into(),
            name: row.name.as_str().into(),
            replica: row.replica,
            shapes,
            ports: capsule.inputs.iter().map(|port| usize::from(port.schema)).collect(),
            outputs: capsule
                .outputs
                .iter()
                .map(|port| Output::new(port.name.as_str(), usize::from(port.schema), first))
                .collect(),
            inputs: Vec::new(),
            links: Vec::new(),
            services: capsule
                .services
                .iter()
                .map(|service| Service {
                    name: service.name.as_str().into(),
                    request: service.request.map(usize::from),
                })
                .collect(),
            peers: Vec::new(),
            inbox: Inbox::default(),
            inbox_bounds,
            outbox: Freed::default(),
            outbox_bounds,
            need,
            commits: false,
            current: None,
            failing: false,
            uncovered: 0,
            uncovered_since: Instant::ZERO,
            pending: None,
            mark: 0,
            counters: Counters::default(),
        })
    }

    /// Takes the wires of a row. What is known of wires that stay, or whose other end has moved, is
    /// kept. Wires that are new begin at the stream's next message.
    /// Gives the requests that nobody waits for any more.
    pub(super) fn wire(
        &mut self,
        config: &Config,
        row: &Assignment<'_>,
    ) -> Result<Vec<ExchangeId>, AddError> {
        let inputs = self.new_inputs(row)?;
        let links = self.new_links(config, row)?;
        let ended = self.replace_links(links);
        self.epoch = self.epoch.max(row.epoch);
        self.inputs = inputs;
        self.peers = row.peers.iter().collect();
        self.commits = self.inputs.iter().any(|i| i.every) || self.links.iter().any(|l| l.every);
        let Self { inputs, inbox, .. } = self;
        inbox.retain(|stream| inputs.iter().any(|input| input.stream == stream));
        for number in 0..self.outputs.len() {
            self.wire_output(number, row);
        }
        self.trim();
        Ok(ended)
    }

    fn new_inputs(&self, row: &Assignment<'_>) -> Result<Vec<Input>, AddError> {
        let mut inputs: Vec<Input> = Vec::new();
        for Inbound { input, node, instance, output, delivery } in row.inbound {
            let every = is_every(delivery)?;
            let shape = *self.ports.get(usize::from(input)).ok_or(AddError::Row)?;
            let port = 1_u8.checked_shl(u32::from(input)).ok_or(AddError::Row)?;
            let stream = Stream { instance, output };
            if let Some(known) = inputs.iter_mut().find(|known| known.stream == stream) {
                let tag = |shape: usize| self.shapes.get(shape).map(|shape| shape.tag);
                if known.node != node || tag(known.shape) != tag(shape) {
                    return Err(AddError::Row);
                }
                known.ports |= port;
                // One stream has one cursor: what one of its wires promises, all do.
                known.every |= every;
                continue;
            }
            let had = self.inputs.iter().find(|had| had.stream == stream);
            let zero = Seq::default();
            inputs.push(Input {
                stream,
                node,
                ports: port,
                every,
                shape,
                epoch: had.map_or(Epoch(0), |had| had.epoch),
                next: had.map_or(zero, |had| had.next),
                committed: had.map_or(zero, |had| had.committed),
                exported: had.and_then(|had| had.exported),
                seen: had.is_some_and(|had| had.seen),
            });
        }
        Ok(inputs)
    }

    fn new_links(&self, config: &Config, row: &Assignment<'_>) -> Result<Vec<Link>, AddError> {
        let mut links: Vec<Link> = Vec::new();
        for wire in row.outbound {
            let every = is_every(wire.delivery)?;
            let output = self.outputs.get(usize::from(wire.output)).ok_or(AddError::Row)?;
            let same =
                |link: &&mut Link| link.output == wire.output && link.consumer == wire.instance;
            match links.iter_mut().find(same) {
                Some(link) if link.node != wire.node => return Err(AddError::Row),
                Some(link) => link.every |= every,
                None => links.push(Link::new(config, &wire, every, output.next)),
            }
        }
        Ok(links)
    }

    /// Replaces the links. Those that stay keep their place in the stream, and what is on its way to
    /// the same node. Gives the requests that nobody waits for any more.
    fn replace_links(&mut self, mut links: Vec<Link>) -> Vec<ExchangeId> {
        let mut ended = Vec::new();
        for had in core::mem::take(&mut self.links) {
            let same = |link: &&mut Link| {
                (link.output, link.consumer, link.every) == (had.output, had.consumer, had.every)
            };
            let stays = links.iter_mut().find(same);
            if let Some(link) = stays {
                if link.node == had.node {
                    *link = had;
                    continue;
                }
                link.next = had.next;
            }
            ended.extend(had.flights.iter().map(|flight| flight.exchange));
        }
        self.links = links;
        ended
    }

    fn wire_output(&mut self, number: usize, row: &Assignment<'_>) {
        let wires = || row.outbound.iter().filter(|wire| usize::from(wire.output) == number);
        let mut links = self.links.iter().filter(|link| usize::from(link.output) == number);
        let every = links.any(|link| link.every);
        let Some(output) = self.outputs.get_mut(number) else { return };
        if every != output.every {
            // Nothing waited for a commit before, or nothing does from now on.
            output.release(output.next);
            output.exported = None;
        }
        output.every = every;
        let policies = || wires().filter(|w| w.delivery == Delivery::Every).map(|w| w.overflow);
        let has = |policy| policies().any(|found| found == policy);
        // The strictest of all wires' that share the queue.
        output.overflow = if has(Overflowing::PauseProducer) {
            Overflowing::PauseProducer
        } else if has(Overflowing::DropNewest) {
            Overflowing::DropNewest
        } else {
            Overflowing::DropOldest
        };
    }

    /// Whether no handler may begin because what it publishes might not fit.
    pub(super) fn is_paused(&self) -> bool {
        let pauses =
            |output: &Output| output.every && output.overflow == Overflowing::PauseProducer;
        self.outputs.iter().any(pauses)
            && !self.is_between()
            && !self.has_room(self.need.messages, self.need.bytes)
    }

    /// Whether some inputs have handled a message and others have not.
    pub(super) fn is_between(&self) -> bool {
        self.inbox.is_between(|stream| ports_of(&self.inputs, stream))
    }

    /// Whether the outbox has room for so much more.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.outbox.messages.saturating_add(messages) <= self.outbox_bounds.messages
            && self.outbox.bytes.saturating_add(bytes) <= self.outbox_bounds.bytes
    }

    /// Notes something that a commit has to cover.
    pub(super) fn uncover(&mut self, now: Instant) {
        if self.uncovered == 0 {
            self.uncovered_since = now;
        }
        self.uncovered = self.uncovered.saturating_add(1);
    }

    /// Forgets what no wire needs any more.
    pub(super) fn trim(&mut self) {
        for (number, output) in (0_u8..).zip(&mut self.outputs) {
            let links = self.links.iter().filter(|link| link.output == number && link.every);
            let needed = links.map(|link| link.next).min().unwrap_or(output.next);
            let freed = output.forget(needed);
            free(&mut self.outbox, freed);
        }
    }

    /// Undoes what no commit covers after a handler has failed, unless a commit is being written.
    pub(super) fn settle(&mut self) {
        if self.failing && self.pending.is_none() {
            self.roll_back();
        }
    }

    fn roll_back(&mut self) {
        let Self { inputs, inbox, outputs, outbox, .. } = self;
        inbox.roll_back(|stream| ports_of(inputs, stream));
        for output in outputs {
            free(outbox, output.roll_back());
        }
        for input in inputs {
            input.exported = None;
        }
        (self.current, self.failing, self.uncovered) = (None, false, 0);
    }

    /// Forgets everything but its inputs, by which it is known who may be told where it went.
    pub(super) fn forget(&mut self) {
        self.inbox = Inbox::default();
        self.outbox = Freed::default();
        (self.outputs, self.links, self.services) = (Vec::new(), Vec::new(), Vec::new());
        (self.current, self.pending, self.commits) = (None, None, false);
    }

    /// The input that a stream ends at.
    pub(super) fn input_mut(&mut self, stream: Stream) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|input| input.stream == stream)
    }
}

/// The inputs that a stream ends at, a bit for each.
pub(super) fn ports_of(inputs: &[Input], stream: Stream) -> u8 {
    inputs.iter().find(|input| input.stream == stream).map_or(0, |input| input.ports)
}

/// Takes from an outbox what was freed.
pub(super) fn free(outbox: &mut Freed, freed: Freed) {
    outbox.messages = outbox.messages.saturating_sub(freed.messages);
    outbox.bytes = outbox.bytes.saturating_sub(freed.bytes);
}

fn is_every(delivery: Delivery) -> Result<bool, AddError> {
    match delivery {
        Delivery::Latest => Ok(false),
        Delivery::Every => Ok(true),
        Delivery::Unknown(_) => Err(AddError::Row),
    }
}

/// What one handler may publish, and the bounds of inbox and outbox.
fn bounds(config: &Config, capsule: &Capsule<'_>) -> (Bounds, Bounds, Bounds) {
    let longest = capsule.schemas.iter().map(|schema| schema.max_payload_len()).max().unwrap_or(0);
    // Where a stream ends at several inputs, one message is handled as often.
    let times = capsule.inputs.len().max(1);
    let entries = usize::from(capsule.needs.outbox_entries).max(1).saturating_mul(times);
    // A record's byte takes two bytes of CBOR at most, and an array its head.
    let record = usize::from(capsule.needs.outbox_bytes).saturating_mul(2).saturating_mul(times);
    let most = entries.saturating_mul(longest).min(record.saturating_add(entries));
    let need = Bounds { messages: entries, bytes: most.saturating_add(entries * MESSAGE) };
    let at_least = |configured: u32, needed: usize| {
        usize::try_from(configured).unwrap_or(usize::MAX).max(needed)
    };
    let inbox = Bounds {
        messages: usize::from(config.inbox_messages).max(1),
        bytes: at_least(config.inbox_bytes, cost(longest)),
    };
    let outbox = Bounds {
        messages: usize::from(config.outbox_messages).max(need.messages),
        bytes: at_least(config.outbox_bytes, need.bytes),
    };
    (need, inbox, outbox)
}
