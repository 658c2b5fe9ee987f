//! Blobs for tests.

use crate::geometry::Geometry;
use crate::pages::lay_out;
use capmesh_wire::BlobRef;
use std::vec::Vec;

/// A blob with its pages, as a peer stores it.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) blob: BlobRef,
    pub(crate) geometry: Geometry,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    pub(crate) fn new(content: &[u8], chunk_log2: u8) -> Self {
        let size = u32::try_from(content.len()).unwrap();
        let geometry = Geometry::new(size, chunk_log2).unwrap();
        let mut bytes = content.to_vec();
        bytes.resize(geometry.stored_size() as usize, 0);
        let blob = lay_out(&mut bytes, size, chunk_log2).unwrap();
        Self { blob, geometry, bytes }
    }

    /// Whether `flash` holds the same pieces; what lies between them does not matter.
    pub(crate) fn is_in(&self, flash: &[u8]) -> bool {
        (0..self.geometry.pieces()).all(|piece| {
            let at = self.geometry.offset(piece) as usize;
            flash[at..][..usize::from(self.geometry.len(piece))] == *self.piece(piece)
        })
    }

    pub(crate) fn piece(&self, piece: u16) -> &[u8] {
        &self.bytes[self.geometry.offset(piece) as usize..][..usize::from(self.geometry.len(piece))]
    }
}

/// `len` bytes that do not repeat.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next().to_le_bytes()[3]).collect()
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
