//! The gateway of a capsule mesh as a state machine: no sockets, clocks, threads, files or random
//! sources.
//!
//! It keeps the site's roster, knows what its nodes have and how they are, decides what runs where, has
//! nodes do it, moves capsules between them, and carries messages between the mesh and MQTT.
//!
//! # How it is driven
//! - Everything that happens is an [`Input`]; what is to be done is an [`Output`].
//! - What has to survive is key/value state ([`store`]). It leaves in [`Commit`]s, each of which the shell
//!   makes durable as a whole and then answers with [`Input::Committed`]. A crash at any moment is a
//!   gateway that is dropped, and a new one made of what was durable.
//!
//! # Modules
//! - [`api`]: what people and programs say to it, and what it says to them, as JSON.
//! - [`endpoint`]: sessions with everybody on the roster.
//! - [`bridge`]: streams between the mesh and MQTT, and what the broker's clients see.
//! - [`io`]: what it takes and gives.
//! - [`pipeline`]: what a person writes; [`catalog`]: whether it fits its capsules; [`plan`]: who is to
//!   run what, and who talks to whom.
//! - [`rows`]: what runs where.
//! - [`store`]: the state that survives, and its transactions.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod api;
pub mod bridge;
pub mod catalog;
pub mod endpoint;
pub mod io;
pub mod pipeline;
pub mod plan;
pub mod rows;
pub mod store;

pub use io::{Change, Commit, Failed, Input, Output, Publication, RequestId, Token};
pub use rows::{Row, Rows};
pub use store::{Key, Table};
