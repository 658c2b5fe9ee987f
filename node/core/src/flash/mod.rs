//! State that survives power cuts, in NOR flash.
//!
//! # Vocabulary
//! - **Flash** is memory-mapped: its content is lent to each call, as `now` is to other machines. It is
//!   changed by one **operation** at a time ([`Op`]), which [`Store::poll`] gives and whose outcome
//!   [`Store::flashed`] takes. A **program** clears bits in whole units; an **erase** sets all bits of a
//!   **sector** ([`Geometry`]).
//! - A **record** is a value with a key, (kind, id). Records live in the **log**. A **group** of records
//!   becomes **durable** at once or not at all; its **ticket** says when.
//! - An **extent** is a run of sectors with one blob in it, readable as one slice, so that a module runs
//!   where it lies. It is named by a record of the log.
//!
//! # Invariants
//! - What is read is what would be there after a power cut now.
//! - After a power cut at any byte of any operation, each group is there as a whole or not at all,
//!   in the order in which they were submitted; every extent is what the last durable record says,
//!   and no sector belongs to none and is not free.
//! - Any content of flash is legal to mount. Work and memory are bounded by [`Config`].
//! - A unit is programmed once between two erases, except for the marks of pieces where
//!   [`Geometry::rewrites`] allows it.
//! - A program never sets bits: where something is written flash is seen to be erased, or, in an
//!   extent, to have no bit cleared that is to be set ([`Error::Dirty`]).
//! - An operation that the driver denies is judged by what flash holds then, and loses nothing that was
//!   durable, however many are denied.
//! - What could not be written as it should is written elsewhere; [`Store::has_failed`] says when that
//!   does not help.
//!
//! # Assumptions about flash
//! A torn program has cleared any subset of the bits it was to clear, and a torn erase has set any
//! subset of the sector's bits; both touch nothing else, and what they left reads the same ever after.
//! Content that rots is found by its sum when it is mounted or copied and dropped, older values of
//! the same key may come back then; extents are not summed, as what is in them has a digest.
//!
//! # Deliberately absent
//! - Moving extents (defragmentation): it would erase flash to make place for what may be fetched
//!   again, and need a moment at which nobody reads. Space is given out in a ring, so that what is
//!   short-lived does not wear one place; where the free sectors do not lie together, the error says
//!   so, and whoever holds a blob that others have can drop it.
//! - Compression and encryption, and values longer than a sector: those are blobs.
#![doc = concat!("Tests and the simulation drive it with [`nor`] (feature `", "test-util", "`).")]

mod config;
mod crc;
mod extents;
pub mod kinds;
mod log;
#[cfg(any(test, feature = "test-util"))]
pub mod nor;
#[cfg(test)]
mod tests;

pub use config::{Config, Geometry};
pub use extents::{Extent, ExtentId, ExtentState, Owner, Served};

use capmesh_wire::{BlobRef, Digest};
use core::fmt;
use extents::Extents;
use log::Log;

/// The kinds from this one on are the store's own.
pub const RESERVED_KINDS: u8 = 0xf0;

/// An operation on flash. `at` counts from the start of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Clear bits: `bytes` is a multiple of the unit long, and so is `at`; it lies in one page. There
    /// may be no bytes at all, when everything that was to be written is there already.
    Program {
        /// Where.
        at: u32,
        /// What is there then.
        bytes: &'a [u8],
    },
    /// Set all bits of the sector that begins at `at`.
    Erase {
        /// Where.
        at: u32,
    },
}

/// The driver says that an operation was not done as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Names what was submitted; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What an operation has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// This group and all before it survive a power cut from now on.
    Durable(Ticket),
    /// An extent may be written.
    Ready(ExtentId),
    /// An extent's sectors could not be erased; it does not exist.
    AllocateFailed(ExtentId),
    /// A write, with the piece's mark if it was one, survives a power cut from now on.
    Written(ExtentId),
    /// A write could not be done.
    WriteFailed(ExtentId),
}

/// Why something was not begun. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not now: something of the kind is under way, or too much waits to be written. Come back after
    /// the next [`Done`].
    Busy,
    /// Too little is free, until something is deleted.
    Full,
    /// Enough is free, but not in one run of sectors.
    Fragmented,
    /// There are as many records or extents as there may be.
    TooMany,
    /// It is longer than a group, a write or a blob may be.
    TooLarge,
    /// The kind is one of the store's own.
    Kind,
    /// There is no such extent, or it is in another state.
    NoExtent,
    /// The place is outside the extent or not a multiple of the write unit.
    Place,
    /// The place holds something that cannot become this without an erase: a write that was torn
    /// where units are programmed once, or other bytes. The extent must be allocated anew.
    Dirty,
    /// Flash has failed ([`Store::has_failed`]).
    Failed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "storage is busy",
            Self::Full => "storage is full",
            Self::Fragmented => "no run of free sectors is long enough",
            Self::TooMany => "there are too many records or extents",
            Self::TooLarge => "the value is too large",
            Self::Kind => "the kind belongs to the store",
            Self::NoExtent => "there is no such extent in this state",
            Self::Place => "the place is outside the extent or not aligned",
            Self::Dirty => "the place is written already",
            Self::Failed => "flash has failed",
        })
    }
}

impl core::error::Error for Error {}

/// What has happened since the store was mounted, and how worn the log's sectors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How often the log's least worn sector was erased, ever.
    pub least_erased: u32,
    /// How often the log's most worn sector was erased, ever.
    pub most_erased: u32,
    /// Sectors that could not be erased and are left out.
    pub bad: usize,
    /// Erases of the log's sectors.
    pub erases: u32,
    /// Erases of extents' sectors.
    pub extent_erases: u32,
    /// Frames, labels and openings programmed in the log.
    pub programs: u32,
    /// Bytes programmed in the log.
    pub programmed_bytes: u32,
    /// Bytes of values that were given.
    pub value_bytes: u32,
    /// Bytes of records copied by compaction.
    pub copied_bytes: u32,
    /// Compactions.
    pub compactions: u32,
    /// Operations that did not take effect.
    pub faults: u32,
    /// Frames that were torn or have rotted.
    pub spoilt: u32,
    /// Records that are lost by rot, or for which there was no room when the store was mounted.
    pub lost: u32,
}

/// How much is in use, and how much may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of live records, each with what it takes beside its value.
    pub log_used: u32,
    /// Bytes that may be live.
    pub log_capacity: u32,
    /// Records, the store's own included.
    pub records: u32,
    /// Bytes of sectors that belong to no extent.
    pub extents_free: u32,
    /// Bytes of the longest run of them.
    pub extents_largest: u32,
}

/// Which part has an operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Log,
    Extents,
}

/// The store.
pub struct Store {
    config: Config,
    log: Log,
    extents: Extents,
    under_way: Option<Part>,
    /// Whose turn it was.
    last: Part,
}

impl Store {
    /// Finds the state in whatever `flash` holds. Every byte of the log is read twice at most, and
    /// nothing is written; what a power cut has left behind is mended by the operations that follow.
    ///
    /// # Panics
    /// If the configuration is nonsense ([`Config::check`]) or `flash` is shorter than it says.
    #[must_use]
    pub fn mount(flash: &[u8], config: Config) -> Self {
        config.check();
        assert!(flash.len() >= config.bytes() as usize, "flash is shorter than configured");
        let mut log = Log::mount(flash, config);
        let extents = Extents::new(config);
        extents.forget_unreadable(&mut log, flash);
        Self { config, log, extents, under_way: None, last: Part::Extents }
    }

    /// What it was mounted with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The newest durable value of a key, as it lies in flash.
    #[must_use]
    pub fn get<'f>(&self, flash: &'f [u8], kind: u8, id: u32) -> Option<&'f [u8]> {
        self.log.get(flash, kind, id)
    }

    /// Whether a key has a durable value.
    #[must_use]
    pub fn contains(&self, kind: u8, id: u32) -> bool {
        self.log.contains(kind, id)
    }

    /// The durable values of one kind, in the order of their ids.
    pub fn iter<'a>(
        &'a self,
        flash: &'a [u8],
        kind: u8,
    ) -> impl DoubleEndedIterator<Item = (u32, &'a [u8])> + 'a {
        self.log.iter(flash, kind)
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn put(&mut self, kind: u8, id: u32, value: &[u8]) -> Result<Ticket, Error> {
        self.put_parts(kind, id, &[value])
    }

    /// Gives a key a value that is in parts.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn put_parts(&mut self, kind: u8, id: u32, parts: &[&[u8]]) -> Result<Ticket, Error> {
        let mut group = self.group();
        group.put_parts(kind, id, parts)?;
        group.submit()
    }

    /// Takes a key's value away; nothing happens if it has none.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn delete(&mut self, kind: u8, id: u32) -> Result<Ticket, Error> {
        let mut group = self.group();
        group.delete(kind, id)?;
        group.submit()
    }

    /// Begins a group.
    pub fn group(&mut self) -> Group<'_> {
        Group { inner: self.log.group(), config: self.config, extents: &self.extents }
    }

    /// Up to which ticket everything is durable.
    #[must_use]
    pub const fn durable(&self) -> Ticket {
        self.log.durable()
    }

    /// Whether a group survives a power cut.
    #[must_use]
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= self.durable()
    }

    /// How many groups wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.log.queued()
    }

    /// Whether nothing is under way and nothing is to be done. Sectors are erased ahead while there
    /// is nothing better to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.log.is_idle() && self.extents.is_idle()
    }

    /// Whether nothing more can be written: what waits will not become durable, and every change is
    /// refused with [`Error::Failed`]. What is durable can be read on; mounting tries again.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.log.has_failed()
    }

    /// How much is in use.
    #[must_use]
    pub fn usage(&self, flash: &[u8]) -> Usage {
        let (free, largest) = self.extents.free(&self.log, flash);
        let sector = self.config.geometry.sector;
        Usage {
            log_used: self.log.live(),
            log_capacity: self.log.capacity(),
            records: narrow(self.log.records()),
            extents_free: free * sector,
            extents_largest: largest * sector,
        }
    }

    /// What has happened, and how worn flash is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.log.stats();
        self.extents.add_to(&mut stats);
        stats
    }

    /// The next operation; `None` while one is under way or if there is nothing to do. Its outcome
    /// goes to [`Store::flashed`]. The work is bounded by a pass over a sector.
    pub fn poll(&mut self, flash: &[u8]) -> Option<Op<'_>> {
        if self.under_way.is_some() {
            return None;
        }
        self.extents.record(&mut self.log);
        let (log, extents) = (!self.log.is_idle(), self.extents.has_op());
        let part = match (log, extents) {
            (true, true) if self.last == Part::Log => Part::Extents,
            (true, _) => Part::Log,
            (false, true) => Part::Extents,
            (false, false) => return None,
        };
        let op = match part {
            Part::Log => self.log.poll(flash),
            Part::Extents => self.extents.poll(flash),
        };
        self.last = part;
        self.under_way = op.is_some().then_some(part);
        op
    }

    /// Takes the outcome of the operation that [`Store::poll`] gave, and flash as it is now. The work
    /// is bounded by a pass over a page; after a fault, by that of [`Store::mount`].
    pub fn flashed(&mut self, flash: &[u8], result: Result<(), Fault>) -> Option<Done> {
        match self.under_way.take()? {
            Part::Log => {
                let ticket = self.log.flashed(flash, result)?;
                Some(self.extents.recorded(ticket).unwrap_or(Done::Durable(ticket)))
            }
            Part::Extents => self.extents.flashed(&mut self.log, flash, result),
        }
    }

    /// Sets sectors aside for a blob and its pages, and erases them; [`Done::Ready`] says when it may
    /// be written. There is one allocation at a time. Until then no power cut leaves a trace of it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another one is under way, [`Error::TooLarge`] if the blob has too many
    /// pieces or [`Error::Full`], [`Error::Fragmented`], [`Error::TooMany`].
    pub fn allocate(
        &mut self,
        flash: &[u8],
        blob: &BlobRef,
        owner: Owner,
    ) -> Result<ExtentId, Error> {
        self.extents.allocate(&mut self.log, flash, blob, owner)
    }

    /// Writes a part of a partial extent; [`Done::Written`] says when it is durable. There is one
    /// write at a time, and what is there already is not written again.
    ///
    /// # Errors
    /// [`Error::Busy`] if another one is under way, [`Error::TooLarge`] if it is longer than
    /// [`Config::write`], [`Error::NoExtent`], [`Error::Place`], [`Error::Dirty`].
    pub fn write(
        &mut self,
        flash: &[u8],
        extent: ExtentId,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.extents.write(&self.log, flash, extent, offset, bytes, None)
    }

    /// Writes a piece of a partial extent's blob, and its mark behind it. The caller has verified it.
    ///
    /// # Errors
    /// As [`Store::write`]; [`Error::Place`] if there is no such piece or its length is another.
    pub fn write_piece(
        &mut self,
        flash: &[u8],
        extent: ExtentId,
        piece: u16,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.extents.write_piece(&self.log, flash, extent, piece, bytes)
    }

    /// What an extent is.
    #[must_use]
    pub fn extent(&self, flash: &[u8], extent: ExtentId) -> Option<Extent> {
        self.extents.get(&self.log, flash, extent)
    }

    /// All extents, oldest first.
    pub fn extents<'a>(
        &'a self,
        flash: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (ExtentId, Extent)> + 'a {
        self.extents.iter(&self.log, flash)
    }

    /// The extent with a blob; a whole one rather than a partial one, and that rather than one that
    /// is gone. The work is bounded by [`Config::max_extents`].
    #[must_use]
    pub fn find(&self, flash: &[u8], digest: &Digest) -> Option<(ExtentId, Extent)> {
        let found = self.extents(flash).filter(|(_, extent)| extent.blob.digest == *digest);
        found.max_by_key(|(_, extent)| extent.state.rank())
    }

    /// Whether a piece was written and marked; every piece of a whole extent was.
    #[must_use]
    pub fn has(&self, flash: &[u8], extent: ExtentId, piece: u16) -> bool {
        self.extent(flash, extent).is_some_and(|found| self.extents.has(flash, &found, piece))
    }

    /// The pieces that were written and marked, for [`capmesh_blob::Fetch::resume`].
    pub fn pieces<'a>(
        &'a self,
        flash: &'a [u8],
        extent: ExtentId,
    ) -> impl Iterator<Item = u16> + 'a {
        let found = self.extent(flash, extent);
        let pieces = found.map_or(0, |found| found.pieces());
        (0..pieces)
            .filter(move |piece| found.is_some_and(|found| self.extents.has(flash, &found, *piece)))
    }

    /// A blob as one slice of flash, whatever of it has been written yet.
    #[must_use]
    pub fn bytes<'f>(&self, flash: &'f [u8], extent: ExtentId) -> Option<&'f [u8]> {
        let found = self.extent(flash, extent)?;
        self.extents.slice(flash, &found, 0, found.blob.size)
    }

    /// A part of a blob as it is stored, with its pages behind it, as
    /// [`Output::Read`](capmesh_blob::fetch::Output::Read) asks for.
    #[must_use]
    pub fn stored<'f>(
        &self,
        flash: &'f [u8],
        extent: ExtentId,
        offset: u32,
        len: u32,
    ) -> Option<&'f [u8]> {
        self.extents.slice(flash, &self.extent(flash, extent)?, offset, len)
    }

    /// The blobs, to be served to peers.
    #[must_use]
    pub const fn served<'a>(&'a self, flash: &'a [u8]) -> Served<'a> {
        Served::new(self, flash)
    }
}

/// Changes that become durable together: all of them, or, after a power cut, none. Nothing happens
/// without [`Group::submit`]. After an error the group is of no use.
pub struct Group<'a> {
    inner: log::Group<'a>,
    config: Config,
    extents: &'a Extents,
}

impl Group<'_> {
    /// Gives a key a value.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn put(&mut self, kind: u8, id: u32, value: &[u8]) -> Result<(), Error> {
        self.put_parts(kind, id, &[value])
    }

    /// Gives a key a value that is in parts.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn put_parts(&mut self, kind: u8, id: u32, parts: &[&[u8]]) -> Result<(), Error> {
        user(kind)?;
        self.inner.put(kind, id, parts)
    }

    /// Takes a key's value away; nothing happens if it has none.
    ///
    /// # Errors
    /// As [`Group::submit`].
    pub fn delete(&mut self, kind: u8, id: u32) -> Result<(), Error> {
        user(kind)?;
        self.inner.delete(kind, id)
    }

    /// Makes a partial extent whole: everything is written and its digest is right.
    ///
    /// # Errors
    /// [`Error::NoExtent`] if it is not partial, [`Error::Busy`] while it is being written, and as
    /// [`Group::submit`].
    pub fn commit_extent(&mut self, flash: &[u8], extent: ExtentId) -> Result<(), Error> {
        self.extents.commit(&mut self.inner, flash, extent)
    }

    /// Forgets an extent. Its sectors are free once this is durable.
    ///
    /// # Errors
    /// [`Error::NoExtent`] if there is none, [`Error::Busy`] while it is being written, and as
    /// [`Group::submit`].
    pub fn remove_extent(&mut self, flash: &[u8], extent: ExtentId) -> Result<(), Error> {
        self.extents.remove(&mut self.inner, flash, extent)
    }

    /// Frees an extent's sectors and remembers that its blob was here, until so many others have
    /// gone that a quarter of [`Config::max_extents`] would be passed.
    ///
    /// # Errors
    /// As [`Group::remove_extent`].
    pub fn retire_extent(&mut self, flash: &[u8], extent: ExtentId) -> Result<(), Error> {
        self.extents.retire(&self.config, &mut self.inner, flash, extent)
    }

    /// Ends the group. It is written after those submitted before it.
    ///
    /// # Errors
    /// The first error in the group, else [`Error::Full`] or [`Error::TooMany`] if all of it together
    /// does not fit. [`Error::TooLarge`] if it is longer than [`Config::max_group`], [`Error::Busy`]
    /// if too much waits, [`Error::Kind`], [`Error::Failed`].
    pub fn submit(self) -> Result<Ticket, Error> {
        self.inner.submit()
    }
}

fn user(kind: u8) -> Result<(), Error> {
    if kind < RESERVED_KINDS { Ok(()) } else { Err(Error::Kind) }
}

/// A length inside flash or RAM of a size that [`Config::check`] has bounded.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
