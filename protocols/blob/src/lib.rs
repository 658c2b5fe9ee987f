//! Content-addressed transfer: bytes that are named by their digest go from those who have them to
//! those who want them, verified piece by piece, resumable, from several peers at once.
//!
//! # Vocabulary
//! A **blob** is bytes named by a digest. It is cut into **chunks**; the digests of the chunks lie
//! in **pages**; chunks and pages are **pieces** ([`geometry`]). A **document** is a blob of one
//! piece of which only the digest is known, such as a signed manifest. A piece that needs more than
//! one datagram arrives in **parts**. The pieces a peer has are its **holdings**. A peer that lacks
//! something may get it later; one for whom the blob is **gone** is not asked again.
//!
//! # The two sides
//! - [`Fetch`] wants a blob: the manifest first (a [`Fetch::document`]), then its pages from the top
//!   down, then its chunks in any order.
//! - [`Serve`] has blobs, or parts of them, and answers.
//!
//! Both are free of I/O: requests, answers, flash reads and writes, and time are inputs and outputs.
//! [`mapping`] says how they travel over CoAP, without depending on a CoAP implementation.
//!
//! # Invariants
//! - Nothing is given out to be written whose digest has not been verified in RAM.
//! - [`Output::Done`] is said only after the digest of the whole has been computed over what storage
//!   gives back.
//! - Every transfer ends: each wait has a time limit, and without progress for
//!   [`Config::give_up`] it fails.
//! - No input of a peer makes it allocate, panic, or hash more than the bytes that were just
//!   received or one piece.
//!
//! # Deliberately absent
//! Who may fetch what (roles are the session's and the node's), choice of flash regions, erasing,
//! compression, and asking two peers for the same piece at once: a peer that holds up the last piece
//! costs one [`Config::request_timeout`].
#![no_std]

#[cfg(test)]
#[macro_use]
extern crate std;

pub mod bitmap;
pub mod fetch;
pub mod geometry;
pub mod mapping;
pub mod pages;
pub mod serve;
#[cfg(test)]
mod testing;

pub use bitmap::Bitmap;
pub use fetch::{Config, Failure, Fetch, Input, Output};
pub use geometry::Geometry;
pub use pages::{LayOutError, Pages, lay_out};
pub use serve::{Answer, Serve, Store};
