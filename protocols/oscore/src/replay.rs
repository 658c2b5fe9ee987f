//! Which requests have been received, and which of their nonces have protected a response.

/// A sliding window over the Partial IVs of received requests (RFC 8613 section 7.4). It is 64 wide:
/// a request that is 64 or more behind the newest one is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    /// One more than the newest Partial IV, 0 if there is none.
    edge: u64,
    /// Bit `i`: `edge - 1 - i` has been received.
    seen: u64,
    /// Bit `i`: the nonce of request `edge - 1 - i` must not protect another response.
    answered: u64,
}

impl ReplayWindow {
    /// How many Partial IVs behind the newest are told apart.
    pub const WIDTH: u32 = u64::BITS;

    /// The window of a new context: nothing has been received.
    pub const EMPTY: Self = Self { edge: 0, seen: 0, answered: 0 };

    /// The window to persist, as the two numbers that [`ReplayWindow::from_parts`] takes. It is
    /// valid until the next request is accepted, so it is of use after an orderly stop only: mark
    /// the stored one as used before the context is used again.
    #[must_use]
    pub const fn to_parts(self) -> (u64, u64) {
        (self.edge, self.seen)
    }

    /// The window with parts from [`ReplayWindow::to_parts`]. Responses to requests that it has
    /// seen get Partial IVs of their own.
    #[must_use]
    pub const fn from_parts(edge: u64, seen: u64) -> Self {
        Self { edge, seen, answered: u64::MAX }
    }

    /// The window in which `piv` is the newest, and everything below it counts as received.
    pub(crate) const fn starting_with(piv: u64) -> Self {
        Self { edge: piv + 1, seen: u64::MAX, answered: u64::MAX - 1 }
    }

    /// Whether a request with `piv` may still be accepted.
    #[must_use]
    pub const fn is_new(&self, piv: u64) -> bool {
        match self.bit(piv) {
            None => piv >= self.edge,
            Some(bit) => self.seen & bit == 0,
        }
    }

    /// Records a request, after it was authenticated.
    pub(crate) fn accept(&mut self, piv: u64) {
        if piv >= self.edge {
            let shift = u32::try_from(piv - self.edge + 1).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or_default();
            self.answered = self.answered.checked_shl(shift).unwrap_or_default();
            self.edge = piv + 1;
        }
        self.seen |= self.bit(piv).unwrap_or_default();
    }

    /// Whether the nonce of request `piv` may protect a response; if so, it may not again.
    pub(crate) fn take_nonce(&mut self, piv: u64) -> bool {
        let bit = self.bit(piv).unwrap_or_default();
        let free = self.seen & !self.answered & bit != 0;
        self.answered |= bit;
        free
    }

    /// The bit of `piv`, or `None` if it is outside of the window.
    const fn bit(&self, piv: u64) -> Option<u64> {
        if piv >= self.edge {
            return None;
        }
        let behind = self.edge - 1 - piv;
        if behind < Self::WIDTH as u64 { Some(1 << behind) } else { None }
    }
}

#[cfg(test)]
mod tests;
