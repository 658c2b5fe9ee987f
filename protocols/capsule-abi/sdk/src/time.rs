//! Time and chance, as the node gives them to a handler.

use crate::node;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, in microseconds since 1970-01-01 UTC. It stands still while a handler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// The moment so many microseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// The time from one moment to a later one; zero if it is not later.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).cast_unsigned())
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// When the handler started, as well as the node knows it.
#[must_use]
pub fn now() -> Time {
    Time(node::time())
}

/// Half the width of the interval around [`now`] that contains the true time; `None` if the node
/// does not know.
#[must_use]
pub fn time_uncertainty() -> Option<Duration> {
    u64::try_from(node::time_uncertainty()).ok().map(Duration::from_micros)
}

/// 64 random bits, repeatable from the instance's seed. Not for keys.
#[must_use]
pub fn random() -> u64 {
    node::random().cast_unsigned()
}

/// Whole microseconds, without the 128-bit arithmetic of [`Duration::as_micros`].
pub(crate) fn micros(duration: Duration) -> i64 {
    let micros = duration.as_secs().saturating_mul(1_000_000);
    i64::try_from(micros.saturating_add(u64::from(duration.subsec_micros()))).unwrap_or(i64::MAX)
}
