//! How nodes find each other, and what they tell of what they hold.

use crate::cbor::List;
use crate::cbor::macros::{record, tuple};
use crate::digest::{Digest, DigestPrefix};
use crate::id::{NodeId, Revision};
use crate::limits;
use crate::plan::Address;
use crate::roster::Role;
use crate::text::Bytes;

record! {
    /// Announces a node on its link, to all CoAP nodes (RFC 7252 section 12.8) at the pace of Trickle
    /// (RFC 6206). It is a hint: nothing in it is authenticated, and all it leads to is a handshake
    /// or a request for something that is signed.
    pub struct Announce<'a> {
        /// The version of this vocabulary that it speaks ([`VERSION`](crate::VERSION)).
        0 => wire: u8,
        /// Who it is.
        1 => node: NodeId,
        /// What it is.
        2 => role: Role,
        /// The roster that it holds; absent if it belongs to no site yet.
        3 => roster: Option<Revision>,
        /// The plan that it holds; absent if none.
        4 => plan: Option<Revision>,
        /// The start of the digest over the sorted digests of the capsules that it holds: neighbours
        /// ask what they are when it changes.
        5 => holds: Option<DigestPrefix>,
        /// Where it can be reached beside the address that this came from.
        6 => addresses: List<'a, Address, { limits::ADDRESSES }>,
    }
}

tuple! {
    /// Asks for a piece of a blob: a chunk, or a digest page behind the chunks.
    pub struct PieceRequest {
        /// The blob.
        blob: Digest,
        /// The number of the piece.
        piece: u32,
    }
}

tuple! {
    /// Tells which pieces of a blob a node holds.
    pub struct Have<'a> {
        /// The blob.
        blob: Digest,
        /// The number of the piece that the first bit stands for, a multiple of 8.
        first: u32,
        /// A bit for each piece, the lowest first: 1 if it is held. What is behind the last byte is
        /// not said.
        held: Bytes<'a, { limits::HAVE }>,
    }
}

impl Have<'_> {
    /// Whether a piece is said to be held.
    #[must_use]
    pub fn holds(&self, piece: u32) -> bool {
        let Some(bit) = piece.checked_sub(self.first) else { return false };
        let byte = usize::try_from(bit / 8).ok().and_then(|at| self.held.as_slice().get(at));
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_for_each_piece() {
        let have =
            Have { blob: Digest::of(b""), first: 8, held: Bytes::new(&[0b101, 0x80]).unwrap() };
        for piece in 0..64 {
            assert_eq!(have.holds(piece), [8, 10, 23].contains(&piece), "{piece}");
        }
        assert!(!have.holds(u32::MAX));
    }
}
