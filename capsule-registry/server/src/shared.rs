//! What CoAP, HTTP and the owner of a registry share.

use crate::http::Uploads;
use crate::oci;
use capmesh_registry_store::{Backend, Checker, Fault, Push, Pushed, Refusal, Store, Trust};
use capmesh_wire::{CapsuleName, Digest, Roster, Tag};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is shared. Nobody holds two of its locks.
pub(crate) struct Shared {
    store: Mutex<Store<Box<dyn Backend>>>,
    /// The roster that counts, verified.
    roster: RwLock<Arc<[u8]>>,
    checker: Arc<dyn Checker>,
    uploads: Mutex<Uploads>,
    /// What has to be known to change anything over HTTP.
    pub(crate) access: Access,
}

/// Who may change something over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever reaches the address.
    Everybody,
    /// Who knows this.
    Token(String),
    /// Nobody.
    Nobody,
}

impl Shared {
    pub(crate) fn new(
        store: Store<Box<dyn Backend>>,
        roster: &[u8],
        checker: Arc<dyn Checker>,
        access: Access,
    ) -> Self {
        let (store, roster) = (Mutex::new(store), RwLock::new(roster.into()));
        Self { store, roster, checker, uploads: Mutex::new(Uploads::new()), access }
    }

    /// The store. A panic elsewhere leaves it whole: every change is one transaction.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store<Box<dyn Backend>>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn roster(&self) -> Arc<[u8]> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_roster(&self, roster: &[u8]) {
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = roster.into();
    }

    /// Pushes a capsule whose blobs are here.
    pub(crate) fn push(
        &self,
        store: &mut Store<Box<dyn Backend>>,
        push: &Push<'_>,
    ) -> Result<Pushed, Refusal> {
        let roster = self.roster();
        let roster = Roster::from_trusted(&roster).map_err(Refusal::Malformed)?;
        let trust = Trust { roster: &roster, checker: &*self.checker };
        store.push(now(), trust, push)
    }

    /// Pushes a capsule with everything that belongs to it.
    pub(crate) fn push_whole(
        &self,
        name: CapsuleName<'_>,
        tag: Tag<'_>,
        manifest: &[u8],
        module: &[u8],
    ) -> Result<Pushed, Refusal> {
        let mut store = self.store();
        let document = oci::document(manifest, module);
        let manifest = store.put_blob(now(), manifest)?;
        let module = store.put_blob(now(), module)?;
        let push =
            Push { name, tag: Some(tag), manifest, module, document: &document, others: &[] };
        self.push(&mut store, &push)
    }

    /// What a document says, by a tag or by its own digest.
    pub(crate) fn document(
        &self,
        name: CapsuleName<'_>,
        reference: &Reference<'_>,
    ) -> Result<Option<(Digest, Vec<u8>)>, Fault> {
        let store = self.store();
        let digest = match reference {
            Reference::Tag(tag) => match store.resolve(name, *tag)? {
                Some(tagged) => tagged.document(),
                None => return Ok(None),
            },
            Reference::Digest(digest) => {
                let Some(capsule) = store.described(digest)? else { return Ok(None) };
                match store.capsule(&capsule)? {
                    Some(capsule) if capsule.name() == name.as_str() => *digest,
                    _ => return Ok(None),
                }
            }
        };
        Ok(store.blob(&digest)?.map(|bytes| (digest, bytes)))
    }
}

/// How a document is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    Tag(Tag<'a>),
    Digest(Digest),
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
