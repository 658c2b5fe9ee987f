//! The node of a capsule mesh as a state machine: no sockets, clocks, threads or random sources.
//!
//! # Modules
//! - [`Node`]: all of it together; [`Config`], [`Input`] and [`Output`] are what it takes and gives.
//! - [`config`]: budgets, bounds and patience.
//! - [`clock`]: what time it is.
//! - [`discovery`]: who is near, and who has newer documents.
//! - [`flash`]: state that survives power cuts, in NOR flash that is lent for reading and changed by
//!   one operation at a time.
//! - [`download`]: a blob on its way here.
//! - [`host`]: what runs capsules, as the node sees it.
//! - [`install`]: capsules come, are held, are given to others, and go.
//! - [`problem`]: reasons, and how they travel.
//! - [`router`]: messages between instances, here and across the mesh.
//! - [`site`]: what the node knows of the site that it belongs to.
//! - [`trace`]: what a node does, told to those who check it.
//!
//! # Invariants
//! - Everything that comes in may be wrong or hostile: nothing panics, grows past its named bound,
//!   or works longer than its documentation says.
//! - A crash at any moment is a value that is dropped; what flash holds then is enough to go on.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod clock;
pub mod config;
pub mod discovery;
pub mod download;
pub mod flash;
pub mod host;
pub mod install;
mod instances;
mod io;
mod log;
mod migrate;
mod node;
pub mod problem;
pub mod router;
pub mod site;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
#[cfg(test)]
mod testing;
pub mod trace;

pub use config::Config;
pub use io::{Input, Output};
pub use node::{Boot, Node};
