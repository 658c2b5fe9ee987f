//! Blobs in memory, offered to nodes: the roster of a site while a node is adopted.

use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store, lay_out};
use capmesh_wire::{BlobRef, Digest};
use std::collections::BTreeMap;
use std::io;

/// Blobs with their pages, by their digests.
#[derive(Debug, Default)]
pub struct Offers(BTreeMap<[u8; Digest::LEN], Offer>);

#[derive(Debug)]
struct Offer {
    geometry: Geometry,
    /// The blob, and behind it its pages.
    stored: Vec<u8>,
}

impl Offers {
    /// Offers `bytes` in chunks of `1 << chunk_log2` bytes, and names them.
    ///
    /// # Errors
    /// If there are more bytes than a blob may have.
    pub fn add(&mut self, bytes: &[u8], chunk_log2: u8) -> io::Result<BlobRef> {
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let geometry = Geometry::new(size, chunk_log2).map_err(io::Error::other)?;
        let mut stored = bytes.to_vec();
        stored.resize(geometry.stored_size() as usize, 0);
        let blob = lay_out(&mut stored, size, chunk_log2).map_err(io::Error::other)?;
        self.0.insert(*blob.digest.as_bytes(), Offer { geometry, stored });
        Ok(blob)
    }
}

impl Store for Offers {
    fn held(&self, digest: &Digest) -> Held {
        let offer = self.0.get(digest.as_bytes());
        offer.map_or(Held::Nothing, |offer| Held::Whole(offer.geometry))
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        self.0.get(digest.as_bytes()).is_some_and(|offer| piece < offer.geometry.pieces())
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let offer = self.0.get(digest.as_bytes()).ok_or(ReadError::Failed)?;
        let at = offset as usize;
        let bytes = at.checked_add(buf.len()).and_then(|end| offer.stored.get(at..end));
        buf.copy_from_slice(bytes.ok_or(ReadError::Failed)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_can_be_read_whole() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let mut offers = Offers::default();
        let blob = offers.add(&bytes, 8).unwrap();
        assert_eq!(blob.digest, Digest::of(&bytes));
        let Held::Whole(geometry) = offers.held(&blob.digest) else { panic!("not held") };
        let mut read = vec![0; bytes.len()];
        offers.read(&blob.digest, 0, &mut read).unwrap();
        assert_eq!(read, bytes);
        let end = geometry.stored_size();
        assert_eq!(offers.read(&blob.digest, end - 4, &mut [0; 5]), Err(ReadError::Failed));
        assert!(matches!(offers.held(&Digest::of(b"another")), Held::Nothing));
    }
}
