//! Blobs over CoAP.
//!
//! `capmesh-blob` knows no CoAP and `capmesh-coap` no blobs; nodes, gateways and registries, which may
//! not use each other, all need both together. This crate is that seam and nothing else: what the
//! requests and responses look like is in [`capmesh_blob::mapping`].
//!
//! - [`BlobResource`] serves: a [`Resource`](capmesh_coap::server::Resource) to be mounted below
//!   [`PREFIX`](capmesh_blob::mapping::PREFIX).
//! - [`said`]: blobs that are said to all on a link at once.
//! - [`Fetcher`] fetches: a [`Fetch`](capmesh_blob::Fetch) whose requests go out through an endpoint.
//!
//! Both work with whatever security the endpoint has. Peers are what it says they are: with
//! sessions, members of the roster.
#![no_std]

#[cfg(test)]
extern crate std;

mod fetcher;
mod resource;
pub mod said;

pub use fetcher::{Fetcher, Step, Unfetched};
pub use resource::BlobResource;
