//! Writes capsules in Rust.
//!
//! A capsule is a struct with handlers. What it is called and what it takes and gives stands in
//! `capsule.toml` beside `Cargo.toml` (every key of it is described in `capmesh-description`):
//!
//! ```
//! # // The files of this example are in the folder `example` of this crate.
//! use capmesh_sdk::prelude::*;
//!
//! // A type for each schema, and `inputs`, `outputs`, `config` and so on with what capsule.toml names.
//! capmesh_sdk::describe!("src/example/capsule.toml");
//!
//! /// Remembers the warmest reading and says when it changes.
//! pub struct Maximum {
//!     value: f32,
//! }
//!
//! #[capsule("src/example/capsule.toml")]
//! impl Maximum {
//!     const fn new() -> Self {
//!         Self { value: f32::NEG_INFINITY }
//!     }
//!
//!     #[on(reading)]
//!     fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
//!         if reading.value > self.value {
//!             self.value = reading.value;
//!             log!(info, "the warmest yet: {reading.value:.1}");
//!             outputs::WARMEST.publish(&reading)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // The same handlers on this machine, with a node that a test can watch.
//! use capmesh_sdk::testing::Harness;
//! # fn main() {
//! let mut node = Harness::<Maximum>::start();
//! let effects = node.send(inputs::READING, &Temperature { value: 21.5 });
//! assert_eq!(effects.published(outputs::WARMEST), [Temperature { value: 21.5 }]);
//! assert_eq!(effects.logs(), ["the warmest yet: 21.5"]);
//! assert!(node.send(inputs::READING, &Temperature { value: 20.0 }).is_empty());
//! # }
//! ```
//!
//! # Handlers
//! | attribute | called when | signature after `&mut self` |
//! |---|---|---|
//! | `#[start]` | a fresh instance begins, not after a restore | `()` |
//! | `#[on(input)]` | a message arrived; `#[on(a, b)]` for several inputs | `(message: T)` |
//! | `#[timer(timer)]` | a timer ran out | `()` |
//! | `#[event(source)]` | a digital input changed | `(value: f64)` |
//! | `#[request(service)]` | somebody asks a resource of the capsule | `(request: Request<T>) -> Result<R, Status>` |
//! | `#[reply(peer.service)]` | a request of the capsule is answered, or will not be | `(reply: Reply<R>)` |
//! | `#[run]` | a one-shot capsule runs | `(arguments: A) -> Result<R, Status>` |
//!
//! Handlers without `-> Result<R, Status>` return nothing or `Result<(), Errno>`; an error ends up in
//! the log. `const fn new() -> Self` is the state of a fresh instance. A name of `capsule.toml` is
//! written with `_` for `-`.
//!
//! # What always holds
//! - A handler runs to its end before the next one starts, and what it asks for (publishing, timers,
//!   requests, actuators) takes effect when it has ended. One that panics has no effect at all; the
//!   node starts the capsule anew from its last good state.
//! - The struct is the whole state. It moves with the capsule from node to node, so keep it small: a
//!   snapshot holds the bytes of it that changed.
//! - There is no allocator, no clock inside a handler and no I/O but what this crate offers.
//! - Nothing here formats text with `core::fmt`: a capsule stays at a few hundred bytes. [`log!`] has
//!   formatting of its own.
//!
//! # Where it runs
//! For `wasm32` this crate imports the contract `capmesh-capsule-abi`. Everywhere else its functions
//! talk to the node of [`testing`], so that `cargo test` runs handlers as they are.
#![cfg_attr(target_arch = "wasm32", no_std)]

// The macros name this crate, in its own examples and tests as well.
extern crate self as capmesh_sdk;

mod answer;
mod capsule;
mod channel;
pub mod log;
pub mod math;
mod record;
mod time;

#[cfg(not(target_arch = "wasm32"))]
mod simulated;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
use simulated as node;
#[cfg(target_arch = "wasm32")]
use wasm as node;

pub use answer::{Method, Reply, Request, RequestId, Status};
pub use capmesh_capsule_abi::Errno;
pub use capmesh_sdk_macros::{capsule, describe, log, schema};
pub use capsule::Capsule;
pub use channel::{
    Actuator, Config, ConfigValue, Input, Output, Resource, Sensor, Service, Source, Timer,
};
pub use record::{Bytes, Payload, Record, Text};
pub use time::{Time, now, random, time_uncertainty};

/// What a capsule needs in almost every case.
pub mod prelude {
    pub use crate::{
        Bytes, Errno, Method, Reply, Request, RequestId, Status, Text, Time, capsule, log, now,
    };
    pub use core::time::Duration;
}

/// What the code of the macros uses. No part of the interface.
#[doc(hidden)]
pub mod generated {
    pub use crate::answer::{Outcome, Pending, answer, reply, run};
    pub use crate::channel::message;
    #[cfg(target_arch = "wasm32")]
    pub use crate::node::State;
    pub use crate::record::{Field, get, put};
}
