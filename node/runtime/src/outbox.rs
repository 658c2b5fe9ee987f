//! What a handler has asked for, held back until it returns.

use alloc::vec::Vec;
use capmesh_capsule_abi::Errno;
use capmesh_node::host::{Effect, Limits};
use core::ops::Range;

/// An effect with its bytes in the outbox's arena.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Publish { output: u32, record: Range<u32> },
    Request { peer: u32, resource: u32, number: u32, record: Range<u32> },
    Respond { status: u32, record: Range<u32> },
    SetTimer { timer: u32, micros: u64 },
    CancelTimer { timer: u32 },
    Actuate { actuator: u32, value: f64 },
    Log { level: u32, text: Range<u32> },
}

/// A bounded list of effects.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: Vec<Entry>,
    arena: Vec<u8>,
    max_entries: usize,
    max_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            entries: Vec::new(),
            arena: Vec::new(),
            max_entries: usize::from(limits.outbox_entries),
            max_bytes: usize::try_from(limits.outbox_bytes).unwrap_or(usize::MAX),
        }
    }

    /// Appends an entry, with `bytes` in the arena.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        entry: impl FnOnce(Range<u32>) -> Entry,
    ) -> Result<(), Errno> {
        if self.entries.len() >= self.max_entries || self.max_bytes - self.arena.len() < bytes.len()
        {
            return Err(Errno::Full);
        }
        let start = u32::try_from(self.arena.len()).map_err(|_| Errno::Full)?;
        self.arena.extend_from_slice(bytes);
        let end = u32::try_from(self.arena.len()).map_err(|_| Errno::Full)?;
        self.entries.push(entry(start..end));
        Ok(())
    }

    /// Replaces the answer given before in this handler, if there is one: the last one counts.
    pub(crate) fn respond(&mut self, status: u32, bytes: &[u8]) -> Result<(), Errno> {
        self.entries.retain(|entry| !matches!(entry, Entry::Respond { .. }));
        self.push(bytes, |record| Entry::Respond { status, record })
    }

    /// Keeps the log lines only: the rest of what a failed handler asked for does not happen.
    pub(crate) fn keep_log(&mut self) {
        self.entries.retain(|entry| matches!(entry, Entry::Log { .. }));
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.arena.clear();
    }

    pub(crate) fn effects(&self) -> Effects<'_> {
        Effects { entries: self.entries.iter(), arena: &self.arena }
    }
}

/// Iterates over what a handler asked for, in order.
#[derive(Clone, Debug)]
pub struct Effects<'a> {
    entries: core::slice::Iter<'a, Entry>,
    arena: &'a [u8],
}

impl<'a> Effects<'a> {
    fn bytes(&self, range: &Range<u32>) -> &'a [u8] {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        match (start, end) {
            (Ok(start), Ok(end)) => self.arena.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl<'a> Iterator for Effects<'a> {
    type Item = Effect<'a>;

    fn next(&mut self) -> Option<Effect<'a>> {
        Some(match self.entries.next()? {
            Entry::Publish { output, record } => {
                Effect::Publish { output: *output, record: self.bytes(record) }
            }
            Entry::Request { peer, resource, number, record } => Effect::Request {
                peer: *peer,
                resource: *resource,
                number: *number,
                record: self.bytes(record),
            },
            Entry::Respond { status, record } => {
                Effect::Respond { status: *status, record: self.bytes(record) }
            }
            Entry::SetTimer { timer, micros } => {
                Effect::SetTimer { timer: *timer, micros: *micros }
            }
            Entry::CancelTimer { timer } => Effect::CancelTimer { timer: *timer },
            Entry::Actuate { actuator, value } => {
                Effect::Actuate { actuator: *actuator, value: *value }
            }
            Entry::Log { level, text } => Effect::Log { level: *level, text: self.bytes(text) },
        })
    }
}
