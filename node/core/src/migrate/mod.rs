//! The state of an instance on its way: as a snapshot, offered to others, and fetched from them.

mod fetch;

pub(crate) use fetch::Restoring;

use alloc::vec;
use alloc::vec::Vec;
use capmesh_blob::serve::{Held, ReadError, Store};
use capmesh_blob::{Geometry, lay_out};
use capmesh_wire::cbor::{self, List, Writer};
use capmesh_wire::snapshot::{Header, Section, SectionKind, Snapshot};
use capmesh_wire::{BlobRef, Digest, Instant};

/// The chunks that snapshots travel in: what every node can take.
const CHUNK_LOG2: u8 = 10;

/// The longest header: its lists are bounded.
const HEADER: usize = 3 << 10;

/// What a snapshot consists of beside its header.
///
/// The order of the sections tells what a state is good for: one that moves, which is the last that
/// its instance had in its epoch, begins with its inbox. One that does not begins with the runtime's
/// section, and has an inbox only if something in it was acknowledged and not handled.
pub(crate) struct Sections<'a> {
    pub(crate) moves: bool,
    pub(crate) runtime: &'a [u8],
    pub(crate) inbox: &'a [u8],
    pub(crate) outbox: &'a [u8],
}

/// Whether a state is the last that its instance had in its epoch.
pub(crate) fn is_last(state: &Snapshot<'_>) -> bool {
    state.sections().next().is_some_and(|(kind, _)| kind == SectionKind::Inbox)
}

/// Writes a snapshot of at most `limit` bytes; `None` if it is longer. The list of sections in
/// `header` is made here.
pub(crate) fn write(header: &Header<'_>, parts: &Sections<'_>, limit: usize) -> Option<Vec<u8>> {
    let runtime = (SectionKind::Runtime, parts.runtime);
    let (inbox, outbox) = ((SectionKind::Inbox, parts.inbox), (SectionKind::Outbox, parts.outbox));
    let bodies = if parts.moves { [inbox, runtime, outbox] } else { [runtime, outbox, inbox] };
    let left_out = usize::from(!parts.moves && parts.inbox.is_empty());
    let bodies = bodies.get(..bodies.len() - left_out)?;
    let mut sections = Vec::with_capacity(bodies.len());
    for (kind, body) in bodies {
        sections.push(Section { kind: *kind, len: u32::try_from(body.len()).ok()? });
    }
    let header = Header { sections: List::new(&sections).ok()?, ..*header };
    let mut out = vec![0; HEADER];
    let mut writer = Writer::new(&mut out);
    cbor::Encode::write(&header, &mut writer);
    let len = writer.finish().ok()?;
    let total = bodies.iter().try_fold(len, |sum, (_, body)| sum.checked_add(body.len()))?;
    if total > limit {
        return None;
    }
    out.truncate(len);
    out.reserve_exact(total - len);
    bodies.iter().for_each(|(_, body)| out.extend_from_slice(body));
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
        let blob = lay_out(&mut stored, size, CHUNK_LOG2).ok()?;
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
