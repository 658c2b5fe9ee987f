//! When to try again.

use std::time::Duration;

/// Waits that double from the first to the longest, each shortened by up to a half at random, so that
/// many who lost the same broker do not come back at the same time.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// It has worked: the next wait is short again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait. `random` is any number.
    #[must_use]
    pub fn next(&mut self, random: u32) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        let share = f64::from(random) / f64::from(u32::MAX);
        wait.mul_f64(1.0 - share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let waits: Vec<_> = (0..5).map(|_| backoff.next(0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.next(0), SECOND);
    }

    #[test]
    fn they_are_shortened_by_a_half_at_most() {
        let mut backoff = Backoff::new(SECOND, SECOND);
        assert_eq!(backoff.next(u32::MAX), SECOND / 2);
        let middle = backoff.next(u32::MAX / 2);
        assert!(middle > SECOND / 2 && middle < SECOND);
    }
}
