//! Recorded rows as a sensor.
//!
//! A row is a line with JSON in it: one SenML record or a pack of them (RFC 8428), or an object whose
//! `e` is a list of them; what stands before it, as the time in a CSV file, is not looked at. Names are
//! compared without regard to case, `_` being `-`. Numbers may be strings.

use super::{Reading, Source};
use crate::arguments::Replay;
use anyhow::{Context, bail};
use capmesh_description::Schema;
use capmesh_wire::schema::FieldType;
use serde_json::Value;

/// The longest recording, in bytes.
const LONGEST: u64 = 256 << 20;

struct Rows {
    rows: Vec<Vec<Option<Reading>>>,
    next: usize,
}

pub(super) fn open(replay: &Replay) -> anyhow::Result<(Schema, Box<dyn Source>)> {
    let schema = Schema::read(&replay.schema).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let shown = replay.rows.display();
    let len = std::fs::metadata(&replay.rows).with_context(|| format!("{shown}"))?.len();
    if len > LONGEST {
        bail!("{shown}: more than {} MB", LONGEST >> 20);
    }
    let text = std::fs::read_to_string(&replay.rows).with_context(|| format!("{shown}"))?;
    let rows = parse(&text, &schema, &replay.name).with_context(|| format!("{shown}"))?;
    Ok((schema, Box::new(Rows { rows, next: 0 })))
}

impl Source for Rows {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        if let Some(row) = self.rows.get(self.next) {
            sink(0, row);
        }
        self.next = (self.next + 1) % self.rows.len().max(1);
    }
}

/// The rows that have every value that the schema wants.
fn parse(text: &str, schema: &Schema, sensor: &str) -> anyhow::Result<Vec<Vec<Option<Reading>>>> {
    let mut rows = Vec::new();
    let mut missing = None;
    for (line, number) in text.lines().zip(1_usize..) {
        let Some(start) = line.find(['{', '[']) else { continue };
        let json: Value = serde_json::from_str(line.get(start..).unwrap_or_default())
            .with_context(|| format!("line {number}"))?;
        let row: Vec<_> = schema
            .fields
            .iter()
            .map(|field| {
                let name = if field.name == "value" { sensor } else { &field.name };
                let found = find(&json, &field.name).or_else(|| find(&json, name));
                found.and_then(|value| reading(value, field.ty))
            })
            .collect();
        let gap = schema.fields.iter().zip(&row).find(|(f, r)| r.is_none() && !f.optional);
        match gap {
            None => rows.push(row),
            Some((field, _)) => {
                missing.get_or_insert((number, field.name.clone()));
            }
        }
    }
    match missing {
        Some((line, field)) if rows.is_empty() => {
            bail!("no row has all that the schema wants; line {line} has no `{field}`")
        }
        None if rows.is_empty() => bail!("there are no rows in it"),
        Some((line, field)) => {
            tracing::info!(line, field, "rows that lack what the schema wants are left out");
        }
        None => {}
    }
    Ok(rows)
}

/// The value of the element with this name.
fn find<'v>(json: &'v Value, name: &str) -> Option<&'v Value> {
    let elements = match json {
        Value::Array(elements) => elements.as_slice(),
        Value::Object(object) => match object.get("e") {
            Some(Value::Array(elements)) => elements.as_slice(),
            _ => std::slice::from_ref(json),
        },
        _ => return None,
    };
    let mut base = "";
    elements.iter().find_map(|element| {
        base = element.get("bn").and_then(Value::as_str).unwrap_or(base);
        let own = element.get("n").and_then(Value::as_str).unwrap_or_default();
        let is_it = alike(own, name) || alike(&format!("{base}{own}"), name);
        let value = ["v", "sv", "vs", "vb"].into_iter().find_map(|key| element.get(key));
        value.filter(|_| is_it)
    })
}

fn alike(found: &str, name: &str) -> bool {
    let same = |(a, b): (char, char)| a.eq_ignore_ascii_case(&b) || (a == '_' && b == '-');
    found.chars().count() == name.chars().count() && found.chars().zip(name.chars()).all(same)
}

fn reading(value: &Value, ty: FieldType) -> Option<Reading> {
    if let FieldType::Text(max) = ty {
        let text = value.as_str()?;
        return (text.len() <= usize::from(max)).then(|| Reading::Text(text.to_owned()));
    }
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    };
    number.filter(|number| number.is_finite()).map(Reading::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::machine::schema;
    use capmesh_wire::Unit;

    fn air() -> Schema {
        let mut schema = schema(
            "air",
            &[
                ("temperature", FieldType::F32, Unit::Celsius),
                ("airquality-raw", FieldType::U16, Unit::None),
                ("source", FieldType::Text(30), Unit::None),
            ],
        );
        schema.fields[2].optional = true;
        schema
    }

    fn row(temperature: f64, quality: f64, source: Option<&str>) -> Vec<Option<Reading>> {
        let text = source.map(|source| Reading::Text(source.to_owned()));
        vec![Some(Reading::Number(temperature)), Some(Reading::Number(quality)), text]
    }

    #[test]
    fn rows_come_in_several_forms() {
        let text = r#"
1422748800000,{"e":[{"u":"string","n":"source","sv":"ci4"},{"v":"8.5","u":"far","n":"temperature"},{"v":"140","n":"airquality_raw"}],"bt":1}
[{"bn":"","n":"temperature","u":"Cel","v":7.5},{"n":"AirQuality-Raw","v":3}]
1422748800000,{"e":[{"v":"8","n":"temperature"}]}
"#;
        let rows = parse(text, &air(), "air").unwrap();
        assert_eq!(rows, [row(8.5, 140.0, Some("ci4")), row(7.5, 3.0, None)]);
    }

    #[test]
    fn a_field_called_value_takes_what_the_sensor_is_called() {
        let schema = schema("temperature", &[("value", FieldType::F32, Unit::Celsius)]);
        let rows =
            parse("{\"n\":\"dust\",\"v\":4}\n{\"n\":\"humidity\",\"v\":5}\n", &schema, "dust");
        assert_eq!(rows.unwrap(), [[Some(Reading::Number(4.0))]]);
    }

    #[test]
    fn what_cannot_be_played_says_why() {
        let error = |text: &str| format!("{:#}", parse(text, &air(), "air").unwrap_err());
        assert_eq!(error("time,value\n"), "there are no rows in it");
        assert!(error("1,{\"e\":\n").starts_with("line 1: "));
        let lacking = error("{\"n\":\"temperature\",\"v\":1}\n");
        assert_eq!(lacking, "no row has all that the schema wants; line 1 has no `airquality-raw`");
    }

    #[test]
    fn rows_begin_anew_at_the_end() {
        let rows = vec![row(1.0, 1.0, None), row(2.0, 2.0, None)];
        let mut source = Rows { rows: rows.clone(), next: 0 };
        let mut played = Vec::new();
        for _ in 0..3 {
            source.read(&mut |_, row| played.push(row.to_vec()));
        }
        assert_eq!(played, [rows[0].clone(), rows[1].clone(), rows[0].clone()]);
    }
}
