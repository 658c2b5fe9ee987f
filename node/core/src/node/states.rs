//! Where states of instances are kept: in a record of the log if they fit one, else in an extent.
//!
//! A record is one write. An extent has to be erased first and costs whole sectors, so that a capsule
//! with a large state wears flash: each of its commits erases as many sectors as the state is long.
//! An instance has its state in one of the two, never in both: what replaces it removes the other in
//! the same group.

use super::Node;
use super::life::full;
use crate::flash::kinds::{COMMIT, ROW};
use crate::flash::{self, Done, ExtentId, ExtentState, Owner, Store, Ticket};
use crate::host::CapsuleHost;
use crate::instances::Writing;
use crate::instances::row::{HEAD, Row};
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_coap::endpoint::Responder;
use capmesh_session::Link;
use capmesh_wire::log::Level;
use capmesh_wire::{BlobRef, Digest, ErrorCode, InstanceId, Instant, limits};

/// What a group takes beside a state and a row: heads of records, and the removal of an extent.
const MARGIN: usize = 64;

/// A long state on its way into an extent.
pub(super) struct Long {
    id: InstanceId,
    bytes: Vec<u8>,
    /// The row that is written with it, if it changes, and who waits for that.
    row: Option<Vec<u8>>,
    waiting: Option<Responder>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Allocate,
    Allocating(ExtentId),
    /// So much is there.
    Write(ExtentId, usize),
    /// So much is there, and so much is being written.
    Writing(ExtentId, usize, usize),
    Name(ExtentId),
}

/// What has become of a state that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is durable with this ticket.
    With(Ticket),
    /// It takes several writes.
    Later,
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// The state of an instance that flash has.
    pub(super) fn state<'f>(&self, flash: &'f [u8], id: InstanceId) -> Option<&'f [u8]> {
        state_of(flash, &self.store, id)
    }

    /// Begins to keep a state in place of the one before, and a row with it.
    ///
    /// # Errors
    /// If flash has no room, now or at all.
    pub(super) fn keep_state(
        &mut self,
        flash: &[u8],
        id: InstanceId,
        bytes: &[u8],
        row: Option<&Row<'_>>,
        waiting: Option<Responder>,
    ) -> Result<Kept, Reason> {
        let row_len = row.map_or(0, |row| HEAD + row.assignment.len());
        let most = usize::from(self.store.config().max_group);
        if bytes.len() + row_len + MARGIN <= most {
            let old = extent_of(flash, &self.store, id);
            let mut group = self.store.group();
            group.put(COMMIT, id.0, bytes).map_err(full)?;
            if let Some(old) = old {
                group.remove_extent(flash, old).map_err(full)?;
            }
            if let Some(row) = row {
                group.put_parts(ROW, id.0, &[&row.head(), row.assignment]).map_err(full)?;
            }
            return Ok(Kept::With(group.submit().map_err(full)?));
        }
        if self.long.is_some() {
            return Err(Reason::retry(ErrorCode::Busy, 1_000));
        }
        let row = row.map(|row| [&row.head()[..], row.assignment].concat());
        let bytes = Vec::from(bytes);
        self.long = Some(Long { id, bytes, row, waiting, stage: Stage::Allocate });
        Ok(Kept::Later)
    }

    /// Takes what the store has done for a long state.
    pub(super) fn long_flashed(&mut self, done: &Done) {
        let Some(long) = &mut self.long else { return };
        long.stage = match (long.stage, *done) {
            (Stage::Allocating(id), Done::Ready(ready)) if id == ready => Stage::Write(id, 0),
            (Stage::Writing(id, at, len), Done::Written(written)) if id == written => {
                Stage::Write(id, at + len)
            }
            (Stage::Writing(id, at, _), Done::WriteFailed(failed)) if id == failed => {
                // It is said once; the next attempt finds out whether flash has failed.
                Stage::Write(id, at)
            }
            (Stage::Allocating(id), Done::AllocateFailed(failed)) if id == failed => {
                Stage::Allocate
            }
            (stage, _) => stage,
        };
    }

    /// Goes on with a long state, one write at a time.
    #[inline(never)]
    pub(super) fn advance_long(&mut self, now: Instant, flash: &[u8]) {
        self.give_back(flash);
        let Some(long) = &mut self.long else { return };
        match step(long, flash, &mut self.store) {
            Ok(None) => {}
            Ok(Some(ticket)) => {
                let Some(Long { id, waiting, .. }) = self.long.take() else { return };
                let Some(slot) = self.instances.get_mut(id) else { return };
                match slot.commit.writing.as_mut() {
                    Some(writing) => writing.ticket = Some(ticket),
                    // It is not the instance's own.
                    None => self.restored(id, ticket, waiting),
                }
            }
            Err(flash::Error::Busy) => {}
            Err(error) => {
                let reason = full(error).because(error);
                self.give_up_long(now, flash, &reason);
            }
        }
    }

    /// A long state cannot be kept.
    fn give_up_long(&mut self, now: Instant, flash: &[u8], reason: &Reason) {
        let Some(long) = self.long.take() else { return };
        self.discard(flash, long.stage);
        let text = format_args!("its state cannot be kept: {reason}");
        self.say(now, Some(long.id), Level::Error, text);
        self.refuse(now, long.waiting, reason);
        let Some(slot) = self.instances.get_mut(long.id) else { return };
        if let Some(Writing { mark, .. }) = slot.commit.writing.take() {
            slot.commit.fault = None;
            self.router.abandoned(long.id, mark);
            self.fault(now, long.id, reason.code);
        }
    }

    /// The instance of a long state has ended: it is not kept.
    pub(super) fn forget_long(&mut self, id: InstanceId) {
        if let Some(long) = self.long.take_if(|long| long.id == id) {
            self.leftover.extend(long.stage.extent());
        }
    }

    fn discard(&mut self, flash: &[u8], stage: Stage) {
        self.leftover.extend(stage.extent());
        self.give_back(flash);
    }

    /// Gives extents back that nobody needs.
    fn give_back(&mut self, flash: &[u8]) {
        while let Some(id) = self.leftover.last().copied() {
            let mut group = self.store.group();
            match group.remove_extent(flash, id).and_then(|()| group.submit()) {
                Err(flash::Error::Busy) => return,
                // Gone already, or never there.
                _ => self.leftover.pop(),
            };
        }
    }
}

impl Stage {
    const fn extent(self) -> Option<ExtentId> {
        match self {
            Self::Allocate => None,
            Self::Allocating(id) | Self::Write(id, _) | Self::Writing(id, ..) | Self::Name(id) => {
                Some(id)
            }
        }
    }
}

/// Takes the next step of a long state. The ticket of the group that names it, if it was the last.
fn step(long: &mut Long, flash: &[u8], store: &mut Store) -> Result<Option<Ticket>, flash::Error> {
    let owner = Owner { kind: COMMIT, id: long.id.0 };
    match long.stage {
        Stage::Allocate => {
            let size = u32::try_from(long.bytes.len()).map_err(|_| flash::Error::TooLarge)?;
            let digest = Digest::of(&long.bytes);
            // It is never fetched by this name.
            let chunk_log2 = limits::CHUNK_LOG2_MAX;
            let blob = BlobRef { digest, size, chunk_log2, root: digest };
            long.stage = Stage::Allocating(store.allocate(flash, &blob, owner)?);
        }
        Stage::Write(id, at) if at < long.bytes.len() => {
            let most = usize::from(store.config().write) / UNIT * UNIT;
            let rest = long.bytes.get(at..).unwrap_or_default();
            let part = rest.get(..most).unwrap_or(rest);
            let offset = u32::try_from(at).map_err(|_| flash::Error::TooLarge)?;
            store.write(flash, id, offset, part)?;
            long.stage = Stage::Writing(id, at, part.len());
        }
        Stage::Write(id, _) => long.stage = Stage::Name(id),
        Stage::Name(id) => {
            let old = extent_of(flash, store, long.id);
            let mut group = store.group();
            group.commit_extent(flash, id)?;
            if let Some(old) = old {
                group.remove_extent(flash, old)?;
            }
            group.delete(COMMIT, long.id.0)?;
            if let Some(row) = &long.row {
                group.put(ROW, long.id.0, row)?;
            }
            return group.submit().map(Some);
        }
        Stage::Allocating(_) | Stage::Writing(..) => {}
    }
    Ok(None)
}

/// What the place of a write is a multiple of, for every kind of flash.
const UNIT: usize = 32;

/// The state of an instance that flash has.
pub(super) fn state_of<'f>(flash: &'f [u8], store: &Store, id: InstanceId) -> Option<&'f [u8]> {
    let record = store.get(flash, COMMIT, id.0);
    record.or_else(|| store.bytes(flash, extent_of(flash, store, id)?))
}

/// The extent with the state of an instance.
pub(super) fn extent_of(flash: &[u8], store: &Store, id: InstanceId) -> Option<ExtentId> {
    let owner = Owner { kind: COMMIT, id: id.0 };
    let mut extents = store.extents(flash);
    let found = extents.find(|(_, e)| e.owner == owner && e.state == ExtentState::Whole);
    found.map(|(id, _)| id)
}

/// Extents of states that a power cut has left unfinished.
pub(super) fn leftovers(flash: &[u8], store: &Store) -> Vec<ExtentId> {
    let is_ours = |extent: &flash::Extent| {
        extent.owner.kind == COMMIT && extent.state == ExtentState::Partial
    };
    store.extents(flash).filter(|(_, extent)| is_ours(extent)).map(|(id, _)| id).collect()
}
