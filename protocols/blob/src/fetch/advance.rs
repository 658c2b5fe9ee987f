//! What happens without being told: the order of the phases, requests, timers.

use super::io::{Counters, HOLDINGS};
use super::pick::{Wanted, pick};
use super::slots::{Slot, SlotState};
use super::storage::{BufferState, Buffers, Purpose, Reading};
use super::{Failure, Fetch, Phase, Stall, Timer};
use crate::bitmap::Bitmap;
use capmesh_wire::digest::Hasher;
use capmesh_wire::{Digest, Instant};

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
    /// Starts with the top page, or with the digest of the whole if there are no pieces.
    pub(super) fn begin(&mut self) {
        self.reading = None;
        self.hasher = Hasher::new();
        match self.geometry.levels().checked_sub(1) {
            Some(top) => self.enter(top),
            None => self.phase = Phase::Whole { next: 0 },
        }
    }

    fn enter(&mut self, level: u8) {
        self.level = level;
        self.phase = if level == 0 && !self.verify_chunks {
            Phase::Fetch
        } else {
            Phase::Verify { end: self.geometry.level(level).end }
        };
    }

    /// Moves on as far as possible without an answer: at most through every phase of every level.
    pub(super) fn advance(&mut self, now: Instant) {
        loop {
            match self.phase {
                _ if self
                    .reading
                    .is_some_and(|r| !matches!(r.purpose, Purpose::Request { .. })) =>
                {
                    return;
                }
                Phase::Verify { end } => {
                    let claimed = self.geometry.level(self.level).start..end;
                    match self.have.last(claimed) {
                        Some(piece) => return self.expect(piece),
                        None => self.phase = Phase::Fetch,
                    }
                }
                Phase::Fetch => {
                    let level = self.geometry.level(self.level);
                    if usize::from(self.have.count(level.clone())) < level.len() {
                        return self.ask(now);
                    }
                    match self.level.checked_sub(1) {
                        Some(below) => self.enter(below),
                        None => {
                            self.hasher = Hasher::new();
                            self.phase = Phase::Whole { next: 0 };
                        }
                    }
                }
                Phase::Whole { next } if next < self.geometry.chunks() => {
                    let (offset, len) = (self.geometry.offset(next), self.geometry.len(next));
                    self.reading = Some(Reading::new(offset, len, Purpose::Whole));
                    return;
                }
                Phase::Whole { .. } => {
                    let hasher = core::mem::replace(&mut self.hasher, Hasher::new());
                    if hasher.finish() == self.digest {
                        self.end(Ok(()));
                    } else {
                        self.wrong_digest();
                    }
                }
                Phase::Over { .. } => return,
            }
        }
    }

    /// Finds out what digest a claimed piece must have.
    fn expect(&mut self, piece: u16) {
        match (self.geometry.entry(piece), self.root_of(piece)) {
            (Some(entry), _) => {
                self.reading = Some(Reading::entry(entry, Purpose::Expect { piece }));
            }
            (None, Some(root)) => self.read_back(piece, root),
            (None, None) => {}
        }
    }

    pub(super) fn read_back(&mut self, piece: u16, digest: Digest) {
        let (offset, len) = (self.geometry.offset(piece), self.geometry.len(piece));
        self.reading = Some(Reading::new(offset, len, Purpose::Verify { piece, digest }));
    }

    /// Fills the window with requests, and notices when there is nobody to ask.
    fn ask(&mut self, now: Instant) {
        while let Some(index) = self.slots.find(|slot| self.is_held_up(slot)) {
            self.release(index, false);
        }
        while self.slots.live() < self.allowed && self.ask_one(now) {}
        if self.reading.is_none()
            && let Some(index) = self.slots.find(|slot| slot.state == SlotState::Lookup)
            && let Some(piece) = self.slots.get_mut(index).map(|slot| slot.piece)
            && let Some(entry) = self.geometry.entry(piece)
        {
            self.reading = Some(Reading::entry(entry, Purpose::Request { piece }));
        }
        if self.stall == Stall::No && self.is_stalled() {
            self.stall = Stall::Reached;
        }
    }

    /// Whether a request waits for a peer that rests, so that it is better made elsewhere: not if
    /// parts have arrived and it can go on in time.
    fn is_held_up(&self, slot: &Slot<P>) -> bool {
        matches!(slot.state, SlotState::Lookup | SlotState::Ready)
            && self
                .peers
                .rests_until(slot.peer)
                .is_some_and(|at| slot.filled == 0 || at >= slot.limit)
    }

    /// Prepares one request. Says whether there was one to prepare.
    fn ask_one(&mut self, now: Instant) -> bool {
        // Those who are asked what they have may be gone: they leave room for pieces.
        let has_room = self.slots.questions() < self.allowed / 2;
        let (peer, piece) = match self.question().filter(|_| has_room) {
            Some(peer) => (peer, HOLDINGS),
            None => match self.pick().or_else(|| Some((self.question()?, HOLDINGS))) {
                Some(choice) => choice,
                None => return false,
            },
        };
        let root = if piece == HOLDINGS { Some(self.root) } else { self.root_of(piece) };
        let inserted = self.slots.insert(Slot {
            peer,
            piece,
            filled: 0,
            buffer: None,
            state: if root.is_some() { SlotState::Ready } else { SlotState::Lookup },
            limit: now,
            digest: root.unwrap_or(self.root),
        });
        if !inserted {
            return false;
        }
        if piece != HOLDINGS {
            self.stall = Stall::No;
        }
        if let Some(peer) = self.peers.by_id_mut(peer) {
            peer.in_flight += 1;
            if piece == HOLDINGS {
                peer.wants_holdings = false;
            }
        }
        true
    }

    /// Whom to ask next what it has.
    fn question(&self) -> Option<P> {
        let curious = self.peers.iter().filter(|(_, p)| p.wants_holdings && p.may_be_asked());
        Some(curious.min_by_key(|(_, peer)| peer.order())?.1.id)
    }

    /// The next piece to ask for, and whom, if storage can take one more.
    fn pick(&mut self) -> Option<(P, u16)> {
        let free = self.buffers.count_free();
        if free == 0 || (self.in_parts && self.slots.without_buffer() >= free) {
            return None;
        }
        let taken = self.taken();
        let range = self.geometry.level(self.level);
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The high bits of a linear congruential sequence are the good ones.
        let (first, seed) = self.in_order.map_or((0, self.seed >> 16), |first| (first, 0));
        let rest =
            Wanted { range: range.start.max(first).min(range.end)..range.end, taken: &taken };
        let next = pick(&self.peers, &rest, seed);
        next.or_else(|| pick(&self.peers, &Wanted { range, taken: &taken }, seed))
    }

    /// The pieces that are stored, on their way to storage, or asked for.
    fn taken(&self) -> Bitmap<WORDS> {
        let mut taken = self.have;
        for piece in self.slots.pieces().chain(self.buffers.pieces()) {
            taken.insert(piece);
        }
        taken
    }

    /// Whether nothing is under way and no known peer can be expected to give what is missing.
    fn is_stalled(&self) -> bool {
        let taken = self.taken();
        let wanted = Wanted { range: self.geometry.level(self.level), taken: &taken };
        self.slots.live() == 0
            && self.reading.is_none()
            && self.buffers.find(|state| state != BufferState::Free).is_none()
            && !self
                .peers
                .iter()
                .any(|(_, peer)| peer.is_usable() && (peer.wants_holdings || wanted.any_at(peer)))
    }

    /// Does what is due: each timer at most once, as none is set again to what has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, timer)) = self.next_timer().filter(|(at, _)| *at <= now) {
            match timer {
                Timer::Request(index) => self.timed_out(now, index),
                Timer::Retry(index) => {
                    let others = self.peers.iter().any(|(at, p)| at != index && p.is_reliable());
                    if let Some(peer) = self.peers.get_mut(index) {
                        peer.wake(others);
                    }
                }
                Timer::Refresh(index) => {
                    if let Some(peer) = self.peers.get_mut(index) {
                        peer.refresh_at = None;
                        peer.wants_holdings = true;
                    }
                }
                Timer::Progress => self.fail(Failure::NoProgress),
            }
        }
    }

    fn timed_out(&mut self, now: Instant, index: u8) {
        let Some(id) = self.slots.get_mut(index).map(|slot| slot.peer) else { return };
        self.release(index, true);
        Counters::count(&mut self.counters.failed);
        if let Some(peer) = self.peers.by_id_mut(id) {
            peer.fail(now, &self.config);
        }
    }

    /// The earliest timer. The work is bounded by `WINDOW` and `PEERS`.
    pub(super) fn next_timer(&self) -> Option<(Instant, Timer)> {
        if matches!(self.phase, Phase::Over { .. }) {
            return None;
        }
        let mut next = (self.progress_until, Timer::Progress);
        let mut consider = |at: Option<Instant>, timer| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, timer);
            }
        };
        for (index, slot) in self.slots.iter() {
            if let SlotState::Asked { until } = slot.state {
                consider(Some(until), Timer::Request(index));
            }
        }
        for (index, peer) in self.peers.iter() {
            consider(peer.retry_at, Timer::Retry(index));
            consider(peer.refresh_at, Timer::Refresh(index));
        }
        Some(next)
    }
}
