//! What several capsules do with readings: a library such as the author of capsules would have.
//!
//! Each part knows numbers and nothing of topics, schemas or units, so that a capsule is what is its own:
//! its ports, its parameters, and which of these it uses. There is no heap, and every part is its own
//! state: a capsule that holds one is moved with it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod outliers;
mod window;

pub use outliers::{Outlier, Outliers};
pub use window::{Statistics, Window};

use core::time::Duration;

/// The time between two readings: a second where somebody has said none.
#[must_use]
pub fn period(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds.max(1)))
}

/// Which share of something is not available. `None` if there is nothing of it.
#[must_use]
pub fn share_used(total: u64, available: u64) -> Option<f32> {
    if total == 0 {
        return None;
    }
    let free = available.min(total) as f64 / total as f64;
    Some((1.0 - free) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_the_share_that_is_not_available() {
        assert_eq!(share_used(4 << 30, 1 << 30), Some(0.75));
        assert_eq!(share_used(1000, 1000), Some(0.0));
        assert_eq!(share_used(1000, 2000), Some(0.0), "more than all is all");
        assert_eq!(share_used(0, 0), None);
    }

    #[test]
    fn there_is_always_time_between_two_readings() {
        assert_eq!(period(0), Duration::from_secs(1));
        assert_eq!(period(60), Duration::from_secs(60));
    }
}
