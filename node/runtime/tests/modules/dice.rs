//! Numbers that repeat.

use capmesh_coap::test_util;

pub(crate) struct Dice(test_util::Dice);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(test_util::Dice::new(seed))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0.roll()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.within(0..bound as u64) as usize
    }

    /// True in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.roll().to_le_bytes()).flatten().take(count).collect()
    }
}
