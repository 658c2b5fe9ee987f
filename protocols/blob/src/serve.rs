//! The side that has blobs: [`Serve`].

use crate::geometry::Geometry;
use capmesh_wire::{Digest, Instant};
use core::time::Duration;

/// What a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The blob.
    pub digest: Digest,
    /// The piece, or [`HOLDINGS`](crate::fetch::HOLDINGS).
    pub piece: u16,
    /// From which byte of it on.
    pub offset: u16,
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
    /// The first `len` bytes of the buffer, which begin at the offset that was asked for.
    Content {
        /// How many bytes were written to the buffer.
        len: u16,
        /// Whether the piece ends with them.
        last: bool,
    },
    /// The piece, or the blob, is not here.
    NotFound,
    /// The blob is not here any more.
    Gone,
    /// Ask again after so many seconds.
    Busy {
        /// At least one.
        seconds: u32,
    },
    /// There is no such offset in the piece.
    BadOffset,
    /// The store has failed.
    Failed,
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

    /// Answers `request` of `peer`'s with at most `buf.len()` bytes, which are written to `buf`.
    /// A piece that is longer is answered in parts.
    ///
    /// The work is bounded by `PEERS`, and one read of the store; for holdings by as many questions
    /// to it as there are bits in `buf`, and no read.
    pub fn answer(
        &mut self,
        now: Instant,
        peer: P,
        request: &Request,
        store: &impl Store,
        buf: &mut [u8],
    ) -> Answer {
        if let Err(seconds) = self.admit(now, peer) {
            return Answer::Busy { seconds };
        }
        let digest = &request.digest;
        let (geometry, whole) = match store.held(digest) {
            Held::Nothing => return Answer::NotFound,
            Held::Gone => return Answer::Gone,
            Held::Part(geometry) => (geometry, false),
            Held::Whole(geometry) => (geometry, true),
        };
        if request.piece == crate::fetch::HOLDINGS {
            return holdings(request, &geometry, whole, store, buf);
        }
        // An empty blob is one empty piece to whoever does not know its size.
        let len = geometry.len(request.piece);
        let exists = request.piece < geometry.pieces() || (request.piece == 0 && whole);
        if !exists || !(whole || store.has(digest, request.piece)) {
            return Answer::NotFound;
        }
        let Some(left) = len.checked_sub(request.offset) else { return Answer::BadOffset };
        let now = u16::try_from(buf.len()).map_or(left, |room| left.min(room));
        let offset = geometry.offset(request.piece) + u32::from(request.offset);
        let Some(room) = buf.get_mut(..usize::from(now)) else { return Answer::Failed };
        match store.read(digest, offset, room) {
            Ok(()) => Answer::Content { len: now, last: now == left },
            Err(ReadError::Busy) => Answer::Busy { seconds: 1 },
            Err(ReadError::Failed) => Answer::Failed,
        }
    }

    /// Counts a request against its peer's rate. Otherwise, how many seconds to wait.
    fn admit(&mut self, now: Instant, peer: P) -> Result<(), u32> {
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

/// Nothing at all if every piece is here, else a bit for each piece, the first in the most
/// significant bit of the first byte.
fn holdings(
    request: &Request,
    geometry: &Geometry,
    whole: bool,
    store: &impl Store,
    buf: &mut [u8],
) -> Answer {
    if whole {
        return Answer::Content { len: 0, last: true };
    }
    let needed = geometry.pieces().div_ceil(8);
    let Some(left) = needed.checked_sub(request.offset) else { return Answer::BadOffset };
    let mut len = 0;
    for (byte, first) in buf.iter_mut().zip((request.offset..needed).map(|byte| byte * 8)) {
        let bits = (first..geometry.pieces()).take(8);
        *byte = (0..)
            .zip(bits)
            .filter(|(_, piece)| store.has(&request.digest, *piece))
            .fold(0, |byte, (bit, _)| byte | 0x80 >> bit);
        len += 1;
    }
    Answer::Content { len, last: len == left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::HOLDINGS;
    use crate::testing::{Stored, noise};
    use std::collections::BTreeSet;

    struct OneBlob {
        stored: Stored,
        held: Held,
        has: BTreeSet<u16>,
        error: Option<ReadError>,
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
            self.error.map_or(Ok(()), Err)
        }
    }

    fn store() -> OneBlob {
        let stored = Stored::new(&noise(3000, 1), 10);
        OneBlob { held: Held::Whole(stored.geometry), stored, has: BTreeSet::new(), error: None }
    }

    const NOW: Instant = Instant::from_secs(1);

    fn ask(store: &OneBlob, piece: u16, offset: u16, buf: &mut [u8]) -> Answer {
        let request = Request { digest: store.stored.blob.digest, piece, offset };
        Serve::<u8>::new(Rate::default()).answer(NOW, 1, &request, store, buf)
    }

    #[test]
    fn pieces_are_given_whole_or_in_parts() {
        let store = store();
        let mut buf = [0; 1024];
        assert_eq!(ask(&store, 2, 0, &mut buf), Answer::Content { len: 952, last: true });
        assert_eq!(buf[..952], store.stored.bytes[2048..3000]);
        assert_eq!(ask(&store, 3, 0, &mut buf), Answer::Content { len: 96, last: true });
        assert_eq!(ask(&store, 0, 512, &mut buf[..64]), Answer::Content { len: 64, last: false });
        assert_eq!(buf[..64], store.stored.bytes[512..576]);
        assert_eq!(ask(&store, 0, 1024, &mut buf), Answer::Content { len: 0, last: true });
        assert_eq!(ask(&store, 0, 1025, &mut buf), Answer::BadOffset);
        assert_eq!(ask(&store, 4, 0, &mut buf), Answer::NotFound);
    }

    #[test]
    fn what_is_not_here_is_said_to_be_missing_or_gone() {
        let mut store = store();
        let mut buf = [0; 1024];
        let other = Request { digest: Digest::of(b""), piece: 0, offset: 0 };
        let mut serve = Serve::<u8>::new(Rate::default());
        assert_eq!(serve.answer(NOW, 1, &other, &store, &mut buf), Answer::NotFound);
        store.held = Held::Part(store.stored.geometry);
        store.has.extend([1, 3]);
        assert_eq!(ask(&store, 0, 0, &mut buf), Answer::NotFound);
        assert_eq!(ask(&store, 1, 0, &mut buf), Answer::Content { len: 1024, last: true });
        assert_eq!(ask(&store, HOLDINGS, 0, &mut buf), Answer::Content { len: 1, last: true });
        assert_eq!(buf[0], 0b0101_0000);
        assert_eq!(ask(&store, HOLDINGS, 2, &mut buf), Answer::BadOffset);
        store.held = Held::Gone;
        assert_eq!(ask(&store, 1, 0, &mut buf), Answer::Gone);
        assert_eq!(ask(&store, HOLDINGS, 0, &mut buf), Answer::Gone);
    }

    #[test]
    fn a_busy_store_asks_for_patience_and_a_broken_one_says_so() {
        let mut store = store();
        let mut buf = [0; 1024];
        assert_eq!(ask(&store, HOLDINGS, 0, &mut buf), Answer::Content { len: 0, last: true });
        store.error = Some(ReadError::Busy);
        assert_eq!(ask(&store, 0, 0, &mut buf), Answer::Busy { seconds: 1 });
        store.error = Some(ReadError::Failed);
        assert_eq!(ask(&store, 0, 0, &mut buf), Answer::Failed);
    }

    #[test]
    fn each_peer_has_its_own_rate_and_new_names_gain_nothing() {
        let store = store();
        let mut buf = [0; 1024];
        let request = Request { digest: store.stored.blob.digest, piece: 0, offset: 0 };
        let rate = Rate { interval: Duration::from_millis(500), burst: 4 };
        let mut serve = Serve::<u8, 2>::new(rate);
        let mut ask = |now, peer| match serve.answer(now, peer, &request, &store, &mut buf) {
            Answer::Content { .. } => 0,
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
