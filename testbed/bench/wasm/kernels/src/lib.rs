//! Small programs that Wasm engines are compared with. The host calls the same functions natively;
//! built for wasm32, with one feature each, they are modules that keep the contract of capsules: the
//! handler `timer` runs the program so many times and shows a checksum.
//!
//! All state is in [`Scratch`], so that no module needs a stack of its own in linear memory.
//!
//! `../modules` was built by rustc 1.96 for `wasm32v1-none` with `cargo rustc --crate-type cdylib
//! --release --features <program>` and the link arguments `--no-entry -zstack-size=1024 --strip-all`,
//! for `../modules/small` with `--page-size=1` too (and `average` with the profile `small`); then the
//! stack pointer was exported as `$g0`, as the packer does.
//!
//! The feature `average` makes a capsule instead, small as the usual ones are, to measure what one
//! costs.
#![no_std]

#[cfg(all(target_arch = "wasm32", feature = "average"))]
mod average;
#[cfg(target_arch = "wasm32")]
mod module;
mod numbers;
#[cfg(all(target_arch = "wasm32", not(feature = "average")))]
mod program;
mod signals;

/// A program: it works on the scratch memory and returns a checksum. The number makes each round
/// another one.
pub type Kernel = fn(&mut Scratch, u32) -> u32;

/// The programs by the names of the features that make modules of them.
pub const ALL: [(&str, Kernel); 6] = [
    ("fib", numbers::fib),
    ("crc32", numbers::crc32),
    ("sha256", numbers::sha256),
    ("sort", numbers::sort),
    ("fft", signals::fft),
    ("biquad", signals::biquad),
];

/// Runs a program so many times; `sum` is the checksum over the rounds before.
pub fn repeat(kernel: Kernel, scratch: &mut Scratch, rounds: u32, sum: u32) -> u32 {
    (0..rounds).fold(sum, |sum, round| sum.wrapping_mul(31).wrapping_add(kernel(scratch, round)))
}

/// What the programs work on.
pub struct Scratch {
    /// Bytes to be hashed.
    pub bytes: [u8; 1024],
    /// Words to be sorted, tables, the message schedule.
    pub words: [u32; 512],
    /// Samples, and their imaginary parts.
    pub reals: [f32; 256],
    /// See `reals`.
    pub imaginaries: [f32; 256],
    /// Sines of a quarter and a half of the circle.
    pub sines: [f32; 256],
}

impl Scratch {
    /// Scratch memory as a fresh module has it.
    pub const fn new() -> Self {
        Self {
            bytes: [0; 1024],
            words: [0; 512],
            reals: [0.0; 256],
            imaginaries: [0.0; 256],
            sines: [0.0; 256],
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A linear congruential generator's next number (Knuth's MMIX): the programs' input.
pub(crate) fn next(seed: &mut u64) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as u32
}
