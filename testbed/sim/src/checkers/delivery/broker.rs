//! The reference model of what MQTT shows.
//!
//! - Of a stream on an `every` wire to MQTT the broker is given every message that its producer has published,
//!   once and in order: the same rules as for any consumer, but that the gateway goes back to nothing. After
//!   it was killed it may give some once more before it goes on. The
//!   values in the JSON are those of the payload that the producer published with that number.
//! - At rest the retained status of a node says whether it is there.
//!
//! Streams are told apart by their topics, `<capsule>/<output>` at the end, and the names in the gateway's
//! plan; capsules here have one output. Values are compared where a schema has the one field `n`.

use super::lines::{Known, Lines, Message, said};
use super::saved::Cursor;
use super::{Mesh, Verdict, Violation};
use crate::Host;
use capmesh_node::trace::print;
use capmesh_wire::message::Stream;
use capmesh_wire::{InstanceId, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Publications that wait until the plan says whose they are.
const WAITING: usize = 4_096;

/// What the broker was given.
#[derive(Debug, Default)]
pub(super) struct Broker {
    paths: BTreeMap<String, u32>,
    /// How far each stream is, and how often the gateway had been killed by then.
    cursors: BTreeMap<Stream, (Cursor, u32)>,
    kills: u32,
    waiting: VecDeque<(String, Value)>,
    /// By topic.
    statuses: BTreeMap<Arc<str>, Arc<[u8]>>,
}

/// A value, as the broker was given it.
#[derive(Clone, Copy, Debug)]
struct Value {
    seq: u64,
    /// Of the payload that it comes from, if its schema is known here.
    print: Option<u64>,
    /// How often the gateway had been killed. Then it may not have known that the broker has it (QoS 1).
    kills: u32,
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
                let Some(value) = Value::parse(payload, self.kills) else { return Ok(()) };
                match self.paths.get(*capsule) {
                    Some(instance) => self.take(at, lines, *instance, value),
                    None => {
                        if self.waiting.len() < WAITING {
                            self.waiting.push_back(((*capsule).to_owned(), value));
                        }
                        Ok(())
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// The gateway was killed.
    pub(super) const fn may_repeat(&mut self) {
        self.kills += 1;
    }

    /// Learns who is who, if somebody is not known.
    pub(super) fn look(&mut self, at: Instant, lines: &mut Lines, mesh: &dyn Mesh) -> Verdict {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.paths = mesh.plan().into_iter().map(|row| (row.path, row.instance)).collect();
        for (path, value) in std::mem::take(&mut self.waiting) {
            // What is no more in the plan by now is nobody's.
            if let Some(instance) = self.paths.get(&path) {
                self.take(at, lines, *instance, value)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at: Instant, lines: &mut Lines, instance: u32, value: Value) -> Verdict {
        let stream = Stream { instance: InstanceId(instance), output: 0 };
        let what = said(stream, value.seq);
        let wrong = |seen: &str, should: String| {
            let seen = format!("the broker is given {what}, {seen}");
            Err(Violation::new("mqtt", at, seen).should(should).of(instance))
        };
        let (known, kills) = self.cursors.get(&stream).copied().unzip();
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
            if value.seq < cursor.next && kills < Some(value.kills) {
                return Ok(());
            }
            if value.seq < cursor.next {
                return wrong("again", format!("#{} or later", cursor.next));
            }
            let missed = lines.missed(stream, line, cursor.next, value.seq, |_| false);
            if let Some(missed) = missed {
                return wrong("next", format!("#{} comes before", missed.seq));
            }
        }
        let cursor = Cursor { line, next: value.seq + 1 };
        self.cursors.insert(stream, (cursor, value.kills));
        Ok(())
    }

    /// What should have been given to the broker by now, though it was not.
    pub(super) fn missed(
        &self,
        lines: &Lines,
        patient: impl Fn(&Message) -> bool,
    ) -> Option<String> {
        self.cursors.iter().find_map(|(stream, (cursor, _))| {
            if lines.newest(*stream) != Some(cursor.line) {
                return None;
            }
            let missed = lines.missed(*stream, cursor.line, cursor.next, u64::MAX, |_| false);
            let missed = missed.filter(|of| !patient(of))?;
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
    fn parse(payload: &[u8], kills: u32) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let number = |key: &str| {
            let rest = text.split_once(&format!("\"{key}\":"))?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let seq = number("seq")?;
        Some(Self { seq, print: number("n").map(|n| print(&payload_of(n))), kills })
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
