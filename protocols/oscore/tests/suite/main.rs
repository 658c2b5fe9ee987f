//! OSCORE through its public interface.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod common;
mod errors;
mod options;
mod properties;
mod restart;
mod rfc8613;
