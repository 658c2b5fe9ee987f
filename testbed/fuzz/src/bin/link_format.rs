//! See `capmesh_fuzz::targets::link_format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::link_format::run(data));
