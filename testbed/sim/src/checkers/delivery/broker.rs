//! The reference model of what MQTT shows.
//!
//! - Of a stream on an `every` wire to MQTT the broker is given every message that its producer has published,
//!   once and in order: the same rules as for any consumer, but that the gateway goes back to nothing, also
//!   when it is killed: its cursors are durable with what it gives to the outbox, and the outbox here hands
//!   each publication over exactly once (that QoS 1 may repeat is the shell's, which is not here). The values
//!   in the JSON are those of the payload that the producer published with that number.
//! - At rest the retained status of a node says whether it is there.
//!
//! Streams are told apart by their topics, `<capsule>/<output>` at the end, and the names that the gateway's
//! plan has had; capsules here have one output. Values are compared where a schema has the one field `n`.

use super::lines::{Known, Lines, Message, Number, said};
use super::saved::Cursor;
use super::{Mesh, Verdict, Violation};
use crate::Host;
use capmesh_node::trace::print;
use capmesh_wire::message::Stream;
use capmesh_wire::{InstanceId, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What the broker was given.
#[derive(Debug, Default)]
pub(super) struct Broker {
    paths: BTreeMap<Arc<str>, Named>,
    /// How far each stream is.
    cursors: BTreeMap<Stream, Cursor>,
    /// By topic.
    statuses: BTreeMap<Arc<str>, Arc<[u8]>>,
}

/// The instances that were called so, the oldest first, and which of them the broker has heard of last. What
/// is on its way of one that is gone comes before anything of the next.
#[derive(Debug, Default)]
struct Named {
    instances: VecDeque<u32>,
    at: usize,
}

/// Instances of one name that are remembered.
const NAMESAKES: usize = 16;

/// A value, as the broker was given it.
#[derive(Clone, Copy, Debug)]
struct Value {
    seq: u64,
    /// Of the payload that it comes from, if its schema is known here.
    print: Option<u64>,
}

impl Broker {
    /// The broker is given a message.
    pub(super) fn see(
        &mut self,
        at: Instant,
        lines: &mut Lines,
        (topic, payload): (&Arc<str>, &Arc<[u8]>),
        durable: bool,
    ) -> Verdict {
        let parts: Vec<&str> = topic.split('/').collect();
        match parts.as_slice() {
            ["capmesh", _, "node", _, "status"] => {
                self.statuses.insert(topic.clone(), payload.clone());
                Ok(())
            }
            ["capmesh", _, "node", _, capsule, _] if durable => {
                let Some(value) = Value::parse(payload) else { return Ok(()) };
                self.take(at, lines, capsule, value)
            }
            _ => Ok(()),
        }
    }

    /// The plan has an instance of that name, maybe for the first time.
    pub(super) fn has_come(&mut self, instance: u32, path: &Arc<str>) {
        let named = self.paths.entry(path.clone()).or_default();
        if !named.instances.contains(&instance) {
            named.instances.push_back(instance);
        }
        if named.instances.len() > NAMESAKES {
            named.instances.pop_front();
            named.at = named.at.saturating_sub(1);
        }
    }

    /// Takes a value of the first instance of a name that may have published it.
    fn take(&mut self, at: Instant, lines: &mut Lines, path: &str, value: Value) -> Verdict {
        let Some(named) = self.paths.get(path) else { return Ok(()) };
        let mut first = Ok(());
        let after = named.instances.iter().copied().enumerate().skip(named.at);
        for (place, instance) in after.collect::<Vec<_>>() {
            match self.take_of(at, lines, instance, value) {
                Ok(()) => {
                    if let Some(named) = self.paths.get_mut(path) {
                        named.at = place;
                    }
                    return Ok(());
                }
                wrong => first = first.and(wrong),
            }
        }
        first
    }

    fn take_of(&mut self, at: Instant, lines: &mut Lines, instance: u32, value: Value) -> Verdict {
        let stream = Stream { instance: InstanceId(instance), output: 0 };
        let what = said(stream, value.seq);
        let wrong = |seen: &str, should: String| {
            let seen = format!("the broker is given {what}, {seen}");
            Err(Violation::new("mqtt", at, seen).should(should).of(instance))
        };
        let known = self.cursors.get(&stream).copied();
        let before = known.unwrap_or_default();
        let found = match value.print {
            Some(print) => lines.handled(stream, before, value.seq, print),
            None => Known::Nothing,
        };
        let line = match found {
            Known::In(line) => line,
            Known::Nothing => before.line,
            Known::Wrong => return wrong("which was not published so", String::new()),
        };
        if let Some(cursor) = known.filter(|cursor| cursor.line == line) {
            if value.seq < cursor.next {
                return wrong("again", format!("#{} or later", cursor.next));
            }
            let missed = lines.missed(stream, line, cursor.next, value.seq, |_| false);
            if let Some(missed) = missed {
                return wrong("next", format!("#{} comes before", missed.seq));
            }
        }
        let cursor = Cursor { line, next: value.seq + 1 };
        self.cursors.insert(stream, cursor);
        Ok(())
    }

    /// What should have been given to the broker by now, though it was not: of producers that `are_in` a line.
    pub(super) fn missed(
        &self,
        lines: &Lines,
        are_in: impl Fn(u32) -> Option<Number>,
        is_new: impl Fn(&Message) -> bool,
    ) -> Option<String> {
        self.cursors.iter().find_map(|(stream, cursor)| {
            if are_in(stream.instance.0) != Some(cursor.line) {
                return None;
            }
            let missed = lines.missed(*stream, cursor.line, cursor.next, u64::MAX, |_| false);
            let missed = missed.filter(|of| !is_new(of))?;
            Some(format!("{} was not given to the broker", said(*stream, missed.seq)))
        })
    }

    /// Nodes whose retained status is not what it should be, but those `without` which the mesh was healed.
    pub(super) fn wrong_status(&self, mesh: &dyn Mesh, without: &[Host]) -> Option<String> {
        let counts = mesh.nodes().into_iter().filter(|host| !without.contains(host));
        counts.into_iter().find_map(|host| {
            let end = format!("/node/n{host}/status");
            let (topic, status) = self.statuses.iter().find(|(topic, _)| topic.ends_with(&end))?;
            let should: &[u8] = if mesh.instances(host).is_some() { b"online" } else { b"offline" };
            // What is emptied is no more of the site.
            let is_wrong = !status.is_empty() && **status != *should;
            is_wrong.then(|| format!("{topic} says {}", status.escape_ascii()))
        })
    }
}

impl Value {
    fn parse(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let number = |key: &str| {
            let rest = text.split_once(&format!("\"{key}\":"))?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let seq = number("seq")?;
        Some(Self { seq, print: number("n").map(|n| print(&payload_of(n))) })
    }
}

/// The payload of a message with the one field `n`: an array with one integer (RFC 8949).
fn payload_of(n: u64) -> Vec<u8> {
    let mut payload = vec![0x81];
    match n {
        0..24 => payload.push(n as u8),
        24..=0xff => payload.extend([0x18, n as u8]),
        0x100..=0xffff => {
            payload.push(0x19);
            payload.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            payload.push(0x1a);
            payload.extend((n as u32).to_be_bytes());
        }
        _ => {
            payload.push(0x1b);
            payload.extend(n.to_be_bytes());
        }
    }
    payload
}
