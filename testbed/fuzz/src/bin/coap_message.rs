//! See `capmesh_fuzz::targets::coap_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capmesh_fuzz::targets::coap_message::run(data));
