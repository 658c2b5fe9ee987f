//! Reading, one token at a time.

use super::float::{Shortest, single_from_half};
use super::{Decode, DecodeError};
use crate::limits;

/// Reads deterministic CBOR front to back. After an error it stands somewhere in the middle and is
/// of no more use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Never past the end.
    position: usize,
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
    /// Another simple value, or something that has no meaning.
    Other,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
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
        self.rest().is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] unless everything has been read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_at_end() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// The sort of the next item.
    ///
    /// # Errors
    /// If there is no next item.
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        let first = self.rest().first().ok_or(DecodeError::Truncated)?;
        Ok(match first {
            0x00..=0x1f => Kind::Unsigned,
            0x20..=0x3f => Kind::Negative,
            0x40..=0x5f => Kind::Bytes,
            0x60..=0x7f => Kind::Text,
            0x80..=0x9f => Kind::Array,
            0xa0..=0xbf => Kind::Map,
            0xc0..=0xdf => Kind::Tag,
            0xf4 | 0xf5 => Kind::Bool,
            0xf6 => Kind::Null,
            0xf9..=0xfb => Kind::Float,
            _ => Kind::Other,
        })
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        self.head(Major::Unsigned)
    }

    /// An integer of either sign.
    ///
    /// # Errors
    /// If something else comes next, or an integer that an `i64` does not hold.
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        if self.kind()? == Kind::Negative {
            let value = i64::try_from(self.head(Major::Negative)?);
            // -1 - n, as the encoding has it.
            value.map(|n| !n)
        } else {
            i64::try_from(self.uint()?)
        }
        .map_err(|_| DecodeError::Bound)
    }

    /// `false` or `true`.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        let value = match self.rest().first().ok_or(DecodeError::Truncated)? {
            0xf4 => false,
            0xf5 => true,
            _ => return Err(DecodeError::Type),
        };
        self.position += 1;
        Ok(value)
    }

    /// Reads `null` if it comes next, and says whether it did.
    pub fn take_null(&mut self) -> bool {
        let is_null = self.rest().first() == Some(&0xf6);
        self.position += usize::from(is_null);
        is_null
    }

    /// A byte string.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.head(Major::Bytes)?;
        self.content(len)
    }

    /// A text string.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.head(Major::Text)?;
        core::str::from_utf8(self.content(len)?).map_err(|_| DecodeError::Utf8)
    }

    /// The head of an array: how many items follow.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn array(&mut self) -> Result<u64, DecodeError> {
        self.head(Major::Array)
    }

    /// The head of a map: how many pairs follow. The caller checks the order of the keys.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn map(&mut self) -> Result<u64, DecodeError> {
        self.head(Major::Map)
    }

    /// A tag's number; the tagged item follows.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn tag(&mut self) -> Result<u64, DecodeError> {
        self.head(Major::Tag)
    }

    /// A float. NaN has one encoding, without sign or payload.
    ///
    /// # Errors
    /// If something else comes next.
    pub fn float(&mut self) -> Result<f64, DecodeError> {
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
            [] | [0xf9..=0xfb, ..] => return Err(DecodeError::Truncated),
            _ => return Err(DecodeError::Type),
        };
        if Shortest::of(value) != float {
            return Err(DecodeError::NotDeterministic);
        }
        self.position += match float {
            Shortest::Half(_) => 3,
            Shortest::Single(_) => 5,
            Shortest::Double(_) => 9,
        };
        Ok(value)
    }

    /// The bytes of the next item, whatever it is, having checked that they are deterministic. The
    /// work is one pass over them.
    ///
    /// # Errors
    /// If they are not, or if there is no item.
    pub fn item(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.position();
        self.skip(limits::NESTING)?;
        Ok(self.since(start))
    }

    /// The head of a tuple of at least `elements`: how many more there are, which the caller gives to
    /// [`Reader::skip_items`] once it has read those that it knows.
    ///
    /// # Errors
    /// If something else comes next, or a tuple with fewer elements.
    pub fn tuple(&mut self, elements: usize) -> Result<u64, DecodeError> {
        self.array()?.checked_sub(length(elements)).ok_or(DecodeError::Missing)
    }

    /// Reads past `count` items of any kind.
    ///
    /// # Errors
    /// As [`Reader::item`].
    pub fn skip_items(&mut self, count: u64) -> Result<(), DecodeError> {
        (0..count).try_for_each(|_| self.skip(limits::NESTING))
    }

    /// What has been read since the reader stood at `start`.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    fn skip(&mut self, depth: usize) -> Result<(), DecodeError> {
        let deeper = depth.checked_sub(1).ok_or(DecodeError::Nesting);
        match self.kind()? {
            Kind::Unsigned => self.uint().map(drop),
            Kind::Negative => self.head(Major::Negative).map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Text => self.text().map(drop),
            Kind::Array => {
                for _ in 0..self.array()? {
                    self.skip(deeper?)?;
                }
                Ok(())
            }
            Kind::Map => {
                let mut last: &[u8] = &[];
                for _ in 0..self.map()? {
                    let start = self.position();
                    self.skip(deeper?)?;
                    let key = self.since(start);
                    if key <= last {
                        return Err(DecodeError::NotDeterministic);
                    }
                    last = key;
                    self.skip(deeper?)?;
                }
                Ok(())
            }
            Kind::Tag => {
                self.tag()?;
                self.skip(deeper?)
            }
            Kind::Bool => self.bool().map(drop),
            Kind::Null => {
                self.position += 1;
                Ok(())
            }
            Kind::Float => self.float().map(drop),
            // Other simple values are in no vocabulary of ours, now or later.
            Kind::Other => Err(DecodeError::Type),
        }
    }

    /// The argument of an item of this type: a number, a length or a count.
    fn head(&mut self, major: Major) -> Result<u64, DecodeError> {
        let (&first, rest) = self.rest().split_first().ok_or(DecodeError::Truncated)?;
        if first >> 5 != major as u8 {
            return Err(DecodeError::Type);
        }
        let len = match first & 0x1f {
            info @ 0..=23 => {
                self.position += 1;
                return Ok(u64::from(info));
            }
            info @ 24..=27 => 1 << (info - 24),
            31 if matches!(major, Major::Bytes | Major::Text | Major::Array | Major::Map) => {
                return Err(DecodeError::NotDeterministic);
            }
            _ => return Err(DecodeError::Type),
        };
        let bytes = rest.get(..len).ok_or(DecodeError::Truncated)?;
        let argument = bytes.iter().fold(0, |argument, byte| argument << 8 | u64::from(*byte));
        // The shorter form of half the length would have held less than this.
        let least = if len == 1 { 24 } else { 1 << (4 * len) };
        if argument < least {
            return Err(DecodeError::NotDeterministic);
        }
        self.position += 1 + len;
        Ok(argument)
    }

    fn content(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        let content = self.rest().get(..len).ok_or(DecodeError::Truncated)?;
        self.position += len;
        Ok(content)
    }
}

/// The major types (RFC 8949 section 3.1) whose heads have an argument.
#[derive(Clone, Copy)]
enum Major {
    Unsigned = 0,
    Negative = 1,
    Bytes = 2,
    Text = 3,
    Array = 4,
    Map = 5,
    Tag = 6,
}

/// The fields of a record, taken in the order of their keys.
#[derive(Debug)]
pub struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// How many pairs come after the one whose key has been read.
    left: u64,
    /// The key that has been read, whose value comes next.
    key: Option<u64>,
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Starts a record.
    ///
    /// # Errors
    /// If something else comes next, or a record with more than [`limits::FIELDS`] fields.
    pub fn new(reader: &'r mut Reader<'a>) -> Result<Self, DecodeError> {
        let left = reader.map()?;
        if left > length(limits::FIELDS) {
            return Err(DecodeError::Bound);
        }
        let mut fields = Self { reader, left, key: None };
        fields.advance()?;
        Ok(fields)
    }

    /// The field with this key, or what its absence means. Fields with smaller keys that have not
    /// been taken are skipped.
    ///
    /// # Errors
    /// If its value is refused, or missing and without a default.
    pub fn take<T: Decode<'a> + super::Encode>(&mut self, key: u64) -> Result<T, DecodeError> {
        if !self.seek(key)? {
            return T::ABSENT.ok_or(DecodeError::Missing);
        }
        let value = T::decode(self.reader)?;
        if value.is_absent() {
            return Err(DecodeError::NotDeterministic);
        }
        self.advance()?;
        Ok(value)
    }

    /// Skips the fields that have not been taken.
    ///
    /// # Errors
    /// If they are not deterministic.
    pub fn finish(mut self) -> Result<(), DecodeError> {
        self.seek(u64::MAX).map(drop)
    }

    /// Whether the field with this key comes next, once those before it have been skipped.
    fn seek(&mut self, wanted: u64) -> Result<bool, DecodeError> {
        while let Some(key) = self.key {
            if key >= wanted {
                return Ok(key == wanted);
            }
            self.reader.item()?;
            self.advance()?;
        }
        Ok(false)
    }

    fn advance(&mut self) -> Result<(), DecodeError> {
        let last = self.key;
        self.key = match self.left {
            0 => None,
            _ => Some(self.reader.uint()?),
        };
        self.left = self.left.saturating_sub(1);
        // `None` sorts before every key.
        if self.key.is_some() && self.key <= last {
            return Err(DecodeError::NotDeterministic);
        }
        Ok(())
    }
}

/// A length as CBOR's argument.
pub(super) const fn length(len: usize) -> u64 {
    len as u64
}
