//! Time that nodes share: site time, as the gateway serves it, and what a node knows of it.

use crate::cbor::macros::tuple;
use crate::time::Instant;

tuple! {
    /// When something was, in site time, and how sure that is.
    pub struct Timestamp {
        /// Microseconds since 1970-01-01 UTC; since the node's start, as long as it has not learned
        /// the time.
        micros: u64,
        /// The true time is at most so many microseconds earlier or later; absent as long as the node
        /// has not learned the time.
        uncertainty: Option<u32>,
    }
}

tuple! {
    /// What a node knows of the time: site time is its monotonic clock plus the offset.
    pub struct Clock {
        /// Microseconds to add to the monotonic clock.
        offset: i64,
        /// How far off the offset may have been when it was measured, in microseconds.
        uncertainty: u32,
        /// When it was measured, on the monotonic clock in microseconds.
        measured: u64,
        /// How much the monotonic clock may drift, in parts per million.
        drift_ppm: u16,
    }
}

tuple! {
    /// Asks the gateway for the time.
    pub struct TimeRequest {
        /// The asker's monotonic clock, in microseconds, as it sends this.
        sent: u64,
    }
}

tuple! {
    /// Tells the time.
    pub struct TimeReply {
        /// [`TimeRequest::sent`], as it came.
        sent: u64,
        /// Site time when the request arrived, in microseconds since 1970.
        received: u64,
        /// Site time when this was sent.
        replied: u64,
        /// How far off the gateway's own time may be, in microseconds.
        uncertainty: u32,
    }
}

/// How much a crystal drifts when nobody has measured it better.
pub const DRIFT_PPM: u16 = 50;

impl TimeReply {
    /// What the asker learns from this reply, which arrived at `now`: NTP's offset and half its delay
    /// (RFC 5905 section 8). `None` if the numbers make no sense: a reply to another request, or one
    /// that arrived before it was sent.
    #[must_use]
    pub fn clock(&self, now: Instant) -> Option<Clock> {
        let [sent, received, replied, now] =
            [self.sent, self.received, self.replied, now.as_micros()].map(i64::try_from);
        let (sent, received, replied, now) = (sent.ok()?, received.ok()?, replied.ok()?, now.ok()?);
        // All are non-negative, so their differences do not overflow.
        let (away, stay) = (now - sent, replied - received);
        if away < 0 || stay < 0 || stay > away {
            return None;
        }
        let delay = away - stay;
        // The server's clock at the middle of its stay, minus ours at the middle of ours.
        let there = received + stay / 2;
        let here = sent + away / 2;
        let uncertainty = u64::from(self.uncertainty) + delay.unsigned_abs() / 2 + 1;
        Some(Clock {
            offset: there - here,
            uncertainty: u32::try_from(uncertainty).ok()?,
            measured: now.unsigned_abs(),
            drift_ppm: DRIFT_PPM,
        })
    }
}

impl Clock {
    /// Site time at `now`. The uncertainty has grown with the drift since the measurement.
    #[must_use]
    pub fn at(&self, now: Instant) -> Timestamp {
        let since = now.saturating_since(Instant::from_micros(self.measured));
        // Whole seconds times parts per million are microseconds.
        let seconds = since.as_secs().saturating_add(1);
        let grown = seconds.saturating_mul(u64::from(self.drift_ppm));
        let uncertainty = u64::from(self.uncertainty).saturating_add(grown);
        Timestamp {
            micros: now.as_micros().saturating_add_signed(self.offset),
            uncertainty: Some(u32::try_from(uncertainty).unwrap_or(u32::MAX)),
        }
    }
}

impl Timestamp {
    /// The time at `now` for a node that has not learned it.
    #[must_use]
    pub const fn since_start(now: Instant) -> Self {
        Self { micros: now.as_micros(), uncertainty: None }
    }

    /// The time at `now`, as well as it is known.
    #[must_use]
    pub fn now(clock: Option<&Clock>, now: Instant) -> Self {
        clock.map_or(Self::since_start(now), |clock| clock.at(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: u64 = 1_700_000_000_000_000;

    #[test]
    fn an_even_exchange_finds_the_offset() {
        let reply = TimeReply {
            sent: 1_000,
            received: EPOCH + 6_000,
            replied: EPOCH + 7_000,
            uncertainty: 20,
        };
        let clock = reply.clock(Instant::from_micros(12_000)).unwrap();
        assert_eq!(clock.offset, i64::try_from(EPOCH).unwrap());
        assert_eq!(clock.uncertainty, 20 + 5_000 + 1);
        let now = clock.at(Instant::from_micros(20_000));
        assert_eq!((now.micros, now.uncertainty), (EPOCH + 20_000, Some(5_021 + 50)));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = TimeReply { sent: 1_000, received: EPOCH, replied: EPOCH, uncertainty: 0 };
        assert!(good.clock(Instant::from_micros(1_000)).is_some());
        for (bad, now) in [
            (good, 999),
            (TimeReply { replied: EPOCH - 1, ..good }, 2_000),
            (TimeReply { replied: EPOCH + 2_000, ..good }, 2_000),
            (TimeReply { sent: u64::MAX, ..good }, 2_000),
            (TimeReply { replied: u64::MAX, ..good }, 2_000),
            (TimeReply { uncertainty: u32::MAX, ..good }, 2_000),
        ] {
            assert_eq!(bad.clock(Instant::from_micros(now)), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_true_time_lies_within_the_uncertainty(
            sent in 0_u64..1 << 50,
            there in 0_u64..1_000_000,
            stay in 0_u64..1_000_000,
            back in 0_u64..1_000_000,
            later in 0_u64..1 << 40,
            drift in -50_i64..=50,
        ) {
            let received = EPOCH + sent + there;
            let reply = TimeReply { sent, received, replied: received + stay, uncertainty: 0 };
            let arrived = sent + there + stay + back;
            let clock = reply.clock(Instant::from_micros(arrived)).unwrap();
            // From then on our clock runs wrong, within its bound.
            let shown = later.saturating_add_signed(i64::try_from(later).unwrap() / 1_000_000 * drift);
            let said = clock.at(Instant::from_micros(arrived + shown));
            let truth = EPOCH + arrived + later;
            prop_assert!(said.micros.abs_diff(truth) <= u64::from(said.uncertainty.unwrap()));
        }

        #[test]
        fn no_numbers_panic(a: u64, b: u64, c: u64, uncertainty: u32, now: u64, offset: i64) {
            let reply = TimeReply { sent: a, received: b, replied: c, uncertainty };
            let _ = reply.clock(Instant::from_micros(now));
            let clock = Clock { offset, uncertainty, measured: a, drift_ppm: u16::MAX };
            let _ = clock.at(Instant::from_micros(now));
        }
    }
}
