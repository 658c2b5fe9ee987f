//! The messages of exchanges, kept to be sent again.

/// Bytes in front of each message: its slot, its length.
pub(super) const HEADER: usize = 4;

/// A message of up to `MTU` bytes for each slot. With `HEADER` and `MTU` bytes for each, it has a place
/// of its own; with fewer, messages lie one behind the other in as many bytes as they take.
#[derive(Debug)]
pub(super) struct Messages<const MTU: usize, const BYTES: usize, const SLOTS: usize> {
    bytes: [u8; BYTES],
    /// One more than where a slot's message begins, with its header; 0 if it has none.
    places: [u32; SLOTS],
    /// What lies behind is free. What lies before is either a slot's message or was one.
    end: usize,
}

impl<const MTU: usize, const BYTES: usize, const SLOTS: usize> Messages<MTU, BYTES, SLOTS> {
    /// As a constant it is cleared where it comes to lie; as an expression, on the stack first. All of
    /// it is zero, so that it takes no flash.
    pub(super) const EMPTY: Self = Self { bytes: [0; BYTES], places: [0; SLOTS], end: 0 };

    /// Whether each slot has a place of its own, so that nothing is ever moved: boards have no room for
    /// the code either.
    const IS_ROOMY: bool = BYTES >= SLOTS * (HEADER + MTU);

    /// Room for a slot's message of up to `longest` bytes, in the place of the one that it had; `None`
    /// if the others leave too little. [`Messages::shorten`] says how long it became.
    #[inline(never)]
    pub(super) fn room(&mut self, slot: u16, longest: usize) -> Option<&mut [u8]> {
        if !Self::IS_ROOMY {
            self.release(slot);
            if !self.has_room(longest) {
                return None;
            }
            *self.places.get_mut(usize::from(slot))? = place(self.end);
            self.end += HEADER + longest;
        }
        let start = self.start(slot)?;
        let (header, message) = self.bytes.get_mut(start..)?.split_first_chunk_mut::<HEADER>()?;
        *header = join(slot, longest);
        message.get_mut(..longest)
    }

    /// Whether there is room for one more message of so many bytes.
    pub(super) fn has_room(&mut self, longest: usize) -> bool {
        if Self::IS_ROOMY {
            return longest <= MTU;
        }
        let needed = HEADER + longest;
        if needed > BYTES - self.end {
            self.compact();
        }
        needed <= BYTES - self.end
    }

    /// Keeps `message` for a slot, in the place of the one that it had. Returns whether it fits.
    pub(super) fn put(&mut self, slot: u16, message: &[u8]) -> bool {
        let room = self.room(slot, message.len());
        room.map(|room| room.copy_from_slice(message)).is_some()
    }

    /// Says how long the message is that was written into the room that was given last.
    pub(super) fn shorten(&mut self, slot: u16, len: usize) {
        let Some(start) = self.start(slot) else { return };
        let record = self.bytes.get_mut(start..).unwrap_or_default();
        if let Some(header) = record.first_chunk_mut() {
            *header = join(slot, len);
            self.end = start + HEADER + len;
        }
    }

    /// A slot's message; empty if it has none.
    #[inline(never)]
    pub(super) fn get(&self, slot: u16) -> &[u8] {
        let record =
            self.start(slot).and_then(|start| self.bytes.get(start..)?.split_first_chunk());
        record.and_then(|(header, rest)| rest.get(..split(*header).1)).unwrap_or_default()
    }

    /// Writes another message id into a slot's message.
    pub(super) fn set_id(&mut self, slot: u16, id: u16) {
        let Some(start) = self.start(slot) else { return };
        let message = self.bytes.get_mut(start + HEADER..).unwrap_or_default();
        if let Some(bytes) = message.get_mut(2..4) {
            bytes.copy_from_slice(&id.to_be_bytes());
        }
    }

    /// Forgets a slot's message.
    pub(super) fn release(&mut self, slot: u16) {
        if Self::IS_ROOMY {
            self.shorten(slot, 0);
        } else if let Some(place) = self.places.get_mut(usize::from(slot)) {
            *place = 0;
        }
    }

    fn start(&self, slot: u16) -> Option<usize> {
        let slot = usize::from(slot);
        if Self::IS_ROOMY {
            return Some(slot * (HEADER + MTU));
        }
        usize::try_from(*self.places.get(slot)?).ok()?.checked_sub(1)
    }

    /// Moves messages together, over those that are no slot's any more.
    fn compact(&mut self) {
        let (mut from, mut to) = (0, 0);
        while let Some(header) = self.bytes.get(from..self.end).and_then(<[u8]>::first_chunk) {
            let (slot, len) = split(*header);
            let next = from + HEADER + len;
            if self.start(slot) == Some(from)
                && let Some(kept) = self.places.get_mut(usize::from(slot))
            {
                *kept = place(to);
                self.bytes.copy_within(from..next, to);
                to += next - from;
            }
            from = next;
        }
        self.end = to;
    }
}

/// How it is noted that a message begins at `start`.
#[expect(clippy::cast_possible_truncation, reason = "an endpoint has less than 4 GB of messages")]
const fn place(start: usize) -> u32 {
    start as u32 + 1
}

/// A header's bytes.
#[expect(clippy::cast_possible_truncation, reason = "a message is no longer than a datagram")]
const fn join(slot: u16, len: usize) -> [u8; HEADER] {
    let ([a, b], [c, d]) = (slot.to_ne_bytes(), (len as u16).to_ne_bytes());
    [a, b, c, d]
}

/// The slot and the length that a header has.
fn split([a, b, c, d]: [u8; HEADER]) -> (u16, usize) {
    (u16::from_ne_bytes([a, b]), usize::from(u16::from_ne_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::vec;
    use std::vec::Vec;

    const LONGEST: usize = 20;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16, Vec<u8>),
        Write(u16, Vec<u8>),
        Release(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let message = || proptest::collection::vec(any::<u8>(), 0..=LONGEST);
        prop_oneof![
            (0_u16..6, message()).prop_map(|(slot, message)| Step::Put(slot, message)),
            (0_u16..6, message()).prop_map(|(slot, message)| Step::Write(slot, message)),
            (0_u16..6).prop_map(Step::Release),
        ]
    }

    /// Does the same with a map, and compares.
    fn run<const BYTES: usize>(steps: Vec<Step>) -> usize {
        let mut messages = Messages::<LONGEST, BYTES, 6>::EMPTY;
        let (mut model, mut refused) = (HashMap::new(), 0);
        for step in steps {
            let (slot, message, fits) = match step {
                Step::Release(slot) => {
                    messages.release(slot);
                    model.remove(&slot);
                    continue;
                }
                Step::Put(slot, message) => {
                    let fits = messages.put(slot, &message);
                    (slot, message, fits)
                }
                Step::Write(slot, message) => {
                    let room = messages.room(slot, LONGEST);
                    let fits = room.is_some();
                    if let Some(room) = room {
                        room[..message.len()].copy_from_slice(&message);
                        messages.shorten(slot, message.len());
                    }
                    (slot, message, fits)
                }
            };
            model.remove(&slot);
            if fits {
                model.insert(slot, message);
            } else {
                refused += 1;
                let taken: usize = model.values().map(|message| HEADER + message.len()).sum();
                assert!(taken + HEADER + LONGEST > BYTES, "{taken} bytes are taken");
            }
            for slot in 0..6 {
                let expected = model.get(&slot).map_or(&[][..], |message| message);
                assert_eq!(messages.get(slot), expected);
            }
        }
        refused
    }

    proptest! {
        #[test]
        fn each_slot_has_what_was_put_there(steps in proptest::collection::vec(step(), 0..60)) {
            run::<70>(steps);
        }

        #[test]
        fn with_a_datagram_for_each_slot_nothing_is_refused(
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            prop_assert_eq!(run::<{ 6 * (LONGEST + HEADER) }>(steps), 0);
        }
    }

    #[test]
    fn what_is_full_leaves_the_others_as_they_are() {
        let mut messages = Messages::<8, 16, 2>::EMPTY;
        assert!(messages.put(0, &[1; 8]));
        assert!(!messages.put(1, &[2; 1]));
        assert!(messages.get(1).is_empty());
        assert_eq!(messages.get(0), vec![1; 8]);
        assert!(messages.put(1, &[]));
        assert!(!messages.put(7, &[]));
    }
}
