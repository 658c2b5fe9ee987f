//! No pair of key and nonce is used twice, by whomever, across restarts of both sides.
//!
//! Source: RFC 8613 section 7.1, ARCHITECTURE.md ("An AES-CCM nonce is used once"). What is watched is
//! AES-CCM itself, so that requests, responses with and without a Partial IV of their own, notifications
//! and EDHOC are all seen, whichever way the nonce came about.
//!
//! Memory: a nonce is a common part and a number that counts up, both masked by the key's Common IV.
//! Masking keeps neighbours within 64 numbers together, so that 64 nonces in a row take one word. Keys
//! that were not used for [`KEPT`] are forgotten once there are more than [`MOST`] words: a key of a
//! session that has ended is never used again unless something is so wrong that it shows elsewhere too.

use super::{Checker, Mesh, Verdict, Violation};
use crate::{Event, Host};
use capmesh_wire::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Nonces {
    keys: HashMap<u64, Used>,
    words: usize,
}

#[derive(Debug, Default)]
struct Used {
    /// By common part and the number's upper bits: a bit for each of 64 numbers.
    nonces: HashMap<([u8; 8], u64), u64>,
    last: Instant,
    /// Who used it last, for the report.
    by: Host,
}

/// Words of nonces in all, at most.
pub const MOST: usize = 4_000_000;

/// For how long a key is remembered although there are too many.
pub const KEPT: Duration = Duration::from_secs(3_600);

impl Checker for Nonces {
    fn name(&self) -> &'static str {
        "nonces"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        let Event::Sealed { host, key, nonce } = event else { return Ok(()) };
        let [common @ .., a, b, c, d, e] = nonce;
        let number = u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]);
        let used = self.keys.entry(*key).or_default();
        let before = std::mem::replace(&mut used.by, *host);
        used.last = at;
        let word = used.nonces.entry((*common, number >> 6)).or_insert_with(|| {
            self.words += 1;
            0
        });
        let bit = 1 << (number & 63);
        if *word & bit != 0 {
            let seen = format!("key {key:016x} is used again with nonce {nonce:02x?}");
            let last = format!("each nonce once (the key was last used by host {before})");
            return Err(Violation::new(self.name(), at, seen).should(last).on(*host));
        }
        *word |= bit;
        Ok(())
    }

    fn look(&mut self, at: Instant, _: &dyn Mesh) -> Verdict {
        if self.words > MOST {
            self.keys.retain(|_, used| at.saturating_since(used.last) < KEPT);
            self.words = self.keys.values().map(|used| used.nonces.len()).sum();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: u64, common: u8, number: u8) -> Event {
        let mut nonce = [common; 13];
        nonce[12] = number;
        Event::Sealed { host: 1, key, nonce }
    }

    #[test]
    fn other_keys_and_other_numbers_are_fine() {
        let mut nonces = Nonces::default();
        for key in 0..3 {
            for common in 0..3 {
                for number in 0..=255 {
                    nonces.see(Instant::ZERO, &sealed(key, common, number)).unwrap();
                }
            }
        }
        assert!(nonces.words <= 3 * 3 * 4);
    }

    #[test]
    fn the_same_again_is_not() {
        let mut nonces = Nonces::default();
        for number in [7, 200] {
            nonces.see(Instant::ZERO, &sealed(1, 2, number)).unwrap();
        }
        let wrong = nonces.see(Instant::from_secs(9), &sealed(1, 2, 7)).unwrap_err();
        assert_eq!((wrong.promise, wrong.host), ("nonces", Some(1)));
        nonces.see(Instant::ZERO, &sealed(1, 2, 8)).unwrap();
    }
}
