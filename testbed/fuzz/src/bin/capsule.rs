//! See `capmesh_fuzz::targets::capsule`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::capsule::run(data));
