//! See `capmesh_fuzz::targets::edhoc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::edhoc::run(data));
