//! One wire that enters the mesh: what arrives, and what waits.

use super::super::tap::schema_view;
use super::super::topics::Topics;
use super::super::{FEED, Incoming, json};
use super::send::Link;
use super::{Cursor, head_key, message_key};
use crate::api::{Direction, TopicView};
use crate::io::Token;
use crate::store::Store;
use capmesh_wire::cbor::{Writer, decode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::plan::Delivery;
use capmesh_wire::{Epoch, Instant, Payload, Schema, SchemaTag, Seq, limits};
use std::collections::VecDeque;

/// Numbers of a `latest` wire are reserved so many at a time, since each costs a durable write.
const RESERVED: u64 = 1_024;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) seq: Seq,
    pub(super) sampled: Timestamp,
    pub(super) payload: Box<[u8]>,
    /// The commit after which it may be sent.
    pub(super) token: Token,
}

impl Stored {
    /// Time, uncertainty (all ones if there is none) and payload behind one another.
    fn to_bytes(&self) -> Vec<u8> {
        let uncertainty = self.sampled.uncertainty.unwrap_or(u32::MAX);
        let mut bytes = self.sampled.micros.to_be_bytes().to_vec();
        bytes.extend(uncertainty.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    pub(super) fn from_bytes(seq: Seq, bytes: &[u8]) -> Option<Self> {
        let (micros, rest) = bytes.split_first_chunk()?;
        let (uncertainty, payload) = rest.split_first_chunk()?;
        let uncertainty = Some(u32::from_be_bytes(*uncertainty)).filter(|it| *it != u32::MAX);
        let sampled = Timestamp { micros: u64::from_be_bytes(*micros), uncertainty };
        Payload::new(payload).ok()?;
        Some(Self { seq, sampled, payload: payload.into(), token: Token(0) })
    }

    /// `None` never: only payloads are stored.
    pub(super) fn payload(&self) -> Option<Payload<'_>> {
        Payload::new(&self.payload).ok()
    }
}

/// A wire that enters the mesh.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) wire: Incoming,
    pub(super) tag: SchemaTag,
    pub(super) epoch: Epoch,
    /// The number of the next message.
    pub(super) next: Seq,
    /// The commit that makes durable where the stream begins; `None` as long as that is not known. An
    /// `every` wire has nothing sent before it, so that a stream without it is one that nobody has had
    /// anything of from this gateway, and whoever has had something has had it from one whose state was
    /// lost.
    pub(super) head: Option<Token>,
    /// `latest`: the first number that is not reserved, and the commit that reserves those below.
    reserved: (Seq, Token),
    /// What is not acknowledged; `latest`: the newest.
    pub(super) queue: VecDeque<Stored>,
    pub(super) links: Vec<Link>,
    /// Whether there are messages that no durable commit covers.
    pub(super) uncovered: bool,
    messages: u64,
    lost: u64,
}

impl Feed {
    /// A wire that goes on from what was durable. `None` if its schema is not one.
    pub(super) fn new(
        wire: Incoming,
        batch_bytes: u16,
        head: Option<Cursor>,
        queue: VecDeque<Stored>,
    ) -> Option<Self> {
        let is_known = head.map(|_| Token(0));
        let head = head.unwrap_or(Cursor { epoch: Epoch(1), next: Seq(0) });
        let next = queue.back().map_or(head.next, |last| last.seq.next().max(head.next));
        let feed = Self {
            wire: Incoming { consumers: Vec::new(), ..wire.clone() },
            tag: SchemaTag([0; 4]),
            epoch: head.epoch,
            next,
            head: is_known,
            reserved: (head.next, Token(0)),
            queue,
            links: Vec::new(),
            uncovered: false,
            messages: 0,
            lost: 0,
        };
        feed.rewired(wire, batch_bytes)
    }

    /// The same stream with other ends, or with ends elsewhere.
    pub(super) fn rewired(mut self, wire: Incoming, batch_bytes: u16) -> Option<Self> {
        self.tag = decode::<Schema<'_>>(&wire.schema).ok()?.id().tag();
        let oldest = self.oldest();
        let mut before = core::mem::take(&mut self.links);
        for end in &wire.consumers {
            let known = before.iter().position(|link| link.consumer == end.instance);
            let link = match known.map(|at| before.swap_remove(at)) {
                Some(link) if link.node == end.node => link,
                // What was on its way to another node may come again: it has had it or will not.
                Some(link) => Link::new(end.instance, end.node, link.next, link.probe, batch_bytes),
                None => Link::new(end.instance, end.node, oldest, self.head.is_none(), batch_bytes),
            };
            self.links.push(link);
        }
        self.wire = wire;
        Some(self)
    }

    pub(super) fn is_every(&self) -> bool {
        self.wire.delivery == Delivery::Every
    }

    /// The number of the oldest message that can still be sent.
    pub(super) fn oldest(&self) -> Seq {
        self.queue.front().map_or(self.next, |stored| stored.seq)
    }

    /// Takes a message, if it fits the schema and there is room. Says whether it did.
    pub(super) fn take(&mut self, wall: Option<u64>, text: &[u8], store: &mut Store) -> bool {
        let taken = self.try_take(wall, text, store).is_some();
        let count = if taken { &mut self.messages } else { &mut self.lost };
        *count = count.saturating_add(1);
        taken
    }

    fn try_take(&mut self, wall: Option<u64>, text: &[u8], store: &mut Store) -> Option<()> {
        if self.links.is_empty() || (self.is_every() && self.queue.len() >= FEED) {
            return None;
        }
        if !store.has_room() {
            return None;
        }
        let mut buf = [0; limits::PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        let schema: Schema<'_> = decode(&self.wire.schema).ok()?;
        json::read(schema.fields(), text, &mut writer).ok()?;
        let payload = writer.written().into();
        let sampled = Timestamp {
            micros: wall.unwrap_or(0),
            // The site's time is what this gateway says.
            uncertainty: wall.map(|_| 0),
        };
        if !self.is_every() && self.head.is_none() {
            // Nobody says how far a lost state had come on a `latest` wire; the time of day has come
            // farther. It decides no more than whether a message is taken for an old one.
            self.next = self.next.max(Seq(wall.unwrap_or(0)));
        }
        let mut stored = Stored { seq: self.next, sampled, payload, token: Token(0) };
        self.next = self.next.next();
        let stream = self.wire.stream;
        if self.is_every() {
            stored.token = store.put(message_key(stream, stored.seq), stored.to_bytes());
        } else {
            if stored.seq >= self.reserved.0 {
                let reserved = Seq(stored.seq.0.saturating_add(RESERVED));
                let head = Cursor { epoch: self.epoch, next: reserved };
                self.reserved = (reserved, store.put(head_key(stream), head.to_bytes()));
                self.head = Some(self.reserved.1);
            }
            stored.token = self.reserved.1;
            self.lost = self.lost.saturating_add(self.queue.len() as u64);
            self.queue.clear();
        }
        self.uncovered |= !store.is_durable(stored.token);
        self.queue.push_back(stored);
        Some(())
    }

    /// Whether messages that could not be sent have become durable.
    pub(super) fn is_covered(&self, store: &Store) -> bool {
        let first = || self.queue.iter().find(|stored| stored.token != Token(0));
        self.uncovered && first().is_none_or(|stored| store.is_durable(stored.token))
    }

    /// Forgets what every end has, durably.
    pub(super) fn trim(&mut self, store: &mut Store) {
        let needed = self.links.iter().map(|link| link.next).min().unwrap_or(self.next);
        let stream = self.wire.stream;
        let mut trimmed = false;
        while let Some(stored) = self.queue.pop_front_if(|stored| stored.seq < needed) {
            if self.is_every() {
                store.delete(message_key(stream, stored.seq));
                trimmed = true;
            }
        }
        if trimmed {
            self.put_head(store);
        }
    }

    pub(super) fn put_head(&self, store: &mut Store) -> Token {
        let next = if self.is_every() { self.next } else { self.reserved.0 };
        let head = Cursor { epoch: self.epoch, next };
        store.put(head_key(self.wire.stream), head.to_bytes())
    }

    /// The receiver of an end knows more of this stream than this gateway: its state was lost. The stream
    /// goes on from there, and with another epoch, so that nothing of before is taken for something of
    /// now.
    pub(super) fn catch_up(&mut self, epoch: Epoch, next: Seq, store: &mut Store) {
        self.epoch = self.epoch.max(epoch).next();
        let stream = self.wire.stream;
        let mut seq = self.next.max(next);
        let shift = seq.0.saturating_sub(self.oldest().0);
        for stored in &mut self.queue {
            if self.wire.delivery == Delivery::Every {
                store.delete(message_key(stream, stored.seq));
                stored.seq = seq;
                store.put(message_key(stream, seq), stored.to_bytes());
            }
            stored.seq = seq;
            seq = seq.next();
        }
        self.next = seq;
        self.reserved.0 = self.reserved.0.max(Seq(seq.0.saturating_add(RESERVED)));
        let token = self.put_head(store);
        self.reserved.1 = token;
        self.head = Some(token);
        self.queue.iter_mut().for_each(|stored| stored.token = token);
        self.uncovered = true;
        for link in &mut self.links {
            link.next = Seq(link.next.0.saturating_add(shift));
            link.skip = true;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.links.iter().filter_map(|link| link.retry_at).min()
    }

    pub(super) fn views(&self, topics: &Topics) -> impl Iterator<Item = TopicView> {
        self.wire.consumers.iter().map(|end| TopicView {
            topic: format!("{}/{}/{}", end.place.pipeline, end.place.name, end.input),
            mqtt: topics.set(&end.place, &end.input),
            direction: Direction::Subscribe,
            delivery: self.wire.delivery,
            instance: end.instance.0,
            node: end.place.node.clone(),
            schema: schema_view(&self.wire.schema),
            messages: self.messages,
            lost: self.lost,
            last: None,
        })
    }
}
