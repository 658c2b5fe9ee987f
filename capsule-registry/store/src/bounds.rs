//! Every bound of a store, with its reason.

use capmesh_wire::limits;

/// Bytes of one blob: what a node may be asked to take. Documents and manifests are shorter.
pub const BLOB: usize = limits::BLOB as usize;

/// Bytes of a document: an OCI manifest of two layers takes 800 bytes, and tools add annotations.
pub const DOCUMENT: usize = 64 * 1_024;

/// Blobs that a document refers to: manifest, module, and what tools put beside them.
pub const REFERENCES: usize = 8;

/// Blobs altogether, so that small ones cannot make the index grow without end.
pub const BLOBS: usize = 65_536;

/// Names of capsules.
pub const NAMES: usize = 4_096;

/// Tags of one name.
pub const TAGS: usize = 256;

/// What is remembered of where a tag has stood.
pub const HISTORY: usize = 32;

/// Leases.
pub const LEASES: usize = 4_096;

/// Bytes that all blobs and their pages take, unless the owner says otherwise.
pub const QUOTA: u64 = 1 << 30;

/// The longest text of a [`Checker`](crate::Checker)'s reason that is passed on, in bytes.
pub const REASON: usize = 1_024;
