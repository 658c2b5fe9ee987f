//! HKDF with SHA-256 (RFC 5869), which OSCORE and EDHOC's cipher suite 2 derive their keys with.
//!
//! Our own, over [`Hasher`]: the input goes in piece by piece, and there is one small copy of it in
//! flash.

use capmesh_wire::Hasher;
use zeroize::Zeroize;

/// Bytes of a hash, and so of a pseudorandom key.
pub const HASH_LEN: usize = 32;

/// Bytes that SHA-256 takes in at a time.
const BLOCK: usize = 64;

const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// HMAC (RFC 2104) under way.
struct Hmac {
    inner: Hasher,
    /// The key, padded and masked for the outer hash; wiped at the end.
    pad: [u8; BLOCK],
}

impl Hmac {
    fn new(key: &[u8]) -> Self {
        let hashed;
        let key = if key.len() > BLOCK {
            hashed = capmesh_wire::Digest::of(key);
            hashed.as_bytes()
        } else {
            key
        };
        let mut hmac = Self { inner: Hasher::new(), pad: [INNER; BLOCK] };
        for (byte, key) in hmac.pad.iter_mut().zip(key) {
            *byte ^= key;
        }
        hmac.inner.update(&hmac.pad);
        for byte in &mut hmac.pad {
            *byte ^= INNER ^ OUTER;
        }
        hmac
    }

    fn finish(mut self) -> [u8; HASH_LEN] {
        let mut outer = Hasher::new();
        outer.update(&self.pad);
        self.pad.zeroize();
        outer.update(self.inner.finish().as_bytes());
        *outer.finish().as_bytes()
    }
}

/// HKDF-Extract: the pseudorandom key of `secret`.
#[must_use]
#[inline(never)]
pub fn extract(salt: &[u8], secret: &[u8]) -> [u8; HASH_LEN] {
    let mut hmac = Hmac::new(salt);
    hmac.inner.update(secret);
    hmac.finish()
}

/// HKDF-Expand: fills `out`, which is at most 255 hashes long, with what `key` makes of these parts
/// of the info, one after the other (lists of parts, so that nobody has to join them). What is longer
/// stays as it is.
#[inline(never)]
pub fn expand(key: &[u8; HASH_LEN], info: &[&[&[u8]]], out: &mut [u8]) {
    let mut last = [0; HASH_LEN];
    for (counter, chunk) in (1..=u8::MAX).zip(out.chunks_mut(HASH_LEN)) {
        let mut hmac = Hmac::new(key);
        if counter > 1 {
            hmac.inner.update(&last);
        }
        for part in info.iter().copied().flatten() {
            hmac.inner.update(part);
        }
        hmac.inner.update(&[counter]);
        last = hmac.finish();
        for (to, from) in chunk.iter_mut().zip(&last) {
            *to = *from;
        }
    }
    last.zeroize();
}

#[cfg(test)]
mod tests;
