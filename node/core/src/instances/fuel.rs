//! Fuel by the second: who may run now, and since when.

use capmesh_wire::Instant;
use core::time::Duration;

/// An allowance that fills up with time: `rate` a second, up to `most`. What is taken may make it
/// negative; it is then paid off before anything else is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    rate: u32,
    most: i64,
    left: i64,
    /// When `left` was right.
    at: Instant,
    /// What `rate` has given beside whole units, in units times microseconds.
    rest: u64,
}

const MICROS: u64 = 1_000_000;

impl Allowance {
    /// A full one: `rate` a second, a second's worth at once.
    pub(crate) fn new(now: Instant, rate: u32) -> Self {
        let most = i64::from(rate);
        Self { rate, most, left: most, at: now, rest: 0 }
    }

    /// As [`Allowance::new`], with no more than `burst` at once.
    pub(crate) fn with_burst(now: Instant, rate: u32, burst: u32) -> Self {
        let most = i64::from(burst);
        Self { most, left: most, ..Self::new(now, rate) }
    }

    /// Whether anything may be taken at `now`.
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left > 0
    }

    /// Takes `amount`, whether it is there or not.
    pub(crate) fn take(&mut self, now: Instant, amount: u64) {
        self.fill(now);
        self.left = self.left.saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
    }

    /// From when on something may be taken, as far as is known now; `None` if it never may.
    pub(crate) fn next(&self) -> Option<Instant> {
        let Ok(missing @ 1..) = u64::try_from(1_i64.saturating_sub(self.left)) else {
            return Some(Instant::ZERO);
        };
        let rate = Some(u64::from(self.rate)).filter(|rate| *rate > 0)?;
        let micros = missing.saturating_mul(MICROS).saturating_sub(self.rest).div_ceil(rate);
        Some(self.at + Duration::from_micros(micros))
    }

    fn fill(&mut self, now: Instant) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.at = self.at.max(now);
        let given = micros.saturating_mul(u64::from(self.rate)).saturating_add(self.rest);
        let whole = i64::try_from(given / MICROS).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(whole);
        self.rest = given % MICROS;
        if self.left >= self.most {
            (self.left, self.rest) = (self.most, 0);
        }
    }
}

/// How much was used in the last whole second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    second: u64,
    now: u32,
    last: u32,
}

impl Meter {
    /// Counts `amount`.
    pub(crate) fn add(&mut self, now: Instant, amount: u64) {
        self.turn(now);
        self.now = self.now.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
    }

    /// What was counted in the last second.
    pub(crate) fn read(mut self, now: Instant) -> u32 {
        self.turn(now);
        self.last
    }

    fn turn(&mut self, now: Instant) {
        let second = now.as_micros() / MICROS;
        match second.saturating_sub(self.second) {
            0 => {}
            1 => (self.last, self.now) = (self.now, 0),
            _ => (self.last, self.now) = (0, 0),
        }
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn what_is_overdrawn_is_paid_off_first() {
        let mut fuel = Allowance::new(at(0), 1_000);
        fuel.take(at(0), 3_000);
        assert!(!fuel.has(at(1_999_999)));
        assert_eq!(fuel.next(), Some(at(2_001_000)));
        assert!(fuel.has(at(2_001_000)));
        assert_eq!(fuel.next(), Some(Instant::ZERO));
        assert_eq!(Allowance::new(at(0), 0).next(), None);
    }

    #[test]
    fn a_meter_tells_of_the_last_second_only() {
        let mut meter = Meter::default();
        meter.add(at(100), 5);
        meter.add(at(999_999), 6);
        assert_eq!(meter.read(at(999_999)), 0);
        assert_eq!(meter.read(at(1_000_000)), 11);
        meter.add(at(1_500_000), 1);
        assert_eq!(meter.read(at(1_600_000)), 11);
        assert_eq!(meter.read(at(3_000_000)), 0);
    }

    proptest! {
        /// However time is cut, no more is given than the rate says.
        #[test]
        fn no_more_than_the_rate(rate in 1_u32..5_000_000, steps in proptest::collection::vec(0_u64..50_000, 1..50)) {
            let mut fuel = Allowance::new(at(0), rate);
            // Emptied at once: while it is full, nothing is added.
            fuel.take(at(0), u64::from(rate));
            let (mut now, mut taken) = (at(0), u64::from(rate));
            for step in steps {
                now += Duration::from_micros(step);
                while fuel.has(now) {
                    fuel.take(now, 100);
                    taken += 100;
                }
            }
            let given = u64::from(rate) + now.as_micros() * u64::from(rate) / MICROS;
            prop_assert!(taken < given + 101);
            prop_assert!(taken + 1 >= given);
            let next = fuel.next().unwrap();
            prop_assert!(next > now);
            prop_assert!(fuel.has(next));
        }
    }
}
