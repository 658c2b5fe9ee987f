//! The registry of a site: where its capsules are.
//!
//! - [`core`] is what nodes and gateways meet, over CoAP with OSCORE: a member of the roster that serves
//!   manifests and modules piece by piece, and says what tags stand for. It is a state machine without
//!   I/O.
//! - The same capsules are served to people's tools by the OCI distribution API over HTTP ([`oci`] says
//!   what a capsule looks like there), where they are pushed, too. What is pushed is admitted by the
//!   rules of [`capmesh_registry_store`], whoever brings it.
//! - [`start`] puts both on sockets, for a process that has a tokio runtime. [`client`] is the other side
//!   of the HTTP API.
//!
//! # Who may do what
//! Reading over CoAP is for members of the site; reading over HTTP is for whoever reaches the address,
//! which is the loopback unless told otherwise. Pushing is for whoever reaches the loopback or knows the
//! [token](Config::token), and for what a publisher of the site has signed.
//!
//! # Deliberately absent
//! TLS (a proxy in front does that), OCI's referrers and cross-repository mounts between registries,
//! deleting blobs (they are collected), and fetching from other registries.

pub mod client;
pub mod command;
pub mod core;
mod http;
pub mod oci;
mod radio;
mod run;
mod shared;

pub use run::{Config, Handle, StartError, start};
