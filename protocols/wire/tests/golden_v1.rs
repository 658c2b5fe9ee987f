//! Version 1 of every encoding, byte for byte. Files under `golden/v1` are never edited: what they
//! hold is out there, in flash and on the way.
//!
//! A new sample has no file yet; with `CAPMESH_WRITE_GOLDEN=1` the test writes it, and it never
//! overwrites one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod common;

use capmesh_wire::cbor::{Decode, Encode, decode, encode};
use common::for_each_sample;
use std::fmt::Debug;
use std::path::PathBuf;

fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let path = path.join(name).with_extension("hex");
    if !path.exists() && std::env::var_os("CAPMESH_WRITE_GOLDEN").is_some() {
        let lines: Vec<String> = fresh.chunks(32).map(hex).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path:?} is missing"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check<T: Decode<'static> + Encode + PartialEq + Debug>(name: &str, value: &T) {
    let mut buf = [0; 4096];
    let len = encode(value, &mut buf).unwrap();
    let golden = golden(name, &buf[..len]);
    assert_eq!(hex(&buf[..len]), hex(&golden));
    assert_eq!(decode::<T>(golden.leak()).as_ref(), Ok(value));
}

macro_rules! tests {
    ($($name:ident: $ty:ty = $value:expr;)*) => {$(
        mod $name {
            use super::common::*;

            #[test]
            fn keeps_its_bytes() {
                super::check::<$ty>(stringify!($name), &$value);
            }
        }
    )*};
}

for_each_sample!(tests);

/// What is said to all on a link.
#[test]
fn said_keeps_its_bytes() {
    use capmesh_wire::said::{Ask, Lack, Part};
    let blob = [0xb1, 0x0b, 0x00, 0x01];
    let part = Part { blob, piece: 32, number: 7, of: 15, sealed: &[0x5e; 12] };
    let bytes = golden("said_part", &[&part.head()[..], part.sealed].concat());
    assert_eq!(Part::parse(&bytes), Some(part));
    let lacks = [Lack { piece: 0, parts: 255 }, Lack { piece: 258, parts: 3 }];
    let sealed = lacks.map(Lack::to_bytes).concat();
    let ask = Ask { blob, salt: [1, 2, 3, 4, 5, 6, 7, 8], sealed: &sealed };
    let bytes = golden("said_ask", &[&ask.head()[..], ask.sealed].concat());
    assert_eq!(Ask::parse(&bytes), Some(ask));
    assert_eq!(Lack::parse(&sealed).unwrap().collect::<Vec<_>>(), lacks);
}

/// Documents with signatures, which are deterministic (RFC 6979).
#[cfg(feature = "es256")]
mod signed {
    use super::common::*;
    use super::{golden, hex};
    use capmesh_wire::cose::SigningKey;
    use capmesh_wire::plan::UnverifiedPlan;
    use capmesh_wire::roster::{Delta, EntriesWriter, Entry, UnverifiedRoster};
    use capmesh_wire::{CapsuleName, Credential, Manifest, PublicKey, Roster, UnverifiedManifest};

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[42; 32]).unwrap()
    }

    fn keep(name: &str, fresh: &[u8]) -> Vec<u8> {
        let golden = golden(name, fresh);
        assert_eq!(hex(fresh), hex(&golden));
        golden
    }

    fn credential(n: u8) -> Vec<u8> {
        let public = SigningKey::from_bytes(&[n; 32]).unwrap().public_key();
        let mut buf = [0; 128];
        let name = format!("n{n:02}");
        let len = Credential::encode(Name::new(&name).unwrap(), &public, &mut buf).unwrap();
        buf[..len].to_vec()
    }

    fn roster(version: u32, members: &[(u8, Role)]) -> Vec<u8> {
        let credentials: Vec<Vec<u8>> = members.iter().map(|(n, _)| credential(*n)).collect();
        let mut entries: Vec<Entry<'_>> = credentials
            .iter()
            .zip(members)
            .map(|(bytes, (_, role))| {
                let credential = Credential::parse(bytes).unwrap();
                Entry { role: *role, expires: 1_900_000_000, credential }
            })
            .collect();
        entries.sort_by_key(Entry::id);
        let mut buf = [0; 1024];
        let mut writer = EntriesWriter::new(&mut buf);
        for entry in &entries {
            writer.push(entry).unwrap();
        }
        let head = writer.head(Name::new("s1").unwrap(), Revision(version), 1_790_000_000);
        let mut out = [0; 1024];
        let len = writer.sign(&head, &key(), &mut out).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn credential_keeps_its_bytes() {
        let golden = keep("credential", &credential(1));
        let PublicKey { x, .. } = SigningKey::from_bytes(&[1; 32]).unwrap().public_key();
        let credential = Credential::parse(&golden).unwrap();
        assert_eq!((credential.id(), credential.public_key().x), (NodeId::of_key(&x), x));
    }

    #[test]
    fn roster_and_delta_keep_their_bytes() {
        use Role::{Gateway, Node, Operator, Publisher, Registry};
        let old = roster(1, &[(1, Node), (2, Gateway), (3, Registry), (4, Operator)]);
        let new = roster(2, &[(2, Gateway), (3, Registry), (4, Operator), (5, Publisher)]);
        let (old, new) = (keep("roster", &old), keep("roster_2", &new));
        let verify = |bytes| -> Roster<'_> {
            UnverifiedRoster::parse(bytes).unwrap().verify(&key().public_key()).unwrap()
        };
        let mut buf = [0; 1024];
        let len = Delta::between(&verify(&old), &verify(&new), &mut buf).unwrap();
        let delta = keep("roster_delta", &buf[..len]);
        let mut out = [0; 1024];
        let len = Delta::parse(&delta).unwrap().apply(&verify(&old), &mut out).unwrap();
        assert_eq!(hex(&out[..len]), hex(&new));
    }

    #[test]
    fn manifest_keeps_its_bytes() {
        let manifest = Manifest {
            sequence: 7,
            name: CapsuleName::new("city/clean").unwrap(),
            module_digest: digest("module"),
            module_size: 6_600,
            uri: Some(Text::cut("coap://registry.example/b")),
            capsule: capsule_full(),
        };
        let mut buf = [0; 2048];
        let len = manifest.sign(&key(), &mut buf).unwrap();
        let golden = keep("manifest", &buf[..len]);
        let read = UnverifiedManifest::parse(&golden).unwrap();
        assert_eq!(read.verify(&key().public_key()), Ok(manifest));
    }

    #[test]
    fn bundle_keeps_its_bytes() {
        use capmesh_wire::bundle::{self, BundleReader, Part, Pieces};
        // Nine chunks of 256 bytes, two pages of digests and one of those.
        let module: Vec<u8> = (0..2_305_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let digests = |bytes: &[u8]| -> Vec<u8> {
            bytes.chunks(256).flat_map(|piece| *Digest::of(piece).as_bytes()).collect()
        };
        let pages = digests(&module);
        let top = digests(&pages);
        let blob = BlobRef {
            digest: Digest::of(&module),
            size: 2_305,
            chunk_log2: 8,
            root: Digest::of(&top),
        };
        let manifest = Manifest {
            sequence: 1,
            name: CapsuleName::new("city/clean").unwrap(),
            module_digest: blob.digest,
            module_size: blob.size,
            uri: None,
            capsule: Capsule { chunk_log2: 8, root: blob.root, ..capsule_small() },
        };
        let mut buf = [0; 2048];
        let len = manifest.sign(&key(), &mut buf).unwrap();
        let head = bundle::head(len).unwrap();
        let golden = keep("bundle", &[&head, &buf[..len], &top, &pages, &module].concat());

        let (mut reader, mut envelope, mut body) = (BundleReader::new(), vec![], vec![]);
        let mut input = &golden[..];
        while let Some(part) = reader.feed(&mut input).unwrap() {
            match part {
                Part::Manifest { bytes, .. } => {
                    envelope.extend(bytes);
                    let read = UnverifiedManifest::parse(&envelope).unwrap();
                    let read = read.verify(&key().public_key()).unwrap();
                    assert_eq!(read, manifest);
                    reader.describe(&read.module()).unwrap();
                }
                Part::Piece { piece, bytes, .. } => body.push((piece, bytes)),
            }
        }
        assert!(reader.is_complete());
        let order: Vec<_> = body.iter().map(|(piece, _)| *piece).collect();
        assert_eq!(order, Pieces::of(&blob).unwrap().collect::<Vec<_>>());
        let bytes = body.iter().flat_map(|(_, bytes)| bytes.iter().copied());
        assert_eq!(bytes.collect::<Vec<_>>(), [&top[..], &pages, &module].concat());
        assert_eq!(
            bundle::size(len.try_into().unwrap(), &blob),
            Ok(golden.len().try_into().unwrap())
        );
    }

    #[test]
    fn plan_keeps_its_bytes() {
        let (mut scratch, mut buf) = ([0; 2048], [0; 2048]);
        let len = plan_full().sign(&key(), &mut scratch, &mut buf).unwrap();
        let golden = keep("signed_plan", &buf[..len]);
        let read = UnverifiedPlan::parse(&golden).unwrap();
        assert_eq!(read.gateway(), key().id());
        assert_eq!(read.verify(&key().public_key()), Ok(plan_full()));
        let other = SigningKey::from_bytes(&[43; 32]).unwrap();
        assert!(read.verify(&other.public_key()).is_err());
    }
}
