//! A set of pieces.

use core::ops::Range;

/// A set of piece numbers below `32 * WORDS`, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitmap<const WORDS: usize>([u32; WORDS]);

impl<const WORDS: usize> Bitmap<WORDS> {
    /// No piece.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Every piece.
    pub const FULL: Self = Self([u32::MAX; WORDS]);

    /// How many pieces the set has room for.
    pub const CAPACITY: usize = WORDS * 32;

    /// Whether `piece` is in the set.
    #[must_use]
    pub fn contains(&self, piece: u16) -> bool {
        self.word(piece / 32) >> (piece % 32) & 1 == 1
    }

    /// Adds `piece`, unless there is no room for its number. Says whether it was added now.
    pub fn insert(&mut self, piece: u16) -> bool {
        let bit = 1 << (piece % 32);
        match self.0.get_mut(usize::from(piece / 32)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    /// Takes `piece` out. Says whether it was there.
    pub fn remove(&mut self, piece: u16) -> bool {
        let bit = 1 << (piece % 32);
        match self.0.get_mut(usize::from(piece / 32)) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                true
            }
            _ => false,
        }
    }

    /// 32 pieces as a word, the lowest number in the least significant bit; zero past the end.
    #[must_use]
    pub fn word(&self, index: u16) -> u32 {
        self.0.get(usize::from(index)).copied().unwrap_or_default()
    }

    /// How many pieces of `range` are in the set. The work is bounded by `WORDS`.
    #[must_use]
    pub fn count(&self, range: Range<u16>) -> u16 {
        let words = words_of(&range);
        let ones: u32 = words.map(|w| (self.word(w) & mask(&range, w)).count_ones()).sum();
        u16::try_from(ones).unwrap_or(u16::MAX)
    }

    /// The greatest piece of `range` in the set. The work is bounded by `WORDS`.
    #[must_use]
    pub fn last(&self, range: Range<u16>) -> Option<u16> {
        let (index, word) = words_of(&range)
            .rev()
            .map(|w| (w, self.word(w) & mask(&range, w)))
            .find(|(_, word)| *word != 0)?;
        u16::try_from(u32::from(index) * 32 + word.ilog2()).ok()
    }

    /// The pieces of the set in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).take(Self::CAPACITY).filter(|piece| self.contains(*piece))
    }
}

/// The words that hold the pieces of `range`.
pub(crate) fn words_of(range: &Range<u16>) -> Range<u16> {
    range.start / 32..range.end.div_ceil(32)
}

/// The bits of word `index` that belong to pieces of `range`.
pub(crate) fn mask(range: &Range<u16>, index: u16) -> u32 {
    let base = u32::from(index) * 32;
    let below = |end: u16| match u32::from(end).saturating_sub(base) {
        n @ 0..32 => (1 << n) - 1,
        _ => u32::MAX,
    };
    below(range.end) & !below(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_without_room_are_left_out() {
        let mut set = Bitmap::<2>::EMPTY;
        assert!(!set.insert(64));
        assert!(!set.contains(64) && !set.remove(64));
        assert!(set.insert(63) && !set.insert(63));
        assert_eq!(Bitmap::<2>::FULL.count(0..u16::MAX), 64);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(
            pieces in proptest::collection::btree_set(0_u16..128, 0..40),
            gone in proptest::collection::btree_set(0_u16..128, 0..40),
            start in 0_u16..140, len in 0_u16..140,
        ) {
            let mut set = Bitmap::<4>::EMPTY;
            for p in &pieces { prop_assert!(set.insert(*p)); }
            for p in &gone { prop_assert_eq!(set.remove(*p), pieces.contains(p)); }
            let model: BTreeSet<u16> = pieces.difference(&gone).copied().collect();
            let range = start..start + len;
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), model.clone());
            prop_assert_eq!(usize::from(set.count(range.clone())), model.range(range.clone()).count());
            prop_assert_eq!(set.last(range.clone()), model.range(range).next_back().copied());
        }
    }
}
