//! Diffie-Hellman on P-256. Its stack is the deepest of all: it is called where little else is there.
//!
//! There is one multiplication, by an x-coordinate; public keys are made with it too. That costs a
//! square root more than a table of the generator would, and half the code.

use super::Refusal;
use p256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
use p256::elliptic_curve::{Field, PrimeField};
use p256::{AffinePoint, ProjectivePoint, Scalar};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A shared secret, wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct Shared(pub(super) [u8; 32]);

/// The x-coordinate of the group's generator (SEC 2, section 2.4.2).
const GENERATOR: [u8; 32] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
];

/// The x-coordinate of the public key of `private`.
///
/// # Errors
/// If `private` is zero or past the group's order.
pub(super) fn public_of(private: &[u8; 32]) -> Result<[u8; 32], Refusal> {
    Ok(agree(private, &GENERATOR)?.0)
}

/// The secret that `private` shares with the owner of the key with the x-coordinate `public`.
///
/// # Errors
/// If that is no point of the curve, or `private` no private key.
#[inline(never)]
pub(super) fn agree(private: &[u8; 32], public: &[u8; 32]) -> Result<Shared, Refusal> {
    let scalar = Scalar::from_repr((*private).into()).into_option();
    let mut scalar = scalar.ok_or(Refusal::InvalidPoint)?;
    // Either of the two points of an x-coordinate gives the same x-coordinate.
    let point = AffinePoint::decompress(public.into(), 1.into()).into_option();
    let product = ProjectivePoint::from(point.ok_or(Refusal::InvalidPoint)?) * scalar;
    let is_zero = scalar.is_zero();
    scalar.zeroize();
    if is_zero.into() {
        return Err(Refusal::InvalidPoint);
    }
    Ok(Shared(product.to_affine().x().into()))
}
