//! Bounded tables: slots with names, and the index that finds them by hash.

use super::hash::place;

/// No slot.
pub(super) const NONE: u16 = u16::MAX;

/// Up to `N` values in slots that are used again, each use with a generation of its own.
#[derive(Debug)]
pub(super) struct Table<T, const N: usize> {
    slots: [Slot<T>; N],
    /// The first slot that was given back, which leads to the others, or [`NONE`].
    free: u16,
    /// The first slot that was never used; those behind it were not either.
    fresh: u16,
    len: u16,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    next_free: u16,
    value: Option<T>,
}

impl<T, const N: usize> Table<T, N> {
    pub(super) fn new() -> Self {
        const { assert!(N < NONE as usize, "a table has up to 65,534 slots") };
        // Not a constant, of which a whole empty slot would be in the image.
        let slots = core::array::from_fn(|_| Slot { generation: 0, next_free: NONE, value: None });
        Self { slots, free: NONE, fresh: 0, len: 0 }
    }

    /// Puts a value into a free slot, or drops it if there is none.
    #[inline(never)]
    pub(super) fn insert(&mut self, value: T) -> Option<(u16, u32)> {
        let index = self.next_free()?;
        let slot = self.slots.get_mut(usize::from(index))?;
        if index == self.fresh {
            self.fresh += 1;
        } else {
            self.free = slot.next_free;
        }
        self.len += 1;
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = Some(value);
        Some((index, slot.generation))
    }

    /// The slot that the next insertion takes.
    pub(super) fn next_free(&self) -> Option<u16> {
        let index = if self.free == NONE { self.fresh } else { self.free };
        (usize::from(index) < N).then_some(index)
    }

    /// Drops a value. (It is not given back: values are large, and nobody wants them.)
    #[inline(never)]
    pub(super) fn remove(&mut self, index: u16) -> bool {
        let slot = self.slots.get_mut(usize::from(index)).filter(|slot| slot.value.is_some());
        let Some(slot) = slot else { return false };
        slot.value = None;
        slot.next_free = self.free;
        self.free = index;
        self.len -= 1;
        true
    }

    #[inline(never)]
    pub(super) fn get(&self, index: u16) -> Option<&T> {
        self.slots.get(usize::from(index))?.value.as_ref()
    }

    #[inline(never)]
    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut T> {
        self.slots.get_mut(usize::from(index))?.value.as_mut()
    }

    /// The value that had this generation when it was inserted.
    #[inline(never)]
    pub(super) fn named(&self, index: u16, generation: u32) -> Option<&T> {
        let slot = self.slots.get(usize::from(index))?;
        slot.value.as_ref().filter(|_| slot.generation == generation)
    }

    pub(super) fn generation(&self, index: u16) -> u32 {
        self.slots.get(usize::from(index)).map_or(0, |slot| slot.generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (0..NONE).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.value.as_ref()?)))
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }
}

/// An index by hash over the slots of a table of `N`: as many chains as slots, so that a search
/// walks two slots or so. The chains hold slot numbers, the caller compares.
///
/// Code for all lengths is shared: what works is a [`Chains`] of a slice.
#[derive(Debug)]
pub(super) struct Chains<L: ?Sized> {
    links: L,
}

/// The first slot of the chain with this number, and the slot after the one with this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    head: u16,
    next: u16,
}

impl<const N: usize> Chains<[Link; N]> {
    pub(super) const fn new() -> Self {
        Self { links: [Link { head: NONE, next: NONE }; N] }
    }

    /// So few slots that looking at all of them takes less than an index.
    const ARE_FEW: bool = N <= 16;

    /// Adds a slot that is in no chain.
    pub(super) fn insert(&mut self, hash: u64, slot: u16) {
        if !Self::ARE_FEW {
            let chains: &mut Chains<[Link]> = self;
            chains.put_in(hash, slot);
        }
    }

    /// Takes out a slot that was added with this hash.
    pub(super) fn remove(&mut self, hash: u64, slot: u16) {
        if !Self::ARE_FEW {
            let chains: &mut Chains<[Link]> = self;
            chains.take_out(hash, slot);
        }
    }

    /// The slot that `is_it` accepts, which is one that was added with this hash and not taken out
    /// since, and no other one.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u16) -> bool) -> Option<u16> {
        if Self::ARE_FEW {
            return (0..NONE).zip(&self.links).map(|(slot, _)| slot).find(|slot| is_it(*slot));
        }
        let chains: &Chains<[Link]> = self;
        chains.search(hash, is_it)
    }
}

impl Chains<[Link]> {
    fn put_in(&mut self, hash: u64, slot: u16) {
        let chain = place(hash, self.links.len());
        let after = self.head(chain);
        self.set_head(chain, slot);
        self.set_after(slot, after);
    }

    fn take_out(&mut self, hash: u64, slot: u16) {
        let after = self.after(slot);
        let chain = place(hash, self.links.len());
        if self.head(chain) == slot {
            self.set_head(chain, after);
        } else if let Some(before) = self.search(hash, |at| self.after(at) == slot) {
            self.set_after(before, after);
        }
    }

    /// The first slot of the hash's chain that `is_it` accepts.
    fn search(&self, hash: u64, mut is_it: impl FnMut(u16) -> bool) -> Option<u16> {
        let mut at = self.head(place(hash, self.links.len()));
        while at != NONE {
            if is_it(at) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    fn head(&self, chain: usize) -> u16 {
        self.links.get(chain).map_or(NONE, |link| link.head)
    }

    fn after(&self, slot: u16) -> u16 {
        self.links.get(usize::from(slot)).map_or(NONE, |link| link.next)
    }

    fn set_head(&mut self, chain: usize, slot: u16) {
        if let Some(link) = self.links.get_mut(chain) {
            link.head = slot;
        }
    }

    fn set_after(&mut self, slot: u16, after: u16) {
        if let Some(link) = self.links.get_mut(usize::from(slot)) {
            link.next = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_full_table_takes_nothing_and_names_do_not_return() {
        let mut table = Table::<char, 2>::new();
        let (a, first) = table.insert('a').unwrap();
        table.insert('b').unwrap();
        assert_eq!(table.next_free(), None);
        assert_eq!(table.insert('c'), None);
        assert!(table.remove(a));
        assert!(!table.remove(a));
        let (again, second) = table.insert('d').unwrap();
        assert_eq!(again, a);
        assert_eq!(table.named(a, first), None);
        assert_eq!(table.named(a, second), Some(&'d'));
        assert_eq!(table.len(), 2);
    }

    proptest! {
        #[test]
        fn chains_find_what_a_map_finds(steps in prop::collection::vec((0..16_u16, 0..6_u64), 0..200)) {
            let mut chains = Chains::<[Link; 17]>::new();
            let mut model = BTreeMap::<u16, u64>::new();
            for (slot, hash) in steps {
                let hash = hash << 61;
                match model.remove(&slot) {
                    Some(old) => chains.remove(old, slot),
                    None => {
                        chains.insert(hash, slot);
                        model.insert(slot, hash);
                    }
                }
                for probe in 0..16 {
                    for hash in (0..6).map(|h| h << 61) {
                        let found = chains.find(hash, |at| at == probe).is_some();
                        let same_chain = model.get(&probe).is_some_and(|h| place(*h, 17) == place(hash, 17));
                        prop_assert_eq!(found, same_chain);
                    }
                }
            }
        }
    }
}
