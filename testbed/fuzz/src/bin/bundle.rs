//! See `capmesh_fuzz::targets::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::bundle::run(data));
