//! What a registry tells of the capsules that it holds.
//!
//! Manifests and modules are blobs, which are asked for by their digests. A tag, which people use, has
//! to be resolved first ([`paths::TAGS`](crate::paths::TAGS)).

use crate::cbor::macros::record;
use crate::digest::Digest;
use crate::id::Revision;

record! {
    /// What a tag stands for today.
    pub struct Resolved {
        /// The digest of the capsule's manifest.
        0 => capsule: Digest,
        /// How often the tag has been moved, the first time included: an answer with a greater number
        /// is a newer one.
        1 => revision: Revision,
    }
}
