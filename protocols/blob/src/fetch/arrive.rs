//! What comes in: answers of peers and of storage.

use super::io::{Counters, HOLDINGS, MIN_PART, Refusal};
use super::peers::Peers;
use super::slots::SlotState;
use super::storage::{BufferState, Buffers, Purpose};
use super::{Failure, Fetch, Phase};
use crate::bitmap::Bitmap;
use crate::geometry::Geometry;
use capmesh_wire::{Digest, Instant};

/// How many pieces must be written without an overrun for one more request to be in flight. As an
/// overrun takes one away, at most a third of what arrives is dropped however slow storage is.
const WRITES_TO_WIDEN: u8 = 2;

/// What a part does to its piece.
enum Part {
    /// More parts follow.
    More,
    /// The piece is whole.
    Whole,
    /// The piece can never become what it should be.
    Wrong,
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
    pub(super) fn peer_down(&mut self, peer: P) {
        while let Some(index) = self.slots.find(|s| s.is_live() && s.peer == peer) {
            self.release(index, true);
        }
        if let Some(index) = self.peers.find(peer) {
            self.peers.down(index);
        }
    }

    /// Takes back all requests and forgets all peers: to be polled once more, until there is nothing.
    pub fn abandon(&mut self) {
        while let Some(index) = self.slots.find(|slot| slot.is_live()) {
            self.release(index, true);
        }
        self.peers = Peers::new();
    }

    pub(super) fn announce(&mut self, now: Instant, peer: P, first: u16, pieces: &[u8]) {
        let Some(peer) = self.peers.by_id_mut(peer) else {
            return;
        };
        let numbers = usize::from(first)..usize::from(self.geometry.pieces());
        for (piece, byte) in numbers.clone().step_by(8).zip(pieces) {
            for bit in (0..8).filter(|bit| byte << bit & 0x80 != 0) {
                if let Some(piece) =
                    u16::try_from(piece + bit).ok().filter(|p| numbers.contains(&usize::from(*p)))
                {
                    peer.holds.insert(piece);
                }
            }
        }
        if peer.is_usable() {
            peer.set_known(false, now, &self.config);
        }
    }

    pub(super) fn part(
        &mut self,
        now: Instant,
        peer: P,
        piece: u16,
        offset: u16,
        bytes: &[u8],
        last: bool,
    ) {
        let Some(index) = self.asked(peer, piece) else {
            return Counters::count(&mut self.counters.unsolicited);
        };
        let len = if piece == HOLDINGS { None } else { self.expected_len(piece) };
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.filled != offset {
            return Counters::count(&mut self.counters.unsolicited);
        }
        if offset == 0 {
            // The limit was set when it was asked for.
            let taken = (now + self.config.request_timeout * 4).saturating_since(slot.limit);
            let taken = u32::try_from(taken.as_millis()).unwrap_or(u32::MAX);
            self.slowest = self.slowest.max(taken);
        }
        if piece == HOLDINGS {
            return self.holdings(now, index, bytes, last);
        }
        let end = usize::from(offset) + bytes.len();
        let whole = len.map_or(last, |len| end == usize::from(len));
        let room = len.map_or(CHUNK, usize::from);
        let part = match whole {
            _ if end > room => Part::Wrong,
            true => Part::Whole,
            false if last || bytes.len() < MIN_PART => Part::Wrong,
            false => Part::More,
        };
        match part {
            Part::Wrong => self.corrupt(now, index),
            Part::Whole if offset == 0 => {
                self.in_parts &= bytes.len() < self.geometry.chunk_size();
                self.whole(now, index, bytes);
            }
            Part::Whole => self.last_part(now, index, bytes),
            Part::More => {
                self.in_parts = true;
                if self.keep_part(index, bytes) {
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.state = SlotState::Ready;
                    }
                } else {
                    self.overrun(index);
                }
            }
        }
    }

    /// A piece has come in one part: it is verified where it lies, and copied only if it is right.
    fn whole(&mut self, now: Instant, index: u8, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        if self.slots.get_mut(index).is_none_or(|slot| slot.digest != digest) {
            self.corrupt(now, index);
        } else if self.keep_part(index, bytes) {
            self.accept(now, index);
        } else {
            self.overrun(index);
        }
    }

    fn last_part(&mut self, now: Instant, index: u8, bytes: &[u8]) {
        if !self.keep_part(index, bytes) {
            return self.overrun(index);
        }
        let Some(slot) = self.slots.get_mut(index) else { return };
        let filled = slot
            .buffer
            .and_then(|buffer| self.buffers.get(buffer))
            .and_then(|buffer| buffer.bytes.get(..usize::from(slot.filled)));
        match filled {
            Some(filled) if Digest::of(filled) == slot.digest => self.accept(now, index),
            _ => self.corrupt(now, index),
        }
    }

    /// Puts a part into the slot's buffer, taking one if it is the first. Says whether it could.
    fn keep_part(&mut self, index: u8, bytes: &[u8]) -> bool {
        let Some(slot) = self.slots.get_mut(index) else { return false };
        let Some(at) = slot.buffer.or_else(|| self.buffers.free()) else { return false };
        let Some(buffer) = self.buffers.get_mut(at) else { return false };
        slot.buffer = Some(at);
        buffer.state = BufferState::Filling;
        let end = usize::from(slot.filled) + bytes.len();
        let (Some(room), Ok(filled)) =
            (buffer.bytes.get_mut(usize::from(slot.filled)..end), u16::try_from(end))
        else {
            return false;
        };
        room.copy_from_slice(bytes);
        slot.filled = filled;
        true
    }

    /// The slot's buffer holds a verified piece.
    fn accept(&mut self, now: Instant, index: u8) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (peer, piece, len) = (slot.peer, slot.piece, slot.filled);
        if let Some(buffer) = slot.buffer.take() {
            self.buffers.set(buffer, BufferState::Verified { piece, len });
        }
        self.release(index, false);
        if self.is_document {
            if let Ok(geometry) = Geometry::new(u32::from(len), self.geometry.chunk_log2()) {
                self.geometry = geometry;
            }
            if len == 0 {
                // An empty document has no pieces, so there is nothing to write.
                self.end(Ok(()));
            }
        }
        if let Some(peer) = self.peers.by_id_mut(peer) {
            peer.succeed(&self.config);
        }
        Counters::count(&mut self.counters.verified);
        self.progressed(now);
    }

    /// The peer has sent what is not the piece: it is asked elsewhere.
    fn corrupt(&mut self, now: Instant, index: u8) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (id, piece) = (slot.peer, slot.piece);
        self.release(index, false);
        Counters::count(&mut self.counters.corrupt);
        let mut dropped = false;
        if let Some(peer) = self.peers.by_id_mut(id) {
            peer.deny(piece, now, &self.config);
            peer.fail(now, &self.config);
            peer.strike();
            dropped = !peer.is_usable();
        }
        if dropped {
            self.cancel_all(id);
        }
    }

    /// The piece is right and there is no room for it.
    fn overrun(&mut self, index: u8) {
        self.release(index, false);
        Counters::count(&mut self.counters.overruns);
        self.allowed = (self.allowed - 1).max(1);
        self.kept_up = 0;
    }

    fn holdings(&mut self, now: Instant, index: u8, bytes: &[u8], last: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (id, offset) = (slot.peer, slot.filled);
        // A peer that goes on about pieces that do not exist is stopped here.
        let end = usize::from(offset).saturating_add(bytes.len());
        let needed = usize::from(self.geometry.pieces()).div_ceil(8);
        let whole = offset == 0 && bytes.is_empty();
        let done = last || end >= needed || bytes.len() < MIN_PART;
        if !done && let Ok(filled) = u16::try_from(end) {
            slot.filled = filled;
            slot.state = SlotState::Ready;
        } else {
            self.release(index, false);
        }
        if !whole {
            self.announce(now, id, offset.saturating_mul(8), bytes);
        }
        let Some(peer) = self.peers.by_id_mut(id) else { return };
        peer.succeed(&self.config);
        if whole {
            peer.holds = Bitmap::FULL;
            peer.set_known(true, now, &self.config);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, id: P, piece: u16, refusal: Refusal) {
        let Some(index) = self.asked(id, piece) else {
            return Counters::count(&mut self.counters.unsolicited);
        };
        if let Refusal::Busy(time) = refusal
            && let Some(slot) = self.slots.get_mut(index)
            && slot.filled > 0
            && now + time < slot.limit
        {
            // The parts that have arrived are kept, as it goes on soon.
            slot.state = SlotState::Ready;
        } else {
            self.release(index, false);
        }
        let Some(peer) = self.peers.by_id_mut(id) else { return };
        match refusal {
            Refusal::NotFound if piece == HOLDINGS => {
                peer.holds = Bitmap::EMPTY;
                peer.set_known(false, now, &self.config);
            }
            Refusal::NotFound => {
                // It said that it had it: one that only says so must not be asked piece by piece.
                peer.deny(piece, now, &self.config);
                peer.fail(now, &self.config);
            }
            Refusal::Gone => {
                peer.drop_for(super::DropReason::Gone);
                self.cancel_all(id);
            }
            Refusal::Busy(time) => peer.rest(now + time.min(self.config.backoff_max)),
            Refusal::Failed => {
                Counters::count(&mut self.counters.failed);
                peer.fail(now, &self.config);
            }
        }
    }

    pub(super) fn written(&mut self, now: Instant, piece: u16) {
        let Some((index, _)) = self.writing(piece) else { return };
        self.buffers.set(index, BufferState::Free);
        self.have.insert(piece);
        self.storage_errors = 0;
        self.kept_up += 1;
        if self.kept_up >= WRITES_TO_WIDEN {
            self.kept_up = 0;
            self.allowed = (self.allowed + 1).min(self.most);
        }
        self.progressed(now);
    }

    pub(super) fn read(&mut self, now: Instant, offset: u32, bytes: &[u8]) {
        let Some(reading) = self.reading.filter(|r| r.is_asked_at(offset)) else { return };
        if bytes.len() != usize::from(reading.len) {
            if let Some(reading) = &mut self.reading {
                reading.asked = false;
            }
            return self.storage_failed();
        }
        self.reading = None;
        self.storage_errors = 0;
        if !matches!(reading.purpose, Purpose::Request { .. }) {
            self.progressed(now);
        }
        let entry = <[u8; 32]>::try_from(bytes).map(Digest::from_bytes);
        match reading.purpose {
            Purpose::Request { piece } => {
                let waiting = self.slots.find(|s| s.state == SlotState::Lookup && s.piece == piece);
                if let (Some(slot), Ok(digest)) =
                    (waiting.and_then(|index| self.slots.get_mut(index)), entry)
                {
                    slot.digest = digest;
                    slot.state = SlotState::Ready;
                }
            }
            Purpose::Expect { piece } => {
                if let Ok(digest) = entry {
                    self.read_back(piece, digest);
                }
            }
            Purpose::Verify { piece, digest } => {
                if Digest::of(bytes) != digest {
                    self.have.remove(piece);
                    Counters::count(&mut self.counters.mended);
                }
                self.phase = Phase::Verify { end: piece };
            }
            Purpose::Whole => {
                self.hasher.update(bytes);
                if let Phase::Whole { next } = &mut self.phase {
                    *next += 1;
                }
            }
        }
    }

    /// The buffer that holds `piece` while it is being written, and its length.
    pub(super) fn writing(&self, piece: u16) -> Option<(u8, u16)> {
        let index = self
            .buffers
            .find(|s| matches!(s, BufferState::Writing { piece: p, .. } if p == piece))?;
        match self.buffers.get(index)?.state {
            BufferState::Writing { len, .. } => Some((index, len)),
            _ => None,
        }
    }

    /// Ends a request. With `cancel`, the caller is told if it waits for an answer.
    pub(super) fn release(&mut self, index: u8, cancel: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (id, piece, buffer) = (slot.peer, slot.piece, slot.buffer.take());
        if cancel && matches!(slot.state, SlotState::Asked { .. }) {
            slot.state = SlotState::Cancelled;
        } else {
            self.slots.remove(index);
        }
        if let Some(buffer) = buffer {
            self.buffers.set(buffer, BufferState::Free);
        }
        if let Some(peer) = self.peers.by_id_mut(id) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            // Until an answer says otherwise.
            peer.wants_holdings |= piece == HOLDINGS;
        }
    }

    /// Ends every request to a peer that is not to be asked any more.
    fn cancel_all(&mut self, id: P) {
        while let Some(index) = self.slots.find(|slot| slot.is_live() && slot.peer == id) {
            self.release(index, true);
        }
    }

    /// The slot of a request that waits for its answer.
    fn asked(&self, peer: P, piece: u16) -> Option<u8> {
        self.slots.find(|slot| {
            slot.peer == peer
                && slot.piece == piece
                && matches!(slot.state, SlotState::Asked { .. })
        })
    }

    /// Bytes of a piece, `None` if that is not known before it has arrived.
    fn expected_len(&self, piece: u16) -> Option<u16> {
        (!self.is_document).then(|| self.geometry.len(piece))
    }

    pub(super) fn wrong_digest(&mut self) {
        if self.rechecked {
            return self.fail(Failure::WrongDigest);
        }
        self.rechecked = true;
        self.verify_chunks = true;
        self.begin();
    }
}
