//! The gateway on Linux: UDP, MQTT, SQLite and HTTP around [`capmesh_gateway`].
//!
//! [`start`] runs one on the tokio runtime that it is called on; the program `capmesh-gatewayd` does
//! nothing more than to call it and to wait for SIGTERM ([`command`]).
//!
//! ```text
//! nodes --UDP--> engine (a thread: Gateway) --commits--> storage (a thread: SQLite)
//!                  ^                    |                     |
//!     HTTP: calls -+  events -> SSE <---+---latest---> pump <-+ outbox
//!                  |                                    |
//!                  +------------ from the broker -------+---> MQTT broker (inside, or another one)
//! ```
//!
//! # Parts
//! - [`config`]: what it is told; [`start`], [`Failure`]: how it begins, or why it does not.
//! - [`storage`]: the state and the outbox, durable.
//! - [`mqtt`]: the way to a broker; [`broker`]: one inside.
//! - [`http`], [`calls`], [`events`]: the page and the API.
//!
//! # Invariants
//! - The thread of the gateway never waits for a disk, a broker or a person.
//! - A kill at any moment loses nothing that was committed: the outbox is part of the commit.
//! - It listens to other machines only where it asks them who they are: nodes by EDHOC, callers of the
//!   API by a token, clients of the broker by a password.
//!
//! # Deliberately absent
//! TLS for the API and for the broker inside: a proxy in front of them does that, and external brokers
//! are reached with it.

#[cfg(feature = "broker")]
pub mod broker;
pub mod calls;
pub mod command;
pub mod config;
mod engine;
pub mod events;
mod failure;
pub mod http;
mod metrics;
pub mod mqtt;
mod site;
mod socket;
mod sqlite;
mod start;
pub mod storage;

pub use config::{Config, ConfigError};
pub use failure::{Failure, SiteError, What};
pub use sqlite::SchemaError;
pub use start::{Addresses, Handle, start};
