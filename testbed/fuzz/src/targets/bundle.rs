//! Capsules in one file, as they arrive in blocks.

use crate::Feed;
use capmesh_blob::Geometry;
use capmesh_wire::bundle::{self, BundleReader, Part, Pieces};
use capmesh_wire::{BlobRef, Digest, UnverifiedManifest};

/// The first bytes say how the module is cut where the manifest does not, and how long the blocks
/// are; the rest is a bundle.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let (size, chunk_log2, block) = (feed.word(), feed.byte() % 16, usize::from(feed.byte()) + 1);
    let digest = Digest::of(b"module");
    let root = if feed.byte().is_multiple_of(2) { digest } else { Digest::of(b"root") };
    let stated = BlobRef { digest, size: u32::from(size), chunk_log2, root };
    order(&stated);
    let input = feed.rest();
    let whole = read(input, input.len().max(1), &stated);
    assert_eq!(whole, read(input, block, &stated), "the length of blocks does not matter");
}

/// A bundle has each piece of the blob once, behind the page that vouches for it.
fn order(module: &BlobRef) {
    let Ok(pieces) = Pieces::of(module) else { return };
    let Ok(geometry) = Geometry::new(module.size, module.chunk_log2) else { return };
    let mut seen = vec![false; usize::from(geometry.pieces())];
    let mut sum = 0;
    for piece in pieces {
        assert_eq!(piece.len, geometry.len(piece.number));
        assert_eq!(piece.is_chunk, piece.number < geometry.chunks());
        assert!(geometry.parent(piece.number).is_none_or(|page| seen[usize::from(page)]));
        assert!(!std::mem::replace(&mut seen[usize::from(piece.number)], true));
        sum += u32::from(piece.len);
    }
    assert!(seen.into_iter().all(|seen| seen));
    assert_eq!(bundle::size(1, module), Ok(sum + 1 + 11));
}

/// The bytes that are the manifest's and the pieces', and how it ended.
fn read(input: &[u8], block: usize, stated: &BlobRef) -> (Vec<u8>, Vec<u8>, BundleReader) {
    let (mut manifest, mut body) = (Vec::new(), Vec::new());
    let mut reader = BundleReader::new();
    for mut block in input.chunks(block) {
        while let Ok(Some(part)) = reader.feed(&mut block) {
            let is_last = part.is_last();
            match part {
                Part::Manifest { bytes, offset, .. } => {
                    assert_eq!(usize::from(offset), manifest.len());
                    manifest.extend_from_slice(bytes);
                    if is_last {
                        let named = UnverifiedManifest::parse(&manifest)
                            .map_or(*stated, |manifest| manifest.claims().module());
                        let _ = reader.describe(&named);
                    }
                }
                Part::Piece { bytes, piece, offset } => {
                    assert!(usize::from(offset) + bytes.len() <= usize::from(piece.len));
                    body.extend_from_slice(bytes);
                }
            }
        }
    }
    (manifest, body, reader)
}
