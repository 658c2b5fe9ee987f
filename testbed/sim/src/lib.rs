//! A whole mesh in virtual time: nodes with the real runtime and flash that tears, the real gateway with a
//! database that commits late or not at all, a registry, and a network between them. Everything repeats
//! from a seed.
//!
//! - [`World`]: all of it, and time.
//! - [`net`]: links of several kinds, who hears whom, and what goes wrong between them.
//! - [`Machine`]: a node, its flash, its clock, and what it has done to the world. [`SimHost`] runs its
//!   capsules: modules on the real interpreter, and [`Script`]s for volume.
//! - [`Gate`]: the gateway, what it has made durable, and its line to a broker.
//! - [`Registry`]: who has the capsules.
//! - [`capsules`]: what runs in tests; [`scenario`]: what they begin with.
//! - [`event`]: what can be seen; [`checkers`]: what has to hold, whatever happens.
//! - [`script`]: what happens to a mesh, drawn from a seed; [`run`]: whole runs, and the smallest part of one
//!   that still fails.
//! - [`matrix`], [`rollout`]: what is measured: moves under every fault at every step, and how soon something
//!   comes to all.
//!
//! # Words
//! - *host*: whoever has an address, by number ([`Host`]): nodes from 1, others above 60,000.
//! - *touched*: a host to which something has happened, and which is polled before time goes on.
//! - *world's time*, *local time*: what events are ordered by; what a core is told ([`Clock`]).
//! - *settled*: a world whose nodes have been on the roster for long ([`World::settled`]).
//!
//! # Invariants
//! - The same seed gives the same events in the same order ([`Fingerprint`]): there is no other clock, no
//!   other chance, and no order that depends on addresses in memory.
//! - Whoever has chance has it alone: each host and each pair of hosts draws from a stream of its own
//!   ([`Dice::fork`]), so that one more draw in one place shuffles nothing elsewhere.
//! - Events happen by `(at, seq)`. A step polls those who were touched and nobody else.
//! - A crash keeps what flash held, and a part of the write that was under way; of the gateway, its last
//!   commit and its outbox.
//!
//! # What is absent
//! The registry's own core (this one serves the same resources from memory), a broker's sessions, and the
//! time that a handler takes: fuel is counted, and slices take no time but what a node's budget says.
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
pub mod matrix;
pub mod net;
mod registry;
pub mod rollout;
pub mod run;
pub mod scenario;
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
