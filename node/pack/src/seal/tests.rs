use super::*;
use crate::module::{Hints, pack};
use capmesh_keyfile::Key;
use proptest::prelude::*;
use std::path::Path;

fn description() -> Description {
    let example = "../../protocols/capsule-abi/description/src/example/capsule.toml";
    Description::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(example)).unwrap()
}

fn needs() -> Needs {
    Needs {
        memory: 1_376,
        ram: 5_700,
        fuel_per_second: 200_000,
        fuel_per_handler: 100_000,
        outbox_bytes: 256,
        outbox_entries: 4,
        timers: 1,
        table_elements: 0,
    }
}

/// A module of at least so many bytes.
fn module(bytes: usize) -> Packed {
    let data = "\\01\\02\\03".repeat(bytes / 3);
    let text = format!(
        r#"(module (memory (export "memory") {0} (pagesize 1)) (data (i32.const 0) "{data}")
        (func (export "message") (param i32 i32)))"#,
        bytes + 3
    );
    pack(text.as_bytes(), Hints::default()).unwrap()
}

fn sealed(bytes: usize, chunk_log2: u8) -> (Sealed, Key) {
    let key = Key::generate();
    let description = Description { chunk_log2, ..description() };
    (seal(&description, &module(bytes), needs(), &key.signing()).unwrap(), key)
}

#[test]
fn what_is_sealed_says_what_was_described_and_is_verified() {
    let (sealed, key) = sealed(5_000, 8);
    let read = UnverifiedManifest::parse(&sealed.envelope).unwrap();
    assert_eq!(sealed.publisher(), Ok(key.id()));
    let manifest = read.verify(&key.public()).unwrap();
    assert_eq!(manifest.name.as_str(), "examples/rule-alert");
    assert_eq!(manifest.sequence, 3);
    assert_eq!(manifest.capsule.needs, needs());
    assert_eq!(manifest.module(), sealed.blob);
    assert_eq!(manifest.module_digest, Digest::of(sealed.module()));
    assert_eq!(sealed.digest(), Digest::of(&sealed.envelope));
    assert!(read.verify(&Key::generate().public()).is_err());
}

#[test]
fn a_bundle_is_opened_again() {
    for (bytes, chunk_log2) in [(10, 10), (5_000, 8), (5_000, 12), (70_000, 8)] {
        let (sealed, _) = sealed(bytes, chunk_log2);
        let file = sealed.bundle();
        let len = u16::try_from(sealed.envelope.len()).unwrap();
        assert_eq!(bundle::size(len, &sealed.blob), Ok(u32::try_from(file.len()).unwrap()));
        assert_eq!(open(&file), Ok(sealed));
    }
}

#[test]
fn a_chunk_that_no_node_takes_is_refused() {
    let description = Description { chunk_log2: 6, ..description() };
    let sealed = seal(&description, &module(10), needs(), &Key::generate().signing());
    assert_eq!(sealed, Err(SealError::Chunks(Unsupported::ChunkSize)));
}

#[test]
fn a_capsule_can_be_signed_by_somebody_else() {
    let (sealed, _) = sealed(5_000, 8);
    let other = Key::generate();
    let resigned = sealed.resign(&other.signing()).unwrap();
    assert_eq!(resigned.manifest(), sealed.manifest());
    assert_ne!(resigned.digest(), sealed.digest());
    let read = UnverifiedManifest::parse(&resigned.envelope).unwrap();
    assert!(read.verify(&other.public()).is_ok());
    assert_eq!(open(&resigned.bundle()), Ok(resigned));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every byte of a bundle is covered by the signature or a digest, or is the head's.
    #[test]
    fn a_changed_byte_is_found(at: prop::sample::Index, change in 1_u8..) {
        let (sealed, key) = sealed(3_000, 8);
        let mut file = sealed.bundle();
        let at = at.index(file.len());
        file[at] ^= change;
        if let Ok(opened) = open(&file) {
            let read = UnverifiedManifest::parse(&opened.envelope).unwrap();
            prop_assert!(read.verify(&key.public()).is_err(), "byte {}", at);
        }
    }

    #[test]
    fn a_bundle_that_ends_early_or_late_is_refused(cut: prop::sample::Index) {
        let (sealed, _) = sealed(3_000, 8);
        let file = sealed.bundle();
        prop_assert!(open(&file[..cut.index(file.len())]).is_err());
        let longer = [&file[..], &[0]].concat();
        prop_assert_eq!(open(&longer), Err(OpenError::Bundle(BundleError::Trailing)));
    }
}

#[test]
fn manifest_and_module_can_be_joined_if_they_belong_together() {
    let (sealed, _) = sealed(5_000, 8);
    let joined = join(sealed.envelope().to_vec(), sealed.module()).unwrap();
    assert_eq!(joined, sealed);
    let other = join(sealed.envelope().to_vec(), &sealed.module()[1..]);
    assert_eq!(other, Err(OpenError::Module));
}
