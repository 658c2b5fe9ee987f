//! The end of the outbox in memory, so that what was written just now is not read again from the disk.

use super::outbox::Waiting;
use capmesh_gateway::Commit;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Publications that are kept; of more, the oldest are only on the disk.
const MOST: usize = 4_096;

/// The newest publications that were not read.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    parts: VecDeque<Part>,
    /// How many publications `parts` have.
    count: usize,
}

/// The publications of a commit.
#[derive(Debug)]
struct Part {
    /// The place of the first.
    first: i64,
    commit: Arc<Commit>,
    /// When it was written, in seconds since 1970.
    at: u64,
}

impl Part {
    fn len(&self) -> usize {
        self.commit.publications.len()
    }

    /// The place behind the last.
    fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.len()).unwrap_or(i64::MAX))
    }
}

impl Tail {
    /// The publications of `commit` have the places from `first` on, since `at`, in seconds since 1970.
    pub(super) fn push(&self, first: i64, commit: &Arc<Commit>, at: u64) {
        if commit.publications.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += commit.publications.len();
        kept.parts.push_back(Part { first, commit: Arc::clone(commit), at });
        while kept.count > MOST && kept.drop_first() {}
    }

    /// The publications behind `after`, at most `limit`, if the first of them is here. They are not here
    /// any more then.
    pub(super) fn read(&self, after: i64, limit: usize) -> Option<Vec<Waiting>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = after.saturating_add(1);
        while kept.parts.front().is_some_and(|part| part.end() <= next) {
            kept.drop_first();
        }
        if kept.parts.front().is_none_or(|part| part.first > next) {
            return None;
        }
        let mut found = Vec::new();
        for part in &kept.parts {
            for (id, publication) in (part.first..).zip(&part.commit.publications) {
                if found.len() >= limit {
                    break;
                }
                if id >= next {
                    let expires = publication.expiry.map(|seconds| part.at + u64::from(seconds));
                    let mut publication = publication.clone();
                    publication.expiry = None;
                    found.push(Waiting { id, publication, expires });
                }
            }
        }
        let last = found.last().map_or(after, |last| last.id);
        while kept.parts.front().is_some_and(|part| part.end() <= last.saturating_add(1)) {
            kept.drop_first();
        }
        Some(found)
    }
}

impl Kept {
    fn drop_first(&mut self) -> bool {
        let first = self.parts.pop_front();
        self.count -= first.as_ref().map_or(0, Part::len);
        first.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_gateway::{Publication, Token};

    fn commit(numbers: std::ops::Range<u32>) -> Arc<Commit> {
        let publication = |number: u32| Publication {
            topic: number.to_string(),
            expiry: Some(5),
            ..Publication::default()
        };
        let publications = numbers.map(publication).collect();
        Arc::new(Commit { token: Token(1), changes: Vec::new(), publications })
    }

    fn ids(found: Option<Vec<Waiting>>) -> Option<Vec<i64>> {
        found.map(|found| found.iter().map(|waiting| waiting.id).collect())
    }

    #[test]
    fn what_was_read_is_given_once() {
        let tail = Tail::default();
        tail.push(11, &commit(0..2), 100);
        tail.push(13, &commit(2..2), 100);
        tail.push(13, &commit(2..5), 101);
        let found = tail.read(10, 3).unwrap();
        let all: Vec<_> =
            found.iter().map(|w| (w.id, w.publication.topic.as_str(), w.expires)).collect();
        assert_eq!(all, [(11, "0", Some(105)), (12, "1", Some(105)), (13, "2", Some(106))]);
        assert!(found.iter().all(|waiting| waiting.publication.expiry.is_none()));
        assert_eq!(ids(tail.read(10, 9)), None, "the disk has it");
        assert_eq!(ids(tail.read(13, 9)), Some(vec![14, 15]));
        assert_eq!(ids(tail.read(15, 9)), None, "there is nothing");
        assert_eq!(tail.0.lock().unwrap().count, 0);
    }

    #[test]
    fn of_too_many_the_oldest_are_left_to_the_disk() {
        let tail = Tail::default();
        let half = u32::try_from(MOST / 2).unwrap();
        for part in 0..3 {
            tail.push(i64::from(part * half) + 1, &commit(0..half), 0);
        }
        assert_eq!(ids(tail.read(0, 1)), None);
        assert_eq!(ids(tail.read(i64::from(half), 1)), Some(vec![i64::from(half) + 1]));
        assert_eq!(tail.0.lock().unwrap().count, MOST);
    }
}
