//! Passing on what is new: a roster's delta, to everybody on the link at once.
//!
//! A roster that revokes somebody is to reach every node soon, also where no gateway is in reach and links
//! lose much. Asking a neighbour for it takes a handshake for each pair of neighbours; a delta is short and
//! carries the site's signature, so that whoever has verified one says it to all that hear it, in the manner
//! of Trickle: soon after it has come, then at intervals that grow, unless others have said it often enough.
//! A neighbour whose announcement is behind brings that up again.

use alloc::vec::Vec;
use capmesh_wire::{Instant, Revision};
use core::time::Duration;

/// The longest delta that is passed on, in bytes.
pub(super) const LONGEST: usize = 1_024;

/// The first interval; each is four times the one before.
const FIRST: Duration = Duration::from_millis(120);

/// How often a delta is said at most, until a neighbour is behind again.
const TIMES: u8 = 5;

/// Who has heard others say it so often in an interval stays silent.
const ENOUGH: u8 = 3;

/// The delta that leads to the roster that is held, and when to say it.
#[derive(Debug)]
pub struct Tidings {
    /// At most `LONGEST`.
    delta: Vec<u8>,
    revision: Revision,
    intervals: u8,
    heard: u8,
    next: Option<Instant>,
    random: u64,
}

impl Tidings {
    /// Nothing is new. `seed` makes it differ from others.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let delta = Vec::new();
        Self { delta, revision: Revision(0), intervals: 0, heard: 0, next: None, random: seed }
    }

    /// This delta leads to that roster, and is verified. One that is known, or too long, changes nothing.
    pub fn learn(&mut self, now: Instant, revision: Revision, delta: &[u8]) {
        if revision <= self.revision || delta.is_empty() || delta.len() > LONGEST {
            return;
        }
        self.delta.clear();
        self.delta.extend_from_slice(delta);
        self.revision = revision;
        self.begin(now);
    }

    /// Whether it has been learnt of this one already.
    #[must_use]
    pub fn knows(&self, revision: Revision) -> bool {
        revision <= self.revision
    }

    /// Somebody else has said it.
    pub const fn heard(&mut self, revision: Revision) {
        if revision.0 == self.revision.0 {
            self.heard = self.heard.saturating_add(1);
        }
    }

    /// A neighbour has an older roster.
    pub fn missed(&mut self, now: Instant) {
        if self.next.is_none() && !self.delta.is_empty() {
            self.begin(now);
        }
    }

    /// What is to be said now.
    pub fn poll(&mut self, now: Instant) -> Option<&[u8]> {
        if self.next.is_none_or(|at| at > now) {
            return None;
        }
        let speaks = self.heard < ENOUGH;
        self.heard = 0;
        self.intervals += 1;
        self.next = (self.intervals < TIMES).then(|| now + self.wait());
        speaks.then_some(self.delta.as_slice())
    }

    /// When to poll again.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn begin(&mut self, now: Instant) {
        (self.intervals, self.heard) = (0, 0);
        self.next = Some(now + self.wait());
    }

    /// Between a sixth of the interval and all of it.
    fn wait(&mut self) -> Duration {
        self.random =
            self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let interval = FIRST * (1 << (2 * u32::from(self.intervals.min(TIMES))));
        let sixth = interval / 6;
        let part = u32::try_from(self.random >> 48).unwrap_or_default();
        sixth + sixth * 5 * part / (1 << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(1);

    /// How often it is said when others say it `others` times in each interval.
    fn said(others: u8) -> usize {
        let mut tidings = Tidings::new(7);
        tidings.learn(NOW, Revision(2), b"delta");
        let mut said = 0;
        while let Some(at) = tidings.poll_timeout() {
            (0..others).for_each(|_| tidings.heard(Revision(2)));
            said += usize::from(tidings.poll(at) == Some(b"delta"));
        }
        said
    }

    #[test]
    fn it_is_said_some_times_unless_others_do() {
        assert_eq!(said(0), 5);
        assert_eq!(said(2), 5);
        assert_eq!(said(3), 0);
    }

    #[test]
    fn it_is_said_again_to_those_who_are_behind() {
        let mut tidings = Tidings::new(7);
        tidings.missed(NOW);
        assert_eq!(tidings.poll_timeout(), None);
        tidings.learn(NOW, Revision(2), b"delta");
        while let Some(at) = tidings.poll_timeout() {
            tidings.poll(at);
        }
        tidings.missed(NOW);
        let at = tidings.poll_timeout().unwrap();
        assert!(at > NOW && at <= NOW + FIRST);
    }

    #[test]
    fn older_news_and_long_ones_are_none() {
        let mut tidings = Tidings::new(7);
        tidings.learn(NOW, Revision(2), &[0; LONGEST + 1]);
        assert_eq!(tidings.poll_timeout(), None);
        tidings.learn(NOW, Revision(3), b"new");
        tidings.learn(NOW, Revision(2), b"old");
        let at = tidings.poll_timeout().unwrap();
        assert_eq!(tidings.poll(at), Some(&b"new"[..]));
    }
}
