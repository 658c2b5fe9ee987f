//! What the plug tests share. Each test file uses its part of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, compiled into several of them, each of which uses a part"
)]

pub mod site;
pub mod world;
