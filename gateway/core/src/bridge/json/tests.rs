use super::*;
use capmesh_wire::cbor::List;
use capmesh_wire::{Name, Payload, Seq, Unit, limits};
use proptest::prelude::*;

fn field(name: &str, ty: FieldType, optional: bool) -> Field<'_> {
    Field { name: Name::new(name).unwrap(), ty, unit: Unit::None, optional }
}

fn message<'a>(payload: &'a [u8], uncertainty: Option<u32>) -> Numbered<'a> {
    Numbered {
        seq: Seq(1017),
        sampled: Timestamp { micros: 1_763_823_845_000_250, uncertainty },
        payload: Payload::new(payload).unwrap(),
    }
}

fn payload(fields: Fields<'_>, values: &[Value<'_>]) -> Vec<u8> {
    let mut buf = [0; limits::PAYLOAD];
    let mut writer = Writer::new(&mut buf);
    let mut payload = PayloadWriter::new(fields, &mut writer).unwrap();
    values.iter().for_each(|value| payload.value(*value).unwrap());
    payload.finish().unwrap();
    writer.written().to_vec()
}

fn text(fields: &[Field<'_>], values: &[Value<'_>], uncertainty: Option<u32>) -> String {
    let fields = List::new(fields).unwrap();
    let payload = payload(fields, values);
    let mut out = Vec::new();
    write(fields, &message(&payload, uncertainty), Epoch(2), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn read_back(fields: &[Field<'_>], json: &str) -> Result<Vec<u8>, Unfit> {
    let mut buf = [0; limits::PAYLOAD];
    let mut writer = Writer::new(&mut buf);
    read(List::new(fields).unwrap(), json.as_bytes(), &mut writer)?;
    Ok(writer.written().to_vec())
}

const META_TEXT: &str = r#""time":"2025-11-22T15:04:05.000250Z","seq":1017,"epoch":2}"#;

#[test]
fn a_message_of_every_type() {
    let fields = [
        field("on", FieldType::Bool, false),
        field("count", FieldType::U64, false),
        field("offset", FieldType::I64, false),
        field("mean", FieldType::F32, false),
        field("exact", FieldType::F64, false),
        field("name", FieldType::Text(8), false),
        field("raw", FieldType::Bytes(4), false),
        field("note", FieldType::Text(8), true),
    ];
    let values = [
        Value::Bool(true),
        Value::Uint(u64::MAX),
        Value::Int(i64::MIN),
        Value::Float(f64::from(21.1_f32)),
        Value::Float(21.1),
        Value::Text("a\"\n\u{7}"),
        Value::Bytes(&[0, 0xab]),
        Value::Absent,
    ];
    let expected = concat!(
        r#"{"on":true,"count":18446744073709551615,"offset":-9223372036854775808,"#,
        r#""mean":21.1,"exact":21.1,"name":"a\"\n\u0007","raw":"00ab","#,
    );
    let json = text(&fields, &values, Some(5));
    assert_eq!(json, format!("{expected}{META_TEXT}"));
    assert_eq!(read_back(&fields, &json), Ok(payload(List::new(&fields).unwrap(), &values)));
}

#[test]
fn what_json_has_no_number_for() {
    let fields = [field("x", FieldType::F32, false)];
    for (value, name) in
        [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")]
    {
        let json = text(&fields, &[Value::Float(value)], None);
        assert_eq!(json, format!(r#"{{"x":"{name}","seq":1017,"epoch":2}}"#));
        let back = payload(List::new(&fields).unwrap(), &[Value::Float(value)]);
        assert_eq!(read_back(&fields, &json), Ok(back));
    }
}

#[test]
fn a_field_keeps_its_name_before_what_goes_with_messages() {
    let fields = [field("time", FieldType::U8, false), field("seq", FieldType::U8, true)];
    let json = text(&fields, &[Value::Uint(7), Value::Absent], Some(0));
    assert_eq!(json, r#"{"time":7,"_time":"2025-11-22T15:04:05.000250Z","_seq":1017,"epoch":2}"#);
    assert!(read_back(&fields, &json).is_ok());
}

#[test]
fn a_message_without_any_value_is_an_object_all_the_same() {
    let fields = [field("x", FieldType::U8, true)];
    assert_eq!(text(&fields, &[Value::Absent], None), r#"{"seq":1017,"epoch":2}"#);
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let fields = [field("a", FieldType::U8, false), field("b", FieldType::U8, false)];
    let mut out = b"before".to_vec();
    let fields = List::new(&fields).unwrap();
    assert!(write(fields, &message(&[0x82, 1, 0x61, b'x'], None), Epoch(1), &mut out).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn days_of_the_calendar() {
    for (days, date) in [
        (0, (1970, 1, 1)),
        (58, (1970, 2, 28)),
        (59, (1970, 3, 1)),
        (11_016, (2000, 2, 29)),
        (11_017, (2000, 3, 1)),
        (20_453, (2025, 12, 31)),
        (20_454, (2026, 1, 1)),
        (47_540, (2100, 2, 28)),
        (47_541, (2100, 3, 1)),
    ] {
        assert_eq!(civil(days), date, "{days}");
    }
}

#[test]
fn what_comes_in_is_read_leniently_where_nothing_is_lost() {
    let fields = [field("x", FieldType::U16, false)];
    let seven = payload(List::new(&fields).unwrap(), &[Value::Uint(7)]);
    for json in [
        r#"{"x":7}"#,
        r#" { "x" : 7.0 } "#,
        r#"{"x":0.7e1,"seq":3,"epoch":1,"time":"then","_seq":0}"#,
        r#"{"\u0078":7}"#,
        "7",
        " 7.0\n",
    ] {
        assert_eq!(read_back(&fields, json), Ok(seven.clone()), "{json}");
    }
}

#[test]
fn what_is_no_message_is_refused_with_what_was_found() {
    let fields = [
        field("mean", FieldType::F32, false),
        field("count", FieldType::U8, true),
        field("name", FieldType::Text(3), true),
        field("raw", FieldType::Bytes(2), true),
    ];
    for (json, found) in [
        ("", "not JSON"),
        ("7", "not an object"),
        ("[7]", "not an object"),
        ("{", "not JSON"),
        (r#"{"mean":1}}"#, "not JSON"),
        (r#"{"mean":1,"mean":2}"#, "`mean` is there twice"),
        (r#"{"maen":1}"#, "did you mean `mean`"),
        (r#"{"mean":1,"zzz":1}"#, "no field `zzz`"),
        (r#"{"count":1}"#, "`mean` is missing"),
        (r#"{"mean":null}"#, "`mean` is missing"),
        (r#"{"mean":"1"}"#, "`mean` is not a number of type f32"),
        (r#"{"mean":1e39}"#, "`mean` is not"),
        (r#"{"mean":1e999}"#, "`mean` is not"),
        (r#"{"mean":1,"count":256}"#, "`count` is not an integer of type u8"),
        (r#"{"mean":1,"count":-1}"#, "`count` is not"),
        (r#"{"mean":1,"count":1.5}"#, "`count` is not"),
        (r#"{"mean":1,"name":"abcd"}"#, "at most 3 bytes"),
        (r#"{"mean":1,"name":7}"#, "`name` is not a text"),
        (r#"{"mean":1,"raw":"abc"}"#, "`raw` is not"),
        (r#"{"mean":1,"raw":"+f"}"#, "`raw` is not"),
        (r#"{"mean":1,"raw":"ééé"}"#, "`raw` is not"),
    ] {
        let unfit = read_back(&fields, json).unwrap_err().to_string();
        assert!(unfit.contains(found), "{json}: {unfit}");
    }
    let many: Vec<_> = (0..=KEYS).map(|key| format!("\"k{key}\":1")).collect();
    let unfit = read_back(&fields, &format!("{{{}}}", many.join(","))).unwrap_err();
    assert!(unfit.to_string().contains("more keys"), "{unfit}");
    let long = format!("{{\"mean\":1{}}}", " ".repeat(TEXT));
    assert_eq!(read_back(&fields, &long), Err(Unfit::TooLong));
}

/// Values that a single is not: only singles stand in a field of type `f32`.
fn single() -> impl Strategy<Value = f64> {
    any::<u32>().prop_map(|bits| f64::from(f32::from_bits(bits)))
}

fn owned(ty: FieldType) -> BoxedStrategy<Owned> {
    match ty {
        FieldType::Bool => any::<bool>().prop_map(Owned::Bool).boxed(),
        FieldType::U8 => any::<u8>().prop_map(|v| Owned::Uint(v.into())).boxed(),
        FieldType::U16 => any::<u16>().prop_map(|v| Owned::Uint(v.into())).boxed(),
        FieldType::U32 => any::<u32>().prop_map(|v| Owned::Uint(v.into())).boxed(),
        FieldType::U64 => any::<u64>().prop_map(Owned::Uint).boxed(),
        FieldType::I8 => any::<i8>().prop_map(|v| Owned::Int(v.into())).boxed(),
        FieldType::I16 => any::<i16>().prop_map(|v| Owned::Int(v.into())).boxed(),
        FieldType::I32 => any::<i32>().prop_map(|v| Owned::Int(v.into())).boxed(),
        FieldType::I64 => any::<i64>().prop_map(Owned::Int).boxed(),
        FieldType::F32 => single().prop_map(Owned::Float).boxed(),
        FieldType::F64 => any::<u64>().prop_map(|bits| Owned::Float(f64::from_bits(bits))).boxed(),
        FieldType::Text(max) => {
            let fits = move |text: &String| text.len() <= usize::from(max);
            any::<String>().prop_filter("short enough", fits).prop_map(Owned::Text).boxed()
        }
        FieldType::Bytes(max) => {
            prop::collection::vec(any::<u8>(), 0..=usize::from(max)).prop_map(Owned::Bytes).boxed()
        }
    }
}

#[derive(Clone, Debug)]
enum Owned {
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

fn borrowed(value: Option<&Owned>) -> Value<'_> {
    match value {
        None => Value::Absent,
        Some(Owned::Bool(value)) => Value::Bool(*value),
        Some(Owned::Uint(value)) => Value::Uint(*value),
        Some(Owned::Int(value)) => Value::Int(*value),
        Some(Owned::Float(value)) => Value::Float(*value),
        Some(Owned::Text(value)) => Value::Text(value),
        Some(Owned::Bytes(value)) => Value::Bytes(value),
    }
}

fn ty() -> impl Strategy<Value = FieldType> {
    prop_oneof![
        Just(FieldType::Bool),
        Just(FieldType::U8),
        Just(FieldType::U16),
        Just(FieldType::U32),
        Just(FieldType::U64),
        Just(FieldType::I8),
        Just(FieldType::I16),
        Just(FieldType::I32),
        Just(FieldType::I64),
        Just(FieldType::F32),
        Just(FieldType::F64),
        Just(FieldType::Text(24)),
        Just(FieldType::Bytes(8)),
    ]
}

fn schema() -> impl Strategy<Value = Vec<(FieldType, bool, Option<Owned>)>> {
    let field = (ty(), any::<bool>()).prop_flat_map(|(ty, optional)| {
        let value = if optional {
            prop::option::of(owned(ty)).boxed()
        } else {
            owned(ty).prop_map(Some).boxed()
        };
        (Just(ty), Just(optional), value)
    });
    prop::collection::vec(field, 1..=limits::FIELDS_OF_SCHEMA)
}

proptest! {
    /// What goes out and comes in again is the same payload, bit for bit.
    #[test]
    fn round_trip(fields in schema(), uncertainty: Option<u32>) {
        // Among the names are those of what goes with a message.
        let names: Vec<_> = (0..fields.len())
            .map(|at| META.get(at).map_or(format!("f{at}"), |name| (*name).to_owned()))
            .collect();
        let schema: Vec<_> = fields
            .iter()
            .zip(&names)
            .map(|((ty, optional, _), name)| field(name, *ty, *optional))
            .collect();
        let values: Vec<_> = fields.iter().map(|(_, _, value)| borrowed(value.as_ref())).collect();
        let list = List::new(&schema).unwrap();
        let payload = payload(list, &values);
        let mut json = Vec::new();
        write(list, &message(&payload, uncertainty), Epoch(3), &mut json).unwrap();
        prop_assert!(json.len() <= TEXT);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        let mut buf = [0; limits::PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        prop_assert_eq!(read(list, &json, &mut writer), Ok(()));
        prop_assert_eq!(writer.written(), &payload[..]);
    }

    #[test]
    fn anything_is_read_or_refused(fields in schema(), text in ".{0,64}") {
        let names: Vec<_> = (0..fields.len()).map(|at| format!("f{at}")).collect();
        let schema: Vec<_> = fields
            .iter()
            .zip(&names)
            .map(|((ty, optional, _), name)| field(name, *ty, *optional))
            .collect();
        let _ = read_back(&schema, &text);
    }
}
