//! One wire that leaves the mesh.

use super::TapId;
use crate::api::{Direction, FieldView, MqttView, PortView, TopicView, ValueView};
use crate::bridge::cursor::Cursor;
use crate::bridge::inbox::Received;
use crate::bridge::{Outgoing, json};
use crate::io::{Publication, Token};
use crate::store::{Key, Store, Table};
use capmesh_wire::cbor::decode;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Ack, Batch, Numbered, Stream};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{Epoch, ErrorCode, InstanceId, Problem, Schema, SchemaTag, Seq};

/// Gaps from here on are no losses: the numbers of a producer have jumped, because it lost its state.
const JUMP: u64 = 1 << 24;

/// Bytes of a message as JSON, to begin with.
const JSON: usize = 128;

/// The key of a cursor: gateway's instance, producer, output.
pub(super) fn key((consumer, stream): TapId) -> Key {
    let parts = [consumer.0.to_be_bytes(), stream.instance.0.to_be_bytes()];
    let bytes = parts.into_iter().flatten().chain([stream.output]);
    Key::new(Table::Cursors, bytes.collect::<Vec<_>>())
}

pub(super) fn parse_key(bytes: &[u8]) -> Option<TapId> {
    let (consumer, rest) = bytes.split_first_chunk()?;
    let (instance, rest) = rest.split_first_chunk()?;
    let [output] = *rest else { return None };
    let instance = InstanceId(u32::from_be_bytes(*instance));
    Some((InstanceId(u32::from_be_bytes(*consumer)), Stream { instance, output }))
}

/// A wire that leaves the mesh.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) wire: Outgoing,
    tag: SchemaTag,
    pub(super) topic: String,
    cursor: Cursor,
    /// Whether a message has come since the start: only then is a gap a loss.
    seen: bool,
    /// The commit that covers everything below the cursor, for `every`.
    pub(super) token: Token,
    /// What is durable: acknowledged.
    pub(super) committed: Seq,
    /// The newest message, for `latest`, if it is not published.
    pub(super) unsent: Option<Vec<u8>>,
    pub(super) last: Option<Last>,
    /// Whether watchers have not been shown the newest value.
    pub(super) show: bool,
    messages: u64,
    lost: u64,
}

/// The last message of a tap.
#[derive(Debug)]
pub(super) struct Last {
    json: Vec<u8>,
    epoch: Epoch,
    seq: Seq,
    sampled: Timestamp,
}

impl Tap {
    /// A wire that goes on from what was there before it, or from what was durable. `None` if its schema
    /// is not one.
    pub(super) fn new(
        wire: Outgoing,
        topic: String,
        before: Option<Self>,
        cursor: Option<Cursor>,
    ) -> Option<Self> {
        let tag = decode::<Schema<'_>>(&wire.schema).ok()?.id().tag();
        if let Some(before) = before {
            return Some(Self { wire, tag, topic, ..before });
        }
        let cursor = cursor.unwrap_or(Cursor::START);
        Some(Self {
            wire,
            tag,
            topic,
            cursor,
            seen: false,
            token: Token(0),
            committed: cursor.next,
            unsent: None,
            last: None,
            show: false,
            messages: 0,
            lost: 0,
        })
    }

    pub(super) fn is_every(&self) -> bool {
        self.wire.delivery == Delivery::Every
    }

    /// Whether messages of this epoch and schema may come.
    pub(super) fn admit(&mut self, batch: &Batch<'_>) -> Result<(), Problem<'static>> {
        if batch.epoch < self.cursor.epoch {
            return Err(Problem::new(ErrorCode::StaleEpoch));
        }
        if batch.schema != self.tag {
            return Err(Problem::new(ErrorCode::SchemaMismatch));
        }
        self.cursor.epoch = batch.epoch;
        Ok(())
    }

    /// Whether all messages of a batch have been here.
    pub(super) fn has_all(&self, batch: &Batch<'_>) -> bool {
        let count = u64::try_from(batch.messages.len()).unwrap_or(u64::MAX);
        batch.first.0.saturating_add(count) <= self.cursor.next.0
    }

    /// Goes on from `first`, because the producer has nothing before it any more.
    pub(super) fn skip(&mut self, first: Seq, counters: &mut MqttView) {
        let Some(missed) = first.0.checked_sub(self.cursor.next.0) else { return };
        self.count_missed(missed, counters);
        self.cursor.next = first;
    }

    fn count_missed(&mut self, missed: u64, counters: &mut MqttView) {
        if self.seen && missed < JUMP {
            self.lost = self.lost.saturating_add(missed);
            counters.lost = counters.lost.saturating_add(missed);
        }
    }

    /// Takes the newest message of a batch, if it is newer than the last. Says whether there is something
    /// to publish where there was nothing.
    pub(super) fn take_latest(
        &mut self,
        batch: &Batch<'_>,
        connected: bool,
        counters: &mut MqttView,
    ) -> bool {
        let Some(message) = batch.numbered().last() else { return false };
        let Some(missed) = message.seq.0.checked_sub(self.cursor.next.0) else { return false };
        self.count_missed(missed, counters);
        (self.cursor.next, self.seen) = (message.seq.next(), true);
        let schema = decode::<Schema<'_>>(&self.wire.schema).ok();
        let json = schema.and_then(|schema| to_json(&schema, self.cursor.epoch, &message));
        let Some(json) = json else {
            self.lost = self.lost.saturating_add(1);
            return false;
        };
        self.messages = self.messages.saturating_add(1);
        remember(&mut self.last, &json, self.cursor.epoch, &message);
        if self.unsent.is_some() || !connected {
            counters.superseded = counters.superseded.saturating_add(1);
        }
        if !connected {
            return false;
        }
        self.unsent.replace(json).is_none()
    }

    /// Takes the messages of a batch as far as they go on from the last, into the commit that is open.
    /// Gives the number of the first that was not taken, and how many were.
    pub(super) fn take_every(
        &mut self,
        batch: &Batch<'_>,
        counters: &mut MqttView,
        store: &mut Store,
    ) -> (Seq, u64) {
        let Ok(schema) = decode::<Schema<'_>>(&self.wire.schema) else { return (batch.first, 0) };
        let (mut published, before) = (0_u64, self.cursor.next);
        for message in batch.numbered() {
            if message.seq < self.cursor.next {
                continue;
            }
            if message.seq > self.cursor.next {
                break;
            }
            (self.cursor.next, self.seen) = (message.seq.next(), true);
            let Some(payload) = to_json(&schema, self.cursor.epoch, &message) else {
                self.lost = self.lost.saturating_add(1);
                continue;
            };
            published += 1;
            remember(&mut self.last, &payload, self.cursor.epoch, &message);
            let topic = self.topic.clone();
            store.publish(Publication { topic, payload, qos: 1, ..Publication::default() });
        }
        self.messages = self.messages.saturating_add(published);
        counters.published = counters.published.saturating_add(published);
        if self.cursor.next != before {
            let id = (self.wire.consumer, self.wire.stream);
            self.token = store.put(key(id), self.cursor.to_bytes());
        }
        let end = batch.first.0.saturating_add(batch.messages.len() as u64);
        (Seq(end.min(self.cursor.next.0)), published)
    }

    pub(super) fn ack(&self, next: Seq, room: u64) -> Received {
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        let (stream, epoch) = (self.wire.stream, self.cursor.epoch);
        Received::Acknowledged(Ack { stream, epoch, next, room })
    }

    fn name(&self) -> String {
        let place = &self.wire.place;
        format!("{}/{}/{}", place.pipeline, place.name, self.wire.output)
    }

    /// The last message, for watchers.
    pub(super) fn value(&self) -> Option<ValueView> {
        let last = self.last.as_ref()?;
        Some(ValueView {
            topic: self.name(),
            instance: self.wire.stream.instance.0,
            epoch: last.epoch.0,
            seq: last.seq.0,
            sampled_us: last.sampled.uncertainty.map(|_| last.sampled.micros),
            value: serde_json::from_slice(&last.json).ok()?,
        })
    }

    pub(super) fn view(&self) -> TopicView {
        TopicView {
            topic: self.name(),
            mqtt: self.topic.clone(),
            direction: Direction::Publish,
            delivery: self.wire.delivery,
            instance: self.wire.stream.instance.0,
            node: self.wire.place.node.clone(),
            schema: schema_view(&self.wire.schema),
            messages: self.messages,
            lost: self.lost,
            last: self.value(),
        }
    }
}

/// `None` for a message that does not fit its schema: it is passed over.
fn to_json(schema: &Schema<'_>, epoch: Epoch, message: &Numbered<'_>) -> Option<Vec<u8>> {
    let mut json = Vec::with_capacity(JSON);
    json::write(schema.fields(), message, epoch, &mut json).ok()?;
    Some(json)
}

fn remember(last: &mut Option<Last>, json: &[u8], epoch: Epoch, message: &Numbered<'_>) {
    let mut buf = last.take().map(|last| last.json).unwrap_or_default();
    buf.clear();
    buf.extend_from_slice(json);
    *last = Some(Last { json: buf, epoch, seq: message.seq, sampled: message.sampled });
}

/// An encoded schema, for people; nothing if it is none.
pub(in crate::bridge) fn schema_view(bytes: &[u8]) -> PortView {
    let Ok(schema) = decode::<Schema<'_>>(bytes) else {
        return PortView { name: String::new(), version: 0, fields: Vec::new() };
    };
    let field = |field: capmesh_wire::schema::Field<'_>| FieldView {
        name: field.name.as_str().to_owned(),
        ty: field.ty.name().to_owned(),
        unit: field.unit,
        optional: field.optional,
    };
    PortView {
        name: schema.name().as_str().to_owned(),
        version: schema.version(),
        fields: schema.fields().iter().map(field).collect(),
    }
}
