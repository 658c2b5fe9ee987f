//! One wire that enters the mesh: batches to nodes, and what they say to them.

use super::one::{Feed, Stored};
use crate::store::Store;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{ExchangeId, Reliability, RequestError};
use capmesh_coap::message::{Message, MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_wire::cbor::{Writer, decode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::{
    Epoch, ErrorCode, InstanceId, Instant, List, NodeId, Problem, Seq, content_format, limits,
    paths,
};
use core::time::Duration;
use std::collections::BTreeMap;

/// No-Response (RFC 7967): no response of any class is wanted.
const NO_RESPONSE: u32 = 26;

/// How long to wait when the endpoint has no room for another request.
const CROWDED: Duration = Duration::from_millis(100);

/// The first wait before something is tried again; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// The longest wait before something is tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The least bytes of a batch: a message of the longest payload and all around it.
const SMALLEST: u16 = 592;

/// One of the ends of a wire.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) consumer: InstanceId,
    pub(super) node: NodeId,
    /// The first message that is still needed: not acknowledged, or (`latest`) not sent.
    pub(super) next: Seq,
    /// Whether the other side has to be told that there is nothing before `next`.
    pub(super) skip: bool,
    /// Whether it is not known yet that the other side knows no more of the stream than this one.
    pub(super) probe: bool,
    /// How many messages the other side had room for.
    room: u16,
    /// What is on its way, and whether it says that there is nothing before it.
    flight: Option<(ExchangeId, bool)>,
    failures: u8,
    pub(super) retry_at: Option<Instant>,
    batch_bytes: u16,
}

/// What a response to a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Acked(Ack),
    /// Not now; in so long, if it said so.
    Retry(Option<Duration>),
    /// Not so much at once.
    Smaller,
    /// Not with this epoch.
    Stale,
}

impl Said {
    pub(super) fn of(message: &Message<'_>) -> Self {
        if message.code().is_success() {
            return decode(message.payload()).map_or(Self::Retry(None), Self::Acked);
        }
        if message.code() == Code::REQUEST_ENTITY_TOO_LARGE {
            return Self::Smaller;
        }
        let problem = decode::<Problem<'_>>(message.payload()).ok();
        if problem.is_some_and(|problem| problem.code == ErrorCode::StaleEpoch) {
            return Self::Stale;
        }
        let unavailable = message.code() == Code::SERVICE_UNAVAILABLE;
        let millis = problem.and_then(|problem| problem.retry_ms).filter(|_| unavailable);
        Self::Retry(millis.map(|millis| Duration::from_millis(millis.into())))
    }
}

impl Link {
    pub(super) const fn new(
        consumer: InstanceId,
        node: NodeId,
        next: Seq,
        probe: bool,
        batch_bytes: u16,
    ) -> Self {
        Self {
            consumer,
            node,
            next,
            skip: probe,
            probe,
            room: u16::MAX,
            flight: None,
            failures: 0,
            retry_at: None,
            batch_bytes,
        }
    }

    fn back_off(&mut self, now: Instant, said: Option<Duration>) {
        let doubled = RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        let wait = said.map_or(doubled, |said| said.clamp(RETRY_MIN, RETRY_MAX));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }
}

impl Feed {
    /// A request has ended: with what was said, if anything was.
    pub(super) fn landed(
        &mut self,
        now: Instant,
        consumer: InstanceId,
        exchange: ExchangeId,
        said: Option<Said>,
        store: &mut Store,
    ) {
        let Some(link) = self.links.iter_mut().find(|link| link.consumer == consumer) else {
            return;
        };
        let Some((_, was_skip)) = link.flight.take_if(|flight| flight.0 == exchange) else {
            return;
        };
        match said {
            None => {
                link.skip |= was_skip;
                link.back_off(now, None);
            }
            Some(Said::Retry(wait)) => {
                link.skip |= was_skip;
                link.back_off(now, wait);
            }
            Some(Said::Smaller) => {
                link.batch_bytes = (link.batch_bytes / 2).max(SMALLEST);
                link.back_off(now, None);
            }
            Some(Said::Stale) => {
                link.back_off(now, None);
                let (epoch, next) = (self.epoch, self.next);
                self.catch_up(epoch, next, store);
            }
            Some(Said::Acked(ack)) => {
                let is_probe = core::mem::take(&mut link.probe);
                link.room = ack.room;
                // Nobody can have had what was not sent.
                if ack.next > self.next || is_probe && ack.next > link.next {
                    self.catch_up(ack.epoch, ack.next, store);
                } else if ack.next > link.next || (was_skip && ack.next == link.next) {
                    (link.next, link.failures) = (ack.next, 0);
                    link.retry_at = if ack.room == 0 { Some(now + RETRY_MIN) } else { None };
                } else {
                    // What it wants is gone, or it wants nothing now.
                    link.skip |= ack.next < link.next;
                    link.back_off(now, None);
                }
            }
        }
        if self.head.is_none() && self.links.iter().any(|link| !link.probe) {
            self.head = Some(self.put_head(store));
            self.uncovered = true;
        }
        self.trim(store);
    }

    /// Sends to each end what it needs and what is durable: one batch at a time.
    pub(super) fn send<P: Copy>(
        &mut self,
        now: Instant,
        store: &Store,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
        flights: &mut BTreeMap<ExchangeId, (Stream, InstanceId)>,
    ) {
        let tokens = self.queue.iter().map(|stored| stored.token).chain(self.head);
        self.uncovered = tokens.into_iter().any(|token| !store.is_durable(token));
        let (every, oldest, stream) = (self.is_every(), self.oldest(), self.wire.stream);
        let mut buf = Vec::new();
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else { break };
            let is_waiting = link.retry_at.is_some_and(|retry| retry > now);
            if is_waiting || link.flight.is_some() {
                continue;
            }
            link.retry_at = None;
            let skip = every && link.skip;
            let may_send = !every || self.head.is_some_and(|head| store.is_durable(head));
            if !skip && !may_send {
                continue;
            }
            let (first, most) = (link.next.max(oldest), usize::from(link.room.max(1)));
            let (consumer, node, bytes) = (link.consumer, link.node, link.batch_bytes);
            let most = if skip { 0 } else { most.min(limits::BATCH) };
            let end = self.write(first, most, bytes, store, &mut buf);
            let Some(end) = end.filter(|end| skip || *end > first) else { continue };
            let full = flights.len() >= super::FLIGHTS && every;
            let sent = match peer(node) {
                _ if full => Err(RequestError::Full),
                None => Err(RequestError::NoAddress),
                Some(peer) => post(now, out, peer, consumer, every, &buf),
            };
            let Some(link) = self.links.get_mut(at) else { break };
            match sent {
                Ok(exchange) if every => {
                    link.flight = Some((exchange, skip));
                    link.skip = false;
                    flights.insert(exchange, (stream, consumer));
                }
                Ok(_) => link.next = end,
                Err(RequestError::Full) => link.retry_at = Some(now + CROWDED),
                Err(RequestError::Overflow) if link.batch_bytes > SMALLEST => {
                    link.batch_bytes = (link.batch_bytes / 2).max(SMALLEST);
                    link.retry_at = Some(now);
                }
                Err(_) => link.back_off(now, None),
            }
        }
    }

    /// Writes a batch of at most `most` messages from `first` on that are durable. Gives the number after
    /// the last one.
    fn write(
        &self,
        first: Seq,
        most: usize,
        bytes: u16,
        store: &Store,
        buf: &mut Vec<u8>,
    ) -> Option<Seq> {
        let ready = |stored: &&Stored| store.is_durable(stored.token);
        let messages = self.queue.iter().skip_while(|stored| stored.seq < first);
        let messages = messages.take(most).take_while(ready);
        let nothing = Timestamp { micros: 0, uncertainty: None };
        let start = messages.clone().next().map_or(nothing, |stored| stored.sampled);
        buf.resize(usize::from(bytes), 0);
        let mut writer = Writer::new(buf);
        let (stream, epoch, schema): (_, Epoch, _) = (self.wire.stream, self.epoch, self.tag);
        let head = Batch { stream, epoch, first, schema, start, messages: List::EMPTY };
        let mut batch = BatchWriter::new(&head, &mut writer).ok()?;
        let (mut end, mut last) = (first, start.micros);
        for stored in messages {
            let after = stored.sampled.micros.checked_sub(last);
            let after = after.and_then(|after| u32::try_from(after).ok());
            let goes = stored.seq == end
                && stored.sampled.uncertainty.is_some() == start.uncertainty.is_some();
            let (Some(after), true, Some(payload)) = (after, goes, stored.payload()) else { break };
            if batch.push(after, payload).is_err() {
                break;
            }
            (end, last) = (end.next(), stored.sampled.micros);
        }
        let len = writer.len();
        buf.truncate(len);
        Some(end)
    }
}

fn post<P>(
    now: Instant,
    out: &mut dyn Outbox<P>,
    peer: P,
    consumer: InstanceId,
    every: bool,
    batch: &[u8],
) -> Result<ExchangeId, RequestError> {
    let number = consumer.0.to_string();
    let mut build = |writer: &mut MessageWriter<'_>| -> Result<(), Overflow> {
        writer.path(paths::INBOX)?.path(&number)?;
        writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into())?;
        if !every {
            writer.option_uint(OptionNumber::NO_RESPONSE, NO_RESPONSE)?;
        }
        writer.payload(batch)?;
        Ok(())
    };
    let reliability = if every { Reliability::Confirmable } else { Reliability::NonConfirmable };
    out.request(now, peer, reliability, Code::POST, &mut build)
}
