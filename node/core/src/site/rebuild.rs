//! The roster that a delta leads to, stretch by stretch, for one that is too long for RAM.

use capmesh_wire::Roster;
use capmesh_wire::cbor::{Decode, Reader, Writer};
use capmesh_wire::cose::Sign1;
use capmesh_wire::roster::Delta;

/// Bytes in front of the entries: an array of two, the signed head, the head of a byte string.
const HEAD: usize = capmesh_wire::limits::ROSTER_HEAD + 8;

/// The encoding of the roster that comes out.
pub(super) struct Rebuilt<'r> {
    delta: &'r Delta<'r>,
    base: &'r Roster<'r>,
    head: heapless::Vec<u8, HEAD>,
    entries: usize,
}

impl<'r> Rebuilt<'r> {
    /// `encoded` is what `delta` was parsed from. `None` if its head is too long.
    pub(super) fn new(encoded: &[u8], delta: &'r Delta<'r>, base: &'r Roster<'r>) -> Option<Self> {
        // An array of four, of which the signed head comes first.
        let mut reader = Reader::new(encoded.get(1..)?);
        Sign1::read(&mut reader);
        reader.status().ok()?;
        let entries = delta.merge(base).map(<[u8]>::len).sum();
        let mut head = [0; HEAD];
        let mut writer = Writer::new(&mut head);
        writer.array(2).raw(reader.since(0)).bytes_head(entries);
        let head = heapless::Vec::from_slice(writer.written()).ok()?;
        writer.status().ok()?;
        Some(Self { delta, base, head, entries })
    }

    /// Bytes of the whole.
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.entries
    }

    /// Fills `out` with the bytes from `offset` on; less if it ends there. Returns how many there
    /// are. The work is a pass over both rosters.
    pub(super) fn read(&self, offset: usize, out: &mut [u8]) -> usize {
        let (mut at, mut filled) = (0, 0);
        for part in core::iter::once(self.head.as_slice()).chain(self.delta.merge(self.base)) {
            let skipped = offset.saturating_sub(at).min(part.len());
            at += part.len();
            let part = part.get(skipped..).unwrap_or_default();
            let Some(room) = out.get_mut(filled..) else { break };
            let count = part.len().min(room.len());
            for (to, from) in room.iter_mut().zip(part) {
                *to = *from;
            }
            filled += count;
            if filled == out.len() {
                break;
            }
        }
        filled
    }
}
