extern crate std;

use super::*;
use crate::cbor::{decode, encode};
use crate::{DecodeError, PublicKey};
use coset::{CoseSign1, TaggedCborSerializable};
use hex_literal::hex;
use proptest::prelude::*;
use std::vec::Vec;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).unwrap()
}

fn signed(key: &SigningKey, payload: &[u8], detached: bool) -> Vec<u8> {
    let mut buf = [0; 512];
    let mut writer = Writer::new(&mut buf);
    let sign = if detached { sign_detached } else { sign };
    sign(key, payload, &mut writer);
    writer.written().to_vec()
}

#[test]
fn the_key_of_rfc_6979_signs_as_it_says() {
    // RFC 6979 appendix A.2.5: P-256, SHA-256, message "sample".
    let key = SigningKey::from_bytes(&hex!(
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
    ))
    .unwrap();
    let public = key.public_key();
    assert_eq!(public.x, hex!("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"));
    assert_eq!(public.y, hex!("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"));
    assert_eq!(
        key.sign(&Digest::of(b"sample")),
        hex!(
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        )
    );
}

#[test]
fn keys_outside_the_curve_are_refused() {
    assert!(SigningKey::from_bytes(&[0; 32]).is_none());
    assert!(SigningKey::from_bytes(&[0xff; 32]).is_none());
    let key = key(1);
    let bytes = signed(&key, b"x", false);
    let sign1: Sign1<'_> = decode(&bytes).unwrap();
    // The id covers x only: a y that is not on the curve is found when it is used.
    let off = PublicKey { y: [1; 32], ..key.public_key() };
    assert_eq!(sign1.verify(&off, &[]), Err(BadSignature));
}

#[test]
fn coset_verifies_what_we_sign_and_we_what_it_says() {
    let key = key(5);
    for detached in [false, true] {
        let bytes = signed(&key, b"payload", detached);
        let theirs = CoseSign1::from_tagged_slice(&bytes).unwrap();
        assert_eq!(theirs.protected.header.key_id, key.id().as_bytes());
        assert_eq!(theirs.payload.is_none(), detached);
        let ours: Sign1<'_> = decode(&bytes).unwrap();
        let check = |signature: &[u8], to_be_signed: &[u8]| {
            assert_eq!(signature, ours.signature());
            assert_eq!(Digest::of(to_be_signed), ours.signed_digest(b"payload"));
            Ok::<(), ()>(())
        };
        if detached {
            theirs.verify_detached_signature(b"payload", b"", check).unwrap();
        } else {
            theirs.verify_signature(b"", check).unwrap();
        }
        assert_eq!(theirs.to_tagged_vec().unwrap(), bytes);
        assert_eq!(ours.verify(&key.public_key(), b"payload"), Ok(()));
    }
}

#[test]
fn no_bit_can_change() {
    let key = key(9);
    let bytes = signed(&key, b"a plan", false);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        if let Ok(sign1) = decode::<Sign1<'_>>(&changed) {
            assert_eq!(sign1.verify(&key.public_key(), &[]), Err(BadSignature), "byte {at}");
        }
    }
}

#[test]
fn another_key_payload_or_kind_does_not_verify() {
    let bytes = signed(&key(1), b"one", true);
    let sign1: Sign1<'_> = decode(&bytes).unwrap();
    assert_eq!(sign1.verify(&key(1).public_key(), b"one"), Ok(()));
    assert_eq!(sign1.verify(&key(1).public_key(), b"two"), Err(BadSignature));
    assert_eq!(sign1.verify(&key(2).public_key(), b"one"), Err(BadSignature));
}

#[test]
fn other_shapes_of_cose_are_refused() {
    for (bad, error) in [
        // Untagged; COSE_Sign's tag; three elements; another algorithm; an unprotected header.
        (&hex!("84 40 a0 40 40")[..], DecodeError::Value),
        (&hex!("d862 84 40 a0 40 40"), DecodeError::Value),
        (&hex!("d2 83 40 a0 40"), DecodeError::Value),
        (&hex!("d2 84 43 a10127 a0 40 40"), DecodeError::Value),
        (&hex!("d2 84 4d a2 01 27 04 48 0000000000000000 a0 40 40"), DecodeError::Value),
        (&hex!("d2 84 4d a2 01 26 04 48 0000000000000000 a1 04 00 40 40"), DecodeError::Value),
        (&hex!("d2 84 4e a2 01 26 04 48 0000000000000000 00 a0 40 40"), DecodeError::Trailing),
        (&hex!("d2 84 4d a2 01 26 04 48 0000000000000000 a0 40 40"), DecodeError::Value),
    ] {
        assert_eq!(decode::<Sign1<'_>>(bad), Err(error), "{bad:02x?}");
    }
}

proptest! {
    #[test]
    fn encoding_what_was_decoded_gives_the_same_bytes(payload: Vec<u8>, detached: bool) {
        prop_assume!(payload.len() < 300);
        let bytes = signed(&key(3), &payload, detached);
        let sign1: Sign1<'_> = decode(&bytes).unwrap();
        let mut buf = [0; 512];
        let len = encode(&sign1, &mut buf).unwrap();
        prop_assert_eq!(&buf[..len], &bytes[..]);
    }
}
