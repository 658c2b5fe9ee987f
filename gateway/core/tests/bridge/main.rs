//! The bridge between nodes that play their part and a broker that is a list, in virtual time: loss,
//! crashes, back-pressure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod broker;
mod streams;
mod world;
