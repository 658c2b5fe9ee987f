//! See `capmesh_fuzz::targets::flash`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::flash::run(data));
