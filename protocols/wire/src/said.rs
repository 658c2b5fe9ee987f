//! Pieces of blobs as they are said to all on a link, in parts that fit a frame of it.
//!
//! These are no CBOR: a frame of 802.15.4 has room for some 90 bytes, of which CBOR would take five more.
//! Numbers are big-endian. What is in a part or a request is sealed with keys that only those can have
//! who know the blob's digests; `capmesh-transfer` has them. A reader takes what is too short for none.
//!
//! | | bytes |
//! |---|---|
//! | part | blob (4), piece (2), number (1), of (1), sealed |
//! | request | blob (4), salt (8), sealed: [`Lack`]s and their tag |

use crate::limits;

/// A blob's name on the air: of whom its keys are, and nobody else can tell.
pub type Tag = [u8; 4];

/// Bytes of a part before what is sealed.
pub const PART_HEAD: usize = 8;

/// Bytes of a request's salt.
pub const SALT: usize = 8;

/// Bytes of a request before what is sealed.
pub const ASK_HEAD: usize = 4 + SALT;

/// Bytes of a [`Lack`].
pub const LACK: usize = 3;

/// A part of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Of which blob.
    pub blob: Tag,
    /// Of which piece.
    pub piece: u16,
    /// Which part: those below `of` are the piece's bytes, those from `of` on are sums of them.
    pub number: u8,
    /// How many parts, whichever, make the piece: at most [`limits::PARTS`].
    pub of: u8,
    /// The part, sealed.
    pub sealed: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a part. `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[a, b, c, d, high, low, number, of], sealed) = bytes.split_first_chunk()?;
        let piece = u16::from_be_bytes([high, low]);
        let is_some = of > 0 && usize::from(of) <= limits::PARTS && !sealed.is_empty();
        is_some.then_some(Self { blob: [a, b, c, d], piece, number, of, sealed })
    }

    /// What is before the sealed bytes.
    #[must_use]
    pub const fn head(&self) -> [u8; PART_HEAD] {
        let [a, b, c, d] = self.blob;
        let [high, low] = self.piece.to_be_bytes();
        [a, b, c, d, high, low, self.number, self.of]
    }
}

/// A request for parts, to whoever hears it and has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Of which blob.
    pub blob: Tag,
    /// Makes the nonce: drawn for each request.
    pub salt: [u8; SALT],
    /// What is lacking, sealed.
    pub sealed: &'a [u8],
}

impl<'a> Ask<'a> {
    /// Reads a request. `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (blob, rest) = bytes.split_first_chunk()?;
        let (salt, sealed) = rest.split_first_chunk()?;
        (!sealed.is_empty()).then_some(Self { blob: *blob, salt: *salt, sealed })
    }

    /// What is before the sealed bytes.
    #[must_use]
    pub fn head(&self) -> [u8; ASK_HEAD] {
        let mut head = [0; ASK_HEAD];
        for (place, byte) in head.iter_mut().zip(self.blob.iter().chain(&self.salt)) {
            *place = *byte;
        }
        head
    }
}

/// What somebody lacks of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The piece.
    pub piece: u16,
    /// How many parts, whichever: the whole piece, if there are no more in it.
    pub parts: u8,
}

impl Lack {
    /// Reads what is lacking. `None` if it is no list of one to [`limits::LACKS`].
    pub fn parse(bytes: &[u8]) -> Option<impl Iterator<Item = Self> + '_> {
        let (lacks, rest) = bytes.as_chunks::<LACK>();
        let is_list = rest.is_empty() && (1..=limits::LACKS).contains(&lacks.len());
        is_list.then(|| {
            let read = |[high, low, parts]: &[u8; LACK]| Lack {
                piece: u16::from_be_bytes([*high, *low]),
                parts: *parts,
            };
            lacks.iter().map(read)
        })
    }

    /// As it is written.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; LACK] {
        let [high, low] = self.piece.to_be_bytes();
        [high, low, self.parts]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn what_is_no_part_is_none() {
        assert_eq!(Part::parse(&[1, 2, 3, 4, 0, 5, 6, 7]), None);
        assert_eq!(Part::parse(&[1, 2, 3, 4, 0, 5, 6, 0, 9]), None);
        assert_eq!(Part::parse(&[1, 2, 3, 4, 0, 5, 6, 33, 9]), None);
        assert!(Part::parse(&[1, 2, 3, 4, 0, 5, 255, 32, 9]).is_some());
        assert_eq!(Ask::parse(&[0; ASK_HEAD]), None);
        assert!(Lack::parse(&[]).is_none() && Lack::parse(&[0, 1]).is_none());
        assert!(Lack::parse(&[0; LACK * (limits::LACKS + 1)]).is_none());
        assert_eq!(Lack::parse(&[0; LACK * limits::LACKS]).unwrap().count(), limits::LACKS);
    }

    proptest! {
        /// What is read is written the same, whatever it is.
        #[test]
        fn bytes_are_read_and_written(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(part) = Part::parse(&bytes) {
                prop_assert_eq!([&part.head()[..], part.sealed].concat(), bytes.clone());
            }
            if let Some(ask) = Ask::parse(&bytes) {
                prop_assert_eq!([&ask.head()[..], ask.sealed].concat(), bytes.clone());
            }
            if let Some(lacks) = Lack::parse(&bytes) {
                let again: Vec<u8> = lacks.flat_map(Lack::to_bytes).collect();
                prop_assert_eq!(&again, &bytes);
            }
        }
    }
}
