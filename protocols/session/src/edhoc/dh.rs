//! Diffie-Hellman on P-256. Its stack is the deepest of all: it is called where little else is there.

use super::Refusal;
use p256::elliptic_curve::point::DecompressPoint;
use zeroize::ZeroizeOnDrop;

/// A shared secret, wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub(super) struct Shared(pub(super) [u8; 32]);

/// The secret that `private` shares with the owner of the key with the x-coordinate `public`.
///
/// # Errors
/// If that is no point of the curve.
#[inline(never)]
pub(super) fn agree(private: &[u8; 32], public: &[u8; 32]) -> Result<Shared, Refusal> {
    let secret = p256::SecretKey::from_bytes(private.into()).map_err(|_| Refusal::InvalidPoint)?;
    // Either of the two points of an x-coordinate gives the same x-coordinate.
    let point = p256::AffinePoint::decompress(public.into(), 1.into()).into_option();
    let point = point.ok_or(Refusal::InvalidPoint)?;
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), point);
    Ok(Shared((*shared.raw_secret_bytes()).into()))
}
