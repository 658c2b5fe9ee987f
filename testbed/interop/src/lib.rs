//! What the interoperability tests share: outside peers as processes on real UDP.
//!
//! The tests are in `tests/`, one file for each peer. They start real programs on loopback
//! addresses, find out by the protocol when a server is ready, and bound every wait. A peer that is
//! not installed makes its tests skip with a line that says so; with `CI=true` it makes them fail.

pub mod peers;
pub mod process;

use sha2::{Digest, Sha256};

/// A body that every peer can make: byte `i` is `i * 7 + i / 256`, modulo 256, so that no two blocks
/// of it are equal.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(7).wrapping_add(i >> 8)).to_le_bytes()[0]).collect()
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
