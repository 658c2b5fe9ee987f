use super::*;
use capmesh_wire::Unit;
use serde_json::json;
use std::path::PathBuf;

fn schema(fields: &[(&str, FieldType, bool)]) -> Schema {
    let field = |(name, ty, optional): &(&str, FieldType, bool)| Field {
        name: (*name).to_owned(),
        ty: *ty,
        unit: Unit::None,
        optional: *optional,
        doc: None,
    };
    Schema {
        alias: "s".into(),
        path: PathBuf::new(),
        name: "s".into(),
        version: 1,
        doc: None,
        fields: fields.iter().map(field).collect(),
    }
}

fn everything() -> Schema {
    use FieldType::{Bool, Bytes, F32, F64, I8, I64, Text, U8, U64};
    schema(&[
        ("on", Bool, false),
        ("small", U8, false),
        ("large", U64, false),
        ("signed", I8, false),
        ("wide", I64, false),
        ("single", F32, false),
        ("double", F64, true),
        ("text", Text(5), false),
        ("bytes", Bytes(3), true),
    ])
}

#[test]
fn messages_come_back() {
    let schema = everything();
    let message = json!({
        "on": true, "small": 255, "large": u64::MAX, "signed": -128, "wide": i64::MIN,
        "single": 21.5, "double": -0.1, "text": "höhe", "bytes": "00ff7f",
    });
    let record = to_record(&schema, &message).unwrap();
    assert_eq!(record.len(), record_len(&schema));
    assert_eq!(from_record(&schema, &record), Ok(message));
}

#[test]
fn what_is_absent_comes_back_as_null() {
    let schema = everything();
    let message = json!({
        "on": false, "small": 0, "large": 0, "signed": 0, "wide": 0, "single": "NaN", "text": "",
    });
    let read = from_record(&schema, &to_record(&schema, &message).unwrap()).unwrap();
    assert_eq!((&read["double"], &read["bytes"]), (&Json::Null, &Json::Null));
    assert_eq!(read["single"], "NaN");
}

#[test]
fn a_decimal_that_no_single_is_becomes_the_nearest() {
    let schema = schema(&[("value", FieldType::F32, false)]);
    let record = 21.1_f32.to_le_bytes();
    assert_eq!(to_record(&schema, &json!({"value": 21.1})), Ok(record.to_vec()));
    assert_eq!(from_record(&schema, &record), Ok(json!({"value": 21.1})));
}

#[test]
fn every_mistake_is_named() {
    let schema = everything();
    let good = json!({
        "on": true, "small": 1, "large": 1, "signed": 1, "wide": 1, "single": 1, "text": "a",
    });
    assert!(to_record(&schema, &good).is_ok());
    let complain = |field: &str, value: Json| {
        let mut message = good.clone();
        message[field] = value;
        to_record(&schema, &message).unwrap_err().to_string()
    };
    assert_eq!(complain("smal", json!(1)), "there is no field `smal`; is it `small`?");
    assert_eq!(complain("on", json!(1)), "the field `on` must be true or false");
    assert_eq!(
        complain("small", json!(256)),
        "the field `small` must be an integer in the range of u8"
    );
    assert_eq!(complain("small", json!(null)), "the field `small` is missing");
    for outside in [128, -129] {
        assert!(complain("signed", json!(outside)).contains("range of i8"), "{outside}");
    }
    assert_eq!(
        complain("text", json!("sechs!")),
        "the field `text` must be a text of at most 5 bytes"
    );
    assert!(complain("bytes", json!("0")).contains("two for each"));
    assert!(complain("bytes", json!("00112233")).contains("at most 3"));
    assert!(to_record(&schema, &json!([1])).unwrap_err().to_string().contains("not [1]"));
}

#[test]
fn hexadecimal_digits_come_in_pairs() {
    assert_eq!(unhex("00fF"), Some(vec![0, 255]));
    for wrong in ["0", "0g", "+1", " 1"] {
        assert_eq!(unhex(wrong), None, "{wrong}");
    }
    assert_eq!(hex(&[0, 171]), "00ab");
}
