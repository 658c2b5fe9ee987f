//! Extents as what is served to peers.

use super::{Extent, ExtentState};
use crate::flash::Store;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_wire::Digest;

/// The blobs of a store.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    store: &'a Store,
    flash: &'a [u8],
}

impl<'a> Served<'a> {
    pub(in crate::flash) const fn new(store: &'a Store, flash: &'a [u8]) -> Self {
        Self { store, flash }
    }

    fn find(&self, digest: &Digest) -> Option<Extent> {
        self.store.find(self.flash, digest).map(|(_, extent)| extent)
    }
}

impl capmesh_blob::Store for Served<'_> {
    fn held(&self, digest: &Digest) -> Held {
        let Some(extent) = self.find(digest) else { return Held::Nothing };
        match (extent.state, extent.geometry()) {
            (ExtentState::Gone, _) => Held::Gone,
            (ExtentState::Partial, Some(geometry)) => Held::Part(geometry),
            (ExtentState::Whole, Some(geometry)) => Held::Whole(geometry),
            (_, None) => Held::Nothing,
        }
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        let found = self.find(digest);
        found.is_some_and(|extent| self.store.extents.has(self.flash, &extent, piece))
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let extent = self.find(digest).ok_or(ReadError::Failed)?;
        let len = crate::flash::narrow(buf.len());
        let bytes = self.store.extents.slice(self.flash, &extent, offset, len);
        buf.copy_from_slice(bytes.ok_or(ReadError::Failed)?);
        Ok(())
    }
}
