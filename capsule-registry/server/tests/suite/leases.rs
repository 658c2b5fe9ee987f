//! What a gateway asks for stays, whatever becomes of its tag.

use crate::site::{FACTS, Facts, NOW, module, push, sign};
use capmesh_registry::core::{LEASE_DAYS, Lent, Shelf};
use capmesh_registry_store::{Memory, Store};
use capmesh_session::Member;
use capmesh_wire::{CapsuleRef, Digest, NodeId, Role};

const DAY: u64 = 24 * 60 * 60;

#[test]
fn what_a_gateway_asks_for_by_digest_is_kept_for_a_month_each_time() {
    let mut store = Store::open(Memory::new(), 1 << 24).unwrap();
    let put = |store: &mut Store<Memory>, sequence: u64| {
        let module = module(3_000, sequence.to_le_bytes()[0]);
        let manifest = sign(&module, Facts { sequence, ..FACTS });
        let document = format!("document {sequence}");
        let to = (FACTS.name, Some("1"));
        push(store, NOW, (&manifest, &module), to, document.as_bytes()).unwrap();
        Digest::of(&manifest)
    };
    let used = put(&mut store, 1);
    put(&mut store, 2);
    let text = format!("{}@{used}", FACTS.name);
    let reference = CapsuleRef::try_from(text.as_str()).unwrap();
    let ask = |store: &mut Store<Memory>, day: u64, role| {
        let asker = Member { id: NodeId::from_bytes([7; 8]), role };
        let found = Lent::new(store, NOW + day * DAY).resolve(asker, &reference).unwrap();
        assert_eq!(found.map(|found| found.capsule), Some(used));
    };
    ask(&mut store, 0, Role::Gateway);
    ask(&mut store, LEASE_DAYS - 1, Role::Gateway);
    // A node that asks does not have it kept.
    ask(&mut store, LEASE_DAYS, Role::Node);
    let day = |days: u64| NOW + days * DAY;
    assert_eq!(store.collect(day(2 * LEASE_DAYS - 2), 0).unwrap().blobs, 0);
    // Its module, manifest and document go when nobody has asked for a month.
    assert_eq!(store.collect(day(2 * LEASE_DAYS + 1), 0).unwrap().blobs, 3);
}
