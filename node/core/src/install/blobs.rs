//! What a node has to give to its peers: manifests, modules, and the other blobs in its flash.

use super::Install;
use crate::download::CHUNK_LOG2;
use crate::flash::Store;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store as BlobStore};
use capmesh_wire::Digest;

/// The blobs of a node, for [`BlobResource`](capmesh_transfer::BlobResource).
///
/// A capsule's manifest is given out as soon as it is verified, so that a neighbour can fetch the
/// pieces of the module from here while they arrive.
pub struct Blobs<'a> {
    install: &'a Install,
    store: &'a Store,
    flash: &'a [u8],
    others: Option<&'a dyn BlobStore>,
}

impl<'a> Blobs<'a> {
    /// For one turn of the server.
    #[must_use]
    pub const fn new(install: &'a Install, store: &'a Store, flash: &'a [u8]) -> Self {
        Self { install, store, flash, others: None }
    }

    /// Looks for blobs there first: for snapshots that are no extents.
    #[must_use]
    pub const fn beside(mut self, others: &'a dyn BlobStore) -> Self {
        self.others = Some(others);
        self
    }

    /// The others, if the blob is there.
    fn other(&self, digest: &Digest) -> Option<&'a dyn BlobStore> {
        self.others.filter(|others| others.held(digest) != Held::Nothing)
    }

    fn manifest(&self, digest: &Digest) -> Option<&'a [u8]> {
        self.install.slots.find(digest)?.envelope(self.flash, self.store)
    }
}

impl BlobStore for Blobs<'_> {
    fn held(&self, digest: &Digest) -> Held {
        if let Some(others) = self.other(digest) {
            return others.held(digest);
        }
        match self.manifest(digest) {
            Some(envelope) => {
                let size = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
                Geometry::new(size, CHUNK_LOG2).map_or(Held::Nothing, Held::Whole)
            }
            None => self.store.served(self.flash).held(digest),
        }
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        if let Some(others) = self.other(digest) {
            return others.has(digest, piece);
        }
        self.manifest(digest).is_some() || self.store.served(self.flash).has(digest, piece)
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        if let Some(others) = self.other(digest) {
            return others.read(digest, offset, buf);
        }
        let Some(envelope) = self.manifest(digest) else {
            return self.store.served(self.flash).read(digest, offset, buf);
        };
        let start = usize::try_from(offset).map_err(|_| ReadError::Failed)?;
        let end = start.checked_add(buf.len()).ok_or(ReadError::Failed)?;
        buf.copy_from_slice(envelope.get(start..end).ok_or(ReadError::Failed)?);
        Ok(())
    }
}
