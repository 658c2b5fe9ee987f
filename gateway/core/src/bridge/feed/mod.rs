//! Wires that enter the mesh.

mod one;
mod send;

use super::Incoming;
use super::cursor::Cursor;
use super::requests::Arrival;
use super::topics::Topics;
use crate::api::{MqttView, TopicView};
use crate::store::{Key, Store, Table};
use capmesh_coap::endpoint::{ExchangeId, Outcome};
use capmesh_coap::message::Message;
use capmesh_coap::server::Outbox;
use capmesh_wire::message::Stream;
use capmesh_wire::{InstanceId, Instant, NodeId, Seq};
use one::{Feed, Stored};
use send::Said;
use std::collections::{BTreeMap, VecDeque};

/// Batches on their way to nodes: exchanges that the endpoint can spare.
const FLIGHTS: usize = 64;

/// All wires that enter the mesh.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    feeds: BTreeMap<Stream, Feed>,
    /// What was durable, of streams that no wire has named yet.
    restored: BTreeMap<Stream, Restored>,
    /// The feeds of each topic.
    by_topic: BTreeMap<String, Vec<Stream>>,
    /// Which feed and which of its ends a request is of.
    flights: BTreeMap<ExchangeId, (Stream, InstanceId)>,
    /// Whether something may be sent that could not be before.
    dirty: bool,
}

/// What was durable of a stream.
#[derive(Debug, Default)]
pub(super) struct Restored {
    head: Option<Cursor>,
    queue: VecDeque<Stored>,
}

/// The key of a stream's head: instance, output.
fn head_key(stream: Stream) -> Key {
    let bytes = stream.instance.0.to_be_bytes().into_iter().chain([stream.output]);
    Key::new(Table::Streams, bytes.collect::<Vec<_>>())
}

/// The key of a message: that of its stream's head, and its number.
fn message_key(stream: Stream, seq: Seq) -> Key {
    let mut key = head_key(stream);
    key.bytes.extend(seq.0.to_be_bytes());
    key
}

fn parse_key(bytes: &[u8]) -> Option<(Stream, Option<Seq>)> {
    let (instance, rest) = bytes.split_first_chunk()?;
    let (output, rest) = rest.split_first()?;
    let stream = Stream { instance: InstanceId(u32::from_be_bytes(*instance)), output: *output };
    match rest {
        [] => Some((stream, None)),
        seq => Some((stream, Some(Seq(u64::from_be_bytes(seq.try_into().ok()?))))),
    }
}

/// Deletes a stream and what waits in it.
fn forget(stream: Stream, queue: &VecDeque<Stored>, store: &mut Store) {
    store.delete(head_key(stream));
    for stored in queue {
        store.delete(message_key(stream, stored.seq));
    }
}

impl Feeds {
    pub(super) fn new(state: &BTreeMap<Key, Vec<u8>>) -> Self {
        let mut restored: BTreeMap<Stream, Restored> = BTreeMap::new();
        for (key, value) in state.iter().filter(|(key, _)| key.table == Table::Streams) {
            let Some((stream, seq)) = parse_key(&key.bytes) else { continue };
            let stream = restored.entry(stream).or_default();
            match seq {
                None => stream.head = Cursor::from_bytes(value),
                // The keys come in the order of the numbers.
                Some(seq) => stream.queue.extend(Stored::from_bytes(seq, value)),
            }
        }
        Self { restored, ..Self::default() }
    }

    /// Takes other wires.
    pub(super) fn set(
        &mut self,
        wires: Vec<Incoming>,
        topics: &Topics,
        batch_bytes: u16,
        store: &mut Store,
    ) {
        let mut before = core::mem::take(&mut self.feeds);
        self.by_topic.clear();
        for wire in wires {
            let stream = wire.stream;
            let sets = wire.consumers.iter().map(|end| topics.set(&end.place, &end.input));
            for topic in sets.chain([wire.topic.clone()]) {
                self.by_topic.entry(topic).or_default().push(stream);
            }
            let feed = match before.remove(&stream) {
                Some(feed) => feed.rewired(wire, batch_bytes),
                None => {
                    let restored = self.restored.remove(&stream).unwrap_or_default();
                    Feed::new(wire, batch_bytes, restored.head, restored.queue)
                }
            };
            if let Some(feed) = feed {
                self.feeds.insert(stream, feed);
            }
        }
        for (stream, feed) in before {
            forget(stream, &feed.queue, store);
        }
        for (stream, restored) in core::mem::take(&mut self.restored) {
            forget(stream, &restored.queue, store);
        }
        self.dirty = true;
    }

    /// The topics to be subscribed.
    pub(super) fn filters(&self) -> impl Iterator<Item = String> {
        self.by_topic.keys().cloned()
    }

    /// A message has come on a topic; whether any wire begins there is seen here.
    pub(super) fn arrive(
        &mut self,
        wall: Option<u64>,
        arrival: &Arrival<'_>,
        counters: &mut MqttView,
        store: &mut Store,
    ) {
        for stream in self.by_topic.get(arrival.topic).into_iter().flatten() {
            let Some(feed) = self.feeds.get_mut(stream) else { continue };
            if feed.take(wall, arrival.payload, store) {
                counters.taken = counters.taken.saturating_add(1);
                self.dirty = true;
            } else {
                counters.refused = counters.refused.saturating_add(1);
            }
        }
    }

    /// Takes a response if it answers a batch. Says whether it did.
    pub(super) fn response(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        message: &Message<'_>,
        store: &mut Store,
    ) -> bool {
        let Some((stream, consumer)) = self.flights.remove(&exchange) else { return false };
        self.dirty = true;
        if let Some(feed) = self.feeds.get_mut(&stream) {
            feed.landed(now, consumer, exchange, Some(Said::of(message)), store);
        }
        true
    }

    /// Takes an outcome if it ends a request of a feed's. Says whether it did.
    pub(super) fn outcome(&mut self, now: Instant, outcome: &Outcome, store: &mut Store) -> bool {
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        let Some((stream, consumer)) = self.flights.remove(exchange) else { return false };
        self.dirty = true;
        if let Some(feed) = self.feeds.get_mut(&stream) {
            feed.landed(now, consumer, *exchange, None, store);
        }
        true
    }

    /// Sends what can be sent. The work is one pass over the wires, if anything has changed since the last
    /// one or something is due.
    pub(super) fn send<P: Copy>(
        &mut self,
        now: Instant,
        store: &Store,
        link: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) {
        let is_due = self.retry_timeout().is_some_and(|at| at <= now);
        let is_covered = self.feeds.values().any(|feed| feed.is_covered(store));
        if !(self.dirty || is_due || is_covered) {
            return;
        }
        self.dirty = false;
        for feed in self.feeds.values_mut() {
            feed.send(now, store, link, peer, &mut self.flights);
        }
    }

    fn retry_timeout(&self) -> Option<Instant> {
        self.feeds.values().filter_map(Feed::poll_timeout).min()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.dirty { Some(Instant::ZERO) } else { self.retry_timeout() }
    }

    pub(super) fn views(&self, topics: &Topics) -> impl Iterator<Item = TopicView> {
        self.feeds.values().flat_map(|feed| feed.views(topics))
    }
}

impl super::Bridge {
    /// Takes a response if it answers a batch of the bridge's. Says whether it did.
    pub fn response(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        message: &Message<'_>,
        store: &mut Store,
    ) -> bool {
        self.feeds.response(now, exchange, message, store)
    }

    /// Takes an outcome if it ends a request of the bridge's. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome, store: &mut Store) -> bool {
        self.feeds.outcome(now, outcome, store)
    }
}
