extern crate std;

use super::*;
use crate::BlobRef;
use crate::cbor::{List, encode};
use crate::cose::SigningKey;
use crate::roster::Untrusted;
use crate::schema::{Field, FieldType, Schema, Unit};
use crate::text::{Name, Tag};
use coset::CborSerializable;
use hex_literal::hex;
use proptest::prelude::*;
use std::vec::Vec;

fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

fn publisher() -> SigningKey {
    SigningKey::from_bytes(&[17; 32]).unwrap()
}

fn needs() -> Needs {
    Needs {
        memory: 1376,
        ram: 5700,
        fuel_per_second: 200_000,
        fuel_per_handler: 100_000,
        outbox_bytes: 256,
        outbox_entries: 4,
        timers: 1,
        table_elements: 0,
    }
}

fn bare() -> Capsule<'static> {
    Capsule::bare(Tag::new("1.0.0").unwrap(), 1, 10, Digest::of(b"root"), needs())
}

/// Gives `f` a manifest with something in every list.
fn with_full<T>(f: impl FnOnce(&Manifest<'_>) -> T) -> T {
    let value =
        |text| Field { name: name(text), ty: FieldType::F32, unit: Unit::Celsius, optional: false };
    let fields = [value("value")];
    let stats = [value("mean"), value("deviation")];
    let schemas = [
        Schema::new(name("reading"), 1, List::new(&fields).unwrap()).unwrap(),
        Schema::new(name("stats"), 2, List::new(&stats).unwrap()).unwrap(),
    ];
    let inputs = [Port { name: name("in"), schema: 0 }];
    let outputs =
        [Port { name: name("summary"), schema: 1 }, Port { name: name("alerts"), schema: 0 }];
    let sensors = [Port { name: name("temperature"), schema: 0 }];
    let actuators = [Actuator { name: name("valve"), unit: Unit::Percent }];
    let sources = [name("door")];
    let services = [Service { name: name("last"), request: None, response: Some(1) }];
    let peers = [Peer { name: name("store"), services: List::new(&services).unwrap() }];
    let config = [Field { optional: true, ..value("limit") }];
    let capsule = Capsule {
        schemas: List::new(&schemas).unwrap(),
        inputs: List::new(&inputs).unwrap(),
        outputs: List::new(&outputs).unwrap(),
        sensors: List::new(&sensors).unwrap(),
        actuators: List::new(&actuators).unwrap(),
        sources: List::new(&sources).unwrap(),
        peers: List::new(&peers).unwrap(),
        services: List::new(&services).unwrap(),
        config: List::new(&config).unwrap(),
        state: Some(StateLayout { version: 3, oldest: 2 }),
        ..bare()
    };
    f(&Manifest { uri: Some(Text::cut("coap://registry/b")), capsule, ..small() })
}

fn small() -> Manifest<'static> {
    Manifest {
        sequence: 7,
        name: CapsuleName::new("city/clean").unwrap(),
        module_digest: Digest::of(b"module"),
        module_size: 65_536,
        uri: None,
        capsule: bare(),
    }
}

fn signed(manifest: &Manifest<'_>) -> Vec<u8> {
    let mut buf = [0xee; 4096];
    let len = manifest.sign(&publisher(), &mut buf).unwrap();
    buf[..len].to_vec()
}

#[test]
fn what_is_signed_is_read() {
    for manifest in [small(), Manifest { sequence: u64::MAX, ..small() }] {
        let bytes = signed(&manifest);
        let unverified = UnverifiedManifest::parse(&bytes).unwrap();
        assert_eq!(unverified.publisher(), publisher().id());
        assert_eq!(unverified.verify(&publisher().public_key()), Ok(manifest));
        assert_eq!(Manifest::from_trusted(&bytes), Ok(manifest));
    }
    with_full(|manifest| {
        let bytes = signed(manifest);
        let read = UnverifiedManifest::parse(&bytes).unwrap().verify(&publisher().public_key());
        let read = read.unwrap();
        assert_eq!(&read, manifest);
        let (number, port) = read.capsule.output(name("summary")).unwrap();
        assert_eq!((number, read.capsule.schema(port.schema).unwrap().name()), (0, name("stats")));
        assert_eq!(read.capsule.input(name("summary")), None);
        assert_eq!(signed(&read), bytes);
    });
}

#[test]
fn the_size_does_not_grow_with_the_module() {
    assert_eq!(signed(&small()).len(), 292);
    with_full(|manifest| assert_eq!(signed(manifest).len(), 485));
    assert_eq!(signed(&Manifest { module_size: 1 << 20, ..small() }).len(), 292);
}

#[test]
fn no_byte_can_change() {
    with_full(|manifest| {
        let bytes = signed(manifest);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let verified = UnverifiedManifest::parse(&changed)
                .map_err(Untrusted::Malformed)
                .and_then(|manifest| manifest.verify(&publisher().public_key()));
            assert!(verified.is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(UnverifiedManifest::parse(&bytes[..len]).is_err());
        }
    });
}

#[test]
fn another_publishers_signature_is_refused() {
    let bytes = signed(&small());
    let other = SigningKey::from_bytes(&[18; 32]).unwrap();
    let manifest = UnverifiedManifest::parse(&bytes).unwrap();
    assert_eq!(manifest.verify(&other.public_key()), Err(Untrusted::Signature));
}

#[test]
fn a_suit_digest_covers_the_head_of_the_byte_string() {
    // Example 0 of draft-ietf-suit-manifest, whose signature names no key: here only its digest.
    let envelope = hex!(
        "d86ba2025873825824822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af
         584ad28443a10126a0f6584056acf3c133338f558bbbac1e73a62bffac2a0067d0f7a2e860e20b9119a61d964a
         f04fb56c2c7618d3d74558c14f5daf7cafa8771b34ec42160f5c94250a57eb035871a50101020003585fa20281
         8141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab45
         035824822f582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f
         020f074382030f0943821702"
    );
    let mut reader = Reader::new(&envelope);
    reader.literal(literal::ENVELOPE);
    let mut authentication = Reader::new(reader.bytes());
    authentication.literal(literal::AUTHENTICATION);
    let digest = parse_suit_digest(authentication.bytes()).unwrap();
    reader.literal(literal::MANIFEST);
    assert_eq!((authentication.status(), reader.status()), (Ok(()), Ok(())));
    assert_eq!(Digest::of(reader.rest()), digest);
    assert_eq!(UnverifiedManifest::parse(&envelope), Err(DecodeError::Value));
}

#[test]
fn another_reader_of_cose_agrees() {
    let bytes = signed(&small());
    let mut reader = Reader::new(&bytes);
    reader.literal(literal::ENVELOPE);
    let mut authentication = Reader::new(reader.bytes());
    authentication.literal(literal::AUTHENTICATION);
    let (suit_digest, sign1) = (authentication.bytes(), authentication.bytes());
    assert_eq!(authentication.finish(), Ok(()));
    // coset takes the tag off in its tagged variant only.
    let theirs = coset::CoseSign1::from_slice(&sign1[1..]).unwrap();
    let ours: Sign1<'_> = crate::cbor::decode(sign1).unwrap();
    theirs
        .verify_detached_signature(suit_digest, b"", |signature, signed| {
            assert_eq!(signature, ours.signature());
            assert_eq!(Digest::of(signed), ours.signed_digest(suit_digest));
            Ok::<(), ()>(())
        })
        .unwrap();
}

#[test]
fn contradictions_are_refused_by_both_sides() {
    let port = [Port { name: name("in"), schema: 0 }];
    let twice = [name("door"), name("door")];
    let service = [Service { name: name("last"), request: Some(3), response: None }];
    let peer = [Peer { name: name("store"), services: List::new(&service).unwrap() }];
    let wrong = [
        Capsule { inputs: List::new(&port).unwrap(), ..bare() },
        Capsule { sensors: List::new(&port).unwrap(), ..bare() },
        Capsule { services: List::new(&service).unwrap(), ..bare() },
        Capsule { peers: List::new(&peer).unwrap(), ..bare() },
        Capsule { sources: List::new(&twice).unwrap(), ..bare() },
    ];
    let mut buf = [0; 4096];
    for capsule in wrong {
        let signed = Manifest { capsule, ..small() }.sign(&publisher(), &mut buf);
        assert_eq!(signed, Err(SignError::Illegal(DecodeError::Value)));
    }
    let one_chunk = Manifest { module_size: 1024, ..small() };
    assert_eq!(one_chunk.sign(&publisher(), &mut buf), Err(SignError::Illegal(DecodeError::Value)));
    let newer = Manifest { capsule: Capsule { format: 99, ..bare() }, ..small() };
    assert_eq!(newer.sign(&publisher(), &mut buf), Err(SignError::Illegal(DecodeError::Version)));
    assert_eq!(small().sign(&publisher(), &mut [0; 200]), Err(SignError::Overflow));
    assert_eq!(small().sign(&publisher(), &mut [0; 20]), Err(SignError::Overflow));
}

#[test]
fn a_decoder_finds_the_contradictions_that_were_signed() {
    // The record of a bare capsule with one more input, which refers to a schema that is not there.
    let mut buf = [0; 256];
    let len = encode(&bare(), &mut buf).unwrap();
    let mut bytes = buf[..len].to_vec();
    assert_eq!(bytes[0], 0xa6);
    bytes[0] = 0xa7;
    bytes.extend(hex!("07 81 82 6161 00"));
    assert_eq!(crate::cbor::decode::<Capsule<'_>>(&bytes), Err(DecodeError::Value));
}

#[test]
fn state_carries_over_between_compatible_layouts() {
    let layout = StateLayout { version: 5, oldest: 3 };
    let accepted: Vec<u16> = (0..8).filter(|version| layout.accepts(*version)).collect();
    assert_eq!(accepted, [3, 4, 5]);
    assert_eq!(crate::cbor::decode::<StateLayout>(&hex!("82 03 05")), Err(DecodeError::Value));
}

#[test]
fn the_module_is_a_blob() {
    let manifest = small();
    assert_eq!(
        manifest.module(),
        BlobRef {
            digest: Digest::of(b"module"),
            size: 65_536,
            chunk_log2: 10,
            root: Digest::of(b"root")
        }
    );
}

proptest! {
    #[test]
    fn arbitrary_changes_never_panic(
        at in 0_usize..485,
        patch in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut bytes = with_full(signed);
        for (byte, new) in bytes[at..].iter_mut().zip(patch) {
            *byte = new;
        }
        if let Ok(manifest) = UnverifiedManifest::parse(&bytes) {
            let _ = std::format!("{:?}", manifest.claims());
        }
    }
}
