//! A store as a shelf.

use super::{Shelf, Unavailable};
use capmesh_blob::serve::{Held, ReadError};
use capmesh_registry_store::{Backend, Store};
use capmesh_session::Member;
use capmesh_wire::registry::Resolved;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, Digest, Revision, Role};
use std::cell::RefCell;

const DAY: u64 = 24 * 60 * 60;

/// Days for which a capsule is kept that a gateway has asked for by its tag, whatever becomes of the
/// tag. The end of a lease is the end of a day, so that it is written once a day at most.
pub const LEASE_DAYS: u64 = 30;

/// A store, lent to a [`Registry`](super::Registry) for one call. What a gateway resolves is leased to
/// it.
#[derive(Debug)]
pub struct Lent<'a, B: Backend> {
    store: RefCell<&'a mut Store<B>>,
    /// Seconds since 1970.
    unix: u64,
}

impl<'a, B: Backend> Lent<'a, B> {
    /// Lends `store`; it is so many seconds since 1970.
    pub const fn new(store: &'a mut Store<B>, unix: u64) -> Self {
        Self { store: RefCell::new(store), unix }
    }
}

impl<B: Backend> capmesh_blob::Store for Lent<'_, B> {
    fn held(&self, digest: &Digest) -> Held {
        self.store.borrow().held(digest)
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        self.store.borrow().has(digest, piece)
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        self.store.borrow().read(digest, offset, buf)
    }
}

impl<B: Backend> Shelf for Lent<'_, B> {
    fn resolve(
        &self,
        asker: Member,
        reference: &CapsuleRef<'_>,
    ) -> Result<Option<Resolved>, Unavailable> {
        let mut store = self.store.borrow_mut();
        let resolved = match reference.version {
            CapsuleVersion::Tag(tag) => {
                let tagged = store.resolve(reference.name, tag).map_err(|_| Unavailable)?;
                tagged.map(|tagged| (tagged.capsule(), tagged.revision()))
            }
            CapsuleVersion::Digest(digest) => {
                let capsule = store.capsule(&digest).map_err(|_| Unavailable)?;
                let capsule = capsule.filter(|capsule| capsule.name() == reference.name.as_str());
                capsule.map(|_| (digest, Revision(0)))
            }
        };
        let Some((capsule, revision)) = resolved else { return Ok(None) };
        if asker.role == Role::Gateway {
            let until = (self.unix / DAY + 1 + LEASE_DAYS) * DAY;
            // Without a lease the capsule may be collected when its tag has moved: that is no reason
            // not to say what it stands for today.
            let _ = store.lease(&capsule, asker.id.as_bytes(), until);
        }
        Ok(Some(Resolved { capsule, revision }))
    }
}
