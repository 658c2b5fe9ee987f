//! The state that survives: keys and values, changed by transactions.
//!
//! Sub-machines put their changes into the transaction that is open, and get the token of the commit that
//! it will be. What must not be done before the change is durable waits until [`Store::is_durable`] says
//! so of that token. One commit is on its way at a time; while it is, the next one fills up, so that many
//! changes share one write.

use crate::io::{Change, Commit, Failed, Publication, Token};
use capmesh_wire::Instant;
use core::time::Duration;
use std::sync::Arc;

/// Bytes of changes and publications that wait for a commit at most; beyond it [`Store::has_room`] says
/// no, and what depends on messages from outside is refused with "try again".
pub const OPEN: usize = 4 << 20;

/// How long a commit that failed waits before it is given again.
pub const RETRY: Duration = Duration::from_secs(1);

/// Where a value belongs. Numbers are part of what is durable: they are never given to another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The signed roster; its key is empty.
    Roster = 1,
    /// Nodes that were adopted, by id.
    Nodes = 2,
    /// Pipelines' texts, by name.
    Pipelines = 3,
    /// Who owns what, by instance.
    Plan = 4,
    /// Migrations that run, by instance.
    Migrations = 5,
    /// Counters, by name.
    Counters = 6,
    /// Checkpoints that are kept for failover, by instance.
    Checkpoints = 7,
    /// Cursors of streams that go to MQTT.
    Cursors = 8,
    /// Streams that come from MQTT: numbers that are reserved, messages that are not acknowledged.
    Streams = 9,
    /// Manifests, by digest.
    Manifests = 10,
    /// What references stand for, by their text.
    References = 11,
    /// What the plan of each node says, and its revision, by node.
    Sheets = 12,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Roster,
        Self::Nodes,
        Self::Pipelines,
        Self::Plan,
        Self::Migrations,
        Self::Counters,
        Self::Checkpoints,
        Self::Cursors,
        Self::Streams,
        Self::Manifests,
        Self::References,
        Self::Sheets,
    ];

    /// Its number, for databases.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The table with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.number() == number)
    }
}

/// Names a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its table.
    pub table: Table,
    /// Its name there.
    pub bytes: Vec<u8>,
}

impl Key {
    /// The value called `bytes` in `table`.
    #[must_use]
    pub fn new(table: Table, bytes: impl AsRef<[u8]>) -> Self {
        Self { table, bytes: bytes.as_ref().to_vec() }
    }
}

/// Transactions on their way. See the [module](self).
#[derive(Debug, Default)]
pub struct Store {
    open: Commit,
    /// Bytes in `open`.
    size: usize,
    underway: Option<Underway>,
    durable: Token,
}

#[derive(Debug)]
struct Underway {
    commit: Arc<Commit>,
    /// When it is to be given (again); `None` while the shell has it.
    due: Option<Instant>,
}

impl Store {
    /// Nothing is on its way.
    #[must_use]
    pub fn new() -> Self {
        Self { open: Commit { token: Token(1), ..Commit::default() }, ..Self::default() }
    }

    /// Has a value put in place of what there was, and says by which commit.
    pub fn put(&mut self, key: Key, value: Vec<u8>) -> Token {
        self.change(key, Some(value))
    }

    /// Has a value deleted, and says by which commit.
    pub fn delete(&mut self, key: Key) -> Token {
        self.change(key, None)
    }

    /// Has something published durably, with the changes that the same commit makes.
    pub fn publish(&mut self, publication: Publication) -> Token {
        self.size += publication.topic.len() + publication.payload.len();
        self.open.publications.push(publication);
        self.open.token
    }

    /// The commit that everything belongs to that was put last.
    #[must_use]
    pub const fn newest(&self) -> Token {
        if self.is_open_empty() { Token(self.open.token.0 - 1) } else { self.open.token }
    }

    /// Whether a commit is durable.
    #[must_use]
    pub fn is_durable(&self, token: Token) -> bool {
        token <= self.durable
    }

    /// Whether everything that was put is durable.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.underway.is_none() && self.is_open_empty()
    }

    /// Whether there is room for more that comes from outside.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.size < OPEN
    }

    /// The shell has dealt with a commit. Tokens of others than the one on its way are ignored.
    pub fn committed(&mut self, now: Instant, token: Token, result: Result<(), Failed>) {
        let Some(underway) = &mut self.underway else { return };
        if underway.commit.token != token || underway.due.is_some() {
            return;
        }
        match result {
            Ok(()) => {
                self.durable = token;
                self.underway = None;
            }
            Err(Failed) => underway.due = Some(now + RETRY),
        }
    }

    /// The next commit for the shell, if there is one and none is on its way.
    pub fn poll(&mut self, now: Instant) -> Option<Arc<Commit>> {
        if let Some(underway) = &mut self.underway {
            return underway.due.take_if(|due| *due <= now).map(|_| Arc::clone(&underway.commit));
        }
        if self.is_open_empty() {
            return None;
        }
        let next = Commit { token: Token(self.open.token.0 + 1), ..Commit::default() };
        let commit = Arc::new(core::mem::replace(&mut self.open, next));
        self.size = 0;
        self.underway = Some(Underway { commit: Arc::clone(&commit), due: None });
        Some(commit)
    }

    /// When there is something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.underway {
            Some(underway) => underway.due,
            None => (!self.is_open_empty()).then_some(Instant::ZERO),
        }
    }

    const fn is_open_empty(&self) -> bool {
        self.open.changes.is_empty() && self.open.publications.is_empty()
    }

    fn change(&mut self, key: Key, value: Option<Vec<u8>>) -> Token {
        self.size += key.bytes.len() + value.as_ref().map_or(0, Vec::len);
        self.open.changes.push(Change { key, value });
        self.open.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn key(name: &str) -> Key {
        Key::new(Table::Counters, name)
    }

    #[test]
    fn changes_share_the_commit_that_is_open() {
        let mut store = Store::new();
        assert_eq!(store.poll(at(0)), None);
        let first = store.put(key("a"), vec![1]);
        let second = store.delete(key("b"));
        assert_eq!(first, second);
        assert_eq!(store.poll_timeout(), Some(Instant::ZERO));
        let commit = store.poll(at(0)).unwrap();
        assert_eq!((commit.token, commit.changes.len()), (first, 2));
        // The next one waits for it.
        let third = store.put(key("a"), vec![2]);
        assert!(third > first);
        assert_eq!(store.poll(at(0)), None);
        assert_eq!(store.poll_timeout(), None);
        assert!(!store.is_durable(first));
        store.committed(at(0), first, Ok(()));
        assert!(store.is_durable(first) && !store.is_durable(third));
        assert_eq!(store.poll(at(0)).unwrap().token, third);
    }

    #[test]
    fn what_failed_is_given_again_as_it_was() {
        let mut store = Store::new();
        let token = store.put(key("a"), vec![1]);
        let commit = store.poll(at(0)).unwrap();
        store.committed(at(0), Token(99), Ok(()));
        store.committed(at(0), token, Err(Failed));
        assert_eq!(store.poll(at(0)), None);
        assert_eq!(store.poll_timeout(), Some(at(0) + RETRY));
        // While the shell does not have it, it cannot be answered.
        store.committed(at(0), token, Ok(()));
        assert!(!store.is_durable(token));
        assert_eq!(store.poll(at(1)), Some(commit));
        store.committed(at(1), token, Ok(()));
        assert!(store.is_durable(token) && store.is_idle());
    }

    #[test]
    fn a_full_transaction_says_so() {
        let mut store = Store::new();
        store.put(key("a"), vec![0; OPEN]);
        assert!(!store.has_room());
        store.poll(at(0)).unwrap();
        assert!(store.has_room());
    }

    #[test]
    fn tables_have_numbers() {
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(table));
        }
        assert_eq!(Table::from_number(0), None);
    }
}
