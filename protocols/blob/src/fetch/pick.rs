//! Which piece to ask whom for: the rarest that a peer has, among peers of the lowest rank that answer.

use super::peers::{Peer, Peers};
use crate::bitmap::{Bitmap, mask, words_of};
use core::ops::Range;

/// Bits of the count of peers that have a piece.
const PLANES: usize = 4;

/// The most peers that the count can tell apart.
pub(super) const MAX_PEERS: usize = (1 << PLANES) - 1;

/// What may be asked for: pieces of `range` that are not in `taken`.
pub(super) struct Wanted<'a, const WORDS: usize> {
    pub(super) range: Range<u16>,
    pub(super) taken: &'a Bitmap<WORDS>,
}

impl<const WORDS: usize> Wanted<'_, WORDS> {
    fn word(&self, index: u16) -> u32 {
        !self.taken.word(index) & mask(&self.range, index)
    }

    /// Whether `peer` may have any of them.
    pub(super) fn any_at<P>(&self, peer: &Peer<P, WORDS>) -> bool {
        words_of(&self.range).any(|w| self.word(w) & peer.holds.word(w) != 0)
    }
}

/// A peer that may be asked now, and a piece to ask it for. Equally rare pieces are taken in an
/// order that starts where `seed` says, so that nodes that fetch the same blob at the same time
/// begin with different pieces and can help each other.
///
/// The work is bounded by `PEERS` times `PEERS` times `WORDS`.
pub(super) fn pick<P: Copy + Eq, const WORDS: usize, const PEERS: usize>(
    peers: &Peers<P, WORDS, PEERS>,
    wanted: &Wanted<'_, WORDS>,
    seed: u32,
) -> Option<(P, u16)> {
    let mut tried = 0_u16;
    loop {
        let (index, peer) = peers
            .iter()
            .filter(|(index, peer)| tried >> index & 1 == 0 && peer.may_be_asked())
            .min_by_key(|(_, peer)| peer.order())?;
        if let Some(piece) = rarest_of(peers, peer, wanted, seed) {
            return Some((peer.id, piece));
        }
        tried |= 1 << index;
    }
}

fn rarest_of<P: Copy + Eq, const WORDS: usize, const PEERS: usize>(
    peers: &Peers<P, WORDS, PEERS>,
    peer: &Peer<P, WORDS>,
    wanted: &Wanted<'_, WORDS>,
    seed: u32,
) -> Option<u16> {
    let words = words_of(&wanted.range);
    let skip = (seed >> 5) as usize % words.len().max(1);
    let turn = seed % 32;
    let mut best = None;
    for index in words.clone().skip(skip).chain(words.take(skip)) {
        let mut bits = wanted.word(index) & peer.holds.word(index);
        let mut planes = [0_u32; PLANES];
        for (_, other) in peers.iter().filter(|(_, other)| other.is_usable()) {
            let held = other.holds.word(index);
            if other.is_before(peer) {
                bits &= !held;
            }
            let mut carry = held;
            for plane in &mut planes {
                (*plane, carry) = (*plane ^ carry, *plane & carry);
            }
        }
        if bits == 0 {
            continue;
        }
        let (rarest, count) = fewest(bits, &planes);
        if best.is_none_or(|(least, _)| count < least) {
            let bit = (rarest.rotate_right(turn).trailing_zeros() + turn) % 32;
            best = u16::try_from(u32::from(index) * 32 + bit).ok().map(|piece| (count, piece));
        }
    }
    best.map(|(_, piece)| piece)
}

/// The bits of `bits` whose count, spread over `planes` with the least significant first, is the
/// smallest, and that count.
fn fewest(mut bits: u32, planes: &[u32; PLANES]) -> (u32, u8) {
    let mut count = 0;
    for plane in planes.iter().rev() {
        count <<= 1;
        match bits & !plane {
            0 => count |= 1,
            fewer => bits = fewer,
        }
    }
    (bits, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::io::{Config, Holdings};
    use capmesh_wire::Instant;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn peers_with(holdings: &[(u8, u64)]) -> Peers<u8, 2, 4> {
        let mut peers = Peers::new();
        for (id, (rank, pieces)) in (0..).zip(holdings) {
            assert!(peers.up(Instant::ZERO, id, *rank, Holdings::Unknown, &Config::default()));
            let peer = peers.get_mut(id).unwrap();
            for piece in 0..64 {
                if pieces >> piece & 1 == 1 {
                    peer.holds.insert(piece);
                }
            }
        }
        peers
    }

    #[test]
    fn a_higher_rank_is_asked_only_for_what_lower_ranks_lack() {
        let peers = peers_with(&[(1, u64::MAX), (0, !(1 << 40))]);
        let mut taken = Bitmap::EMPTY;
        let next = |taken: &Bitmap<2>| pick(&peers, &Wanted { range: 0..64, taken }, 7);
        for _ in 0..63 {
            let (peer, piece) = next(&taken).unwrap();
            assert_eq!((peer, piece == 40), (1, false));
            taken.insert(piece);
        }
        assert_eq!(next(&taken), Some((0, 40)));
        taken.insert(40);
        assert_eq!(next(&taken), None);
    }

    proptest! {
        /// The picked piece is wanted, held by the picked peer, and no rarer one is.
        #[test]
        fn the_picked_piece_is_the_rarest(
            holdings in proptest::collection::vec(any::<u64>(), 1..=4),
            taken in any::<u64>(), seed in any::<u32>(),
            start in 0_u16..64, len in 0_u16..64,
        ) {
            let range = start..(start + len).min(64);
            let peers = peers_with(&holdings.iter().map(|h| (0, *h)).collect::<Vec<_>>());
            let mut set = Bitmap::EMPTY;
            for piece in (0..64).filter(|piece| taken >> piece & 1 == 1) { set.insert(piece); }
            let count = |piece: u16| holdings.iter().filter(|h| *h >> piece & 1 == 1).count();
            let free = |piece: &u16| taken >> piece & 1 == 0;
            match pick(&peers, &Wanted { range: range.clone(), taken: &set }, seed) {
                None => prop_assert!(range.filter(free).all(|piece| count(piece) == 0)),
                Some((peer, piece)) => {
                    prop_assert!(range.contains(&piece) && free(&piece));
                    let held = holdings[usize::from(peer)];
                    prop_assert!(held >> piece & 1 == 1);
                    let least = range.filter(free).filter(|p| held >> p & 1 == 1).map(count).min();
                    prop_assert_eq!(Some(count(piece)), least);
                }
            }
        }
    }
}
