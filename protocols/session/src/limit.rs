//! A rate limit.

use capmesh_wire::Instant;
use core::time::Duration;

/// A bucket of tokens that fills up at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: u8,
    /// When the last token came in.
    filled: Instant,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most at once.
    pub burst: u8,
    /// One more each.
    pub interval: Duration,
}

impl Bucket {
    pub(crate) const fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Takes a token if there is one. The work is at most `burst` steps.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        self.fill(now, rate);
        let has_one = self.tokens > 0;
        self.tokens -= u8::from(has_one);
        has_one
    }

    /// Whether less than half of the burst is left.
    pub(crate) fn is_low(&mut self, now: Instant, rate: Rate) -> bool {
        self.fill(now, rate);
        self.tokens < rate.burst.div_ceil(2)
    }

    fn fill(&mut self, now: Instant, rate: Rate) {
        while self.tokens < rate.burst && now >= self.filled + rate.interval {
            self.tokens += 1;
            self.filled += rate.interval;
        }
        if self.tokens >= rate.burst {
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { burst: 3, interval: Duration::from_secs(2) };
        let mut bucket = Bucket::full(Instant::ZERO, rate);
        let at = Instant::from_secs;
        assert_eq!([0, 0, 0, 1].map(|s| bucket.take(at(s), rate)), [true, true, true, false]);
        assert_eq!([2, 3, 4].map(|s| bucket.take(at(s), rate)), [true, false, true]);
        assert_eq!([100; 4].map(|s| bucket.take(at(s), rate)), [true, true, true, false]);
    }
}
