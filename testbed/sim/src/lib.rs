//! A whole mesh in virtual time: nodes with the real runtime and flash that tears, the real gateway with a
//! database that commits late or not at all, a registry, and a network between them. Everything repeats
//! from a seed.
//!
//! - [`World`]: all of it, and time.
//! - [`Machine`]: a node, its flash, and what it has done to the world.
//! - [`Gate`]: the gateway, and what it has made durable.
//! - [`Registry`]: who has the capsules.
//! - [`capsules`]: what runs in tests.
//! - [`event`]: what can be seen; [`checkers`]: what has to hold, whatever happens.
//!
//! Where something is not as it must be, this panics: it is used by tests only.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a test's world")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a test's world")]
#![allow(clippy::missing_panics_doc, reason = "said above")]

pub mod capsules;
pub mod checkers;
mod clock;
pub mod event;
mod gate;
mod host;
mod machine;
pub mod net;
mod registry;
pub mod run;
pub mod script;
mod site;
mod world;

pub use clock::Clock;
pub use event::{Event, Fingerprint};
pub use gate::{Doom, Gate};
pub use host::{HostFault, Script, SimHost};
pub use machine::Machine;
pub use net::Net;
pub use registry::Registry;
pub use site::{
    Dice, GATEWAY, OPERATOR, PUBLISHER, REGISTRY, SITE, address, claim, host_of, key, node_id,
};
pub use world::{FlashTimes, World};

/// The number of a host: nodes from 1, others above 60,000.
pub type Host = u16;
