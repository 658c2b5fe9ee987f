//! What the first bytes of a document say, so that what is not wanted is refused before it has come
//! whole.

use super::documents::{Kind, Known, malformed, stale};
use crate::problem::Reason;
use capmesh_wire::cbor::{Decode, DecodeError, Reader, decode};
use capmesh_wire::cose::Sign1;
use capmesh_wire::roster::Head;
use capmesh_wire::{Digest, ErrorCode, KeyId, Name, NodeId, Revision, format, limits};

/// Bytes of a document that are enough to recognise it, or all of it if it is shorter.
pub(super) const PREFIX: usize = limits::ROSTER_HEAD + 8;

/// Bytes of the longest roster.
const ROSTER: u32 = fits(PREFIX + limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY);

/// Bytes of the longest plan that is taken. One with every list full is longer, and no node has the
/// instances for it.
const PLAN: u32 = 64 * 1_024;

const fn fits(len: usize) -> u32 {
    assert!(len <= u32::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted")]
    let len = len as u32;
    len
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// What changed between two rosters.
    Delta,
    /// A document of so many bytes. `about` is a digest that no other document has.
    Whole { len: u32, about: Digest },
    /// The very version that is held.
    Held,
}

/// Looks at the first [`PREFIX`] bytes of a document, or all of it. A roster's head is verified at
/// once: that is one signature.
pub(super) fn look(kind: Kind, bytes: &[u8], known: &Known<'_>) -> Result<Start, Reason> {
    match kind {
        Kind::Roster if bytes.first() == Some(&DELTA) => Ok(Start::Delta),
        Kind::Roster => look_at_roster(bytes, known),
        Kind::Plan => look_at_plan(bytes, known),
    }
}

/// What a delta of a roster begins with: an array of four.
const DELTA: u8 = 0x84;

fn look_at_roster(bytes: &[u8], known: &Known<'_>) -> Result<Start, Reason> {
    let mut reader = Reader::new(bytes);
    // An array of two: the signed head, the entries.
    reader.literal(b"\x82");
    let sign1 = Sign1::read(&mut reader);
    reader.status().map_err(malformed)?;
    let payload = sign1.payload().ok_or_else(|| malformed(DecodeError::Missing))?;
    let head: Head<'_> = decode(payload).map_err(malformed)?;
    let held = known.roster.head();
    if head.site != held.site {
        return Err(Reason::new(ErrorCode::Untrusted).because("it is another site's"));
    }
    if head.version < held.version {
        return Err(stale(held.version));
    }
    if head.version == held.version {
        return Ok(Start::Held);
    }
    let len = end_of_bytes(bytes, reader.position()).filter(|len| *len <= ROSTER);
    let len = len.ok_or_else(|| Reason::new(ErrorCode::TooLarge))?;
    sign1.verify(&known.site, &[]).map_err(|_| Reason::new(ErrorCode::BadSignature))?;
    Ok(Start::Whole { len, about: head.entries })
}

fn look_at_plan(bytes: &[u8], known: &Known<'_>) -> Result<Start, Reason> {
    let mut reader = Reader::new(bytes);
    // 18([bytes, {}, bytes ...: a COSE_Sign1, whose payload goes on behind what is here.
    reader.literal(b"\xd2\x84");
    let protected = reader.bytes();
    reader.literal(b"\xa0");
    reader.status().map_err(malformed)?;
    let start = reader.position();
    let end = end_of_bytes(bytes, start).ok_or_else(|| malformed(DecodeError::Type))?;
    let mut reader = Reader::new(bytes.get(start + head_len(bytes, start)..).unwrap_or_default());
    reader.map();
    let mut key = 0;
    let mut field = |reader: &mut Reader<'_>| {
        if reader.uint() != key {
            reader.fail(DecodeError::Missing);
        }
        key += 1;
    };
    field(&mut reader);
    if u8::read(&mut reader) != format::PLAN {
        reader.fail(DecodeError::Version);
    }
    field(&mut reader);
    let site = Name::read(&mut reader);
    field(&mut reader);
    let revision = Revision::read(&mut reader);
    field(&mut reader);
    let node = NodeId::read(&mut reader);
    reader.status().map_err(malformed)?;
    let gateway = gateway_of(protected).map_err(malformed)?;
    if known.check_plan(gateway, site, node, revision)?.is_none() {
        return Ok(Start::Held);
    }
    // Behind the payload stands the signature, 64 bytes with a head of two.
    let len = end.checked_add(66).filter(|len| *len <= PLAN);
    let len = len.ok_or_else(|| Reason::new(ErrorCode::TooLarge))?;
    Ok(Start::Whole { len, about: Digest::of(bytes) })
}

/// Who says to have signed: the key's id in the protected header {1: -7, 4: id}.
fn gateway_of(protected: &[u8]) -> Result<KeyId, DecodeError> {
    let mut reader = Reader::new(protected);
    reader.literal(b"\xa2\x01\x26\x04");
    let key = KeyId::read(&mut reader);
    reader.finish()?;
    Ok(key)
}

/// Bytes of the head of the byte string at `start`.
fn head_len(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(0x58) => 2,
        Some(0x59) => 3,
        Some(0x5a) => 5,
        _ => 1,
    }
}

/// Where the byte string ends that begins at `start`, of which no more than the head need be here.
fn end_of_bytes(bytes: &[u8], start: usize) -> Option<u32> {
    let rest = bytes.get(start..)?;
    let len = match *rest {
        [short @ 0x40..=0x57, ..] => u32::from(short - 0x40),
        [0x58, a, ..] => u32::from(a),
        [0x59, a, b, ..] => u32::from(u16::from_be_bytes([a, b])),
        [0x5a, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
        _ => return None,
    };
    let before = u32::try_from(start.checked_add(head_len(bytes, start))?).ok()?;
    before.checked_add(len)
}
