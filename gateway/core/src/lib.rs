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
//! - [`Gateway`]: all of it together, and [`Config`].
//! - [`api`]: what people and programs say to it, and what it says to them, as JSON.
//! - [`bridge`]: streams to and from MQTT.
//! - [`endpoint`]: sessions with everybody on the roster.
//! - [`io`]: what it takes and gives.
//! - [`nodes`]: where nodes are, what they have, how they are.
//! - [`pipeline`]: what a person writes; [`catalog`]: whether it fits its capsules; [`plan`]: who is to
//!   run what, and who talks to whom.
//! - [`rows`]: what runs where.
//! - [`store`]: the state that survives, and its transactions.
//!
//! # Invariants
//! - Nothing is said to a node that a crash of the gateway could take back: rosters, owners, epochs and
//!   revisions are durable before they leave.
//! - An instance has one owner. The owner changes in one commit; an epoch that was given out is never given
//!   out again.
//! - Everything that is said to a node may be said twice.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod api;
mod asks;
pub mod bridge;
pub mod catalog;
mod checkpoints;
pub mod endpoint;
mod gateway;
pub mod io;
pub mod members;
mod migrate;
pub mod nodes;
mod offers;
pub mod pipeline;
pub mod plan;
mod reconcile;
pub mod rows;
pub mod store;

pub use gateway::{Config, EVENTS, Gateway, Keys, OUTPUTS, REQUESTS};
pub use io::{Change, Commit, Failed, Input, Output, Publication, RequestId, Token};
pub use nodes::Liveness;
pub use rows::{Row, Rows};
pub use store::{Key, Table};
