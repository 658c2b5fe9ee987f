//! Which messages have been had, and what was said to them (RFC 7252 section 4.5).
//!
//! Messages of verified peers and of everybody else are kept apart, so that a flood of the latter
//! displaces nothing of the former. Within each part the oldest entry makes room for a new one.

use super::table::{Chains, Link, NONE};
use capmesh_wire::Instant;

/// Whose message something is: of a peer with a verified address, or of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Verified,
    Anybody,
}

/// How far a message has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The application has a confirmable request, in this slot, and nothing has been said to it.
    Unanswered(u16),
    /// An empty acknowledgement was sent.
    Acknowledged,
    /// A reply was sent that acknowledged it.
    Replied(Stored),
    /// There is nothing to be said to a duplicate: the message is non-confirmable.
    Silent,
}

/// The last `RECENT` messages, found by what [`Secret::message`](super::hash::Secret::message) made
/// of them.
#[derive(Debug)]
pub(super) struct Recent<const RECENT: usize> {
    entries: [Entry; RECENT],
    index: Chains<[Link; RECENT]>,
    verified: Part,
    anybody: Part,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    expires: Instant,
    /// `None` while it is unused.
    progress: Option<Progress>,
}

/// A part of the entries, used round robin.
#[derive(Debug)]
struct Part {
    start: u16,
    end: u16,
    next: u16,
}

impl<const RECENT: usize> Recent<RECENT> {
    /// Three quarters for verified peers, unless there are none. Inlined it would be on the stack twice.
    #[inline(never)]
    pub(super) const fn new(authenticates: bool) -> Self {
        const {
            assert!(RECENT >= 4 && RECENT < NONE as usize, "4 to 65,534 messages are remembered");
        };
        let split = if authenticates { RECENT - RECENT / 4 } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "RECENT is checked above")]
        let (split, end) = (split as u16, RECENT as u16);
        Self {
            entries: [Entry { key: 0, expires: Instant::ZERO, progress: None }; RECENT],
            index: Chains::new(),
            verified: Part { start: 0, end: split, next: 0 },
            anybody: Part { start: split, end, next: split },
        }
    }

    /// How far the message with this key has got, if it was had and can have duplicates still.
    pub(super) fn find(&self, key: u64, now: Instant) -> Option<Progress> {
        let entry = self.entries.get(usize::from(self.slot_of(key)?))?;
        if entry.expires <= now { None } else { entry.progress }
    }

    /// Remembers a message. Returns whether another one had to be forgotten before its time.
    pub(super) fn insert(
        &mut self,
        class: Class,
        key: u64,
        progress: Progress,
        now: Instant,
        expires: Instant,
    ) -> bool {
        let part = match class {
            Class::Verified if self.verified.end > 0 => &mut self.verified,
            _ => &mut self.anybody,
        };
        // An expired entry with the same key would hide the new one in the chain.
        let slot = match slot_of(&self.index, &self.entries, key) {
            Some(expired) => expired,
            None => {
                let slot = part.next;
                part.next = if slot + 1 == part.end { part.start } else { slot + 1 };
                slot
            }
        };
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return false };
        let early = entry.progress.is_some() && entry.expires > now;
        if entry.progress.is_some() {
            self.index.remove(entry.key, slot);
        }
        *entry = Entry { key, expires, progress: Some(progress) };
        self.index.insert(key, slot);
        early
    }

    /// Notes how far a message has got, if it is still remembered.
    pub(super) fn update(&mut self, key: u64, progress: Progress) {
        let slot = self.slot_of(key);
        if let Some(entry) = slot.and_then(|slot| self.entries.get_mut(usize::from(slot))) {
            entry.progress = Some(progress);
        }
    }

    fn slot_of(&self, key: u64) -> Option<u16> {
        slot_of(&self.index, &self.entries, key)
    }
}

fn slot_of<const N: usize>(
    index: &Chains<[Link; N]>,
    entries: &[Entry; N],
    key: u64,
) -> Option<u16> {
    index.find(key, |slot| {
        let entry = entries.get(usize::from(slot));
        entry.is_some_and(|entry| entry.key == key && entry.progress.is_some())
    })
}

/// Where a reply is kept. It can be gone by the time it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    class: Class,
    /// Position in everything that was ever stored, modulo 2^32.
    position: u32,
    len: u16,
}

/// Replies, as they were sent, in two rings of bytes. A reply lies in one piece.
#[derive(Debug)]
pub(super) struct Replies<const BYTES: usize> {
    bytes: [u8; BYTES],
    verified: Ring,
    anybody: Ring,
}

/// A part of the bytes. Positions count bytes from the beginning of time, modulo 2^32.
#[derive(Debug)]
struct Ring {
    start: usize,
    len: usize,
    /// Offset in the ring of the next reply.
    at: usize,
    /// Position of the next reply.
    head: u32,
    /// Replies from before this position have been overwritten.
    tail: u32,
}

impl<const BYTES: usize> Replies<BYTES> {
    /// The ring for anybody has a quarter, but at least `longest` bytes; the rest is for verified
    /// peers, unless there are none.
    pub(super) const fn new(authenticates: bool, longest: usize) -> Self {
        let quarter = if BYTES / 4 > longest { BYTES / 4 } else { longest };
        let split = if authenticates { BYTES.saturating_sub(quarter) } else { 0 };
        Self {
            bytes: [0; BYTES],
            verified: Ring::new(0, split),
            anybody: Ring::new(split, BYTES - split),
        }
    }

    /// Room for a reply of up to `longest` bytes; older replies make way for it. `None` if there can
    /// be no such room. To be followed by [`Replies::commit`] if it is used.
    pub(super) fn room(&mut self, class: Class, longest: usize) -> Option<&mut [u8]> {
        let ring = self.ring(class);
        let start = ring.start + ring.make_room(longest)?;
        self.bytes.get_mut(start..start + longest)
    }

    /// Keeps the first `len` bytes of the room that was given out last.
    pub(super) fn commit(&mut self, class: Class, len: usize) -> Stored {
        let ring = self.ring(class);
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        let position = ring.head;
        ring.head = ring.head.wrapping_add(u32::from(len));
        ring.at += usize::from(len);
        Stored { class, position, len }
    }

    /// A reply, if it has not been overwritten.
    pub(super) fn get(&self, stored: Stored) -> Option<&[u8]> {
        let ring = match stored.class {
            Class::Verified if self.verified.len > 0 => &self.verified,
            _ => &self.anybody,
        };
        let back = ring.head.wrapping_sub(stored.position);
        if back > ring.head.wrapping_sub(ring.tail) {
            return None;
        }
        // The ring's bytes are numbered backwards from `at`, over its start to its end.
        let back = usize::try_from(back).ok()?;
        let offset = if back <= ring.at { ring.at - back } else { ring.at + ring.len - back };
        let start = ring.start + offset;
        self.bytes.get(start..start + usize::from(stored.len))
    }

    fn ring(&mut self, class: Class) -> &mut Ring {
        match class {
            Class::Verified if self.verified.len > 0 => &mut self.verified,
            _ => &mut self.anybody,
        }
    }
}

impl Ring {
    const fn new(start: usize, len: usize) -> Self {
        Self { start, len, at: 0, head: 0, tail: 0 }
    }

    /// Makes `longest` bytes in one piece free and returns their offset in the ring.
    fn make_room(&mut self, longest: usize) -> Option<usize> {
        if longest > self.len {
            return None;
        }
        if self.at + longest > self.len {
            // The rest of the ring stays unused: a position for each of its bytes passes by.
            let skipped = self.len - self.at;
            self.head = self.head.wrapping_add(u32::try_from(skipped).ok()?);
            self.at = 0;
        }
        let kept = u32::try_from(self.len - longest).ok()?;
        if self.head.wrapping_sub(self.tail) > kept {
            self.tail = self.head.wrapping_sub(kept);
        }
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::vec::Vec;

    const T0: Instant = Instant::ZERO;
    const LATER: Instant = Instant::from_secs(100);

    #[test]
    fn an_entry_is_found_until_it_expires() {
        let mut recent = Recent::<8>::new(false);
        assert!(!recent.insert(Class::Anybody, 7, Progress::Silent, T0, LATER));
        assert_eq!(recent.find(7, Instant::from_secs(99)), Some(Progress::Silent));
        assert_eq!(recent.find(7, LATER), None);
        assert_eq!(recent.find(8, T0), None);
        recent.update(7, Progress::Acknowledged);
        assert_eq!(recent.find(7, T0), Some(Progress::Acknowledged));
        recent.update(8, Progress::Acknowledged);
        assert_eq!(recent.find(8, T0), None);
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_first() {
        let mut recent = Recent::<8>::new(false);
        let early: Vec<_> = (0..10_u64)
            .map(|key| recent.insert(Class::Anybody, key << 60, Progress::Silent, T0, LATER))
            .collect();
        assert_eq!(early.iter().filter(|early| **early).count(), 2);
        let found: Vec<_> =
            (0..10_u64).filter(|key| recent.find(key << 60, T0).is_some()).collect();
        assert_eq!(found, [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn anybody_displaces_nothing_of_a_verified_peer() {
        let mut recent = Recent::<16>::new(true);
        for key in 0..12 {
            recent.insert(Class::Verified, key, Progress::Silent, T0, LATER);
        }
        for key in 100..1000 {
            recent.insert(Class::Anybody, key, Progress::Silent, T0, LATER);
        }
        assert!((0..12).all(|key| recent.find(key, T0).is_some()));
        assert_eq!((100..1000).filter(|key| recent.find(*key, T0).is_some()).count(), 4);

        let mut replies = Replies::<4096>::new(true, 512);
        replies.room(Class::Verified, 100).unwrap().fill(1);
        let kept = replies.commit(Class::Verified, 100);
        for _ in 0..100 {
            replies.room(Class::Anybody, 512).unwrap().fill(2);
            replies.commit(Class::Anybody, 400);
        }
        assert_eq!(replies.get(kept), Some(&[1; 100][..]));
    }

    #[test]
    fn an_expired_entry_does_not_hide_a_new_one() {
        let mut recent = Recent::<4>::new(false);
        recent.insert(Class::Anybody, 7, Progress::Silent, T0, Instant::from_secs(1));
        recent.insert(Class::Anybody, 7, Progress::Acknowledged, Instant::from_secs(2), LATER);
        assert_eq!(recent.find(7, Instant::from_secs(3)), Some(Progress::Acknowledged));
    }

    #[test]
    fn a_reply_longer_than_the_ring_has_no_room() {
        let mut replies = Replies::<64>::new(false, 16);
        assert!(replies.room(Class::Anybody, 65).is_none());
        assert!(replies.room(Class::Anybody, 64).is_some());
    }

    proptest! {
        /// A reply is there, whole, or gone; and it is there as long as it and all that came after
        /// it fit the ring twice over.
        #[test]
        fn replies_are_whole_or_gone(
            start in prop_oneof![Just(0_u32), Just(u32::MAX - 700)],
            lengths in prop::collection::vec((1..100_usize, 0..40_usize), 1..100),
        ) {
            const BYTES: usize = 512;
            let mut replies = Replies::<BYTES>::new(false, 128);
            (replies.anybody.head, replies.anybody.tail) = (start, start);
            let mut stored = Vec::new();
            for (i, (len, spare)) in lengths.into_iter().enumerate() {
                let fill = u8::try_from(i).unwrap();
                replies.room(Class::Anybody, len + spare).unwrap().fill(fill);
                stored.push((replies.commit(Class::Anybody, len), len, fill));
                let mut since = 0;
                for (reply, len, fill) in stored.iter().rev() {
                    since += len;
                    match replies.get(*reply) {
                        Some(bytes) => prop_assert_eq!(bytes, &std::vec![*fill; *len][..]),
                        None => prop_assert!(since + 2 * 140 > BYTES),
                    }
                }
            }
        }
    }
}
