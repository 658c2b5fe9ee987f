//! A document on its way to this node, in parts.
//!
//! What comes is collected in RAM until it can be told what it is. A short document stays there and
//! becomes a record; a long one is written to an extent as it comes, which counts for nothing before
//! the whole has been verified and one group of records says that it does.

use super::documents::{Kind, Known, malformed, place_of, stale, verify_roster};
use super::rebuild::Rebuilt;
use super::start::{PREFIX, Start, look};
use crate::flash::{Config, Done, Error, ExtentId, Store, Ticket};
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_wire::roster::Delta;
use capmesh_wire::{Digest, ErrorCode, Roster};

/// Bytes of a part at most: the largest block.
pub(super) const PART: usize = 1_024;

/// Bytes that are kept in RAM: the longest document that is not written as it comes, and the longest
/// delta.
pub(super) const BUFFER: usize = 2 * PART;

/// Bytes of a delta that is kept for neighbours that are behind.
pub(super) const KEPT_DELTA: usize = PART;

const _: () = assert!(PREFIX <= PART);

/// A document on its way.
pub(super) struct Intake {
    kind: Kind,
    /// What has come and is not in flash.
    buffer: Vec<u8>,
    /// Whether the last part has come.
    is_whole: bool,
    stage: Stage,
    /// What leads from the roster that was held to the new one.
    delta: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not known what it is.
    Start,
    /// It fits the buffer.
    Small,
    /// It has so many bytes and needs an extent.
    Allocate { len: u32, about: Digest, from_delta: bool },
    /// The extent is being erased.
    Allocating { id: ExtentId, len: u32, from_delta: bool },
    /// It goes to the extent as it comes. So much is there, and so much is being written.
    Stream { id: ExtentId, len: u32, written: u32, writing: u32 },
    /// It is made from a delta, likewise.
    Rebuild { id: ExtentId, len: u32, written: u32, writing: u32 },
    /// All of it is in the extent.
    Check { id: ExtentId, len: u32 },
    /// It is verified, and in the buffer.
    Keep,
    /// It is verified, and in the extent.
    KeepExtent { id: ExtentId },
    /// The group that makes it count is being written.
    Keeping { ticket: Ticket, id: Option<ExtentId> },
    /// It is the one that is held: the rest of it is not looked at.
    Drain,
    /// It is over.
    Over { result: Result<Outcome, Reason>, leftover: Option<ExtentId> },
}

/// What came of a document that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has taken the place of the one that was held.
    Changed,
    /// It is the one that is held.
    Same,
}

impl Intake {
    pub(super) const fn new(kind: Kind) -> Self {
        let stage = Stage::Start;
        Self { kind, buffer: Vec::new(), is_whole: false, stage, delta: Vec::new() }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes the next part, of at most [`PART`] bytes.
    pub(super) fn push(&mut self, part: &[u8], is_last: bool) {
        if matches!(self.stage, Stage::Over { .. }) {
            return;
        }
        if self.stage == Stage::Drain {
            self.is_whole = is_last;
            return;
        }
        if self.buffer.len() + part.len() > BUFFER || self.is_whole {
            return self.refuse(Reason::new(ErrorCode::TooLarge));
        }
        self.buffer.reserve_exact(part.len());
        self.buffer.extend_from_slice(part);
        self.is_whole = is_last;
    }

    /// Whether the next part can be taken.
    pub(super) fn wants_part(&self) -> bool {
        let takes = match &self.stage {
            Stage::Start | Stage::Drain => true,
            // However large its parts are: what fits the buffer is taken to its end.
            Stage::Small => self.buffer.len() < BUFFER,
            Stage::Stream { .. } => self.buffer.len() < PART,
            _ => false,
        };
        takes && !self.is_whole
    }

    /// Gives it up.
    pub(super) fn give_up(&mut self, reason: Reason) {
        self.refuse(reason);
    }

    /// Whether it cannot be given up any more.
    pub(super) const fn is_being_kept(&self) -> bool {
        matches!(self.stage, Stage::Keeping { .. })
    }

    /// Whether it is over, and how.
    pub(super) const fn result(&self) -> Option<&Result<Outcome, Reason>> {
        match &self.stage {
            Stage::Over { result, .. } => Some(result),
            _ => None,
        }
    }

    /// The extent that is to be given back, and the delta that is to be kept, once it is over or
    /// given up.
    pub(super) fn take_leftovers(self) -> (Option<ExtentId>, Vec<u8>) {
        let id = match self.stage {
            Stage::Over { leftover, .. } => leftover,
            Stage::Keeping { .. } => None,
            other => other.extent(),
        };
        (id, self.delta)
    }

    fn refuse(&mut self, reason: Reason) {
        let leftover = self.stage.extent();
        self.buffer = Vec::new();
        self.stage = Stage::Over { result: Err(reason), leftover };
    }

    fn finish(&mut self, outcome: Outcome) {
        self.buffer = Vec::new();
        self.stage = Stage::Over { result: Ok(outcome), leftover: None };
    }

    /// Takes what the store has done, if it concerns this document.
    pub(super) fn flashed(&mut self, done: &Done) {
        match (&mut self.stage, done) {
            (Stage::Allocating { id, len, from_delta }, Done::Ready(ready)) if id == ready => {
                let (id, len) = (*id, *len);
                self.stage = if *from_delta {
                    Stage::Rebuild { id, len, written: 0, writing: 0 }
                } else {
                    Stage::Stream { id, len, written: 0, writing: 0 }
                };
            }
            (Stage::Allocating { id, .. }, Done::AllocateFailed(failed)) if id == failed => {
                self.buffer = Vec::new();
                let result = Err(Reason::new(ErrorCode::Flash));
                self.stage = Stage::Over { result, leftover: None };
            }
            (Stage::Stream { id, written, writing, .. }, Done::Written(done)) if id == done => {
                let count = usize::try_from(*writing).unwrap_or(usize::MAX).min(self.buffer.len());
                *written += *writing;
                *writing = 0;
                self.buffer.drain(..count);
            }
            (Stage::Rebuild { id, written, writing, .. }, Done::Written(done)) if id == done => {
                *written += *writing;
                *writing = 0;
            }
            (Stage::Stream { id, .. } | Stage::Rebuild { id, .. }, Done::WriteFailed(failed))
                if id == failed =>
            {
                self.refuse(Reason::new(ErrorCode::Flash));
            }
            _ => {}
        }
    }

    /// Goes on as far as it can without another part or the store. Between two answers of the store
    /// that is at most two signatures and a digest over the document.
    pub(super) fn advance(&mut self, flash: &[u8], store: &mut Store, known: &Known<'_>) {
        while self.step(flash, store, known).unwrap_or_else(|reason| {
            self.refuse(reason);
            false
        }) {}
    }

    /// Takes one step. Says whether there may be another.
    fn step(&mut self, flash: &[u8], store: &mut Store, known: &Known<'_>) -> Result<bool, Reason> {
        match self.stage.clone() {
            Stage::Start => self.start(store, known),
            Stage::Small => self.small(store, known),
            Stage::Allocate { len, about, from_delta } => {
                match store.allocate(flash, &place_of(len, about), self.kind.owner()) {
                    Ok(id) => self.stage = Stage::Allocating { id, len, from_delta },
                    Err(error) => busy_or(error, ErrorCode::NoFlash)?,
                }
                Ok(false)
            }
            Stage::Stream { id, len, written, writing: 0 } => {
                self.stream(flash, store, id, len, written)
            }
            Stage::Rebuild { id, len, written, writing: 0 } => {
                self.rebuild(flash, store, known, (id, len, written))
            }
            Stage::Check { id, len } => {
                let bytes = store.bytes(flash, id).unwrap_or_default();
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let bytes = bytes.get(..len).ok_or_else(|| Reason::new(ErrorCode::Flash))?;
                self.delta = verify(self.kind, bytes, known)?;
                self.stage = Stage::KeepExtent { id };
                Ok(true)
            }
            Stage::Keep => {
                match self.kind.keep(flash, store, &self.buffer) {
                    Ok(ticket) => self.stage = Stage::Keeping { ticket, id: None },
                    Err(error) => busy_or(error, ErrorCode::NoFlash)?,
                }
                Ok(false)
            }
            Stage::KeepExtent { id } => {
                match self.kind.keep_extent(flash, store, id) {
                    Ok(ticket) => self.stage = Stage::Keeping { ticket, id: Some(id) },
                    Err(error) => busy_or(error, ErrorCode::NoFlash)?,
                }
                Ok(false)
            }
            Stage::Drain => {
                if self.is_whole {
                    self.finish(Outcome::Same);
                }
                Ok(false)
            }
            Stage::Keeping { ticket, .. } if store.is_durable(ticket) => {
                self.finish(Outcome::Changed);
                Ok(false)
            }
            Stage::Keeping { .. } if store.has_failed() => Err(Reason::new(ErrorCode::Flash)),
            Stage::Allocating { .. }
            | Stage::Stream { .. }
            | Stage::Rebuild { .. }
            | Stage::Keeping { .. }
            | Stage::Over { .. } => Ok(false),
        }
    }

    fn start(&mut self, store: &Store, known: &Known<'_>) -> Result<bool, Reason> {
        if self.buffer.len() < PREFIX && !self.is_whole {
            return Ok(false);
        }
        match look(self.kind, &self.buffer, known)? {
            Start::Held => {
                self.buffer = Vec::new();
                self.stage = Stage::Drain;
            }
            Start::Delta => self.stage = Stage::Small,
            Start::Whole { len, about } => {
                self.stage = if fits(store, len) {
                    Stage::Small
                } else {
                    Stage::Allocate { len, about, from_delta: false }
                };
            }
        }
        Ok(true)
    }

    /// The document, or the delta, fits the buffer.
    fn small(&mut self, store: &Store, known: &Known<'_>) -> Result<bool, Reason> {
        if !self.is_whole {
            return if self.wants_part() {
                Ok(false)
            } else {
                Err(Reason::new(ErrorCode::TooLarge))
            };
        }
        let is_delta = self.kind == Kind::Roster && !self.buffer.starts_with(b"\x82");
        if !is_delta {
            self.delta = verify(self.kind, &self.buffer, known)?;
            self.stage = Stage::Keep;
            return Ok(true);
        }
        let delta = Delta::parse(&self.buffer).map_err(malformed)?;
        let (held, new) = (known.roster.head(), delta.head());
        if new.site == held.site && new.version == held.version {
            self.finish(Outcome::Same);
            return Ok(true);
        }
        if delta.base() != held.version || new.version < held.version {
            return Err(stale(held.version));
        }
        let rebuilt = Rebuilt::new(&self.buffer, &delta, &known.roster)
            .ok_or_else(|| Reason::new(ErrorCode::Malformed))?;
        let len = rebuilt.len();
        let long = u32::try_from(len).map_err(|_| Reason::new(ErrorCode::TooLarge))?;
        if !fits(store, long) {
            let about = new.entries;
            self.stage = Stage::Allocate { len: long, about, from_delta: true };
            return Ok(true);
        }
        let mut roster = alloc::vec![0; len];
        rebuilt.read(0, &mut roster);
        self.delta = verify(self.kind, &roster, known)?;
        self.buffer = roster;
        self.stage = Stage::Keep;
        Ok(true)
    }

    fn stream(
        &mut self,
        flash: &[u8],
        store: &mut Store,
        id: ExtentId,
        len: u32,
        written: u32,
    ) -> Result<bool, Reason> {
        if self.is_whole && self.buffer.is_empty() {
            if written != len {
                return Err(malformed(capmesh_wire::DecodeError::Truncated));
            }
            self.stage = Stage::Check { id, len };
            return Ok(true);
        }
        let step = step_of(store);
        if self.buffer.len() < step && !self.is_whole {
            return Ok(false);
        }
        let chunk = self.buffer.get(..step).unwrap_or(&self.buffer);
        let writing = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        if written.saturating_add(writing) > len {
            return Err(malformed(capmesh_wire::DecodeError::Trailing));
        }
        match store.write(flash, id, written, chunk) {
            Ok(()) => self.stage = Stage::Stream { id, len, written, writing },
            Err(error) => busy_or(error, ErrorCode::Flash)?,
        }
        Ok(false)
    }

    fn rebuild(
        &mut self,
        flash: &[u8],
        store: &mut Store,
        known: &Known<'_>,
        (id, len, written): (ExtentId, u32, u32),
    ) -> Result<bool, Reason> {
        if written == len {
            self.stage = Stage::Check { id, len };
            return Ok(true);
        }
        let delta = Delta::parse(&self.buffer).map_err(malformed)?;
        // Another roster may have come meanwhile, with whose bytes this would be nonsense.
        if delta.base() != known.roster.head().version {
            return Err(stale(known.roster.head().version));
        }
        let rebuilt = Rebuilt::new(&self.buffer, &delta, &known.roster)
            .ok_or_else(|| Reason::new(ErrorCode::Malformed))?;
        let mut chunk = [0; PART];
        let chunk = chunk.get_mut(..step_of(store)).unwrap_or_default();
        let count = rebuilt.read(usize::try_from(written).unwrap_or(usize::MAX), chunk);
        let writing = u32::try_from(count).unwrap_or(u32::MAX);
        match store.write(flash, id, written, chunk.get(..count).unwrap_or_default()) {
            Ok(()) => self.stage = Stage::Rebuild { id, len, written, writing },
            Err(error) => busy_or(error, ErrorCode::Flash)?,
        }
        Ok(false)
    }
}

impl Stage {
    /// The extent that was allocated.
    const fn extent(&self) -> Option<ExtentId> {
        match self {
            Self::Allocating { id, .. }
            | Self::Stream { id, .. }
            | Self::Rebuild { id, .. }
            | Self::Check { id, .. }
            | Self::KeepExtent { id } => Some(*id),
            Self::Keeping { id, .. } => *id,
            _ => None,
        }
    }
}

/// Whether a document of so many bytes is kept in RAM and in the log.
fn fits(store: &Store, len: u32) -> bool {
    let longest = store.config().max_group - Config::RECORD;
    usize::try_from(len).is_ok_and(|len| len <= BUFFER && len <= usize::from(longest))
}

/// How many bytes of a long document are written at a time.
fn step_of(store: &Store) -> usize {
    // Whole units of any flash, which is what every write but the last has to be.
    (usize::from(store.config().write) & !31).min(PART)
}

/// The store can take it later, or never.
fn busy_or(error: Error, code: ErrorCode) -> Result<(), Reason> {
    match error {
        Error::Busy => Ok(()),
        _ => Err(Reason::new(code)),
    }
}

/// Verifies a whole document. Returns what leads from the roster that is held to this one, if it is
/// a roster and that is short.
fn verify(kind: Kind, bytes: &[u8], known: &Known<'_>) -> Result<Vec<u8>, Reason> {
    match kind {
        Kind::Plan => known.verify_plan(bytes).map(|_| Vec::new()),
        Kind::Roster => {
            let new = verify_roster(bytes, &known.site)?;
            let (old, head) = (known.roster.head(), new.head());
            if head.site != old.site || head.version <= old.version {
                return Err(stale(old.version));
            }
            Ok(delta_to(&known.roster, &new))
        }
    }
}

fn delta_to(old: &Roster<'_>, new: &Roster<'_>) -> Vec<u8> {
    let mut buf = [0; KEPT_DELTA];
    let len = Delta::between(old, new, &mut buf).unwrap_or_default();
    buf.get(..len).unwrap_or_default().to_vec()
}
