//! Payloads as a capsule sees them: records in its memory.
//!
//! The contract with capsules lays a schema's fields out as a C compiler does: in order,
//! little-endian, each aligned to its size, the whole padded to its largest alignment.
//! - `bool` is a byte, 0 or 1;
//! - `text` and `bytes` are a byte that counts, and room for as many as the field may have;
//! - an optional field has a byte before it, 1 if it is there and 0 if not (then the rest of it is
//!   zero).
//!
//! Padding is written as zero and not looked at.

use super::payload::{Mismatch, Payload, PayloadWriter, Reason, Value, WriteError};
use super::{Field, FieldType, Fields, Schema};
use crate::cbor::{Overflow, Writer};

impl FieldType {
    /// Size and alignment of a value within a record, in bytes.
    const fn layout(self) -> (usize, usize) {
        match self {
            Self::Bool | Self::U8 | Self::I8 => (1, 1),
            Self::U16 | Self::I16 => (2, 2),
            Self::U32 | Self::I32 | Self::F32 => (4, 4),
            Self::U64 | Self::I64 | Self::F64 => (8, 8),
            Self::Text(max) | Self::Bytes(max) => (1 + max as usize, 1),
        }
    }
}

/// Where the parts of a record are.
struct Layout<'s> {
    fields: crate::cbor::Iter<'s, Field<'s>>,
    at: usize,
    align: usize,
}

/// A field's place: that of its presence byte, if it has one, and that of its value.
struct Place<'s> {
    field: Field<'s>,
    presence: Option<usize>,
    value: usize,
    size: usize,
}

impl<'s> Layout<'s> {
    fn new(fields: Fields<'s>) -> Self {
        Self { fields: fields.iter(), at: 0, align: 1 }
    }

    /// The length of the record, once all fields have been placed.
    const fn len(&self) -> usize {
        self.at.next_multiple_of(self.align)
    }
}

impl<'s> Iterator for Layout<'s> {
    type Item = Place<'s>;

    fn next(&mut self) -> Option<Place<'s>> {
        let field = self.fields.next()?;
        let presence = field.optional.then_some(self.at);
        self.at += usize::from(field.optional);
        let (size, align) = field.ty.layout();
        let value = self.at.next_multiple_of(align);
        self.at = value + size;
        self.align = self.align.max(align);
        Some(Place { field, presence, value, size })
    }
}

impl Schema<'_> {
    /// The length of a record of this schema, in bytes.
    #[must_use]
    pub fn record_len(&self) -> usize {
        let mut layout = Layout::new(self.fields());
        while layout.next().is_some() {}
        layout.len()
    }

    /// Writes `payload` as a record to the start of `record` and returns its length. The work is one
    /// pass over the values.
    ///
    /// # Errors
    /// If the payload does not fit the schema, or the record its buffer.
    pub fn to_record(&self, payload: Payload<'_>, record: &mut [u8]) -> Result<usize, WriteError> {
        let len = self.record_len();
        let record = record.get_mut(..len).ok_or(Overflow)?;
        record.fill(0);
        let values = payload.values(self.fields()).map_err(WriteError::Mismatch)?;
        for (place, value) in Layout::new(self.fields()).zip(values) {
            let value = value.map_err(WriteError::Mismatch)?;
            if let Some(presence) = place.presence {
                let is_present = u8::from(value != Value::Absent);
                *record.get_mut(presence).ok_or(Overflow)? = is_present;
            }
            let end = place.value + place.size;
            put(value, place.field.ty, record.get_mut(place.value..end).ok_or(Overflow)?)?;
        }
        Ok(len)
    }

    /// Writes the payload that `record` stands for. The work is one pass over it.
    ///
    /// # Errors
    /// If the record has another length than the schema says, or holds what no value is: a `bool`
    /// that is neither 0 nor 1, a text that is not UTF-8; or if the payload does not fit.
    pub fn write_record(&self, record: &[u8], writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let mismatch = |field, reason| WriteError::Mismatch(Mismatch { field, reason });
        if record.len() != self.record_len() {
            return Err(mismatch(0, Reason::Count));
        }
        let mut payload = PayloadWriter::new(self.fields(), writer)?;
        for (place, number) in Layout::new(self.fields()).zip(0..=u8::MAX) {
            let is_present = match place.presence.and_then(|at| record.get(at)) {
                None | Some(1) => true,
                Some(0) => false,
                Some(_) => return Err(mismatch(number, Reason::Type)),
            };
            let bytes = record.get(place.value..place.value + place.size).unwrap_or_default();
            let value = if is_present {
                take(place.field.ty, bytes).ok_or(mismatch(number, Reason::Type))?
            } else {
                Value::Absent
            };
            payload.value(value)?;
        }
        payload.finish().map(drop)
    }
}

/// Puts a value that fits its field to its place, which holds zeros.
fn put(value: Value<'_>, ty: FieldType, place: &mut [u8]) -> Result<(), Overflow> {
    let single;
    let number;
    let bytes: &[u8] = match (value, ty) {
        (Value::Absent, _) => return Ok(()),
        (Value::Bool(value), _) => {
            number = u64::from(value).to_le_bytes();
            number.get(..1).unwrap_or_default()
        }
        (Value::Uint(value), _) => {
            number = value.to_le_bytes();
            number.get(..place.len()).ok_or(Overflow)?
        }
        (Value::Int(value), _) => {
            // Two's complement: the low bytes are those of the shorter type.
            number = value.to_le_bytes();
            number.get(..place.len()).ok_or(Overflow)?
        }
        #[expect(clippy::cast_possible_truncation, reason = "the value is known to be a single")]
        (Value::Float(value), FieldType::F32) => {
            single = (value as f32).to_le_bytes();
            &single
        }
        (Value::Float(value), _) => {
            number = value.to_le_bytes();
            &number
        }
        (Value::Text(value), _) => return put_counted(value.as_bytes(), place),
        (Value::Bytes(value), _) => return put_counted(value, place),
    };
    place.get_mut(..bytes.len()).ok_or(Overflow)?.copy_from_slice(bytes);
    Ok(())
}

fn put_counted(bytes: &[u8], place: &mut [u8]) -> Result<(), Overflow> {
    let (count, place) = place.split_first_mut().ok_or(Overflow)?;
    *count = u8::try_from(bytes.len()).map_err(|_| Overflow)?;
    place.get_mut(..bytes.len()).ok_or(Overflow)?.copy_from_slice(bytes);
    Ok(())
}

/// The value at a place, or `None` if there is none of this type.
fn take(ty: FieldType, place: &[u8]) -> Option<Value<'_>> {
    let (&first, rest) = place.split_first()?;
    Some(match ty {
        FieldType::Bool => match first {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return None,
        },
        FieldType::U8 => Value::Uint(u64::from(first)),
        FieldType::U16 => Value::Uint(u64::from(u16::from_le_bytes(place.try_into().ok()?))),
        FieldType::U32 => Value::Uint(u64::from(u32::from_le_bytes(place.try_into().ok()?))),
        FieldType::U64 => Value::Uint(u64::from_le_bytes(place.try_into().ok()?)),
        FieldType::I8 => Value::Int(i64::from(first.cast_signed())),
        FieldType::I16 => Value::Int(i64::from(i16::from_le_bytes(place.try_into().ok()?))),
        FieldType::I32 => Value::Int(i64::from(i32::from_le_bytes(place.try_into().ok()?))),
        FieldType::I64 => Value::Int(i64::from_le_bytes(place.try_into().ok()?)),
        FieldType::F32 => Value::Float(f64::from(f32::from_le_bytes(place.try_into().ok()?))),
        FieldType::F64 => Value::Float(f64::from_le_bytes(place.try_into().ok()?)),
        FieldType::Text(_) => {
            Value::Text(core::str::from_utf8(rest.get(..usize::from(first))?).ok()?)
        }
        FieldType::Bytes(_) => Value::Bytes(rest.get(..usize::from(first))?),
    })
}
