//! Values that cross the boundary between capsule and node.

use crate::node;
use core::fmt;

/// A message's type: `describe!` and `schema!` make one of each schema.
///
/// It crosses the boundary as a record: its fields in order, little-endian, laid out as a C compiler
/// does.
pub trait Record: Sized {
    /// The record's bytes: an array of its length.
    type Bytes: AsRef<[u8]> + AsMut<[u8]>;
    /// A record of zeros.
    const ZERO: Self::Bytes;

    /// Reads a record. The node has checked it: it is what the schema says.
    fn from_record(record: &Self::Bytes) -> Self;

    /// Writes the record.
    fn to_record(&self) -> Self::Bytes;
}

/// Nothing: the body of a request or response that carries none.
impl Record for () {
    type Bytes = [u8; 0];
    const ZERO: [u8; 0] = [];

    fn from_record(_: &[u8; 0]) -> Self {}

    fn to_record(&self) -> [u8; 0] {
        []
    }
}

/// What a one-shot capsule takes or gives: a [`Record`], or bytes or text as they come.
pub trait Payload: Sized {
    /// Takes the payload of the event being handled, of `len` bytes; `None` if it does not fit.
    fn take(len: u32) -> Option<Self>;

    /// Lends the bytes.
    fn lend<T>(&self, to: impl FnOnce(&[u8]) -> T) -> T;
}

impl<R: Record> Payload for R {
    fn take(len: u32) -> Option<Self> {
        let mut record = R::ZERO;
        if usize::try_from(len) != Ok(record.as_ref().len()) {
            return None;
        }
        node::read(0, record.as_mut());
        Some(R::from_record(&record))
    }

    fn lend<T>(&self, to: impl FnOnce(&[u8]) -> T) -> T {
        to(self.to_record().as_ref())
    }
}

impl<const MAX: usize> Payload for Bytes<MAX> {
    fn take(len: u32) -> Option<Self> {
        let count = u8::try_from(len).ok()?;
        let mut taken = Self { count, bytes: [0; MAX] };
        node::read(0, taken.bytes.get_mut(..usize::from(count))?);
        Some(taken)
    }

    fn lend<T>(&self, to: impl FnOnce(&[u8]) -> T) -> T {
        to(self.as_slice())
    }
}

impl<const MAX: usize> Payload for Text<MAX> {
    fn take(len: u32) -> Option<Self> {
        let bytes = Bytes::take(len)?;
        core::str::from_utf8(bytes.as_slice()).ok()?;
        Some(Self(bytes))
    }

    fn lend<T>(&self, to: impl FnOnce(&[u8]) -> T) -> T {
        to(self.0.as_slice())
    }
}

/// At most `MAX` bytes, which is no more than 255.
#[derive(Clone, Copy)]
pub struct Bytes<const MAX: usize> {
    count: u8,
    /// Zero behind the count, so that equal values have equal records.
    bytes: [u8; MAX],
}

impl<const MAX: usize> Bytes<MAX> {
    /// None.
    pub const EMPTY: Self = Self { count: 0, bytes: [0; MAX] };

    /// The bytes, unless there are more than `MAX`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut new = Self::EMPTY;
        new.count = u8::try_from(bytes.len()).ok()?;
        new.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(new)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.count)).unwrap_or(&self.bytes)
    }
}

impl<const MAX: usize> PartialEq for Bytes<MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const MAX: usize> Eq for Bytes<MAX> {}

impl<const MAX: usize> Default for Bytes<MAX> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const MAX: usize> fmt::Debug for Bytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// At most `MAX` bytes of UTF-8; `MAX` is no more than 255.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<const MAX: usize>(Bytes<MAX>);

impl<const MAX: usize> Text<MAX> {
    /// No text.
    pub const EMPTY: Self = Self(Bytes::EMPTY);

    /// The text, unless it is longer than `MAX` bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Bytes::new(text.as_bytes()).map(Self)
    }

    /// The text, which is known to fit when this is compiled.
    #[doc(hidden)]
    #[must_use]
    pub const fn literal(text: &str) -> Self {
        let (text, mut bytes, mut at) = (text.as_bytes(), [0; MAX], 0);
        let (mut from, mut to) = (text, bytes.as_mut_slice());
        while let ([byte, rest @ ..], [place, places @ ..]) = (from, to) {
            *place = *byte;
            (from, to) = (rest, places);
            at += 1;
        }
        Self(Bytes { count: at, bytes })
    }

    /// The start of the text, cut between two characters if it is too long.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut end = text.len().min(MAX).min(usize::from(u8::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).and_then(Self::new).unwrap_or(Self::EMPTY)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        #[expect(
            unsafe_code,
            reason = "a second check would cost every capsule with texts 300 bytes"
        )]
        // SAFETY: The bytes were taken from a `str`, were checked, or came in a record, of which the
        // contract has the node check that its texts are UTF-8.
        unsafe {
            core::str::from_utf8_unchecked(self.0.as_slice())
        }
    }
}

impl<const MAX: usize> PartialEq<str> for Text<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0.as_slice() == other.as_bytes()
    }
}

impl<const MAX: usize> PartialEq<&str> for Text<MAX> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A value within a record.
pub trait Field: Sized {
    /// Reads it from its place.
    fn read(place: &[u8]) -> Self;

    /// Writes it to its place, which holds zeros.
    fn write(&self, place: &mut [u8]);
}

/// The value at a place of a record.
#[inline(always)]
#[must_use]
pub fn get<F: Field>(record: &[u8], at: usize, len: usize) -> F {
    F::read(record.get(at..at + len).unwrap_or_default())
}

/// Puts a value to its place.
#[inline(always)]
pub fn put<F: Field>(record: &mut [u8], at: usize, len: usize, value: &F) {
    value.write(record.get_mut(at..at + len).unwrap_or_default());
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            #[inline(always)]
            fn read(place: &[u8]) -> Self {
                place.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }

            #[inline(always)]
            fn write(&self, place: &mut [u8]) {
                place.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

impl Field for bool {
    #[inline(always)]
    fn read(place: &[u8]) -> Self {
        place.first().is_some_and(|byte| *byte != 0)
    }

    #[inline(always)]
    fn write(&self, place: &mut [u8]) {
        u8::from(*self).write(place);
    }
}

impl<const MAX: usize> Field for Bytes<MAX> {
    fn read(place: &[u8]) -> Self {
        let (count, rest) = place.split_first().unwrap_or((&0, &[]));
        rest.try_into().map(|bytes| Self { count: *count, bytes }).unwrap_or_default()
    }

    fn write(&self, place: &mut [u8]) {
        if let Some((count, rest)) = place.split_first_mut() {
            *count = self.count;
            rest.copy_from_slice(&self.bytes);
        }
    }
}

impl<const MAX: usize> Field for Text<MAX> {
    fn read(place: &[u8]) -> Self {
        Self(Bytes::read(place))
    }

    fn write(&self, place: &mut [u8]) {
        self.0.write(place);
    }
}
