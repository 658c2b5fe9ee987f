//! A board, and a shelf with the capsules of somebody who serves them.

use super::capsules::Made;
use crate::install::Board;
use crate::problem::Reason;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry as Pieces, Store as BlobStore};
use capmesh_wire::{Digest, ErrorCode, Manifest};
use std::collections::BTreeMap;
use std::vec::Vec;

/// A board with so much RAM, whose host refuses modules that begin with a zero.
pub(crate) struct SmallBoard {
    pub(crate) ram: u32,
    /// What instances are of.
    pub(crate) used: Vec<Digest>,
}

impl Board for SmallBoard {
    fn fits(&self, manifest: &Manifest<'_>) -> Result<(), Reason> {
        let needs = manifest.capsule.needs.ram;
        if needs > self.ram {
            let words = format_args!("it needs {needs} of {} bytes of RAM", self.ram);
            return Err(Reason::new(ErrorCode::NoRam).because(words));
        }
        Ok(())
    }

    fn admit(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), Reason> {
        assert_eq!(Digest::of(module), manifest.module_digest, "admission comes last");
        match module.first() {
            Some(0) => Err(Reason::new(ErrorCode::InvalidModule).because("imports env.fork")),
            _ => Ok(()),
        }
    }

    fn uses(&self, digest: &Digest) -> bool {
        self.used.contains(digest)
    }
}

/// Blobs that a party gives out, beside what its flash holds: a registry's, or a liar's.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    blobs: BTreeMap<Digest, (Pieces, Vec<u8>)>,
}

impl Shelf {
    pub(crate) fn put(&mut self, digest: Digest, pieces: Pieces, stored: Vec<u8>) {
        self.blobs.insert(digest, (pieces, stored));
    }

    pub(crate) fn document(&mut self, digest: Digest, bytes: Vec<u8>) {
        let pieces = Pieces::new(bytes.len() as u32, 11).unwrap();
        self.put(digest, pieces, bytes);
    }

    pub(crate) fn capsule(&mut self, made: &Made) {
        self.document(made.digest(), made.envelope.clone());
        self.put(made.module.digest, made.pieces, made.stored.clone());
    }
}

impl BlobStore for Shelf {
    fn held(&self, digest: &Digest) -> Held {
        self.blobs.get(digest).map_or(Held::Nothing, |(pieces, _)| Held::Whole(*pieces))
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        self.blobs.contains_key(digest)
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let (_, stored) = self.blobs.get(digest).ok_or(ReadError::Failed)?;
        buf.copy_from_slice(&stored[offset as usize..][..buf.len()]);
        Ok(())
    }
}
