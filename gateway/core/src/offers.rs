//! Blobs that the gateway offers to nodes: the roster while a node is adopted, states that go on
//! elsewhere.

use capmesh_blob::serve::{Held, ReadError, Store};
use capmesh_blob::{Geometry, lay_out};
use capmesh_wire::{BlobRef, Digest};
use std::collections::BTreeMap;

/// Chunks that every node can take: 1 KB.
const CHUNK_LOG2: u8 = 10;

/// Blobs with their pages, by their digests.
#[derive(Debug, Default)]
pub(crate) struct Offers(BTreeMap<[u8; Digest::LEN], Offer>);

#[derive(Debug)]
struct Offer {
    blob: BlobRef,
    geometry: Geometry,
    /// The blob, and behind it its pages.
    stored: Vec<u8>,
    /// Whether those may have it who have not said who they are.
    public: bool,
    /// How many want it offered.
    wanted: u32,
}

impl Offers {
    /// Offers `bytes`, until it is taken back as often as it was offered. `None` if they are more than a
    /// blob may have.
    pub(crate) fn add(&mut self, bytes: &[u8], public: bool) -> Option<BlobRef> {
        let digest = Digest::of(bytes);
        if let Some(offer) = self.0.get_mut(digest.as_bytes()) {
            offer.wanted += 1;
            offer.public |= public;
            return Some(offer.blob);
        }
        let size = u32::try_from(bytes.len()).ok()?;
        let geometry = Geometry::new(size, CHUNK_LOG2).ok()?;
        let mut stored = bytes.to_vec();
        stored.resize(usize::try_from(geometry.stored_size()).ok()?, 0);
        let blob = lay_out(&mut stored, size, CHUNK_LOG2).ok()?;
        let offer = Offer { blob, geometry, stored, public, wanted: 1 };
        self.0.insert(*digest.as_bytes(), offer);
        Some(blob)
    }

    /// Takes an offer back.
    pub(crate) fn remove(&mut self, digest: &Digest) {
        let Some(offer) = self.0.get_mut(digest.as_bytes()) else { return };
        offer.wanted = offer.wanted.saturating_sub(1);
        if offer.wanted == 0 {
            self.0.remove(digest.as_bytes());
        }
    }

    /// What there is for members of the site, or for everybody.
    pub(crate) const fn shown(&self, to_member: bool) -> Shown<'_> {
        Shown { offers: self, to_member }
    }
}

/// Offers, as somebody may see them.
pub(crate) struct Shown<'a> {
    offers: &'a Offers,
    to_member: bool,
}

impl Shown<'_> {
    fn find(&self, digest: &Digest) -> Option<&Offer> {
        self.offers.0.get(digest.as_bytes()).filter(|offer| offer.public || self.to_member)
    }
}

impl Store for Shown<'_> {
    fn held(&self, digest: &Digest) -> Held {
        self.find(digest).map_or(Held::Nothing, |offer| Held::Whole(offer.geometry))
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        self.find(digest).is_some_and(|offer| piece < offer.geometry.pieces())
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let at = usize::try_from(offset).map_err(|_| ReadError::Failed)?;
        let stored = &self.find(digest).ok_or(ReadError::Failed)?.stored;
        let bytes = at.checked_add(buf.len()).and_then(|end| stored.get(at..end));
        buf.copy_from_slice(bytes.ok_or(ReadError::Failed)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_lasts_until_nobody_wants_it() {
        let bytes: Vec<u8> = (0..3_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut offers = Offers::default();
        let blob = offers.add(&bytes, false).unwrap();
        assert_eq!(offers.add(&bytes, false), Some(blob));
        offers.remove(&blob.digest);
        let mut read = vec![0; bytes.len()];
        offers.shown(true).read(&blob.digest, 0, &mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(matches!(offers.shown(false).held(&blob.digest), Held::Nothing));
        offers.remove(&blob.digest);
        assert!(matches!(offers.shown(true).held(&blob.digest), Held::Nothing));
    }
}
