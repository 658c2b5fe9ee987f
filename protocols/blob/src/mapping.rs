//! How blobs travel over CoAP. This is the one place that says so; it depends on no CoAP
//! implementation.
//!
//! | request | response |
//! |---|---|
//! | `GET /b/<name>/<n>` | 2.05, content format 42 (octet-stream): piece `n` |
//! | `GET /b/<name>` | 2.05, content format 65108: the holdings |
//!
//! - `<name>` is the blob's SHA-256 in base64url without padding, 43 characters, as in RFC 6920. It
//!   is whole rather than shortened so that a blob has one name everywhere; of the 1.1 KB that a
//!   chunk's request and response take, the 21 characters that half of it would save are 2 %.
//! - `<n>` is the piece's number (see [`geometry`](crate::geometry)) in decimal digits, without
//!   leading zeroes. A document is piece 0.
//! - Holdings are an empty payload if every piece is held, else a bit for each piece, piece 0 in the
//!   most significant bit of the first byte.
//! - A piece longer than a block is fetched with Block2 (RFC 7959): a part's offset is the block
//!   number times the block size, and its last part has the M bit unset. Request and response fit
//!   one datagram each where blocks of the chunk size do.
//! - An ETag is not needed and is ignored: a piece's name is the digest of what it is part of, so
//!   there is only one representation, and blocks of two cannot be mixed up. Holdings may change between two blocks;
//!   they only grow while a blob is fetched, so a mixture says less than the truth and no lie. If
//!   the blob is dropped meanwhile, the piece is answered with 4.04 when it is asked for.
//! - Who may ask is the session's and the application's to say (4.01, 4.03).
//!
//! | answer | code | what the one who asked does |
//! |---|---|---|
//! | the piece or the blob is not here | 4.04 | asks elsewhere, and here again after a while |
//! | the blob was here | 4.10 | forgets this peer for the blob |
//! | too busy, or asked too often | 5.03 with Max-Age | waits as long as Max-Age says |
//! | storage failed, or anything else | 5.00 | counts a failure |
//!
//! 4.10 is HTTP's "Gone". CoAP has not registered it; who does not know it takes it for 4.00, as
//! RFC 7252 section 5.9 has it for every unknown client error. 4.29 (RFC 8516) means the same as 5.03.

use crate::fetch::{HOLDINGS, Refusal};
use crate::serve::{Answer, ReadError};
use capmesh_wire::Digest;
use core::time::Duration;

/// The first segment of the path.
pub const PREFIX: &str = "b";

/// Content format of a piece: application/octet-stream.
pub const PIECE_FORMAT: u16 = 42;

/// Content format of holdings.
pub const HOLDINGS_FORMAT: u16 = capmesh_wire::content_format::BLOB;

/// Seconds that a 5.03 without Max-Age means (RFC 7252 section 5.10.5).
const DEFAULT_MAX_AGE: u32 = 60;

/// A digest as a path segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u8; Self::LEN]);

impl Name {
    /// Characters of a name.
    pub const LEN: usize = 43;

    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    /// The name of the blob with this digest.
    #[must_use]
    pub fn of(digest: &Digest) -> Self {
        let mut name = [0; Self::LEN];
        let groups = digest.as_bytes().chunks(3).flat_map(|group| {
            let [a, b, c] = core::array::from_fn(|i| group.get(i).copied().unwrap_or_default());
            [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63]
        });
        for (char, index) in name.iter_mut().zip(groups) {
            *char = Self::ALPHABET.get(usize::from(index)).copied().unwrap_or_default();
        }
        Self(name)
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digest that a path segment names, or `None` if it is no name: each digest has one.
    #[must_use]
    pub fn parse(segment: &[u8]) -> Option<Digest> {
        let segment = <&[u8; Self::LEN]>::try_from(segment).ok()?;
        let mut digest = [0; Digest::LEN];
        let mut bytes = digest.iter_mut();
        for group in segment.chunks(4) {
            let mut bits = 0_u32;
            for char in group {
                bits = bits << 6 | u32::from(Self::index(*char)?);
            }
            let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
            for byte in [a, b, c] {
                match bytes.next() {
                    Some(place) => *place = byte,
                    None if byte != 0 => return None,
                    None => {}
                }
            }
        }
        Some(Digest::from_bytes(digest))
    }

    fn index(char: u8) -> Option<u8> {
        match char {
            b'A'..=b'Z' => Some(char - b'A'),
            b'a'..=b'z' => Some(char - b'a' + 26),
            b'0'..=b'9' => Some(char - b'0' + 52),
            b'-' => Some(62),
            b'_' => Some(63),
            _ => None,
        }
    }
}

/// A piece's number as a path segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    digits: [u8; 5],
    /// Where the first digit is.
    start: u8,
}

impl Number {
    /// The number of `piece`.
    #[must_use]
    pub const fn of(piece: u16) -> Self {
        let mut number = Self { digits: [b'0'; 5], start: 5 };
        let mut rest = piece;
        let mut left: &mut [u8] = &mut number.digits;
        loop {
            let Some((last, before)) = left.split_last_mut() else { return number };
            *last = b'0' + (rest % 10).to_le_bytes()[0];
            left = before;
            number.start -= 1;
            rest /= 10;
            if rest == 0 {
                return number;
            }
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let digits = self.digits.get(usize::from(self.start)..).unwrap_or_default();
        core::str::from_utf8(digits).unwrap_or_default()
    }

    /// The piece that a path segment numbers: one to five digits, no leading zero, no more than
    /// [`MAX_PIECES`](crate::geometry::MAX_PIECES).
    #[must_use]
    pub fn parse(segment: &[u8]) -> Option<u16> {
        let canonical = match segment {
            [b'0'] => true,
            [b'1'..=b'9', ..] => segment.len() <= 5,
            _ => false,
        };
        if !canonical {
            return None;
        }
        let mut piece = 0_u16;
        for digit in segment {
            let value = digit.checked_sub(b'0').filter(|value| *value < 10)?;
            piece = piece.checked_mul(10)?.checked_add(u16::from(value))?;
        }
        (piece <= crate::geometry::MAX_PIECES).then_some(piece)
    }
}

/// Finds out what a path asks for: the blob, and the piece or [`HOLDINGS`]. `None` if the path is
/// none of those above. At most four segments are looked at.
pub fn parse_path<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Option<(Digest, u16)> {
    let mut segments = segments.into_iter();
    if segments.next()? != PREFIX.as_bytes() {
        return None;
    }
    let digest = Name::parse(segments.next()?)?;
    let piece = match segments.next() {
        None => HOLDINGS,
        Some(number) => Number::parse(number)?,
    };
    segments.next().is_none().then_some((digest, piece))
}

/// The code of an answer, and its Max-Age where it has one.
#[must_use]
pub const fn response(answer: Answer) -> (u8, Option<u32>) {
    match answer {
        Answer::Piece { .. } | Answer::Holdings(_) => (code(2, 5), None),
        Answer::NotFound => (code(4, 4), None),
        Answer::Gone => (code(4, 10), None),
        Answer::Busy { seconds } => (code(5, 3), Some(seconds)),
    }
}

/// The code where the store cannot be read, and its Max-Age where it has one.
#[must_use]
pub const fn unreadable(error: ReadError) -> (u8, Option<u32>) {
    match error {
        ReadError::Busy => (code(5, 3), Some(1)),
        ReadError::Failed => (code(5, 0), None),
    }
}

/// What a response that is not 2.05 means to the one who asked.
#[must_use]
pub const fn refusal(response: u8, max_age: Option<u32>) -> Refusal {
    const NOT_FOUND: u8 = code(4, 4);
    const UNAUTHORIZED: u8 = code(4, 1);
    const FORBIDDEN: u8 = code(4, 3);
    const GONE: u8 = code(4, 10);
    const TOO_MANY_REQUESTS: u8 = code(4, 29);
    const UNAVAILABLE: u8 = code(5, 3);
    match response {
        NOT_FOUND => Refusal::NotFound,
        UNAUTHORIZED | FORBIDDEN | GONE => Refusal::Gone,
        TOO_MANY_REQUESTS | UNAVAILABLE => {
            let seconds = match max_age {
                Some(seconds) => seconds,
                None => DEFAULT_MAX_AGE,
            };
            Refusal::Busy(Duration::from_secs(seconds as u64))
        }
        _ => Refusal::Failed,
    }
}

/// A CoAP code as its byte (RFC 7252 section 3).
const fn code(class: u8, detail: u8) -> u8 {
    class << 5 | detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn the_name_is_that_of_rfc_6920() {
        // RFC 6920 section 8.1.
        let digest = Digest::of(b"Hello World!");
        assert_eq!(Name::of(&digest).as_str(), "f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk");
    }

    #[test]
    fn a_path_has_one_form() {
        let digest = Digest::of(b"Hello World!");
        let name = Name::of(&digest);
        let parse = |path: &[&str]| parse_path(path.iter().map(|segment| segment.as_bytes()));
        assert_eq!(parse(&["b", name.as_str()]), Some((digest, HOLDINGS)));
        assert_eq!(parse(&["b", name.as_str(), "0"]), Some((digest, 0)));
        assert_eq!(parse(&["b", name.as_str(), "65534"]), Some((digest, 65_534)));
        for number in ["", "00", "01", "65535", "65536", "99999", "100000", "1a", "-1", "+1"] {
            assert_eq!(parse(&["b", name.as_str(), number]), None, "{number}");
        }
        // The last character has four bits of the digest and two that must be zero.
        let twin = name.as_str().replace("Gk", "Gl");
        for path in
            [&["b"][..], &["c", name.as_str()], &["b", name.as_str(), "0", "0"], &["b", &twin]]
        {
            assert_eq!(parse(path), None, "{path:?}");
        }
    }

    #[test]
    fn refusals_survive_the_way() {
        let meaning = |answer| {
            let (code, max_age) = response(answer);
            refusal(code, max_age)
        };
        assert_eq!(meaning(Answer::NotFound), Refusal::NotFound);
        assert_eq!(meaning(Answer::Gone), Refusal::Gone);
        assert_eq!(meaning(Answer::Busy { seconds: 7 }), Refusal::Busy(Duration::from_secs(7)));
        let (busy, max_age) = unreadable(ReadError::Busy);
        assert_eq!(refusal(busy, max_age), Refusal::Busy(Duration::from_secs(1)));
        assert_eq!(refusal(unreadable(ReadError::Failed).0, None), Refusal::Failed);
        assert_eq!(refusal(code(4, 29), None), Refusal::Busy(Duration::from_secs(60)));
        assert_eq!(refusal(code(4, 1), None), Refusal::Gone);
    }

    proptest! {
        #[test]
        fn names_and_numbers_come_back(bytes in any::<[u8; 32]>(), piece in 0..=65_534_u16) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(Name::parse(Name::of(&digest).as_str().as_bytes()), Some(digest));
            let number = Number::of(piece);
            prop_assert_eq!(number.as_str(), piece.to_string());
            prop_assert_eq!(Number::parse(number.as_str().as_bytes()), Some(piece));
        }

        #[test]
        fn what_parses_is_what_is_written(segment in proptest::collection::vec(any::<u8>(), 0..50)) {
            if let Some(digest) = Name::parse(&segment) {
                let name = Name::of(&digest);
                prop_assert_eq!(name.as_str().as_bytes(), &segment[..]);
            }
            if let Some(piece) = Number::parse(&segment) {
                let number = Number::of(piece);
                prop_assert_eq!(number.as_str().as_bytes(), &segment[..]);
            }
        }
    }
}
