//! Runs capsules on the `wasmi` interpreter.
//!
//! # Vocabulary
//! - [`Runtime`]: the interpreter's engine, shared by all instances of a node.
//! - [`Admitted`]: a module that passed admission: valid WebAssembly within the limits, importing and
//!   exporting only what the [contract](capmesh_capsule_abi) knows.
//! - [`Instance`]: a running capsule: its memory, its outbox and at most one handler in progress.
//! - *slice*: a stretch of execution that ends when the handler is done or its fuel is used up;
//!   [`Instance::run`] takes the fuel and says which.
//!
//! # Invariants
//! - A module is validated on the device before anything of it runs; nothing is taken from the
//!   compiler that made it.
//! - Each part of a module that costs more than its bytes has a bound ([`bounds`]), so that admission
//!   takes time and memory that grow with the module's length, and a slice of fuel ends in time.
//! - What a handler does stays in its outbox until it returns. After a trap the outbox holds log
//!   lines only and the instance can do nothing but be dropped.
//! - A snapshot is taken only of a quiescent instance: no handler running or suspended.
//! - Everything an instance may take is bounded by its [`Limits`]: linear memory, tables, call
//!   stack, outbox, fuel of one handler, length of an event.
//! - The same module, state, events and fuel budget give the same results on every machine,
//!   however the execution was sliced: NaNs are canonical, time stands still in a handler, random
//!   numbers come from a seeded generator, and translation is eager so that it costs no fuel.
//!
//! # Deliberately absent
//! Scheduling between instances, routing, schemas and timers (the node's core), compilation to
//! native code (it would have to be trusted), and snapshots of a handler in progress.

#![no_std]

extern crate alloc;

mod admit;
pub mod bounds;
mod capsule_host;
mod host;
mod instance;
mod outbox;
mod snapshot;
#[cfg(feature = "validate")]
mod validate;

pub use admit::{Admitted, Refusal};
pub use capmesh_node::host::{
    Busy, Effect, Event, Limits, Progress, RestoreError, SnapshotError, Surroundings, Trap,
};
pub use instance::Instance;
pub use outbox::Effects;

/// What every instance of a node has in common: the interpreter.
#[derive(Debug)]
pub struct Runtime {
    engine: wasmi::Engine,
}

impl Runtime {
    /// The deepest that calls inside a capsule may nest.
    pub const MAX_CALL_DEPTH: usize = 64;

    /// The most bytes of operands and locals that a capsule's calls may have on the interpreter's
    /// stack.
    pub const MAX_STACK_BYTES: usize = 16 * 1024;

    /// Whether modules are translated as for microcontrollers (feature `small`): to less code, which
    /// runs slower.
    pub const IS_SMALL: bool = cfg!(feature = "small");

    /// Sets up the interpreter.
    #[must_use]
    pub fn new() -> Self {
        let mut config = wasmi::Config::default();
        config
            .consume_fuel(true)
            .compilation_mode(wasmi::CompilationMode::Eager)
            .ignore_custom_sections(true)
            .allow_start_fn(false)
            .set_min_stack_height(256)
            .set_max_stack_height(Self::MAX_STACK_BYTES)
            .set_max_recursion_depth(Self::MAX_CALL_DEPTH)
            .set_max_cached_stacks(1);
        Self { engine: wasmi::Engine::new(&config) }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}
