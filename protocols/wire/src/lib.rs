//! What nodes, gateway and registry say to each other.
#![no_std]

pub mod blob;
pub mod cbor;
pub mod content_format;
pub mod cose;
pub mod credential;
pub mod digest;
pub mod format;
pub mod id;
pub mod limits;
pub mod manifest;
pub mod roster;
pub mod schema;
pub mod text;
pub mod time;

pub use blob::BlobRef;
pub use cbor::{Decode, DecodeError, Encode, List, Overflow};
pub use credential::{Credential, PublicKey};
pub use digest::{Digest, DigestPrefix, Hasher};
pub use id::{Claim, Epoch, InstanceId, KeyId, NodeId, Revision, Seq};
pub use manifest::{Manifest, UnverifiedManifest};
pub use roster::{Role, Roster};
pub use schema::{Payload, Schema, SchemaId, SchemaTag, Unit, Value};
pub use text::{Bytes, CapsuleName, CapsuleRef, CapsuleVersion, Name, Tag, Text, Topic};
pub use time::Instant;
