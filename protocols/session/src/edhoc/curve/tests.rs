//! Against the `p256` crate.

use super::super::dh::{GENERATOR, with_p256};
use super::*;
use hex_literal::hex;
use proptest::prelude::*;

/// The group's order, and numbers beside it.
const ORDER: [u8; 32] = hex!("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
const PRIME: [u8; 32] = hex!("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");

fn near(number: [u8; 32], offset: i8) -> [u8; 32] {
    let mut number = number;
    let mut carry = i16::from(offset);
    for byte in number.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = u8::try_from(sum.rem_euclid(256)).unwrap();
        carry = sum.div_euclid(256);
    }
    number
}

fn agree_on(scalar: &[u8; 32], x: &[u8; 32]) -> bool {
    multiply(scalar, x) == with_p256(scalar, x)
}

#[test]
fn scalars_at_the_edges() {
    for base in [[0; 32], ORDER, PRIME, [0xff; 32]] {
        for offset in -5..=5 {
            let scalar = near(base, offset);
            assert!(agree_on(&scalar, &GENERATOR), "{scalar:02x?}");
        }
    }
    assert_eq!(multiply(&near([0; 32], 1), &GENERATOR), Some(GENERATOR));
    assert_eq!(multiply(&near(ORDER, -1), &GENERATOR), Some(GENERATOR));
    assert_eq!(multiply(&[0; 32], &GENERATOR), None);
    assert_eq!(multiply(&ORDER, &GENERATOR), None);
}

#[test]
fn coordinates_at_the_edges() {
    for base in [[0; 32], PRIME, ORDER] {
        for offset in -40..=40 {
            let x = near(base, offset);
            // Nobody has the point with x = 0, which is refused here.
            let expected = with_p256(&[7; 32], &x).filter(|_| x != [0; 32]);
            assert_eq!(multiply(&[7; 32], &x), expected, "{x:02x?}");
        }
    }
}

#[test]
fn an_element_and_its_inverse_are_one() {
    for byte in 1..=20 {
        let element = Element(words(&[byte; 32])).times(&SQUARED);
        assert!(element.power(&INVERT).times(&element) == ONE);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 48 } else { 4096 }))]

    /// Any scalar, any x: half of them are of no point.
    #[test]
    fn any_product_is_that_of_p256(scalar: [u8; 32], x: [u8; 32]) {
        prop_assert!(agree_on(&scalar, &x));
    }

    /// Two parties get the same.
    #[test]
    fn both_sides_agree(a: [u8; 32], b: [u8; 32]) {
        let public = |scalar| multiply(scalar, &GENERATOR);
        if let (Some(of_a), Some(of_b)) = (public(&a), public(&b)) {
            prop_assert_eq!(multiply(&a, &of_b), multiply(&b, &of_a));
            prop_assert_eq!(with_p256(&a, &of_b), multiply(&a, &of_b));
        }
    }

    /// Multiplication of elements against arithmetic of another kind.
    #[test]
    fn elements_obey_the_rules(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
        let [a, b, c] = [a, b, c].map(|bytes| Element(words(&bytes)).times(&SQUARED));
        prop_assert!(a.times(&b) == b.times(&a));
        prop_assert!(a.plus(&b).minus(&b) == a);
        prop_assert!(a.times(&b.plus(&c)) == a.times(&b).plus(&a.times(&c)));
        prop_assert!(a.minus(&a) == ZERO);
        for element in [a, b, c, a.times(&b), a.plus(&c), a.minus(&b)] {
            prop_assert!(bool::from(is_below(&element.0, &P)));
        }
    }
}
