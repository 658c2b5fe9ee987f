//! All that happens by itself after a time, in one table.

use super::table::NONE;
use capmesh_wire::Instant;

/// What a timer is for. Each slot of a table has one timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// An outgoing message: to be sent, sent again, given up, or reported.
    Exchange(u16),
    /// A request waits for the application: an acknowledgement is due, or the answer is overdue.
    Unanswered(u16),
    /// The end of an observation is to be reported.
    Observer(u16),
}

/// The timers of an endpoint.
#[derive(Debug)]
pub(super) struct Timers<const EXCHANGES: usize, const UNANSWERED: usize, const OBSERVERS: usize> {
    exchanges: Deadlines<[Place; EXCHANGES]>,
    unanswered: Deadlines<[Place; UNANSWERED]>,
    observers: Deadlines<[Place; OBSERVERS]>,
}

impl<const E: usize, const U: usize, const O: usize> Timers<E, U, O> {
    /// So few that looking at all of them takes less, in code and perhaps in time, than a heap.
    const ARE_FEW: bool = E <= 8 && U <= 8 && O <= 8;

    pub(super) const fn new() -> Self {
        Self {
            exchanges: Deadlines::new(),
            unanswered: Deadlines::new(),
            observers: Deadlines::new(),
        }
    }

    #[inline(never)]
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        let (deadlines, slot) = self.table_of(timer);
        if Self::ARE_FEW { deadlines.note(slot, at) } else { deadlines.set(slot, at) }
    }

    #[inline(never)]
    pub(super) fn clear(&mut self, timer: Timer) {
        let (deadlines, slot) = self.table_of(timer);
        if Self::ARE_FEW { deadlines.forget(slot) } else { deadlines.clear(slot) }
    }

    /// The earliest timer.
    pub(super) fn next(&self) -> Option<(Instant, Timer)> {
        let mut earliest: Option<(Instant, Timer)> = None;
        let mut consider = |table: &Deadlines<[Place]>, timer: fn(u16) -> Timer| {
            if let Some((at, slot)) = if Self::ARE_FEW { table.first() } else { table.next() }
                && earliest.is_none_or(|(earliest, _)| at < earliest)
            {
                earliest = Some((at, timer(slot)));
            }
        };
        consider(&self.exchanges, Timer::Exchange);
        consider(&self.unanswered, Timer::Unanswered);
        consider(&self.observers, Timer::Observer);
        earliest
    }

    /// Takes the earliest timer if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|(at, _)| *at <= now)?;
        self.clear(timer);
        Some(timer)
    }

    fn table_of(&mut self, timer: Timer) -> (&mut Deadlines<[Place]>, u16) {
        match timer {
            Timer::Exchange(slot) => (&mut self.exchanges, slot),
            Timer::Unanswered(slot) => (&mut self.unanswered, slot),
            Timer::Observer(slot) => (&mut self.observers, slot),
        }
    }
}

/// A deadline for each slot of a table that has one: a binary heap of slot numbers that knows where
/// in it each slot is. Setting and clearing take log N steps.
///
/// Code for all lengths is shared: what works is a [`Deadlines`] of a slice.
#[derive(Debug)]
struct Deadlines<P: ?Sized> {
    len: usize,
    places: P,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The deadline of the slot with this number.
    at: Instant,
    /// Where in the heap that slot is, or [`NONE`].
    in_heap: u16,
    /// The slot at this place of the heap.
    slot: u16,
}

impl<const N: usize> Deadlines<[Place; N]> {
    const fn new() -> Self {
        Self { len: 0, places: [Place { at: Instant::ZERO, in_heap: NONE, slot: NONE }; N] }
    }
}

/// Without the heap: `in_heap` says whether a slot has a deadline.
impl Deadlines<[Place]> {
    fn first(&self) -> Option<(Instant, u16)> {
        let mut first: Option<(Instant, u16)> = None;
        for (slot, place) in (0..NONE).zip(&self.places) {
            if place.in_heap != NONE && first.is_none_or(|(at, _)| place.at < at) {
                first = Some((place.at, slot));
            }
        }
        first
    }

    fn note(&mut self, slot: u16, at: Instant) {
        if let Some(own) = self.places.get_mut(usize::from(slot)) {
            (own.at, own.in_heap) = (at, 0);
        }
    }

    fn forget(&mut self, slot: u16) {
        if let Some(own) = self.places.get_mut(usize::from(slot)) {
            own.in_heap = NONE;
        }
    }
}

/// With the heap.
impl Deadlines<[Place]> {
    fn next(&self) -> Option<(Instant, u16)> {
        if self.len == 0 {
            return None;
        }
        let slot = self.slot_at(0);
        Some((self.deadline(slot), slot))
    }

    fn set(&mut self, slot: u16, at: Instant) {
        let Some(own) = self.places.get_mut(usize::from(slot)) else { return };
        own.at = at;
        let mut place = self.place_of(slot);
        if place == NONE {
            place = u16::try_from(self.len).unwrap_or(NONE);
            self.len += 1;
        }
        let place = self.sift_up(usize::from(place), slot);
        self.sift_down(place, slot);
    }

    fn clear(&mut self, slot: u16) {
        let place = self.place_of(slot);
        if place == NONE {
            return;
        }
        if let Some(own) = self.places.get_mut(usize::from(slot)) {
            own.in_heap = NONE;
        }
        self.len -= 1;
        let last = self.slot_at(self.len);
        if last != slot {
            let place = self.sift_up(usize::from(place), last);
            self.sift_down(place, last);
        }
    }

    /// Puts `slot` at `place` or, while its parent is later, in its parent's place.
    fn sift_up(&mut self, mut place: usize, slot: u16) -> usize {
        while place > 0 {
            let parent_place = (place - 1) / 2;
            let parent = self.slot_at(parent_place);
            if self.deadline(parent) <= self.deadline(slot) {
                break;
            }
            self.put(place, parent);
            place = parent_place;
        }
        self.put(place, slot);
        place
    }

    /// Puts `slot` at `place` or, while one of its children is earlier, in that one's place.
    fn sift_down(&mut self, mut place: usize, slot: u16) {
        loop {
            let left = 2 * place + 1;
            if left >= self.len {
                break;
            }
            let right = left + 1;
            let right_is_earlier = right < self.len
                && self.deadline(self.slot_at(right)) < self.deadline(self.slot_at(left));
            let child_place = if right_is_earlier { right } else { left };
            let child = self.slot_at(child_place);
            if self.deadline(slot) <= self.deadline(child) {
                break;
            }
            self.put(place, child);
            place = child_place;
        }
        self.put(place, slot);
    }

    fn put(&mut self, place: usize, slot: u16) {
        if let Some(at) = self.places.get_mut(place) {
            at.slot = slot;
        }
        if let Some(own) = self.places.get_mut(usize::from(slot)) {
            own.in_heap = u16::try_from(place).unwrap_or(NONE);
        }
    }

    fn slot_at(&self, place: usize) -> u16 {
        self.places.get(place).map_or(NONE, |place| place.slot)
    }

    fn place_of(&self, slot: u16) -> u16 {
        self.places.get(usize::from(slot)).map_or(NONE, |own| own.in_heap)
    }

    fn deadline(&self, slot: u16) -> Instant {
        self.places.get(usize::from(slot)).map_or(Instant::ZERO, |own| own.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_earliest_of_all_tables_comes_first() {
        let mut timers = Timers::<2, 2, 2>::new();
        timers.set(Timer::Observer(1), Instant::from_secs(3));
        timers.set(Timer::Exchange(0), Instant::from_secs(2));
        timers.set(Timer::Unanswered(1), Instant::from_secs(1));
        assert_eq!(timers.take_due(Instant::ZERO), None);
        let now = Instant::from_secs(3);
        let order: std::vec::Vec<_> = core::iter::from_fn(|| timers.take_due(now)).collect();
        assert_eq!(order, [Timer::Unanswered(1), Timer::Exchange(0), Timer::Observer(1)]);
        assert_eq!(timers.next(), None);
    }

    proptest! {
        /// A table that is looked through and one with a heap are the same from outside.
        #[test]
        fn few_deadlines_are_kept_as_many_are(
            steps in prop::collection::vec((0..8_u16, prop::option::of(0..50_u64)), 0..200),
        ) {
            let (mut few, mut many) = (Timers::<8, 1, 1>::new(), Timers::<9, 1, 1>::new());
            for (slot, at) in steps {
                match at.map(Instant::from_micros) {
                    Some(at) => {
                        few.set(Timer::Exchange(slot), at);
                        many.set(Timer::Exchange(slot), at);
                    }
                    None => {
                        few.clear(Timer::Exchange(slot));
                        many.clear(Timer::Exchange(slot));
                    }
                }
                prop_assert_eq!(few.next().map(|(at, _)| at), many.next().map(|(at, _)| at));
            }
        }

        #[test]
        fn deadlines_order_as_a_sorted_map_does(
            steps in prop::collection::vec((0..12_u16, prop::option::of(0..50_u64)), 0..200),
        ) {
            let mut deadlines = Deadlines::<[Place; 12]>::new();
            let deadlines: &mut Deadlines<[Place]> = &mut deadlines;
            let mut model = BTreeMap::new();
            for (slot, at) in steps {
                match at {
                    Some(at) => {
                        deadlines.set(slot, Instant::from_micros(at));
                        model.insert(slot, at);
                    }
                    None => {
                        deadlines.clear(slot);
                        model.remove(&slot);
                    }
                }
                let earliest = model.values().min().map(|at| Instant::from_micros(*at));
                prop_assert_eq!(deadlines.next().map(|(at, _)| at), earliest);
            }
            let mut left: std::vec::Vec<_> = model.values().copied().collect();
            left.sort_unstable();
            for at in left {
                let (next, slot) = deadlines.next().unwrap();
                prop_assert_eq!(next.as_micros(), at);
                deadlines.clear(slot);
            }
            prop_assert_eq!(deadlines.next(), None);
        }
    }
}
