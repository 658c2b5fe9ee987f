//! Request bodies at the server, and the responses that cannot be rendered twice.

use super::{BadBlock, BlockSize, BlockValue, ETag, ETagHasher, length};
use crate::message::{Code, Message};
use crate::option::OptionNumber;
use capmesh_wire::Instant;
use core::time::Duration;

/// What makes requests parts of one body: their code and all their options, apart from Block1,
/// Block2, Observe and those that are not part of the cache key (RFC 7959 section 2.5, RFC 9175
/// section 3.3; Size1, Size2 and Echo are among them, Request-Tag is not).
///
/// It is a hash, not a copy. Whoever can make two requests of the same peer collide could as well
/// send two that are equal, so nothing is gained by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyKey(u64);

impl BodyKey {
    /// The key of a request.
    #[must_use]
    pub fn of(request: &Message<'_>) -> Self {
        let mut hash = ETagHasher::new();
        hash.write(&[request.code().0]);
        for (number, value) in request.options() {
            let varies = match number {
                OptionNumber::BLOCK1 | OptionNumber::BLOCK2 | OptionNumber::OBSERVE => true,
                number => number.is_no_cache_key(),
            };
            if !varies {
                hash.write(&number.0.to_be_bytes());
                hash.write(&length(value.len()).to_be_bytes());
                hash.write(value);
            }
        }
        Self(hash.finish())
    }
}

/// Why a block was refused. Each is a response; the machine has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRefusal {
    /// 4.13 with Size1: the body is, or says it will be, larger than `limit` bytes.
    TooLarge {
        /// The most bytes that are taken.
        limit: u32,
    },
    /// 4.08: the blocks before this one have not come, or have been forgotten.
    Incomplete,
    /// 4.00: the payload's length does not go with the Block1 option.
    Malformed,
    /// 5.03 with Max-Age: as many bodies as there are slots for are under way.
    Full {
        /// Seconds until the first of them is given up.
        retry_after: u32,
    },
}

impl BlockRefusal {
    /// The code of the response.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::REQUEST_ENTITY_TOO_LARGE,
            Self::Incomplete => Code::REQUEST_ENTITY_INCOMPLETE,
            Self::Malformed => Code::BAD_REQUEST,
            Self::Full { .. } => Code::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<BadBlock> for BlockRefusal {
    fn from(_: BadBlock) -> Self {
        Self::Malformed
    }
}

/// A block that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which slot the body is tracked in.
    pub slot: usize,
    /// Where in the body the block belongs, in bytes.
    pub offset: u32,
    /// Whether more is to come. If not, the body is complete.
    pub more: bool,
    /// Whether this block has come before, and must not be used again.
    pub repeated: bool,
    /// The Block1 option of the response.
    pub answer: BlockValue,
}

#[derive(Clone, Copy, Debug)]
struct Track<P> {
    peer: P,
    key: BodyKey,
    /// How much of the body has come.
    received: u32,
    /// When the body is given up.
    deadline: Instant,
    /// Set once the slot holds a response rather than a request.
    serving: Option<Served>,
    /// Set once the response's last block has been served.
    finished: bool,
}

/// What is kept of a response beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The response's code.
    pub code: Code,
    /// Its Content-Format.
    pub content_format: Option<u16>,
    /// Its entity-tag.
    pub etag: ETag,
    /// Its length in bytes.
    pub len: u32,
}

/// Keeps count of bodies that come in blocks, without their bytes: enough for a resource that takes
/// each block as it comes (to flash, say).
///
/// A body is known by its peer and [`BodyKey`]. It starts with block 0, which also starts it over;
/// its blocks must come in order; it is given up when none has come for the `patience` that
/// [`Tracker::new`] is told. At most `SLOTS` are under way at once, whoever sends them.
#[derive(Debug)]
pub struct Tracker<P, const SLOTS: usize> {
    tracks: [Option<Track<P>>; SLOTS],
    patience: Duration,
    preferred: BlockSize,
}

impl<P: Copy + Eq, const SLOTS: usize> Tracker<P, SLOTS> {
    /// A tracker that gives a body up after `patience` (RFC 7959 section 2.5 speaks of
    /// EXCHANGE_LIFETIME, 247 s; a client that goes on takes a few seconds between blocks) and asks
    /// for blocks of `preferred` bytes.
    #[must_use]
    pub const fn new(patience: Duration, preferred: BlockSize) -> Self {
        Self { tracks: [const { None }; SLOTS], patience, preferred }
    }

    /// Takes note of a block with this Block1 option. The body may have `limit` bytes; one that says
    /// in Size1 that it has more is refused at its first block.
    ///
    /// # Errors
    /// The refusal to send. The body so far is forgotten when it cannot be completed any more.
    pub fn accept(
        &mut self,
        now: Instant,
        peer: P,
        request: &Message<'_>,
        block: BlockValue,
        limit: u32,
    ) -> Result<Accepted, BlockRefusal> {
        let key = BodyKey::of(request);
        let len = request.payload().len();
        if !block.fits(len) || (block.more() && len == 0) {
            return Err(BlockRefusal::Malformed);
        }
        let found = self.find(now, peer, key, false);
        let end = block.offset().saturating_add(length(len));
        let announced = request.option_uint(OptionNumber::SIZE1).unwrap_or_default();
        if end.max(announced) > limit {
            self.forget(found);
            return Err(BlockRefusal::TooLarge { limit });
        }
        let slot = match found {
            Some(slot) => slot,
            None if block.num() == 0 => self.free_slot(now)?,
            None => return Err(BlockRefusal::Incomplete),
        };
        let received = match self.tracks.get(slot) {
            Some(Some(track)) if block.num() > 0 => track.received,
            _ => 0,
        };
        // The block before the next one comes again when its response was lost and the message layer
        // has forgotten the exchange.
        let repeated = block.num() > 0 && end == received && block.more();
        if block.offset() != received && !repeated {
            self.forget(found);
            return Err(BlockRefusal::Incomplete);
        }
        let deadline = now + self.patience;
        let track = Track { peer, key, received: end, deadline, serving: None, finished: false };
        if let Some(place) = self.tracks.get_mut(slot) {
            *place = Some(track);
        }
        let answer = self.answer(block);
        Ok(Accepted { slot, offset: block.offset(), more: block.more(), repeated, answer })
    }

    /// Forgets the body in `slot`: it has been used, or its resource does not want the rest.
    pub fn release(&mut self, slot: usize) {
        self.forget(Some(slot));
    }

    /// Forgets the body in `slot` if it is one of this peer's and not complete.
    pub fn abandon(&mut self, slot: usize, peer: P) {
        if let Some(place) = self.tracks.get_mut(slot) {
            place.take_if(|track| track.peer == peer && track.serving.is_none());
        }
    }

    /// When the next body is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tracks.iter().flatten().map(|track| track.deadline).min()
    }

    /// The block number of the request, with M as it came and the smaller of both sides' sizes.
    fn answer(&self, block: BlockValue) -> BlockValue {
        let size = block.size().min(self.preferred);
        BlockValue::new(block.num(), block.more(), size).unwrap_or(block)
    }

    fn find(&self, now: Instant, peer: P, key: BodyKey, serving: bool) -> Option<usize> {
        self.tracks.iter().position(|track| {
            track.as_ref().is_some_and(|track| {
                track.peer == peer
                    && track.key == key
                    && track.serving.is_some() == serving
                    && track.deadline > now
            })
        })
    }

    /// A slot that is free or whose body has been given up, else one whose response has been served.
    fn free_slot(&self, now: Instant) -> Result<usize, BlockRefusal> {
        let free = |track: &Option<Track<P>>| track.as_ref().is_none_or(|t| t.deadline <= now);
        let finished = |track: &Option<Track<P>>| track.as_ref().is_some_and(|t| t.finished);
        let mut tracks = self.tracks.iter();
        tracks.position(free).or_else(|| self.tracks.iter().position(finished)).ok_or_else(|| {
            let wait = self.poll_timeout().unwrap_or(now).saturating_since(now);
            let retry_after = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            BlockRefusal::Full { retry_after }
        })
    }

    fn forget(&mut self, slot: Option<usize>) {
        if let Some(place) = slot.and_then(|slot| self.tracks.get_mut(slot)) {
            *place = None;
        }
    }
}

/// A [`Tracker`] with room for the bytes: `SLOTS` bodies of at most `BYTES` bytes each.
///
/// A slot also keeps the body of a response that takes several blocks and cannot be rendered again,
/// because its request was not a GET: [`Assembler::keep`], then [`Assembler::serve`] for each block.
/// It is kept for as long as an unfinished body is, and gives way to one as soon as its last block
/// has been served.
#[derive(Debug)]
pub struct Assembler<P, const SLOTS: usize, const BYTES: usize> {
    tracker: Tracker<P, SLOTS>,
    bytes: [[u8; BYTES]; SLOTS],
}

impl<P: Copy + Eq, const SLOTS: usize, const BYTES: usize> Assembler<P, SLOTS, BYTES> {
    /// As a constant it is cleared where it comes to lie; as an expression, on the stack first.
    const EMPTY: [[u8; BYTES]; SLOTS] = [[0; BYTES]; SLOTS];

    /// As [`Tracker::new`].
    #[must_use]
    pub const fn new(patience: Duration, preferred: BlockSize) -> Self {
        Self { tracker: Tracker::new(patience, preferred), bytes: Self::EMPTY }
    }

    /// Takes note of a block and stores its bytes.
    ///
    /// # Errors
    /// As [`Tracker::accept`]; nothing is stored.
    pub fn store(
        &mut self,
        now: Instant,
        peer: P,
        request: &Message<'_>,
        block: BlockValue,
    ) -> Result<Accepted, BlockRefusal> {
        let accepted = self.tracker.accept(now, peer, request, block, length(BYTES))?;
        if !accepted.repeated {
            let place = self.bytes.get_mut(accepted.slot);
            let place = place.and_then(|bytes| bytes.get_mut(accepted.offset as usize..));
            let place = place.and_then(|bytes| bytes.get_mut(..request.payload().len()));
            place.ok_or(BlockRefusal::Malformed)?.copy_from_slice(request.payload());
        }
        Ok(accepted)
    }

    /// The tracker, for bodies that are not stored here.
    pub const fn tracker(&mut self) -> &mut Tracker<P, SLOTS> {
        &mut self.tracker
    }

    /// What has been stored of the body in `slot`.
    #[must_use]
    pub fn body(&self, slot: usize) -> &[u8] {
        let track = self.tracker.tracks.get(slot).and_then(Option::as_ref);
        let len = track.map_or(0, |track| track.received as usize);
        self.bytes.get(slot).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }

    /// The complete body in `slot`, if it is one, and the room of a free slot for the response, if
    /// there is one, with its number.
    pub fn body_and_room(
        &mut self,
        now: Instant,
        slot: Option<usize>,
    ) -> (&[u8], Option<(usize, &mut [u8])>) {
        let len = slot.map_or(0, |slot| self.body(slot).len());
        let room = self.tracker.free_slot(now).ok();
        // What may have been kept there is about to be written over.
        self.tracker.forget(room);
        match (slot, room) {
            (Some(slot), Some(room)) => match self.bytes.get_disjoint_mut([slot, room]) {
                Ok([body, bytes]) => (body.get(..len).unwrap_or_default(), Some((room, bytes))),
                Err(_) => (&[], None),
            },
            (None, Some(room)) => {
                (&[], self.bytes.get_mut(room).map(|bytes| (room, bytes.as_mut_slice())))
            }
            (Some(slot), None) => (self.body(slot), None),
            (None, None) => (&[], None),
        }
    }

    /// Keeps the response whose body has been written to the room of `slot`, for the later blocks
    /// that `peer` will ask for with requests of the same key.
    pub fn keep(&mut self, now: Instant, slot: usize, peer: P, key: BodyKey, response: Served) {
        let previous = self.tracker.find(now, peer, key, true);
        self.tracker.forget(previous);
        if let Some(place) = self.tracker.tracks.get_mut(slot) {
            let deadline = now + self.tracker.patience;
            let (received, serving) = (response.len, Some(response));
            *place = Some(Track { peer, key, received, deadline, serving, finished: false });
        }
    }

    /// A kept response and the bytes of one block of it.
    ///
    /// # Errors
    /// [`BlockRefusal::Incomplete`] if no such response is kept, [`BlockRefusal::Malformed`] if it has
    /// no such block.
    pub fn serve(
        &mut self,
        now: Instant,
        peer: P,
        request: &Message<'_>,
        block: BlockValue,
    ) -> Result<(Served, BlockValue, &[u8]), BlockRefusal> {
        let slot = self.tracker.find(now, peer, BodyKey::of(request), true);
        let slot = slot.ok_or(BlockRefusal::Incomplete)?;
        let track = self.tracker.tracks.get_mut(slot).and_then(Option::as_mut);
        let track = track.ok_or(BlockRefusal::Incomplete)?;
        let served = track.serving.ok_or(BlockRefusal::Incomplete)?;
        if block.offset() >= served.len {
            return Err(BlockRefusal::Malformed);
        }
        let end = block.offset().saturating_add(block.size().bytes()).min(served.len);
        track.deadline = now + self.tracker.patience;
        track.finished |= end == served.len;
        let bytes = self.bytes.get(slot).and_then(|b| b.get(block.offset() as usize..end as usize));
        let answer = BlockValue::new(block.num(), end < served.len, block.size());
        Ok((served, answer.unwrap_or(block), bytes.unwrap_or_default()))
    }
}
