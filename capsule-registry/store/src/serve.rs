//! What is here for nodes: manifests and modules of admitted capsules, piece by piece.

use crate::backend::{Backend, Table};
use crate::store::Store;
use capmesh_blob::Geometry;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_wire::Digest;

/// A manifest is one piece: it is fetched by its digest alone.
pub(crate) const MANIFEST_LOG2: u8 = 11;

const _: () = assert!(1 << MANIFEST_LOG2 == capmesh_wire::limits::MANIFEST);

impl<B: Backend> capmesh_blob::Store for Store<B> {
    fn held(&self, digest: &Digest) -> Held {
        let info = self.info(digest).ok().flatten();
        let geometry = info.and_then(|info| Geometry::new(info.size, info.chunk_log2?).ok());
        geometry.map_or(Held::Nothing, Held::Whole)
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        matches!(self.held(digest), Held::Whole(geometry) if piece < geometry.pieces())
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let info = self.info(digest).ok().flatten().ok_or(ReadError::Failed)?;
        // A piece is of the blob or of its pages, never of both.
        let (table, at) = match offset.checked_sub(info.size) {
            None => (Table::Bytes, offset),
            Some(behind) => (Table::Pages, behind),
        };
        match self.backend().read(table, digest.as_bytes(), at, buf) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(ReadError::Failed),
        }
    }
}
