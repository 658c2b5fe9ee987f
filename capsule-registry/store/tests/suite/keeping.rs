//! What is kept, for how long, and how it is given to nodes.

use crate::site::{FACTS, Facts, NOW, module, push, sign, tagged};
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store as _};
use capmesh_registry_store::{Memory, Sqlite, Store, bounds};
use capmesh_wire::{CapsuleName, Digest, Tag};

const GRACE: u64 = 3_600;

fn store() -> Store<Memory> {
    Store::open(Memory::new(), 1 << 24).unwrap()
}

/// Pushes the capsule of this sequence number, with a module of its own.
fn put(store: &mut Store<Memory>, now: u64, sequence: u64, tag: Option<&str>) -> (Digest, Digest) {
    let module = module(3_000, sequence.to_le_bytes()[0]);
    let manifest = sign(&module, Facts { sequence, ..FACTS });
    let document = format!("document {sequence}");
    push(store, now, (&manifest, &module), (FACTS.name, tag), document.as_bytes()).unwrap();
    (Digest::of(&manifest), Digest::of(&module))
}

#[test]
fn what_nothing_refers_to_goes_after_the_grace_time() {
    let mut store = store();
    let (old, old_module) = put(&mut store, NOW, 1, Some("1"));
    let (new, new_module) = put(&mut store, NOW, 2, Some("1"));
    let stray = store.put_blob(NOW, b"stray").unwrap();
    assert_eq!(store.collect(NOW + GRACE - 1, GRACE).unwrap().blobs, 0);
    let used = store.usage().unwrap().bytes;
    let collected = store.collect(NOW + GRACE, GRACE).unwrap();
    // The stray one, and manifest, module and document of the first.
    assert_eq!(collected.blobs, 4);
    assert_eq!(store.usage().unwrap().bytes, used - collected.bytes);
    for gone in [old, old_module, stray] {
        assert_eq!(store.blob(&gone).unwrap(), None);
        assert_eq!(store.held(&gone), Held::Nothing);
    }
    assert_eq!((tagged(&store, "1"), store.capsule(&old).unwrap()), (Some(new), None));
    assert!(matches!(store.held(&new_module), Held::Whole(_)));
    let reopened = Store::open(store.backend().clone(), 1 << 24).unwrap();
    assert_eq!(reopened.usage().unwrap(), store.usage().unwrap());
}

#[test]
fn a_lease_keeps_what_no_tag_stands_for() {
    let mut store = store();
    let (old, old_module) = put(&mut store, NOW, 1, Some("1"));
    put(&mut store, NOW, 2, Some("1"));
    store.lease(&old, &[7; 8], NOW + 2 * GRACE).unwrap();
    // A shorter one of the same holder's does not cut it off.
    store.lease(&old, &[7; 8], NOW + 1).unwrap();
    assert_eq!(store.collect(NOW + GRACE, GRACE).unwrap().blobs, 0);
    assert!(matches!(store.held(&old_module), Held::Whole(_)));
    let collected = store.collect(NOW + 2 * GRACE, GRACE).unwrap();
    assert_eq!((collected.blobs, collected.leases), (3, 1));
    assert!(store.lease(&old, &[7; 8], NOW).is_err());
}

#[test]
fn a_blob_that_is_asked_for_before_a_push_is_kept_for_it() {
    let mut store = store();
    let blob = store.put_blob(NOW, b"layer").unwrap();
    assert_eq!(store.touch(NOW + GRACE, &blob).unwrap(), Some(5));
    assert_eq!(store.collect(NOW + GRACE, GRACE).unwrap().blobs, 0);
    assert_eq!(store.collect(NOW + 2 * GRACE, GRACE).unwrap().blobs, 1);
    assert_eq!(store.touch(NOW, &blob).unwrap(), None);
}

#[test]
fn a_capsule_that_comes_back_is_whole() {
    let mut store = store();
    let (manifest, module) = put(&mut store, NOW, 1, None);
    store.collect(NOW + GRACE, GRACE).unwrap();
    assert_eq!(put(&mut store, NOW + GRACE, 1, Some("1")), (manifest, module));
    assert!(matches!(store.held(&module), Held::Whole(_)));
    assert!(matches!(store.held(&manifest), Held::Whole(_)));
}

#[test]
fn a_tag_has_a_history_with_a_bound() {
    let mut store = store();
    let (name, tag) = (CapsuleName::new(FACTS.name).unwrap(), Tag::new("1").unwrap());
    let most = u64::try_from(bounds::HISTORY).unwrap();
    for sequence in 1..=most + 3 {
        put(&mut store, NOW + sequence, sequence, Some("1"));
    }
    let history = store.history(name, tag).unwrap();
    assert_eq!(history.len(), bounds::HISTORY);
    let revisions: Vec<_> = history.iter().map(|tagged| tagged.revision().0).collect();
    assert!(revisions.iter().rev().copied().eq(4..=u32::try_from(most + 3).unwrap()));
    assert!(store.untag(NOW + 999, name, tag).unwrap());
    assert!(!store.untag(NOW + 999, name, tag).unwrap());
    assert_eq!((tagged(&store, "1"), store.tags(name).unwrap()), (None, vec![]));
    let last = store.history(name, tag).unwrap()[0];
    assert!(last.is_gone() && last.since() == NOW + 999);
    // It goes on counting.
    put(&mut store, NOW, most + 3, Some("1"));
    assert_eq!(store.resolve(name, tag).unwrap().unwrap().revision().0, last.revision().0 + 1);
    assert_eq!(store.tags(name).unwrap(), ["1"]);
    assert_eq!(store.names().unwrap(), ["city/clean"]);
}

#[test]
fn tags_have_a_bound() {
    let mut store = store();
    for n in 0..bounds::TAGS {
        put(&mut store, NOW, 1, Some(&n.to_string()));
    }
    let module = module(3_000, 1);
    let manifest = sign(&module, FACTS);
    let more = push(&mut store, NOW, (&manifest, &module), (FACTS.name, Some("more")), b"d");
    assert!(more.unwrap_err().to_string().contains("256 tags"));
}

/// Every piece of manifest and module, as a node asks for them.
#[test]
fn nodes_get_pieces_of_what_was_admitted_and_of_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Sqlite::open(&directory.path().join("registry.db")).unwrap();
    let mut store = Store::open(backend, 1 << 20).unwrap();
    let module = module(40_000, 5);
    let manifest = sign(&module, Facts { chunk_log2: 8, ..FACTS });
    for blob in [&manifest, &module] {
        let digest = store.put_blob(NOW, blob).unwrap();
        assert_eq!(store.held(&digest), Held::Nothing, "nobody has admitted it");
    }
    push(&mut store, NOW, (&manifest, &module), (FACTS.name, None), b"{}").unwrap();
    assert_eq!(store.held(&Digest::of(b"{}")), Held::Nothing, "a document is not for nodes");

    let digest = Digest::of(&module);
    let Held::Whole(geometry) = store.held(&digest) else { panic!("not held") };
    assert_eq!(geometry, Geometry::new(40_008, 8).unwrap());
    let piece = |n: u16| {
        let mut piece = vec![0; usize::from(geometry.len(n))];
        store.read(&digest, geometry.offset(n), &mut piece).unwrap();
        piece
    };
    for n in 0..geometry.pieces() {
        let found = Digest::of(&piece(n));
        let Some((at, parent)) = geometry.entry(n).zip(geometry.parent(n)) else { continue };
        let at = (at - geometry.offset(parent)) as usize;
        assert_eq!(&piece(parent)[at..at + 32], found.as_bytes(), "piece {n}");
    }
    let end = geometry.stored_size();
    assert_eq!(store.read(&digest, end - 1, &mut [0; 2]), Err(ReadError::Failed));
    let Held::Whole(one) = store.held(&Digest::of(&manifest)) else { panic!("not held") };
    assert_eq!(one.pieces(), 1);
    let mut read = vec![0; manifest.len()];
    store.read(&Digest::of(&manifest), 0, &mut read).unwrap();
    assert_eq!(read, manifest);
}

#[test]
fn the_file_of_another_program_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.db");
    std::fs::write(&path, b"This is no database at all, but a text of some length.").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(Sqlite::open(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
