//! What is admitted and what is refused.

use crate::site::{FACTS, Facts, NOW, module, push, sign, tagged};
use capmesh_registry_store::{Memory, Refusal, Store};
use capmesh_wire::{Digest, limits};

fn store() -> Store<Memory> {
    Store::open(Memory::new(), 1 << 20).unwrap()
}

/// Pushes to a store of its own.
fn pushed(manifest: &[u8], module: &[u8]) -> Result<(), Refusal> {
    push(&mut store(), NOW, (manifest, module), (FACTS.name, Some("1")), b"{}").map(drop)
}

#[test]
fn a_signed_capsule_is_admitted_and_tagged() {
    let (mut store, module) = (store(), module(5_000, 0));
    let manifest = sign(&module, FACTS);
    let pushed =
        push(&mut store, NOW, (&manifest, &module), (FACTS.name, Some("1")), b"{}").unwrap();
    assert_eq!((pushed.capsule, pushed.known), (Digest::of(&manifest), false));
    assert_eq!(tagged(&store, "1"), Some(pushed.capsule));
    let capsule = store.capsule(&pushed.capsule).unwrap().unwrap();
    assert_eq!((capsule.name(), capsule.sequence()), ("city/clean", 1));
    assert_eq!(capsule.module(), Digest::of(&module));
    assert_eq!(store.described(&pushed.document).unwrap(), Some(pushed.capsule));
    assert_eq!(store.blob(&pushed.document).unwrap().unwrap(), b"{}");
    // The same once more changes nothing.
    let before = store.backend().clone();
    let again =
        push(&mut store, NOW, (&manifest, &module), (FACTS.name, Some("1")), b"{}").unwrap();
    assert!(again.known);
    assert_eq!(*store.backend(), before);
}

#[test]
fn who_is_no_publisher_of_the_site_is_refused() {
    let module = module(100, 0);
    let by = |by| pushed(&sign(&module, Facts { by, ..FACTS }), &module).unwrap_err();
    assert!(matches!(by(2), Refusal::NotPublisher(_)), "expired");
    assert!(matches!(by(3), Refusal::NotPublisher(_)), "a node");
    assert!(matches!(by(4), Refusal::UnknownPublisher(_)), "nobody");
}

#[test]
fn no_byte_of_a_manifest_can_be_changed() {
    let module = module(100, 0);
    let manifest = sign(&module, FACTS);
    for at in 0..manifest.len() {
        let mut tampered = manifest.clone();
        tampered[at] ^= 1;
        assert!(pushed(&tampered, &module).is_err(), "byte {at}");
    }
}

#[test]
fn another_module_is_refused_whatever_differs() {
    let module = module(3_000, 0);
    let manifest = sign(&module, FACTS);
    let mut other = module.clone();
    other[2_000] ^= 1;
    assert!(matches!(pushed(&manifest, &other), Err(Refusal::ModuleDigest { .. })));
    other.pop();
    let refusal = Refusal::ModuleSize { found: module.len() - 1, signed: 3_008 };
    assert_eq!(pushed(&manifest, &other), Err(refusal));
}

#[test]
fn contract_beginning_and_name_are_looked_at() {
    let good = module(100, 0);
    let refusal = pushed(&sign(&good, Facts { abi: 2, ..FACTS }), &good).unwrap_err();
    assert!(refusal.to_string().contains("version 2 of the contract"), "{refusal}");
    let text = b"not a module, though it is long enough".to_vec();
    assert!(matches!(pushed(&sign(&text, FACTS), &text), Err(Refusal::Check(_))));
    let other = pushed(&sign(&good, Facts { name: "city/other", ..FACTS }), &good);
    assert!(matches!(other, Err(Refusal::Name { .. })), "{other:?}");
}

#[test]
fn nothing_goes_back_to_an_older_sequence() {
    let mut store = store();
    let capsule = |sequence| {
        let module = module(200, u8::try_from(sequence).unwrap());
        (sign(&module, Facts { sequence, ..FACTS }), module)
    };
    let mut put = |sequence, tag| {
        let (manifest, module) = capsule(sequence);
        let name = (FACTS.name, Some(tag));
        push(&mut store, NOW, (&manifest, &module), name, &[u8::try_from(sequence).unwrap()])
    };
    put(3, "1").unwrap();
    assert_eq!(put(2, "1"), Err(Refusal::RolledBack { sequence: 2, newest: 3 }));
    assert_eq!(put(2, "old"), Err(Refusal::RolledBack { sequence: 2, newest: 3 }));
    put(4, "2").unwrap();
    // What is here may have another tag; a tag that stands for something newer is not moved back.
    put(3, "stable").unwrap();
    assert_eq!(put(3, "2"), Err(Refusal::RolledBack { sequence: 3, newest: 4 }));
    // That the old one has been collected does not make it new.
    let name = capmesh_wire::CapsuleName::new(FACTS.name).unwrap();
    for tag in ["1", "2", "stable"] {
        assert!(store.untag(NOW, name, capmesh_wire::Tag::new(tag).unwrap()).unwrap());
    }
    store.collect(NOW + 10, 10).unwrap();
    assert_eq!(store.usage().unwrap().capsules, 0);
    let (manifest, module) = capsule(3);
    let again = push(&mut store, NOW, (&manifest, &module), (FACTS.name, Some("1")), b"3");
    assert_eq!(again, Err(Refusal::RolledBack { sequence: 3, newest: 4 }));
}

#[test]
fn what_is_missing_or_too_large_is_named() {
    let good = module(100, 0);
    let manifest = sign(&good, FACTS);
    let long = vec![0; limits::MANIFEST + 1];
    let refusal = pushed(&long, &good).unwrap_err();
    assert!(matches!(refusal, Refusal::TooLarge { what: "manifest", .. }), "{refusal:?}");
    let mut store = store();
    let name = (FACTS.name, Some("1"));
    let document = vec![0; 64 * 1_024 + 1];
    let refusal = push(&mut store, NOW, (&manifest, &good), name, &document).unwrap_err();
    assert!(matches!(refusal, Refusal::TooLarge { what: "document", .. }), "{refusal:?}");
    assert_eq!(tagged(&store, "1"), None);
    let blob = vec![0; capmesh_registry_store::bounds::BLOB + 1];
    assert!(matches!(store.put_blob(NOW, &blob), Err(Refusal::TooLarge { what: "blob", .. })));
    let mut small = Store::open(Memory::new(), 500).unwrap();
    assert!(matches!(
        small.put_blob(NOW, &[0; 501]),
        Err(Refusal::Quota { needed: 501, left: 500 })
    ));
    small.put_blob(NOW, &[0; 500]).unwrap();
    assert!(matches!(small.put_blob(NOW, &[1]), Err(Refusal::Quota { needed: 1, left: 0 })));
    assert_eq!(small.collect(NOW + 5, 5).unwrap().bytes, 500);
    small.put_blob(NOW, &[1]).unwrap();
}

#[test]
fn a_module_is_cut_in_one_way() {
    let (mut store, module) = (store(), module(3_000, 0));
    let capsule = |chunk_log2, sequence| sign(&module, Facts { chunk_log2, sequence, ..FACTS });
    let name = (FACTS.name, None);
    push(&mut store, NOW, (&capsule(10, 1), &module), name, b"a").unwrap();
    let refused = push(&mut store, NOW, (&capsule(9, 2), &module), name, b"b");
    assert_eq!(refused, Err(Refusal::CutOtherwise { held: 10 }));
    push(&mut store, NOW, (&capsule(10, 2), &module), name, b"b").unwrap();
}
