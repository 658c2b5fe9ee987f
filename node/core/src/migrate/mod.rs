//! The state of an instance on its way: as a snapshot, offered to others, and fetched from them.

mod fetch;

pub(crate) use fetch::Restoring;

use alloc::vec;
use alloc::vec::Vec;
use capmesh_blob::serve::{Held, ReadError, Store};
use capmesh_blob::{Geometry, Pages};
use capmesh_wire::cbor::{self, List, Writer};
use capmesh_wire::snapshot::{Header, Section, SectionKind};
use capmesh_wire::{BlobRef, Digest, Instant};

/// The chunks that snapshots travel in: what every node can take.
const CHUNK_LOG2: u8 = 10;

/// The longest header: its lists are bounded.
const HEADER: usize = 3 << 10;

/// Sections of a snapshot, in their order: bytes, or `None` for a section that is left out.
pub(crate) struct Sections<'a> {
    pub(crate) runtime: &'a [u8],
    /// Only where the state moves: what is not handled is not acknowledged otherwise, and comes
    /// again.
    pub(crate) inbox: Option<&'a [u8]>,
    pub(crate) outbox: &'a [u8],
}

/// Writes a snapshot of at most `limit` bytes; `None` if it is longer. The list of sections in
/// `header` is made here.
pub(crate) fn write(header: &Header<'_>, parts: &Sections<'_>, limit: usize) -> Option<Vec<u8>> {
    let section =
        |kind, bytes: &[u8]| u32::try_from(bytes.len()).ok().map(|len| Section { kind, len });
    let runtime = section(SectionKind::Runtime, parts.runtime)?;
    let outbox = section(SectionKind::Outbox, parts.outbox)?;
    let inbox = section(SectionKind::Inbox, parts.inbox.unwrap_or_default())?;
    let all = [runtime, outbox, inbox];
    let list = if parts.inbox.is_some() { &all[..] } else { all.get(..2)? };
    let header = Header { sections: List::new(list).ok()?, ..*header };
    let mut out = vec![0; HEADER];
    let mut writer = Writer::new(&mut out);
    cbor::Encode::write(&header, &mut writer);
    let len = writer.finish().ok()?;
    let bodies = [parts.runtime, parts.outbox, parts.inbox.unwrap_or_default()];
    let total = bodies.iter().try_fold(len, |sum, body| sum.checked_add(body.len()))?;
    if total > limit {
        return None;
    }
    out.truncate(len);
    out.reserve_exact(total - len);
    bodies.iter().for_each(|body| out.extend_from_slice(body));
    out.shrink_to_fit();
    Some(out)
}

/// A snapshot that others may fetch: a blob in RAM, with its pages.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) blob: BlobRef,
    geometry: Geometry,
    /// The blob and its pages as they are numbered.
    stored: Vec<u8>,
    /// Until when, if not for as long as the instance waits.
    pub(crate) until: Option<Instant>,
}

impl Offer {
    /// Offers `snapshot`. `None` if it is longer than a blob may be.
    pub(crate) fn new(snapshot: &[u8], until: Option<Instant>) -> Option<Self> {
        let size = u32::try_from(snapshot.len()).ok()?;
        let geometry = Geometry::new(size, CHUNK_LOG2).ok()?;
        let mut stored = vec![0; usize::try_from(geometry.stored_size()).ok()?];
        stored.get_mut(..snapshot.len())?.copy_from_slice(snapshot);
        let mut pages = Pages::new(size, CHUNK_LOG2).ok()?;
        for chunk in snapshot.chunks(geometry.chunk_size()) {
            for entry in pages.push(chunk).ok()? {
                let at = usize::try_from(entry.offset).ok()?;
                stored.get_mut(at..at + Digest::LEN)?.copy_from_slice(entry.digest.as_bytes());
            }
        }
        let blob = pages.finish().ok()?;
        Some(Self { blob, geometry, stored, until })
    }
}

/// The snapshots that a node's instances offer, for its peers.
pub(crate) struct Offers<'a>(pub(crate) Vec<&'a Offer>);

impl Offers<'_> {
    fn find(&self, digest: &Digest) -> Option<&Offer> {
        self.0.iter().find(|offer| offer.blob.digest == *digest).copied()
    }
}

impl Store for Offers<'_> {
    fn held(&self, digest: &Digest) -> Held {
        self.find(digest).map_or(Held::Nothing, |offer| Held::Whole(offer.geometry))
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        self.find(digest).is_some()
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let start = usize::try_from(offset).map_err(|_| ReadError::Failed)?;
        let bytes = self.find(digest).and_then(|offer| offer.stored.get(start..));
        let bytes = bytes.and_then(|rest| rest.get(..buf.len())).ok_or(ReadError::Failed)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}
