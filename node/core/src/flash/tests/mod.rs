//! The store against a model of what it promises.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod cuts;
mod extents;
mod faults;
mod log;
mod mount;
mod world;
