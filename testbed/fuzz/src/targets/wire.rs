//! Everything that nodes, gateway and registry say to each other.

use capmesh_wire::cbor::{Decode, Encode, Reader, decode, encode};
use capmesh_wire::clock::{Clock, TimeReply, TimeRequest};
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::discovery::{Announce, Have, PieceRequest};
use capmesh_wire::inventory::{Inventory, Status};
use capmesh_wire::log::LogLine;
use capmesh_wire::manifest::Capsule;
use capmesh_wire::message::{Ack, Batch};
use capmesh_wire::plan::Plan;
use capmesh_wire::roster::{Delta, Head, UnverifiedRoster};
use capmesh_wire::{
    BlobRef, Claim, Credential, DecodeError, Digest, Manifest, NodeId, Payload, Problem, Roster,
    Schema, UnverifiedManifest,
};

/// The first byte chooses a type; the rest is decoded as that.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let types: [fn(&[u8]); 25] = [
        |data| same::<Ack>(data),
        |data| same::<Announce<'_>>(data),
        |data| same::<Batch<'_>>(data),
        |data| same::<BlobRef>(data),
        |data| same::<Capsule<'_>>(data),
        |data| same::<Clock>(data),
        |data| same::<Command<'_>>(data),
        |data| same::<Have<'_>>(data),
        |data| same::<Head<'_>>(data),
        |data| same::<Inventory<'_>>(data),
        |data| same::<LogLine<'_>>(data),
        |data| same::<Payload<'_>>(data),
        |data| same::<PieceRequest>(data),
        |data| same::<Plan<'_>>(data),
        |data| same::<Problem<'_>>(data),
        |data| same::<Reply<'_>>(data),
        |data| same::<Schema<'_>>(data),
        |data| same::<Status<'_>>(data),
        |data| same::<TimeReply>(data),
        |data| same::<TimeRequest>(data),
        schema,
        manifest,
        roster,
        text,
        delta,
    ];
    types[usize::from(*kind) % types.len()](data);
}

/// What decodes is deterministic CBOR, and what of it is known takes no more bytes to encode.
fn same<'a, T: Decode<'a> + Encode>(data: &'a [u8]) {
    let Ok(value) = decode::<T>(data) else { return };
    // What is not known is skipped, and may nest as deep there as a document may here.
    let item = Reader::new(data).item();
    assert!(item == Ok(data) || item == Err(DecodeError::Nesting), "not deterministic: {item:?}");
    let mut buf = vec![0; data.len()];
    let len = encode(&value, &mut buf).expect("it fits where it came from");
    assert_eq!(Reader::new(&buf[..len]).item(), Ok(&buf[..len]));
}

/// The first half as a schema, the second as a payload of it.
fn schema(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let Ok(schema) = decode::<Schema<'_>>(first) else { return };
    let _ = (schema.id(), schema.max_payload_len());
    if let Ok(payload) = Payload::new(second)
        && payload.check(&schema).is_ok()
    {
        assert!(second.len() <= schema.max_payload_len());
    }
}

fn manifest(data: &[u8]) {
    let _ = UnverifiedManifest::parse(data);
    let _ = Manifest::from_trusted(data);
}

fn roster(data: &[u8]) {
    let _ = UnverifiedRoster::parse(data);
    let Ok(roster) = Roster::from_trusted(data) else { return };
    for entry in roster.entries() {
        assert!(roster.find(entry.id()).is_some(), "entries are found by their id");
    }
}

/// The length of a roster, the roster, and what is to change it. What comes out has nothing that was in
/// neither of them.
fn delta(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let Some((base, delta)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
        return;
    };
    let Ok(change) = Delta::parse(delta) else { return };
    let Ok(old) = Roster::from_trusted(base) else { return };
    let mut buf = vec![0; base.len() + delta.len()];
    let len = change.apply(&old, &mut buf).expect("it is no longer than both");
    let entries: usize = change.merge(&old).map(<[u8]>::len).sum();
    assert!(entries <= len);
    if let Ok(roster) = Roster::from_trusted(&buf[..len]) {
        assert_eq!(roster.head(), change.head());
    }
}

fn text(data: &[u8]) {
    let _ = Credential::parse(data);
    let Ok(text) = core::str::from_utf8(data) else { return };
    let _ = text.parse::<Digest>();
    let _ = text.parse::<NodeId>();
    let _ = text.parse::<Claim>();
}
