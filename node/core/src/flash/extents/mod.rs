//! Extents: runs of sectors, each with one blob, its pages and the marks of its pieces.
//!
//! ```text
//! extent = blob, pages (capmesh_blob::geometry), marks; from the start of a sector on
//! record = state: u8, chunk_log2: u8, first: u16, sectors: u16, owner kind: u8, 0: u8, owner id: u32,
//!          size: u32, digest, root                                      80 bytes, little-endian
//! ```
//! What is free is what no record names. An allocation erases its sectors first and writes its record
//! afterwards, so that a partial extent was erased whatever happened.
//!
//! A mark is a bit that is cleared once its piece is written, or, where units are programmed once, a
//! unit for each piece. A torn mark is a mark: it was begun after its piece was written.

mod record;
mod served;
mod work;

pub use record::{Extent, ExtentState, Owner};
pub use served::Served;

use super::config::Config;
use super::log::{Group, Log};
use super::{Error, Stats, narrow};
use alloc::vec::Vec;
use core::ops::Range;
pub(super) use record::RECORD_LEN;
use record::decode;
use work::{Allocating, Writing};

/// The kind of the records that name extents.
const KIND: u8 = super::RESERVED_KINDS;

/// Names an extent. A number is not used again until the store is mounted anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtentId(pub u32);

pub(super) struct Extents {
    config: Config,
    allocating: Option<Allocating>,
    writing: Option<Writing>,
    /// What is being written into an extent.
    staged: Vec<u8>,
    /// The last number that was given out, and where its sectors end.
    last: Option<(u32, u16)>,
    stats: Stats,
}

impl Extents {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            allocating: None,
            writing: None,
            staged: Vec::with_capacity(usize::from(config.write)),
            last: None,
            stats: Stats::default(),
        }
    }

    pub(super) fn add_to(&self, stats: &mut Stats) {
        stats.extent_erases += self.stats.extent_erases;
        stats.faults += self.stats.faults;
    }

    pub(super) fn iter<'a>(
        &'a self,
        log: &'a Log,
        flash: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (ExtentId, Extent)> + 'a {
        let found = log.iter(flash, KIND);
        found.filter_map(|(id, value)| Some((ExtentId(id), decode(&self.config, value)?)))
    }

    pub(super) fn get(&self, log: &Log, flash: &[u8], id: ExtentId) -> Option<Extent> {
        decode(&self.config, log.get(flash, KIND, id.0)?)
    }

    /// Where an extent begins in flash.
    fn base(&self, extent: &Extent) -> u32 {
        let sector = u32::from(self.config.log_sectors) + u32::from(extent.first);
        sector * self.config.geometry.sector
    }

    pub(super) fn slice<'f>(
        &self,
        flash: &'f [u8],
        extent: &Extent,
        offset: u32,
        len: u32,
    ) -> Option<&'f [u8]> {
        let end = offset.checked_add(len)?;
        if extent.state == ExtentState::Gone || end > extent.stored() {
            return None;
        }
        let at = (self.base(extent) + offset) as usize;
        flash.get(at..at + len as usize)
    }

    /// Where a piece's mark is, and which bits of that unit it is.
    fn mark(&self, extent: &Extent, piece: u16) -> Mark {
        let geometry = &self.config.geometry;
        let marks = self.base(extent) + geometry.align(extent.stored());
        let piece = u32::from(piece);
        if geometry.rewrites {
            let byte = piece / 8;
            let unit = byte / geometry.unit * geometry.unit;
            Mark { at: marks + unit, byte: byte - unit, bits: 1 << (piece % 8) }
        } else {
            Mark { at: marks + piece * geometry.unit, byte: 0, bits: 0xff }
        }
    }

    pub(super) fn has(&self, flash: &[u8], extent: &Extent, piece: u16) -> bool {
        match extent.state {
            _ if piece >= extent.pieces() => false,
            ExtentState::Gone => false,
            ExtentState::Whole => true,
            ExtentState::Partial => {
                let mark = self.mark(extent, piece);
                let unit = super::log::format::slice(flash, mark.at, self.config.geometry.unit);
                if self.config.geometry.rewrites {
                    unit.get(mark.byte as usize).is_some_and(|byte| byte & mark.bits == 0)
                } else {
                    !super::log::format::is_blank(unit)
                }
            }
        }
    }

    /// Free sectors: how many, and how many in the longest run. The work is bounded by the number of
    /// extents.
    pub(super) fn free(&self, log: &Log, flash: &[u8]) -> (u32, u32) {
        let gaps = self.gaps(log, flash);
        let lengths = || gaps.iter().map(|gap| u32::from(gap.end - gap.start));
        (lengths().sum(), lengths().max().unwrap_or_default())
    }

    /// The runs of sectors that belong to no extent, in their order. Extents that overlap an earlier
    /// one, as only foreign content can bring, change nothing.
    fn gaps(&self, log: &Log, flash: &[u8]) -> Vec<Range<u16>> {
        let mut taken: Vec<Range<u16>> = self
            .iter(log, flash)
            .filter(|(_, extent)| extent.state != ExtentState::Gone)
            .map(|(_, extent)| extent.first..extent.first + extent.sectors)
            .chain(self.allocating.as_ref().map(Allocating::range))
            .collect();
        taken.sort_unstable_by_key(|range| range.start);
        let mut gaps = Vec::with_capacity(taken.len() + 1);
        let mut at = 0;
        let end = self.config.extent_sectors;
        for range in taken.into_iter().chain(core::iter::once(end..end)) {
            if at < range.start {
                gaps.push(at..range.start);
            }
            at = at.max(range.end);
        }
        gaps
    }

    /// A run of `sectors`, the first one behind what was given out last, else the first of all.
    fn place(&self, log: &Log, flash: &[u8], sectors: u16) -> Result<u16, Error> {
        let after = match self.last {
            Some((_, end)) => end,
            None => self.iter(log, flash).next_back().map_or(0, |(_, e)| e.first + e.sectors),
        };
        let gaps = self.gaps(log, flash);
        let fits = |gap: &Range<u16>| gap.end.saturating_sub(gap.start) >= sectors;
        let behind = gaps.iter().map(|gap| gap.start.max(after)..gap.end).find(fits);
        match behind.or_else(|| gaps.iter().find(|gap| fits(gap)).cloned()) {
            Some(gap) => Ok(gap.start),
            None => {
                let free: u16 = gaps.iter().map(|gap| gap.end - gap.start).sum();
                Err(if free < sectors { Error::Full } else { Error::Fragmented })
            }
        }
    }

    pub(super) fn commit(
        &self,
        group: &mut Group<'_>,
        flash: &[u8],
        id: ExtentId,
    ) -> Result<(), Error> {
        let extent = self.at_rest(group.log(), flash, id)?;
        if extent.state != ExtentState::Partial {
            return Err(Error::NoExtent);
        }
        let whole = Extent { state: ExtentState::Whole, ..extent };
        group.put(KIND, id.0, &[&record::encode(&whole)])
    }

    pub(super) fn remove(
        &self,
        group: &mut Group<'_>,
        flash: &[u8],
        id: ExtentId,
    ) -> Result<(), Error> {
        self.at_rest(group.log(), flash, id)?;
        group.delete(KIND, id.0)
    }

    pub(super) fn retire(
        &self,
        config: &Config,
        group: &mut Group<'_>,
        flash: &[u8],
        id: ExtentId,
    ) -> Result<(), Error> {
        let extent = self.at_rest(group.log(), flash, id)?;
        if extent.state == ExtentState::Gone {
            return Ok(());
        }
        let is_gone = |(_, extent): &(ExtentId, Extent)| extent.state == ExtentState::Gone;
        let gone: Vec<_> = self.iter(group.log(), flash).filter(is_gone).collect();
        let most = usize::from(config.max_extents / 4).max(1);
        for (oldest, _) in gone.iter().take((gone.len() + 1).saturating_sub(most)) {
            group.delete(KIND, oldest.0)?;
        }
        let gone = Extent { state: ExtentState::Gone, first: 0, sectors: 0, ..extent };
        group.put(KIND, id.0, &[&record::encode(&gone)])
    }

    /// Deletes records that name no extent: they were made under another configuration.
    pub(super) fn forget_unreadable(&self, log: &mut Log, flash: &[u8]) {
        let unreadable = log.iter(flash, KIND).filter(|(_, v)| decode(&self.config, v).is_none());
        let ids: Vec<u32> = unreadable.map(|(id, _)| id).collect();
        for id in ids {
            let mut group = log.group();
            // What does not fit into the queue is found again by the next mount.
            if group.delete(KIND, id).and_then(|()| group.submit()).is_err() {
                return;
            }
        }
    }

    /// An extent that is not being written.
    fn at_rest(&self, log: &Log, flash: &[u8], id: ExtentId) -> Result<Extent, Error> {
        if self.writing.as_ref().is_some_and(|writing| writing.extent() == id) {
            return Err(Error::Busy);
        }
        self.get(log, flash, id).ok_or(Error::NoExtent)
    }

    fn next_id(&self, log: &Log, flash: &[u8]) -> Result<u32, Error> {
        let stored = log.iter(flash, KIND).next_back().map(|(id, _)| id);
        let last = stored.max(self.last.map(|(id, _)| id));
        last.map_or(Some(0), |last| last.checked_add(1)).ok_or(Error::TooMany)
    }

    fn check_count(&self, log: &Log, flash: &[u8]) -> Result<(), Error> {
        let count = narrow(log.iter(flash, KIND).count());
        if count < u32::from(self.config.max_extents) { Ok(()) } else { Err(Error::TooMany) }
    }
}

/// Where the mark of a piece is.
struct Mark {
    /// The unit, in flash.
    at: u32,
    /// The byte of the unit.
    byte: u32,
    /// The bits of the byte; all of the unit where units are programmed once.
    bits: u8,
}
