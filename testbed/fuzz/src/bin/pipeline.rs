//! See `capmesh_fuzz::targets::pipeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::pipeline::run(data));
