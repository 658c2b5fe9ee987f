//! See `capmesh_fuzz::targets::oscore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::oscore::run(data));
