//! What nodes, gateway and registry say to each other.
#![no_std]

pub mod time;

pub use time::Instant;
