//! Integers: recursion, tables, hashing, sorting.

use crate::{Scratch, next};

/// Fibonacci numbers by their definition: nothing but calls.
pub(crate) fn fib(_: &mut Scratch, round: u32) -> u32 {
    // Two numbers in turn, so that no compiler finds that one call would do.
    definition(19 + (round & 1))
}

fn definition(n: u32) -> u32 {
    if n < 2 { n } else { definition(n - 1).wrapping_add(definition(n - 2)) }
}

/// CRC-32 (IEEE 802.3) of a kilobyte, by a table that it makes first.
pub(crate) fn crc32(scratch: &mut Scratch, round: u32) -> u32 {
    fill(&mut scratch.bytes, round);
    for (i, entry) in (0u32..).zip(&mut scratch.words[..256]) {
        *entry = (0..8).fold(i, |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    }
    let table = &scratch.words;
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)];
    !scratch.bytes.iter().fold(!0, step)
}

/// SHA-256 (FIPS 180-4) of a kilobyte; the first word of the digest.
pub(crate) fn sha256(scratch: &mut Scratch, round: u32) -> u32 {
    fill(&mut scratch.bytes, round);
    let mut state = INITIAL;
    let schedule = &mut scratch.words;
    for block in scratch.bytes.chunks_exact(64) {
        for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        compress(&mut state, schedule);
    }
    // The padding of 1024 bytes: one bit, and the length in bits.
    schedule[..16].fill(0);
    schedule[0] = 0x8000_0000;
    schedule[15] = 8 * 1024;
    compress(&mut state, schedule);
    state[0]
}

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
static ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

fn compress(state: &mut [u32; 8], schedule: &mut [u32; 512]) {
    for i in 16..64 {
        let (w15, w2) = (schedule[i - 15], schedule[i - 2]);
        let s0 = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
        let s1 = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
        schedule[i] =
            schedule[i - 16].wrapping_add(s0).wrapping_add(schedule[i - 7]).wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for i in 0..64 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h
            .wrapping_add(s1)
            .wrapping_add(choice)
            .wrapping_add(ROUNDS[i])
            .wrapping_add(schedule[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let t2 = s0.wrapping_add(majority);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
    }
    for (to, from) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *to = to.wrapping_add(from);
    }
}

/// Heap sort of 512 words; a checksum that depends on their order.
pub(crate) fn sort(scratch: &mut Scratch, round: u32) -> u32 {
    let mut seed = u64::from(round);
    let words = &mut scratch.words;
    for word in words.iter_mut() {
        *word = next(&mut seed);
    }
    for root in (0..words.len() / 2).rev() {
        sink(words, root, 512);
    }
    for end in (1..words.len()).rev() {
        words.swap(0, end);
        sink(words, 0, end);
    }
    words.iter().fold(0, |sum: u32, word| sum.wrapping_mul(31).wrapping_add(*word))
}

fn sink(words: &mut [u32; 512], mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && words[child] < words[child + 1] {
            child += 1;
        }
        if words[root] >= words[child] {
            return;
        }
        words.swap(root, child);
        root = child;
    }
}

fn fill(bytes: &mut [u8], round: u32) {
    let mut seed = u64::from(round);
    for byte in bytes {
        *byte = next(&mut seed) as u8;
    }
}
