//! Against the `p256` crate.

use super::super::dh::with_p256;
use super::*;
use proptest::prelude::*;

fn number(bytes: [u8; 32]) -> [u8; 32] {
    // Below the group's order.
    let mut number = bytes;
    number[0] &= 0x7f;
    number[31] |= 1;
    number
}

#[test]
fn the_smallest_and_the_greatest() {
    begin();
    for scalar in [Scalar::ONE, Scalar::from(2_u64), Scalar::from(255_u64), -Scalar::ONE] {
        let scalar = scalar.to_repr().into();
        assert_eq!(multiply(&scalar, &GENERATOR), with_p256(&scalar, &GENERATOR));
    }
    assert_eq!(multiply(&[0; 32], &GENERATOR), None);
    assert_eq!(multiply(&[0xff; 32], &GENERATOR), None);
    end();
}

#[test]
fn nothing_is_known_of_others() {
    let theirs = with_p256(&[7; 32], &GENERATOR).unwrap();
    assert_eq!(multiply(&[5; 32], &GENERATOR), None);
    begin();
    assert_eq!(multiply(&[5; 32], &theirs), None);
    assert_eq!(multiply(&[7; 32], &GENERATOR), Some(theirs));
    assert_eq!(multiply(&[5; 32], &theirs), with_p256(&[5; 32], &theirs));
    end();
    assert_eq!(multiply(&[5; 32], &theirs), None);
}

#[test]
fn what_is_asked_for_is_not_forgotten() {
    let mut recent = Recent::default();
    let name = |number: usize| {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        name
    };
    for number in 0..5 * YOUNG {
        recent.put(name(number), number);
        assert_eq!(recent.get(&name(0)), Some(0));
        assert!(recent.young.len() <= YOUNG && recent.old.len() <= YOUNG);
    }
    assert_eq!(recent.get(&name(1)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ends_share_what_they_would_without(a: [u8; 32], b: [u8; 32]) {
        let (a, b) = (number(a), number(b));
        begin();
        let (mine, theirs) = (multiply(&a, &GENERATOR).unwrap(), multiply(&b, &GENERATOR).unwrap());
        let shared = [multiply(&a, &theirs), multiply(&b, &mine)];
        end();
        prop_assert_eq!(Some(mine), with_p256(&a, &GENERATOR));
        prop_assert_eq!(Some(theirs), with_p256(&b, &GENERATOR));
        prop_assert_eq!(shared, [with_p256(&a, &theirs), with_p256(&b, &mine)]);
    }
}
