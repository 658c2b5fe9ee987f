//! Making the pages of a blob: by whoever publishes one, be it a module on a host or a snapshot on
//! a node.

use crate::geometry::{Geometry, MAX_LEVELS, Unsupported};
use capmesh_wire::digest::Hasher;
use capmesh_wire::{BlobRef, Digest};
use core::fmt;
use heapless::Vec;

/// A digest that belongs in a page: 32 bytes to be stored at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes from the start of the stored blob.
    pub offset: u32,
    /// What to store there.
    pub digest: Digest,
}

/// What one chunk completes: its own entry, and one for each page that it fills.
pub type Entries = Vec<Entry, { MAX_LEVELS - 1 }>;

/// The chunks given to [`Pages`] are not those of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongChunk {
    /// A chunk is longer or shorter than its place in the blob.
    Length,
    /// There were too few.
    Missing,
}

impl fmt::Display for WrongChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a chunk is longer or shorter than its place in the blob",
            Self::Missing => "there are fewer chunks than the blob has",
        })
    }
}

impl core::error::Error for WrongChunk {}

/// Computes the pages of a blob from its chunks, one after the other, without holding a page: 0.9 KB
/// of RAM whatever the size. Each digest is given out as soon as it is known, to be stored where a
/// page wants it.
#[derive(Clone, Debug)]
pub struct Pages {
    geometry: Geometry,
    /// How many chunks have been taken.
    taken: u16,
    whole: Hasher,
    /// The page that is being filled, on each level above the chunks.
    pages: [Hasher; MAX_LEVELS - 1],
    root: Option<Digest>,
}

impl Pages {
    /// For a blob of `size` bytes in chunks of `1 << chunk_log2`.
    ///
    /// # Errors
    /// As [`Geometry::new`].
    pub fn new(size: u32, chunk_log2: u8) -> Result<Self, Unsupported> {
        Ok(Self {
            geometry: Geometry::new(size, chunk_log2)?,
            taken: 0,
            whole: Hasher::new(),
            pages: core::array::from_fn(|_| Hasher::new()),
            root: None,
        })
    }

    /// Takes the next chunk. The work is bounded by one digest over it and one over 64 bytes for
    /// each level.
    ///
    /// # Errors
    /// If it has not the length of the next chunk. Nothing is changed then.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Entries, WrongChunk> {
        let mut piece = self.taken;
        if piece >= self.geometry.chunks() || chunk.len() != usize::from(self.geometry.len(piece)) {
            return Err(WrongChunk::Length);
        }
        self.taken += 1;
        self.whole.update(chunk);
        let mut digest = Digest::of(chunk);
        let mut entries = Entries::new();
        for page in &mut self.pages {
            let (Some(offset), Some(parent)) =
                (self.geometry.entry(piece), self.geometry.parent(piece))
            else {
                break;
            };
            // There are as many entries as levels at most, so that this one has room.
            let _ = entries.push(Entry { offset, digest });
            page.update(digest.as_bytes());
            let end = self.geometry.offset(parent) + u32::from(self.geometry.len(parent));
            if offset + u32::from(crate::geometry::ENTRY) < end {
                return Ok(entries);
            }
            digest = core::mem::take(page).finish();
            piece = parent;
        }
        self.root = Some(digest);
        Ok(entries)
    }

    /// What names the blob, once every chunk has been taken.
    ///
    /// # Errors
    /// [`WrongChunk::Missing`].
    pub fn finish(self) -> Result<BlobRef, WrongChunk> {
        if self.taken < self.geometry.chunks() {
            return Err(WrongChunk::Missing);
        }
        let digest = self.whole.finish();
        Ok(BlobRef {
            digest,
            size: self.geometry.size(),
            chunk_log2: self.geometry.chunk_log2(),
            root: self.root.unwrap_or(digest),
        })
    }
}

/// Writes the pages of a blob behind it: `stored` has the blob in its first `size` bytes and is
/// [`Geometry::stored_size`] bytes long. What lies between pieces is not touched.
///
/// # Errors
/// If the size and the length of a chunk do not make a blob, or `stored` is not as long as that.
pub fn lay_out(stored: &mut [u8], size: u32, chunk_log2: u8) -> Result<BlobRef, LayOutError> {
    let mut pages = Pages::new(size, chunk_log2)?;
    let geometry = pages.geometry;
    if u32::try_from(stored.len()) != Ok(geometry.stored_size()) {
        return Err(LayOutError::Length);
    }
    for piece in 0..geometry.chunks() {
        let start = usize::try_from(geometry.offset(piece)).map_err(|_| LayOutError::Length)?;
        let end = start + usize::from(geometry.len(piece));
        let chunk = stored.get(start..end).ok_or(LayOutError::Length)?;
        for entry in pages.push(chunk).map_err(|_| LayOutError::Length)? {
            let at = usize::try_from(entry.offset).map_err(|_| LayOutError::Length)?;
            let place = stored.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
            *place.ok_or(LayOutError::Length)? = *entry.digest.as_bytes();
        }
    }
    pages.finish().map_err(|_| LayOutError::Length)
}

/// Why pages were not laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayOutError {
    /// There is no such blob.
    Unsupported(Unsupported),
    /// The place is longer or shorter than a blob of this size with its pages.
    Length,
}

impl From<Unsupported> for LayOutError {
    fn from(error: Unsupported) -> Self {
        Self::Unsupported(error)
    }
}

impl fmt::Display for LayOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(error) => error.fmt(f),
            Self::Length => f.write_str("the place is not as long as the blob with its pages"),
        }
    }
}

impl core::error::Error for LayOutError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stored, noise};

    #[test]
    fn pages_are_laid_out_behind_the_blob() {
        for (size, log2) in [(0, 10), (1, 8), (256, 8), (257, 8), (70_000, 8), (1 << 17, 10)] {
            let content = noise(size, 2);
            let geometry = Geometry::new(u32::try_from(size).unwrap(), log2).unwrap();
            let mut stored = content.clone();
            stored.resize(geometry.stored_size() as usize, 0);
            let blob = lay_out(&mut stored, geometry.size(), log2).unwrap();
            assert_eq!(blob.digest, Digest::of(&content));
            assert_eq!(blob.size, geometry.size());
            assert_eq!(stored[..size], content);
            for piece in 0..geometry.pieces() {
                let at = geometry.offset(piece) as usize;
                let digest = Digest::of(&stored[at..at + usize::from(geometry.len(piece))]);
                let expected = match geometry.entry(piece) {
                    Some(at) => stored[at as usize..][..32].try_into().unwrap(),
                    None => *blob.root.as_bytes(),
                };
                assert_eq!(digest, Digest::from_bytes(expected));
            }
        }
    }

    #[test]
    fn a_place_of_the_wrong_length_is_refused() {
        let wrong = |len: usize, size, log2| lay_out(&mut vec![0; len], size, log2);
        assert_eq!(wrong(299, 300, 10), Err(LayOutError::Length));
        assert_eq!(wrong(300, 300, 8), Err(LayOutError::Length));
        assert!(wrong(512 + 64, 300, 8).is_ok());
        let error = LayOutError::Unsupported(Unsupported::ChunkSize);
        assert_eq!(wrong(300, 300, 7), Err(error));
    }

    #[test]
    fn every_piece_matches_its_entry() {
        for (size, log2) in [(0, 10), (1, 8), (256, 8), (257, 8), (70_000, 8), (1 << 17, 10)] {
            let stored = Stored::new(&noise(size, 1), log2);
            let g = stored.geometry;
            assert_eq!(stored.bytes.len(), g.stored_size() as usize);
            for piece in 0..g.pieces() {
                let expected = match g.entry(piece) {
                    Some(at) => stored.bytes[at as usize..][..32].try_into().unwrap(),
                    None => *stored.blob.root.as_bytes(),
                };
                assert_eq!(Digest::of(stored.piece(piece)), Digest::from_bytes(expected));
            }
            assert_eq!(stored.blob.digest, Digest::of(&stored.bytes[..size]));
        }
    }

    #[test]
    fn chunks_of_the_wrong_length_are_refused() {
        let mut pages = Pages::new(300, 8).unwrap();
        assert_eq!(pages.push(&[0; 255]), Err(WrongChunk::Length));
        assert_eq!(pages.clone().finish(), Err(WrongChunk::Missing));
        assert_eq!(pages.push(&[0; 256]).unwrap().len(), 1);
        assert_eq!(pages.push(&[0; 256]), Err(WrongChunk::Length));
        assert_eq!(pages.push(&[0; 44]).unwrap().len(), 1);
        assert_eq!(pages.push(&[0; 44]), Err(WrongChunk::Length));
        assert!(pages.finish().is_ok());
    }

    #[test]
    fn the_ram_is_what_the_docs_say() {
        assert!(size_of::<Pages>() <= 848, "{}", size_of::<Pages>());
    }
}
