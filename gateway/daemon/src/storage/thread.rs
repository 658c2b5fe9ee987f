//! The thread that writes.

use super::outbox::Ends;
use capmesh_gateway::{Change, Commit, Failed, Publication, Token};
use rusqlite::{Connection, Transaction};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;

/// How many commits share a write at most.
const GROUP: usize = 256;

/// How long publications that the broker has stay in the outbox, if no commit takes them with it.
const LINGER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Work {
    Commit(Arc<Commit>),
    /// See [`Delivered`].
    Delivered,
    Close,
}

/// Up to where the broker has what was published: told for every acknowledgement, at the cost of a
/// message to the thread that writes only if it was not told since its last write.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    up_to: AtomicI64,
    is_told: AtomicBool,
}

impl Delivered {
    /// Says how far it is; whether the thread has to be told of it.
    pub(super) fn set(&self, up_to: i64) -> bool {
        self.up_to.store(up_to, Ordering::SeqCst);
        !self.is_told.swap(true, Ordering::SeqCst)
    }

    fn take(&self) -> i64 {
        self.is_told.store(false, Ordering::SeqCst);
        self.up_to.load(Ordering::SeqCst)
    }
}

pub(super) struct Writer {
    connection: Connection,
    answers: UnboundedSender<(Token, Result<(), Failed>)>,
    ends: Ends,
    /// The newest place in the outbox.
    last: i64,
    /// How many publications are there.
    waiting: usize,
    delivered: Arc<Delivered>,
    /// Up to where the broker has it, as it was written.
    removed: i64,
    /// When more of that is to be written at the latest.
    lingers: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        answers: UnboundedSender<(Token, Result<(), Failed>)>,
        ends: Ends,
        delivered: Arc<Delivered>,
    ) -> Self {
        // Statements of every table, with room to spare.
        connection.set_prepared_statement_cache_capacity(16);
        let last = *ends.end.borrow();
        let waiting = usize::try_from(ends.waiting.load(Ordering::Relaxed)).unwrap_or_default();
        Self { connection, answers, ends, last, waiting, delivered, removed: 0, lingers: None }
    }

    pub(super) fn run(mut self, work: &Receiver<Work>) {
        let mut open = true;
        while open {
            let mut group = Vec::new();
            let first = match self.lingers {
                None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => work.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => open = self.take(first, &mut group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            while open && group.len() < GROUP {
                let Ok(next) = work.try_recv() else { break };
                open = self.take(next, &mut group);
            }
            let is_due = self.lingers.is_some_and(|until| until <= Instant::now() || !open);
            if is_due || !group.is_empty() {
                self.write(group);
            }
        }
    }

    /// Puts work where it belongs; says whether there is more to come.
    fn take(&mut self, work: Work, group: &mut Vec<Arc<Commit>>) -> bool {
        match work {
            Work::Commit(commit) => group.push(commit),
            Work::Delivered => {
                self.lingers.get_or_insert_with(|| Instant::now() + LINGER);
            }
            Work::Close => return false,
        }
        true
    }

    fn write(&mut self, group: Vec<Arc<Commit>>) {
        let started = Instant::now();
        let delivered = self.delivered.take();
        let result = self.transact(&group, delivered);
        // What was not removed now is later: it only costs a publication twice after a crash.
        self.lingers = None;
        match &result {
            Ok((last, removed)) => {
                let (mut added, at) = (0, u64::try_from(now()).unwrap_or_default());
                for commit in &group {
                    let first = self.last.saturating_add(i64::try_from(added).unwrap_or(i64::MAX));
                    self.ends.tail.push(first.saturating_add(1), commit, at);
                    added += commit.publications.len();
                }
                self.waiting = (self.waiting + added).saturating_sub(*removed);
                self.ends.waiting.store(self.waiting as u64, Ordering::Relaxed);
                (self.last, self.removed) = (*last, delivered);
                metrics::histogram!("capmesh_commit_seconds").record(started.elapsed());
            }
            Err(error) => tracing::error!(%error, "cannot write the state; trying again"),
        }
        // Whoever hears that a commit is durable finds its publications in the outbox.
        self.ends.end.send_if_modified(|end| std::mem::replace(end, self.last) != self.last);
        let result = result.map(drop).map_err(|_| Failed);
        for commit in group {
            // Nobody listens any more at the end.
            let _ = self.answers.send((commit.token, result));
        }
    }

    /// Writes all of it; gives the newest place in the outbox, and how many have left it.
    fn transact(
        &mut self,
        group: &[Arc<Commit>],
        delivered: i64,
    ) -> rusqlite::Result<(i64, usize)> {
        let mut last = self.last;
        let transaction = self.connection.transaction()?;
        let mut removed = 0;
        if delivered > self.removed {
            removed = transaction
                .prepare_cached("DELETE FROM outbox WHERE id <= ?1")?
                .execute([delivered])?;
        }
        for commit in group {
            for change in &commit.changes {
                apply(&transaction, change)?;
            }
            for publication in &commit.publications {
                last += 1;
                insert(&transaction, last, publication)?;
            }
        }
        transaction.commit()?;
        Ok((last, removed))
    }
}

fn apply(transaction: &Transaction<'_>, Change { key, value }: &Change) -> rusqlite::Result<()> {
    let table = key.table.number();
    match value {
        Some(value) => transaction
            .prepare_cached("INSERT OR REPLACE INTO state (tab, key, value) VALUES (?1, ?2, ?3)")?
            .execute((table, &key.bytes, value))?,
        None => transaction
            .prepare_cached("DELETE FROM state WHERE tab = ?1 AND key = ?2")?
            .execute((table, &key.bytes))?,
    };
    Ok(())
}

fn insert(
    transaction: &Transaction<'_>,
    id: i64,
    publication: &Publication,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO outbox (id, topic, payload, retain, qos, expires, correlation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let Publication { topic, payload, retain, qos, expiry, correlation } = publication;
    let expires = expiry.map(|seconds| now().saturating_add(i64::from(seconds)));
    statement.execute((id, topic, payload, retain, qos, expires, correlation))?;
    Ok(())
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
