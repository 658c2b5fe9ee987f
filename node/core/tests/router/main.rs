//! Routers on machines of a world in virtual time: links lose, duplicate and reorder, machines crash
//! at any step and come up from their last commit, instances trap and move.
//!
//! `ROUTER_SEEDS` says how many worlds each test tries; a failure names the seed.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod every;
mod latest;
mod plan;
mod requests;
mod world;
