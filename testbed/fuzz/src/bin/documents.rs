//! See `capmesh_fuzz::targets::documents`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::documents::run(data));
