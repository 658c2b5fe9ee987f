//! How a blob is named and taken apart.

use crate::cbor::DecodeError;
use crate::cbor::macros::record;
use crate::digest::Digest;
use crate::limits;

record! {
    /// Names a blob, and lets each of its chunks be verified alone.
    ///
    /// It has the same size whatever the blob's: a list of chunk digests would have to be held in
    /// RAM, or verified itself, before the first chunk could be. Instead `root` is the top of a tree
    /// of digest pages: a page is the digests (32 bytes each) of the pieces below it, one after the
    /// other, at most a chunk long; the lowest pieces are the chunks. Pages travel as chunks do, each
    /// verified against the page above. At 1 KB a chunk they add 3.2 %, and 64 KB are two pages and
    /// a top.
    pub struct BlobRef check check_blob {
        /// The SHA-256 of the whole: its name everywhere.
        0 => digest: Digest,
        /// Its length in bytes, at most [`limits::BLOB`].
        1 => size: u32,
        /// The length of a chunk as a power of two, from 6 (64 bytes) to 12 (4 KB). The last chunk
        /// may be shorter.
        2 => chunk_log2: u8,
        /// The digest of the top page; of the one chunk, if there is no more than one.
        3 => root: Digest,
    }
}

pub(crate) fn check_blob(blob: &BlobRef) -> Result<(), DecodeError> {
    let is_bounded = blob.size <= limits::BLOB
        && (limits::CHUNK_LOG2_MIN..=limits::CHUNK_LOG2_MAX).contains(&blob.chunk_log2);
    if !is_bounded {
        return Err(DecodeError::Bound);
    }
    // One chunk is the whole, and so is its digest.
    if blob.chunks() <= 1 && blob.root != blob.digest {
        return Err(DecodeError::Value);
    }
    Ok(())
}

impl BlobRef {
    /// The length of every chunk but the last.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        // What was read or checked is far from overflowing; what was put together by hand may be.
        1_u32.checked_shl(u32::from(self.chunk_log2)).unwrap_or(u32::MAX)
    }

    /// How many chunks it has; an empty blob has none.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.size.div_ceil(self.chunk_size())
    }

    /// Names a blob that is no longer than a chunk.
    #[must_use]
    pub fn of_one_chunk(bytes: &[u8], chunk_log2: u8) -> Option<Self> {
        let size = u32::try_from(bytes.len()).ok()?;
        let digest = Digest::of(bytes);
        let blob = Self { digest, size, chunk_log2, root: digest };
        (check_blob(&blob).is_ok() && blob.chunks() <= 1).then_some(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{decode, encode};

    const TWO: BlobRef = BlobRef {
        digest: Digest::from_bytes([1; 32]),
        size: 1025,
        chunk_log2: 10,
        root: Digest::from_bytes([2; 32]),
    };

    fn read(blob: BlobRef) -> Result<BlobRef, DecodeError> {
        // Written field by field: the encoder of a record refuses in debug what is not legal.
        let mut buf = [0; 90];
        let mut writer = crate::cbor::Writer::new(&mut buf);
        writer.map(4).uint(0).bytes(blob.digest.as_bytes());
        writer.uint(1).uint(u64::from(blob.size));
        writer.uint(2).uint(u64::from(blob.chunk_log2));
        writer.uint(3).bytes(blob.root.as_bytes());
        decode(writer.written())
    }

    #[test]
    fn geometry() {
        assert_eq!(TWO.chunks(), 2);
        assert_eq!(BlobRef { size: 1024, ..TWO }.chunks(), 1);
        assert_eq!(BlobRef { size: 0, ..TWO }.chunks(), 0);
        assert_eq!(BlobRef { size: limits::BLOB, chunk_log2: 6, ..TWO }.chunks(), 65_536);
    }

    #[test]
    fn bounds_hold_and_one_chunk_is_the_whole() {
        assert_eq!(read(TWO), Ok(TWO));
        assert_eq!(read(BlobRef { size: limits::BLOB + 1, ..TWO }), Err(DecodeError::Bound));
        for chunk_log2 in [0, 5, 13, 32, 255] {
            assert_eq!(read(BlobRef { chunk_log2, ..TWO }), Err(DecodeError::Bound));
        }
        assert_eq!(read(BlobRef { size: 1024, ..TWO }), Err(DecodeError::Value));
        let small = BlobRef::of_one_chunk(b"small", 6).unwrap();
        let mut buf = [0; 90];
        let len = encode(&small, &mut buf).unwrap();
        assert_eq!(decode(&buf[..len]), Ok(small));
        assert_eq!(BlobRef::of_one_chunk(&[0; 65], 6), None);
        assert_eq!(BlobRef::of_one_chunk(&[0; 65], 5), None);
    }
}
