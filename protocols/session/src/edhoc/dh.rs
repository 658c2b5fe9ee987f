//! Diffie-Hellman on P-256. Its stack is the deepest of all: it is called where little else is there.
//!
//! There is one multiplication, by an x-coordinate; public keys are made with it too. That costs a
//! square root more than a table of the generator would, and half the code.

use super::Refusal;
use zeroize::ZeroizeOnDrop;

/// A shared secret, wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct Shared(pub(super) [u8; 32]);

impl Shared {
    /// A place for one: it is written where it stays, not moved about.
    pub(super) const EMPTY: Self = Self([0; 32]);
}

/// The x-coordinate of the group's generator (SEC 2, section 2.4.2).
pub(super) const GENERATOR: [u8; 32] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
];

/// The x-coordinate of the public key of `private`.
///
/// # Errors
/// If `private` is zero or past the group's order.
pub(super) fn public_of(private: &[u8; 32]) -> Result<[u8; 32], Refusal> {
    let mut public = Shared::EMPTY;
    agree(private, &GENERATOR, &mut public)?;
    Ok(public.0)
}

/// Writes to `shared` the secret that `private` shares with the owner of the key with the x-coordinate `public`.
///
/// # Errors
/// If that is no point of the curve, or `private` no private key.
#[inline(never)]
pub(super) fn agree(
    private: &[u8; 32],
    public: &[u8; 32],
    shared: &mut Shared,
) -> Result<(), Refusal> {
    #[cfg(feature = "test-util")]
    if let Some(product) = super::known::multiply(private, public) {
        shared.0 = product;
        return Ok(());
    }
    #[cfg(feature = "p256")]
    let product = with_p256(private, public);
    #[cfg(not(feature = "p256"))]
    let product = super::curve::multiply(private, public);
    shared.0 = product.ok_or(Refusal::InvalidPoint)?;
    Ok(())
}

/// The x-coordinate of `scalar` times a point with the x-coordinate `x`.
///
/// `None` if the scalar is zero or not below the group's order, or if there is no such point.
#[cfg(any(test, feature = "p256"))]
pub(super) fn with_p256(scalar: &[u8; 32], x: &[u8; 32]) -> Option<[u8; 32]> {
    use p256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
    use p256::elliptic_curve::{Field, PrimeField};
    use p256::{AffinePoint, ProjectivePoint, Scalar};
    use zeroize::Zeroize;

    let mut scalar = Scalar::from_repr((*scalar).into()).into_option()?;
    // Either of the two points of an x-coordinate gives the same x-coordinate.
    let point = AffinePoint::decompress(x.into(), 1.into()).into_option();
    let product = point.map(|point| ProjectivePoint::from(point) * scalar);
    let is_zero: bool = scalar.is_zero().into();
    scalar.zeroize();
    product.filter(|_| !is_zero).map(|product| product.to_affine().x().into())
}
