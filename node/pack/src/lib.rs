//! Builds, checks, measures and signs capsules.
//!
//! # From source to bundle
//! ```text
//! capsule.toml ---------> Description --------------------------------+
//! source --[build]--> module --[module::pack]--> Packed               |
//!                                  |                                  |
//!                                  +--[forecast::measure]--> Forecast |
//!                                  |                             |    |
//!                                  +--------[seal::seal]---------+----+--> Sealed: the bundle
//! ```
//!
//! - [`build`] runs the compiler, and [`assemble`] all steps in a row.
//! - [`module`] makes what a compiler wrote into what a node takes, and has the real runtime say so.
//! - [`forecast`] runs it to find out what it needs.
//! - [`seal`] writes and signs the manifest and puts everything into one file; it also reads one.
//! - [`rehearsal`] runs a capsule on its own, for measuring and for trying it out; [`load`] makes up
//!   what it is measured under, [`script`] reads it from lines of JSON, [`codec`] translates messages.
//! - [`reading`] makes a description of a manifest.
//! - [`meter`] counts what is allocated.
//! - [`cli`] is all of it as commands, for `capmesh-capsule` and for `capmesh capsule`.
//!
//! # Invariants
//! - What packs is admitted by the runtime of this version, with its own reasons if not.
//! - The same module, description and key give the same bundle, byte for byte, except for the RAM
//!   that is counted, which depends on the version of the runtime.
//! - A private key is never printed and never overwritten.
//!
//! # Deliberately absent
//! Talking to nodes (any CoAP client does), registries, and optimising Wasm beyond what the compiler
//! does.

pub mod assemble;
pub mod build;
pub mod cli;
pub mod codec;
pub mod forecast;
pub mod load;
pub mod meter;
pub mod module;
pub mod reading;
pub mod rehearsal;
pub mod script;
pub mod seal;
