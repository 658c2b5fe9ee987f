//! Sender Sequence Numbers that survive a restart without being used twice.

use crate::error::ProtectError;
use crate::header::MAX_PARTIAL_IV;

/// Where the next Sender Sequence Number comes from (RFC 8613 Appendix B.1.1).
///
/// Numbers are reserved in non-volatile memory ahead of their use, `step` at a time. The protocol:
/// whenever [`SequenceReservation::wanted`] gives a bound, store it, and once it is durable call
/// [`SequenceReservation::confirm`]. After a restart go on from the stored bound. Numbers below it
/// that were not used are lost, nothing else is. Since no number is used before its bound is
/// durable, a power cut at any moment is safe, and the `F` of the RFC is 0.
#[derive(Debug, PartialEq, Eq)]
pub struct SequenceReservation {
    next: u64,
    /// The first number that must not be used.
    bound: u64,
    step: u32,
}

impl SequenceReservation {
    /// For keys that are never stored, like those that EDHOC makes: numbers start at 0, and all of
    /// them may be used.
    #[must_use]
    pub const fn volatile() -> Self {
        Self { next: 0, bound: MAX_PARTIAL_IV + 1, step: 0 }
    }

    /// For stored keys. `stored` is the last bound that was made durable, 0 for a new context;
    /// nothing can be sent before a higher one is. `step` numbers are reserved at a time (at least
    /// 1): a write to non-volatile memory for about every `step` messages, against at most `step`
    /// numbers lost in a restart.
    #[must_use]
    pub const fn stored(stored: u64, step: u32) -> Self {
        Self { next: stored, bound: stored, step: if step == 0 { 1 } else { step } }
    }

    /// The bound to store next, once no more than half a step remains below the present one.
    #[must_use]
    pub fn wanted(&self) -> Option<u64> {
        let step = u64::from(self.step);
        let left = self.bound.saturating_sub(self.next);
        let wanted = self.bound.saturating_add(step).min(MAX_PARTIAL_IV + 1);
        (left <= step / 2 && wanted > self.bound).then_some(wanted)
    }

    /// Says that `bound` is durable. A bound below the present one changes nothing.
    pub fn confirm(&mut self, bound: u64) {
        self.bound = self.bound.max(bound.min(MAX_PARTIAL_IV + 1));
    }

    /// The number that will be used next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Takes a number.
    pub(crate) const fn take(&mut self) -> Result<u64, ProtectError> {
        if self.next > MAX_PARTIAL_IV {
            return Err(ProtectError::Exhausted);
        }
        if self.next >= self.bound {
            return Err(ProtectError::NotReserved);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

#[cfg(test)]
mod tests;
