//! Diffie-Hellman between keys that one thread has made itself, for those who simulate both ends.
//!
//! What two of them share is the generator times the product of both private keys: that comes from a table
//! of the generator's multiples, and is computed once for both ends. It is the same number as without.
//! Nothing is known before [`begin`] was called in a thread, nor of keys that others have made.

extern crate std;

use super::dh::GENERATOR;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{Field, PrimeField};
use p256::{AffinePoint, ProjectivePoint, Scalar};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::vec::Vec;

/// Multiples of the powers of 256 times the generator, each from one to 255 times.
static TABLE: LazyLock<Vec<Vec<AffinePoint>>> = LazyLock::new(|| {
    let mut base = ProjectivePoint::GENERATOR;
    let mut table = Vec::with_capacity(32);
    for _ in 0..32 {
        let mut sum = ProjectivePoint::IDENTITY;
        let multiples = (1..=255).map(|_| {
            sum += base;
            sum.to_affine()
        });
        table.push(multiples.collect());
        base += sum;
    }
    table
});

std::thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Remembers the keys that this thread makes from now on, until [`end`].
pub fn begin() {
    KNOWN.set(Some(Known::default()));
}

/// Forgets all of them.
pub fn end() {
    KNOWN.set(None);
}

/// The x-coordinate of `scalar` times the point with the x-coordinate `x`, if that is the generator or a
/// key that is known.
pub(super) fn multiply(scalar: &[u8; 32], x: &[u8; 32]) -> Option<[u8; 32]> {
    KNOWN.with_borrow_mut(|known| known.as_mut()?.multiply(scalar, x))
}

/// Keys, and what was computed for one of two ends.
#[derive(Default)]
struct Known {
    /// Private keys by their public keys.
    keys: Recent<Scalar>,
    /// What is shared, by the product of the private keys.
    shared: Recent<[u8; 32]>,
}

impl Known {
    fn multiply(&mut self, scalar: &[u8; 32], x: &[u8; 32]) -> Option<[u8; 32]> {
        let scalar = Scalar::from_repr((*scalar).into()).into_option()?;
        if bool::from(scalar.is_zero()) {
            return None;
        }
        if *x == GENERATOR {
            let public = times_generator(&scalar);
            self.keys.put(public, scalar);
            return Some(public);
        }
        let product = self.keys.get(x)? * scalar;
        let name = product.to_repr().into();
        if let Some(shared) = self.shared.get(&name) {
            return Some(shared);
        }
        let shared = times_generator(&product);
        self.shared.put(name, shared);
        Some(shared)
    }
}

fn times_generator(scalar: &Scalar) -> [u8; 32] {
    let bytes: [u8; 32] = scalar.to_repr().into();
    let digits = bytes.iter().rev().zip(TABLE.iter());
    let parts =
        digits.filter_map(|(digit, multiples)| multiples.get(usize::from(*digit).checked_sub(1)?));
    let product = parts.fold(ProjectivePoint::IDENTITY, |sum, part| sum + part);
    product.to_affine().x().into()
}

/// What was asked for lately.
#[derive(Default)]
struct Recent<T> {
    young: BTreeMap<[u8; 32], T>,
    old: BTreeMap<[u8; 32], T>,
}

/// How many are young at most: those that were not asked for while so many came are forgotten.
const YOUNG: usize = 4_096;

impl<T: Copy> Recent<T> {
    fn get(&mut self, name: &[u8; 32]) -> Option<T> {
        if let Some(found) = self.young.get(name) {
            return Some(*found);
        }
        let found = *self.old.get(name)?;
        self.put(*name, found);
        Some(found)
    }

    fn put(&mut self, name: [u8; 32], value: T) {
        if self.young.len() >= YOUNG {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
