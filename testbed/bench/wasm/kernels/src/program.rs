//! A program as a capsule.

use crate::{Kernel, Scratch, module::Static, numbers, repeat, signals};

static SCRATCH: Static<Scratch> = Static::new(Scratch::new());
static CHECKSUM: Static<u32> = Static::new(0);

const KERNEL: Option<Kernel> = if cfg!(feature = "fib") {
    Some(numbers::fib)
} else if cfg!(feature = "crc32") {
    Some(numbers::crc32)
} else if cfg!(feature = "sha256") {
    Some(numbers::sha256)
} else if cfg!(feature = "sort") {
    Some(numbers::sort)
} else if cfg!(feature = "fft") {
    Some(signals::fft)
} else if cfg!(feature = "biquad") {
    Some(signals::biquad)
} else {
    None
};

#[link(wasm_import_module = "capmesh1")]
unsafe extern "C" {
    fn actuate(actuator: u32, value: f64) -> i32;
}

/// Runs the program so many times; shows the checksum over all rounds so far as an actuator's value.
#[unsafe(no_mangle)]
extern "C" fn timer(rounds: u32) {
    let Some(kernel) = KERNEL else { return };
    // SAFETY: once in this handler.
    let (scratch, checksum) = unsafe { (SCRATCH.get(), CHECKSUM.get()) };
    *checksum = repeat(kernel, scratch, rounds, *checksum);
    // SAFETY: the contract's function takes numbers only.
    unsafe { actuate(0, f64::from(*checksum)) };
}
