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

/// An address with its hash, which stands for it in comparisons: nobody can find another address
/// with the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(super) socket: SocketAddr,
    hash: u64,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Address {}

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

    /// A random number from zero up to, not including, `end`.
    pub(super) fn random_below(&mut self, end: u32) -> u32 {
        high(u64::from(end) * u64::from(high(self.random())))
    }

    /// An address with its hash.
    pub(crate) fn address(&self, socket: SocketAddr) -> Address {
        let (ip, scope, family) = match socket {
            SocketAddr::V4(v4) => (u128::from(u32::from(*v4.ip())), 0, 4),
            SocketAddr::V6(v6) => (u128::from(*v6.ip()), v6.scope_id(), 6),
        };
        let [front, back] = [0, 8].map(|at| {
            let half = ip.to_be_bytes().get(at..).and_then(|half| half.first_chunk().copied());
            u64::from_be_bytes(half.unwrap_or_default())
        });
        let rest = u64::from(scope) << 32 | u64::from(socket.port());
        Address { socket, hash: self.hash(&[front, back, rest, family]) }
    }

    /// The hash of a message id at an address.
    pub(super) fn id(&self, address: Address, id: u16) -> u64 {
        self.hash(&[address.hash, u64::from(id)])
    }

    /// What tells a message from every other one: who sent it and its id, and because ids come round
    /// (and start anew when the sender does), its code and token as well.
    pub(super) fn message(&self, address: Address, id: u16, code: Code, token: Token) -> u64 {
        let mut bytes = [0; Token::MAX];
        let token = token.as_bytes();
        for (to, from) in bytes.iter_mut().zip(token) {
            *to = *from;
        }
        let rest = u64::from(id) << 16 | u64::from(code.0) << 8 | token.len() as u64;
        self.hash(&[address.hash, rest, u64::from_le_bytes(bytes)])
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

/// The upper half of 64 bits.
fn high(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl Address {
    /// The hash.
    pub(crate) const fn bits(self) -> u64 {
        self.hash
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
    fn random_numbers_stay_below_their_end_and_spread() {
        let mut secret = secret();
        let end = 5_000_000;
        let drawn: std::vec::Vec<_> = (0..1000).map(|_| secret.random_below(end)).collect();
        assert!(drawn.iter().all(|n| *n < end));
        assert!(drawn.iter().any(|n| *n < end / 20));
        assert!(drawn.iter().any(|n| *n > end / 20 * 19));
        assert_eq!(secret.random_below(0), 0);
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
