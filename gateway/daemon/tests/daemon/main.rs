//! The daemon and its parts, with programs of other makers on the other side.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

#[cfg(feature = "broker")]
mod broker;
mod common;
mod http;
mod mosquitto;
#[cfg(feature = "broker")]
mod process;
#[cfg(feature = "broker")]
mod site;
mod tls;
