//! What was published and is not acknowledged.

use std::collections::VecDeque;
use std::time::Instant;

/// Publications in the order of their sending.
///
/// As long as there is no more between the oldest that is not acknowledged and the newest than the
/// broker's window, packet identifiers never meet one that is in use, even if a broker acknowledges out
/// of order.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    /// The tag of the first.
    first: u64,
    sent: VecDeque<Sent>,
}

#[derive(Debug)]
struct Sent {
    /// Its place in the outbox, if it is from there.
    place: Option<i64>,
    at: Instant,
    acknowledged: bool,
}

impl Window {
    pub(super) const fn new(size: u16) -> Self {
        Self { size: size as usize, first: 0, sent: VecDeque::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < self.size
    }

    /// The tag of what is sent next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    pub(super) fn sent(&mut self, place: Option<i64>, at: Instant) {
        self.sent.push_back(Sent { place, at, acknowledged: false });
    }

    /// The broker has something. Says up to which place of the outbox it has everything, if that has
    /// changed.
    pub(super) fn acknowledged(&mut self, tag: u64) -> Option<i64> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        self.sent.get_mut(index)?.acknowledged = true;
        let mut reached = None;
        while self.sent.front().is_some_and(|sent| sent.acknowledged) {
            self.first += 1;
            reached = self.sent.pop_front().and_then(|sent| sent.place).or(reached);
        }
        reached
    }

    /// Since when the oldest waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_reached_in_order_whatever_the_order_of_acknowledgements() {
        let mut window = Window::new(3);
        let now = Instant::now();
        for place in [Some(10), None, Some(11)] {
            assert!(window.has_room());
            window.sent(place, now);
        }
        assert!(!window.has_room());
        assert_eq!(window.acknowledged(2), None);
        assert_eq!(window.acknowledged(0), Some(10));
        assert!(window.has_room(), "the one that is left is behind the first");
        assert_eq!(window.next(), 3);
        assert_eq!(window.acknowledged(1), Some(11));
        assert!(window.is_empty());
    }

    #[test]
    fn what_was_never_sent_is_not_acknowledged() {
        let mut window = Window::new(1);
        assert_eq!(window.acknowledged(0), None);
        window.sent(Some(1), Instant::now());
        assert_eq!(window.acknowledged(0), Some(1));
        assert_eq!((window.acknowledged(0), window.acknowledged(9)), (None, None));
    }

    #[test]
    fn the_oldest_says_how_long_it_waits() {
        let mut window = Window::new(2);
        assert_eq!(window.waits_since(), None);
        let first = Instant::now();
        window.sent(Some(1), first);
        window.sent(Some(2), first + std::time::Duration::from_secs(1));
        assert_eq!(window.waits_since(), Some(first));
    }
}
