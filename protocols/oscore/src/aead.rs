//! AES-CCM-16-64-128: AES-128 in CCM mode (RFC 3610) with a 13-byte nonce and an 8-byte tag.
//!
//! The mode is our own, over RustCrypto's AES. AES in constant-time software encrypts two blocks at
//! the cost of one, so each step here takes a block of the CBC-MAC and a counter block together:
//! a third fewer steps than one after the other. EDHOC's cipher suites 0 and 2 use the same
//! algorithm; firmware holds it once.

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128Enc, Block};
use subtle::ConstantTimeEq;

/// Bytes of a key.
pub const KEY_LEN: usize = 16;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 13;

/// Bytes of a tag.
pub const TAG_LEN: usize = 8;

/// The longest text, and the longest additional data, in bytes.
pub const MAX_LEN: usize = 0xfeff;

const BLOCK_LEN: usize = 16;

/// Flags of the first block of the MAC: additional data, a tag of 8 bytes, a length of 2.
const HAS_AAD: u8 = 0x40;
const LENGTHS: u8 = ((8 - 2) / 2) << 3 | COUNTER;

/// Flags of a counter block: a counter of 2 bytes.
const COUNTER: u8 = 2 - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Encrypt,
    Decrypt,
}

/// Encrypts `text` in place and returns the tag, or `None` if `text` or `aad` is longer than
/// [`MAX_LEN`].
#[must_use]
pub fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    #[cfg(feature = "test-util")]
    crate::witness::note(key, nonce);
    turn(Turn::Encrypt, key, nonce, aad, text)
}

/// As [`seal`], for a text that key and nonce determine: who seals it again gives away nothing new. It is not
/// counted among what may be sealed once.
#[must_use]
pub fn seal_again(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    turn(Turn::Encrypt, key, nonce, aad, text)
}

/// Decrypts `text` in place, or zeroes it and returns `None` if `tag` is not its tag. How long that
/// takes does not depend on where the tag differs.
#[must_use]
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Option<()> {
    let expected = turn(Turn::Decrypt, key, nonce, aad, text)?;
    if bool::from(expected.ct_eq(tag)) {
        return Some(());
    }
    text.fill(0);
    None
}

#[inline(never)]
fn turn(
    turn: Turn,
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let checked = |len| u16::try_from(len).ok().filter(|_| len <= MAX_LEN);
    let (text_len, aad_len) = (checked(text.len())?, checked(aad.len())?);
    let has_aad = if aad.is_empty() { 0 } else { HAS_AAD };
    let mut lanes = Lanes {
        aes: Aes128Enc::new(key.into()),
        mac: block(has_aad | LENGTHS, nonce, text_len),
        key_stream: Block::default(),
    };
    lanes.step(nonce, 0);
    let tag_mask = lanes.key_stream;
    // The key stream for the first block of text is ready with the last block of additional data.
    if aad.is_empty() {
        let mac = lanes.mac;
        lanes.step(nonce, 1);
        lanes.mac = mac;
    } else {
        let (first, rest) = aad.split_at_checked(BLOCK_LEN - 2).unwrap_or((aad, &[]));
        let [high, low] = aad_len.to_be_bytes();
        xor(&mut lanes.mac, &[high, low]);
        xor(lanes.mac.get_mut(2..).unwrap_or_default(), first);
        lanes.step(nonce, 1);
        for chunk in rest.chunks(BLOCK_LEN) {
            xor(&mut lanes.mac, chunk);
            lanes.step(nonce, 1);
        }
    }
    for (counter, chunk) in (2..).zip(text.chunks_mut(BLOCK_LEN)) {
        if turn == Turn::Decrypt {
            xor(chunk, &lanes.key_stream);
        }
        xor(&mut lanes.mac, chunk);
        if turn == Turn::Encrypt {
            xor(chunk, &lanes.key_stream);
        }
        lanes.step(nonce, counter);
    }
    xor(&mut lanes.mac, &tag_mask);
    lanes.mac.first_chunk().copied()
}

/// What is encrypted together.
struct Lanes {
    aes: Aes128Enc,
    mac: Block,
    key_stream: Block,
}

impl Lanes {
    /// The MAC goes on by a block, and the key stream becomes that of `counter`.
    #[inline(never)]
    fn step(&mut self, nonce: &[u8; NONCE_LEN], counter: u16) {
        let mut blocks = [self.mac, block(COUNTER, nonce, counter)];
        self.aes.encrypt_blocks(&mut blocks);
        [self.mac, self.key_stream] = blocks;
    }
}

/// Flags, nonce and a number: the first block of the MAC, or a counter block.
fn block(flags: u8, nonce: &[u8; NONCE_LEN], number: u16) -> Block {
    let mut block = [flags; BLOCK_LEN];
    let [_, middle @ .., high, low] = &mut block;
    *middle = *nonce;
    [*high, *low] = number.to_be_bytes();
    block.into()
}

fn xor(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

#[cfg(test)]
mod tests;
