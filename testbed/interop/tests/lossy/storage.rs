//! Where blobs lie: whole at one side, coming about in flash at the other.

use capmesh_blob::fetch::Input;
use capmesh_blob::serve::{Held, ReadError, Store};
use capmesh_blob::{Geometry, Pages};
use capmesh_coap::test_util::Dice;
use capmesh_session::Peer;
use capmesh_transfer::Fetcher;
use capmesh_wire::{BlobRef, Digest, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// A blob with its pages.
pub(crate) struct Stored {
    pub(crate) blob: BlobRef,
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Stored {
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut bytes: Vec<u8> = (0..size).map(|_| dice.roll().to_le_bytes()[0]).collect();
        let size = u32::try_from(size).unwrap();
        let geometry = Geometry::new(size, 10).unwrap();
        let mut pages = Pages::new(size, 10).unwrap();
        let entries: Vec<_> =
            bytes.chunks(1024).flat_map(|chunk| pages.push(chunk).unwrap()).collect();
        bytes.resize(geometry.stored_size() as usize, 0xff);
        for entry in entries {
            bytes[entry.offset as usize..][..32].copy_from_slice(entry.digest.as_bytes());
        }
        Self { blob: pages.finish().unwrap(), geometry, bytes }
    }

    fn at(&self, offset: u32, len: usize) -> &[u8] {
        &self.bytes[offset as usize..][..len]
    }
}

impl Store for Stored {
    fn held(&self, digest: &Digest) -> Held {
        if *digest == self.blob.digest { Held::Whole(self.geometry) } else { Held::Nothing }
    }

    fn has(&self, _: &Digest, _: u16) -> bool {
        true
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        buf.copy_from_slice(self.at(offset, buf.len()));
        Ok(())
    }
}

/// Flash that takes its time, and the record of what was written to it.
pub(crate) struct Flash {
    bytes: Vec<u8>,
    journal: BTreeSet<u16>,
    under_way: BTreeMap<(Instant, u32), Job>,
    order: u32,
}

enum Job {
    Write { piece: u16, offset: u32, bytes: Vec<u8> },
    Read { offset: u32, len: u16 },
}

impl Flash {
    /// Erased flash, for this blob.
    pub(crate) fn erased(stored: &Stored) -> Self {
        Self {
            bytes: vec![0xff; stored.bytes.len()],
            journal: BTreeSet::new(),
            under_way: BTreeMap::new(),
            order: 0,
        }
    }

    pub(crate) fn journal(&self) -> impl Iterator<Item = u16> {
        self.journal.iter().copied()
    }

    /// Whether it holds the blob, byte for byte.
    pub(crate) fn holds(&self, stored: &Stored) -> bool {
        let size = stored.blob.size as usize;
        self.bytes[..size] == stored.bytes[..size]
    }

    pub(crate) fn write(&mut self, at: Instant, piece: u16, offset: u32, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.order += 1;
        self.under_way.insert((at, self.order), Job::Write { piece, offset, bytes });
    }

    pub(crate) fn read(&mut self, at: Instant, offset: u32, len: u16) {
        self.order += 1;
        self.under_way.insert((at, self.order), Job::Read { offset, len });
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// Finishes a job that is due. Says whether there was one.
    pub(crate) fn work(
        &mut self,
        now: Instant,
        stored: &Stored,
        fetcher: &mut Fetcher<Peer>,
    ) -> bool {
        let Some(job) = self.under_way.first_entry().filter(|job| job.key().0 <= now) else {
            return false;
        };
        match job.remove() {
            Job::Write { piece, offset, bytes } => {
                assert_eq!(bytes, stored.at(offset, bytes.len()), "unverified bytes");
                self.bytes[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                self.journal.insert(piece);
                fetcher.handle(now, Input::Written { piece });
            }
            Job::Read { offset, len } => {
                let bytes = &self.bytes[offset as usize..][..usize::from(len)];
                fetcher.handle(now, Input::Read { offset, bytes });
            }
        }
        true
    }

    /// Leaves what was being written half written.
    pub(crate) fn lose_power(&mut self, dice: &mut Dice) {
        for job in std::mem::take(&mut self.under_way).into_values() {
            if let Job::Write { offset, bytes, .. } = job {
                let torn = usize::try_from(dice.within(0..bytes.len() as u64)).unwrap();
                self.bytes[offset as usize..][..torn].copy_from_slice(&bytes[..torn]);
            }
        }
    }
}
