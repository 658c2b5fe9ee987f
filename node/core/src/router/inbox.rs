//! Messages that wait for their instance.

use super::MESSAGE;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use capmesh_wire::Seq;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::Stream;

/// A message in an inbox.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) stream: Stream,
    pub(super) seq: Seq,
    pub(super) sampled: Timestamp,
    /// The inputs that have not handled it, a bit for each.
    pub(super) ports: u8,
    /// Whether it came on an `every` wire.
    pub(super) every: bool,
    /// Whether its handler failed: it is passed over from then on.
    pub(super) failed: bool,
    /// Which of all arrivals it was.
    pub(super) arrived: u64,
    pub(super) payload: Box<[u8]>,
}

/// What an inbox may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// The messages of one instance in the order of their arrival.
///
/// Those of `every` wires stay when they have been handled, at the front, until a commit covers that:
/// if the handler's effects are undone, they are handled again.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    entries: VecDeque<Entry>,
    /// How many at the front have been handled.
    handled: usize,
    /// How many of these the commit that is being written covers.
    exported: usize,
    bytes: usize,
}

/// What a message takes.
pub(super) const fn cost(payload: usize) -> usize {
    payload.saturating_add(MESSAGE)
}

impl Inbox {
    /// Messages in it, and what they take.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn filling(&self) -> Bounds {
        Bounds { messages: self.entries.len(), bytes: self.bytes }
    }

    /// Whether a message with a payload of this length has room.
    pub(super) fn has_room(&self, bounds: Bounds, payload: usize) -> bool {
        self.entries.len() < bounds.messages
            && self.bytes.saturating_add(cost(payload)) <= bounds.bytes
    }

    /// How many messages with payloads of up to this length have room.
    pub(super) fn room(&self, bounds: Bounds, payload: usize) -> usize {
        let messages = bounds.messages.saturating_sub(self.entries.len());
        messages.min(bounds.bytes.saturating_sub(self.bytes) / cost(payload))
    }

    /// Appends a message. The caller has asked whether there is room.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(cost(entry.payload.len()));
        self.entries.push_back(entry);
    }

    /// Makes room at the cost of the oldest unhandled message of a `latest` wire. Returns whether
    /// there was one. `busy` says that the first unhandled message has a handler running.
    pub(super) fn evict(&mut self, busy: bool) -> bool {
        let from = self.handled + usize::from(busy);
        let found = self.entries.iter().skip(from).position(|entry| !entry.every);
        found.is_some_and(|at| self.remove(from + at))
    }

    /// The first message that is not handled. Those that failed are passed over.
    pub(super) fn first(&mut self) -> Option<&mut Entry> {
        while self.entries.get(self.handled).is_some_and(|entry| entry.failed) {
            self.pass();
        }
        self.entries.get_mut(self.handled)
    }

    /// Says that the first unhandled message has been handled by one of its inputs. Returns whether
    /// that was the last of them.
    pub(super) fn handled(&mut self, port: u8) -> bool {
        let Some(entry) = self.entries.get_mut(self.handled) else { return false };
        entry.ports &= !(1_u8.checked_shl(u32::from(port)).unwrap_or(0));
        if entry.ports == 0 {
            self.pass();
            return true;
        }
        false
    }

    /// Moves past the first unhandled message.
    fn pass(&mut self) {
        match self.entries.get(self.handled) {
            Some(entry) if entry.every => self.handled += 1,
            Some(_) => {
                self.remove(self.handled);
            }
            None => {}
        }
    }

    /// Whether some inputs have handled the first unhandled message and others have not.
    pub(super) fn is_between(&self, all: impl FnOnce(Stream) -> u8) -> bool {
        let first = self.entries.get(self.handled);
        first.is_some_and(|entry| !entry.failed && entry.ports != all(entry.stream))
    }

    /// Marks the first unhandled message as failed.
    pub(super) fn fail(&mut self) {
        if let Some(entry) = self.entries.get_mut(self.handled) {
            entry.failed = true;
        }
    }

    /// Says that nothing has been handled that no commit covers; `all` gives the inputs of a stream.
    pub(super) fn roll_back(&mut self, all: impl Fn(Stream) -> u8) {
        (self.handled, self.exported) = (0, 0);
        for entry in &mut self.entries {
            entry.ports = all(entry.stream);
        }
    }

    /// The number of the first message of a stream that has not been handled.
    pub(super) fn next_of(&self, stream: Stream) -> Option<Seq> {
        self.unhandled().find(|entry| entry.stream == stream && entry.every).map(|e| e.seq)
    }

    /// What has not been handled, in order.
    pub(super) fn unhandled(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.handled).filter(|entry| !entry.failed)
    }

    /// Says that a commit is being written that covers what has been handled.
    pub(super) const fn export(&mut self) {
        self.exported = self.handled;
    }

    /// Forgets what the commit covers that has been written.
    pub(super) fn committed(&mut self) {
        for _ in 0..core::mem::take(&mut self.exported) {
            self.handled = self.handled.saturating_sub(1);
            self.remove(0);
        }
    }

    /// Forgets the messages of streams that have no wire any more.
    pub(super) fn retain(&mut self, is_wired: impl Fn(Stream) -> bool) {
        for at in (0..self.entries.len()).rev() {
            let gone = self.entries.get(at).is_some_and(|entry| !is_wired(entry.stream));
            if gone {
                self.handled -= usize::from(at < self.handled);
                self.exported -= usize::from(at < self.exported);
                self.remove(at);
            }
        }
    }

    /// Whether more is handled and not covered than is good for what is to come.
    pub(super) fn is_pressed(&self, bounds: Bounds) -> bool {
        let full =
            self.entries.len() * 4 >= bounds.messages * 3 || self.bytes * 4 >= bounds.bytes * 3;
        full && self.handled > 0
    }

    /// How many messages wait to be handled.
    pub(super) fn waiting(&self) -> usize {
        self.unhandled().count()
    }

    fn remove(&mut self, at: usize) -> bool {
        let Some(entry) = self.entries.remove(at) else { return false };
        self.bytes = self.bytes.saturating_sub(cost(entry.payload.len()));
        true
    }
}
