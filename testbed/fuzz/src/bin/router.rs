//! See `capmesh_fuzz::targets::router`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::router::run(data));
