//! A bundle that an operator brings, part by part: each piece is verified before it is written.

use crate::flash::{Done, Error, ExtentId, Store};
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_blob::Geometry;
use capmesh_coap::block::BlockValue;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::server::Unfinished;
use capmesh_session::Peer;
use capmesh_wire::bundle::{BundleReader, Part, Piece};
use capmesh_wire::{BlobRef, Digest, ErrorCode, Instant};
use core::time::Duration;

/// How long to wait for the next part.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a part at most: that of a request in one datagram, or a block.
const PART: usize = 2 * 1_024;

/// A bundle on its way.
pub(super) struct Upload {
    peer: Peer,
    /// How much has come.
    taken: u32,
    /// What has come and was not looked at.
    input: Vec<u8>,
    read: usize,
    is_whole: bool,
    reader: BundleReader,
    manifest: Vec<u8>,
    has_manifest: bool,
    module: Option<(BlobRef, Geometry)>,
    /// The piece that is being put together.
    piece: Vec<u8>,
    state: PieceState,
    waiting: Option<Waiting>,
    is_passed_over: bool,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceState {
    /// Bytes of it are missing.
    Filling,
    /// It is here.
    Complete(Piece),
    /// The store is writing it.
    Writing,
}

/// The request that is answered when its part has been dealt with.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) responder: Responder,
    pub(super) block: Option<BlockValue>,
    pub(super) body: Option<Unfinished<Peer>>,
}

impl Upload {
    pub(super) fn new(now: Instant, peer: Peer) -> Self {
        Self {
            peer,
            taken: 0,
            input: Vec::new(),
            read: 0,
            is_whole: false,
            reader: BundleReader::new(),
            manifest: Vec::new(),
            has_manifest: false,
            module: None,
            piece: Vec::new(),
            state: PieceState::Filling,
            waiting: None,
            is_passed_over: false,
            until: now + PATIENCE,
        }
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    /// How many bytes have come.
    pub(super) const fn taken(&self) -> u32 {
        self.taken
    }

    /// Until when the next part must come.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Takes the next part. The one before has been dealt with.
    pub(super) fn push(&mut self, now: Instant, part: &[u8], is_last: bool) -> Result<(), Reason> {
        if self.is_whole || self.read < self.input.len() || part.len() > PART {
            return Err(Reason::new(ErrorCode::TooLarge).because("the part is too long"));
        }
        self.input.clear();
        self.input.reserve_exact(part.len());
        self.input.extend_from_slice(part);
        self.read = 0;
        self.taken = self.taken.saturating_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
        self.is_whole = is_last;
        self.until = now + PATIENCE;
        Ok(())
    }

    /// Whether the next part can be taken.
    pub(super) fn wants_part(&self) -> bool {
        !self.is_whole && self.read == self.input.len() && self.state == PieceState::Filling
    }

    pub(super) const fn wait(&mut self, waiting: Waiting) {
        self.waiting = Some(waiting);
    }

    pub(super) const fn take_waiting(&mut self) -> Option<Waiting> {
        self.waiting.take()
    }

    /// The signed manifest, once it is complete.
    pub(super) fn read_manifest(&mut self) -> Result<Option<&[u8]>, Reason> {
        while !self.has_manifest {
            let mut input = self.input.get(self.read..).unwrap_or_default();
            let part = self.reader.feed(&mut input).map_err(malformed)?;
            self.read = self.input.len() - input.len();
            match part {
                None if self.is_whole => return Err(truncated()),
                None => return Ok(None),
                Some(Part::Manifest { bytes, len, offset }) => {
                    let (is_last, len) =
                        (usize::from(offset) + bytes.len() == usize::from(len), len);
                    self.manifest.reserve_exact(usize::from(len) - self.manifest.len());
                    self.manifest.extend_from_slice(bytes);
                    self.has_manifest = is_last;
                }
                Some(Part::Piece { .. }) => return Err(Reason::new(ErrorCode::Internal)),
            }
        }
        Ok(Some(&self.manifest))
    }

    pub(super) fn take_manifest(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.manifest)
    }

    /// Says what the manifest, which was verified, says of the module.
    pub(super) fn describe(&mut self, blob: &BlobRef) -> Result<(), Reason> {
        if self.module.is_none() {
            self.reader.describe(blob).map_err(malformed)?;
            let geometry = Geometry::new(blob.size, blob.chunk_log2);
            let geometry =
                geometry.map_err(|error| Reason::new(ErrorCode::TooLarge).because(error))?;
            self.module = Some((*blob, geometry));
        }
        Ok(())
    }

    /// Takes what the store has done. Says whether it went well.
    pub(super) fn flashed(&mut self, id: ExtentId, done: &Done) -> bool {
        match done {
            Done::Written(written) if *written == id && self.state == PieceState::Writing => {
                self.state = PieceState::Filling;
                self.piece.clear();
                true
            }
            Done::WriteFailed(failed) => *failed != id,
            _ => true,
        }
    }

    /// Verifies pieces and hands them to the store, one after the other. Says whether the bundle is
    /// complete and all of it is in flash.
    pub(super) fn pump(
        &mut self,
        flash: &[u8],
        store: &mut Store,
        id: ExtentId,
    ) -> Result<bool, Reason> {
        loop {
            match self.state {
                PieceState::Writing => return Ok(false),
                PieceState::Complete(piece) => {
                    if !self.write(flash, store, id, piece)? {
                        return Ok(false);
                    }
                }
                PieceState::Filling => {}
            }
            if self.state != PieceState::Filling {
                continue;
            }
            let mut input = self.input.get(self.read..).unwrap_or_default();
            let part = self.reader.feed(&mut input).map_err(malformed)?;
            self.read = self.input.len() - input.len();
            match part {
                None if self.reader.is_complete() && self.is_whole => return Ok(true),
                None if self.is_whole => return Err(truncated()),
                None => return Ok(false),
                Some(Part::Manifest { .. }) => return Err(Reason::new(ErrorCode::Internal)),
                Some(Part::Piece { piece, offset, bytes }) => {
                    self.piece.reserve_exact(usize::from(piece.len) - self.piece.len());
                    self.piece.extend_from_slice(bytes);
                    if usize::from(offset) + bytes.len() == usize::from(piece.len) {
                        self.state = PieceState::Complete(piece);
                    }
                }
            }
        }
    }

    /// Verifies the piece that is here against the page above it, which is in flash already, and
    /// hands it to the store. Says whether the store has taken it, or has it from an earlier attempt.
    fn write(
        &mut self,
        flash: &[u8],
        store: &mut Store,
        id: ExtentId,
        piece: Piece,
    ) -> Result<bool, Reason> {
        let (blob, geometry) = self.module.as_ref().ok_or(Reason::new(ErrorCode::Internal))?;
        let expected = match geometry.entry(piece.number) {
            None => Some(blob.root),
            Some(entry) => store
                .stored(flash, id, entry, 32)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .map(Digest::from_bytes),
        };
        if expected != Some(Digest::of(&self.piece)) {
            let words = format_args!("piece {} is not what was signed", piece.number);
            return Err(Reason::new(ErrorCode::DigestMismatch).because(words));
        }
        if store.has(flash, id, piece.number) {
            self.state = PieceState::Filling;
            self.piece.clear();
            return Ok(true);
        }
        match store.write_piece(flash, id, piece.number, &self.piece) {
            Ok(()) => {
                self.state = PieceState::Writing;
                Ok(false)
            }
            Err(Error::Busy) => Ok(false),
            Err(error) => Err(Reason::new(ErrorCode::Flash).because(error)),
        }
    }

    /// Passes over what comes. Says whether it is the end.
    pub(super) const fn drain(&mut self) -> bool {
        self.read = self.input.len();
        self.is_passed_over = true;
        self.is_whole
    }

    /// Whether what came was not looked at, because it was here already.
    pub(super) const fn is_passed_over(&self) -> bool {
        self.is_passed_over
    }
}

fn malformed(error: capmesh_wire::bundle::BundleError) -> Reason {
    Reason::new(ErrorCode::Malformed).because(error)
}

fn truncated() -> Reason {
    Reason::new(ErrorCode::Malformed).because("the bundle ends early")
}
