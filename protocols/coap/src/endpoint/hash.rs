//! Everything that has to be hard to guess: tokens, and where in a table a sender's bytes lead.

use crate::message::{Code, Token};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// A key from which random values are made and by which table keys are hashed, so that a sender can
/// neither predict the ones nor make the others collide.
///
/// SipHash-2-4 (Aumasson and Bernstein, 2012) is a pseudo-random function of 128-bit keys. The uses
/// are kept apart by the number of words that go in: 1 for random values, 2, 3 and 4 for hashes.
pub(crate) struct Secret {
    key: [u64; 2],
    drawn: u64,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The hash of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressHash(u64);

impl Secret {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let halves = [seed.first_chunk(), seed.last_chunk()];
        let key = halves.map(|half| u64::from_le_bytes(half.copied().unwrap_or_default()));
        Self { key, drawn: 0 }
    }

    /// 64 random bits.
    pub(super) fn random(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.hash(&[self.drawn])
    }

    /// A random duration from zero up to, not including, `span`, which counts up to 71 minutes.
    pub(super) fn random_within(&mut self, span: Duration) -> Duration {
        Duration::from_micros((u64::from(micros(span)) * (self.random() >> 32)) >> 32)
    }

    pub(crate) fn address(&self, address: SocketAddr) -> AddressHash {
        let port = u64::from(address.port());
        AddressHash(match address {
            SocketAddr::V4(v4) => self.hash(&[u64::from(u32::from(*v4.ip())), port, 0, 4]),
            SocketAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h] = v6.ip().segments().map(u64::from);
                let (high, low) =
                    (a << 48 | b << 32 | c << 16 | d, e << 48 | f << 32 | g << 16 | h);
                self.hash(&[high, low, port | u64::from(v6.scope_id()) << 32, 6])
            }
        })
    }

    /// The hash of a message id at an address.
    pub(super) fn id(&self, address: AddressHash, id: u16) -> u64 {
        self.hash(&[address.0, u64::from(id)])
    }

    /// What tells a message from every other one: who sent it and its id, and because ids come round
    /// (and start anew when the sender does), its code and token as well.
    pub(super) fn message(&self, address: AddressHash, id: u16, code: Code, token: Token) -> u64 {
        let mut bytes = [0; Token::MAX];
        let token = token.as_bytes();
        for (to, from) in bytes.iter_mut().zip(token) {
            *to = *from;
        }
        let rest = u64::from(id) << 16 | u64::from(code.0) << 8 | token.len() as u64;
        self.hash(&[address.0, rest, u64::from_le_bytes(bytes)])
    }

    /// SipHash-2-4 of the words' bytes in little-endian order.
    pub(crate) fn hash(&self, words: &[u64]) -> u64 {
        let [k0, k1] = self.key;
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let last = (words.len() as u64) << 59;
        for word in words.iter().copied().chain([last]) {
            state[3] ^= word;
            round(&mut state);
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        for _ in 0..4 {
            round(&mut state);
        }
        let [a, b, c, d] = state;
        a ^ b ^ c ^ d
    }
}

impl AddressHash {
    /// One of `len` places for this address.
    pub(super) const fn place(self, len: usize) -> usize {
        place(self.0, len)
    }

    /// All of the hash.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// One of `len` places for a hash, without a division.
pub(super) const fn place(hash: u64, len: usize) -> usize {
    (((hash >> 32) * len as u64) >> 32) as usize
}

fn round(state: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    c = c.wrapping_add(b);
    d = d.rotate_left(21) ^ a;
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *state = [a, b, c, d];
}

/// A duration in microseconds, saturating at 71 minutes. (`Duration` itself counts in 128 bits.)
pub(super) fn micros(duration: Duration) -> u32 {
    let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    seconds.saturating_mul(1_000_000).saturating_add(duration.subsec_micros())
}

/// Whether an address is a group's.
pub(super) const fn is_group(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use core::hash::Hasher;

    fn secret() -> Secret {
        Secret::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    }

    #[test]
    fn the_hash_is_siphash_2_4() {
        // Test vectors of the reference implementation, for 0 and 8 bytes of input.
        assert_eq!(secret().hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(secret().hash(&[0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
        #[expect(deprecated, reason = "it is SipHash-2-4, which its successor is not")]
        let mut oracle =
            core::hash::SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let words = [7, u64::MAX, 1 << 63];
        words.iter().for_each(|word| oracle.write(&u64::to_le_bytes(*word)));
        assert_eq!(secret().hash(&words), oracle.finish());
    }

    #[test]
    fn random_durations_stay_within_their_span_and_spread() {
        let mut secret = secret();
        let span = Duration::from_secs(5);
        let drawn: std::vec::Vec<_> = (0..1000).map(|_| secret.random_within(span)).collect();
        assert!(drawn.iter().all(|d| *d < span));
        assert!(drawn.iter().any(|d| *d < span / 20));
        assert!(drawn.iter().any(|d| *d > span * 19 / 20));
        assert_eq!(secret.random_within(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn every_part_of_a_message_counts() {
        let secret = secret();
        let a = secret.address("[fe80::1%2]:5683".parse().unwrap());
        let b = secret.address("[fe80::1%3]:5683".parse().unwrap());
        let token = |bytes: &[u8]| Token::new(bytes).unwrap();
        let keys = [
            secret.message(a, 1, Code::GET, token(&[])),
            secret.message(b, 1, Code::GET, token(&[])),
            secret.message(a, 2, Code::GET, token(&[])),
            secret.message(a, 1, Code::PUT, token(&[])),
            secret.message(a, 1, Code::GET, token(&[0])),
            secret.message(a, 1, Code::GET, token(&[0, 0])),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key));
        }
    }
}
