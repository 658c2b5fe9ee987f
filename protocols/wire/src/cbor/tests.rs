extern crate std;

use super::*;
use hex_literal::hex;
use proptest::prelude::*;
use std::vec::Vec;

crate::cbor::macros::record! {
    /// For the tests.
    pub(super) struct Sample<'a> {
        /// Required.
        0 => first: u16,
        /// Optional.
        2 => second: Option<u32>,
        /// Left out when empty.
        5 => third: List<'a, u8, 3>,
        /// Left out when false.
        6 => fourth: bool,
    }
}

crate::cbor::macros::tuple! {
    /// For the tests.
    pub(super) struct Pair {
        /// First.
        first: u8,
        /// Second.
        second: Option<u8>,
    }
}

crate::cbor::macros::codes! {
    /// For the tests.
    pub(super) enum Colour {
        /// Red.
        Red = 0, "red";
        /// Green.
        Green = 3, "green";
    }
}

fn item(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(bytes);
    let item = reader.item()?;
    reader.finish()?;
    Ok(item)
}

#[test]
fn deterministic_items_pass() {
    for good in [
        &hex!("00")[..],
        &hex!("17"),
        &hex!("1818"),
        &hex!("190100"),
        &hex!("1a00010000"),
        &hex!("1b0000000100000000"),
        &hex!("3bffffffffffffffff"),
        &hex!("43010203"),
        &hex!("6161"),
        &hex!("83010203"),
        &hex!("a3 00 01 20 02 61 61 03"),
        &hex!("c1 1a 514b67b0"),
        &hex!("f4"),
        &hex!("f6"),
        &hex!("f90000"),
        &hex!("f97e00"),
        &hex!("fa47c35000"),
        &hex!("fb3ff199999999999a"),
    ] {
        assert_eq!(item(good), Ok(good), "{good:02x?}");
    }
}

#[test]
fn everything_else_is_refused() {
    use DecodeError::{Nesting, NotDeterministic, Trailing, Truncated, Type};
    for (bad, error) in [
        // Longer than needed.
        (&hex!("1817")[..], NotDeterministic),
        (&hex!("1900ff"), NotDeterministic),
        (&hex!("1a0000ffff"), NotDeterministic),
        (&hex!("1b00000000ffffffff"), NotDeterministic),
        (&hex!("3817"), NotDeterministic),
        (&hex!("580100"), NotDeterministic),
        (&hex!("780161"), NotDeterministic),
        (&hex!("980101"), NotDeterministic),
        (&hex!("b8010000"), NotDeterministic),
        (&hex!("d80100"), NotDeterministic),
        (&hex!("fa3f800000"), NotDeterministic),
        (&hex!("fb3ff0000000000000"), NotDeterministic),
        (&hex!("fb40f86a0000000000"), NotDeterministic),
        (&hex!("f97e01"), NotDeterministic),
        (&hex!("f9fe00"), NotDeterministic),
        (&hex!("fa7fc00000"), NotDeterministic),
        (&hex!("fb7ff8000000000000"), NotDeterministic),
        // Indefinite.
        (&hex!("5f4100ff"), NotDeterministic),
        (&hex!("7f6161ff"), NotDeterministic),
        (&hex!("9f00ff"), NotDeterministic),
        (&hex!("bf0000ff"), NotDeterministic),
        // Keys out of order, or twice.
        (&hex!("a2 01 00 00 00"), NotDeterministic),
        (&hex!("a2 00 00 00 00"), NotDeterministic),
        (&hex!("a2 20 00 18ff 00"), NotDeterministic),
        (&hex!("a2 6162 00 6161 00"), NotDeterministic),
        // Not whole.
        (&hex!(""), Truncated),
        (&hex!("18"), Truncated),
        (&hex!("4201"), Truncated),
        (&hex!("8201"), Truncated),
        (&hex!("a100"), Truncated),
        (&hex!("c1"), Truncated),
        (&hex!("f900"), Truncated),
        (&hex!("fb00"), Truncated),
        (&hex!("0000"), Trailing),
        // Meaningless.
        (&hex!("f7"), Type),
        (&hex!("e0"), Type),
        (&hex!("f820"), Type),
        (&hex!("ff"), Type),
        (&hex!("1c"), Type),
        // Too deep: nine arrays.
        (&hex!("81818181818181818100"), Nesting),
    ] {
        assert_eq!(item(bad), Err(error), "{bad:02x?}");
    }
}

#[test]
fn huge_counts_end_with_the_bytes() {
    for bad in [
        &hex!("9bffffffffffffffff00")[..],
        &hex!("bbffffffffffffffff0000"),
        &hex!("5bffffffffffffffff00"),
    ] {
        assert_eq!(item(bad), Err(DecodeError::Truncated), "{bad:02x?}");
    }
}

#[test]
fn a_record_leaves_out_its_defaults() {
    let whole =
        Sample { first: 1, second: Some(2), third: List::new(&[3, 4]).unwrap(), fourth: true };
    let bare = Sample { first: 1, second: None, third: List::EMPTY, fourth: false };
    let mut buf = [0; 16];
    let len = encode(&whole, &mut buf).unwrap();
    assert_eq!(buf[..len], hex!("a4 00 01 02 02 05 82 03 04 06 f5"));
    assert_eq!(decode(&buf[..len]), Ok(whole));
    let len = encode(&bare, &mut buf).unwrap();
    assert_eq!(buf[..len], hex!("a1 00 01"));
    assert_eq!(decode(&buf[..len]), Ok(bare));
}

#[test]
fn a_record_has_one_form() {
    for (bad, error) in [
        (&hex!("a0")[..], DecodeError::Missing),
        (&hex!("a1 02 00"), DecodeError::Missing),
        (&hex!("a2 00 01 02 f6"), DecodeError::NotDeterministic),
        (&hex!("a2 00 01 05 80"), DecodeError::NotDeterministic),
        (&hex!("a2 00 01 06 f4"), DecodeError::NotDeterministic),
        (&hex!("a2 02 01 00 01"), DecodeError::Missing),
        (&hex!("a2 00 01 00 01"), DecodeError::NotDeterministic),
        (&hex!("a2 00 01 05 84 00 00 00 00"), DecodeError::Bound),
        (&hex!("a1 00 1a 00010000"), DecodeError::Bound),
        (&hex!("a2 00 01 20 00"), DecodeError::Type),
        (&hex!("a1 00 01 00"), DecodeError::Trailing),
        (&hex!("b8 31 00 01"), DecodeError::Bound),
    ] {
        assert_eq!(decode::<Sample>(bad), Err(error), "{bad:02x?}");
    }
}

#[test]
fn unknown_fields_are_skipped_and_still_checked() {
    // A field between those that are known, and one behind them.
    let newer = hex!("a4 00 01 01 82 00 01 06 f5 18 20 a1 00 6161");
    let known = Sample { first: 1, second: None, third: List::EMPTY, fourth: true };
    assert_eq!(decode(&newer), Ok(known));
    assert_eq!(decode::<Sample>(&hex!("a2 00 01 07 1817")), Err(DecodeError::NotDeterministic));
}

#[test]
fn a_tuple_may_grow() {
    assert_eq!(decode(&hex!("82 01 02")), Ok(Pair { first: 1, second: Some(2) }));
    assert_eq!(decode(&hex!("82 01 f6")), Ok(Pair { first: 1, second: None }));
    assert_eq!(decode(&hex!("84 01 02 a0 80")), Ok(Pair { first: 1, second: Some(2) }));
    assert_eq!(decode::<Pair>(&hex!("81 01")), Err(DecodeError::Missing));
    assert_eq!(decode::<Pair>(&hex!("83 01 02 1800")), Err(DecodeError::NotDeterministic));
}

#[test]
fn an_unknown_code_keeps_its_number() {
    assert_eq!(decode(&hex!("03")), Ok(Colour::Green));
    let unknown: Colour = decode(&hex!("1863")).unwrap();
    assert!(matches!(unknown, Colour::Unknown(number) if number.code() == 99));
    assert_eq!(std::format!("{unknown} {}", Colour::Red), "unknown 99 red");
    let mut buf = [0; 2];
    assert_eq!(encode(&unknown, &mut buf), Ok(2));
    assert_eq!(buf, hex!("1863"));
    assert_eq!(Colour::from_name("green"), Some(Colour::Green));
    assert_eq!(Colour::from_name("unknown"), None);
}

#[test]
fn a_list_that_was_read_equals_the_one_that_was_built() {
    let built = List::<u8, 3>::new(&[1, 30]).unwrap();
    let bytes = hex!("82 01 18 1e");
    let read: List<'_, u8, 3> = decode(&bytes).unwrap();
    assert_eq!(read, built);
    assert_eq!((read.len(), read.get(1), read.get(2)), (2, Some(30), None));
    let mut buf = [0; 4];
    assert_eq!(encode(&read, &mut buf), Ok(4));
    assert_eq!(buf, bytes);
    assert_eq!(List::<u8, 3>::new(&[0; 4]), Err(TooMany { max: 3 }));
}

#[test]
fn a_writer_can_take_back_and_wrap() {
    let mut buf = [0; 400];
    let mut writer = Writer::new(&mut buf);
    writer.array(2).uint(1000);
    writer.truncate(1);
    writer.uint(7);
    for len in [0, 23, 24, 255, 256, 300] {
        let mut buf = [0; 400];
        let mut writer = Writer::new(&mut buf);
        writer
            .wrapped(|writer| {
                writer.raw(&[9; 300][..len]);
            })
            .status()
            .unwrap();
        let mut straight = [0; 400];
        let mut other = Writer::new(&mut straight);
        other.bytes(&[9; 300][..len]);
        assert_eq!(writer.written(), other.written());
    }
    assert_eq!(writer.written(), hex!("8207"));
    assert!(
        Writer::new(&mut [0; 3])
            .wrapped(|writer| {
                writer.uint(0);
            })
            .status()
            .is_err()
    );
}

/// Any item, and how it is written.
fn any_item() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(|value| written(|writer| {
            writer.uint(value);
        })),
        any::<i64>().prop_map(|value| written(|writer| {
            writer.int(value);
        })),
        any::<f64>().prop_map(|value| written(|writer| {
            writer.float(value);
        })),
        any::<f32>().prop_map(|value| written(|writer| {
            writer.float(f64::from(value));
        })),
        any::<bool>().prop_map(|value| written(|writer| {
            writer.bool(value);
        })),
        any::<[u8; 30]>().prop_map(|value| written(|writer| {
            writer.bytes(&value);
        })),
        "\\PC{0,30}".prop_map(|value| written(|writer| {
            writer.text(&value);
        })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| {
                let mut bytes = written(|writer| {
                    writer.array(items.len());
                });
                bytes.extend(items.concat());
                bytes
            }),
            prop::collection::btree_map(inner.clone(), inner, 0..4).prop_map(|pairs| {
                let mut bytes = written(|writer| {
                    writer.map(pairs.len());
                });
                bytes.extend(pairs.into_iter().flat_map(|(key, value)| [key, value].concat()));
                bytes
            }),
        ]
    })
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = [0; 256];
    let mut writer = Writer::new(&mut buf);
    write(&mut writer);
    writer.status().unwrap();
    writer.written().to_vec()
}

proptest! {
    #[test]
    fn what_the_writer_writes_the_reader_accepts(bytes in any_item()) {
        match item(&bytes) {
            Ok(item) => prop_assert_eq!(item, &bytes[..]),
            Err(error) => prop_assert_eq!(error, DecodeError::Nesting),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = item(&bytes);
        let _ = decode::<Sample>(&bytes);
        let _ = decode::<Pair>(&bytes);
    }

    #[test]
    fn minicbor_agrees_on_what_is_accepted(bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        if let Ok(item) = Reader::new(&bytes).item() {
            let mut theirs = minicbor::Decoder::new(&bytes);
            prop_assert!(theirs.skip().is_ok());
            prop_assert_eq!(theirs.position(), item.len());
        }
    }

    #[test]
    fn floats_survive(value: f64) {
        let bytes = written(|writer| { writer.float(value); });
        let read = Reader::new(&bytes).float();
        prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
    }
}
