//! A file as flash: its content mirrored in RAM, changed by one operation at a time.

use crate::failure::{Failure, Kind};
use anyhow::{Context, anyhow};
use capmesh_node::flash::{Config, Fault, Geometry};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc as answers;

/// The file in the state directory.
const FILE: &str = "flash";

/// How often, and after what time, a file is tried again that another process has.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// From this size on, sectors are long enough for large snapshots.
const LARGE: u32 = 2 << 20;

/// How a flash of `bytes` bytes is divided.
pub(crate) fn config(bytes: u32) -> Result<Config, Failure> {
    let (sector, max_group) = if bytes >= LARGE { (16 << 10, 12_000) } else { (4 << 10, 3_072) };
    let sectors = u16::try_from(bytes / sector).unwrap_or(u16::MAX);
    let log_sectors = (sectors / 4).clamp(8, 64);
    if !bytes.is_multiple_of(sector) || sectors < 16 || bytes / sector > u32::from(u16::MAX) {
        let error = anyhow!("--flash {bytes}: 65536 at least, and a multiple of {sector}");
        return Err(Failure::new(Kind::Arguments, error));
    }
    Ok(Config {
        geometry: Geometry { sector, unit: 4, page: 4_096, rewrites: true },
        log_sectors,
        extent_sectors: sectors - log_sectors,
        max_group,
        max_records: 1_024,
        max_extents: 128,
        queue: 32 << 10,
        write: 4_096,
    })
}

/// A change of flash.
#[derive(Debug)]
pub(crate) enum Change {
    Program { at: u32, bytes: Vec<u8> },
    Erase { at: u32 },
}

/// The flash.
#[derive(Debug)]
pub(crate) struct Flash {
    content: Vec<u8>,
    sector: u32,
    changes: Option<mpsc::Sender<(u64, Vec<u8>)>>,
    answers: answers::UnboundedReceiver<io::Result<()>>,
    /// What is on its way.
    pending: Option<(usize, Vec<u8>)>,
    writer: Option<JoinHandle<()>>,
}

impl Flash {
    /// Opens the flash in a state directory, or makes an erased one.
    pub(crate) fn open(state: &Path, config: &Config, sync: bool) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Kind::State, error);
        let path = state.join(FILE);
        if state.exists() && !state.is_dir() {
            return Err(failed(anyhow!("--state {}: not a directory", state.display())));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .with_context(|| format!("{}", state.display()))
            .map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).with_context(|| format!("{}", path.display()));
        let mut file = file.map_err(failed)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let error = anyhow!("{}: another process is this node", path.display());
                return Err(Failure::new(Kind::InUse, error));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error.into())),
        }
        let content = load(&mut file, config.bytes(), state)
            .with_context(|| format!("{}", path.display()))
            .map_err(failed)?;
        let (changes, orders) = mpsc::channel();
        let (done, answers) = answers::unbounded_channel();
        let work = move || write_all(&file, &orders, &done, sync);
        let thread = std::thread::Builder::new().name("flash".into()).spawn(work);
        let writer = Some(thread.context("a thread for flash").map_err(failed)?);
        let sector = config.geometry.sector;
        Ok(Self { content, sector, changes: Some(changes), answers, pending: None, writer })
    }

    /// What flash holds.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Begins a change. [`Flash::changed`] says when it is done.
    pub(crate) fn change(&mut self, change: Change) {
        debug_assert!(self.pending.is_none(), "one change at a time");
        let (at, bytes) = match change {
            Change::Program { at, bytes } => (at, bytes),
            Change::Erase { at } => (at, vec![0xff; self.sector as usize]),
        };
        if let Some(changes) = &self.changes {
            // If the thread is gone, no answer comes, and none is the answer.
            let _ = changes.send((u64::from(at), bytes.clone()));
        }
        self.pending = Some((at as usize, bytes));
    }

    /// Waits for the change that is under way; for ever if there is none.
    pub(crate) async fn changed(&mut self) -> Result<(), Fault> {
        if self.pending.is_none() {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.recv().await;
        let Some((at, bytes)) = self.pending.take() else { return Err(Fault) };
        match answer {
            Some(Ok(())) => {
                let place = self.content.get_mut(at..at + bytes.len()).ok_or(Fault)?;
                place.copy_from_slice(&bytes);
                Ok(())
            }
            Some(Err(error)) => {
                tracing::error!(%error, at, "flash could not be written");
                Err(Fault)
            }
            None => Err(Fault),
        }
    }

    /// Whether a change is under way.
    pub(crate) const fn is_busy(&self) -> bool {
        self.pending.is_some()
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Takes the file for this process alone. One that was just killed may take a moment to go.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            result => return result,
        }
    }
    file.try_lock()
}

/// Reads all of a flash; a new file becomes an erased one, as a whole or not at all.
fn load(file: &mut File, bytes: u32, state: &Path) -> anyhow::Result<Vec<u8>> {
    let wanted = bytes as usize;
    let mut content = Vec::with_capacity(wanted);
    file.read_to_end(&mut content)?;
    if content.is_empty() {
        content.resize(wanted, 0xff);
        file.rewind()?;
        file.write_all(&content)?;
        file.sync_all()?;
        File::open(state)?.sync_all()?;
    } else if content.len() < wanted && content.iter().all(|byte| *byte == 0xff) {
        // It was being made when the process ended.
        let missing = vec![0xff; wanted - content.len()];
        file.write_all(&missing)?;
        file.sync_all()?;
        content.resize(wanted, 0xff);
    }
    if content.len() != wanted {
        anyhow::bail!(
            "it was made with --flash {}, and cannot become {wanted} bytes long",
            content.len()
        );
    }
    Ok(content)
}

/// What the thread does: writes and synchronises, one change after the other.
fn write_all(
    file: &File,
    orders: &mpsc::Receiver<(u64, Vec<u8>)>,
    done: &answers::UnboundedSender<io::Result<()>>,
    sync: bool,
) {
    for (at, bytes) in orders {
        let result = file.write_all_at(&bytes, at);
        let result =
            if sync && !bytes.is_empty() { result.and_then(|()| file.sync_data()) } else { result };
        if done.send(result).is_err() {
            return;
        }
    }
}
