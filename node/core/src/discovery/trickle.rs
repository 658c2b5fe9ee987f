//! When to speak: RFC 6206.

use capmesh_wire::Instant;
use core::time::Duration;

/// The parameters of Trickle (RFC 6206 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Imin: the shortest interval.
    pub least: Duration,
    /// Imax: how often the interval doubles.
    pub doublings: u8,
    /// k: one who has heard so many say the same in an interval stays silent.
    pub redundancy: u8,
    /// How many intervals in a row one may stay silent: RFC 6206 knows no such bound, but who is never
    /// heard is not known to be there.
    pub silences: u8,
}

/// A Trickle timer.
#[derive(Debug)]
pub(super) struct Trickle {
    pace: Pace,
    /// State of the generator.
    random: u64,
    /// I, as a number of doublings.
    doubled: u8,
    /// When the interval ends.
    ends: Instant,
    /// t, while it is to come.
    speaks: Option<Instant>,
    /// c.
    heard: u8,
    silent: u8,
}

impl Trickle {
    /// A timer whose first interval begins when it is first polled.
    pub(super) const fn new(pace: Pace, seed: u64) -> Self {
        let (ends, speaks) = (Instant::ZERO, None);
        // Whoever has something to say for the first time says it.
        let silent = u8::MAX;
        Self { pace, random: seed, doubled: 0, ends, speaks, heard: 0, silent }
    }

    /// Somebody says what this side would say.
    pub(super) fn consistent(&mut self) {
        self.heard = self.heard.saturating_add(1);
    }

    /// Somebody says something else. Returns whether that begins an interval: not while the interval
    /// is the shortest anyhow.
    pub(super) fn inconsistent(&mut self, now: Instant) -> bool {
        if self.doubled == 0 {
            return false;
        }
        self.doubled = 0;
        self.begin(now);
        true
    }

    /// This side has something new to say, whoever else says the same.
    pub(super) fn changed(&mut self, now: Instant) {
        self.silent = u8::MAX;
        if !self.inconsistent(now) {
            self.heard = 0;
        }
    }

    /// Whether it is time to speak.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let mut speaks = false;
        if self.speaks.is_some_and(|at| at <= now) {
            self.speaks = None;
            speaks = self.heard < self.pace.redundancy || self.silent >= self.pace.silences;
            self.silent = if speaks { 0 } else { self.silent.saturating_add(1) };
        }
        if self.ends <= now {
            if self.ends > Instant::ZERO {
                self.doubled = (self.doubled + 1).min(self.pace.doublings);
            }
            self.begin(now);
        }
        speaks
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.speaks.unwrap_or(self.ends)
    }

    fn begin(&mut self, now: Instant) {
        let micros = u64::try_from(self.pace.least.as_micros()).unwrap_or(u64::MAX).max(2);
        let interval = micros.saturating_mul(1_u64.checked_shl(self.doubled.into()).unwrap_or(1));
        let half = interval / 2;
        let at = half.saturating_add(self.random() % (interval - half).max(1));
        self.ends = now + Duration::from_micros(interval);
        self.speaks = Some(now + Duration::from_micros(at));
        self.heard = 0;
    }

    /// SplitMix64: only that neighbours differ matters.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const PACE: Pace =
        Pace { least: Duration::from_secs(1), doublings: 3, redundancy: 2, silences: 3 };

    /// When a timer speaks until `until`, if `others` are heard before each time.
    fn spoken(trickle: &mut Trickle, until: Instant, others: u8) -> Vec<Instant> {
        let mut now = Instant::from_millis(1);
        let mut spoken = Vec::new();
        while now < until {
            if trickle.speaks.is_some() {
                (0..others).for_each(|_| trickle.consistent());
            }
            if trickle.poll(now) {
                spoken.push(now);
            }
            let next = trickle.poll_timeout();
            assert!(next > now);
            now = next;
        }
        spoken
    }

    #[test]
    fn intervals_double_up_to_the_longest() {
        for seed in 0..50 {
            let spoken = spoken(&mut Trickle::new(PACE, seed), Instant::from_secs(55), 0);
            // 1 + 2 + 4 + 8 ... seconds, once in the second half of each.
            let mut begins = 1;
            for (at, seconds) in spoken.iter().zip([1, 2, 4, 8, 8, 8, 8, 8, 8]) {
                let into = at.as_micros() / 1_000 - begins;
                assert!((seconds * 500..seconds * 1_000).contains(&into), "seed {seed}: {at}");
                begins += seconds * 1_000;
            }
            assert_eq!(spoken.len(), 9);
        }
    }

    #[test]
    fn who_hears_enough_stays_silent_but_not_for_ever() {
        let spoken = spoken(&mut Trickle::new(PACE, 1), Instant::from_secs(1_000), 2);
        // The first time, and then in every fourth of the intervals of 8 seconds.
        let gaps = spoken.windows(2).map(|pair| pair[1].saturating_since(pair[0]).as_secs());
        assert!(gaps.skip(1).all(|gap| (27..=36).contains(&gap)), "{spoken:?}");
        assert!(spoken.len() > 25);
    }

    #[test]
    fn what_is_inconsistent_makes_it_speak_soon_but_no_oftener_than_the_shortest_interval() {
        let mut trickle = Trickle::new(PACE, 1);
        spoken(&mut trickle, Instant::from_secs(100), 0);
        let now = Instant::from_secs(101);
        assert!(trickle.inconsistent(now));
        assert!(trickle.poll_timeout() < now + PACE.least);
        let due = trickle.poll_timeout();
        assert!(!trickle.inconsistent(now + Duration::from_millis(10)));
        assert_eq!(trickle.poll_timeout(), due);
        assert!(trickle.poll(due));
    }
}
