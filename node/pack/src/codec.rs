//! Between JSON, which people write, and records, which capsules read.
//!
//! A message is an object with a member for each field of its schema: numbers, `true` and `false`,
//! text, and bytes as hexadecimal digits. An optional field may be left out or `null`. Floats that
//! JSON cannot say are the texts `"NaN"`, `"inf"` and `"-inf"`.

use capmesh_description::{Field, Schema, Value as ConfigValue, nearest};
use capmesh_wire::Payload;
use capmesh_wire::cbor::Writer;
use capmesh_wire::limits::PAYLOAD;
use capmesh_wire::schema::{FieldType, PayloadWriter, Value, WriteError};
use serde_json::{Map, Number, Value as Json};
use std::fmt;

/// Why something is not a message of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is not an object.
    NotAnObject(String),
    /// The schema has no such field; the nearest one that it has.
    Unknown(String, Option<String>),
    /// The field must be there.
    Missing(String),
    /// The field's value is not of its type; what should stand there.
    Type(String, String),
    /// The bytes are no record or payload of the schema.
    Record(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(found) => {
                write!(f, "a message is an object like {{\"value\": 21.5}}, not {found}")
            }
            Self::Unknown(field, None) => write!(f, "there is no field `{field}`"),
            Self::Unknown(field, Some(near)) => {
                write!(f, "there is no field `{field}`; is it `{near}`?")
            }
            Self::Missing(field) => write!(f, "the field `{field}` is missing"),
            Self::Type(field, wanted) => write!(f, "the field `{field}` must be {wanted}"),
            Self::Record(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Mismatch {}

/// The length of a record of this schema, in bytes.
#[must_use]
pub fn record_len(schema: &Schema) -> usize {
    schema.with_wire(|schema| schema.record_len()).unwrap_or(0)
}

/// A configuration value as a capsule reads it: numbers and switches as `f64`, texts as UTF-8.
#[must_use]
pub fn config_bytes(value: &ConfigValue) -> Box<[u8]> {
    match value {
        ConfigValue::Bool(value) => f64::from(u8::from(*value)).to_le_bytes().into(),
        ConfigValue::Number(value) => value.to_le_bytes().into(),
        ConfigValue::Text(text) => text.as_bytes().into(),
    }
}

/// A value that is still to be lent to the encoder.
enum Owned {
    Plain(Value<'static>),
    Text(String),
    Bytes(Vec<u8>),
}

impl Owned {
    fn lend(&self) -> Value<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// The payload, in CBOR, that a JSON object stands for.
///
/// # Errors
/// The first field that is wrong.
pub fn to_payload(schema: &Schema, json: &Json) -> Result<Vec<u8>, Mismatch> {
    let Json::Object(members) = json else {
        return Err(Mismatch::NotAnObject(short(json)));
    };
    if let Some(unknown) = members.keys().find(|key| schema.fields.iter().all(|f| f.name != **key))
    {
        let names = schema.fields.iter().map(|field| field.name.as_str());
        return Err(Mismatch::Unknown(unknown.clone(), nearest(unknown, names).map(str::to_owned)));
    }
    let values: Vec<Owned> =
        schema.fields.iter().map(|field| value_of(field, members)).collect::<Result<_, _>>()?;
    encode(schema, values.iter().map(Owned::lend))
}

/// The record that a JSON object stands for.
///
/// # Errors
/// The first field that is wrong.
pub fn to_record(schema: &Schema, json: &Json) -> Result<Vec<u8>, Mismatch> {
    payload_to_record(schema, &to_payload(schema, json)?)
}

/// The record of these values, in the order of the fields.
///
/// # Errors
/// The first value that does not fit.
pub fn record<'v>(
    schema: &Schema,
    values: impl Iterator<Item = Value<'v>>,
) -> Result<Vec<u8>, Mismatch> {
    payload_to_record(schema, &encode(schema, values)?)
}

fn encode<'v>(
    schema: &Schema,
    values: impl Iterator<Item = Value<'v>>,
) -> Result<Vec<u8>, Mismatch> {
    let encoded = schema.with_wire(|wire| {
        let mut buf = [0; PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        let mut payload = PayloadWriter::new(wire.fields(), &mut writer)?;
        for value in values {
            payload.value(value)?;
        }
        Ok(payload.finish()?.as_bytes().to_vec())
    });
    flat(encoded)
}

fn payload_to_record(schema: &Schema, payload: &[u8]) -> Result<Vec<u8>, Mismatch> {
    let payload = Payload::new(payload).map_err(|error| Mismatch::Record(error.to_string()))?;
    flat(schema.with_wire(|wire| {
        let mut record = vec![0; wire.record_len()];
        wire.to_record(payload, &mut record).map(|_| record)
    }))
}

fn flat<T, I: fmt::Display>(result: Result<Result<T, WriteError>, I>) -> Result<T, Mismatch> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Mismatch::Record(error.to_string())),
        Err(illegal) => Err(Mismatch::Record(illegal.to_string())),
    }
}

/// The JSON object that a record stands for.
///
/// # Errors
/// If the record is not one of this schema.
pub fn from_record(schema: &Schema, record: &[u8]) -> Result<Json, Mismatch> {
    flat(schema.with_wire(|wire| {
        let mut buf = [0; PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        wire.write_record(record, &mut writer)?;
        let mut members = Map::new();
        let values = Payload::new(writer.written()).ok().map(|p| p.values(wire.fields()));
        for (field, value) in schema.fields.iter().zip(values.into_iter().flatten().flatten()) {
            let value = json_of(value.map_err(WriteError::Mismatch)?, field.ty);
            members.insert(field.name.clone(), value);
        }
        Ok(Json::Object(members))
    }))
}

fn json_of(value: Value<'_>, ty: FieldType) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Bool(value) => Json::Bool(value),
        Value::Uint(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Float(value) => {
            // The shortest decimal that reads as the same single.
            #[expect(clippy::cast_possible_truncation, reason = "the value is a single")]
            let short = (ty == FieldType::F32).then(|| (value as f32).to_string().parse().ok());
            let number = Number::from_f64(short.flatten().unwrap_or(value));
            number.map_or_else(|| Json::String(value.to_string()), Json::Number)
        }
        Value::Text(text) => text.into(),
        Value::Bytes(bytes) => hex(bytes).into(),
    }
}

fn value_of(field: &Field, members: &Map<String, Json>) -> Result<Owned, Mismatch> {
    let json = match members.get(&field.name) {
        None | Some(Json::Null) if field.optional => return Ok(Owned::Plain(Value::Absent)),
        None | Some(Json::Null) => return Err(Mismatch::Missing(field.name.clone())),
        Some(json) => json,
    };
    let wrong = || Mismatch::Type(field.name.clone(), wanted(field.ty));
    let value = match field.ty {
        FieldType::Bool => json.as_bool().map(Value::Bool),
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 => {
            json.as_u64().filter(|v| bits(*v) <= width(field.ty)).map(Value::Uint)
        }
        FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64 => json
            .as_i64()
            .filter(|v| bits(v.unsigned_abs().saturating_sub(u64::from(*v < 0))) < width(field.ty))
            .map(Value::Int),
        #[expect(clippy::cast_possible_truncation, reason = "the field holds a single")]
        FieldType::F32 => float(json).map(|value| Value::Float(f64::from(value as f32))),
        FieldType::F64 => float(json).map(Value::Float),
        FieldType::Text(max) => {
            let text = json.as_str().filter(|text| text.len() <= usize::from(max));
            return text.map(|text| Owned::Text(text.to_owned())).ok_or_else(wrong);
        }
        FieldType::Bytes(max) => {
            let bytes = json.as_str().and_then(unhex);
            let bytes = bytes.filter(|bytes| bytes.len() <= usize::from(max));
            return bytes.map(Owned::Bytes).ok_or_else(wrong);
        }
    };
    value.map(Owned::Plain).ok_or_else(wrong)
}

fn float(json: &Json) -> Option<f64> {
    match json.as_str() {
        None => json.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

const fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Bits of an integer type.
const fn width(ty: FieldType) -> u32 {
    match ty {
        FieldType::U8 | FieldType::I8 => 8,
        FieldType::U16 | FieldType::I16 => 16,
        FieldType::U32 | FieldType::I32 => 32,
        _ => 64,
    }
}

fn wanted(ty: FieldType) -> String {
    match ty {
        FieldType::Bool => "true or false".into(),
        FieldType::F32 | FieldType::F64 => "a number".into(),
        FieldType::Text(max) => format!("a text of at most {max} bytes"),
        FieldType::Bytes(max) => {
            format!("a text of hexadecimal digits, two for each of at most {max} bytes")
        }
        _ => format!("an integer in the range of {}", ty.name()),
    }
}

/// The start of a value, to be shown in a message.
fn short(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests;
