//! What survives: the gateway's state and its outbox, in SQLite.
//!
//! A thread of its own owns the connection that writes, so that nothing else ever waits for a disk.
//! [`Storage::commit`] hands it a transaction and returns at once; what the thread finds waiting goes
//! into one write, and each of them is answered through [`Opened::committed`] once it is durable.
//!
//! # Invariants
//! - A commit is there as a whole or not at all, whatever ends the process or the machine: WAL with
//!   `synchronous = FULL`.
//! - What was answered as durable is there after any restart.
//! - A publication leaves the outbox only after the broker has acknowledged it. That it has left may be
//!   forgotten by a crash, and then it is published again.
//! - One process at a time has a state directory: the others are told.

mod outbox;
mod schema;
mod tail;
mod thread;

pub use outbox::{Outbox, Waiting};

use crate::sqlite::{self, SchemaError, Synchronous};
use capmesh_gateway::{Commit, Failed, Key, Token};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use tokio::sync::mpsc::UnboundedReceiver;

/// The file in the state directory.
const FILE: &str = "gateway.db";
/// Who holds the lock on this file has the state directory.
const LOCK: &str = "lock";

/// Hands transactions to the thread that writes them. Clones hand them to the same one.
#[derive(Clone, Debug)]
pub struct Storage {
    work: mpsc::Sender<thread::Work>,
    delivered: Arc<thread::Delivered>,
}

/// What a state directory holds, and the way to change it.
#[derive(Debug)]
pub struct Opened {
    /// Takes what changes.
    pub storage: Storage,
    /// Every value of the gateway's state.
    pub state: BTreeMap<Key, Vec<u8>>,
    /// Gives what waits for the broker.
    pub outbox: Outbox,
    /// Says what became durable, in the order of the commits.
    pub committed: UnboundedReceiver<(Token, Result<(), Failed>)>,
    /// Ends the thread.
    pub closing: Closing,
}

/// Ends the thread that writes, once everything that was handed to it is written.
#[derive(Debug)]
pub struct Closing {
    work: mpsc::Sender<thread::Work>,
    thread: std::thread::JoinHandle<()>,
    /// Held until the end.
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug)]
pub enum StorageError {
    /// It cannot be made or read.
    Io(PathBuf, io::Error),
    /// Another process uses it.
    InUse(PathBuf),
    /// The database cannot be used.
    Schema(PathBuf, SchemaError),
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::InUse(path) => write!(
                f,
                "{}: another gateway uses this state directory; stop it, or give this one another \
                 directory with `--state`",
                path.display()
            ),
            Self::Schema(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StorageError {}

impl Storage {
    /// Opens a state directory, which is made if it is not there.
    ///
    /// # Errors
    /// If another process has it, or it cannot be used.
    pub fn open(directory: &Path) -> Result<Opened, StorageError> {
        let io = |error| StorageError::Io(directory.to_owned(), error);
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock = lock(directory)?;
        let file = directory.join(FILE);
        let schema = |error| StorageError::Schema(file.clone(), error);
        let mut connection =
            sqlite::open(&file, Synchronous::Full, schema::MIGRATIONS).map_err(schema)?;
        let state = schema::state(&mut connection).map_err(schema)?;
        let reader = sqlite::open_reader(&file).map_err(schema)?;
        let (work, received) = mpsc::channel();
        let (answers, committed) = tokio::sync::mpsc::unbounded_channel();
        let (outbox, ends) = Outbox::new(reader).map_err(schema)?;
        let delivered = Arc::<thread::Delivered>::default();
        let writer = thread::Writer::new(connection, answers, ends, Arc::clone(&delivered));
        let thread = std::thread::Builder::new().name("storage".to_owned());
        let thread = thread.spawn(move || writer.run(&received)).map_err(io)?;
        let closing = Closing { work: work.clone(), thread, _lock: lock };
        Ok(Opened { storage: Self { work, delivered }, state, outbox, committed, closing })
    }

    /// Has a transaction made durable.
    pub fn commit(&self, commit: Arc<Commit>) {
        // The thread ends after everybody who could send.
        let _ = self.work.send(thread::Work::Commit(commit));
    }

    /// The broker has everything up to this place of the outbox.
    pub fn delivered(&self, up_to: i64) {
        if self.delivered.set(up_to) {
            let _ = self.work.send(thread::Work::Delivered);
        }
    }
}

impl Closing {
    /// Waits until everything is written. Blocks.
    pub fn close(self) {
        let _ = self.work.send(thread::Work::Close);
        let _ = self.thread.join();
    }
}

fn lock(directory: &Path) -> Result<File, StorageError> {
    let path = directory.join(LOCK);
    let io = |error| StorageError::Io(path.clone(), error);
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests;
