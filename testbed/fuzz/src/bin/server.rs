//! See `capmesh_fuzz::targets::server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::server::run(data));
