//! The load that a capsule is measured under, where its author gives no samples.
//!
//! Messages come on each input at its `rate`; sensors have a new sample, digital inputs change and
//! resources are asked once a second; what the capsule asks of others is answered. The values suit
//! the units of their fields, wander as measurements do, and are an outlier now and then. The same
//! description gives the same load.

use crate::codec;
use capmesh_description::{Description, Field, Schema};
use capmesh_runtime::Event;
use capmesh_wire::Unit;
use capmesh_wire::schema::{FieldType, Value};

/// The least and the most virtual seconds that a capsule is measured for.
const SECONDS: (f64, f64) = (60.0, 600.0);

/// Messages that are enough to see what there is to see.
const ENOUGH: f64 = 2_000.0;

/// The most events of one measurement.
const MOST_EVENTS: usize = 50_000;

const MICROS: f64 = 1e6;

/// An event that owns its payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A message on an input.
    Message(u32, Vec<u8>),
    /// A sensor's next sample.
    Sample(u32, Vec<u8>),
    /// A digital input changes.
    Digital(u32, f64),
    /// Somebody asks a resource with a CoAP method.
    Request(u32, u8, Vec<u8>),
    /// A timer runs out, whatever it was set to.
    Timer(u32),
    /// A one-shot capsule is run.
    Run(Vec<u8>),
}

impl Happening {
    /// What the runtime is told; a sample is not an event.
    #[must_use]
    pub fn event(&self) -> Option<Event<'_>> {
        Some(match self {
            Self::Message(input, record) => Event::Message { input: *input, record },
            Self::Digital(source, value) => Event::Digital { source: *source, value: *value },
            Self::Request(resource, method, payload) => {
                Event::Request { resource: *resource, method: *method, payload }
            }
            Self::Timer(timer) => Event::Timer { timer: *timer },
            Self::Run(arguments) => Event::Run { arguments },
            Self::Sample(..) => return None,
        })
    }
}

/// What happens at which time, in microseconds from the start.
pub type Schedule = Vec<(u64, Happening)>;

/// The load of a description and how long it lasts, in microseconds.
#[must_use]
pub fn generate(description: &Description) -> (Schedule, u64) {
    let rate: f64 = description.inputs.iter().map(|input| input.rate).sum();
    let seconds = (ENOUGH / rate.max(1e-3)).clamp(SECONDS.0, SECONDS.1);
    let mut weather = Weather { state: 0x5eed };
    let mut schedule = Schedule::new();
    let end = micros(seconds);
    for (number, input) in (0..).zip(&description.inputs) {
        let Some(schema) = description.schemas.get(input.schema) else { continue };
        let period = micros(1.0 / input.rate.max(1e-3)).max(1);
        for at in (period..=end).step_by(usize::try_from(period).unwrap_or(usize::MAX)) {
            schedule.push((at, Happening::Message(number, weather.record(schema, at))));
        }
    }
    for at in (0..end).step_by(usize::try_from(micros(1.0)).unwrap_or(usize::MAX)) {
        each_second(description, at, &mut weather, &mut schedule);
    }
    schedule.push((micros(0.5), Happening::Run(Vec::new())));
    schedule.sort_by_key(|(at, _)| *at);
    let end = schedule.get(MOST_EVENTS).map_or(end, |(at, _)| *at);
    schedule.truncate(MOST_EVENTS);
    (schedule, end)
}

fn each_second(description: &Description, at: u64, weather: &mut Weather, schedule: &mut Schedule) {
    let schema = |number: usize| description.schemas.get(number);
    for (number, sensor) in (0..).zip(&description.sensors) {
        if let Some(schema) = schema(sensor.schema) {
            schedule.push((at, Happening::Sample(number, weather.record(schema, at))));
        }
    }
    for (number, _) in (0..).zip(&description.sources) {
        schedule.push((at, Happening::Digital(number, f64::from(weather.below(2)))));
    }
    for (number, service) in (0..).zip(&description.services) {
        let (method, payload) = match service.request.and_then(schema) {
            Some(schema) => (2, weather.record(schema, at)),
            None => (1, Vec::new()),
        };
        schedule.push((at, Happening::Request(number, method, payload)));
    }
}

/// The answer of a resource that the capsule asks: what its schema says, out of the blue.
#[must_use]
pub fn reply(description: &Description, peer: u32, resource: u32, at: u64) -> Vec<u8> {
    let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let service =
        description.peers.get(index(peer)).and_then(|peer| peer.services.get(index(resource)));
    let schema = service.and_then(|service| description.schemas.get(service.response?));
    schema.map_or_else(Vec::new, |schema| Weather { state: at }.record(schema, at))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive time of some minutes"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * MICROS) as u64
}

/// Measurements as the world gives them: SplitMix64 and a sine.
struct Weather {
    state: u64,
}

impl Weather {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        let number = self.next() % u64::from(bound.max(1));
        u32::try_from(number).unwrap_or(0)
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        f64::from(self.below(1 << 20)) / f64::from(1 << 20)
    }

    fn record(&mut self, schema: &Schema, at: u64) -> Vec<u8> {
        let texts: Vec<String> = schema.fields.iter().map(|field| self.text(field)).collect();
        let values =
            schema.fields.iter().zip(&texts).map(|(field, text)| self.value(field, text, at));
        let values: Vec<Value<'_>> = values.collect();
        // The values are of their fields' types, and a legal schema's payload has room.
        codec::record(schema, values.into_iter()).unwrap_or_default()
    }

    fn text(&mut self, field: &Field) -> String {
        let (FieldType::Text(max) | FieldType::Bytes(max)) = field.ty else { return String::new() };
        let len = u32::from(max) - self.below(u32::from(max) / 2 + 1);
        (0..len).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or(0))).collect()
    }

    fn value<'t>(&mut self, field: &Field, text: &'t str, at: u64) -> Value<'t> {
        if field.optional && self.below(8) == 0 {
            return Value::Absent;
        }
        let whole = |value: f64, most: u64| {
            let value = value.abs().min(1e9);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive and at most a thousand million"
            )]
            let value = value as u64;
            value.min(most)
        };
        let measured = self.measure(field.unit, at);
        let signed = |most: u64| {
            let value = i64::try_from(whole(measured, most)).unwrap_or(0);
            Value::Int(if measured < 0.0 { -value } else { value })
        };
        match field.ty {
            FieldType::Bool => Value::Bool(self.below(2) == 1),
            FieldType::U8 => Value::Uint(whole(measured, u64::from(u8::MAX))),
            FieldType::U16 => Value::Uint(whole(measured, u64::from(u16::MAX))),
            FieldType::U32 | FieldType::U64 => Value::Uint(whole(measured, u64::MAX)),
            FieldType::I8 => signed(i8::MAX.unsigned_abs().into()),
            FieldType::I16 => signed(i16::MAX.unsigned_abs().into()),
            FieldType::I32 | FieldType::I64 => signed(i32::MAX.unsigned_abs().into()),
            #[expect(clippy::cast_possible_truncation, reason = "the field holds a single")]
            FieldType::F32 => Value::Float(f64::from(measured as f32)),
            FieldType::F64 => Value::Float(measured),
            FieldType::Text(_) => Value::Text(text),
            FieldType::Bytes(_) => Value::Bytes(text.as_bytes()),
        }
    }

    /// A value that suits the unit: a wave of a minute, noise, and one outlier in 64.
    fn measure(&mut self, unit: Unit, at: u64) -> f64 {
        let (low, high) = match unit {
            Unit::Celsius => (-10.0, 40.0),
            Unit::Latitude => (-80.0, 80.0),
            Unit::Longitude => (-170.0, 170.0),
            Unit::Pascal => (95_000.0, 105_000.0),
            Unit::Kelvin => (260.0, 320.0),
            _ => (0.0, 100.0),
        };
        #[expect(clippy::cast_precision_loss, reason = "a time of some minutes")]
        let phase = at as f64 / (60.0 * MICROS) * std::f64::consts::TAU;
        let wave = 0.5 + 0.3 * phase.sin() + 0.2 * (self.share() - 0.5);
        let place = if self.below(64) == 0 { self.share() } else { wave };
        low + (high - low) * place
    }
}
