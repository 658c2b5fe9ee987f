//! What was sealed, told to those who check that no nonce is used twice.
//!
//! Each thread has a list of its own. Nothing is noted before [`begin`] was called in it.

extern crate std;

use crate::aead::{KEY_LEN, NONCE_LEN};
use std::cell::RefCell;
use std::vec::Vec;

/// Something was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Stands for the key: FNV-1a of 64 bits.
    pub key: u64,
    /// The nonce.
    pub nonce: [u8; NONCE_LEN],
}

/// What waits for [`take`] at most; more is not noted.
const NOTED: usize = 65_536;

std::thread_local! {
    static NOTES: RefCell<Option<Vec<Sealed>>> = const { RefCell::new(None) };
}

/// Notes what this thread seals from now on, until [`end`].
pub fn begin() {
    NOTES.set(Some(Vec::new()));
}

/// Notes nothing any more.
pub fn end() {
    NOTES.set(None);
}

/// Calls `see` with everything that this thread has sealed since this was called last, in order.
pub fn take(mut see: impl FnMut(Sealed)) {
    NOTES.with_borrow_mut(|notes| {
        notes.iter_mut().flat_map(|notes| notes.drain(..)).for_each(&mut see);
    });
}

pub(crate) fn note(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN]) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes.as_mut().filter(|notes| notes.len() < NOTED) {
            let key = key.iter().fold(0xcbf2_9ce4_8422_2325, |print, byte| {
                (print ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            notes.push(Sealed { key, nonce: *nonce });
        }
    });
}
