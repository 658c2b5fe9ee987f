//! What the node senses: the machine that it runs on, and recordings.
//!
//! A sensor that the machine does not have is left out, and the log says so once. A reading that is
//! missing later (a network interface that went, a disk that does not answer) makes no sample.

mod machine;
mod replay;

use crate::arguments::Replay;
use crate::failure::{Failure, Kind};
use capmesh_description::Schema;
use capmesh_wire::cbor::Writer;
use capmesh_wire::schema::{FieldType, PayloadWriter, Value};
use capmesh_wire::{SchemaTag, limits};
use std::path::Path;

/// The longest record that is made of a payload of the longest length.
const RECORD: usize = 4_096;

/// One value of a sample.
#[derive(Clone, Debug, PartialEq)]
enum Reading {
    Number(f64),
    Text(String),
}

/// Where samples come from.
trait Source {
    /// The values in the order of the schema's fields; `None` where there is none now.
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>]));
}

/// A sensor.
struct Channel {
    name: String,
    schema: Schema,
    tag: SchemaTag,
}

/// Sources with the number of their first sensor.
pub(crate) struct Sensors {
    channels: Vec<Channel>,
    sources: Vec<(usize, Box<dyn Source>)>,
}

impl Sensors {
    /// Finds out what there is. `state` is where the disk is looked at.
    pub(crate) fn open(state: &Path, machine: bool, replays: &[Replay]) -> Result<Self, Failure> {
        let mut sensors = Self { channels: Vec::new(), sources: Vec::new() };
        for replay in replays {
            let (schema, source) =
                replay::open(replay).map_err(|error| Failure::new(Kind::Arguments, error))?;
            sensors.add(vec![(replay.name.clone(), schema)], source);
        }
        if machine {
            for (channels, source) in machine::find(Path::new("/"), state) {
                sensors.add(channels, source);
            }
        }
        Ok(sensors)
    }

    fn add(&mut self, channels: Vec<(String, Schema)>, source: Box<dyn Source>) {
        self.sources.push((self.channels.len(), source));
        for (name, schema) in channels {
            match schema.with_wire(|schema| schema.id().tag()) {
                Ok(tag) => self.channels.push(Channel { name, schema, tag }),
                Err(error) => tracing::error!(%error, name, "not a schema"),
            }
        }
        if self.channels.len() > limits::NODE_CHANNELS {
            tracing::warn!(most = limits::NODE_CHANNELS, "more sensors than a node can have");
            self.channels.truncate(limits::NODE_CHANNELS);
        }
    }

    /// Names and schemas of the sensors, in the order of their numbers.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (Box<str>, SchemaTag)> {
        self.channels.iter().map(|channel| (channel.name.as_str().into(), channel.tag))
    }

    /// Reads every sensor once.
    pub(crate) fn sample(&mut self, mut take: impl FnMut(u8, &[u8])) {
        let channels = &self.channels;
        let mut record = [0; RECORD];
        for (first, source) in &mut self.sources {
            source.read(&mut |index, readings| {
                let number = *first + index;
                let Some(channel) = channels.get(number) else { return };
                let Ok(number) = u8::try_from(number) else { return };
                if let Some(len) = encode(&channel.schema, readings, &mut record) {
                    take(number, record.get(..len).unwrap_or_default());
                }
            });
        }
    }
}

/// A sample as a record. `None` if a reading is missing that the schema wants, or does not fit.
fn encode(schema: &Schema, readings: &[Option<Reading>], record: &mut [u8]) -> Option<usize> {
    let result = schema.with_wire(|wire| {
        let mut buf = [0; limits::PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        let mut payload = PayloadWriter::new(wire.fields(), &mut writer).ok()?;
        for (field, reading) in wire.fields().iter().zip(readings) {
            let value = match reading {
                None if field.optional => Value::Absent,
                None => return None,
                Some(Reading::Number(number)) => value(field.ty, *number)?,
                Some(Reading::Text(text)) => Value::Text(text),
            };
            payload.value(value).ok()?;
        }
        wire.to_record(payload.finish().ok()?, record).ok()
    });
    result.ok().flatten()
}

/// A number as a value of a field, rounded if the field wants that.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding, and the field's range is checked when it is written"
)]
fn value(ty: FieldType, number: f64) -> Option<Value<'static>> {
    Some(match ty {
        FieldType::F64 => Value::Float(number),
        FieldType::F32 => Value::Float(f64::from(number as f32)),
        FieldType::Bool => Value::Bool(number != 0.0),
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 if number > -0.5 => {
            Value::Uint(number.round() as u64)
        }
        FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64 => {
            Value::Int(number.round() as i64)
        }
        _ => return None,
    })
}

/// Prints the sensors with their present values, and the schema files that describe them.
pub(crate) fn show(sensors: &mut Sensors) {
    let names: Vec<String> = sensors.channels.iter().map(|channel| channel.name.clone()).collect();
    // Rates need two readings.
    sensors.sample(|_, _| {});
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut there = vec![false; names.len()];
    sensors.sample(|number, _| {
        if let Some(there) = there.get_mut(usize::from(number)) {
            *there = true;
        }
    });
    for (channel, there) in sensors.channels.iter().zip(there) {
        let now = if there { "" } else { " (no reading now)" };
        let (name, schema) = (&channel.name, &channel.schema);
        println!("# sensor `{name}`{now}");
        println!("name = \"{}\"\nversion = {}", schema.name, schema.version);
        for field in &schema.fields {
            let (name, ty, unit) = (&field.name, field.ty.name(), field.unit);
            print!("[[field]]\nname = \"{name}\"\ntype = \"{ty}\"\n");
            if let FieldType::Text(max) | FieldType::Bytes(max) = field.ty {
                println!("max = {max}");
            }
            println!("unit = \"{unit}\"");
            if field.optional {
                println!("optional = true");
            }
        }
        println!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_where_the_field_is_whole() {
        assert_eq!(value(FieldType::U8, 2.6), Some(Value::Uint(3)));
        assert_eq!(value(FieldType::I16, -2.6), Some(Value::Int(-3)));
        assert_eq!(value(FieldType::F32, 0.1), Some(Value::Float(f64::from(0.1_f32))));
        assert_eq!(value(FieldType::U8, -3.0), None);
        assert_eq!(value(FieldType::Text(3), 1.0), None);
    }

    #[test]
    fn a_sample_without_what_it_needs_is_none() {
        let schema = machine::schema("x", &[("a", FieldType::F32, capmesh_wire::Unit::Celsius)]);
        let mut record = [0; RECORD];
        assert_eq!(encode(&schema, &[Some(Reading::Number(1.5))], &mut record), Some(4));
        assert_eq!(record[..4], 1.5_f32.to_le_bytes());
        assert_eq!(encode(&schema, &[None], &mut record), None);
        assert_eq!(encode(&schema, &[], &mut record), None);
    }
}
