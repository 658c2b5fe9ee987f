//! Settings as a payload.

use super::Kind;
use super::check::Report;
use crate::pipeline::{Capsule, Setting, Value};
use capmesh_description::document::hint;
use capmesh_wire::Unit;
use capmesh_wire::cbor::Writer;
use capmesh_wire::limits;
use capmesh_wire::schema::{self, Field, FieldType, Fields, PayloadWriter};

/// The settings of a capsule as its manifest orders them; `None` if there are none, or some are wrong.
pub(super) fn payload(
    report: &Report<'_>,
    capsule: &Capsule,
    fields: Fields<'_>,
) -> Option<Vec<u8>> {
    let mut is_good = true;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    for setting in &capsule.config {
        if !names.contains(&setting.name.as_str()) {
            let (name, uses) = (setting.name.as_str(), capsule.uses.as_str());
            let message = format!("`{uses}` has no setting `{name}`");
            let message = hint(name, &names).after(message);
            report.mistake(Kind::Config, &setting.name.span, message);
            is_good = false;
        }
    }
    let mut buf = [0; limits::PAYLOAD];
    let mut writer = Writer::new(&mut buf);
    let mut payload = PayloadWriter::new(fields, &mut writer).ok()?;
    for field in fields {
        let setting = capsule.config.iter().find(|s| s.name.value == field.name.as_str());
        let written = match setting {
            Some(setting) => match value(&setting.value.value, field.ty) {
                Some(value) => payload.value(value).is_ok(),
                None => false,
            },
            None if field.optional => payload.value(schema::Value::Absent).is_ok(),
            None => {
                let (name, expected) = (capsule.name.as_str(), expected(&field));
                let message = format!("`{name}` lacks the setting `{}`: {expected}", field.name);
                report.mistake(Kind::Config, &capsule.name.span, message);
                return None;
            }
        };
        if let Some(Setting { name, value }) = setting.filter(|_| !written) {
            let message = format!("`{}` is to be {}", name.value, expected(&field));
            report.mistake(Kind::Config, &value.span, message);
            is_good = false;
        }
    }
    if !is_good || capsule.config.is_empty() {
        return None;
    }
    payload.finish().ok().map(|payload| payload.as_bytes().to_vec())
}

/// A setting's value as one of a field; `None` if it is of another type.
fn value(value: &Value, ty: FieldType) -> Option<schema::Value<'_>> {
    Some(match (ty, value) {
        (FieldType::Bool, Value::Bool(flag)) => schema::Value::Bool(*flag),
        (FieldType::Text(_), Value::Text(text)) => schema::Value::Text(text),
        (FieldType::F32, value) => {
            let number = number(value)?;
            #[expect(clippy::cast_possible_truncation, reason = "the nearest that there is")]
            let single = number as f32;
            // What is finite and no longer so afterwards is out of range.
            (single.is_finite() || !number.is_finite())
                .then(|| schema::Value::Float(single.into()))?
        }
        (FieldType::F64, value) => schema::Value::Float(number(value)?),
        (FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64, value) => {
            schema::Value::Uint(u64::try_from(whole(value)?).ok()?)
        }
        (FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64, value) => {
            schema::Value::Int(whole(value)?)
        }
        _ => return None,
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "the nearest that there is")]
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
}

/// What a field may be set to.
fn expected(field: &Field<'_>) -> String {
    let range = |least: i64, most: u64| format!("a whole number from {least} to {most}");
    let what = match field.ty {
        FieldType::Bool => "`true` or `false`".to_owned(),
        FieldType::U8 => range(0, u8::MAX.into()),
        FieldType::U16 => range(0, u16::MAX.into()),
        FieldType::U32 => range(0, u32::MAX.into()),
        FieldType::U64 => "a whole number, 0 or more".to_owned(),
        FieldType::I8 => range(i8::MIN.into(), i8::MAX.unsigned_abs().into()),
        FieldType::I16 => range(i16::MIN.into(), i16::MAX.unsigned_abs().into()),
        FieldType::I32 => range(i32::MIN.into(), i32::MAX.unsigned_abs().into()),
        FieldType::I64 => "a whole number".to_owned(),
        FieldType::F32 | FieldType::F64 => format!("a number ({})", field.ty.name()),
        FieldType::Text(max) => format!("a text of at most {max} bytes"),
        FieldType::Bytes(_) => "bytes, which cannot be written here".to_owned(),
    };
    match field.unit {
        Unit::None => what,
        unit => format!("{what}, in {unit}"),
    }
}
