//! JSON from a broker's clients: messages for the mesh, and requests.

use crate::Feed;
use capmesh_gateway::api::{Refusal, RefusalCode, Request};
use capmesh_gateway::bridge::json;
use capmesh_wire::cbor::{List, Writer};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::Numbered;
use capmesh_wire::schema::{Field, FieldType, Fields};
use capmesh_wire::{Epoch, Name, Payload, Seq, Unit, limits};

/// The first byte says how many fields there are, and one more for each what it is; the rest is a message
/// of that schema, or a request.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let count = 1 + feed.below(limits::FIELDS_OF_SCHEMA);
    let names: Vec<String> = ["a", "time", "seq", "epoch"]
        .into_iter()
        .map(str::to_owned)
        .chain((4..count).map(|at| format!("f{at}")))
        .take(count)
        .collect();
    let fields: Vec<Field<'_>> = names.iter().map(|name| field(name, feed.byte())).collect();
    let text = feed.rest();
    if let Ok(fields) = List::new(&fields) {
        message(fields, text);
    }
    request(Request::parse(text));
    request(Request::parse_op("log", text));
}

fn field(name: &str, byte: u8) -> Field<'_> {
    let ty = match byte >> 4 {
        0 => FieldType::Bool,
        1 => FieldType::U8,
        2 => FieldType::U16,
        3 => FieldType::U32,
        4 => FieldType::U64,
        5 => FieldType::I8,
        6 => FieldType::I16,
        7 => FieldType::I32,
        8 => FieldType::I64,
        9 => FieldType::F32,
        10 => FieldType::F64,
        11 | 12 => FieldType::Text(byte & 0xf),
        _ => FieldType::Bytes(byte & 0xf),
    };
    let name = Name::new(name).expect("a name");
    Field { name, ty, unit: Unit::None, optional: byte & 1 == 1 }
}

/// What is read is written as what is read again as the same.
fn message(fields: Fields<'_>, text: &[u8]) {
    let (mut first, mut second) = ([0; limits::PAYLOAD], [0; limits::PAYLOAD]);
    let mut writer = Writer::new(&mut first);
    if json::read(fields, text, &mut writer).is_err() {
        return;
    }
    let payload = Payload::new(writer.written()).expect("a payload was written");
    let sampled = Timestamp { micros: text.len() as u64, uncertainty: Some(0) };
    let numbered = Numbered { seq: Seq(u64::MAX), sampled, payload };
    let mut out = Vec::new();
    json::write(fields, &numbered, Epoch(1), &mut out).expect("it fits its schema");
    let mut writer = Writer::new(&mut second);
    json::read(fields, &out, &mut writer).expect("it fits its schema still");
    assert_eq!(writer.written(), payload.as_bytes(), "{}", String::from_utf8_lossy(&out));
}

fn request(parsed: Result<Request, Refusal>) {
    match parsed {
        Ok(request) => {
            let json = serde_json::to_vec(&request).expect("requests are JSON");
            assert_eq!(Request::parse(&json), Ok(request));
        }
        Err(refusal) => {
            assert!(matches!(refusal.code, RefusalCode::Malformed | RefusalCode::TooLarge));
        }
    }
}
