//! Capsules as a publisher hands them out.

use super::documents::{PUBLISHER, key};
use capmesh_blob::{Geometry as Pieces, lay_out};
use capmesh_wire::bundle::{self, Pieces as BundlePieces};
use capmesh_wire::manifest::{Capsule, Needs};
use capmesh_wire::{BlobRef, CapsuleName, Digest, Manifest, Tag};
use std::vec::Vec;

/// A capsule: what its publisher has made of a module.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) envelope: Vec<u8>,
    pub(crate) module: BlobRef,
    pub(crate) pieces: Pieces,
    /// The module with its pages behind it.
    pub(crate) stored: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) sequence: u64,
    pub(crate) size: usize,
    pub(crate) chunk_log2: u8,
    pub(crate) ram: u32,
    pub(crate) signer: u8,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "city/clean",
            sequence: 7,
            size: 5_000,
            chunk_log2: 10,
            ram: 5_000,
            signer: PUBLISHER,
        }
    }
}

impl Recipe {
    pub(crate) fn make(self) -> Made {
        let content: Vec<u8> =
            (0..self.size).map(|i| (i * 31 % 251) as u8 ^ self.sequence as u8).collect();
        self.make_of(&content)
    }

    pub(crate) fn make_of(self, content: &[u8]) -> Made {
        let pieces = Pieces::new(content.len() as u32, self.chunk_log2).unwrap();
        let mut stored = content.to_vec();
        stored.resize(pieces.stored_size() as usize, 0);
        let module = lay_out(&mut stored, content.len() as u32, self.chunk_log2).unwrap();
        self.sign(module, module.digest, pieces, stored)
    }

    /// The same with another digest of the module, signed by a publisher who lies.
    pub(crate) fn make_signed(self, made: Made, digest: Digest) -> Made {
        let module = BlobRef { digest, ..made.module };
        self.sign(module, digest, made.pieces, made.stored)
    }

    fn sign(self, module: BlobRef, digest: Digest, pieces: Pieces, stored: Vec<u8>) -> Made {
        let manifest = Manifest {
            sequence: self.sequence,
            name: CapsuleName::new(self.name).unwrap(),
            module_digest: digest,
            module_size: module.size,
            uri: None,
            capsule: Capsule::bare(
                Tag::new("1.0.0").unwrap(),
                1,
                self.chunk_log2,
                module.root,
                Needs {
                    memory: 1_024,
                    ram: self.ram,
                    fuel_per_second: 1_000,
                    fuel_per_handler: 1_000,
                    outbox_bytes: 64,
                    outbox_entries: 2,
                    timers: 1,
                    table_elements: 0,
                },
            ),
        };
        let mut buf = [0; 2_048];
        let len = manifest.sign(&key(self.signer), &mut buf).unwrap();
        Made { envelope: buf[..len].to_vec(), module, pieces, stored }
    }
}

impl Made {
    pub(crate) fn digest(&self) -> Digest {
        Manifest::digest(&self.envelope)
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.stored[..self.module.size as usize]
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        let mut file = bundle::head(self.envelope.len()).unwrap().to_vec();
        file.extend(&self.envelope);
        for piece in BundlePieces::of(&self.module).unwrap() {
            let at = self.pieces.offset(piece.number) as usize;
            file.extend(&self.stored[at..][..usize::from(piece.len)]);
        }
        file
    }
}
