//! Schema files.

use crate::fault::{Collector, Faults, File};
use crate::nearest::hint;
use crate::section::{Distinct, Section};
use crate::{Field, Schema};
use capmesh_wire::limits;
use capmesh_wire::schema::{FieldType, Unit};
use std::path::Path;

pub(crate) fn read(path: &Path) -> Result<Schema, Faults> {
    let collector = Collector::default();
    let schema = File::open(path, &collector).and_then(|file| parse(&file, None));
    collector.finish(schema)
}

/// Reads a schema file. `alias` is what `capsule.toml` calls it.
pub(crate) fn parse(file: &File<'_>, alias: Option<&str>) -> Option<Schema> {
    let root = file.toml()?;
    let keys = ["name", "version", "doc", "field"];
    let top = Section::new(file, root.get_ref(), 0..0, "a schema file", &keys);
    let name = top.name();
    let version = top.whole("version", "a number from 0 to 65535");
    if !top.has("version") {
        top.missing("version", "a number from 0 to 65535");
    }
    let keys = ["name", "type", "max", "unit", "optional", "doc"];
    let most = limits::FIELDS_OF_SCHEMA;
    let names = Distinct::default();
    let mut fields = Vec::new();
    for section in top.tables("field", "`[[field]]`", &keys, most) {
        fields.extend(field(&section, &names, false));
    }
    if !top.has("field") {
        top.missing("field", "write `[[field]]`, once for each value of a message");
    }
    let schema = Schema {
        alias: alias.or(name.map(|name| name.text))?.to_owned(),
        path: file.path.clone(),
        name: name?.text.to_owned(),
        version: version?,
        doc: top.doc(),
        fields,
    };
    let longest = longest_payload(&schema.fields);
    if longest > limits::PAYLOAD {
        let message = format!(
            "messages of this schema can have {longest} bytes; {} are allowed",
            limits::PAYLOAD
        );
        file.fault(&top.span_of("field"), message);
    }
    Some(schema)
}

pub(crate) fn longest_payload(fields: &[Field]) -> usize {
    1 + fields.iter().map(|field| field.ty.max_encoded_len()).sum::<usize>()
}

/// Reads a field of a schema, or what it shares with a configuration value.
pub(crate) fn field<'a>(
    section: &Section<'a>,
    names: &Distinct<'a>,
    is_config: bool,
) -> Option<Field> {
    let name = names.check(section, section.name());
    let unit = unit(section);
    let ty = field_type(section, is_config);
    Some(Field {
        name: name?.text.to_owned(),
        ty: ty?,
        unit: unit?,
        optional: if is_config {
            section.has("default")
        } else {
            section.flag("optional").unwrap_or(false)
        },
        doc: section.doc(),
    })
}

pub(crate) fn unit(section: &Section<'_>) -> Option<Unit> {
    let expected = "the symbol of a SenML unit, such as `Cel` or `m/s`";
    if !section.has("unit") {
        return Some(Unit::None);
    }
    let word = section.word("unit", expected)?;
    let unit = Unit::from_name(word.text);
    if unit.is_none() {
        let known: Vec<&str> = Unit::ALL.iter().map(|unit| unit.name()).collect();
        // Symbols are short and their letters' case counts: `cel` is nearer to `Cel` than to `cd`.
        let same = known.iter().find(|name| name.eq_ignore_ascii_case(word.text));
        let hint = same.copied().or_else(|| crate::nearest(word.text, known.iter().copied()));
        let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        section.file.fault(&word.span(), format!("`{}` is not {expected}{hint}", word.text));
    }
    unit
}

const SCALARS: [FieldType; 11] = [
    FieldType::Bool,
    FieldType::U8,
    FieldType::U16,
    FieldType::U32,
    FieldType::U64,
    FieldType::I8,
    FieldType::I16,
    FieldType::I32,
    FieldType::I64,
    FieldType::F32,
    FieldType::F64,
];

fn field_type(section: &Section<'_>, is_config: bool) -> Option<FieldType> {
    let word = section.required_word("type", "the name of a type, such as `f32`")?;
    let is_scalar = SCALARS.iter().find(|ty| ty.name() == word.text).copied();
    if let Some(scalar) = is_scalar {
        if section.has("max") {
            let message = format!("`max` is for text and bytes; a `{}` has none", word.text);
            section.file.fault(&section.span_of("max"), message);
        }
        if is_config && matches!(scalar, FieldType::U64 | FieldType::I64) {
            let message = "configuration values come as f64, which does not hold every 64-bit \
                           integer; use `u32`, `i32` or `f64`";
            section.file.fault(&word.span(), message);
        }
        return Some(scalar);
    }
    let counted: fn(u8) -> FieldType = match word.text {
        "text" => FieldType::Text,
        "bytes" if !is_config => FieldType::Bytes,
        other => {
            let mut known: Vec<&str> = SCALARS.iter().map(|ty| ty.name()).collect();
            known.push("text");
            if is_config {
                known.retain(|name| !matches!(*name, "u64" | "i64"));
            } else {
                known.push("bytes");
            }
            let message = hint(other, &known).after(format!("`{other}` is not a type"));
            section.file.fault(&word.span(), message);
            return None;
        }
    };
    let expected = "the most bytes that it may have, 1 to 255";
    if !section.has("max") {
        section.missing("max", expected);
    }
    let max = section.whole::<u8>("max", expected)?;
    if max == 0 {
        section.file.fault(&section.span_of("max"), format!("`max` is to be {expected}"));
    }
    Some(counted(max))
}
