//! What an extent's record says.

use crate::flash::Error;
use crate::flash::config::Config;
use capmesh_blob::Geometry as Pieces;
use capmesh_wire::{BlobRef, Digest};

/// Bytes of a record's value.
pub(in crate::flash) const RECORD_LEN: u16 = 80;

/// How much of an extent there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentState {
    /// The pieces that are marked.
    Partial = 0,
    /// Everything.
    Whole = 1,
    /// Nothing: its blob was here, and its sectors are free.
    Gone = 2,
}

impl ExtentState {
    /// The more a reader gets, the higher.
    pub(in crate::flash) const fn rank(self) -> u8 {
        match self {
            Self::Gone => 0,
            Self::Partial => 1,
            Self::Whole => 2,
        }
    }
}

/// Whose an extent is: a key of the log by which whoever allocated it finds it again. The store does
/// not look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The kind of a record.
    pub kind: u8,
    /// The id of a record.
    pub id: u32,
}

/// A run of sectors with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How much of it there is.
    pub state: ExtentState,
    /// The blob.
    pub blob: BlobRef,
    /// Whose it is.
    pub owner: Owner,
    /// Its first sector, counted from the first one for extents.
    pub first: u16,
    /// How many sectors it has.
    pub sectors: u16,
}

impl Extent {
    /// How its blob is cut.
    #[must_use]
    pub fn geometry(&self) -> Option<Pieces> {
        Pieces::new(self.blob.size, self.blob.chunk_log2).ok()
    }

    /// How many pieces its blob has.
    #[must_use]
    pub fn pieces(&self) -> u16 {
        self.geometry().map_or(0, |pieces| pieces.pieces())
    }

    /// Bytes of its blob and pages.
    pub(super) fn stored(&self) -> u32 {
        self.geometry().map_or(0, |pieces| pieces.stored_size())
    }
}

pub(super) fn encode(extent: &Extent) -> [u8; RECORD_LEN as usize] {
    let mut value = [0; RECORD_LEN as usize];
    let Extent { state, blob, owner, first, sectors } = extent;
    let state = *state as u8;
    let mut rest: &mut [u8] = &mut value;
    let mut put = |bytes: &[u8]| {
        let (place, after) = core::mem::take(&mut rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        rest = after;
    };
    put(&[state, blob.chunk_log2]);
    put(&first.to_le_bytes());
    put(&sectors.to_le_bytes());
    put(&[owner.kind, 0]);
    put(&owner.id.to_le_bytes());
    put(&blob.size.to_le_bytes());
    put(blob.digest.as_bytes());
    put(blob.root.as_bytes());
    value
}

/// Reads a record; `None` if it is none or does not fit the configuration.
pub(super) fn decode(config: &Config, value: &[u8]) -> Option<Extent> {
    let value = <&[u8; RECORD_LEN as usize]>::try_from(value).ok()?;
    let ([state, chunk_log2, a, b, c, d, kind, _], rest) = value.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (digest, root) = rest.split_first_chunk()?;
    let state = match state {
        0 => ExtentState::Partial,
        1 => ExtentState::Whole,
        2 => ExtentState::Gone,
        _ => return None,
    };
    let blob = BlobRef {
        digest: Digest::from_bytes(*digest),
        size: u32::from_le_bytes(*size),
        chunk_log2: *chunk_log2,
        root: Digest::from_bytes(root.try_into().ok()?),
    };
    let owner = Owner { kind: *kind, id: u32::from_le_bytes(*id) };
    let (first, sectors) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
    let extent = Extent { state, blob, owner, first, sectors };
    let end = first.checked_add(sectors)?;
    let fits = || end <= config.extent_sectors && needed(config, &blob).is_ok_and(|n| n <= sectors);
    (state == ExtentState::Gone || fits()).then_some(extent)
}

/// How many sectors a blob takes with its pages and marks.
pub(super) fn needed(config: &Config, blob: &BlobRef) -> Result<u16, Error> {
    let pieces = Pieces::new(blob.size, blob.chunk_log2).map_err(|_| Error::TooLarge)?;
    let geometry = &config.geometry;
    let count = u32::from(pieces.pieces());
    let marks = if geometry.rewrites { count.div_ceil(8) } else { count * geometry.unit };
    let bytes = geometry.align(pieces.stored_size()) + geometry.align(marks);
    // An empty blob has a place too.
    let sectors = bytes.div_ceil(geometry.sector).max(1);
    match u16::try_from(sectors) {
        Ok(sectors) if sectors <= config.extent_sectors => Ok(sectors),
        _ => Err(Error::TooLarge),
    }
}
