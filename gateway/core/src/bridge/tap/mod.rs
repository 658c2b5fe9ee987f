//! Wires that leave the mesh.

mod one;

use super::cursor::Cursor;
use super::inbox::{Received, answer};
use super::topics::{Place, Topics};
use super::{ACKNOWLEDGED, OUTBOX, Outgoing, PACE, RETRY, millis};
use crate::api::{MqttView, TopicView, ValueView};
use crate::io::{Publication, Token};
use crate::store::{Key, Store, Table};
use capmesh_coap::endpoint::Responder;
use capmesh_coap::server::Outbox;
use capmesh_wire::message::{Batch, Stream};
use capmesh_wire::{ErrorCode, InstanceId, Instant, NodeId, Problem, Seq};
pub(super) use one::schema_view;
use one::{Tap, key, parse_key};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Names a tap: the gateway's instance and the stream.
pub(super) type TapId = (InstanceId, Stream);

/// A batch that is in a commit that is not durable yet.
#[derive(Debug)]
struct Held {
    token: Token,
    responder: Responder,
    tap: TapId,
    up_to: Seq,
}

/// All wires that leave the mesh.
#[derive(Debug, Default)]
pub(super) struct Taps {
    taps: BTreeMap<TapId, Tap>,
    /// What was durable, of streams that no wire has named yet.
    restored: BTreeMap<TapId, Cursor>,
    /// In the order of their tokens.
    held: VecDeque<Held>,
    /// How many of them there may be.
    most_held: usize,
    /// The first of them can be answered.
    may_answer: bool,
    /// Requests that are to be left unanswered, until the endpoint is told.
    ignored: Vec<Responder>,
    /// Publications in commits that are not durable, in the order of their tokens, and their sum.
    uncommitted: VecDeque<(Token, u64)>,
    uncommitted_sum: u64,
    /// Taps with something unsent, in the order in which they have it.
    unsent: VecDeque<TapId>,
    /// Taps whose newest value watchers have not seen, and when they may see one.
    show: VecDeque<TapId>,
    show_at: Instant,
    /// How many of them are left of this round.
    round: usize,
}

impl Taps {
    pub(super) fn new(state: &BTreeMap<Key, Vec<u8>>, most_held: usize) -> Self {
        let cursors = state.iter().filter(|(key, _)| key.table == Table::Cursors);
        let restored = cursors
            .filter_map(|(key, value)| Some((parse_key(&key.bytes)?, Cursor::from_bytes(value)?)));
        Self { restored: restored.collect(), most_held, ..Self::default() }
    }

    /// Takes other wires, and gives the names of the nodes where there are others than before.
    pub(super) fn set(
        &mut self,
        wires: Vec<Outgoing>,
        topics: &Topics,
        store: &mut Store,
    ) -> BTreeSet<String> {
        let mut before = core::mem::take(&mut self.taps);
        let mut changed = BTreeSet::new();
        for wire in wires {
            let id = (wire.consumer, wire.stream);
            let topic = topics.value(&wire.place, &wire.output);
            let old = before.remove(&id);
            if old.as_ref().is_none_or(|old| old.wire != wire) {
                changed.insert(wire.place.node.clone());
                changed.extend(old.as_ref().map(|old| old.wire.place.node.clone()));
            }
            let cursor = self.restored.remove(&id);
            if let Some(tap) = Tap::new(wire, topic, old, cursor) {
                self.taps.insert(id, tap);
            }
        }
        changed.extend(before.values().map(|tap| tap.wire.place.node.clone()));
        let unwired = before.iter().filter(|(_, tap)| tap.is_every()).map(|(id, _)| *id);
        for id in unwired.chain(core::mem::take(&mut self.restored).into_keys()) {
            store.delete(key(id));
        }
        changed
    }

    /// Takes a batch that the node `from` has sent for an instance of the gateway's. The work is one pass
    /// over the batch.
    pub(super) fn receive(
        &mut self,
        batch: &Batch<'_>,
        way: &Way,
        counters: &mut MqttView,
        store: &mut Store,
    ) -> Result<Received, Problem<'static>> {
        let id = (way.consumer, batch.stream);
        let room = self.room(counters);
        let crowded = self.held.len() >= self.most_held || !store.has_room();
        let Some(tap) = self.taps.get_mut(&id) else {
            return Err(Problem::new(ErrorCode::UnknownStream));
        };
        if tap.wire.node != way.from || tap.is_every() != way.confirmable {
            return Err(Problem::new(ErrorCode::Forbidden));
        }
        tap.admit(batch)?;
        if !way.confirmable {
            if tap.take_latest(batch, way.connected, counters) {
                self.unsent.push_back(id);
            }
            // If there are too many, the endpoint forgets them by itself.
            self.ignored.extend(way.responder.filter(|_| self.ignored.len() < self.most_held));
            self.note(id);
            return Ok(Received::Later);
        }
        if batch.messages.is_empty() {
            tap.skip(batch.first, counters);
            return Ok(tap.ack(tap.committed.max(batch.first), room));
        }
        if !tap.has_all(batch) && (room == 0 || crowded) {
            counters.held_off = counters.held_off.saturating_add(1);
            let code = if room == 0 { ErrorCode::InboxFull } else { ErrorCode::Busy };
            return Err(Problem::retry(code, millis(RETRY)));
        }
        let (up_to, published) = tap.take_every(batch, counters, store);
        let (token, committed) = (tap.token, tap.committed);
        let verdict = tap.ack(committed, room);
        self.count_uncommitted(token, published);
        self.note(id);
        if committed >= up_to {
            return Ok(verdict);
        }
        let responder = way.responder.ok_or(Problem::retry(ErrorCode::Busy, millis(RETRY)))?;
        self.held.push_back(Held { token, responder, tap: id, up_to });
        Ok(Received::Later)
    }

    /// How many more messages of `every` wires there is room for.
    const fn room(&self, counters: &MqttView) -> u64 {
        OUTBOX.saturating_sub(counters.waiting).saturating_sub(self.uncommitted_sum)
    }

    fn count_uncommitted(&mut self, token: Token, published: u64) {
        if published == 0 {
            return;
        }
        self.uncommitted_sum = self.uncommitted_sum.saturating_add(published);
        match self.uncommitted.back_mut() {
            Some((last, sum)) if *last == token => *sum = sum.saturating_add(published),
            _ => self.uncommitted.push_back((token, published)),
        }
    }

    /// Puts a tap among those whose newest value is to be shown.
    fn note(&mut self, id: TapId) {
        let Some(tap) = self.taps.get_mut(&id) else { return };
        if !tap.show && tap.last.is_some() {
            tap.show = true;
            self.show.push_back(id);
        }
    }

    /// Whether something has become durable and is not acknowledged, as of the last look.
    pub(super) const fn may_answer(&self) -> bool {
        self.may_answer
    }

    /// Acknowledges what has become durable, at most [`ACKNOWLEDGED`] batches.
    pub(super) fn answer_held<P>(
        &mut self,
        now: Instant,
        store: &Store,
        link: &mut dyn Outbox<P>,
        counters: &mut MqttView,
    ) {
        for responder in self.ignored.drain(..) {
            link.ignore(now, responder);
        }
        while let Some((_, sum)) = self.uncommitted.pop_front_if(|(t, _)| store.is_durable(*t)) {
            self.uncommitted_sum = self.uncommitted_sum.saturating_sub(sum);
            // Until the shell says how many wait.
            counters.waiting = counters.waiting.saturating_add(sum);
        }
        let room = self.room(counters);
        for _ in 0..ACKNOWLEDGED {
            let first = self.held.pop_front_if(|held| store.is_durable(held.token));
            let Some(held) = first else { break };
            let verdict = match self.taps.get_mut(&held.tap) {
                Some(tap) => {
                    tap.committed = tap.committed.max(held.up_to);
                    tap.ack(tap.committed, room)
                }
                None => Received::Refused(Problem::new(ErrorCode::UnknownStream)),
            };
            answer(now, link, held.responder, &verdict);
        }
        self.may_answer = self.held.front().is_some_and(|held| store.is_durable(held.token));
    }

    /// The next message of a `latest` wire.
    pub(super) fn publish(&mut self, counters: &mut MqttView) -> Option<Publication> {
        while let Some(id) = self.unsent.pop_front() {
            let Some(tap) = self.taps.get_mut(&id) else { continue };
            let Some(payload) = tap.unsent.take() else { continue };
            counters.published = counters.published.saturating_add(1);
            return Some(Publication {
                topic: tap.topic.clone(),
                payload,
                ..Publication::default()
            });
        }
        None
    }

    /// Forgets what could not be published.
    pub(super) fn disconnected(&mut self, counters: &mut MqttView) {
        for id in core::mem::take(&mut self.unsent) {
            let Some(tap) = self.taps.get_mut(&id) else { continue };
            if tap.unsent.take().is_some() {
                counters.superseded = counters.superseded.saturating_add(1);
            }
        }
    }

    pub(super) fn is_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The newest value of a tap that has one that was not shown: each once in [`PACE`].
    pub(super) fn value(&mut self, now: Instant) -> Option<ValueView> {
        if self.round == 0 {
            if now < self.show_at || self.show.is_empty() {
                return None;
            }
            (self.round, self.show_at) = (self.show.len(), now + PACE);
        }
        self.round -= 1;
        let tap = self.show.pop_front().and_then(|id| self.taps.get_mut(&id))?;
        tap.show = false;
        tap.value()
    }

    /// When there is a value to show.
    pub(super) fn shown_timeout(&self) -> Option<Instant> {
        match self.round {
            0 => (!self.show.is_empty()).then_some(self.show_at),
            _ => Some(Instant::ZERO),
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = TopicView> {
        self.taps.values().map(Tap::view)
    }

    /// The taps on a node: where each is, what it is called, its topic and schema.
    pub(super) fn on<'t>(
        &'t self,
        node: &'t str,
    ) -> impl Iterator<Item = (&'t Place, &'t str, &'t str, &'t [u8])> {
        let there = self.taps.values().filter(move |tap| tap.wire.place.node == node);
        there.map(|tap| {
            let wire = &tap.wire;
            (&wire.place, wire.output.as_str(), tap.topic.as_str(), wire.schema.as_slice())
        })
    }
}

/// How a batch has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// From which node.
    pub(super) from: NodeId,
    /// For which of the gateway's instances.
    pub(super) consumer: InstanceId,
    /// Whether it wants to be acknowledged: those on `every` wires do.
    pub(super) confirmable: bool,
    /// How to answer it later.
    pub(super) responder: Option<Responder>,
    /// Whether the broker is connected.
    pub(super) connected: bool,
}
