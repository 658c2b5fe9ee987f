//! How a blob is cut into pieces, and which piece vouches for which.
//!
//! The bytes are cut into **chunks** of 2^n bytes, the last one shorter. The SHA-256 digests of the
//! chunks, one after the other, are cut into **pages** of the same size; the digests of the pages
//! are cut into pages again, until one page is left. Its digest is the **root**, which the signed
//! manifest carries. Chunks and pages are both **pieces**, numbered from the first chunk on: all
//! chunks, then the pages above them, then the pages above those; the top page has the greatest
//! number. A blob of one chunk has no pages and its root is its digest.
//!
//! Every piece but the last of its level is full, so that piece `i` is stored at `i << n`, the blob
//! itself lies at the start in one run, and its pages behind it.
//!
//! # Why a tree of pages
//! A transfer may use 4 KB of RAM, and 1 MB in chunks of 1 KB has 32 KB of digests. With 1 KB
//! pieces, of which a page holds 32 digests:
//!
//! | | signed | fetched beside 64 KB / 1 MB | RAM while fetching 1 MB |
//! |---|---|---|---|
//! | flat list in the manifest | 2 KB / 32 KB | the same | 32 KB, or unverified bytes in flash until the list is whole |
//! | binary tree, a proof in each response | 32 B | 12 KB / 320 KB (6 / 10 digests a chunk), and responses of 1.3 KB | 32 B |
//! | pages (this) | 32 B | 2.1 KB / 33 KB (3.2 %) | 32 B for each request in flight |
//!
//! A page is one piece: it goes through the same request, the same verification and the same write
//! as a chunk, is served again from where it was written, and survives a restart as chunks do.
//! Levels need no mark to be told apart, as the signed size fixes which piece is on which.
//!
//! | chunk | digests in a page | pages beside the blob | levels above 1 MB |
//! |---|---|---|---|
//! | 256 B | 8 | 14.3 % | 4 |
//! | 512 B | 16 | 6.7 % | 3 |
//! | 1024 B | 32 | 3.2 % | 2 |
//! | 4096 B | 128 | 0.8 % | 2 |
//!
//! 1024 is the default: the largest payload of one CoAP block, thus one request and one response
//! for each piece, and it fits a datagram of 1280 bytes (IPv6's minimum) under OSCORE.

use core::fmt;
use core::ops::Range;

/// Bytes of a digest in a page.
pub const ENTRY: u16 = 32;

/// The smallest chunk, as a power of two: 256 bytes.
pub const MIN_CHUNK_LOG2: u8 = 8;

/// The largest chunk, as a power of two: 4096 bytes.
pub const MAX_CHUNK_LOG2: u8 = 12;

/// The default chunk, as a power of two: 1024 bytes.
pub const DEFAULT_CHUNK_LOG2: u8 = 10;

/// The most pieces a blob may have; the number behind them is not a piece.
pub const MAX_PIECES: u16 = u16::MAX - 1;

/// Chunks and the pages above the most pieces of the smallest chunk size.
pub(crate) const MAX_LEVELS: usize = 7;

/// Why a size and a chunk size do not make a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The chunk size is not between [`MIN_CHUNK_LOG2`] and [`MAX_CHUNK_LOG2`].
    ChunkSize,
    /// There would be more than [`MAX_PIECES`] pieces.
    TooManyPieces,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkSize => "the chunk size is not between 256 and 4096 bytes",
            Self::TooManyPieces => "the blob would have more than 65534 pieces",
        })
    }
}

impl core::error::Error for Unsupported {}

/// The pieces of a blob of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: u32,
    chunk_log2: u8,
    /// How many levels there are, the chunks included; none for an empty blob.
    levels: u8,
    /// The first piece of each level, and the end of the last one.
    starts: [u16; MAX_LEVELS + 1],
}

impl Geometry {
    /// Cuts `size` bytes into chunks of `1 << chunk_log2` bytes.
    ///
    /// # Errors
    /// If the chunk size or the number of pieces is out of bounds.
    pub fn new(size: u32, chunk_log2: u8) -> Result<Self, Unsupported> {
        if !(MIN_CHUNK_LOG2..=MAX_CHUNK_LOG2).contains(&chunk_log2) {
            return Err(Unsupported::ChunkSize);
        }
        let fan_out = 1_u32 << (chunk_log2 - 5);
        let mut geometry = Self { size, chunk_log2, levels: 0, starts: [0; MAX_LEVELS + 1] };
        let mut len = size.div_ceil(1 << chunk_log2);
        let mut end = 0_u16;
        while len > 0 {
            end = u16::try_from(len)
                .ok()
                .and_then(|len| end.checked_add(len))
                .filter(|end| *end <= MAX_PIECES)
                .ok_or(Unsupported::TooManyPieces)?;
            geometry.levels += 1;
            let start = geometry.starts.get_mut(usize::from(geometry.levels));
            *start.ok_or(Unsupported::TooManyPieces)? = end;
            len = if len == 1 { 0 } else { len.div_ceil(fan_out) };
        }
        Ok(geometry)
    }

    /// Bytes of the blob.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Bytes of every piece that is not the last of its level.
    #[must_use]
    pub const fn chunk_size(&self) -> usize {
        1 << self.chunk_log2
    }

    /// The chunk size as a power of two.
    #[must_use]
    pub const fn chunk_log2(&self) -> u8 {
        self.chunk_log2
    }

    /// How many chunks there are: pieces below this number are chunks.
    #[must_use]
    pub fn chunks(&self) -> u16 {
        self.start(1)
    }

    /// How many pieces there are, chunks and pages.
    #[must_use]
    pub fn pieces(&self) -> u16 {
        self.start(self.levels)
    }

    /// How many levels there are: the chunks are level 0, the top page is on the last one.
    #[must_use]
    pub const fn levels(&self) -> u8 {
        self.levels
    }

    /// The pieces of a level, none if there is no such level.
    #[must_use]
    pub fn level(&self, level: u8) -> Range<u16> {
        if level < self.levels { self.start(level)..self.start(level + 1) } else { 0..0 }
    }

    /// The level that a piece is on, or `None` if there is no such piece. The work is bounded by
    /// the number of levels.
    #[must_use]
    pub fn level_of(&self, piece: u16) -> Option<u8> {
        (0..self.levels).find(|level| piece < self.start(level + 1))
    }

    /// Bytes that the blob and its pages take where they are stored: the end of the last piece.
    #[must_use]
    pub fn stored_size(&self) -> u32 {
        match self.pieces().checked_sub(1) {
            Some(last) => self.offset(last) + u32::from(self.len(last)),
            None => 0,
        }
    }

    /// Where a piece is stored, in bytes from the start of the blob.
    #[must_use]
    pub fn offset(&self, piece: u16) -> u32 {
        u32::from(piece) << self.chunk_log2
    }

    /// Bytes of a piece, zero if there is no such piece.
    #[must_use]
    pub fn len(&self, piece: u16) -> u16 {
        let Some(level) = self.level_of(piece) else { return 0 };
        let level_size = match level.checked_sub(1) {
            None => self.size,
            Some(below) => u32::from(self.start(level) - self.start(below)) * u32::from(ENTRY),
        };
        let before = u32::from(piece - self.start(level)) << self.chunk_log2;
        let len = level_size.saturating_sub(before).min(1 << self.chunk_log2);
        u16::try_from(len).unwrap_or(u16::MAX)
    }

    /// Where the digest of `piece` is stored, in bytes from the start of the blob; `None` for the
    /// piece that the root vouches for, and for what is no piece.
    #[must_use]
    pub fn entry(&self, piece: u16) -> Option<u32> {
        let level = self.level_of(piece)?;
        if level + 1 == self.levels {
            return None;
        }
        let index = u32::from(piece - self.start(level));
        Some(self.offset(self.start(level + 1)) + index * u32::from(ENTRY))
    }

    /// The page that vouches for `piece`; `None` as for [`Geometry::entry`].
    #[must_use]
    pub fn parent(&self, piece: u16) -> Option<u16> {
        u16::try_from(self.entry(piece)? >> self.chunk_log2).ok()
    }

    fn start(&self, level: u8) -> u16 {
        self.starts.get(usize::from(level)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mebibyte_has_two_levels_of_pages() {
        let g = Geometry::new(1 << 20, 10).unwrap();
        assert_eq!((g.chunks(), g.pieces(), g.levels()), (1024, 1057, 3));
        assert_eq!(g.level(1), 1024..1056);
        assert_eq!(g.stored_size(), (1 << 20) + 33 * 1024);
        assert_eq!(g.parent(0), Some(1024));
        assert_eq!(g.parent(1023), Some(1055));
        assert_eq!(g.entry(1055), Some((1056 << 10) + 31 * 32));
        assert_eq!(g.entry(1056), None);
    }

    #[test]
    fn one_chunk_needs_no_page_and_nothing_needs_no_piece() {
        for size in [1, 1023, 1024] {
            let g = Geometry::new(size, 10).unwrap();
            assert_eq!((g.pieces(), g.entry(0), u32::from(g.len(0))), (1, None, size));
        }
        let empty = Geometry::new(0, 10).unwrap();
        assert_eq!((empty.pieces(), empty.levels(), empty.stored_size()), (0, 0, 0));
        assert_eq!(empty.len(0), 0);
    }

    #[test]
    fn bounds_are_refused_by_name() {
        assert_eq!(Geometry::new(1, 7), Err(Unsupported::ChunkSize));
        assert_eq!(Geometry::new(1, 13), Err(Unsupported::ChunkSize));
        assert_eq!(Geometry::new(u32::MAX, 12), Err(Unsupported::TooManyPieces));
        assert_eq!(Geometry::new(65_535 * 256, 8), Err(Unsupported::TooManyPieces));
        assert_eq!(Geometry::new(57_336 * 256, 8).unwrap().levels(), 7);
    }

    proptest! {
        /// The lengths of the pieces of each level add up to what the level holds, and each entry
        /// lies inside its parent.
        #[test]
        fn pieces_cover_their_level(size in 0_u32..3_000_000, chunk_log2 in 8_u8..=12) {
            let g = Geometry::new(size, chunk_log2).unwrap();
            let mut below = size;
            for level in 0..g.levels() {
                let pieces = g.level(level);
                let sum: u32 = pieces.clone().map(|p| u32::from(g.len(p))).sum();
                prop_assert_eq!(sum, below);
                below = u32::from(pieces.end - pieces.start) * 32;
                for piece in pieces {
                    prop_assert_eq!(g.level_of(piece), Some(level));
                    match g.entry(piece) {
                        None => prop_assert_eq!(piece, g.pieces() - 1),
                        Some(at) => {
                            let page = g.parent(piece).unwrap();
                            prop_assert_eq!(g.level_of(page), Some(level + 1));
                            prop_assert!(at + 32 <= g.offset(page) + u32::from(g.len(page)));
                        }
                    }
                }
            }
        }
    }
}
