//! Values of a message, checked against its schema.
//!
//! A payload is an array with one value for each field, `null` where an optional one is absent.
//! Integers are in the range of their type, floats in their shortest form: 21.5 takes three bytes
//! whether the field is `f32` or `f64`.

use super::{FieldType, Fields, Schema};
use crate::cbor::{Decode, DecodeError, Encode, Iter, Kind, Overflow, Reader, Writer};
use crate::limits;
use core::fmt;

/// An encoded payload: deterministic CBOR, no longer than a message may be. Whether it fits a schema
/// is another question, answered by [`Payload::check`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a>(&'a [u8]);

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The field is optional and has none.
    Absent,
    /// Of a `bool`.
    Bool(bool),
    /// Of a `u8` to `u64`.
    Uint(u64),
    /// Of an `i8` to `i64`.
    Int(i64),
    /// Of an `f32` or `f64`.
    Float(f64),
    /// Of a `text`.
    Text(&'a str),
    /// Of `bytes`.
    Bytes(&'a [u8]),
}

/// How a payload differs from its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The number of the field, counted from 0; that of the first one missing or too many if their
    /// count is wrong.
    pub field: u8,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no value, or there are more than fields.
    Count,
    /// It has another type.
    Type,
    /// It is out of the range of its type, or too long.
    Range,
    /// It is absent and may not be.
    Required,
    /// The bytes are not deterministic CBOR.
    Malformed,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Count => "is missing or one too many",
            Reason::Type => "has another type",
            Reason::Range => "is out of range or too long",
            Reason::Required => "is absent and may not be",
            Reason::Malformed => "is not well formed",
        };
        write!(f, "value {} {reason}", self.field)
    }
}

impl core::error::Error for Mismatch {}

impl<'a> Payload<'a> {
    /// Takes encoded bytes.
    ///
    /// # Errors
    /// If they are not one deterministic array, or longer than [`limits::PAYLOAD`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        crate::cbor::decode(bytes)
    }

    /// The encoded bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether the payload fits `schema`. The work is one pass over its values.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, schema: &Schema<'_>) -> Result<(), Mismatch> {
        let mut values = self.values(schema.fields())?;
        values.try_for_each(|value| value.map(drop))
    }

    /// The values, one for each of `fields`, each checked as it is reached.
    ///
    /// # Errors
    /// If there are not as many values as fields.
    pub fn values<'s>(&self, fields: Fields<'s>) -> Result<Values<'s, 'a>, Mismatch> {
        let mut reader = Reader::new(self.0);
        let count = reader.array();
        let wanted = fields.len() as u64;
        if reader.status().is_err() {
            return Err(Mismatch { field: 0, reason: Reason::Malformed });
        }
        if count != wanted {
            let field = u8::try_from(count.min(wanted)).unwrap_or(u8::MAX);
            return Err(Mismatch { field, reason: Reason::Count });
        }
        Ok(Values { fields: fields.iter(), reader, field: 0 })
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:02x?})", self.0)
    }
}

impl<'a> Decode<'a> for Payload<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        let is_array = reader.kind() == Kind::Array;
        let item = reader.item().unwrap_or_default();
        if !is_array {
            reader.fail(DecodeError::Type);
        }
        if item.len() > limits::PAYLOAD {
            reader.fail(DecodeError::Bound);
        }
        Self(item)
    }
}

impl Encode for Payload<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.raw(self.0);
    }
}

/// Iterates over the values of a [`Payload`]. It ends after the first mismatch.
#[derive(Clone, Debug)]
pub struct Values<'s, 'a> {
    fields: Iter<'s, super::Field<'s>>,
    reader: Reader<'a>,
    field: u8,
}

impl<'a> Iterator for Values<'_, 'a> {
    type Item = Result<Value<'a>, Mismatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.fields.next()?;
        let number = self.field;
        self.field = number.saturating_add(1);
        let value = read(&mut self.reader, field.ty, field.optional);
        if value.is_err() {
            self.fields = Fields::EMPTY.iter();
        }
        Some(value.map_err(|reason| Mismatch { field: number, reason }))
    }
}

fn read<'a>(reader: &mut Reader<'a>, ty: FieldType, optional: bool) -> Result<Value<'a>, Reason> {
    let value = match (reader.kind(), ty) {
        (Kind::Null, _) => {
            reader.take_null();
            Value::Absent
        }
        (Kind::Bool, FieldType::Bool) => Value::Bool(reader.bool()),
        (Kind::Unsigned, FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64) => {
            Value::Uint(reader.uint())
        }
        (
            Kind::Unsigned | Kind::Negative,
            FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64,
        ) => Value::Int(reader.int()),
        (Kind::Float, FieldType::F32 | FieldType::F64) => Value::Float(reader.float()),
        (Kind::Text, FieldType::Text(_)) => Value::Text(reader.text()),
        (Kind::Bytes, FieldType::Bytes(_)) => Value::Bytes(reader.bytes()),
        _ => return Err(Reason::Type),
    };
    match reader.status() {
        Ok(()) => {}
        // An integer that no `i64` holds.
        Err(DecodeError::Bound) => return Err(Reason::Range),
        Err(_) => return Err(Reason::Malformed),
    }
    check(value, ty, optional)?;
    Ok(value)
}

/// Whether a value may stand in a field of this type.
fn check(value: Value<'_>, ty: FieldType, optional: bool) -> Result<(), Reason> {
    let fits = match (value, ty) {
        (Value::Absent, _) => return if optional { Ok(()) } else { Err(Reason::Required) },
        (Value::Bool(_), FieldType::Bool)
        | (Value::Uint(_), FieldType::U64)
        | (Value::Int(_), FieldType::I64)
        | (Value::Float(_), FieldType::F64) => true,
        (Value::Uint(value), FieldType::U8) => value <= u64::from(u8::MAX),
        (Value::Uint(value), FieldType::U16) => value <= u64::from(u16::MAX),
        (Value::Uint(value), FieldType::U32) => value <= u64::from(u32::MAX),
        (Value::Int(value), FieldType::I8) => i8::try_from(value).is_ok(),
        (Value::Int(value), FieldType::I16) => i16::try_from(value).is_ok(),
        (Value::Int(value), FieldType::I32) => i32::try_from(value).is_ok(),
        (Value::Float(value), FieldType::F32) => is_single(value),
        (Value::Text(value), FieldType::Text(max)) => value.len() <= usize::from(max),
        (Value::Bytes(value), FieldType::Bytes(max)) => value.len() <= usize::from(max),
        _ => return Err(Reason::Type),
    };
    if fits { Ok(()) } else { Err(Reason::Range) }
}

/// Whether a single-precision float has this value.
fn is_single(value: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "whether it loses anything is checked")]
    let single = value as f32;
    value.is_nan() || f64::from(single).to_bits() == value.to_bits()
}

/// Writes a payload value by value, each checked against its field.
#[derive(Debug)]
pub struct PayloadWriter<'s, 'w, 'b> {
    writer: &'w mut Writer<'b>,
    start: usize,
    fields: Iter<'s, super::Field<'s>>,
    field: u8,
    error: Option<WriteError>,
}

/// Why a value was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The buffer is too small.
    Overflow,
    /// The value does not fit its field.
    Mismatch(Mismatch),
}

impl From<Overflow> for WriteError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => Overflow.fmt(f),
            Self::Mismatch(mismatch) => mismatch.fmt(f),
        }
    }
}

impl core::error::Error for WriteError {}

impl<'s, 'w, 'b> PayloadWriter<'s, 'w, 'b> {
    /// Starts a payload with these fields.
    ///
    /// # Errors
    /// If its head does not fit.
    pub fn new(fields: Fields<'s>, writer: &'w mut Writer<'b>) -> Result<Self, Overflow> {
        let start = writer.len();
        writer.array(fields.len()).status()?;
        Ok(Self { writer, start, fields: fields.iter(), field: 0, error: None })
    }

    /// Writes the next field's value. A NaN is written as the one NaN that there is.
    ///
    /// # Errors
    /// If it does not fit its field or the buffer; [`PayloadWriter::finish`] then fails too.
    pub fn value(&mut self, value: Value<'_>) -> Result<(), WriteError> {
        let written = self.write(value);
        self.error = self.error.or(written.err());
        written
    }

    fn write(&mut self, value: Value<'_>) -> Result<(), WriteError> {
        let mismatch = |reason| WriteError::Mismatch(Mismatch { field: self.field, reason });
        let field = self.fields.next().ok_or(mismatch(Reason::Count))?;
        check(value, field.ty, field.optional).map_err(mismatch)?;
        match value {
            Value::Absent => self.writer.null(),
            Value::Bool(value) => self.writer.bool(value),
            Value::Uint(value) => self.writer.uint(value),
            Value::Int(value) => self.writer.int(value),
            Value::Float(value) => self.writer.float(value),
            Value::Text(value) => self.writer.text(value),
            Value::Bytes(value) => self.writer.bytes(value),
        };
        self.writer.status()?;
        self.field = self.field.saturating_add(1);
        Ok(())
    }

    /// Ends the payload.
    ///
    /// # Errors
    /// If values are missing, or one was refused.
    pub fn finish(mut self) -> Result<Payload<'w>, WriteError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.fields.next().is_some() {
            let mismatch = Mismatch { field: self.field, reason: Reason::Count };
            return Err(WriteError::Mismatch(mismatch));
        }
        let writer: &'w Writer<'b> = self.writer;
        Ok(Payload(writer.written().get(self.start..).unwrap_or_default()))
    }
}
