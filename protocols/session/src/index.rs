//! Finds a slot of a table by hash, in memory that is as large as the table.

/// Chains of slots whose key has the same hash, for a table of `N` slots.
///
/// It stores slot numbers only; what a slot's key is, the caller knows. Each slot is in at most once.
#[derive(Debug)]
pub(crate) struct Index<const N: usize> {
    heads: [u16; N],
    next: [u16; N],
}

const END: u16 = u16::MAX;

impl<const N: usize> Index<N> {
    /// So few that looking at all of them takes less than an index.
    const ARE_FEW: bool = N <= 8;

    const FITS: () = assert!(N > 0 && N < END as usize, "a table has 1 to 65534 slots");

    pub(crate) const fn new() -> Self {
        let () = Self::FITS;
        Self { heads: [END; N], next: [END; N] }
    }

    /// The slot with this hash for which `is` holds; `is` must hold for no other one. The work is the length of a chain: one on
    /// average, as long as the hashes are not chosen by somebody who wants otherwise.
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        if Self::ARE_FEW {
            return (0..N).find(|slot| is(*slot));
        }
        let mut at = *self.heads.get(Self::bucket(hash))?;
        while at != END {
            let slot = usize::from(at);
            if is(slot) {
                return Some(slot);
            }
            at = *self.next.get(slot)?;
        }
        None
    }

    /// Adds `slot`, which must not be in yet.
    pub(crate) fn insert(&mut self, hash: u32, slot: usize) {
        if Self::ARE_FEW {
            return;
        }
        let Ok(number) = u16::try_from(slot) else { return };
        if let (Some(head), Some(next)) =
            (self.heads.get_mut(Self::bucket(hash)), self.next.get_mut(slot))
        {
            *next = core::mem::replace(head, number);
        }
    }

    /// Removes `slot`, if it is in under this hash.
    pub(crate) fn remove(&mut self, hash: u32, slot: usize) {
        if Self::ARE_FEW {
            return;
        }
        let after = self.next.get(slot).copied().unwrap_or(END);
        let Some(head) = self.heads.get_mut(Self::bucket(hash)) else { return };
        if usize::from(*head) == slot {
            *head = after;
            return;
        }
        let mut at = usize::from(*head);
        while let Some(next) = self.next.get_mut(at) {
            if usize::from(*next) == slot {
                *next = after;
                return;
            }
            at = usize::from(*next);
        }
    }

    fn bucket(hash: u32) -> usize {
        usize::try_from(hash).unwrap_or_default() % N
    }
}

/// A hash of a few bytes (FNV-1a). Keys that are hashed here are random or digests already.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list: with fewer hashes than slots, so that chains are long.
        #[test]
        fn an_index_finds_what_is_in(steps in prop::collection::vec((0_usize..9, 0_u32..4), 0..80)) {
            let mut index = Index::<9>::new();
            let mut model = [None; 9];
            for (slot, key) in steps {
                match model[slot].take() {
                    Some(key) => index.remove(key, slot),
                    None => {
                        index.insert(key, slot);
                        model[slot] = Some(key);
                    }
                }
                for (slot, model) in model.iter().enumerate() {
                    for key in 0..4 {
                        let found = index.find(key, |at| at == slot);
                        prop_assert_eq!(found.is_some(), *model == Some(key));
                    }
                }
            }
        }
    }
}
