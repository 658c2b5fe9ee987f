//! The gateway on Linux.
#[cfg(feature = "broker")]
pub mod broker;
pub mod calls;
pub mod config;
pub mod events;
pub mod http;
mod metrics;
pub mod mqtt;
mod sqlite;
pub mod storage;

pub use sqlite::SchemaError;
