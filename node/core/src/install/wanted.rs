//! A capsule that waits for its turn.

use super::NEIGHBOURS;
use capmesh_session::Peer;
use capmesh_wire::{Digest, ErrorCode, Instant, limits};
use core::time::Duration;

/// How long to wait before a capsule is tried again: doubles each time.
const RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(256);

/// A capsule that is wanted, and who may have it.
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) sources: heapless::Vec<Peer, { limits::SOURCES + NEIGHBOURS }>,
    attempts: u8,
    pub(super) not_before: Instant,
    /// Why it was put off.
    pub(super) reason: Option<ErrorCode>,
}

impl Wanted {
    pub(super) const fn new(digest: Digest, now: Instant) -> Self {
        Self { digest, sources: heapless::Vec::new(), attempts: 0, not_before: now, reason: None }
    }

    pub(super) fn add(&mut self, sources: &[Peer]) {
        for peer in sources {
            if !self.sources.contains(peer) {
                // Those that find no room are not asked.
                let _ = self.sources.push(*peer);
            }
        }
    }

    pub(super) fn put_off(&mut self, now: Instant, reason: ErrorCode) {
        let wait = RETRY.saturating_mul(1 << self.attempts.min(7)).min(LONGEST_RETRY);
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = now + wait;
        self.reason = Some(reason);
    }
}
