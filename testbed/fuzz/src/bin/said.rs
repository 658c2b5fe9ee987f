//! See `capmesh_fuzz::targets::said`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::said::run(data));
