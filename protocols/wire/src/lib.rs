//! What nodes, gateway and registry say to each other: the words of the mesh, and their encoding.
//!
//! # Vocabulary
//! | about | types | where on a peer |
//! |---|---|---|
//! | identity | [`NodeId`], [`Claim`], [`PublicKey`], [`Credential`] | [`paths::CREDENTIAL`] |
//! | trust | [`Roster`], [`roster::Delta`], [`Role`], [`cose::Sign1`] | [`paths::ROSTER`] |
//! | bytes | [`Digest`], [`BlobRef`], [`discovery::PieceRequest`], [`discovery::Have`] | [`paths::BLOBS`] |
//! | bytes to all on a link | [`said::Part`], [`said::Ask`] | [`paths::SAID`] |
//! | capsules | [`Manifest`], [`manifest::Capsule`], [`CapsuleRef`] | as a blob |
//! | capsules as files | [`bundle::BundleReader`], [`bundle::Pieces`] | [`paths::CAPSULES`] |
//! | tags | [`registry::Resolved`] | [`paths::TAGS`] |
//! | data | [`Schema`], [`Unit`], [`Payload`], [`message::Batch`], [`message::Ack`] | [`paths::INBOX`], [`paths::TOPICS`] |
//! | nodes | [`inventory::Inventory`], [`inventory::Status`], [`inventory::CapsuleStatus`], [`log::LogLine`] | [`paths::INVENTORY`], [`paths::STATUS`], [`paths::LOG`] |
//! | plans | [`plan::Plan`], [`plan::Assignment`] | [`paths::PLAN`] |
//! | commands | [`control::Command`], [`control::Reply`] | [`paths::CONTROL`] |
//! | state | [`snapshot::Snapshot`] | as a blob |
//! | time | [`clock::Timestamp`], [`clock::Clock`], [`clock::TimeReply`]; [`Instant`] is local | [`paths::TIME`] |
//! | finding each other | [`discovery::Announce`] | [`paths::ANNOUNCE`] |
//! | refusals | [`Problem`], [`ErrorCode`] | every error response |
//!
//! Counters: an [`Epoch`] fences an instance, a [`Seq`] numbers the messages of a stream, a
//! [`Revision`] tells two documents apart. `wire.cddl` beside this crate's `Cargo.toml` describes
//! every encoding.
//!
//! # Encoding
//! Deterministic CBOR, one encoding for one value; the rules are in [`cbor`]. Types that are read
//! borrow from what they were read from: decoding needs no allocation, and a list is decoded item by
//! item as it is iterated over. Every length and count has a bound in [`limits`].
//!
//! # Trust
//! Parsing says nothing about who wrote something. What is signed is therefore parsed as
//! `Unverified...`, whose `verify` gives the type that may be acted on: the site signs rosters
//! ([`roster::UnverifiedRoster`]), a publisher signs manifests ([`UnverifiedManifest`]), a gateway
//! signs plans ([`plan::UnverifiedPlan`]). `from_trusted` is for what was verified before it was
//! stored. Everything else is said in a session and is as trustworthy as its peer.
//!
//! # Versions
//! Numbers are never used twice. Within a version, records, tuples and tables of codes grow at their
//! end and nowhere else; readers skip fields that they do not know and keep unknown codes as
//! `Unknown`, which each type's documentation says how to take. A change that older readers may not
//! overlook gets another number in [`format`], or another [`VERSION`]. The bytes of
//! `tests/golden/v1` are version 1 and are never edited.
//!
//! # Features
//! `es256`: signing and verifying, with the curve arithmetic of `p256`. Without it everything can be
//! read and nothing verified, which is what a peer needs whose signatures are checked elsewhere.
//!
//! # Deliberately absent
//! - Transport: CoAP options, sessions and retransmission. `coap`, `oscore` and `session` carry this.
//! - Storage: how a node lays out its flash is nobody else's business.
//! - JSON: the gateway translates at its edge, with the schemas.
//! - Names of people, roles within roles, chains of certificates: a site has one key and one list.
//! - Other algorithms than SHA-256 and ES256. A successor takes new numbers.
#![no_std]

pub mod blob;
pub mod bundle;
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
pub mod registry;
pub mod roster;
pub mod said;
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
