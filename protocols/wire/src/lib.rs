//! What nodes, gateway and registry say to each other.
#![no_std]

pub mod blob;
pub mod cbor;
pub mod clock;
pub mod content_format;
pub mod control;
pub mod cose;
pub mod credential;
pub mod digest;
pub mod discovery;
pub mod format;
pub mod id;
pub mod inventory;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod message;
pub mod paths;
pub mod plan;
pub mod problem;
pub mod roster;
pub mod schema;
pub mod snapshot;
pub mod text;
pub mod time;

pub use blob::BlobRef;
pub use cbor::{Decode, DecodeError, Encode, List, Overflow};
pub use credential::{Credential, PublicKey};
pub use digest::{Digest, DigestPrefix, Hasher};
pub use id::{Claim, Epoch, InstanceId, KeyId, NodeId, Revision, Seq};
pub use manifest::{Manifest, UnverifiedManifest};
pub use problem::{ErrorCode, Problem};
pub use roster::{Role, Roster};
pub use schema::{Payload, Schema, SchemaId, SchemaTag, Unit, Value};
pub use text::{Bytes, CapsuleName, CapsuleRef, CapsuleVersion, Name, Tag, Text, Topic};
pub use time::Instant;

/// The version of this vocabulary.
pub const VERSION: u8 = 1;
