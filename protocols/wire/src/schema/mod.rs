//! What messages consist of: named, versioned types whose fields have units.
//!
//! A schema's identity ([`SchemaId`]) is the digest of its encoding. Two capsules can be wired when
//! the ids are equal, and nothing less: another unit, order or name of a field is another schema.

mod payload;
mod record;
mod unit;

pub use payload::{Mismatch, Payload, PayloadWriter, Reason, Value, Values, WriteError};
pub use unit::Unit;

use crate::cbor::macros::check;
use crate::cbor::{Decode, DecodeError, Encode, List, Reader, Writer};
use crate::digest::{Digest, Hasher};
use crate::limits;
use crate::text::{Name, are_distinct};
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
        let mut update = |write: &dyn Fn(&mut Writer<'_>)| {
            let mut writer = Writer::new(&mut buf);
            write(&mut writer);
            debug_assert_eq!(writer.status(), Ok(()), "limits::FIELD is too small");
            hasher.update(writer.written());
        };
        update(&|writer| self.write_head(writer));
        for field in self.fields {
            update(&|writer| field.write(writer));
        }
        SchemaId(hasher.finish())
    }

    /// The longest payload of this schema, in bytes.
    #[must_use]
    pub fn max_payload_len(&self) -> usize {
        max_payload_len(&self.fields)
    }

    fn write_head(&self, writer: &mut Writer<'_>) {
        writer.map(3).uint(0);
        self.name.write(writer);
        writer.uint(1).uint(u64::from(self.version)).uint(2).array(self.fields.len());
    }
}

/// Whether the names of fields differ and their longest payload keeps its bound. The work grows with
/// the square of a small bound.
pub(crate) fn check_fields(fields: &Fields<'_>) -> Result<(), DecodeError> {
    if !are_distinct(&mut fields.iter().map(|field| field.name)) {
        return Err(DecodeError::Value);
    }
    if max_payload_len(fields) > limits::PAYLOAD { Err(DecodeError::Bound) } else { Ok(()) }
}

fn max_payload_len(fields: &Fields<'_>) -> usize {
    // One byte counts up to 23 fields.
    1 + fields.iter().map(|field| field.ty.max_encoded_len()).sum::<usize>()
}

impl<'a> Decode<'a> for Schema<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        reader.literal(b"\xa3\x00");
        let name = Name::read(reader);
        reader.literal(b"\x01");
        let version = u16::read(reader);
        reader.literal(b"\x02");
        let fields = Fields::read(reader);
        check(reader, || Self::new(name, version, fields).map(drop));
        Self { name, version, fields }
    }
}

impl Encode for Schema<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        self.write_head(writer);
        self.fields.iter().for_each(|field| field.write(writer));
    }
}

impl<'a> Decode<'a> for Field<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        reader.literal(b"\x84");
        Self {
            name: Name::read(reader),
            ty: FieldType::read(reader),
            unit: Unit::read(reader),
            optional: bool::read(reader),
        }
    }
}

impl Encode for Field<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.array(4);
        self.name.write(writer);
        self.ty.write(writer);
        self.unit.write(writer);
        self.optional.write(writer);
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
    fn read(reader: &mut Reader<'a>) -> Self {
        let is_scalar = reader.kind() == crate::cbor::Kind::Unsigned;
        if !is_scalar {
            reader.literal(b"\x82");
        }
        let code = u8::read(reader);
        let ty = if is_scalar {
            Self::SCALARS.get(usize::from(code)).copied()
        } else {
            let max = u8::read(reader);
            match code {
                TEXT => Some(Self::Text(max)),
                BYTES => Some(Self::Bytes(max)),
                _ => None,
            }
        };
        ty.unwrap_or_else(|| {
            reader.fail(DecodeError::Unknown);
            Self::Bool
        })
    }
}

impl Encode for FieldType {
    fn write(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::Text(max) => writer.array(2).uint(u64::from(TEXT)).uint(u64::from(max)),
            Self::Bytes(max) => writer.array(2).uint(u64::from(BYTES)).uint(u64::from(max)),
            scalar => {
                let code = Self::SCALARS.iter().position(|ty| *ty == scalar).unwrap_or_default();
                writer.uint(code as u64)
            }
        };
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
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(Decode::read(reader))
    }
}

impl Encode for SchemaId {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
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
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(Decode::read(reader))
    }
}

impl Encode for SchemaTag {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
    }
}

#[cfg(test)]
mod tests;
