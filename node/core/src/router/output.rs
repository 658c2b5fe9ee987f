//! An output's stream: its numbers, what waits to be sent, and the newest message.

use super::inbox::cost;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::plan::Overflowing;
use capmesh_wire::{Instant, Payload, Seq};

/// A message that was published.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) seq: Seq,
    pub(super) sampled: Timestamp,
    payload: Box<[u8]>,
}

impl Stored {
    pub(super) fn new(seq: Seq, sampled: Timestamp, payload: Payload<'_>) -> Self {
        Self { seq, sampled, payload: payload.as_bytes().into() }
    }

    /// What it takes of an outbox.
    pub(super) fn cost(&self) -> usize {
        cost(self.payload.len())
    }

    /// `None` never: only payloads are stored.
    pub(super) fn payload(&self) -> Option<Payload<'_>> {
        Payload::new(&self.payload).ok()
    }
}

/// An output of an instance.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: Box<str>,
    /// The number of its schema's shape.
    pub(super) shape: usize,
    /// Whether an `every` wire begins here: then nothing leaves before a commit covers it, so that
    /// no number is ever seen with two messages.
    pub(super) every: bool,
    /// What a full outbox does.
    pub(super) overflow: Overflowing,
    /// The number of the next message.
    pub(super) next: Seq,
    /// The number of the first message that may not be sent.
    pub(super) released: Seq,
    /// What `released` will be when the commit that is being written has been.
    pub(super) exported: Option<Seq>,
    /// What `every` wires still need, in the order of the numbers; there are gaps where the numbers
    /// have jumped.
    pub(super) queue: VecDeque<Stored>,
    /// The newest message that may be sent.
    pub(super) newest: Option<Stored>,
    /// Whether observers have not heard of it, and when they may.
    pub(super) changed: bool,
    pub(super) notify_at: Instant,
}

impl Output {
    pub(super) fn new(name: &str, shape: usize, first: Seq) -> Self {
        Self {
            name: name.into(),
            shape,
            every: false,
            overflow: Overflowing::DropOldest,
            next: first,
            released: first,
            exported: None,
            queue: VecDeque::new(),
            newest: None,
            changed: false,
            notify_at: Instant::ZERO,
        }
    }

    /// The place of the first message in the queue with this number or a higher one.
    pub(super) fn find(&self, seq: Seq) -> usize {
        self.queue.partition_point(|stored| stored.seq < seq)
    }

    /// The number of the oldest message that can still be sent.
    pub(super) fn oldest(&self) -> Seq {
        self.queue.front().map_or(self.next, |stored| stored.seq)
    }

    /// Appends a message that waits for a commit.
    pub(super) fn push(&mut self, stored: Stored) {
        self.next = stored.seq.next();
        self.queue.push_back(stored);
    }

    /// Says that a commit covers all messages below `up_to`.
    pub(super) fn release(&mut self, up_to: Seq) {
        if up_to <= self.released {
            return;
        }
        let last = self.find(up_to).checked_sub(1).and_then(|at| self.queue.get(at));
        if let Some(last) = last.filter(|last| last.seq >= self.released) {
            self.newest = Some(last.clone());
            self.changed = true;
        }
        self.released = up_to;
    }

    /// Forgets the messages below `seq`, which nobody needs. Returns what they took.
    pub(super) fn forget(&mut self, seq: Seq) -> Freed {
        let mut freed = Freed::default();
        while self.queue.front().is_some_and(|stored| stored.seq < seq) {
            freed.add(self.queue.pop_front());
        }
        freed
    }

    /// Forgets the oldest message.
    pub(super) fn drop_oldest(&mut self) -> Freed {
        let mut freed = Freed::default();
        freed.add(self.queue.pop_front());
        freed
    }

    /// Forgets the messages that no commit covers, and gives their numbers to others.
    pub(super) fn roll_back(&mut self) -> Freed {
        let mut freed = Freed::default();
        if self.every {
            while self.queue.back().is_some_and(|stored| stored.seq >= self.released) {
                freed.add(self.queue.pop_back());
            }
            self.next = self.released;
        }
        self.exported = None;
        freed
    }
}

/// What messages took of an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Freed {
    fn add(&mut self, stored: Option<Stored>) {
        if let Some(stored) = stored {
            self.messages += 1;
            self.bytes = self.bytes.saturating_add(stored.cost());
        }
    }
}
