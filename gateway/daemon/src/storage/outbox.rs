//! What waits for the broker.

use super::tail::Tail;
use crate::sqlite::SchemaError;
use capmesh_gateway::Publication;
use rusqlite::{Connection, Row};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Reads the outbox, in order, beside the thread that writes it.
#[derive(Clone, Debug)]
pub struct Outbox {
    reader: Arc<Mutex<Connection>>,
    tail: Arc<Tail>,
    end: watch::Receiver<i64>,
    waiting: Arc<AtomicU64>,
}

/// Where the outbox ends, as its writer says.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) end: watch::Sender<i64>,
    pub(super) waiting: Arc<AtomicU64>,
    pub(super) tail: Arc<Tail>,
}

/// A publication that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place.
    pub id: i64,
    /// What is to be published.
    pub publication: Publication,
    /// When it is of no use any more, in seconds since 1970.
    pub expires: Option<u64>,
}

impl Outbox {
    pub(super) fn new(reader: Connection) -> Result<(Self, Ends), SchemaError> {
        let (last, count): (i64, i64) =
            reader.query_row("SELECT coalesce(max(id), 0), count(*) FROM outbox", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let (sender, end) = watch::channel(last);
        let waiting = Arc::new(AtomicU64::new(u64::try_from(count).unwrap_or_default()));
        let tail = Arc::new(Tail::default());
        let ends = Ends { end: sender, waiting: Arc::clone(&waiting), tail: Arc::clone(&tail) };
        Ok((Self { reader: Arc::new(Mutex::new(reader)), tail, end, waiting }, ends))
    }

    /// How many publications wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The place of the newest publication.
    #[must_use]
    pub fn end(&self) -> i64 {
        *self.end.borrow()
    }

    /// Waits until there are publications behind the place `after`. Never, once the writer has ended.
    pub async fn reaches_beyond(&mut self, after: i64) {
        if self.end.wait_for(|end| *end > after).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The first publications behind the place `after`, at most `limit`, if they are still in memory: what
    /// was written just now, and not given before. Never blocks.
    #[must_use]
    pub fn read_tail(&self, after: i64, limit: usize) -> Option<Vec<Waiting>> {
        self.tail.read(after, limit)
    }

    /// The first publications behind the place `after`, at most `limit`. Blocks for as long as a read
    /// takes.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn read(&self, after: i64, limit: usize) -> Result<Vec<Waiting>, SchemaError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = reader.prepare_cached(
            "SELECT id, topic, payload, retain, qos, expires, correlation FROM outbox
             WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map((after, limit), waiting)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let expires: Option<i64> = row.get(5)?;
    let publication = Publication {
        topic: row.get(1)?,
        payload: row.get(2)?,
        retain: row.get(3)?,
        qos: row.get(4)?,
        expiry: None,
        correlation: row.get(6)?,
    };
    Ok(Waiting {
        id: row.get(0)?,
        publication,
        expires: expires.and_then(|at| u64::try_from(at).ok()),
    })
}
