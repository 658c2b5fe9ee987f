//! Deterministic CBOR, read from and written to borrowed bytes.
//!
//! What is written follows RFC 8949 section 4.2.1 (core deterministic encoding), and what does not
//! follow it is refused when read: arguments in their shortest form, floats in the shortest form
//! that keeps their value, definite lengths only, map keys in bytewise order and never twice,
//! nothing behind the item. So a value has one encoding, and a digest or a signature over the
//! encoding is one over the value.
//!
//! It is not built on `minicbor`, which accepts every well-formed encoding, and whose derives took
//! more than twice the flash on a Cortex-M3; the tests compare with it. Types say how they are laid
//! out with the macros of `macros.rs`:
//! - a **record** is a map with small unsigned keys. A field that has a default is left out when it
//!   has it. Later versions append keys; a reader skips the keys that it does not know.
//! - a **tuple** is an array. Later versions append elements; a reader skips them likewise.
//! - a **code** is an unsigned number out of a table that only grows; a **union** is an array of
//!   such a number and a body. A reader keeps an unknown number as `Unknown`.

mod float;
mod list;
pub(crate) mod macros;
mod reader;
mod writer;

pub use list::{Iter, List, TooMany};
pub use macros::Unrecognised;
pub use reader::{Fields, Kind, Reader};
pub use writer::Writer;

use core::fmt;

/// What can be read from CBOR, borrowing from it.
pub trait Decode<'a>: Sized {
    /// What it means that a record does not have this field; `None` if it must have it.
    const ABSENT: Option<Self> = None;

    /// Reads one value. If the bytes are not a deterministic encoding of a legal value, the reader
    /// remembers it, and what is returned means nothing.
    fn read(reader: &mut Reader<'a>) -> Self;
}

/// What can be written as CBOR.
pub trait Encode {
    /// Writes the value. If it does not fit, the writer remembers it.
    fn write(&self, writer: &mut Writer<'_>);

    /// Whether a record leaves this field out ([`Decode::ABSENT`]).
    fn is_absent(&self) -> bool {
        false
    }
}

/// Reads `bytes`, all of which must be one value.
///
/// # Errors
/// Why they are not.
pub fn decode<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = T::read(&mut reader);
    reader.finish()?;
    Ok(value)
}

/// Writes `value` to the start of `buf` and returns its length.
///
/// # Errors
/// If it does not fit; `buf` then holds the part that did.
pub fn encode<T: Encode + ?Sized>(value: &T, buf: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::new(buf);
    value.write(&mut writer);
    writer.finish()
}

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// They end within the value.
    Truncated,
    /// Something of another type stands where a value was expected.
    Type,
    /// They are not in the one deterministic form of what they say.
    NotDeterministic,
    /// There are bytes behind the value.
    Trailing,
    /// A record lacks a field, or a tuple an element.
    Missing,
    /// A count, length or number is past its bound.
    Bound,
    /// A value is none of the legal ones: a name with other characters, a digest of a wrong length,
    /// fields that contradict each other.
    Value,
    /// A code that this version does not know, where it must know it to go on.
    Unknown,
    /// A document's format version is not one that this crate reads.
    Version,
    /// Text is not UTF-8.
    Utf8,
    /// Nested deeper than [`limits::NESTING`](crate::limits::NESTING).
    Nesting,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end within a value",
            Self::Type => "a value has another type than expected",
            Self::NotDeterministic => "a value is not in its deterministic form",
            Self::Trailing => "there are bytes behind the value",
            Self::Missing => "a field is missing",
            Self::Bound => "a count, length or number is past its bound",
            Self::Value => "a value is none of the legal ones",
            Self::Unknown => "a code is unknown to this version",
            Self::Version => "the document has an unknown format version",
            Self::Utf8 => "text is not UTF-8",
            Self::Nesting => "values are nested too deeply",
        })
    }
}

impl core::error::Error for DecodeError {}

/// The buffer is too small for what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not fit its buffer")
    }
}

impl core::error::Error for Overflow {}

impl<'a> Decode<'a> for bool {
    const ABSENT: Option<Self> = Some(false);

    fn read(reader: &mut Reader<'a>) -> Self {
        reader.bool()
    }
}

impl Encode for bool {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bool(*self);
    }

    fn is_absent(&self) -> bool {
        !self
    }
}

macro_rules! uints {
    ($($uint:ty),*) => {$(
        impl<'a> Decode<'a> for $uint {
            fn read(reader: &mut Reader<'a>) -> Self {
                Self::try_from(reader.uint_to(u32::from(Self::MAX))).unwrap_or_default()
            }
        }

        impl Encode for $uint {
            fn write(&self, writer: &mut Writer<'_>) {
                writer.uint(u64::from(*self));
            }
        }
    )*};
}

uints!(u8, u16, u32);

impl<'a> Decode<'a> for u64 {
    fn read(reader: &mut Reader<'a>) -> Self {
        reader.uint()
    }
}

impl Encode for u64 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.uint(*self);
    }
}

impl<'a> Decode<'a> for i64 {
    fn read(reader: &mut Reader<'a>) -> Self {
        reader.int()
    }
}

impl Encode for i64 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.int(*self);
    }
}

/// `null` where a tuple has no value; a record leaves the field out.
impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    const ABSENT: Option<Self> = Some(None);

    fn read(reader: &mut Reader<'a>) -> Self {
        if reader.take_null() { None } else { Some(T::read(reader)) }
    }
}

impl<T: Encode> Encode for Option<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Some(value) => value.write(writer),
            None => {
                writer.null();
            }
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A byte string of exactly `N` bytes.
impl<'a, const N: usize> Decode<'a> for [u8; N] {
    fn read(reader: &mut Reader<'a>) -> Self {
        *reader.array_of_bytes()
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self);
    }
}

#[cfg(test)]
mod tests;
