//! Operations on extents: erasing what was allocated, and writing.

use super::super::log::{Log, format};
use super::super::{Done, Error, Fault, Op, Ticket, narrow};
use super::{Extent, ExtentId, ExtentState, Extents, KIND, Owner, RECORD_LEN as RECORD, record};
use capmesh_wire::BlobRef;
use core::ops::Range;

/// How often in a row a sector may refuse to be erased, or a page to be programmed.
const MAX_FAULTS: u8 = 3;

/// An extent on its way.
pub(super) struct Allocating {
    id: ExtentId,
    extent: Extent,
    /// How many sectors are erased.
    erased: u16,
    faults: u8,
    /// Once its record waits to be written.
    recorded: Option<Ticket>,
}

impl Allocating {
    pub(super) const fn range(&self) -> Range<u16> {
        self.extent.first..self.extent.first + self.extent.sectors
    }

    const fn is_erased(&self) -> bool {
        self.erased >= self.extent.sectors
    }
}

/// Bytes on their way into an extent.
pub(super) struct Writing {
    id: ExtentId,
    /// Where in flash what is staged goes.
    at: u32,
    /// Bytes of what is staged that are in flash.
    done: u32,
    /// Bytes that are being programmed.
    asked: u32,
    faults: u8,
    /// The unit of the piece's mark, which is written last, and what it is to be.
    mark: Option<super::Mark>,
}

impl Writing {
    pub(super) const fn extent(&self) -> ExtentId {
        self.id
    }
}

impl Extents {
    pub(in crate::flash) fn is_idle(&self) -> bool {
        self.allocating.is_none() && self.writing.is_none()
    }

    pub(in crate::flash) fn has_op(&self) -> bool {
        let erases = self.allocating.as_ref().is_some_and(|allocating| !allocating.is_erased());
        erases || self.writing.is_some()
    }

    pub(in crate::flash) fn allocate(
        &mut self,
        log: &mut Log,
        flash: &[u8],
        blob: &BlobRef,
        owner: Owner,
    ) -> Result<ExtentId, Error> {
        if self.allocating.is_some() {
            return Err(Error::Busy);
        }
        let sectors = record::needed(&self.config, blob)?;
        self.check_count(log, flash)?;
        let first = self.place(log, flash, sectors)?;
        let id = ExtentId(self.next_id(log, flash)?);
        log.reserve(RECORD)?;
        let extent = Extent { state: ExtentState::Partial, blob: *blob, owner, first, sectors };
        self.last = Some((id.0, first + sectors));
        self.allocating = Some(Allocating { id, extent, erased: 0, faults: 0, recorded: None });
        Ok(id)
    }

    /// Queues the record of what has been erased, as soon as there is room for it.
    pub(in crate::flash) fn record(&mut self, log: &mut Log) {
        let Some(allocating) = &mut self.allocating else { return };
        if !allocating.is_erased() || allocating.recorded.is_some() {
            return;
        }
        log.release(RECORD);
        let mut group = log.group();
        let value = record::encode(&allocating.extent);
        let put = group.put(KIND, allocating.id.0, &[&value]).and_then(|()| group.submit());
        match put {
            Ok(ticket) => allocating.recorded = Some(ticket),
            // It had its place before, so that it has it again.
            Err(_) => drop(log.reserve(RECORD)),
        }
    }

    /// Takes note of a group that has become durable; says if it was an allocation's.
    pub(in crate::flash) fn recorded(&mut self, ticket: Ticket) -> Option<Done> {
        let done = self.allocating.take_if(|allocating| allocating.recorded == Some(ticket))?;
        Some(Done::Ready(done.id))
    }

    pub(in crate::flash) fn write_piece(
        &mut self,
        log: &Log,
        flash: &[u8],
        id: ExtentId,
        piece: u16,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let extent = self.get(log, flash, id).ok_or(Error::NoExtent)?;
        let geometry = extent.geometry().ok_or(Error::NoExtent)?;
        if piece >= geometry.pieces() || usize::from(geometry.len(piece)) != bytes.len() {
            return Err(Error::Place);
        }
        self.write(log, flash, id, geometry.offset(piece), bytes, Some(piece))
    }

    pub(in crate::flash) fn write(
        &mut self,
        log: &Log,
        flash: &[u8],
        id: ExtentId,
        offset: u32,
        bytes: &[u8],
        piece: Option<u16>,
    ) -> Result<(), Error> {
        if self.writing.is_some() {
            return Err(Error::Busy);
        }
        let extent = self.get(log, flash, id).ok_or(Error::NoExtent)?;
        if extent.state != ExtentState::Partial {
            return Err(Error::NoExtent);
        }
        if bytes.len() > usize::from(self.config.write) {
            return Err(Error::TooLarge);
        }
        let geometry = &self.config.geometry;
        let end = offset.checked_add(narrow(bytes.len())).filter(|end| *end <= extent.stored());
        if end.is_none() || !offset.is_multiple_of(geometry.unit) {
            return Err(Error::Place);
        }
        let at = self.base(&extent) + offset;
        let old = format::slice(flash, at, geometry.align(narrow(bytes.len())));
        self.staged.clear();
        self.staged.extend_from_slice(bytes);
        // What is behind it in its last unit stays as it is.
        self.staged.extend_from_slice(old.get(bytes.len()..).unwrap_or_default());
        if !self.can_become(old, &self.staged) {
            return Err(Error::Dirty);
        }
        let mark = piece.map(|piece| self.mark(&extent, piece));
        self.writing = Some(Writing { id, at, done: 0, asked: 0, faults: 0, mark });
        Ok(())
    }

    /// Whether flash can become `new` without an erase.
    fn can_become(&self, old: &[u8], new: &[u8]) -> bool {
        if self.config.geometry.rewrites {
            return old.iter().zip(new).all(|(old, new)| old & new == *new);
        }
        let unit = self.config.geometry.unit as usize;
        let mut units = old.chunks(unit).zip(new.chunks(unit));
        units.all(|(old, new)| old == new || format::is_blank(old))
    }

    /// The next operation, if there is one and none is under way.
    pub(in crate::flash) fn poll<'a>(&'a mut self, flash: &[u8]) -> Option<Op<'a>> {
        if self.writing.is_some() {
            return self.program(flash);
        }
        let allocating = self.allocating.as_ref().filter(|allocating| !allocating.is_erased())?;
        let at = self.base(&allocating.extent);
        Some(Op::Erase { at: at + u32::from(allocating.erased) * self.config.geometry.sector })
    }

    fn program<'a>(&'a mut self, flash: &[u8]) -> Option<Op<'a>> {
        let (unit, page) = (self.config.geometry.unit, self.config.geometry.page);
        let writing = self.writing.as_mut()?;
        let total = narrow(self.staged.len());
        let is_there = |at: u32, new: &[u8]| format::slice(flash, at, narrow(new.len())) == new;
        // What is there already, as after a power cut, is left alone.
        let rest = self.staged.get(writing.done as usize..).unwrap_or_default();
        let same = rest.chunks(unit as usize).zip(0_u32..);
        let skip = same.take_while(|(new, n)| is_there(writing.at + writing.done + n * unit, new));
        let skipped = narrow(skip.count()) * unit;
        writing.done = (writing.done + skipped).min(total);
        writing.asked = 0;
        if writing.done < total {
            let at = writing.at + writing.done;
            let most = (total - writing.done).min(page - at % page);
            let rest = format::slice(&self.staged, writing.done, most);
            let units = rest.chunks(unit as usize).zip(0_u32..);
            let run = units.take_while(|(new, n)| !is_there(at + n * unit, new)).count();
            writing.asked = narrow(run) * unit;
            let bytes = format::slice(&self.staged, writing.done, writing.asked);
            return Some(Op::Program { at, bytes });
        }
        if let Some(mark) = writing.mark.take() {
            let old = format::slice(flash, mark.at, unit);
            self.staged.clear();
            self.staged.extend_from_slice(old);
            (writing.at, writing.done) = (mark.at, 0);
            if self.config.geometry.rewrites {
                if let Some(byte) = self.staged.get_mut(mark.byte as usize) {
                    *byte &= !mark.bits;
                }
            } else if format::is_blank(old) {
                self.staged.fill(0);
            }
            writing.asked = if self.staged == old { 0 } else { unit };
        }
        let (at, len) = (writing.at + writing.done, writing.asked);
        Some(Op::Program { at, bytes: format::slice(&self.staged, writing.done, len) })
    }

    pub(in crate::flash) fn flashed(
        &mut self,
        log: &mut Log,
        flash: &[u8],
        result: Result<(), Fault>,
    ) -> Option<Done> {
        if self.writing.is_some() {
            self.programmed(flash, result)
        } else {
            self.erased(log, flash, result)
        }
    }

    fn programmed(&mut self, flash: &[u8], result: Result<(), Fault>) -> Option<Done> {
        let writing = self.writing.as_mut()?;
        let bytes = format::slice(&self.staged, writing.done, writing.asked);
        let good = format::slice(flash, writing.at + writing.done, writing.asked) == bytes;
        if result.is_err() || !good {
            self.stats.faults = self.stats.faults.saturating_add(1);
            writing.faults += 1;
            if writing.faults < MAX_FAULTS && self.config.geometry.rewrites {
                return None;
            }
            let id = writing.id;
            self.writing = None;
            return Some(Done::WriteFailed(id));
        }
        writing.faults = 0;
        writing.done += writing.asked;
        let rest = format::slice(flash, writing.at, narrow(self.staged.len())) != self.staged;
        if rest || writing.mark.is_some() {
            return None;
        }
        let id = writing.id;
        self.writing = None;
        Some(Done::Written(id))
    }

    fn erased(&mut self, log: &mut Log, flash: &[u8], result: Result<(), Fault>) -> Option<Done> {
        let allocating = self.allocating.as_ref()?;
        let size = self.config.geometry.sector;
        let at = self.base(&allocating.extent) + u32::from(allocating.erased) * size;
        let good = result.is_ok() && format::is_blank(format::slice(flash, at, size));
        let allocating = self.allocating.as_mut()?;
        if good {
            self.stats.extent_erases = self.stats.extent_erases.wrapping_add(1);
            allocating.erased += 1;
            allocating.faults = 0;
            return None;
        }
        self.stats.faults = self.stats.faults.saturating_add(1);
        allocating.faults += 1;
        if allocating.faults < MAX_FAULTS {
            return None;
        }
        let id = allocating.id;
        self.allocating = None;
        log.release(RECORD);
        Some(Done::AllocateFailed(id))
    }
}
