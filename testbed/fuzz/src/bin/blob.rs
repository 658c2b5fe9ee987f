//! See `capmesh_fuzz::targets::blob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::blob::run(data));
