//! Fuzz targets for everything that takes bytes from a network or a file.
//!
//! Each target is a function of the bytes in a module of [`targets`], so that a finding runs as an
//! ordinary test too (`tests/regressions.rs`), and a binary of the same name that gives it to
//! libFuzzer. `cargo xtask fuzz` builds and runs them.
//!
//! The targets that drive a state machine read their input as a program: operations and their
//! arguments, drawn from a [`Feed`]. What the machine under test would only do after a handshake it
//! does here too, because the other side of it is the real one, and only what is in flight or inside
//! the protection is fuzzed.

mod feed;
mod pair;
pub mod targets;

pub use feed::Feed;
