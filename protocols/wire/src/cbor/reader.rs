//! Reading, one token at a time.

use super::float::{Shortest, single_from_half};
use super::{Decode, DecodeError, Encode};
use crate::limits;

/// Reads deterministic CBOR front to back.
///
/// It remembers the first thing that is wrong. From then on it stands at the end and gives zero,
/// nothing, or what comes nearest, so that callers need not look after each step but only once, with
/// [`Reader::finish`] or [`Reader::status`]: that halves the code that reading takes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Never past the end.
    position: usize,
    error: Option<DecodeError>,
}

/// What sort of item comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned integer (major type 0).
    Unsigned,
    /// A negative integer (major type 1).
    Negative,
    /// A byte string (major type 2).
    Bytes,
    /// A text string (major type 3).
    Text,
    /// An array (major type 4).
    Array,
    /// A map (major type 5).
    Map,
    /// A tag (major type 6).
    Tag,
    /// `false` or `true`.
    Bool,
    /// `null`.
    Null,
    /// A float of any length.
    Float,
    /// Another simple value, something that has no meaning, or nothing.
    Other,
}

/// The major types (RFC 8949 section 3.1) whose heads have an argument.
#[derive(Clone, Copy)]
pub(super) enum Major {
    Unsigned = 0,
    Negative = 1,
    Bytes = 2,
    Text = 3,
    Array = 4,
    Map = 5,
    Tag = 6,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, error: None }
    }

    /// Whether all has been well so far.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub const fn status(&self) -> Result<(), DecodeError> {
        match self.error {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// The first thing that was wrong; [`DecodeError::Trailing`] if there is more to read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.status()?;
        if self.is_at_end() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// Refuses what has been read. Only the first error counts.
    #[cold]
    #[inline(never)]
    pub fn fail(&mut self, error: DecodeError) {
        self.position = self.bytes.len();
        self.error.get_or_insert(error);
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// What has been read since the reader stood at `start`.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    /// The sort of the next item.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.peek() {
            Some(0x00..=0x1f) => Kind::Unsigned,
            Some(0x20..=0x3f) => Kind::Negative,
            Some(0x40..=0x5f) => Kind::Bytes,
            Some(0x60..=0x7f) => Kind::Text,
            Some(0x80..=0x9f) => Kind::Array,
            Some(0xa0..=0xbf) => Kind::Map,
            Some(0xc0..=0xdf) => Kind::Tag,
            Some(0xf4 | 0xf5) => Kind::Bool,
            Some(0xf6) => Kind::Null,
            Some(0xf9..=0xfb) => Kind::Float,
            _ => Kind::Other,
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> u64 {
        self.head(Major::Unsigned)
    }

    /// An unsigned integer of at most `max`.
    #[inline(never)]
    pub fn uint_to(&mut self, max: u32) -> u32 {
        match u32::try_from(self.uint()) {
            Ok(value) if value <= max => value,
            _ => {
                self.fail(DecodeError::Bound);
                0
            }
        }
    }

    /// An integer of either sign, within the range of an `i64`.
    pub fn int(&mut self) -> i64 {
        let is_negative = self.kind() == Kind::Negative;
        let argument = self.head(if is_negative { Major::Negative } else { Major::Unsigned });
        match i64::try_from(argument) {
            // -1 - n, as the encoding has it.
            Ok(value) if is_negative => !value,
            Ok(value) => value,
            Err(_) => {
                self.fail(DecodeError::Bound);
                0
            }
        }
    }

    /// `false` or `true`.
    pub fn bool(&mut self) -> bool {
        let first = self.peek();
        match first {
            Some(0xf4 | 0xf5) => self.position += 1,
            Some(_) => self.fail(DecodeError::Type),
            None => self.fail(DecodeError::Truncated),
        }
        first == Some(0xf5)
    }

    /// Reads `null` if it comes next, and says whether it did.
    pub fn take_null(&mut self) -> bool {
        let is_null = self.peek() == Some(0xf6);
        self.position += usize::from(is_null);
        is_null
    }

    /// A byte string.
    pub fn bytes(&mut self) -> &'a [u8] {
        self.string(Major::Bytes)
    }

    /// A byte string of exactly `N` bytes.
    pub fn array_of_bytes<const N: usize>(&mut self) -> &'a [u8; N] {
        self.bytes().try_into().unwrap_or_else(|_| {
            self.fail(DecodeError::Value);
            &[0; N]
        })
    }

    /// A text string.
    #[inline(never)]
    pub fn text(&mut self) -> &'a str {
        core::str::from_utf8(self.string(Major::Text)).unwrap_or_else(|_| {
            self.fail(DecodeError::Utf8);
            ""
        })
    }

    /// The head of an array: how many items follow.
    pub fn array(&mut self) -> u64 {
        self.head(Major::Array)
    }

    /// The head of a map: how many pairs follow. The caller checks the order of the keys.
    pub fn map(&mut self) -> u64 {
        self.head(Major::Map)
    }

    /// A tag's number; the tagged item follows.
    pub fn tag(&mut self) -> u64 {
        self.head(Major::Tag)
    }

    /// A float. NaN has one encoding, without sign or payload.
    pub fn float(&mut self) -> f64 {
        let (float, value) = match *self.rest() {
            [0xf9, a, b, ..] => {
                let half = u16::from_be_bytes([a, b]);
                (Shortest::Half(half), f64::from(single_from_half(half)))
            }
            [0xfa, a, b, c, d, ..] => {
                let single = f32::from_be_bytes([a, b, c, d]);
                (Shortest::Single(single), f64::from(single))
            }
            [0xfb, a, b, c, d, e, f, g, h, ..] => {
                let double = f64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (Shortest::Double(double), double)
            }
            [] | [0xf9..=0xfb, ..] => return self.refuse(DecodeError::Truncated),
            _ => return self.refuse(DecodeError::Type),
        };
        if Shortest::of(value) != float {
            return self.refuse(DecodeError::NotDeterministic);
        }
        self.position += match float {
            Shortest::Half(_) => 3,
            Shortest::Single(_) => 5,
            Shortest::Double(_) => 9,
        };
        value
    }

    /// Exactly these bytes: a part of a document that is always the same.
    #[inline(never)]
    pub fn literal(&mut self, literal: &[u8]) {
        let rest = self.rest();
        if rest.starts_with(literal) {
            self.position += literal.len();
        } else if literal.starts_with(rest) {
            self.fail(DecodeError::Truncated);
        } else {
            self.fail(DecodeError::Value);
        }
    }

    /// The head of a tuple of at least `elements`: how many more there are, which the caller gives to
    /// [`Reader::skip_items`] once it has read those that it knows.
    #[inline(never)]
    pub fn tuple(&mut self, elements: u8) -> u64 {
        let count = self.array();
        count.checked_sub(u64::from(elements)).unwrap_or_else(|| self.refuse(DecodeError::Missing))
    }

    /// Reads past `count` items of any kind.
    pub fn skip_items(&mut self, count: u64) {
        for _ in 0..count {
            if self.error.is_some() {
                return;
            }
            self.skip(limits::NESTING);
        }
    }

    /// The bytes of the next item, whatever it is, having checked that they are deterministic. The
    /// work is one pass over them.
    ///
    /// # Errors
    /// If they are not, if there is no item, or if something was wrong before.
    pub fn item(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.position;
        self.skip(limits::NESTING);
        self.status()?;
        Ok(self.since(start))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// Fails, and gives the nothing that goes with it.
    fn refuse<T: Default>(&mut self, error: DecodeError) -> T {
        self.fail(error);
        T::default()
    }

    /// Reads past an item. Each round of a loop either reads a byte or fails.
    fn skip(&mut self, depth: usize) {
        let deeper = depth.saturating_sub(1);
        match self.kind() {
            Kind::Array | Kind::Map | Kind::Tag if depth == 0 => self.fail(DecodeError::Nesting),
            Kind::Unsigned => {
                self.uint();
            }
            Kind::Negative => {
                self.head(Major::Negative);
            }
            Kind::Bytes => {
                self.bytes();
            }
            Kind::Text => {
                self.text();
            }
            Kind::Array => {
                let mut left = self.array();
                while left > 0 && self.error.is_none() {
                    self.skip(deeper);
                    left -= 1;
                }
            }
            Kind::Map => self.skip_map(deeper),
            Kind::Tag => {
                self.tag();
                self.skip(deeper);
            }
            Kind::Bool => {
                self.bool();
            }
            Kind::Null => {
                self.take_null();
            }
            Kind::Float => {
                self.float();
            }
            // Other simple values are in no vocabulary of ours, now or later.
            Kind::Other if self.is_at_end() => self.fail(DecodeError::Truncated),
            Kind::Other => self.fail(DecodeError::Type),
        }
    }

    fn skip_map(&mut self, deeper: usize) {
        let mut left = self.map();
        let mut last: &[u8] = &[];
        while left > 0 && self.error.is_none() {
            let start = self.position;
            self.skip(deeper);
            let key = self.since(start);
            if key <= last {
                self.fail(DecodeError::NotDeterministic);
            }
            last = key;
            self.skip(deeper);
            left -= 1;
        }
    }

    /// The argument of an item of this type: a number, a length or a count.
    #[inline(never)]
    fn head(&mut self, major: Major) -> u64 {
        let Some((&first, rest)) = self.rest().split_first() else {
            return self.refuse(DecodeError::Truncated);
        };
        if first >> 5 != major as u8 {
            return self.refuse(DecodeError::Type);
        }
        let len = match first & 0x1f {
            info @ 0..=23 => {
                self.position += 1;
                return u64::from(info);
            }
            info @ 24..=27 => 1 << (info - 24),
            31 if matches!(major, Major::Bytes | Major::Text | Major::Array | Major::Map) => {
                return self.refuse(DecodeError::NotDeterministic);
            }
            _ => return self.refuse(DecodeError::Type),
        };
        let Some(bytes) = rest.get(..len) else { return self.refuse(DecodeError::Truncated) };
        let argument = bytes.iter().fold(0, |argument, byte| argument << 8 | u64::from(*byte));
        // The shorter form of half the length would have held less than this.
        let least = if len == 1 { 24 } else { 1 << (4 * len) };
        if argument < least {
            return self.refuse(DecodeError::NotDeterministic);
        }
        self.position += 1 + len;
        argument
    }

    #[inline(never)]
    fn string(&mut self, major: Major) -> &'a [u8] {
        let len = usize::try_from(self.head(major)).unwrap_or(usize::MAX);
        let Some(content) = self.rest().get(..len) else {
            return self.refuse(DecodeError::Truncated);
        };
        self.position += len;
        content
    }
}

/// The fields of a record, taken in the order of their keys.
#[derive(Debug)]
pub struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// How many pairs come after the one whose key has been read.
    left: u64,
    /// The key that has been read, whose value comes next.
    key: Option<u32>,
}

/// The largest key.
const MAX_KEY: u32 = 0xffff;

impl<'r, 'a> Fields<'r, 'a> {
    /// Starts a record of at most [`limits::FIELDS`] fields.
    #[inline(never)]
    pub fn new(reader: &'r mut Reader<'a>) -> Self {
        let left = reader.map();
        if left > length(limits::FIELDS) {
            reader.fail(DecodeError::Bound);
        }
        let mut fields = Self { reader, left, key: None };
        fields.advance();
        fields
    }

    /// The field with this key, or what its absence means. Fields with smaller keys that have not
    /// been taken are skipped.
    pub fn take<T: Decode<'a> + Encode>(&mut self, key: u8) -> T {
        if !self.seek(u32::from(key)) {
            return T::ABSENT.unwrap_or_else(|| {
                self.reader.fail(DecodeError::Missing);
                T::read(self.reader)
            });
        }
        let value = T::read(self.reader);
        if value.is_absent() {
            self.reader.fail(DecodeError::NotDeterministic);
        }
        self.advance();
        value
    }

    /// Skips the fields that have not been taken.
    pub fn finish(mut self) {
        self.seek(MAX_KEY + 1);
    }

    /// Whether the field with this key comes next, once those before it have been skipped.
    #[inline(never)]
    fn seek(&mut self, wanted: u32) -> bool {
        while let Some(key) = self.key {
            if key >= wanted {
                return key == wanted;
            }
            self.reader.skip(limits::NESTING);
            self.advance();
        }
        false
    }

    #[inline(never)]
    fn advance(&mut self) {
        let last = self.key;
        self.key = None;
        if self.left > 0 && self.reader.error.is_none() {
            self.left -= 1;
            let key = Some(self.reader.uint_to(MAX_KEY));
            // `None` sorts before every key.
            if key > last {
                self.key = key;
            } else {
                self.reader.fail(DecodeError::NotDeterministic);
            }
        }
    }
}

/// A length as CBOR's argument.
pub(super) const fn length(len: usize) -> u64 {
    len as u64
}
