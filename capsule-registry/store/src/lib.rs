//! Where a registry keeps capsules: bytes by their digests, what their publishers have signed, and the
//! tags that people know them by.
//!
//! # Words
//! - A *blob* is bytes named by their SHA-256. Blobs come first ([`Store::put_blob`]) and count for
//!   nothing until a capsule refers to them.
//! - A *document* describes a capsule to tools: an OCI image manifest, kept byte for byte. This crate
//!   does not read it.
//! - A capsule is *pushed* ([`Store::push`]) when its manifest, its module and its document are
//!   there, and *admitted* or refused then ([`Refusal`]).
//! - A *tag* (`city/clean:1`) stands for one capsule at a time; each time it moves, its revision
//!   rises, and what it stood for before stays in its history.
//! - A *lease* keeps a capsule that no tag stands for any more, for somebody who runs it.
//!
//! # What is admitted
//! A manifest whose signature is that of a publisher on the site's roster, which has the name that it
//! is pushed under, and which is not older than the newest of its name that was ever admitted; a
//! module with the size, the digest and the tree of pages that the manifest says; and whatever the
//! [`Checker`] finds nothing wrong with. A tag is not moved back to an older sequence number either.
//!
//! # Invariants
//! - Every change is one transaction of the [`Backend`]: a power cut leaves the state before it or
//!   behind it.
//! - Only admitted manifests and modules are given to nodes ([`capmesh_blob::Store`]).
//! - What a tag or a lease refers to is not collected, and neither is what came less than the grace
//!   time ago.
//! - Both backends behave alike; tests compare them.
//!
//! # Bounds
//! See [`bounds`]. What is over them is refused with the bound's name; nothing is thrown away for it.
//!
//! # Deliberately absent
//! Clocks (`now`, in seconds since 1970, is an argument), keys, transport, OCI's documents.

mod admit;
mod backend;
pub mod bounds;
mod collect;
mod memory;
mod records;
mod refusal;
mod serve;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use admit::{Basic, Checker, Push, Pushed, Trust};
pub use backend::{Backend, Change, Fault, Record, Table};
pub use collect::Collected;
pub use memory::Memory;
pub use records::{Capsule, Tagged};
pub use refusal::Refusal;
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use store::{Store, Usage};
