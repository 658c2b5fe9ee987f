//! See `capmesh_fuzz::targets::endpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::endpoint::run(data));
