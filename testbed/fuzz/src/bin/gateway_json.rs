//! See `capmesh_fuzz::targets::gateway_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::gateway_json::run(data));
