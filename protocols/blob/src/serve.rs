//! The side that has blobs: [`Serve`].

use crate::fetch::HOLDINGS;
use crate::geometry::Geometry;
use capmesh_wire::{Digest, Instant};
use core::time::Duration;

/// What a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The blob.
    pub digest: Digest,
    /// The piece, or [`HOLDINGS`].
    pub piece: u16,
}

/// What a store has of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing, and perhaps something later.
    Nothing,
    /// Nothing any more, on purpose.
    Gone,
    /// The pieces that [`Store::has`] says.
    Part(Geometry),
    /// Every piece.
    Whole(Geometry),
}

/// Why a store cannot read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It can in about a second.
    Busy,
    /// It cannot.
    Failed,
}

/// Where served blobs lie, pages behind the blob (see [`geometry`](crate::geometry)).
pub trait Store {
    /// What there is of the blob.
    fn held(&self, digest: &Digest) -> Held;

    /// Whether a piece of a blob that is held in part is stored and verified.
    fn has(&self, digest: &Digest, piece: u16) -> bool;

    /// Reads `buf.len()` bytes that begin `offset` bytes after the start of the stored blob.
    ///
    /// # Errors
    /// If that is not possible now, or not at all.
    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError>;
}

/// What a peer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A piece, or as much of it as fits a response: to be had from [`Store::read`].
    Piece {
        /// Where it lies, in bytes from the start of the stored blob.
        offset: u32,
        /// How long it is.
        len: u16,
    },
    /// The holdings: what [`holdings`] gives for this.
    Holdings(Held),
    /// The piece, or the blob, is not here.
    NotFound,
    /// The blob is not here any more.
    Gone,
    /// Ask again after so many seconds.
    Busy {
        /// At least one.
        seconds: u32,
    },
}

/// How often one peer may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between requests, in the long run.
    pub interval: Duration,
    /// How many requests may come at once after a pause.
    pub burst: u16,
}

impl Default for Rate {
    /// 50 requests a second, 64 at once: 50 KB/s with chunks of 1 KB.
    fn default() -> Self {
        Self { interval: Duration::from_millis(20), burst: 64 }
    }
}

/// Answers peers out of a [`Store`], each at its own bounded rate.
///
/// It remembers the rate of `PEERS` peers. One more takes the place of the peer that has been quiet
/// for longest, with that one's allowance: changing names gains nothing.
#[derive(Clone, Debug)]
pub struct Serve<P, const PEERS: usize = 8> {
    rate: Rate,
    /// For each peer, when it would have used up what it may, had it asked at the steady rate
    /// (the virtual scheduling algorithm of ITU-T I.371).
    table: [(Option<P>, Instant); PEERS],
}

impl<P: Copy + Eq, const PEERS: usize> Serve<P, PEERS> {
    const BOUNDS: () = assert!(PEERS > 0);

    /// Answers each peer at this rate.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        const { Self::BOUNDS };
        Self { rate, table: [(None, Instant::ZERO); PEERS] }
    }

    /// Decides about a request of `peer`'s. A piece that is answered in parts counts as one request
    /// for each part.
    ///
    /// The work is bounded by `PEERS`, and two questions to the store.
    pub fn answer(
        &mut self,
        now: Instant,
        peer: P,
        request: &Request,
        store: &(impl Store + ?Sized),
    ) -> Answer {
        if let Err(seconds) = self.admit(now, peer) {
            return Answer::Busy { seconds };
        }
        let held = store.held(&request.digest);
        let (geometry, whole) = match held {
            Held::Nothing => return Answer::NotFound,
            Held::Gone => return Answer::Gone,
            Held::Part(geometry) => (geometry, false),
            Held::Whole(geometry) => (geometry, true),
        };
        let piece = request.piece;
        if piece == HOLDINGS {
            return Answer::Holdings(held);
        }
        // To whoever knows nothing but its digest, an empty blob is one empty piece.
        let exists = piece < geometry.pieces() || (piece == 0 && whole);
        if exists && (whole || store.has(&request.digest, piece)) {
            Answer::Piece { offset: geometry.offset(piece), len: geometry.len(piece) }
        } else {
            Answer::NotFound
        }
    }

    /// Counts a request against its peer's rate.
    ///
    /// # Errors
    /// How many seconds to wait.
    pub fn admit(&mut self, now: Instant, peer: P) -> Result<(), u32> {
        let known = self.table.iter().position(|(id, _)| *id == Some(peer));
        let place = match known {
            Some(index) => self.table.get_mut(index),
            None => self.table.iter_mut().min_by_key(|(id, at)| (id.is_some(), *at)),
        };
        let Some((id, used_up)) = place else { return Ok(()) };
        *id = Some(peer);
        let tolerance = self.rate.interval * u32::from(self.rate.burst.max(1) - 1);
        let early = used_up.saturating_since(now);
        match early.checked_sub(tolerance).filter(|wait| !wait.is_zero()) {
            Some(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
                Err(seconds.saturating_add(1))
            }
            None => {
                *used_up = (*used_up).max(now) + self.rate.interval;
                Ok(())
            }
        }
    }
}

/// Holdings as they travel: nothing at all if every piece is held, else a bit for each piece, the
/// first in the most significant bit of the first byte. Each byte asks the store eight times.
pub fn holdings<'a>(
    store: &'a (impl Store + ?Sized),
    digest: &'a Digest,
    held: Held,
) -> impl Iterator<Item = u8> + 'a {
    let pieces = match held {
        Held::Part(geometry) => geometry.pieces(),
        Held::Whole(_) | Held::Nothing | Held::Gone => 0,
    };
    (0..pieces).step_by(8).map(move |first| {
        (0..8)
            .zip(first..pieces)
            .filter(|(_, piece)| store.has(digest, *piece))
            .fold(0, |byte, (bit, _)| byte | 0x80 >> bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stored, noise};
    use std::collections::BTreeSet;

    struct OneBlob {
        stored: Stored,
        held: Held,
        has: BTreeSet<u16>,
    }

    impl Store for OneBlob {
        fn held(&self, digest: &Digest) -> Held {
            if *digest == self.stored.blob.digest { self.held } else { Held::Nothing }
        }

        fn has(&self, _: &Digest, piece: u16) -> bool {
            self.has.contains(&piece)
        }

        fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
            buf.copy_from_slice(&self.stored.bytes[offset as usize..][..buf.len()]);
            Ok(())
        }
    }

    fn store() -> OneBlob {
        let stored = Stored::new(&noise(3000, 1), 10);
        OneBlob { held: Held::Whole(stored.geometry), stored, has: BTreeSet::new() }
    }

    const NOW: Instant = Instant::from_secs(1);

    fn ask(store: &OneBlob, piece: u16) -> Answer {
        let request = Request { digest: store.stored.blob.digest, piece };
        Serve::<u8>::new(Rate::default()).answer(NOW, 1, &request, store)
    }

    #[test]
    fn pieces_are_where_the_geometry_says() {
        let store = store();
        assert_eq!(ask(&store, 2), Answer::Piece { offset: 2048, len: 952 });
        assert_eq!(ask(&store, 3), Answer::Piece { offset: 3072, len: 96 });
        assert_eq!(ask(&store, 4), Answer::NotFound);
        let empty = Stored::new(b"", 10);
        let store = OneBlob { held: Held::Whole(empty.geometry), stored: empty, ..store };
        assert_eq!(ask(&store, 0), Answer::Piece { offset: 0, len: 0 });
        assert_eq!(ask(&store, 1), Answer::NotFound);
    }

    #[test]
    fn what_is_not_here_is_said_to_be_missing_or_gone() {
        let mut store = store();
        let other = Request { digest: Digest::of(b""), piece: 0 };
        let mut serve = Serve::<u8>::new(Rate::default());
        assert_eq!(serve.answer(NOW, 1, &other, &store), Answer::NotFound);
        store.held = Held::Part(store.stored.geometry);
        store.has.extend([1, 3]);
        assert_eq!(ask(&store, 0), Answer::NotFound);
        assert_eq!(ask(&store, 1), Answer::Piece { offset: 1024, len: 1024 });
        assert_eq!(ask(&store, HOLDINGS), Answer::Holdings(store.held));
        store.held = Held::Gone;
        assert_eq!(ask(&store, 1), Answer::Gone);
        assert_eq!(ask(&store, HOLDINGS), Answer::Gone);
    }

    #[test]
    fn holdings_are_bits_unless_everything_is_held() {
        let stored = Stored::new(&noise(2400, 1), 8);
        let pieces = stored.geometry.pieces();
        assert_eq!(pieces, 13);
        let digest = stored.blob.digest;
        let geometry = stored.geometry;
        let has = [1, 3, 8, 12].into();
        let store = OneBlob { held: Held::Part(geometry), stored, has };
        let bytes: std::vec::Vec<_> = holdings(&store, &digest, store.held).collect();
        assert_eq!(bytes, [0b0101_0000, 0b1000_1000]);
        assert_eq!(holdings(&store, &digest, Held::Whole(geometry)).count(), 0);
    }

    #[test]
    fn each_peer_has_its_own_rate_and_new_names_gain_nothing() {
        let store = store();
        let request = Request { digest: store.stored.blob.digest, piece: 0 };
        let rate = Rate { interval: Duration::from_millis(500), burst: 4 };
        let mut serve = Serve::<u8, 2>::new(rate);
        let mut ask = |now, peer| match serve.answer(now, peer, &request, &store) {
            Answer::Piece { .. } => 0,
            Answer::Busy { seconds } => seconds,
            other => panic!("{other:?}"),
        };
        for peer in [1, 2] {
            assert_eq!([0; 5].map(|_| ask(NOW, peer)), [0, 0, 0, 0, 1], "peer {peer}");
        }
        assert_eq!(ask(NOW, 3), 1);
        assert_eq!(ask(NOW + Duration::from_millis(499), 2), 1);
        assert_eq!(ask(NOW + Duration::from_millis(500), 2), 0);
        assert_eq!(ask(NOW + Duration::from_millis(500), 2), 1);
        assert_eq!([0; 5].map(|_| ask(NOW + Duration::from_secs(60), 2)), [0, 0, 0, 0, 1]);
    }
}
