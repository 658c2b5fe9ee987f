extern crate std;

use super::*;
use crate::cbor::{decode, encode};
use hex_literal::hex;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

fn field(name: &str, ty: FieldType) -> Field<'_> {
    Field { name: Name::new(name).unwrap(), ty, unit: Unit::None, optional: false }
}

fn reading() -> [Field<'static>; 3] {
    [
        Field { unit: Unit::Celsius, ..field("temperature", FieldType::F32) },
        Field { unit: Unit::RelativeHumidity, optional: true, ..field("humidity", FieldType::F32) },
        field("source", FieldType::Text(26)),
    ]
}

fn schema<'a>(fields: &'a [Field<'a>]) -> Schema<'a> {
    Schema::new(Name::new("reading").unwrap(), 1, List::new(fields).unwrap()).unwrap()
}

fn written(fields: &[Field<'_>], values: &[Value<'_>]) -> Result<Vec<u8>, WriteError> {
    let mut buf = [0; 600];
    let mut writer = Writer::new(&mut buf);
    let mut payload = PayloadWriter::new(List::new(fields).unwrap(), &mut writer)?;
    for value in values {
        payload.value(*value)?;
    }
    Ok(payload.finish()?.as_bytes().to_vec())
}

#[test]
fn the_identity_is_the_digest_of_the_encoding() {
    let fields = reading();
    let schema = schema(&fields);
    let mut buf = [0; 200];
    let len = encode(&schema, &mut buf).unwrap();
    assert_eq!(schema.id(), SchemaId(Digest::of(&buf[..len])));
    assert_eq!(schema.id().tag().0, schema.id().0.as_bytes()[..4]);
    let read: Schema<'_> = decode(&buf[..len]).unwrap();
    assert_eq!(read, schema);
    assert_eq!(read.id(), schema.id());
}

#[test]
fn everything_counts_for_the_identity() {
    let fields = reading();
    let original = schema(&fields).id();
    let mut changed = [fields; 5];
    changed[0][0].unit = Unit::Kelvin;
    changed[1][1].optional = false;
    changed[2].swap(0, 1);
    changed[3][2].ty = FieldType::Text(27);
    changed[4][2].name = Name::new("place").unwrap();
    for fields in &changed {
        assert_ne!(schema(fields).id(), original);
    }
    let renamed = Schema::new(Name::new("readings").unwrap(), 1, List::new(&fields).unwrap());
    assert_ne!(renamed.unwrap().id(), original);
    let newer = Schema::new(Name::new("reading").unwrap(), 2, List::new(&fields).unwrap());
    assert_ne!(newer.unwrap().id(), original);
}

#[test]
fn a_schema_never_grows() {
    assert!(decode::<Schema<'_>>(&hex!("a3 00 6161 01 01 02 81 84 6162 00 00 f4")).is_ok());
    for (bad, error) in [
        (&hex!("a4 00 6161 01 01 02 81 84 6162 00 00 f4 03 00")[..], DecodeError::Value),
        (&hex!("a3 00 6161 01 01 02 81 85 6162 00 00 f4 00"), DecodeError::Value),
        (&hex!("a3 00 6161 01 01 02 81 84 6162 0b 00 f4"), DecodeError::Unknown),
        (&hex!("a3 00 6161 01 01 02 81 84 6162 820d00 00 f4"), DecodeError::Unknown),
        (&hex!("a3 00 6161 01 01 02 81 84 6162 820000 00 f4"), DecodeError::Unknown),
        (&hex!("a3 00 6161 01 01 02 80"), DecodeError::Value),
        (&hex!("a2 00 6161 01 01"), DecodeError::Value),
    ] {
        assert_eq!(decode::<Schema<'_>>(bad), Err(error), "{bad:02x?}");
    }
    // A unit of a newer table is one that this version cannot name, and no reason to refuse.
    assert!(decode::<Schema<'_>>(&hex!("a3 00 6161 01 01 02 81 84 6162 00 18ff f4")).is_ok());
}

#[test]
fn names_differ_and_payloads_are_bounded() {
    let name = Name::new("s").unwrap();
    let twice = [field("a", FieldType::Bool), field("a", FieldType::U8)];
    assert_eq!(Schema::new(name, 1, List::new(&twice).unwrap()), Err(DecodeError::Value));
    let wide = [field("a", FieldType::Bytes(255)), field("b", FieldType::Bytes(255))];
    assert_eq!(Schema::new(name, 1, List::new(&wide).unwrap()), Err(DecodeError::Bound));
    let fits = [field("a", FieldType::Bytes(255)), field("b", FieldType::Bytes(252))];
    let fits = Schema::new(name, 1, List::new(&fits).unwrap()).unwrap();
    assert_eq!(fits.max_payload_len(), limits::PAYLOAD);
    assert!(List::<Field<'_>, { limits::FIELDS_OF_SCHEMA }>::new(&[twice[0]; 17]).is_err());
}

#[test]
fn the_longest_field_has_the_stated_length() {
    let longest = Field {
        name: Name::new("abcdefghijklmnopqrstuvw").unwrap(),
        ty: FieldType::Bytes(255),
        unit: Unit::GramPerLitre,
        optional: true,
    };
    let mut buf = [0; 64];
    assert_eq!(encode(&longest, &mut buf), Ok(limits::FIELD));
    let fields = [longest];
    let schema = Schema::new(longest.name, u16::MAX, List::new(&fields).unwrap()).unwrap();
    let mut head = [0; limits::FIELD];
    let mut writer = Writer::new(&mut head);
    schema.write_head(&mut writer);
    assert_eq!(writer.status(), Ok(()));
}

#[test]
fn a_payload_is_as_short_as_its_values() {
    let fields = reading();
    let bytes = written(&fields, &[Value::Float(21.5), Value::Absent, Value::Text("n03")]).unwrap();
    assert_eq!(bytes, hex!("83 f94d60 f6 636e3033"));
    let payload = Payload::new(&bytes).unwrap();
    assert_eq!(payload.check(&schema(&fields)), Ok(()));
    let values: Result<Vec<_>, _> = payload.values(List::new(&fields).unwrap()).unwrap().collect();
    assert_eq!(values.unwrap(), [Value::Float(21.5), Value::Absent, Value::Text("n03")]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let fields = reading();
    for (bad, field, reason) in [
        (&hex!("82 f94d60 f6")[..], 2, Reason::Count),
        (&hex!("84 f94d60 f6 60 00"), 3, Reason::Count),
        (&hex!("83 f6 f6 60"), 0, Reason::Required),
        (&hex!("83 00 f6 60"), 0, Reason::Type),
        (&hex!("83 f94d60 f5 60"), 1, Reason::Type),
        (&hex!("83 f94d60 f6 40"), 2, Reason::Type),
        (&hex!("83 fb3ff199999999999a f6 60"), 0, Reason::Range),
        (
            &hex!("83 f94d60 f6 781b616161616161616161616161616161616161616161616161616161"),
            2,
            Reason::Range,
        ),
    ] {
        let payload = Payload::new(bad).unwrap();
        assert_eq!(payload.check(&schema(&fields)), Err(Mismatch { field, reason }), "{bad:02x?}");
    }
    assert_eq!(Payload::new(&hex!("a0")), Err(DecodeError::Type));
    assert_eq!(Payload::new(&hex!("83 fa41ac0000 f6 60")), Err(DecodeError::NotDeterministic));
}

#[test]
fn integers_keep_to_their_range() {
    use FieldType::{I8, I16, I32, I64, U8, U16, U32, U64};
    for (ty, least, most) in [
        (U8, 0, i128::from(u8::MAX)),
        (U16, 0, u16::MAX.into()),
        (U32, 0, u32::MAX.into()),
        (U64, 0, u64::MAX.into()),
        (I8, i8::MIN.into(), i8::MAX.into()),
        (I16, i16::MIN.into(), i16::MAX.into()),
        (I32, i32::MIN.into(), i32::MAX.into()),
        (I64, i64::MIN.into(), i64::MAX.into()),
    ] {
        let fields = [field("n", ty)];
        let check = |number: i128| {
            let mut buf = [0; 16];
            let mut writer = minicbor::Encoder::new(&mut buf[..]);
            let number = minicbor::data::Int::try_from(number).unwrap();
            writer.array(1).unwrap().int(number).unwrap();
            let rest = writer.writer().len();
            let payload = Payload::new(&buf[..16 - rest]).unwrap().check(&schema(&fields));
            payload.map_err(|mismatch| mismatch.reason)
        };
        assert_eq!((check(least), check(most)), (Ok(()), Ok(())), "{ty:?}");
        let past = if ty == U64 { most } else { most + 1 };
        assert_eq!(check(past).is_ok(), ty == U64);
        let below = check(least - 1);
        assert_eq!(below, Err(if least == 0 { Reason::Type } else { Reason::Range }), "{ty:?}");
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let fields = reading();
    let mismatch = |field, reason| Err(WriteError::Mismatch(Mismatch { field, reason }));
    assert_eq!(written(&fields, &[Value::Float(0.1)]), mismatch(0, Reason::Range));
    assert_eq!(written(&fields, &[Value::Uint(1)]), mismatch(0, Reason::Type));
    assert_eq!(written(&fields, &[Value::Absent]), mismatch(0, Reason::Required));
    assert_eq!(written(&fields, &[Value::Float(0.5)]), mismatch(1, Reason::Count));
    let one = [field("a", FieldType::Bool)];
    assert_eq!(written(&one, &[Value::Bool(true); 2]), mismatch(1, Reason::Count));
    let mut small = [0; 1];
    let mut writer = Writer::new(&mut small);
    let mut payload = PayloadWriter::new(List::new(&one).unwrap(), &mut writer).unwrap();
    assert_eq!(payload.value(Value::Bool(true)), Err(WriteError::Overflow));
    assert_eq!(payload.finish(), Err(WriteError::Overflow));
    let mut buf = [0; 8];
    let mut writer = Writer::new(&mut buf);
    let mut payload = PayloadWriter::new(List::new(&one).unwrap(), &mut writer).unwrap();
    assert!(payload.value(Value::Uint(1)).is_err());
    assert!(payload.finish().is_err());
}

fn any_type() -> impl Strategy<Value = FieldType> {
    prop_oneof![
        prop::sample::select(&FieldType::SCALARS[..]),
        (0..30_u8).prop_map(FieldType::Text),
        (0..30_u8).prop_map(FieldType::Bytes),
    ]
}

/// An owned value, for a field of each type.
#[derive(Clone, Debug)]
struct Owned(u64, f64, String, Vec<u8>, bool);

fn value<'a>(owned: &'a Owned, field: &Field<'_>) -> Value<'a> {
    if field.optional && owned.4 {
        return Value::Absent;
    }
    let cut = |len: usize, max: u8| len.min(usize::from(max));
    match field.ty {
        FieldType::Bool => Value::Bool(owned.0 % 2 == 1),
        FieldType::U8 => Value::Uint(owned.0 % (1 << 8)),
        FieldType::U16 => Value::Uint(owned.0 % (1 << 16)),
        FieldType::U32 => Value::Uint(owned.0 % (1 << 32)),
        FieldType::U64 => Value::Uint(owned.0),
        FieldType::I8 => Value::Int(owned.0.cast_signed() % (1 << 7)),
        FieldType::I16 => Value::Int(owned.0.cast_signed() % (1 << 15)),
        FieldType::I32 => Value::Int(owned.0.cast_signed() % (1 << 31)),
        FieldType::I64 => Value::Int(owned.0.cast_signed()),
        #[expect(clippy::cast_possible_truncation, reason = "any single will do")]
        FieldType::F32 => Value::Float(f64::from(owned.1 as f32)),
        FieldType::F64 => Value::Float(owned.1),
        FieldType::Text(max) => Value::Text(&owned.2[..cut(owned.2.len(), max)]),
        FieldType::Bytes(max) => Value::Bytes(&owned.3[..cut(owned.3.len(), max)]),
    }
}

/// The C compiler's view of the schema in the next test.
#[repr(C)]
struct Mixed {
    on: u8,
    level: u16,
    has_slope: u8,
    slope: i8,
    energy: u64,
    name: [u8; 6],
    has_value: u8,
    value: f32,
    last: u8,
}

#[test]
fn a_record_is_laid_out_as_c_does() {
    let optional = |field| Field { optional: true, ..field };
    let fields = [
        field("on", FieldType::Bool),
        field("level", FieldType::U16),
        optional(field("slope", FieldType::I8)),
        field("energy", FieldType::U64),
        field("name", FieldType::Text(5)),
        optional(field("value", FieldType::F32)),
        field("last", FieldType::U8),
    ];
    let schema = schema(&fields);
    assert_eq!(schema.record_len(), size_of::<Mixed>());
    let values = [
        Value::Bool(true),
        Value::Uint(0x1234),
        Value::Int(-2),
        Value::Uint(u64::MAX - 1),
        Value::Text("n03"),
        Value::Float(21.5),
        Value::Uint(9),
    ];
    let bytes = written(&fields, &values).unwrap();
    let mut record = [0xee; 64];
    let len = schema.to_record(Payload::new(&bytes).unwrap(), &mut record).unwrap();
    let mut expected = std::vec![0_u8; size_of::<Mixed>()];
    let mut put = |at: usize, bytes: &[u8]| expected[at..at + bytes.len()].copy_from_slice(bytes);
    put(core::mem::offset_of!(Mixed, on), &[1]);
    put(core::mem::offset_of!(Mixed, level), &0x1234_u16.to_le_bytes());
    put(core::mem::offset_of!(Mixed, has_slope), &[1]);
    put(core::mem::offset_of!(Mixed, slope), &(-2_i8).to_le_bytes());
    put(core::mem::offset_of!(Mixed, energy), &(u64::MAX - 1).to_le_bytes());
    put(core::mem::offset_of!(Mixed, name), b"\x03n03");
    put(core::mem::offset_of!(Mixed, has_value), &[1]);
    put(core::mem::offset_of!(Mixed, value), &21.5_f32.to_le_bytes());
    put(core::mem::offset_of!(Mixed, last), &[9]);
    assert_eq!(record[..len], expected[..]);
}

#[test]
fn records_that_no_capsule_should_write_are_refused() {
    let fields = [
        field("on", FieldType::Bool),
        field("name", FieldType::Text(3)),
        Field { optional: true, ..field("level", FieldType::U8) },
    ];
    let schema = schema(&fields);
    let write = |record: &[u8]| {
        let mut buf = [0; 32];
        let mut writer = Writer::new(&mut buf);
        schema.write_record(record, &mut writer).map(|()| writer.written().to_vec())
    };
    let refused = |field, reason| Err(WriteError::Mismatch(Mismatch { field, reason }));
    assert_eq!(write(b"\x01\x02ab\xee\x00\xee"), Ok(hex!("83 f5 626162 f6").to_vec()));
    assert_eq!(write(b"\x01\x02ab\xee\x01\x07"), Ok(hex!("83 f5 626162 07").to_vec()));
    assert_eq!(write(b"\x02\x02ab\xee\x00\xee"), refused(0, Reason::Type));
    assert_eq!(write(b"\x01\x04abcde"), refused(1, Reason::Type));
    assert_eq!(write(b"\x01\x01\xffb\xee\x00\xee"), refused(1, Reason::Type));
    assert_eq!(write(b"\x01\x02ab\xee\x02\xee"), refused(2, Reason::Type));
    assert_eq!(write(b"\x01\x02ab\xee\x00"), refused(0, Reason::Count));
    let mut small = [0; 6];
    let payload = Payload::new(&[0x83, 0xf5, 0x60, 0xf6]).unwrap();
    assert_eq!(schema.to_record(payload, &mut small), Err(WriteError::Overflow));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        types in prop::collection::vec((any_type(), any::<bool>()), 1..8),
        owned in prop::collection::vec(
            (any::<u64>(), -1e30..1e30_f64, "[ -~]{0,30}", any::<Vec<u8>>(), any::<bool>())
                .prop_map(|(a, b, c, d, e)| Owned(a, b, c, d, e)),
            8,
        ),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let fields: Vec<Field<'_>> = types.iter().zip(names)
            .map(|((ty, optional), name)| Field { optional: *optional, ..field(name, *ty) })
            .collect();
        let values: Vec<Value<'_>> = fields.iter().zip(&owned).map(|(f, o)| value(o, f)).collect();
        let bytes = written(&fields, &values).unwrap();
        let schema = schema(&fields);
        prop_assert!(bytes.len() <= schema.max_payload_len());
        let payload = Payload::new(&bytes).unwrap();
        prop_assert_eq!(payload.check(&schema), Ok(()));
        let read: Result<Vec<_>, _> = payload.values(schema.fields()).unwrap().collect();
        prop_assert_eq!(read.unwrap(), values);

        let mut record = [0; 1024];
        let len = schema.to_record(payload, &mut record).unwrap();
        prop_assert_eq!(len, schema.record_len());
        let mut again = [0; 600];
        let mut writer = Writer::new(&mut again);
        schema.write_record(&record[..len], &mut writer).unwrap();
        prop_assert_eq!(writer.written(), &bytes[..]);
    }

    #[test]
    fn arbitrary_records_never_panic(record in prop::collection::vec(any::<u8>(), 40)) {
        let fields = reading();
        let schema = schema(&fields);
        let record = &record[..schema.record_len()];
        let mut buf = [0; 128];
        let mut writer = Writer::new(&mut buf);
        if schema.write_record(record, &mut writer).is_ok() {
            let payload = Payload::new(writer.written()).unwrap();
            prop_assert_eq!(payload.check(&schema), Ok(()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let fields = reading();
        if let Ok(payload) = Payload::new(&bytes) {
            let _ = payload.check(&schema(&fields));
        }
        if let Ok(schema) = decode::<Schema<'_>>(&bytes) {
            let mut buf = [0; 128];
            let len = encode(&schema, &mut buf).unwrap();
            prop_assert_eq!(&buf[..len], &bytes[..]);
        }
    }
}
