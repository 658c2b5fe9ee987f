//! A node has one key, whatever happens when it is made.

use super::*;

#[test]
fn the_key_is_made_once_whatever_the_power_does() {
    let mut keys = BTreeSet::new();
    for after in 0..12 {
        let nor = Nor::new(FLASH.geometry, FLASH.bytes());
        let mut party = Party::boot(5, nor, Instant::ZERO);
        party.cut = Some((after, Tear::Bits(u64::from(after))));
        party.settle(Instant::ZERO);
        let was_ready = !party.is_off;
        // With other randomness: a key that was durable stays.
        let mut again = Party::boot(6, party.nor, Instant::ZERO);
        again.settle(Instant::ZERO);
        assert!(again.site.is_ready(&again.store));
        let id = again.site.own().id();
        keys.insert(id);
        if was_ready {
            assert_eq!((id, again.site.boots()), (party.site.own().id(), 2));
        }
        let third = Party::boot(7, again.nor, Instant::ZERO);
        assert_eq!(third.site.own().id(), id);
    }
    assert_eq!(keys.len(), 2, "the one of the first boot, or that of the second");
}

#[test]
fn a_node_does_not_speak_before_its_key_is_durable() {
    let mut party = Party::new(5);
    assert!(!party.site.is_ready(&party.store));
    party.settle(Instant::ZERO);
    assert!(party.site.is_ready(&party.store));
    assert_eq!(party.site.own().credential(), credential(5));
}
