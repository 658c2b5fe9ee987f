//! What instances see of the router: events to handle, and what handlers leave.

use super::inbox::Entry;
use super::instance::{Current, Instance, State, free};
use super::output::Stored;
use super::{JUMP, Router};
use crate::trace::Promise;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::Stream;
use capmesh_wire::plan::Overflowing;
use capmesh_wire::{Epoch, InstanceId, Instant, Payload, SchemaTag, Seq};
use core::fmt;

/// Something for an instance to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message, which fits the input's schema.
    Message {
        /// The number of the input.
        input: u8,
        /// Whose it is.
        stream: Stream,
        /// Its number in the stream.
        seq: Seq,
        /// When it was sampled.
        sampled: Timestamp,
        /// Its value.
        payload: Payload<'a>,
        /// Whether it came on an `every` wire.
        every: bool,
    },
    /// Somebody asks; to be answered with [`Router::respond`].
    Request {
        /// The number of the capsule's service.
        service: u8,
        /// The CoAP method.
        method: u8,
        /// What was sent: a payload that fits the service's schema, or nothing if it has none.
        payload: &'a [u8],
    },
    /// The reply to a request of the instance's.
    Reply {
        /// The number that the request was made with.
        number: u32,
        /// The CoAP code of the response, 0 if none came.
        status: u8,
        /// What the response carried, of whatever format.
        payload: &'a [u8],
    },
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishError {
    /// There is no such instance or output.
    Unknown,
    /// It does not fit the output's schema.
    Schema,
    /// The outbox is full, and the wire's policy spares what is in it.
    Full,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no such output",
            Self::Schema => "the message does not fit the output's schema",
            Self::Full => "the outbox is full",
        })
    }
}

impl core::error::Error for PublishError {}

/// What became of a message that came for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is in the inbox.
    Taken,
    /// It was there before, or is older than one that was.
    Had,
    /// Messages before it are missing.
    Gap,
    /// There is no room.
    Full,
    /// It does not fit its schema. It was passed over.
    Unfit,
}

/// A message on its way into an inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    pub(super) stream: Stream,
    pub(super) seq: Seq,
    pub(super) sampled: Timestamp,
    pub(super) payload: Payload<'a>,
    pub(super) arrived: u64,
}

impl Router {
    /// Whether [`Router::next`] would give something.
    #[must_use]
    pub fn has_event(&self, instance: InstanceId) -> bool {
        let found = self.index(instance).and_then(|at| self.instances.get(at));
        found.is_some_and(|found| {
            found.is_ready()
                && (found.inbox.unhandled().next().is_some()
                    || self.first_served(instance).is_some()
                    || self.first_reply(instance).is_some())
        })
    }

    /// Whether an instance must not begin a handler, be it for a timer or a sample, because what it
    /// publishes might not fit its outbox, and its wires say that it is to wait then.
    #[must_use]
    pub fn is_paused(&self, instance: InstanceId) -> bool {
        let found = self.index(instance).and_then(|at| self.instances.get(at));
        found.is_some_and(Instance::is_paused)
    }

    /// What an instance is to handle next, in the order in which it came. The next one comes after
    /// [`Router::handled`] or [`Router::failed`]. `None` if there is nothing, or if it is paused or not
    /// running.
    pub fn next(&mut self, instance: InstanceId) -> Option<Event<'_>> {
        let at = self.index(instance)?;
        let served = self.first_served(instance);
        let reply = self.first_reply(instance);
        let found = self.instances.get_mut(at)?;
        if !found.is_ready() {
            return None;
        }
        let message = found.inbox.first().map(|entry| entry.arrived);
        let message = if found.is_between() { Some(0) } else { message };
        let least = |a: Option<u64>, b: Option<u64>| a.is_some_and(|a| b.is_none_or(|b| a < b));
        let (request, answer) =
            (served.map(|(arrived, _)| arrived), reply.map(|(arrived, _)| arrived));
        if least(message, request) && least(message, answer) {
            return self.instances.get_mut(at)?.next_message();
        }
        match (served, reply) {
            (Some((_, key)), _) if least(request, answer) => {
                self.instances.get_mut(at)?.current = Some(Current::Request(key));
                self.served_event(key)
            }
            (_, Some((_, number))) => {
                self.instances.get_mut(at)?.current = Some(Current::Reply(number));
                self.reply_event(instance, number)
            }
            _ => None,
        }
    }

    /// Says that the event that [`Router::next`] gave has been handled: everything that its handler
    /// left has been published, asked and answered before.
    pub fn handled(&mut self, now: Instant, instance: InstanceId) {
        let Some(at) = self.index(instance) else { return };
        let Some(found) = self.instances.get_mut(at) else { return };
        match found.current.take() {
            Some(Current::Message(port)) => {
                let every = found.inbox.first().is_some_and(|entry| entry.every);
                found.inbox.handled(port);
                found.counters.handled = found.counters.handled.saturating_add(1);
                if every {
                    found.uncover(now);
                }
            }
            Some(Current::Request(key)) => self.finish_served(key),
            Some(Current::Reply(number)) => self.forget_ask(instance, number),
            None => return,
        }
        self.dirty = true;
    }

    /// Says that a handler failed. If it was one for an event that [`Router::next`] gave, this event
    /// is not given again. Everything that no commit covers is undone: the instance is to be restored
    /// from its last commit, or started afresh if there is none, and is given again what it handled
    /// since. If a commit is being written, that is the last one: nothing is given before it is, and
    /// the instance is to be restored after that.
    pub fn failed(&mut self, instance: InstanceId) {
        let Some(at) = self.index(instance) else { return };
        let Some(found) = self.instances.get_mut(at) else { return };
        match found.current.take() {
            Some(Current::Message(_)) => {
                found.inbox.fail();
                found.counters.handled = found.counters.handled.saturating_add(1);
            }
            Some(Current::Request(key)) => self.fail_served(key),
            Some(Current::Reply(_)) | None => {}
        }
        self.forget_asks(instance);
        if let Some(found) = self.instances.get_mut(at) {
            found.failing = true;
            found.settle();
        }
        self.dirty = true;
    }

    /// Publishes a message on an output, as part of what a handler leaves, and gives its number. The
    /// work is one pass over the payload.
    ///
    /// # Errors
    /// [`PublishError`]; the message is counted as dropped, or refused if it does not fit.
    pub fn publish(
        &mut self,
        now: Instant,
        instance: InstanceId,
        output: u8,
        sampled: Timestamp,
        payload: Payload<'_>,
    ) -> Result<Seq, PublishError> {
        let at = self.index(instance).ok_or(PublishError::Unknown)?;
        let found = self.instances.get_mut(at).ok_or(PublishError::Unknown)?;
        let number = usize::from(output);
        let port = found.outputs.get_mut(number).ok_or(PublishError::Unknown)?;
        if !found.shapes.get(port.shape).is_some_and(|shape| shape.fits(payload)) {
            self.stats.refused = self.stats.refused.saturating_add(1);
            return Err(PublishError::Schema);
        }
        let (seq, every) = (port.next, port.every);
        let stored = Stored::new(seq, sampled, payload);
        if every {
            found.store(now, number, stored)?;
        } else {
            port.next = seq.next();
            port.released = port.next;
            port.changed = true;
            port.newest = Some(stored);
        }
        found.counters.published = found.counters.published.saturating_add(1);
        self.dirty = true;
        if !every {
            self.pass_on(at, output);
        }
        Ok(seq)
    }

    /// What the wires promise that begin at an output.
    pub(crate) fn promise(&self, instance: InstanceId, output: u8) -> Promise {
        let found = self.index(instance).and_then(|at| self.instances.get(at));
        match found.and_then(|found| found.outputs.get(usize::from(output))) {
            Some(output) if !output.every => Promise::Latest,
            Some(output) if output.overflow == Overflowing::PauseProducer => Promise::Every,
            Some(_) => Promise::EveryThatFits,
            None => Promise::Latest,
        }
    }

    /// Gives a message to an instance, if it is the one that comes next.
    pub(super) fn offer(&mut self, at: usize, offer: Offer<'_>) -> Offered {
        let Some(found) = self.instances.get_mut(at) else { return Offered::Had };
        let offered = found.offer(offer);
        let count = match offered {
            Offered::Had => &mut self.stats.repeated,
            Offered::Gap => &mut self.stats.gaps,
            Offered::Unfit => &mut self.stats.refused,
            Offered::Taken | Offered::Full => return offered,
        };
        *count = count.saturating_add(1);
        offered
    }
}

impl Instance {
    fn is_ready(&self) -> bool {
        self.state == State::Running && self.current.is_none() && !self.failing && !self.is_paused()
    }

    /// The first message, for the first of its inputs.
    fn next_message(&mut self) -> Option<Event<'_>> {
        let entry = self.inbox.first()?;
        let (stream, seq, sampled, every) = (entry.stream, entry.seq, entry.sampled, entry.every);
        let input = u8::try_from(entry.ports.trailing_zeros()).ok()?;
        let payload = Payload::new(&entry.payload).ok()?;
        self.current = Some(Current::Message(input));
        Some(Event::Message { input, stream, seq, sampled, payload, every })
    }

    /// Puts a message for `every` wires into the outbox, if need be at the cost of others.
    fn store(&mut self, now: Instant, number: usize, stored: Stored) -> Result<(), PublishError> {
        let cost = stored.cost();
        while !self.has_room(1, cost) {
            let Some(output) = self.outputs.get_mut(number) else { break };
            let drops_oldest = output.overflow == Overflowing::DropOldest;
            let freed = if drops_oldest { output.drop_oldest() } else { Default::default() };
            self.counters.dropped = self.counters.dropped.saturating_add(1);
            if freed.messages == 0 {
                return Err(PublishError::Full);
            }
            let oldest = output.oldest();
            free(&mut self.outbox, freed);
            let links = self.links.iter_mut().filter(|link| usize::from(link.output) == number);
            for link in links.filter(|link| link.every) {
                link.next = link.next.max(oldest);
            }
        }
        let Some(output) = self.outputs.get_mut(number) else { return Err(PublishError::Unknown) };
        output.push(stored);
        self.outbox.messages += 1;
        self.outbox.bytes = self.outbox.bytes.saturating_add(cost);
        self.uncover(now);
        Ok(())
    }

    /// Says whether messages of this epoch and schema may come on a stream, and remembers the epoch.
    ///
    /// # Errors
    /// Whether the epoch is older than one seen, or the schema another.
    pub(super) fn admit(
        &mut self,
        stream: Stream,
        epoch: Epoch,
        schema: SchemaTag,
    ) -> Result<(), Unwelcome> {
        let Self { inputs, shapes, .. } = self;
        let input = inputs.iter_mut().find(|input| input.stream == stream);
        let input = input.ok_or(Unwelcome::Schema)?;
        if epoch < input.epoch {
            return Err(Unwelcome::Epoch);
        }
        if shapes.get(input.shape).is_none_or(|shape| shape.tag != schema) {
            return Err(Unwelcome::Schema);
        }
        input.epoch = epoch;
        Ok(())
    }

    fn offer(&mut self, offer: Offer<'_>) -> Offered {
        let busy = matches!(self.current, Some(Current::Message(_)));
        let Self { inputs, inbox, shapes, counters, .. } = self;
        let input = inputs.iter_mut().find(|input| input.stream == offer.stream);
        let Some(input) = input else { return Offered::Had };
        if offer.seq < input.next {
            return Offered::Had;
        }
        if input.every && offer.seq > input.next {
            return Offered::Gap;
        }
        let len = offer.payload.as_bytes().len();
        let fits = shapes.get(input.shape).is_some_and(|shape| shape.fits(offer.payload));
        if fits && input.every && !inbox.has_room(self.inbox_bounds, len) {
            return Offered::Full;
        }
        let missed = offer.seq.0 - input.next.0;
        if input.seen && missed < JUMP {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            counters.dropped = counters.dropped.saturating_add(missed);
        }
        (input.next, input.seen) = (offer.seq.next(), true);
        if !fits {
            return Offered::Unfit;
        }
        while !inbox.has_room(self.inbox_bounds, len) {
            counters.dropped = counters.dropped.saturating_add(1);
            if !inbox.evict(busy) {
                return Offered::Full;
            }
        }
        inbox.push(Entry {
            stream: offer.stream,
            seq: offer.seq,
            sampled: offer.sampled,
            ports: input.ports,
            every: input.every,
            failed: false,
            arrived: offer.arrived,
            payload: offer.payload.as_bytes().into(),
        });
        Offered::Taken
    }
}

/// Why messages may not come on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwelcome {
    /// Their epoch is older than one that was seen.
    Epoch,
    /// They are of another schema.
    Schema,
}
