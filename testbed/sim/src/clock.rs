//! What time a host has: its own, which begins somewhere and runs too fast or too slow.

use capmesh_wire::Instant;
use std::time::Duration;

const MILLION: i128 = 1_000_000;

/// A host's clock. Cores see local time only; the world's events happen in the world's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// A moment of the world's time, and what the clock showed then.
    world: Instant,
    local: Instant,
    ppm: i32,
}

impl Clock {
    /// A clock that shows `local` at a moment of the world's time, and is right from then on.
    #[must_use]
    pub const fn new(world: Instant, local: Instant) -> Self {
        Self { world, local, ppm: 0 }
    }

    /// By how many millionths it runs too fast.
    #[must_use]
    pub const fn ppm(&self) -> i32 {
        self.ppm
    }

    /// Has it run too fast by so many millionths from `now` on, within a tenth.
    pub fn drift(&mut self, now: Instant, ppm: i32) {
        *self = Self { world: now, local: self.local(now), ppm: ppm.clamp(-100_000, 100_000) };
    }

    /// What it shows.
    #[must_use]
    pub fn local(&self, now: Instant) -> Instant {
        let passed = now.saturating_since(self.world);
        if self.ppm == 0 {
            return self.local + passed;
        }
        let passed = passed.as_micros() as i128 * (MILLION + i128::from(self.ppm)) / MILLION;
        self.local + Duration::from_micros(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// When it will show `local`, or has.
    #[must_use]
    pub fn world(&self, local: Instant) -> Instant {
        let left = local.saturating_since(self.local);
        if self.ppm == 0 {
            return self.world + left;
        }
        let rate = MILLION + i128::from(self.ppm);
        let left = (left.as_micros() as i128 * MILLION + rate - 1) / rate;
        self.world + Duration::from_micros(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_by_a_clock_is_due_when_the_world_gets_there() {
        let start = Instant::from_secs(100);
        for ppm in [-100_000, -333, -1, 0, 1, 40, 99_999] {
            let mut clock = Clock::new(start, Instant::from_secs(3));
            clock.drift(start, ppm);
            for micros in [0, 1, 2, 999, 1_000_003, 86_400_000_000] {
                let local = Instant::from_secs(3) + Duration::from_micros(micros);
                let world = clock.world(local);
                assert!(clock.local(world) >= local, "{ppm} ppm, {micros} us");
                let before = Instant::from_micros(world.as_micros() - 1);
                assert!(world == start || clock.local(before) < local, "{ppm} ppm, {micros} us");
            }
        }
    }

    #[test]
    fn a_clock_does_not_jump_when_it_begins_to_drift() {
        let mut clock = Clock::new(Instant::ZERO, Instant::ZERO);
        clock.drift(Instant::ZERO, 100);
        let later = Instant::from_secs(1_000);
        assert_eq!(clock.local(later), Instant::from_micros(1_000_100_000));
        clock.drift(later, -100);
        assert_eq!(clock.local(later), Instant::from_micros(1_000_100_000));
        assert_eq!(clock.local(later + Duration::from_secs(1_000)), Instant::from_secs(2_000));
    }
}
