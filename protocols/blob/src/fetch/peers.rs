//! Who may be asked, for what, and when.

use super::io::{Config, DropReason, Holdings};
use crate::bitmap::Bitmap;
use capmesh_wire::Instant;
use core::time::Duration;

/// Wrong pieces after which a peer is dropped. One or two may be a worn flash page.
const MAX_STRIKES: u8 = 3;

/// Failures in a row after which a peer makes room for another.
const ABSENT_AFTER: u8 = 3;

/// The shortest rest after a failure, whatever the configuration says: without any, a peer that
/// fails at once would be asked again at once for ever.
const MIN_REST: Duration = Duration::from_millis(10);

pub(super) struct Peer<P, const WORDS: usize> {
    pub(super) id: P,
    /// What it may have: it said so, and has not denied it since.
    pub(super) holds: Bitmap<WORDS>,
    pub(super) rank: u8,
    pub(super) in_flight: u8,
    /// The most requests in flight to it now: grows with each piece, halves with each failure.
    window: u8,
    failures: u8,
    strikes: u8,
    /// Whether it has everything, so that it need not be asked for its holdings again.
    whole: bool,
    pub(super) wants_holdings: bool,
    /// Whether the caller can reach it. One that is down is kept only to remember its strikes.
    up: bool,
    dropped: Option<DropReason>,
    told: bool,
    /// Not to be asked before.
    pub(super) retry_at: Option<Instant>,
    pub(super) refresh_at: Option<Instant>,
}

impl<P, const WORDS: usize> Peer<P, WORDS> {
    pub(super) fn is_usable(&self) -> bool {
        self.up && self.dropped.is_none()
    }

    pub(super) fn may_be_asked(&self) -> bool {
        self.is_usable() && self.retry_at.is_none() && self.in_flight < self.window
    }

    /// So many requests may be in flight to it.
    pub(super) const fn widen(&mut self, window: u8) {
        self.window = window;
    }

    fn is_absent(&self) -> bool {
        !self.is_usable() || self.failures >= ABSENT_AFTER
    }

    /// Whether it has said that it has no piece.
    fn has_nothing(&self) -> bool {
        !self.wants_holdings && self.holds == Bitmap::EMPTY
    }

    /// Whether it has answered what it was asked last, as far as is known.
    pub(super) fn is_reliable(&self) -> bool {
        self.is_usable() && self.failures == 0
    }

    /// Whether `other` is asked only for what this one lacks.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.is_reliable() && (self.rank < other.rank || other.failures > 0)
    }

    /// The lower, the sooner it is asked.
    pub(super) fn order(&self) -> (bool, u8, u8, u8) {
        (self.failures > 0, self.rank, self.in_flight, self.failures)
    }

    /// It may be asked again. If that is not urgent, because `others` are there, it is first asked for
    /// what it has, which keeps no piece waiting should it still be silent.
    pub(super) fn wake(&mut self, others: bool) {
        self.retry_at = None;
        self.wants_holdings |= others && self.failures > 0;
    }

    pub(super) fn drop_for(&mut self, reason: DropReason) {
        if self.dropped.is_none() {
            self.dropped = Some(reason);
            self.told = false;
            self.retry_at = None;
            self.refresh_at = None;
        }
    }

    pub(super) fn strike(&mut self) {
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= MAX_STRIKES {
            self.drop_for(DropReason::Corrupt);
        }
    }

    /// A request to it failed. Several that fail together count once.
    pub(super) fn fail(&mut self, now: Instant, config: &Config) {
        if self.retry_at.is_some() || !self.is_usable() {
            return;
        }
        let rest = config.backoff.saturating_mul(1 << self.failures.min(16));
        self.retry_at = Some(now + rest.min(config.backoff_max).max(MIN_REST));
        self.failures = self.failures.saturating_add(1);
        self.window = (self.window / 2).max(1);
    }

    pub(super) fn rest(&mut self, until: Instant) {
        if self.is_usable() {
            self.retry_at = Some(self.retry_at.map_or(until, |at| at.max(until)));
        }
    }

    pub(super) fn succeed(&mut self, config: &Config) {
        self.failures = 0;
        // One that was made wider stays so.
        if self.window < config.peer_window {
            self.window += 1;
        }
    }

    /// It has said what it has.
    pub(super) fn set_known(&mut self, whole: bool, now: Instant, config: &Config) {
        self.whole = whole;
        self.wants_holdings = false;
        self.refresh_at = (!whole).then_some(now + config.refresh);
    }

    /// It does not have `piece` after all.
    pub(super) fn deny(&mut self, piece: u16, now: Instant, config: &Config) {
        self.holds.remove(piece);
        if self.whole {
            self.set_known(false, now, config);
        }
    }
}

pub(super) struct Peers<P, const WORDS: usize, const PEERS: usize> {
    table: [Option<Peer<P, WORDS>>; PEERS],
}

impl<P: Copy + Eq, const WORDS: usize, const PEERS: usize> Peers<P, WORDS, PEERS> {
    pub(super) const fn new() -> Self {
        Self { table: [const { None }; PEERS] }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Peer<P, WORDS>)> {
        (0..).zip(&self.table).filter_map(|(index, peer)| Some((index, peer.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer<P, WORDS>> {
        self.table.iter_mut().flatten()
    }

    pub(super) fn get_mut(&mut self, index: u8) -> Option<&mut Peer<P, WORDS>> {
        self.table.get_mut(usize::from(index))?.as_mut()
    }

    pub(super) fn find(&self, id: P) -> Option<u8> {
        self.iter().find(|(_, peer)| peer.id == id).map(|(index, _)| index)
    }

    pub(super) fn by_id_mut(&mut self, id: P) -> Option<&mut Peer<P, WORDS>> {
        self.iter_mut().find(|peer| peer.id == id)
    }

    /// Until when a peer is not to be asked, if it rests.
    pub(super) fn rests_until(&self, id: P) -> Option<Instant> {
        self.iter().find(|(_, peer)| peer.id == id)?.1.retry_at
    }

    /// Adds a peer or takes one up again. What it was dropped for is not forgotten by that.
    /// Says whether there was room.
    pub(super) fn up(
        &mut self,
        now: Instant,
        id: P,
        rank: u8,
        holdings: Holdings,
        config: &Config,
    ) -> bool {
        let index = match self.find(id) {
            Some(index) => index,
            None => match self.room(rank) {
                Some(index) => index,
                None => return false,
            },
        };
        let Some(place) = self.table.get_mut(usize::from(index)) else { return false };
        let peer = match place {
            Some(peer) if peer.id == id => peer,
            _ => place.insert(Peer {
                id,
                holds: Bitmap::EMPTY,
                rank,
                in_flight: 0,
                window: config.peer_window.clamp(1, 2),
                failures: 0,
                strikes: 0,
                whole: false,
                wants_holdings: false,
                up: true,
                dropped: None,
                told: false,
                retry_at: None,
                refresh_at: None,
            }),
        };
        peer.rank = rank;
        peer.up = true;
        peer.retry_at = None;
        if peer.is_usable() {
            match holdings {
                Holdings::Whole => {
                    peer.holds = Bitmap::FULL;
                    peer.set_known(true, now, config);
                }
                Holdings::Unknown => peer.wants_holdings = true,
            }
        }
        true
    }

    pub(super) fn down(&mut self, index: u8) {
        let Some(place) = self.table.get_mut(usize::from(index)) else { return };
        match place {
            Some(peer) if peer.strikes > 0 || peer.dropped.is_some() => {
                peer.up = false;
                peer.in_flight = 0;
                peer.retry_at = None;
                peer.refresh_at = None;
            }
            _ => *place = None,
        }
    }

    /// The next peer that was dropped and not yet reported.
    pub(super) fn take_report(&mut self) -> Option<(P, DropReason)> {
        let peer = self.iter_mut().find(|peer| peer.dropped.is_some() && !peer.told)?;
        peer.told = true;
        Some((peer.id, peer.dropped?))
    }

    /// A place for one of this rank: an empty one, or that of a peer that is of no use. Who is to be asked
    /// after all others is the last hope, and the first of these takes the place of any peer that is idle.
    fn room(&self, rank: u8) -> Option<u8> {
        let is_last_hope = self.table.iter().flatten().all(|peer| peer.rank < rank);
        let worth = |peer: &Option<Peer<P, WORDS>>| match peer {
            None => Some(0),
            Some(peer) if peer.in_flight > 0 => None,
            Some(peer) if !peer.is_usable() => Some(1),
            Some(peer) if peer.is_absent() => Some(2),
            Some(peer) if peer.has_nothing() => Some(3),
            Some(_) => is_last_hope.then_some(4),
        };
        let places = (0..).zip(&self.table);
        let places = places.filter_map(|(index, peer)| Some((worth(peer)?, index)));
        places.min().map(|(_, index)| index)
    }
}
