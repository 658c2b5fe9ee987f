//! What messages consist of: named, versioned types whose fields have units.
//!
//! A schema's identity ([`SchemaId`]) is the digest of its encoding. Two capsules can be wired when
//! the ids are equal, and nothing less: another unit, order or name of a field is another schema.

mod payload;
mod record;
mod unit;

pub use payload::{Mismatch, Payload, PayloadWriter, Reason, Value, Values, WriteError};
pub use unit::Unit;

use crate::cbor::{Decode, DecodeError, Encode, List, Overflow, Reader, Writer};
use crate::digest::{Digest, Hasher};
use crate::limits;
use crate::text::Name;
use core::fmt;

/// The type of the messages of a topic:
///
/// ```text
/// schema = {0: name, 1: version, 2: [field, ...]}
/// field  = [name, type, unit, optional]
/// ```
///
/// Unlike other records it never grows: a reader that skipped what it does not know would see another
/// identity than one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema<'a> {
    name: Name<'a>,
    version: u16,
    fields: Fields<'a>,
}

/// The fields of a schema, in the order of their values in a payload.
pub type Fields<'a> = List<'a, Field<'a>, { limits::FIELDS_OF_SCHEMA }>;

/// One value of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field<'a> {
    /// What it is called.
    pub name: Name<'a>,
    /// What it holds.
    pub ty: FieldType,
    /// What it is measured in.
    pub unit: Unit,
    /// Whether it may be absent.
    pub optional: bool,
}

impl<'a> Schema<'a> {
    /// Puts a schema together.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if there are no fields, or two with one name; [`DecodeError::Bound`] if
    /// its longest payload is longer than [`limits::PAYLOAD`].
    pub fn new(name: Name<'a>, version: u16, fields: Fields<'a>) -> Result<Self, DecodeError> {
        if fields.is_empty() {
            return Err(DecodeError::Value);
        }
        check_fields(&fields)?;
        Ok(Self { name, version, fields })
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> Name<'a> {
        self.name
    }

    /// Which of the schemas with that name, for people: what tells them apart is the id.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Its fields.
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// The schema's identity. The work is one pass over its fields, each hashed as it is encoded.
    #[must_use]
    pub fn id(&self) -> SchemaId {
        let mut hasher = Hasher::new();
        let mut buf = [0; limits::FIELD];
        let mut update = |write: &dyn Fn(&mut Writer<'_>) -> Result<(), Overflow>| {
            let mut writer = Writer::new(&mut buf);
            let written = write(&mut writer);
            debug_assert_eq!(written, Ok(()), "limits::FIELD is too small");
            hasher.update(writer.written());
        };
        update(&|writer| self.encode_head(writer));
        for field in self.fields {
            update(&|writer| field.encode(writer));
        }
        SchemaId(hasher.finish())
    }

    /// The longest payload of this schema, in bytes.
    #[must_use]
    pub fn max_payload_len(&self) -> usize {
        max_payload_len(&self.fields)
    }

    fn encode_head(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.map(3)?.uint(0)?;
        self.name.encode(writer)?;
        writer.uint(1)?.uint(u64::from(self.version))?.uint(2)?.array(self.fields.len()).map(drop)
    }
}

/// Whether the names of fields differ and their longest payload keeps its bound. The work grows with
/// the square of a small bound.
pub(crate) fn check_fields(fields: &Fields<'_>) -> Result<(), DecodeError> {
    for (i, field) in fields.iter().enumerate() {
        if fields.iter().take(i).any(|other| other.name == field.name) {
            return Err(DecodeError::Value);
        }
    }
    if max_payload_len(fields) > limits::PAYLOAD { Err(DecodeError::Bound) } else { Ok(()) }
}

fn max_payload_len(fields: &Fields<'_>) -> usize {
    // One byte counts up to 23 fields.
    1 + fields.iter().map(|field| field.ty.max_encoded_len()).sum::<usize>()
}

impl<'a> Decode<'a> for Schema<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.map()? != 3 || reader.uint()? != 0 {
            return Err(DecodeError::Value);
        }
        let name = Name::decode(reader)?;
        if reader.uint()? != 1 {
            return Err(DecodeError::Value);
        }
        let version = u16::decode(reader)?;
        if reader.uint()? != 2 {
            return Err(DecodeError::Value);
        }
        Self::new(name, version, Fields::decode(reader)?)
    }
}

impl Encode for Schema<'_> {
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        self.encode_head(writer)?;
        self.fields.iter().try_for_each(|field| field.encode(writer))
    }
}

impl<'a> Decode<'a> for Field<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.array()? != 4 {
            return Err(DecodeError::Value);
        }
        Ok(Self {
            name: Name::decode(reader)?,
            ty: FieldType::decode(reader)?,
            unit: Unit::decode(reader)?,
            optional: bool::decode(reader)?,
        })
    }
}

impl Encode for Field<'_> {
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.array(4)?;
        self.name.encode(writer)?;
        self.ty.encode(writer)?;
        self.unit.encode(writer)?;
        self.optional.encode(writer)
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `false` or `true`.
    Bool,
    /// An unsigned integer of 8 bits.
    U8,
    /// An unsigned integer of 16 bits.
    U16,
    /// An unsigned integer of 32 bits.
    U32,
    /// An unsigned integer of 64 bits.
    U64,
    /// A signed integer of 8 bits.
    I8,
    /// A signed integer of 16 bits.
    I16,
    /// A signed integer of 32 bits.
    I32,
    /// A signed integer of 64 bits.
    I64,
    /// A single-precision float.
    F32,
    /// A double-precision float.
    F64,
    /// UTF-8 of at most so many bytes.
    Text(u8),
    /// At most so many bytes.
    Bytes(u8),
}

const TEXT: u8 = 11;
const BYTES: u8 = 12;

impl FieldType {
    /// The types that are only a code on the wire, in the order of their codes. It only grows, behind
    /// the codes of text and bytes.
    const SCALARS: [Self; 11] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F32,
        Self::F64,
    ];

    /// How the type is called in schema files: `bool`, `u8`, ..., `text`, `bytes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }

    /// The longest encoding of a value of this type, in bytes.
    #[must_use]
    pub const fn max_encoded_len(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::U8 | Self::I8 => 2,
            Self::U16 | Self::I16 => 3,
            Self::U32 | Self::I32 | Self::F32 => 5,
            Self::U64 | Self::I64 | Self::F64 => 9,
            Self::Text(max) | Self::Bytes(max) => 2 + max as usize,
        }
    }
}

impl<'a> Decode<'a> for FieldType {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.kind()? == crate::cbor::Kind::Unsigned {
            let code = usize::from(u8::decode(reader)?);
            return Self::SCALARS.get(code).copied().ok_or(DecodeError::Unknown);
        }
        if reader.array()? != 2 {
            return Err(DecodeError::Value);
        }
        let code = u8::decode(reader)?;
        let max = u8::decode(reader)?;
        match code {
            TEXT => Ok(Self::Text(max)),
            BYTES => Ok(Self::Bytes(max)),
            _ => Err(DecodeError::Unknown),
        }
    }
}

impl Encode for FieldType {
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        match *self {
            Self::Text(max) => writer.array(2)?.uint(u64::from(TEXT))?.uint(u64::from(max))?,
            Self::Bytes(max) => writer.array(2)?.uint(u64::from(BYTES))?.uint(u64::from(max))?,
            scalar => {
                let code = Self::SCALARS.iter().position(|ty| *ty == scalar).unwrap_or_default();
                writer.uint(code as u64)?
            }
        };
        Ok(())
    }
}

/// The identity of a schema: the digest of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub Digest);

impl SchemaId {
    /// Its first four bytes, which go with every batch of messages: a producer and a consumer that
    /// disagree on the schema after a half-finished update notice at once.
    #[must_use]
    pub fn tag(&self) -> SchemaTag {
        let [a, b, c, d, ..] = *self.0.as_bytes();
        SchemaTag([a, b, c, d])
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'a> Decode<'a> for SchemaId {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Decode::decode(reader).map(Self)
    }
}

impl Encode for SchemaId {
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        self.0.encode(writer)
    }
}

/// The start of a [`SchemaId`]: a guard against mistakes, not against malice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaTag(pub [u8; 4]);

impl fmt::Debug for SchemaTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'a> Decode<'a> for SchemaTag {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Decode::decode(reader).map(Self)
    }
}

impl Encode for SchemaTag {
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        self.0.encode(writer)
    }
}

#[cfg(test)]
mod tests;
