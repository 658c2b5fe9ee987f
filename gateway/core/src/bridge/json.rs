//! Messages as JSON: flat objects whose keys are the schema's fields, in their units.
//!
//! ```json
//! {"mean":21.5,"count":12,"time":"2026-11-22T15:04:05.000250Z","seq":1017,"epoch":2}
//! ```
//!
//! - Integers are written with all their digits, floats with the shortest text that gives the same `f32`
//!   or `f64`: what is read again is exactly what was written. (JavaScript reads integers past 2^53 as
//!   doubles. That is its own choice: the text is exact.)
//! - What JSON has no number for is the text `"NaN"`, `"Infinity"` or `"-Infinity"`.
//! - `bytes` are text in hexadecimal.
//! - An optional field that is absent is left out; `null` is read as absent.
//! - `time` is when the message was sampled, `seq` its number in its stream, `epoch` that of its producer.
//!   `time` is left out if the producer does not know the time. A schema that has a field of such a name
//!   keeps it; then an underscore stands before the other one (`_time`), which no name begins with.
//!
//! What comes in is read by the same rules. `time`, `seq` and `epoch` are passed over, so that what came
//! out can go in. For a schema with one field the bare value does too: `21.5` for `{"limit":21.5}`.

use capmesh_description::nearest;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::Numbered;
use capmesh_wire::schema::{Field, FieldType, Fields, Mismatch, PayloadWriter, Value};
use capmesh_wire::{Epoch, Overflow, cbor::Writer};
use core::fmt;
use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;

/// Keys of an object that comes in: the fields of the largest schema and what goes with a message.
pub const KEYS: usize = capmesh_wire::limits::FIELDS_OF_SCHEMA + META.len();

/// Bytes of a message that comes in: those of the longest payload, all of them escaped in hexadecimal or
/// as `\u0000`, and the names of its fields.
pub const TEXT: usize = 8 << 10;

/// What goes with a message beside its fields.
const META: [&str; 3] = ["time", "seq", "epoch"];

/// Appends a message as JSON to `out`. The work is one pass over its values.
///
/// # Errors
/// If it does not fit the schema; `out` is as before then.
pub fn write(
    fields: Fields<'_>,
    message: &Numbered<'_>,
    epoch: Epoch,
    out: &mut Vec<u8>,
) -> Result<(), Mismatch> {
    let len = out.len();
    let written = write_values(fields, message, out);
    if written.is_err() {
        out.truncate(len);
        return written;
    }
    if message.sampled.uncertainty.is_some() {
        write_meta(fields, "time", out);
        write_time(message.sampled, out);
    }
    write_meta(fields, "seq", out);
    put(out, format_args!("{}", message.seq));
    write_meta(fields, "epoch", out);
    put(out, format_args!("{epoch}"));
    out.push(b'}');
    Ok(())
}

fn write_values(
    fields: Fields<'_>,
    message: &Numbered<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Mismatch> {
    let mut before = b'{';
    for (field, value) in fields.iter().zip(message.payload.values(fields)?) {
        let value = value?;
        if value == Value::Absent {
            continue;
        }
        // A name needs no escapes.
        put(out, format_args!("{}\"{}\":", char::from(before), field.name));
        before = b',';
        match value {
            Value::Absent => {}
            Value::Bool(value) => put(out, format_args!("{value}")),
            Value::Uint(value) => put(out, format_args!("{value}")),
            Value::Int(value) => put(out, format_args!("{value}")),
            Value::Float(value) => write_float(field.ty, value, out),
            Value::Text(value) => write_text(value, out),
            Value::Bytes(value) => write_bytes(value, out),
        }
    }
    // `seq` always follows.
    if before == b'{' {
        out.push(b'{');
    }
    Ok(())
}

/// The comma, unless nothing is before it, and the key, with an underscore if a field is called so.
fn write_meta(fields: Fields<'_>, key: &str, out: &mut Vec<u8>) {
    let comma = if out.last() == Some(&b'{') { "" } else { "," };
    let is_field = fields.iter().any(|field| field.name.as_str() == key);
    put(out, format_args!("{comma}\"{}{key}\":", if is_field { "_" } else { "" }));
}

/// Writing to memory does not fail.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn write_float(ty: FieldType, value: f64, out: &mut Vec<u8>) {
    let text = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "the value is known to be a single")]
        let _ = match ty {
            FieldType::F32 => serde_json::to_writer(out, &(value as f32)),
            _ => serde_json::to_writer(out, &value),
        };
        return;
    };
    put(out, format_args!("\"{text}\""));
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bytes {
        put(out, format_args!("{byte:02x}"));
    }
    out.push(b'"');
}

/// RFC 3339 in UTC with microseconds.
fn write_time(time: Timestamp, out: &mut Vec<u8>) {
    let (seconds, micros) = (time.micros / 1_000_000, time.micros % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    put(
        out,
        format_args!(
            "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\""
        ),
    );
}

/// Year, month and day of the day so many days after 1970-01-01, in the Gregorian calendar (Howard
/// Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Why JSON is no message of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is longer than [`TEXT`].
    TooLong,
    /// It is not JSON, or has more than [`KEYS`] keys; where, and what was found.
    NotJson(String),
    /// It is not an object.
    NotAnObject,
    /// A key that no field has.
    UnknownKey {
        /// The key.
        key: String,
        /// The field that is spelled most like it.
        nearest: Option<String>,
    },
    /// A key that is there twice.
    Repeated(String),
    /// A field that has no value and needs one.
    Missing(String),
    /// A value that is not of its field.
    Value {
        /// The field.
        field: String,
        /// What it holds.
        wanted: String,
    },
    /// The payload does not fit its buffer, which has room for the longest.
    Overflow,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the message is longer than {TEXT} bytes"),
            Self::NotJson(error) => write!(f, "the message is not JSON: {error}"),
            Self::NotAnObject => f.write_str("the message is not an object"),
            Self::UnknownKey { key, nearest: None } => write!(f, "there is no field `{key}`"),
            Self::UnknownKey { key, nearest: Some(nearest) } => {
                write!(f, "there is no field `{key}` (did you mean `{nearest}`?)")
            }
            Self::Repeated(key) => write!(f, "`{key}` is there twice"),
            Self::Missing(field) => write!(f, "`{field}` is missing"),
            Self::Value { field, wanted } => write!(f, "`{field}` is not {wanted}"),
            Self::Overflow => f.write_str("the message is too long for its schema"),
        }
    }
}

impl core::error::Error for Unfit {}

/// Writes the payload that a JSON message stands for. The work is one pass over the text and, for each
/// key, one over the names of the fields.
///
/// # Errors
/// [`Unfit`], with what was found.
pub fn read(fields: Fields<'_>, text: &[u8], writer: &mut Writer<'_>) -> Result<(), Unfit> {
    if text.len() > TEXT {
        return Err(Unfit::TooLong);
    }
    let text = text.trim_ascii();
    let is_object = text.first() == Some(&b'{');
    let pairs = match (is_object, fields.len()) {
        (true, _) => Pairs::read(text)?,
        (false, 1) => {
            let value = serde_json::from_slice::<&RawValue>(text).map_err(not_json)?;
            let name = fields.get(0).map(|field| field.name.as_str()).unwrap_or_default();
            Pairs(vec![(name.into(), value)])
        }
        (false, _) => {
            let valid = serde_json::from_slice::<IgnoredAny>(text).map_err(not_json);
            return valid.and(Err(Unfit::NotAnObject));
        }
    };
    pairs.check(fields)?;
    let mut payload = PayloadWriter::new(fields, writer).map_err(|Overflow| Unfit::Overflow)?;
    for field in fields {
        let value = pairs.get(field.name.as_str());
        write_value(&field, value, &mut payload)?;
    }
    payload.finish().map(drop).map_err(|_| Unfit::Overflow)
}

#[expect(clippy::needless_pass_by_value, reason = "to be given to map_err")]
fn not_json(error: serde_json::Error) -> Unfit {
    Unfit::NotJson(error.to_string())
}

/// An object's keys, with the text of their values.
struct Pairs<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'t> Pairs<'t> {
    fn read(text: &'t [u8]) -> Result<Self, Unfit> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let pairs = json.deserialize_map(PairsVisitor).map_err(not_json)?;
        json.end().map_err(not_json)?;
        Ok(pairs)
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.get()).filter(|text| *text != "null")
    }

    fn check(&self, fields: Fields<'_>) -> Result<(), Unfit> {
        let names = || fields.iter().map(|field| field.name.as_str());
        for (at, (key, _)) in self.0.iter().enumerate() {
            if self.0.iter().take(at).any(|(before, _)| before == key) {
                return Err(Unfit::Repeated(key.to_string()));
            }
            let meta = key.strip_prefix('_').unwrap_or(key);
            if !names().any(|name| name == key) && !META.contains(&meta) {
                let nearest = nearest(key, names()).map(str::to_owned);
                return Err(Unfit::UnknownKey { key: key.to_string(), nearest });
            }
        }
        Ok(())
    }
}

struct PairsVisitor;

impl<'t> de::Visitor<'t> for PairsVisitor {
    type Value = Pairs<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Pairs<'t>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            if pairs.len() >= KEYS {
                return Err(de::Error::custom("there are more keys than any message has"));
            }
            pairs.push((key, map.next_value()?));
        }
        Ok(Pairs(pairs))
    }
}

/// A key, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'t>(#[serde(borrow)] Cow<'t, str>);

fn write_value(
    field: &Field<'_>,
    text: Option<&str>,
    payload: &mut PayloadWriter<'_, '_, '_>,
) -> Result<(), Unfit> {
    let Some(text) = text else {
        let missing = || Unfit::Missing(field.name.as_str().to_owned());
        return payload.value(Value::Absent).map_err(|_| missing());
    };
    let wrong = || Unfit::Value { field: field.name.as_str().to_owned(), wanted: wanted(field.ty) };
    let (string, bytes);
    let value = match field.ty {
        FieldType::Bool => text.parse().map(Value::Bool).ok(),
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 => {
            read_uint(text).map(Value::Uint)
        }
        FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64 => {
            read_int(text).map(Value::Int)
        }
        FieldType::F32 => read_single(text).map(|value| Value::Float(f64::from(value))),
        FieldType::F64 => read_double(text).map(Value::Float),
        FieldType::Text(_) => {
            string = serde_json::from_str::<Cow<'_, str>>(text).map_err(|_| wrong())?;
            Some(Value::Text(&string))
        }
        FieldType::Bytes(_) => {
            let hex = serde_json::from_str::<Cow<'_, str>>(text).map_err(|_| wrong())?;
            bytes = unhex(&hex).ok_or_else(wrong)?;
            Some(Value::Bytes(&bytes))
        }
    };
    payload.value(value.ok_or_else(wrong)?).map_err(|_| wrong())
}

fn wanted(ty: FieldType) -> String {
    match ty {
        FieldType::Bool => "true or false".to_owned(),
        FieldType::F32 | FieldType::F64 => {
            format!("a number of type {}, or \"NaN\", \"Infinity\" or \"-Infinity\"", ty.name())
        }
        FieldType::Text(max) => format!("a text of at most {max} bytes"),
        FieldType::Bytes(max) => format!("at most {max} bytes in hexadecimal"),
        _ => format!("an integer of type {}", ty.name()),
    }
}

/// An integer, or a number that is one: `3.0`, `1e3`. Those past 2^53 have to be written as integers.
fn read_uint(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| u64::try_from(whole(text)?).ok())
}

fn read_int(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| whole(text))
}

fn whole(text: &str) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = number(text)?.parse::<f64>().ok()?;
    let is_whole = value.fract() == 0.0 && value.abs() <= EXACT;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within the range")]
    is_whole.then_some(value as i64)
}

fn read_double(text: &str) -> Option<f64> {
    match special(text) {
        Some(value) => Some(value),
        None => number(text)?.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// Read as a single at once: by way of a double it might be rounded twice.
fn read_single(text: &str) -> Option<f32> {
    match special(text) {
        #[expect(clippy::cast_possible_truncation, reason = "all of them are singles too")]
        Some(value) => Some(value as f32),
        None => number(text)?.parse().ok().filter(|value: &f32| value.is_finite()),
    }
}

fn special(text: &str) -> Option<f64> {
    match text {
        r#""NaN""# => Some(f64::NAN),
        r#""Infinity""# => Some(f64::INFINITY),
        r#""-Infinity""# => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// What can only be a number, being valid JSON. Rust reads such text as JSON means it.
fn number(text: &str) -> Option<&str> {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(text)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests;
