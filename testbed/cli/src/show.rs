//! What nodes say, for people and for programs.

use capmesh_capsule::seal::{self, Sealed};
use capmesh_wire::Problem;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Batch, Numbered};
use capmesh_wire::schema::{Schema, SchemaTag, Unit, Value};
use serde_json::{Map, Value as Json, json};

/// The schemas of what was sent to nodes, to read messages with.
#[derive(Debug, Default)]
pub struct Schemas(Vec<Sealed>);

impl Schemas {
    /// Those of these bundles.
    #[must_use]
    pub fn of(bundles: &[Vec<u8>]) -> Self {
        Self(bundles.iter().filter_map(|bundle| seal::open(bundle).ok()).collect())
    }

    /// The schema with this tag, if it is known.
    #[must_use]
    pub fn find(&self, tag: SchemaTag) -> Option<Schema<'_>> {
        let manifests = self.0.iter().filter_map(|capsule| capsule.manifest().ok());
        manifests.flat_map(|manifest| manifest.capsule.schemas.iter()).find(|s| s.id().tag() == tag)
    }
}

/// A message as JSON: its values by the names of their fields, as far as the schema is known.
#[must_use]
pub fn message(batch: &Batch<'_>, message: &Numbered<'_>, schemas: &Schemas) -> Json {
    let schema = schemas.find(batch.schema);
    let values = schema.and_then(|schema| {
        let values = message.payload.values(schema.fields()).ok()?;
        let fields = schema.fields().iter().zip(values);
        fields
            .map(|(field, value)| Some((field.name.as_str().to_owned(), to_json(value.ok()?))))
            .collect::<Option<Map<_, _>>>()
    });
    json!({
        "seq": message.seq.0,
        "time": time(message.sampled),
        "values": values.map_or(Json::Null, Json::Object),
    })
}

/// A message as a line: values with their units.
#[must_use]
pub fn message_line(batch: &Batch<'_>, message: &Numbered<'_>, schemas: &Schemas) -> String {
    let Some(schema) = schemas.find(batch.schema) else {
        return format!("#{} of an unknown schema, {:?}", message.seq.0, message.payload);
    };
    let Ok(values) = message.payload.values(schema.fields()) else {
        return format!("#{} does not fit its schema", message.seq.0);
    };
    let fields = schema.fields().iter().zip(values).map(|(field, value)| match value {
        Ok(value) => {
            if field.unit == Unit::None {
                format!("{} = {}", field.name, text(value))
            } else {
                format!("{} = {} {}", field.name, text(value), field.unit)
            }
        }
        Err(mismatch) => mismatch.to_string(),
    });
    format!("#{} {}", message.seq.0, fields.collect::<Vec<_>>().join(", "))
}

/// A problem as a line.
#[must_use]
pub fn problem(problem: &Problem<'_>) -> String {
    let mut line = problem.code.to_string();
    if let Some(detail) = problem.detail {
        line = format!("{line}: {detail}");
    }
    if let Some(millis) = problem.retry_ms {
        line = format!("{line} (try again in {millis} ms)");
    }
    if let Some(node) = problem.moved_to {
        line = format!("{line} (it is at {node} now)");
    }
    line
}

fn time(timestamp: Timestamp) -> Json {
    json!({ "micros": timestamp.micros, "uncertainty": timestamp.uncertainty })
}

fn to_json(value: Value<'_>) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Bytes(value) => json!(value),
    }
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Absent => "-".into(),
        Value::Bool(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.into(),
        Value::Bytes(value) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
