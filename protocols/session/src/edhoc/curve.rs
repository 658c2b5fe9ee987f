//! P-256, as far as Diffie-Hellman on x-coordinates needs it, in a sixth of the `p256` crate's code:
//! for images without the feature `p256`.
//!
//! A Montgomery ladder over x-coordinates (Brier and Joye, "Weierstrass elliptic curves and
//! side-channel attacks", 2002): the formulas need no y, and for a secret scalar the same steps are
//! made whatever its bits are. There are no tables and no branches on secrets; masks are `subtle`'s.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

/// 256 bits, the least significant word first.
type Words = [u32; 8];

/// The prime 2^256 - 2^224 + 2^192 + 2^96 - 1. Minus its inverse modulo 2^32 is 1.
const P: Words = [u32::MAX, u32::MAX, u32::MAX, 0, 0, 0, 1, u32::MAX];

/// The order of the group.
const N: Words =
    [0xfc63_2551, 0xf3b9_cac2, 0xa717_9e84, 0xbce6_faad, u32::MAX, u32::MAX, 0, u32::MAX];

/// P - 2: the exponent that inverts.
const INVERT: Words = [0xffff_fffd, u32::MAX, u32::MAX, 0, 0, 0, 1, u32::MAX];

/// (P - 1) / 2: the exponent that makes 1 of squares.
const EULER: Words = [u32::MAX, u32::MAX, 0x7fff_ffff, 0, 0, 0x8000_0000, 0x8000_0000, 0x7fff_ffff];

/// 2^512 modulo P, which takes numbers into the form of [`Element`].
const SQUARED: Element =
    Element([3, 0, u32::MAX, 0xffff_fffb, 0xffff_fffe, u32::MAX, 0xffff_fffd, 4]);

const ONE: Element = Element([1, 0, 0, u32::MAX, u32::MAX, u32::MAX, 0xffff_fffe, 0]);
const ZERO: Element = Element([0; 8]);

/// The curve is y^2 = x^3 - 3x + B.
const B: Element = Element([
    0x29c4_bddf,
    0xd89c_df62,
    0x7884_3090,
    0xacf0_05cd,
    0xf721_2ed6,
    0xe5a2_20ab,
    0x0487_4834,
    0xdc30_061d,
]);

/// The x-coordinate of `scalar` times a point with the x-coordinate `x`.
///
/// `None` if the scalar is zero or not below the group's order, or if there is no such point.
pub(super) fn multiply(scalar: &[u8; 32], x: &[u8; 32]) -> Option<[u8; 32]> {
    let mut scalar = words(scalar);
    let is_scalar = is_below(&scalar, &N) & !scalar.ct_eq(&[0; 8]);
    let product = point(x).and_then(|x| {
        let (top, bottom) = ladder(&scalar, &x);
        // Nothing is left of a product that is the point at infinity.
        if bottom == ZERO { None } else { Some(bottom.power(&INVERT).times(&top)) }
    });
    scalar.zeroize();
    product.filter(|_| is_scalar.into()).map(|x| x.to_bytes())
}

/// The x-coordinate of a point of the curve. There is none with x = 0 that anybody has, and the
/// ladder has no use for it.
fn point(x: &[u8; 32]) -> Option<Element> {
    let x = words(x);
    if !bool::from(is_below(&x, &P)) {
        return None;
    }
    let x = Element(x).times(&SQUARED);
    let square = x.times(&x).minus(&ONE.thrice()).times(&x).plus(&B);
    (x != ZERO && square.power(&EULER) == ONE).then_some(x)
}

/// `scalar` times the point with this x-coordinate, as a fraction.
#[inline(never)]
fn ladder(scalar: &Words, x: &Element) -> (Element, Element) {
    // The second point is always the first one and `x` more.
    let (mut first, mut second) = ([ONE, ZERO], [*x, ONE]);
    let mut swapped = 0;
    for word in scalar.iter().rev() {
        for at in (0..32).rev() {
            let [bit, ..] = (word >> at & 1).to_le_bytes();
            swap(&mut first, &mut second, bit ^ swapped);
            swapped = bit;
            second = sum(&first, &second, x);
            first = double(&first);
        }
    }
    swap(&mut first, &mut second, swapped);
    second.iter_mut().for_each(|element| element.0.zeroize());
    let [top, bottom] = first;
    (top, bottom)
}

#[inline(never)]
fn swap(first: &mut [Element; 2], second: &mut [Element; 2], bit: u8) {
    let bit = Choice::from(bit);
    for (a, b) in first.iter_mut().zip(second) {
        for (a, b) in a.0.iter_mut().zip(&mut b.0) {
            u32::conditional_swap(a, b, bit);
        }
    }
}

/// Twice a point: ((X^2 + 3Z^2)^2 - 8BXZ^3) / 4(XZ(X^2 - 3Z^2) + BZ^4).
#[inline(never)]
fn double([x, z]: &[Element; 2]) -> [Element; 2] {
    let (xx, zz, xz) = (x.times(x), z.times(z), x.times(z));
    let (zz3, bzz) = (zz.thrice(), zz.times(&B));
    let sum = xx.plus(&zz3);
    let top = sum.times(&sum).minus(&bzz.times(&xz).twice().twice().twice());
    let bottom = xx.minus(&zz3).times(&xz).plus(&bzz.times(&zz));
    [top, bottom.twice().twice()]
}

/// The sum of two points whose difference has the x-coordinate `x`:
/// ((X1X2 + 3Z1Z2)^2 - 4BZ1Z2(X1Z2 + X2Z1)) / x(X1Z2 - X2Z1)^2.
#[inline(never)]
fn sum([x1, z1]: &[Element; 2], [x2, z2]: &[Element; 2], x: &Element) -> [Element; 2] {
    let (zz, left, right) = (z1.times(z2), x1.times(z2), x2.times(z1));
    let sum = x1.times(x2).plus(&zz.thrice());
    let cross = left.plus(&right).times(&zz).times(&B);
    let difference = left.minus(&right);
    [sum.times(&sum).minus(&cross.twice().twice()), difference.times(&difference).times(x)]
}

/// A number modulo P, times 2^256 (Montgomery's form), below P.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Element(Words);

impl Element {
    /// Montgomery's multiplication, a word of `self` at a time.
    #[inline(never)]
    fn times(&self, other: &Self) -> Self {
        let (mut sum, mut top) = ([0; 8], 0);
        for word in self.0 {
            let carry = multiply_add(&mut sum, word, &other.0);
            let (high, over) = u32::overflowing_add(top, carry);
            // This many P make the lowest word zero.
            let [times, ..] = sum;
            let carry = multiply_add(&mut sum, times, &P);
            let (high, over_too) = high.overflowing_add(carry);
            let [_, a, b, c, d, e, f, g] = sum;
            sum = [a, b, c, d, e, f, g, high];
            top = u32::from(over | over_too);
        }
        reduce(sum, top)
    }

    #[inline(never)]
    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.0;
        let carry = multiply_add(&mut sum, 1, &other.0);
        reduce(sum, carry)
    }

    #[inline(never)]
    fn minus(&self, other: &Self) -> Self {
        let (mut difference, borrow) = subtract(&self.0, &other.0);
        multiply_add(&mut difference, borrow, &P);
        Self(difference)
    }

    fn twice(&self) -> Self {
        self.plus(self)
    }

    fn thrice(&self) -> Self {
        self.twice().plus(self)
    }

    /// A power. The exponent is no secret.
    #[inline(never)]
    fn power(&self, exponent: &Words) -> Self {
        let mut power = ONE;
        for word in exponent.iter().rev() {
            for at in (0..32).rev() {
                power = power.times(&power);
                if word >> at & 1 == 1 {
                    power = power.times(self);
                }
            }
        }
        power
    }

    fn to_bytes(self) -> [u8; 32] {
        let plain = self.times(&Self([1, 0, 0, 0, 0, 0, 0, 0]));
        let mut bytes = [0; 32];
        for (to, word) in bytes.rchunks_exact_mut(4).zip(plain.0) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// Adds a multiple to a sum, and returns the word that is carried out.
#[inline(never)]
fn multiply_add(sum: &mut Words, factor: u32, number: &Words) -> u32 {
    let mut carry = 0;
    for (sum, word) in sum.iter_mut().zip(number) {
        let all = u64::from(factor) * u64::from(*word) + u64::from(*sum) + u64::from(carry);
        [carry, *sum] = split(all);
    }
    carry
}

/// A difference, and 1 if it is one that was borrowed for.
#[inline(never)]
fn subtract(from: &Words, number: &Words) -> (Words, u32) {
    let (mut difference, mut borrow) = (*from, 0);
    for (to, word) in difference.iter_mut().zip(number) {
        let all = u64::from(*to).wrapping_sub(u64::from(*word)).wrapping_sub(u64::from(borrow));
        [borrow, *to] = split(all);
        borrow &= 1;
    }
    (difference, borrow)
}

/// A number below twice P, whose bits from 256 on are `top`, modulo P.
fn reduce(number: Words, top: u32) -> Element {
    let (mut reduced, borrow) = subtract(&number, &P);
    let [is_below, ..] = (borrow & !top).to_le_bytes();
    let is_below = Choice::from(is_below);
    for (to, from) in reduced.iter_mut().zip(&number) {
        to.conditional_assign(from, is_below);
    }
    Element(reduced)
}

fn is_below(number: &Words, bound: &Words) -> Choice {
    let (_, borrow) = subtract(number, bound);
    borrow.ct_eq(&1)
}

/// High and low half.
const fn split(all: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = all.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

/// The words of a big-endian number.
fn words(bytes: &[u8; 32]) -> Words {
    let mut words = [0; 8];
    for (to, from) in words.iter_mut().zip(bytes.rchunks_exact(4)) {
        *to = from.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    words
}

#[cfg(test)]
mod tests;
