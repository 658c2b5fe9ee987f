//! A registry on the loopback, asked over HTTP.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod http;
mod leases;
mod pushing;
mod radio;
#[expect(dead_code, reason = "the store's tests use all of it")]
#[path = "../../../store/tests/suite/site.rs"]
mod site;
mod world;
