//! What happens to a capsule, and what it does, as lines of JSON.
//!
//! | line | meaning |
//! |---|---|
//! | `{"input": "reading", "value": {"value": 21.5}}` | a message on an input |
//! | `{"sensor": "air", "value": {...}}` | a sensor's next sample |
//! | `{"source": "button", "value": 1}` | a digital input changes |
//! | `{"timer": "tick"}` | a timer runs out now |
//! | `{"service": "limit", "method": "PUT", "value": {...}}` | somebody asks; the method is GET if it is left out, and POST if there is a value |
//! | `{"reply": 0, "status": "2.05", "value": {...}}` | an answer to the capsule's request of that number |
//! | `{"run": "00ff"}` | a one-shot capsule is run with these bytes, in hexadecimal |
//! | `{"wait": 2.5}` | seconds pass, and timers run out |
//!
//! Every line may have `"wait"` as well: so many seconds pass before it happens. Empty lines and those
//! that start with `#` are passed over.

use crate::codec;
use crate::load::{Happening, Schedule};
use capmesh_description::{Description, Named, Peer, Port, Service, nearest};
use capmesh_runtime::Effect;
use serde_json::{Map, Value as Json, json};
use std::fmt;

/// A line of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Microseconds that pass before it.
    pub wait: u64,
    /// What happens then; nothing, if the line only waits.
    pub what: Option<What>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Something from outside.
    Happening(Happening),
    /// The answer to a request of the capsule's: its number, status and payload as JSON; which schema
    /// it has depends on the request.
    Reply(u32, u8, Option<Json>),
}

/// A line that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

const KINDS: [&str; 8] = ["input", "sensor", "source", "timer", "service", "reply", "run", "wait"];

/// Reads one line; `None` if there is nothing on it.
///
/// # Errors
/// What is wrong with it, with the nearest name that exists.
pub fn step(description: &Description, line: &str) -> Result<Option<Step>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let json: Json = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let Json::Object(members) = json else {
        return Err("not an object like {\"input\": \"reading\", \"value\": {...}}".into());
    };
    let kinds: Vec<&str> =
        KINDS.into_iter().filter(|kind| *kind != "wait" && members.contains_key(*kind)).collect();
    let known = |key: &str| KINDS.contains(&key) || ["value", "method", "status"].contains(&key);
    if let Some(key) = members.keys().find(|key| !known(key)) {
        return Err(format!("there is no member `{key}`{}", meant(key, KINDS)));
    }
    let wait = match members.get("wait") {
        None => 0,
        Some(seconds) => micros(seconds).ok_or("`wait` must be a number of seconds")?,
    };
    let what = match kinds.as_slice() {
        [] if members.contains_key("wait") => None,
        [kind] => Some(what(description, kind, &members)?),
        [] => return Err(format!("nothing happens; there is none of {}", KINDS.join(", "))),
        _ => return Err(format!("two things at once: {}", kinds.join(" and "))),
    };
    Ok(Some(Step { wait, what }))
}

/// Reads a script to measure a capsule under. Answers to its requests are made up, as they are for a
/// load that is made up.
///
/// # Errors
/// The first line that means nothing.
pub fn schedule(description: &Description, text: &str) -> Result<(Schedule, u64), BadLine> {
    let (mut schedule, mut now) = (Schedule::new(), 0_u64);
    for (line, text) in (1..).zip(text.lines()) {
        let step = step(description, text).map_err(|why| BadLine { line, why })?;
        let Some(step) = step else { continue };
        now = now.saturating_add(step.wait);
        if let Some(What::Happening(happening)) = step.what {
            schedule.push((now, happening));
        }
    }
    Ok((schedule, now))
}

fn what(
    description: &Description,
    kind: &str,
    members: &Map<String, Json>,
) -> Result<What, String> {
    let value = members.get("value").filter(|value| !value.is_null());
    let name =
        || members.get(kind).and_then(Json::as_str).ok_or(format!("`{kind}` must be a name"));
    let happening = match kind {
        "input" => {
            let (number, port) = find(&description.inputs, name()?, kind)?;
            Happening::Message(number, record(description, port.schema, value)?)
        }
        "sensor" => {
            let (number, port) = find(&description.sensors, name()?, kind)?;
            Happening::Sample(number, record(description, port.schema, value)?)
        }
        "source" => {
            let (number, _) = find(&description.sources, name()?, kind)?;
            let value =
                value.and_then(|v| v.as_f64().or(v.as_bool().map(|v| f64::from(u8::from(v)))));
            Happening::Digital(number, value.ok_or("`value` must be a number, true or false")?)
        }
        "timer" => Happening::Timer(find(&description.timers, name()?, kind)?.0),
        "service" => request(description, name()?, members.get("method"), value)?,
        "run" => {
            let bytes = members.get("run").and_then(Json::as_str).and_then(codec::unhex);
            Happening::Run(bytes.ok_or("`run` must be hexadecimal digits, two for each byte")?)
        }
        _ => {
            let number = members.get("reply").and_then(Json::as_u64);
            let number = number.and_then(|number| u32::try_from(number).ok());
            let number = number.ok_or("`reply` must be the number of a request")?;
            let status = match members.get("status") {
                None => Some(0x45),
                Some(status) => status.as_str().and_then(parse_code),
            };
            let status = status.ok_or("`status` must be a CoAP code like \"2.05\"")?;
            return Ok(What::Reply(number, status, value.cloned()));
        }
    };
    Ok(What::Happening(happening))
}

fn request(
    description: &Description,
    name: &str,
    method: Option<&Json>,
    value: Option<&Json>,
) -> Result<Happening, String> {
    const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    let (number, service) = find(&description.services, name, "service")?;
    let method = match method {
        None if value.is_some() => "POST",
        None => "GET",
        Some(method) => method.as_str().unwrap_or_default(),
    };
    let code = (1..).zip(METHODS).find(|(_, known)| *known == method);
    let (code, _) = code.ok_or(format!("`method` must be one of {}", METHODS.join(", ")))?;
    let payload = match (service.request, value) {
        (_, None) => Vec::new(),
        (Some(schema), value) => record(description, schema, value)?,
        (None, Some(_)) => return Err(format!("requests to `{name}` carry nothing")),
    };
    Ok(Happening::Request(number, code, payload))
}

fn record(
    description: &Description,
    schema: usize,
    value: Option<&Json>,
) -> Result<Vec<u8>, String> {
    let value = value.ok_or("there is no `value`")?;
    let schema = description.schemas.get(schema).ok_or("there is no such schema")?;
    codec::to_record(schema, value).map_err(|error| error.to_string())
}

/// Things that a line calls by name.
trait HasName {
    fn name(&self) -> &str;
}

macro_rules! has_name {
    ($($type:ty),*) => {
        $(impl HasName for $type {
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

has_name!(Named, Peer, Port, Service);

fn find<'i, T: HasName>(items: &'i [T], name: &str, kind: &str) -> Result<(u32, &'i T), String> {
    (0..).zip(items).find(|(_, item)| item.name() == name).ok_or_else(|| {
        let names = items.iter().map(HasName::name);
        format!("there is no {kind} `{name}`{}", meant(name, names))
    })
}

fn meant<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!("; is it `{name}`?"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and bounded; a part of a microsecond does not count"
)]
fn micros(seconds: &Json) -> Option<u64> {
    let seconds = seconds.as_f64().filter(|seconds| (0.0..=1e9).contains(seconds))?;
    Some((seconds * 1e6).round() as u64)
}

/// A CoAP code as the byte on the wire.
fn parse_code(text: &str) -> Option<u8> {
    if text == "0" {
        return Some(0);
    }
    let (class, detail) = text.split_once('.')?;
    let (class, detail) = (class.parse::<u8>().ok()?, detail.parse::<u8>().ok()?);
    (class < 8 && detail < 32).then_some(class << 5 | detail)
}

/// A CoAP code as people write it.
#[must_use]
pub fn code(status: u32) -> String {
    format!("{}.{:02}", status >> 5 & 7, status & 31)
}

/// What a capsule did, as a line; `at` is in microseconds since it began. `None` for timers, which are
/// its own affair.
#[must_use]
pub fn line(
    description: &Description,
    at: u64,
    effect: &Effect<'_>,
    asked: Option<usize>,
) -> Option<Json> {
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let at = at as f64 / 1e6;
    let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let value = |schema: Option<usize>, record: &[u8]| {
        let schema = schema.and_then(|schema| description.schemas.get(schema));
        let json = schema.and_then(|schema| codec::from_record(schema, record).ok());
        json.unwrap_or_else(|| codec::hex(record).into())
    };
    Some(match effect {
        Effect::Publish { output, record } => {
            let port = description.outputs.get(index(*output))?;
            json!({"at": at, "output": port.name, "value": value(Some(port.schema), record)})
        }
        Effect::Request { peer, resource, number, record } => {
            let peer = description.peers.get(index(*peer))?;
            let service = peer.services.get(index(*resource));
            let name = service.map_or("?", |service| service.name.as_str());
            let value = value(service.and_then(|service| service.request), record);
            let name = format!("{}/{name}", peer.name);
            json!({"at": at, "request": name, "number": number, "value": value})
        }
        Effect::Respond { status, record } => {
            let schema = asked.and_then(|n| description.services.get(n)?.response);
            json!({"at": at, "response": code(*status), "value": value(schema, record)})
        }
        Effect::Actuate { actuator, value } => {
            let actuator = description.actuators.get(index(*actuator))?;
            json!({"at": at, "actuator": actuator.name, "value": value})
        }
        Effect::Log { level, text } => {
            const LEVELS: [&str; 4] = ["error", "warning", "info", "debug"];
            let level = LEVELS.get(index(*level)).copied().unwrap_or("debug");
            json!({"at": at, "log": level, "text": String::from_utf8_lossy(text)})
        }
        Effect::SetTimer { .. } | Effect::CancelTimer { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
