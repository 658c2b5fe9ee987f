//! What goes out: batches, acknowledgements, requests; and what comes back.

use super::Router;
use super::asks::decimal;
use super::instance::{Instance, State};
use super::link::{Flight, Link};
use capmesh_coap::Code;
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability, RequestError};
use capmesh_coap::message::{Message, MessageWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_wire::cbor::decode;
use capmesh_wire::message::Ack;
use capmesh_wire::{InstanceId, Instant, NodeId, Problem, Seq, content_format, limits, paths};
use core::time::Duration;

/// No-Response (RFC 7967): no response of any class is wanted.
const NO_RESPONSE: u32 = 26;

/// How long to wait when the endpoint has no room for another request.
const CROWDED: Duration = Duration::from_millis(100);

/// What an answer may take beside [`Config::ack_patience`](super::Config::ack_patience), after which the other
/// side says what it has whatever that is: three retransmissions.
const ON_THE_WAY: Duration = Duration::from_secs(20);

/// Moves that are remembered until they are told.
const MOVES: usize = 8;

/// What whoever drives a router is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The resource at this path has changed.
    Changed(&'a str),
    /// An instance that a wire leads to is or will be on another node than the plan said: there is a
    /// newer plan.
    Moved {
        /// The instance.
        instance: InstanceId,
        /// Where it is.
        to: NodeId,
    },
}

impl Router {
    /// Takes a response if it answers a request of the router's. Says whether it did.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        if self.replied(exchange, message) {
            self.dirty = true;
            return true;
        }
        let Some((at, number, flight)) = self.land(exchange) else { return false };
        let said = Said::of(&message);
        let consumer = self.link(at, number).map(|link| link.consumer);
        if let (Said::Retry(_, Some(to)), Some(consumer)) = (&said, consumer)
            && self.moved.len() < MOVES
        {
            self.moved.push_back((consumer, *to));
        }
        let (least, most) = (self.config.retry_min, self.config.retry_max);
        let Some(instance) = self.instances.get_mut(at) else { return true };
        let released = instance.released_of(number);
        let Some(link) = instance.links.get_mut(number) else { return true };
        let mut void = None;
        match said {
            Said::Acked(ack) => {
                void = link.void(flight, ack, least);
                link.acked(now, flight, ack, released, (least, most));
            }
            Said::Retry(wait, _) => link.back_off(now, wait, least, most),
            Said::Smaller => {
                link.batch_bytes = (link.batch_bytes / 2).max(SMALLEST);
                link.back_off(now, None, least, most);
            }
        }
        let below = link.next;
        let is_void = |f: &Flight| void.is_some_and(|up_to| f.sent <= up_to);
        let is_over = |f: &Flight| !f.is_skip() && (f.end <= below || is_void(f));
        let flights = &mut link.flights;
        self.cancelled.extend(flights.iter().filter(|f| is_over(f)).map(|f| f.exchange));
        flights.retain(|flight| !is_over(flight));
        instance.trim();
        true
    }

    /// Takes an outcome if it ends a request of the router's. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        if self.not_replied(outcome) {
            self.dirty = true;
            return true;
        }
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        let Some((at, number, flight)) = self.land(*exchange) else { return false };
        let (least, most) = (self.config.retry_min, self.config.retry_max);
        if let Some(link) = self.link(at, number) {
            link.skip |= flight.is_skip();
            // On a `latest` wire it is all that can be known that the message has left.
            let has_left = !link.every && matches!(outcome, Outcome::Finished { .. });
            if !has_left {
                link.back_off(now, None, least, most);
            }
        }
        true
    }

    /// Sends what there is to send, and tells what else is to be done; to be called until there is
    /// nothing. `peer` says who is behind a node's name. The work is one pass over the wires.
    pub fn poll<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) -> Option<Notice<'_>> {
        // What moves from one instance of this node to another may have more to move. That ends:
        // no handler runs meanwhile.
        while self.dirty || self.is_due(now) {
            self.dirty = false;
            for exchange in self.cancelled.drain(..) {
                out.cancel(now, exchange);
            }
            for responder in self.ignored.drain(..) {
                out.ignore(now, responder);
            }
            self.forget_released(now);
            self.give_up_late(now);
            self.poll_requests(now, out, peer);
            self.poll_links(now, out, peer);
            self.answer_held(now, out);
        }
        if let Some((instance, to)) = self.moved.pop_front() {
            return Some(Notice::Moved { instance, to });
        }
        self.notice_change(now)
    }

    /// When to poll again although nothing has happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.dirty || !self.moved.is_empty() {
            return Some(Instant::ZERO);
        }
        let changes = self.changes_timeout();
        [self.work_timeout(), changes].into_iter().flatten().min()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.work_timeout().is_some_and(|at| at <= now)
    }

    fn changes_timeout(&self) -> Option<Instant> {
        let outputs = self.instances.iter().flat_map(|instance| &instance.outputs);
        outputs.filter(|output| output.changed).map(|output| output.notify_at).min()
    }

    fn work_timeout(&self) -> Option<Instant> {
        let running = self.instances.iter().filter(|found| found.state == State::Running);
        let retries = running.flat_map(|found| &found.links).filter_map(|link| link.retry_at);
        let released = self.instances.iter().filter_map(|instance| match instance.state {
            State::Released(_, until) => Some(until),
            _ => None,
        });
        let others = [self.held_timeout(), self.requests_timeout(), self.late_timeout()];
        retries.chain(released).chain(others.into_iter().flatten()).min()
    }

    /// When the first of the batches on their way is late. Those of `latest` wires get no answer.
    fn late_timeout(&self) -> Option<Instant> {
        let links = self.instances.iter().flat_map(|instance| &instance.links);
        let flights = links.filter(|link| link.every).flat_map(|link| &link.flights);
        flights
            .map(|flight| flight.sent)
            .min()
            .map(|sent| sent + self.config.ack_patience + ON_THE_WAY)
    }

    /// Waits no longer for answers that should have come: who took these batches has lost them with its
    /// power. They go once more; who has them drops them.
    fn give_up_late(&mut self, now: Instant) {
        let Self { instances, cancelled, config, .. } = self;
        let links = instances.iter_mut().flat_map(|instance| &mut instance.links);
        for link in links.filter(|link| link.every) {
            let is_late = |f: &Flight| f.sent + config.ack_patience + ON_THE_WAY <= now;
            let late = link.flights.iter().filter(|flight| is_late(flight));
            let (count, skip) = late.fold((0, false), |(n, skip), f| {
                cancelled.push(f.exchange);
                (n + 1, skip || f.is_skip())
            });
            if count > 0 {
                link.flights.retain(|flight| !is_late(flight));
                link.skip |= skip;
                link.back_off(now, None, config.retry_min, config.retry_max);
            }
        }
    }

    fn forget_released(&mut self, now: Instant) {
        self.instances
            .retain(|found| !matches!(found.state, State::Released(_, until) if until <= now));
    }

    /// Tells of one topic that has something new, if observers may hear of it by now.
    fn notice_change(&mut self, now: Instant) -> Option<Notice<'_>> {
        let pace = self.config.pace;
        for Instance { outputs, pipeline, name, .. } in &mut self.instances {
            let due = |o: &&mut super::output::Output| o.changed && o.notify_at <= now;
            let Some(output) = outputs.iter_mut().find(due) else { continue };
            output.changed = false;
            output.notify_at = now + pace;
            self.text.clear();
            for (at, part) in [paths::TOPICS, pipeline, name, &output.name].iter().enumerate() {
                self.text.push_str(if at == 0 { "" } else { "/" });
                self.text.push_str(part);
            }
            return Some(Notice::Changed(&self.text));
        }
        None
    }

    fn poll_links<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) {
        let count = self.instances.len();
        self.turn = if self.turn + 1 < count { self.turn + 1 } else { 0 };
        for at in (self.turn..count).chain(0..self.turn) {
            let running = |i: &Instance| i.state == State::Running;
            let links = self.instances.get(at).filter(|i| running(i)).map_or(0, |i| i.links.len());
            for number in 0..links {
                let Some(link) = self.link(at, number) else { continue };
                if link.retry_at.is_some_and(|retry| retry > now) {
                    continue;
                }
                (link.retry_at, link.lost) = (None, false);
                let (node, every, output) = (link.node, link.every, link.output);
                match (node == self.own, every) {
                    (true, true) => self.hand_over(now, at, number),
                    (true, false) => self.pass_on(at, output),
                    (false, true) => while self.send_every(now, at, number, out, peer) {},
                    (false, false) => self.send_latest(now, at, number, out, peer),
                }
            }
        }
    }

    /// Sends one batch on an `every` wire, if there is one to send and room for it on the way. Returns
    /// whether there may be another.
    fn send_every<P: Copy>(
        &mut self,
        now: Instant,
        at: usize,
        number: usize,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) -> bool {
        let Some(node) = self.link(at, number).map(|link| link.node) else { return false };
        if self.flights_to(None) >= usize::from(self.config.flights)
            || self.flights_to(Some(node)) >= usize::from(self.config.window)
        {
            return false;
        }
        let Self { instances, scratch, config, .. } = self;
        let Some(instance) = instances.get_mut(at) else { return false };
        let Some((first, end)) = instance.write_batch(number, scratch) else { return false };
        let Some(link) = instance.links.get_mut(number) else { return false };
        let consumer = link.consumer;
        let sent = peer(node).ok_or(RequestError::NoAddress).and_then(|peer| {
            let reliability = Reliability::Confirmable;
            let mut build = |writer: &mut MessageWriter<'_>| write_post(writer, consumer, scratch);
            out.request(now, peer, reliability, Code::POST, &mut build)
        });
        match sent {
            Ok(exchange) => {
                link.skip &= first != end;
                link.flights.push(Flight { exchange, first, end, sent: now });
                return true;
            }
            Err(RequestError::Full) => link.retry_at = Some(now + CROWDED),
            Err(RequestError::Overflow) if link.batch_bytes > SMALLEST => {
                link.batch_bytes = (link.batch_bytes / 2).max(SMALLEST);
                return true;
            }
            Err(error) => {
                link.lost = error == RequestError::NoAddress;
                link.back_off(now, None, config.retry_min, config.retry_max);
            }
        }
        false
    }

    /// Sends the newest message on a `latest` wire, if its pace allows it and the one before has left: to a
    /// node that is not there each waits in the endpoint for a session, and would take the room of others.
    fn send_latest<P: Copy>(
        &mut self,
        now: Instant,
        at: usize,
        number: usize,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) {
        let Self { instances, scratch, config, .. } = self;
        let Some(instance) = instances.get_mut(at) else { return };
        let Some(seq) = instance.newest_for(number) else { return };
        let Some(link) = instance.links.get_mut(number) else { return };
        if !link.flights.is_empty() {
            return;
        }
        if let Err(later) = link.pace.take(now, config.burst, config.pace) {
            link.retry_at = Some(later);
            return;
        }
        let (output, consumer, node) = (link.output, link.consumer, link.node);
        if instance.write_newest(output, scratch).is_none() {
            return;
        }
        let Some(link) = instance.links.get_mut(number) else { return };
        let sent = peer(node).ok_or(RequestError::NoAddress).and_then(|peer| {
            let reliability = Reliability::NonConfirmable;
            let mut build = |writer: &mut MessageWriter<'_>| {
                write_head(writer, consumer)?;
                writer.option_uint(OptionNumber::NO_RESPONSE, NO_RESPONSE)?;
                writer.payload(scratch)?;
                Ok(())
            };
            out.request(now, peer, reliability, Code::POST, &mut build)
        });
        match sent {
            Ok(exchange) => {
                link.flights.push(Flight { exchange, first: seq, end: seq.next(), sent: now });
                link.next = seq.next();
                link.go_on();
            }
            Err(RequestError::Full) => link.retry_at = Some(now + CROWDED),
            Err(error) => {
                link.lost = error == RequestError::NoAddress;
                link.back_off(now, None, config.retry_min, config.retry_max);
            }
        }
    }

    pub(super) fn link(&mut self, at: usize, number: usize) -> Option<&mut Link> {
        self.instances.get_mut(at)?.links.get_mut(number)
    }

    /// How many batches of `every` wires are on their way, to one node or in all.
    fn flights_to(&self, node: Option<NodeId>) -> usize {
        let links = self.instances.iter().flat_map(|instance| &instance.links);
        let meant = links.filter(|link| link.every && node.is_none_or(|node| link.node == node));
        meant.map(|link| link.flights.len()).sum()
    }

    /// Takes a request out of those that are on their way: its instance and link.
    fn land(&mut self, exchange: ExchangeId) -> Option<(usize, usize, Flight)> {
        for (at, instance) in self.instances.iter_mut().enumerate() {
            for (number, link) in instance.links.iter_mut().enumerate() {
                let found = link.flights.iter().position(|flight| flight.exchange == exchange);
                if let Some(found) = found {
                    self.dirty = true;
                    return Some((at, number, link.flights.swap_remove(found)));
                }
            }
        }
        None
    }
}

/// The least bytes of a batch: a message of the longest payload and all around it.
pub(super) const SMALLEST: u16 = 592;

const _: () = assert!(limits::PAYLOAD + 80 <= SMALLEST as usize);

/// Path and format of a batch for an instance.
fn write_head(
    writer: &mut MessageWriter<'_>,
    consumer: InstanceId,
) -> Result<(), capmesh_coap::message::Overflow> {
    let mut text = [0; 10];
    writer.path(paths::INBOX)?.path(decimal(consumer.0, &mut text))?;
    writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into())?;
    Ok(())
}

fn write_post(
    writer: &mut MessageWriter<'_>,
    consumer: InstanceId,
    batch: &[u8],
) -> Result<(), capmesh_coap::message::Overflow> {
    write_head(writer, consumer)?;
    writer.payload(batch)?;
    Ok(())
}

/// What a response to a batch says.
enum Said {
    Acked(Ack),
    /// Not now, in so long if it said so, and elsewhere if it said so.
    Retry(Option<Duration>, Option<NodeId>),
    /// Not so much at once.
    Smaller,
}

impl Said {
    fn of(message: &Message<'_>) -> Self {
        if message.code().is_success() {
            return decode(message.payload()).map_or(Self::Retry(None, None), Self::Acked);
        }
        if message.code() == Code::REQUEST_ENTITY_TOO_LARGE {
            return Self::Smaller;
        }
        let problem = decode::<Problem<'_>>(message.payload()).ok();
        let millis = problem.and_then(|problem| problem.retry_ms).map(u64::from);
        let max_age = || message.option_uint(OptionNumber::MAX_AGE).map(|s| u64::from(s) * 1_000);
        let unavailable = message.code() == Code::SERVICE_UNAVAILABLE;
        let wait = millis.or_else(max_age).filter(|_| unavailable).map(Duration::from_millis);
        Self::Retry(wait, problem.and_then(|problem| problem.moved_to))
    }
}

impl Link {
    /// Up to when requests were sent that the other side has nothing of, as an acknowledgement shows: it has
    /// begun anew since, and their answers may be lost for good. What they brought goes once more; who has
    /// had it after all drops it.
    fn void(&self, flight: Flight, ack: Ack, least: Duration) -> Option<Instant> {
        if ack.next != self.next {
            return None;
        }
        if flight.is_skip() {
            // It goes on from where it was told to.
            return Some(flight.sent);
        }
        // What was sent shortly before may have been overtaken.
        let before = flight.sent.as_micros().checked_sub(least.as_micros().try_into().ok()?)?;
        (self.next < flight.first).then_some(Instant::from_micros(before))
    }

    /// Takes an acknowledgement of a batch.
    fn acked(
        &mut self,
        now: Instant,
        flight: Flight,
        ack: Ack,
        released: Seq,
        (least, most): (Duration, Duration),
    ) {
        // Nobody can have had what was not sent.
        let next = ack.next.min(released);
        self.room = ack.room;
        if next > self.next {
            self.next = next;
            self.go_on();
            if ack.room == 0 {
                self.retry_at = Some(now + least);
            }
        } else if flight.is_skip() && next == self.next {
            self.retry_at = None;
        } else if next < self.next && !flight.is_skip() && self.failures == 0 {
            // What it wants is gone.
            self.skip = true;
            self.failures = 1;
        } else {
            self.skip |= next < self.next && !flight.is_skip();
            self.back_off(now, None, least, most);
        }
    }
}
