//! What must hold for every type, tried on the samples and on what can become of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod common;

use capmesh_wire::cbor::{Decode, Encode, Reader, decode, encode};
use capmesh_wire::snapshot::Snapshot;
use capmesh_wire::{DecodeError, Overflow};
use common::*;
use proptest::prelude::*;
use std::fmt::Debug;

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    let mut buf = [0; 4096];
    let len = encode(value, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// Decodes, and if that succeeds holds the value to what it promises.
fn probe<T: Decode<'static> + Encode + PartialEq + Debug>(bytes: &[u8]) {
    // A leak of a few kilobytes lets one type stand for all lifetimes.
    let bytes: &'static [u8] = bytes.to_vec().leak();
    let Ok(value) = decode::<T>(bytes) else { return };
    assert_eq!(Reader::new(bytes).item(), Ok(bytes), "accepted what is not deterministic");
    let again = encoded(&value);
    let again: &'static [u8] = again.leak();
    assert_eq!(decode::<T>(again).as_ref(), Ok(&value));
    assert!(again.len() <= bytes.len());
    // What was skipped makes the difference; without it a value has one encoding.
    let is_known = !format!("{value:?}").contains("Unknown");
    if again.len() == bytes.len() && is_known {
        assert_eq!(again, bytes);
    }
}

fn check<T: Decode<'static> + Encode + PartialEq + Debug>(value: &T) {
    let bytes = encoded(value);
    for len in 0..bytes.len() {
        let mut small = vec![0; len];
        assert_eq!(encode(value, &mut small), Err(Overflow), "{len}");
        let cut: &'static [u8] = bytes[..len].to_vec().leak();
        assert!(decode::<T>(cut).is_err(), "{len}");
    }
    let longer: &'static [u8] = [&bytes[..], &[0]].concat().leak();
    assert_eq!(decode::<T>(longer).err(), Some(DecodeError::Trailing));
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        let was = bytes[at];
        for now in [was ^ 1, was ^ 0x20, was.wrapping_add(1), 0, 0x80, 0xf6, 0xff] {
            changed[at] = now;
            probe::<T>(&changed);
        }
        changed[at] = was;
    }
}

macro_rules! tests {
    ($($name:ident: $ty:ty = $value:expr;)*) => {
        $(mod $name {
            use super::common::*;

            #[test]
            fn is_held_to_its_bytes() {
                super::check::<$ty>(&$value);
            }
        })*

        fn probe_all(bytes: &[u8]) {
            $(probe::<$ty>(bytes);)*
        }

        fn all_samples() -> Vec<Vec<u8>> {
            vec![$(encoded(&$value)),*]
        }
    };
}

for_each_sample!(tests);

/// An item with the shape of our documents, of the kind that a random byte string rarely is.
fn any_document() -> impl Strategy<Value = Vec<u8>> {
    let number = (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| encoded(&(value >> shift)));
    let leaf = prop_oneof![
        4 => number,
        1 => any::<i64>().prop_map(|value| encoded(&value)),
        1 => any::<bool>().prop_map(|value| encoded(&value)),
        1 => Just(vec![0xf6]),
        2 => any::<[u8; 8]>().prop_map(|value| encoded(&value)),
        1 => any::<[u8; 32]>().prop_map(|value| encoded(&value)),
        2 => "[a-z]{1,5}".prop_map(|text| encoded(&Name::new(&text).unwrap())),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| {
                let head = vec![0x80 | u8::try_from(items.len()).unwrap()];
                [vec![head], items].concat().concat()
            }),
            prop::collection::vec(inner, 0..12).prop_map(|values| {
                let mut bytes = vec![0xa0 | u8::try_from(values.len()).unwrap()];
                for (key, value) in (0_u8..).zip(values) {
                    bytes.push(key);
                    bytes.extend(value);
                }
                bytes
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        probe_all(&bytes);
        let _ = Snapshot::parse(&bytes);
    }

    #[test]
    fn arbitrary_documents_never_panic(bytes in any_document()) {
        probe_all(&bytes);
    }

    #[test]
    fn one_types_bytes_are_safe_for_every_other(
        which: prop::sample::Index,
        at: prop::sample::Index,
        patch in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let samples = all_samples();
        let mut bytes = which.get(&samples).clone();
        let at = at.index(bytes.len());
        for (byte, new) in bytes[at..].iter_mut().zip(patch) {
            *byte = new;
        }
        probe_all(&bytes);
    }
}

#[test]
fn a_record_of_a_later_version_is_read_without_what_it_added() {
    // One more field with key 47, at the end.
    let small = encoded(&inventory_small());
    assert_eq!(small[0] & 0xe0, 0xa0);
    let mut newer = small.clone();
    newer[0] += 1;
    newer.extend([0x18, 47, 0x82, 0x01, 0x61, 0x61]);
    let newer: &'static [u8] = newer.leak();
    assert_eq!(decode::<Inventory<'_>>(newer), Ok(inventory_small()));
}

#[test]
fn a_snapshot_is_its_header_and_its_sections() {
    let mut bytes = encoded(&snapshot_full());
    bytes.extend([1, 2, 3, 4, 5, 6, 7]);
    let snapshot = Snapshot::parse(&bytes).unwrap();
    assert_eq!(snapshot.header(), &snapshot_full());
    assert_eq!(snapshot.section(SectionKind::Runtime), Some(&[1, 2, 3, 4, 5][..]));
    assert_eq!(snapshot.section(SectionKind::Outbox), Some(&[6, 7][..]));
    assert_eq!(snapshot.section(SectionKind::Inbox), None);
    assert_eq!(Snapshot::parse(&bytes[..bytes.len() - 1]), Err(DecodeError::Truncated));
    bytes.push(8);
    assert_eq!(Snapshot::parse(&bytes), Err(DecodeError::Trailing));
    // Lengths that add up past what there can be.
    let huge = vec![Section { kind: SectionKind::Inbox, len: u32::MAX }; 8].leak();
    let header = Header { sections: List::new(huge).unwrap(), ..snapshot_small() };
    assert!(Snapshot::parse(&encoded(&header)).is_err());
    // A kind that this version does not know.
    let unknown = encoded(&SectionKind::from_code(77));
    assert_eq!(unknown, [0x18, 77]);
    let sections = vec![Section { kind: SectionKind::from_code(77), len: 0 }].leak();
    let header = Header { sections: List::new(sections).unwrap(), ..snapshot_small() };
    assert_eq!(Snapshot::parse(&encoded(&header)), Err(DecodeError::Unknown));
}

#[test]
fn commands_of_a_later_version_are_known_as_unknown() {
    let newer: &'static [u8] = &[0x82, 0x18, 200, 0xa1, 0x00, 0x01];
    let command: Command<'_> = decode(newer).unwrap();
    assert!(matches!(command, Command::Unknown(code) if code.code() == 200));
}
