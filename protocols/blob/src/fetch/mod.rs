//! The side that wants a blob: [`Fetch`].
//!
//! The pieces of a level (see [`geometry`](crate::geometry)) are fetched before those of the level
//! below, so that the digest of every piece asked for is stored and verified; within a level in any
//! order, from as many peers at once as there are, the rarest first. A piece is verified as it
//! arrives, copied into a buffer, and given out to be written; nothing else ever is. At the end the
//! blob is read back for the digest of the whole. If that is wrong, every stored piece is read
//! back and verified once, and those that storage has spoilt are fetched again.
//!
//! # Back-pressure
//! While no buffer is free, no piece is asked for; where pieces come in parts, no more than there
//! are free buffers. A piece that was in flight and arrives when none is free is dropped, and the number of requests in flight shrinks; it grows again with pieces written.
//!
//! # RAM
//! With the default bounds, for blobs of up to 1 MB at 1 KB chunks, 3.6 KB in all if a peer is named
//! by a number, of which 2 KB are two buffers, 0.7 KB four peers and the pieces that they have, and
//! 0.3 KB four requests. One buffer takes 1 KB less and drops more of what arrives while storage is
//! slow.

mod advance;
mod arrive;
mod io;
mod peers;
mod pick;
mod slots;
mod storage;
#[cfg(test)]
mod tests;

pub use io::{
    Config, Counters, DropReason, Failure, HOLDINGS, Holdings, Input, MIN_PART, Output, Refusal,
    Trust,
};

use crate::bitmap::Bitmap;
use crate::geometry::{Geometry, MAX_CHUNK_LOG2, MIN_CHUNK_LOG2};
use capmesh_wire::digest::Hasher;
use capmesh_wire::{BlobRef, Digest, Instant};
use core::fmt;
use core::time::Duration;
use peers::Peers;
use slots::{SlotState, Slots};
pub use storage::{Buffer, Buffers};
use storage::{BufferState, Reading, Storage};

/// How often in a row storage may fail before the transfer does.
const MAX_STORAGE_ERRORS: u8 = 3;

/// Where another peer could be asked, an answer is waited for so many times as long as the slowest one has
/// taken, or so many times less than [`Config::request_timeout`] if that is more.
const HASTE: u32 = 4;

/// Why a transfer was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The chunk size is unknown, or larger than a buffer.
    ChunkSize,
    /// The blob has more pieces than the transfer has bits for.
    TooLarge,
    /// The blob is one chunk and its root is not its digest.
    Inconsistent,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkSize => "the chunk size is not supported",
            Self::TooLarge => "the blob has too many pieces",
            Self::Inconsistent => "the blob is one chunk and its root is not its digest",
        })
    }
}

impl core::error::Error for StartError {}

/// One blob on its way here.
///
/// `P` names a peer. The bounds: blobs of `32 * WORDS` pieces, `PEERS` peers (at most 15), `WINDOW`
/// requests in flight, pieces of `CHUNK` bytes, `BUFFERS` of them waiting to be written, in `B`.
///
/// Each call's work is bounded by one digest over `CHUNK` bytes, and by `WINDOW` choices of a piece,
/// each of which is a pass over `PEERS * PEERS * WORDS` words.
pub struct Fetch<
    P,
    const WORDS: usize = 34,
    const PEERS: usize = 4,
    const WINDOW: usize = 4,
    const CHUNK: usize = 1024,
    const BUFFERS: usize = 2,
    B = [Buffer<CHUNK>; BUFFERS],
> {
    config: Config,
    digest: Digest,
    root: Digest,
    geometry: Geometry,
    /// A document's size is known when it has arrived.
    is_document: bool,
    /// Pieces that are written; those that [`Phase::Verify`] has not reached are only claimed to be.
    have: Bitmap<WORDS>,
    peers: Peers<P, WORDS, PEERS>,
    slots: Slots<P, WINDOW>,
    buffers: Storage<CHUNK, B>,
    reading: Option<Reading>,
    phase: Phase,
    /// The level that is worked on.
    level: u8,
    /// Whether chunks are verified like pages before what is missing is fetched.
    verify_chunks: bool,
    /// Whether all that is stored has been verified after the digest of the whole was wrong.
    rechecked: bool,
    hasher: Hasher,
    /// How many requests may be in flight, at most `WINDOW`.
    allowed: usize,
    /// What it grows to.
    most: usize,
    /// How many pieces were written since `allowed` was changed.
    kept_up: u8,
    /// Whether pieces come in parts, so that each one in flight will need a buffer from its first
    /// part on.
    in_parts: bool,
    /// The longest that an answer has taken, as far as its first part, in milliseconds.
    slowest: u32,
    seed: u32,
    /// The piece from which on they are asked for one after the other, rather than in an order of this node's own.
    in_order: Option<u16>,
    stall: Stall,
    storage_errors: u8,
    progress_until: Instant,
    counters: Counters,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Claimed pieces of the level are read back; those before `end` have yet to be.
    Verify { end: u16 },
    /// Missing pieces of the level are fetched.
    Fetch,
    /// The chunks from `next` on have yet to go into the digest of the whole.
    Whole { next: u16 },
    /// It is over; `told` once the caller knows.
    Over { result: Result<(), Failure>, told: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stall {
    No,
    Reached,
    Told,
}

/// What happens at a time. There is one table of timers, spread over what they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// The answer to the request in this slot is overdue.
    Request(u8),
    /// The peer at this index may be asked again.
    Retry(u8),
    /// The peer at this index may have more pieces than it said.
    Refresh(u8),
    /// Nothing has happened for too long.
    Progress,
}

impl<
    P: Copy + Eq,
    const WORDS: usize,
    const PEERS: usize,
    const WINDOW: usize,
    const CHUNK: usize,
    const BUFFERS: usize,
    B: Buffers<CHUNK>,
> Fetch<P, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, B>
{
    const BOUNDS: () = {
        assert!(PEERS <= pick::MAX_PEERS, "at most 15 peers");
        assert!(WINDOW > 0 && WINDOW < 256 && BUFFERS > 0 && BUFFERS < 256);
        assert!(WORDS <= 2048, "piece numbers are 16 bits");
    };

    /// Begins to fetch `blob`. `seed` should differ between nodes: it decides in which order they
    /// take equally rare pieces.
    ///
    /// # Errors
    /// If the blob is outside of the bounds of this type.
    pub fn new(
        now: Instant,
        config: Config,
        blob: &BlobRef,
        seed: u32,
    ) -> Result<Self, StartError> {
        let geometry = Geometry::new(blob.size, blob.chunk_log2).map_err(|error| match error {
            crate::geometry::Unsupported::ChunkSize => StartError::ChunkSize,
            crate::geometry::Unsupported::TooManyPieces => StartError::TooLarge,
        })?;
        if geometry.chunk_size() > CHUNK {
            return Err(StartError::ChunkSize);
        }
        if usize::from(geometry.pieces()) > Bitmap::<WORDS>::CAPACITY {
            return Err(StartError::TooLarge);
        }
        if geometry.pieces() == 1 && blob.root != blob.digest {
            return Err(StartError::Inconsistent);
        }
        Ok(Self::start(now, config, blob.digest, blob.root, geometry, seed))
    }

    /// Begins to fetch a document: a blob of which only the digest is known, such as a signed
    /// manifest, and which is one piece of at most `CHUNK` bytes.
    ///
    /// # Errors
    /// If `CHUNK` is not a chunk size.
    pub fn document(
        now: Instant,
        config: Config,
        digest: Digest,
        seed: u32,
    ) -> Result<Self, StartError> {
        let geometry = (MIN_CHUNK_LOG2..=MAX_CHUNK_LOG2)
            .filter(|log2| CHUNK == 1 << log2)
            .find_map(|log2| Geometry::new(1, log2).ok())
            .ok_or(StartError::ChunkSize)?;
        let mut fetch = Self::start(now, config, digest, digest, geometry, seed);
        fetch.is_document = true;
        Ok(fetch)
    }

    fn start(
        now: Instant,
        config: Config,
        digest: Digest,
        root: Digest,
        geometry: Geometry,
        seed: u32,
    ) -> Self {
        const { Self::BOUNDS };
        let mut fetch = Self {
            progress_until: now + config.give_up,
            config,
            digest,
            root,
            geometry,
            is_document: false,
            have: Bitmap::EMPTY,
            peers: Peers::new(),
            slots: Slots::new(),
            buffers: Storage::new(BUFFERS),
            reading: None,
            phase: Phase::Whole { next: 0 },
            level: 0,
            verify_chunks: false,
            rechecked: false,
            hasher: Hasher::new(),
            allowed: WINDOW,
            most: WINDOW,
            kept_up: 0,
            in_parts: false,
            slowest: 0,
            seed,
            in_order: None,
            stall: Stall::No,
            storage_errors: 0,
            counters: Counters::default(),
        };
        fetch.begin();
        fetch
    }

    /// Goes on where an earlier run was interrupted: `have` are the pieces whose write it saw
    /// acknowledged. Numbers that are no pieces are left out, and so is a document's only piece,
    /// whose size is not known.
    #[must_use]
    pub fn resume(mut self, have: impl IntoIterator<Item = u16>, trust: Trust) -> Self {
        self.go_on(have, trust);
        self
    }

    /// As [`Fetch::resume`], before anything else was done with it.
    pub fn go_on(&mut self, have: impl IntoIterator<Item = u16>, trust: Trust) {
        if !self.is_document {
            for piece in have.into_iter().filter(|piece| *piece < self.geometry.pieces()) {
                self.have.insert(piece);
            }
        }
        self.verify_chunks = trust == Trust::Nothing;
        self.begin();
    }

    /// `everybody` may be asked for every piece, as many at once as there are requests: what all on a link say
    /// and hear is one peer. They are asked for from `first` on one after the other, and then from the beginning:
    /// in the same order by all who do so. Called again, it goes on from there.
    pub fn listen(&mut self, now: Instant, everybody: P, first: u16) {
        if self.in_order.replace(first).is_some() {
            self.peer_down(everybody);
        }
        self.limit(WINDOW);
        self.peers.up(now, everybody, 0, Holdings::Whole, &self.config);
        if let Some(peer) = self.peers.by_id_mut(everybody) {
            peer.widen(u8::try_from(WINDOW).unwrap_or(u8::MAX));
        }
    }

    /// No more than so many requests are in flight from now on, where there is room for more.
    pub fn limit(&mut self, requests: usize) {
        self.most = requests.clamp(1, WINDOW);
        self.allowed = self.most;
    }

    /// What a peer was asked for and has not answered.
    pub fn awaited(&self, peer: P) -> impl Iterator<Item = u16> {
        let is_asked = move |slot: &slots::Slot<P>| {
            slot.peer == peer && matches!(slot.state, SlotState::Asked { .. })
        };
        self.slots.iter().filter(move |(_, slot)| is_asked(slot)).map(|(_, slot)| slot.piece)
    }

    /// Whether a piece that arrived now would be kept.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.buffers.count_free() > 0
    }

    /// What the blob is cut into. A document's geometry is right once it is done.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The pieces that are stored. Before the machine has asked for its first piece of a level,
    /// those of that level and of lower ones may be no more than claimed.
    #[must_use]
    pub const fn have(&self) -> &Bitmap<WORDS> {
        &self.have
    }

    /// The bytes of a piece that was given out with [`Output::Write`] and whose write has not been
    /// acknowledged, for storage that takes them later or bit by bit.
    #[must_use]
    pub fn unwritten(&self, piece: u16) -> Option<&[u8]> {
        let (index, len) = self.writing(piece)?;
        self.buffers.get(index)?.bytes.get(..usize::from(len))
    }

    /// How many pieces are missing.
    #[must_use]
    pub fn missing(&self) -> u16 {
        let pieces = self.geometry.pieces();
        pieces - self.have.count(0..pieces)
    }

    /// Whether it has ended, and how.
    #[must_use]
    pub const fn result(&self) -> Option<Result<(), Failure>> {
        match self.phase {
            Phase::Over { result, .. } => Some(result),
            _ => None,
        }
    }

    /// What has happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes an input. What makes no sense now, such as an answer to nothing that was asked, is
    /// ignored and counted.
    pub fn handle(&mut self, now: Instant, input: Input<'_, P>) {
        if matches!(self.phase, Phase::Over { .. }) {
            return;
        }
        match input {
            Input::PeerUp { peer, rank, holdings } => {
                if !self.peers.up(now, peer, rank, holdings, &self.config) {
                    Counters::count(&mut self.counters.peers_ignored);
                }
            }
            Input::PeerDown { peer } => self.peer_down(peer),
            Input::Announce { peer, first, pieces } => self.announce(now, peer, first, pieces),
            Input::Part { peer, piece, offset, bytes, last } => {
                self.part(now, peer, piece, offset, bytes, last);
            }
            Input::Refused { peer, piece, refusal } => self.refused(now, peer, piece, refusal),
            Input::Read { offset, bytes } => self.read(now, offset, bytes),
            Input::ReadFailed { offset } => {
                if let Some(reading) = self.reading.as_mut().filter(|r| r.is_asked_at(offset)) {
                    reading.asked = false;
                    self.storage_failed();
                }
            }
            Input::Written { piece } => self.written(now, piece),
            Input::WriteFailed { piece } => {
                if let Some((index, len)) = self.writing(piece) {
                    self.buffers.set(index, BufferState::Verified { piece, len });
                    self.storage_failed();
                }
            }
        }
    }

    /// What is to be done next; to be called until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Output<'_, P>> {
        self.expire(now);
        self.advance(now);
        if let Some(slot) =
            self.slots.find(|slot| !slot.is_live()).and_then(|index| self.slots.remove(index))
        {
            return Some(Output::Cancel { peer: slot.peer, piece: slot.piece });
        }
        if let Some((peer, reason)) = self.peers.take_report() {
            return Some(Output::Dropped { peer, reason });
        }
        if let Some(index) = self.buffers.find(|s| matches!(s, BufferState::Verified { .. })) {
            return self.give_write(index);
        }
        if let Some(reading) = self.reading.as_mut().filter(|reading| !reading.asked) {
            reading.asked = true;
            return Some(Output::Read { offset: reading.offset, len: reading.len });
        }
        let peers = &self.peers;
        let ready = self
            .slots
            .find(|slot| slot.state == SlotState::Ready && peers.rests_until(slot.peer).is_none());
        if let Some(index) = ready {
            return self.give_request(now, index);
        }
        if self.stall == Stall::Reached {
            self.stall = Stall::Told;
            return Some(Output::Stalled { missing: self.missing() });
        }
        if let Phase::Over { result, told: told @ false } = &mut self.phase {
            *told = true;
            return Some(match *result {
                Ok(()) => Output::Done,
                Err(failure) => Output::Failed(failure),
            });
        }
        None
    }

    /// When to poll again although nothing has come in. `None` if it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    fn give_write(&mut self, index: u8) -> Option<Output<'_, P>> {
        let buffer = self.buffers.get_mut(index)?;
        let BufferState::Verified { piece, len } = buffer.state else { return None };
        buffer.state = BufferState::Writing { piece, len };
        let bytes = buffer.bytes.get(..usize::from(len))?;
        Some(Output::Write { piece, offset: self.geometry.offset(piece), bytes })
    }

    fn give_request(&mut self, now: Instant, index: u8) -> Option<Output<'_, P>> {
        let (peer, piece) = self.slots.get_mut(index).map(|slot| (slot.peer, slot.piece))?;
        let patience = self.patience(peer, piece);
        let slot = self.slots.get_mut(index)?;
        if slot.filled == 0 {
            slot.limit = now + self.config.request_timeout * 4;
        }
        slot.state = SlotState::Asked { until: (now + patience).min(slot.limit) };
        Counters::count(&mut self.counters.requests);
        Some(Output::Request { peer: slot.peer, piece: slot.piece, offset: slot.filled })
    }

    /// How long an answer of `peer` is waited for. Where another peer could be asked instead, no longer
    /// than a few times what the slowest answer so far has taken.
    fn patience(&self, peer: P, piece: u16) -> Duration {
        let most = self.config.request_timeout;
        let could_be_asked = |other: &peers::Peer<P, WORDS>| {
            other.id != peer
                && other.is_reliable()
                && (piece == HOLDINGS || other.holds.contains(piece))
        };
        if self.peers.iter().any(|(_, other)| could_be_asked(other)) {
            let slowest = Duration::from_millis(self.slowest.into());
            (slowest * HASTE).clamp(most / HASTE, most)
        } else {
            most
        }
    }

    /// The digest that `piece` must have, if it need not be read first.
    fn root_of(&self, piece: u16) -> Option<Digest> {
        self.geometry.entry(piece).is_none().then_some(self.root)
    }

    fn fail(&mut self, failure: Failure) {
        self.end(Err(failure));
    }

    fn end(&mut self, result: Result<(), Failure>) {
        while let Some(index) = self.slots.find(slots::Slot::is_live) {
            self.release(index, true);
        }
        while let Some(index) = self.buffers.find(|state| state != BufferState::Free) {
            self.buffers.set(index, BufferState::Free);
        }
        self.reading = None;
        self.stall = Stall::No;
        self.phase = Phase::Over { result, told: false };
    }

    fn storage_failed(&mut self) {
        self.storage_errors += 1;
        if self.storage_errors >= MAX_STORAGE_ERRORS {
            self.fail(Failure::Storage);
        }
    }

    fn progressed(&mut self, now: Instant) {
        self.progress_until = now + self.config.give_up;
    }
}
