extern crate std;

use super::*;
use crate::cose::SigningKey;
use crate::{Overflow, PublicKey};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

fn site() -> SigningKey {
    SigningKey::from_bytes(&[42; 32]).unwrap()
}

fn public(n: u16) -> PublicKey {
    // What is on the curve matters to nobody here but EDHOC.
    PublicKey { x: *Digest::of(&n.to_be_bytes()).as_bytes(), y: [7; 32] }
}

/// Credentials of `count` nodes with names of five characters, in the order of their ids.
fn credentials(count: u16) -> Vec<Vec<u8>> {
    let mut all: Vec<(NodeId, Vec<u8>)> = (0..count)
        .map(|n| {
            let mut buf = [0; limits::CREDENTIAL];
            let name: String = format!("n{n:04}");
            let len = Credential::encode(Name::new(&name).unwrap(), &public(n), &mut buf).unwrap();
            (public(n).id(), buf[..len].to_vec())
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, bytes)| bytes).collect()
}

fn entry(credential: &[u8]) -> Entry<'_> {
    Entry {
        role: Role::Node,
        expires: 2_000_000_000,
        credential: Credential::parse(credential).unwrap(),
    }
}

fn signed(version: u32, credentials: &[Vec<u8>]) -> Vec<u8> {
    let mut buf = vec![0; limits::ROSTER_ENTRY * credentials.len()];
    let mut entries = EntriesWriter::new(&mut buf);
    for credential in credentials {
        entries.push(&entry(credential)).unwrap();
    }
    let head = entries.head(Name::new("s1").unwrap(), Revision(version), 1_700_000_000);
    let mut out = vec![0; limits::ROSTER_HEAD + entries.written().len()];
    let len = entries.sign(&head, &site(), &mut out).unwrap();
    out.truncate(len);
    out
}

#[test]
fn everybody_on_it_is_found_and_nobody_else() {
    let bytes = signed(3, &credentials(40));
    let roster = UnverifiedRoster::parse(&bytes).unwrap().verify(&site().public_key()).unwrap();
    assert_eq!(roster.head().version, Revision(3));
    assert_eq!(roster.entries().count(), 40);
    for n in 0..40 {
        let found = roster.find(public(n).id()).unwrap();
        assert_eq!(found.credential.public_key(), public(n));
        assert_eq!(found.role, Role::Node);
    }
    for n in 40..60 {
        assert_eq!(roster.find(public(n).id()), None);
    }
    assert_eq!(Roster::from_trusted(&bytes), Ok(roster));
}

#[test]
fn an_empty_roster_is_one() {
    let bytes = signed(0, &[]);
    let roster = UnverifiedRoster::parse(&bytes).unwrap().verify(&site().public_key()).unwrap();
    assert_eq!(roster.find(public(0).id()), None);
}

#[test]
fn two_hundred_nodes_take_what_the_docs_say() {
    let bytes = signed(1, &credentials(200));
    assert_eq!(bytes.len(), 21_142);
}

#[test]
fn no_byte_can_change() {
    let bytes = signed(1, &credentials(2));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let verified = UnverifiedRoster::parse(&changed)
            .map_err(Untrusted::Malformed)
            .and_then(|roster| roster.verify(&site().public_key()));
        assert!(verified.is_err(), "byte {at}");
    }
}

#[test]
fn another_sites_roster_is_refused() {
    let bytes = signed(1, &credentials(1));
    let other = SigningKey::from_bytes(&[43; 32]).unwrap();
    let roster = UnverifiedRoster::parse(&bytes).unwrap();
    assert_eq!(roster.verify(&other.public_key()), Err(Untrusted::Signature));
}

#[test]
fn what_the_site_signed_by_mistake_is_refused() {
    let credentials = credentials(2);
    let sign = |order: [usize; 2], forge: fn(&mut Head<'_>)| {
        let mut buf = vec![0; 400];
        let mut writer = Writer::new(&mut buf);
        for at in order {
            entry(&credentials[at]).write(&mut writer);
        }
        let entries = writer.written();
        let mut head = Head {
            format: format::ROSTER,
            site: Name::new("s1").unwrap(),
            version: Revision(1),
            issued: 0,
            count: 2,
            entries: Digest::of(entries),
        };
        forge(&mut head);
        let mut encoded = [0; 200];
        let len = crate::cbor::encode(&head, &mut encoded).unwrap();
        let mut out = [0; 800];
        let mut writer = Writer::new(&mut out);
        writer.array(2);
        crate::cose::sign(&site(), &encoded[..len], &mut writer);
        writer.bytes(entries).status().unwrap();
        let bytes = writer.written().to_vec();
        UnverifiedRoster::parse(&bytes)
            .map_err(Untrusted::Malformed)?
            .verify(&site().public_key())
            .map(drop)
    };
    assert_eq!(sign([0, 1], |_| ()), Ok(()));
    let value = Err(Untrusted::Malformed(DecodeError::Value));
    assert_eq!(sign([1, 0], |_| ()), value, "order");
    assert_eq!(sign([0, 0], |_| ()), value, "twice");
    assert_eq!(
        sign([0, 1], |head| head.count = 1),
        Err(Untrusted::Malformed(DecodeError::Trailing))
    );
    assert_eq!(
        sign([0, 1], |head| head.count = 3),
        Err(Untrusted::Malformed(DecodeError::Truncated))
    );
    assert_eq!(sign([0, 1], |head| head.entries = Digest::of(b"")), value);
}

#[test]
fn writing_keeps_the_order() {
    let credentials = credentials(2);
    let mut buf = [0; 300];
    let mut entries = EntriesWriter::new(&mut buf);
    assert_eq!(entries.push(&entry(&credentials[1])), Ok(()));
    assert_eq!(entries.push(&entry(&credentials[1])), Err(RosterError::Order));
    assert_eq!(entries.push(&entry(&credentials[0])), Err(RosterError::Order));
    let mut small = [0; 50];
    let mut entries = EntriesWriter::new(&mut small);
    assert_eq!(entries.push(&entry(&credentials[1])), Err(RosterError::Overflow));
}

#[test]
fn a_full_roster_takes_no_more() {
    let credentials = credentials(501);
    let mut buf = vec![0; 501 * limits::ROSTER_ENTRY];
    let mut entries = EntriesWriter::new(&mut buf);
    let pushed = credentials.iter().map(|credential| entries.push(&entry(credential)));
    assert_eq!(pushed.collect::<Vec<_>>().last(), Some(&Err(RosterError::Full)));
}

fn verified(bytes: &[u8]) -> Roster<'_> {
    UnverifiedRoster::parse(bytes).unwrap().verify(&site().public_key()).unwrap()
}

fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 1 << 16];
    let len = Delta::between(&verified(old), &verified(new), &mut buf).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn a_revocation_fits_a_datagram() {
    let mut credentials = credentials(200);
    let old = signed(1, &credentials);
    credentials.remove(77);
    credentials.remove(11);
    let new = signed(2, &credentials);
    let bytes = delta(&old, &new);
    assert_eq!(bytes.len(), 160);
    let delta = Delta::parse(&bytes).unwrap();
    assert_eq!((delta.base(), delta.head().version), (Revision(1), Revision(2)));
    let mut out = vec![0; old.len()];
    let len = delta.apply(&verified(&old), &mut out).unwrap();
    assert_eq!(out[..len], new);
    assert_eq!(delta.apply(&verified(&old), &mut out[..len - 1]), Err(Overflow));
}

#[test]
fn a_delta_on_the_wrong_base_does_not_verify() {
    let credentials = credentials(10);
    let (one, two, three) =
        (signed(1, &credentials[..8]), signed(2, &credentials[1..]), signed(3, &credentials[2..]));
    let bytes = delta(&two, &three);
    let mut out = vec![0; 4096];
    let len = Delta::parse(&bytes).unwrap().apply(&verified(&one), &mut out).unwrap();
    let roster = UnverifiedRoster::parse(&out[..len]).unwrap();
    let value = Err(Untrusted::Malformed(DecodeError::Value));
    assert_eq!(roster.verify(&site().public_key()), value);
}

#[test]
fn too_many_removals_want_the_whole_roster() {
    let credentials = credentials(70);
    let (old, new) = (signed(1, &credentials), signed(2, &credentials[65..]));
    let mut buf = vec![0; 1 << 16];
    assert_eq!(Delta::between(&verified(&old), &verified(&new), &mut buf), Err(Overflow));
    let new = signed(2, &credentials[64..]);
    assert!(Delta::between(&verified(&old), &verified(&new), &mut buf).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_delta_leads_from_any_roster_to_any_other(
        old in prop::collection::vec(0..3_u8, 12),
        new in prop::collection::vec(0..3_u8, 12),
    ) {
        // 0: not there; 1 and 2: there, with one name or another.
        let build = |version, presence: &[u8]| {
            let mut credentials: Vec<(NodeId, Vec<u8>)> = presence
                .iter()
                .zip(0..)
                .filter(|(kind, _)| **kind > 0)
                .map(|(kind, n)| {
                    let mut buf = [0; limits::CREDENTIAL];
                    let name = Name::new(if *kind == 1 { "one" } else { "two" }).unwrap();
                    let len = Credential::encode(name, &public(n), &mut buf).unwrap();
                    (public(n).id(), buf[..len].to_vec())
                })
                .collect();
            credentials.sort();
            signed(version, &credentials.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>())
        };
        let (old, new) = (build(1, &old), build(2, &new));
        let bytes = delta(&old, &new);
        let mut out = vec![0; 4096];
        let len = Delta::parse(&bytes).unwrap().apply(&verified(&old), &mut out).unwrap();
        prop_assert_eq!(&out[..len], &new[..]);
    }

    #[test]
    fn arbitrary_changes_never_panic(at in 0_usize..400, patch: [u8; 4]) {
        let credentials = credentials(3);
        let (old, new) = (signed(1, &credentials[..2]), signed(2, &credentials[1..]));
        let mut bytes = delta(&old, &new);
        let at = at % (bytes.len() - 4);
        bytes[at..at + 4].copy_from_slice(&patch);
        if let Ok(delta) = Delta::parse(&bytes) {
            let _ = delta.apply(&verified(&old), &mut [0; 1024]);
        }
        let mut bytes = old.clone();
        let at = at % (bytes.len() - 4);
        bytes[at..at + 4].copy_from_slice(&patch);
        if let Ok(roster) = UnverifiedRoster::parse(&bytes) {
            let _ = roster.check_entries();
            let _ = Roster::from_trusted(&bytes).unwrap().find(public(0).id());
        }
    }
}
