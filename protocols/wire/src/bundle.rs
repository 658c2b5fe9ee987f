//! A capsule in one file: what a person hands to a node, and what the packer leaves on a disk.
//!
//! ```text
//! bundle = head, manifest, pages, chunks
//! head   = magic (8 bytes), version (1 byte), length of the manifest (2 bytes, big-endian)
//! ```
//!
//! The manifest is the signed envelope ([`UnverifiedManifest`](crate::UnverifiedManifest)). The pages
//! are the digest pages of the module ([`BlobRef`]), the top one first, then each level below it from
//! left to right; the chunks of the module follow from left to right. So every piece comes behind
//! what vouches for it, and a node can refuse the first byte that is not what was signed. What the
//! pages and chunks are is said by the manifest and not repeated here; nothing follows the last chunk.
//!
//! A piece has the number that it has everywhere: chunks first, then the pages above them, level by
//! level. In a bundle the numbers therefore come level by level from the top.
//!
//! [`BundleReader`] tells the parts apart as they arrive, in slices of any length. It holds nothing of
//! them, and verifies nothing: signature and digests are for who holds the keys and the pages.
//!
//! ```
//! use capmesh_wire::bundle::{self, BundleReader, Part, Pieces};
//! # use capmesh_wire::BlobRef;
//! # let (envelope, module) = (b"signed", b"\0asm");
//! # let blob = BlobRef::of_one_chunk(module, 10).unwrap();
//! let mut file = bundle::head(envelope.len()).unwrap().to_vec();
//! file.extend(envelope);
//! for piece in Pieces::of(&blob).unwrap() {
//!     assert_eq!((piece.number, piece.len), (0, 4));
//!     file.extend(module);
//! }
//!
//! let mut reader = BundleReader::new();
//! for mut block in file.chunks(6) {
//!     while let Some(part) = reader.feed(&mut block).unwrap() {
//!         match part {
//!             Part::Manifest { offset, bytes, len } => {
//!                 if usize::from(offset) + bytes.len() == usize::from(len) {
//!                     reader.describe(&blob).unwrap(); // as the verified manifest says
//!                 }
//!             }
//!             Part::Piece { piece, offset, bytes } => assert!(module[offset as usize..].starts_with(bytes)),
//!         }
//!     }
//! }
//! assert!(reader.is_complete());
//! ```

use crate::blob::{BlobRef, check_blob};
use crate::limits;
use core::fmt;

/// What every bundle starts with. The first byte is not text, so that nothing takes it for some.
pub const MAGIC: [u8; 8] = *b"\x89capsule";

/// The version of the format that is written and read here.
pub const VERSION: u8 = 1;

/// Bytes before the manifest.
pub const HEAD: usize = MAGIC.len() + 3;

/// [`HEAD`], as lengths within a bundle are counted.
const HEAD_BYTES: u32 = 11;
const _: () = assert!(HEAD_BYTES as usize == HEAD);

/// Bytes of a digest in a page.
const ENTRY: u32 = 32;

/// The most pieces that a bundle can have: a piece's number is a `u16` on every path.
const MAX_PIECES: u32 = u16::MAX as u32 - 1;

/// Why bytes are not a bundle, or not the one that was described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// It does not start as a bundle does.
    Magic,
    /// It has a version that is not known here.
    Version(u8),
    /// Its manifest is empty or longer than [`limits::MANIFEST`].
    ManifestLength(u16),
    /// The module has more pieces than can be numbered, or breaks a bound of [`BlobRef`].
    Module,
    /// The module was described before the manifest was read, or twice; or a piece was to be read
    /// before the module was described.
    Order,
    /// Bytes follow the last chunk.
    Trailing,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it does not start as a capsule bundle does"),
            Self::Version(version) => {
                write!(f, "it is a capsule bundle of version {version}; known here is {VERSION}")
            }
            Self::ManifestLength(len) => {
                write!(f, "its manifest has {len} bytes; it may have 1 to {}", limits::MANIFEST)
            }
            Self::Module => f.write_str("its module is too large or cut into too many pieces"),
            Self::Order => f.write_str("its module must be described once, behind the manifest"),
            Self::Trailing => f.write_str("bytes follow its last chunk"),
        }
    }
}

impl core::error::Error for BundleError {}

/// The head of a bundle with a manifest of so many bytes; `None` if no manifest has this length.
#[must_use]
pub fn head(manifest_len: usize) -> Option<[u8; HEAD]> {
    let len = u16::try_from(manifest_len).ok().filter(|len| is_manifest_len(*len))?;
    let [high, low] = len.to_be_bytes();
    let [a, b, c, d, e, f, g, h] = MAGIC;
    Some([a, b, c, d, e, f, g, h, VERSION, high, low])
}

/// Bytes of the bundle with a manifest of so many bytes and this module.
///
/// # Errors
/// [`BundleError::ManifestLength`], [`BundleError::Module`].
pub fn size(manifest_len: u16, module: &BlobRef) -> Result<u32, BundleError> {
    if !is_manifest_len(manifest_len) {
        return Err(BundleError::ManifestLength(manifest_len));
    }
    let mut pieces = Pieces::of(module)?;
    let mut bytes = u32::from(manifest_len) + HEAD_BYTES;
    // A level is summed up at once: its last piece ends it.
    loop {
        bytes = bytes.saturating_add(pieces.bytes_on(pieces.level));
        let Some(below) = pieces.level.checked_sub(1) else { return Ok(bytes) };
        pieces.level = below;
    }
}

const fn is_manifest_len(len: u16) -> bool {
    len > 0 && len as usize <= limits::MANIFEST
}

/// A piece of the module, or of the pages above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number: chunks from 0 on, then the pages above them.
    pub number: u16,
    /// Its length in bytes.
    pub len: u16,
    /// Whether it is a chunk of the module; else it is a page of digests.
    pub is_chunk: bool,
}

/// The pieces of a module in the order in which a bundle has them. Each step is bounded by the number
/// of levels, which is at most 17.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    size: u32,
    chunk_log2: u8,
    /// The level of the next piece; 0 are the chunks.
    level: u8,
    /// Its place on that level.
    index: u16,
}

impl Pieces {
    /// The pieces of this module.
    ///
    /// # Errors
    /// [`BundleError::Module`].
    pub fn of(module: &BlobRef) -> Result<Self, BundleError> {
        check_blob(module).map_err(|_| BundleError::Module)?;
        let mut pieces =
            Self { size: module.size, chunk_log2: module.chunk_log2, level: 0, index: 0 };
        let mut count = pieces.count_on(0);
        let mut sum = count;
        while count > 1 {
            pieces.level += 1;
            count = pieces.above(count);
            sum = sum.saturating_add(count);
        }
        if sum <= MAX_PIECES { Ok(pieces) } else { Err(BundleError::Module) }
    }

    /// How many pages hold the digests of `count` pieces.
    const fn above(&self, count: u32) -> u32 {
        // A chunk has 64 bytes at least, so that a page holds two digests at least.
        count.div_ceil((1 << self.chunk_log2) / ENTRY)
    }

    fn count_on(&self, level: u8) -> u32 {
        let chunks = self.size.div_ceil(1 << self.chunk_log2);
        (0..level).fold(chunks, |count, _| self.above(count))
    }

    fn bytes_on(&self, level: u8) -> u32 {
        match level.checked_sub(1) {
            None => self.size,
            Some(below) => self.count_on(below) * ENTRY,
        }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if u32::from(self.index) >= self.count_on(self.level) {
            self.level = self.level.checked_sub(1)?;
            self.index = 0;
        }
        if self.size == 0 {
            return None;
        }
        let start: u32 = (0..self.level).map(|level| self.count_on(level)).sum();
        let before = u32::from(self.index) << self.chunk_log2;
        let left = self.bytes_on(self.level).saturating_sub(before);
        let piece = Piece {
            number: u16::try_from(start).ok()?.checked_add(self.index)?,
            len: u16::try_from(left.min(1 << self.chunk_log2)).ok()?,
            is_chunk: self.level == 0,
        };
        self.index += 1;
        Some(piece)
    }
}

/// A stretch of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Of the signed manifest. Behind its last byte the module must be described.
    Manifest {
        /// How many bytes the manifest has.
        len: u16,
        /// Where in the manifest these stand.
        offset: u16,
        /// The bytes, at least one.
        bytes: &'a [u8],
    },
    /// Of a piece.
    Piece {
        /// Which piece.
        piece: Piece,
        /// Where in the piece these stand.
        offset: u16,
        /// The bytes, at least one.
        bytes: &'a [u8],
    },
}

impl Part<'_> {
    /// Whether the manifest or the piece is complete with these bytes.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let (Self::Manifest { len, offset, bytes }
        | Self::Piece { piece: Piece { len, .. }, offset, bytes }) = self;
        usize::from(*offset) + bytes.len() >= usize::from(*len)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The head, of which so many bytes were read; the last ones of them are kept.
    Head {
        read: u8,
        length: u8,
    },
    Manifest {
        len: u16,
        read: u16,
    },
    /// The manifest is complete, and its module not yet described.
    Described,
    Piece {
        rest: Pieces,
        piece: Piece,
        read: u16,
    },
    Complete,
    Failed(BundleError),
}

/// Tells the parts of a bundle apart as they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleReader {
    state: State,
    position: u32,
}

impl Default for BundleReader {
    fn default() -> Self {
        Self::new()
    }
}

impl BundleReader {
    /// At the start of a bundle.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Head { read: 0, length: 0 }, position: 0 }
    }

    /// Takes the next part off the front of `input`; `None` when `input` is used up. Call it until
    /// then. The work is bounded by the head and one part.
    ///
    /// # Errors
    /// If this is no bundle. What was refused stays refused.
    pub fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, BundleError> {
        let before = input.len();
        let part = self.step(input);
        if let Err(error) = part {
            self.state = State::Failed(error);
        }
        let taken = u32::try_from(before - input.len()).unwrap_or(u32::MAX);
        self.position = self.position.saturating_add(taken);
        part
    }

    /// Says what the module is that the manifest names, once the manifest has been read and is
    /// trusted.
    ///
    /// # Errors
    /// [`BundleError::Order`], [`BundleError::Module`].
    pub fn describe(&mut self, module: &BlobRef) -> Result<(), BundleError> {
        if self.state != State::Described {
            return Err(BundleError::Order);
        }
        self.state = next_piece(Pieces::of(module)?);
        Ok(())
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// Whether the last chunk has been read to its end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, BundleError> {
        while let State::Head { read, length } = self.state {
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.state = head_byte(read, length, *byte)?;
        }
        if input.is_empty() {
            return Ok(None);
        }
        match &mut self.state {
            State::Head { .. } => Ok(None),
            State::Manifest { len, read } => {
                let (len, offset) = (*len, *read);
                let bytes = take(input, len, read);
                if *read == len {
                    self.state = State::Described;
                }
                Ok(Some(Part::Manifest { len, offset, bytes }))
            }
            State::Described => Err(BundleError::Order),
            State::Piece { rest, piece, read } => {
                let (piece, offset) = (*piece, *read);
                let bytes = take(input, piece.len, read);
                if *read == piece.len {
                    self.state = next_piece(rest.clone());
                }
                Ok(Some(Part::Piece { piece, offset, bytes }))
            }
            State::Complete => Err(BundleError::Trailing),
            State::Failed(error) => Err(*error),
        }
    }
}

/// The state behind one more byte of the head.
fn head_byte(read: u8, length: u8, byte: u8) -> Result<State, BundleError> {
    const LAST: usize = HEAD - 1;
    match usize::from(read) {
        at @ 0..8 if MAGIC.get(at) != Some(&byte) => Err(BundleError::Magic),
        8 if byte != VERSION => Err(BundleError::Version(byte)),
        LAST => {
            let len = u16::from_be_bytes([length, byte]);
            if is_manifest_len(len) {
                Ok(State::Manifest { len, read: 0 })
            } else {
                Err(BundleError::ManifestLength(len))
            }
        }
        _ => Ok(State::Head { read: read + 1, length: byte }),
    }
}

fn next_piece(mut pieces: Pieces) -> State {
    match pieces.next() {
        Some(piece) => State::Piece { rest: pieces, piece, read: 0 },
        None => State::Complete,
    }
}

/// Takes what is left of `len` bytes, or all there is of it, off the front of `input`.
fn take<'a>(input: &mut &'a [u8], len: u16, read: &mut u16) -> &'a [u8] {
    let wanted = len.saturating_sub(*read);
    let count = u16::try_from(input.len()).map_or(wanted, |there| there.min(wanted));
    let (bytes, rest) = input.split_at_checked(usize::from(count)).unwrap_or((input, &[]));
    *input = rest;
    *read += count;
    bytes
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn blob(size: u32, chunk_log2: u8) -> BlobRef {
        let digest = Digest::of(b"module");
        let root = if size <= 1 << chunk_log2 { digest } else { Digest::of(b"root") };
        BlobRef { digest, size, chunk_log2, root }
    }

    /// A bundle whose bytes are all different from their neighbours.
    fn file(manifest_len: u16, module: &BlobRef) -> Vec<u8> {
        let mut file = head(usize::from(manifest_len)).unwrap().to_vec();
        let body: u32 = Pieces::of(module).unwrap().map(|piece| u32::from(piece.len)).sum();
        let len = u32::from(manifest_len) + body;
        file.extend((0..len).map(|i| u8::try_from(i % 251).unwrap()));
        file
    }

    type Pairs = Vec<(Piece, Vec<u8>)>;

    /// Reads a bundle in slices of these lengths, over and over; gives what each part was.
    fn read(
        file: &[u8],
        module: &BlobRef,
        mut slices: impl Iterator<Item = usize>,
    ) -> Result<(Vec<u8>, Pairs), BundleError> {
        let (mut manifest, mut pieces) = (Vec::new(), Pairs::new());
        let mut reader = BundleReader::new();
        let mut rest = file;
        while !rest.is_empty() {
            let (mut slice, behind) = rest.split_at(slices.next().unwrap().clamp(1, rest.len()));
            rest = behind;
            while let Some(part) = reader.feed(&mut slice)? {
                let is_last = part.is_last();
                match part {
                    Part::Manifest { offset, bytes, .. } => {
                        assert_eq!(usize::from(offset), manifest.len());
                        manifest.extend(bytes);
                        if is_last {
                            reader.describe(module)?;
                        }
                    }
                    Part::Piece { piece, offset, bytes } => {
                        if offset == 0 {
                            pieces.push((piece, Vec::new()));
                        }
                        let (known, read) = pieces.last_mut().unwrap();
                        assert_eq!((*known, read.len()), (piece, usize::from(offset)));
                        read.extend(bytes);
                        assert_eq!(is_last, read.len() == usize::from(piece.len));
                    }
                }
            }
            assert!(slice.is_empty());
        }
        assert!(reader.is_complete());
        assert_eq!(reader.position(), u32::try_from(file.len()).unwrap());
        Ok((manifest, pieces))
    }

    #[test]
    fn pages_come_from_the_top_and_chunks_last() {
        let numbers = |size, log2| -> Vec<u16> {
            Pieces::of(&blob(size, log2)).unwrap().map(|piece| piece.number).collect()
        };
        assert_eq!(numbers(0, 10), []);
        assert_eq!(numbers(1024, 10), [0]);
        assert_eq!(numbers(1025, 10), [2, 0, 1]);
        // Nine chunks of 256 bytes: two pages of eight digests, and one of two.
        assert_eq!(numbers(2_305, 8), [12, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let lengths: Vec<u16> =
            Pieces::of(&blob(2_305, 8)).unwrap().map(|piece| piece.len).collect();
        assert_eq!(lengths[..4], [64, 256, 64, 256]);
        assert_eq!(lengths[12], 1);
    }

    #[test]
    fn what_has_too_many_pieces_is_refused() {
        assert!(Pieces::of(&blob(limits::BLOB, 8)).is_ok());
        assert_eq!(Pieces::of(&blob(limits::BLOB, 6)), Err(BundleError::Module));
        assert_eq!(Pieces::of(&blob(limits::BLOB + 1, 10)), Err(BundleError::Module));
        assert_eq!(size(1, &blob(5_000, 13)), Err(BundleError::Module));
    }

    #[test]
    fn a_head_is_refused_at_the_byte_that_is_wrong() {
        let good = file(300, &blob(3_000, 8));
        let refusal = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            let mut reader = BundleReader::new();
            let mut before = &bad[..at];
            assert_eq!(reader.feed(&mut before), Ok(None));
            let error = reader.feed(&mut &bad[at..]).unwrap_err();
            assert_eq!(reader.feed(&mut &good[..]), Err(error), "refused once, refused for good");
            error
        };
        for (at, byte) in MAGIC.iter().enumerate() {
            assert_eq!(refusal(at, byte ^ 1), BundleError::Magic);
        }
        assert_eq!(refusal(8, 2), BundleError::Version(2));
        let mut reader = BundleReader::new();
        let long = [&good[..9], &[8, 1]].concat();
        assert_eq!(reader.feed(&mut &long[..]), Err(BundleError::ManifestLength(2_049)));
        assert_eq!(head(0), None);
        assert_eq!(head(2_049), None);
        assert!(head(2_048).is_some());
    }

    #[test]
    fn the_module_is_described_once_and_in_its_place() {
        let module = blob(3_000, 8);
        let mut reader = BundleReader::new();
        assert_eq!(reader.describe(&module), Err(BundleError::Order));
        let file = file(10, &module);
        let mut input = &file[..];
        assert!(reader.feed(&mut input).unwrap().unwrap().is_last());
        let mut hasty = reader.clone();
        assert_eq!(hasty.feed(&mut input), Err(BundleError::Order));
        assert_eq!(reader.feed(&mut &[][..]), Ok(None));
        assert_eq!(reader.describe(&module), Ok(()));
        assert_eq!(reader.describe(&module), Err(BundleError::Order));
        while reader.feed(&mut input).unwrap().is_some() {}
        assert!(reader.is_complete());
        assert_eq!(reader.feed(&mut &[0][..]), Err(BundleError::Trailing));
        assert!(!reader.is_complete());
    }

    #[test]
    fn the_reader_is_small() {
        assert!(size_of::<BundleReader>() <= 28, "{}", size_of::<BundleReader>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn slices_do_not_matter(
            manifest_len in 1_u16..=2_048,
            size in 0_u32..40_000,
            chunk_log2 in 6_u8..=12,
            slices in prop::collection::vec(1_usize..1_500, 1..20),
        ) {
            let module = blob(size, chunk_log2);
            let file = file(manifest_len, &module);
            prop_assert_eq!(super::size(manifest_len, &module), Ok(u32::try_from(file.len()).unwrap()));
            let (manifest, pieces) = read(&file, &module, slices.into_iter().cycle()).unwrap();
            let whole: Vec<Piece> = pieces.iter().map(|(piece, _)| *piece).collect();
            prop_assert_eq!(whole, Pieces::of(&module).unwrap().collect::<Vec<_>>());
            let mut again = file[..HEAD].to_vec();
            again.extend(manifest);
            again.extend(pieces.into_iter().flat_map(|(_, bytes)| bytes));
            prop_assert_eq!(again, file);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            is_headed: bool,
        ) {
            let module = blob(777, 8);
            let mut file = if is_headed { MAGIC.to_vec() } else { Vec::new() };
            file.extend(bytes);
            let mut reader = BundleReader::new();
            let mut input = &file[..];
            while let Ok(Some(part)) = reader.feed(&mut input) {
                if matches!(part, Part::Manifest { .. }) && part.is_last() {
                    reader.describe(&module).unwrap();
                }
            }
        }
    }
}
