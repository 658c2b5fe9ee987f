//! Why something is not taken.

use crate::backend::Fault;
use capmesh_blob::LayOutError;
use capmesh_wire::text::InvalidName;
use capmesh_wire::{DecodeError, Digest, KeyId};
use std::fmt;

/// Why something is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A manifest that is none.
    Malformed(DecodeError),
    /// Nobody on the roster has this key.
    UnknownPublisher(KeyId),
    /// Somebody on the roster who is not a publisher, or not any more.
    NotPublisher(KeyId),
    /// The signature is not the publisher's.
    Signature(KeyId),
    /// The manifest has another name than that which it is pushed under.
    Name {
        /// The name that is signed.
        signed: String,
        /// The name that it was pushed under.
        asked: String,
    },
    /// It is older than what was there before.
    RolledBack {
        /// Its sequence number.
        sequence: u64,
        /// The one that it would have to have at least.
        newest: u64,
    },
    /// A name or tag that breaks the grammar.
    Grammar(InvalidName),
    /// A blob that is referred to and is not here.
    Missing(Digest),
    /// The module has another size than the manifest says.
    ModuleSize {
        /// Its size.
        found: usize,
        /// What the manifest says.
        signed: u32,
    },
    /// The module is not the one that the manifest names.
    ModuleDigest {
        /// Its digest.
        found: Digest,
        /// What the manifest says.
        signed: Digest,
    },
    /// The module's pages have another digest than the manifest says.
    Root,
    /// The module cannot be cut as the manifest says.
    Chunks(LayOutError),
    /// The same module is here in pieces of another length.
    CutOtherwise {
        /// The length of the pieces that it is held in, as a power of two.
        held: u8,
    },
    /// What the [`Checker`](crate::Checker) found.
    Check(String),
    /// There are more bytes than there may be.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// Bytes.
        size: usize,
        /// Bytes, at most.
        most: usize,
    },
    /// There are as many as there may be.
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// The store has not as much room.
    Quota {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// The store has failed.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<InvalidName> for Refusal {
    fn from(error: InvalidName) -> Self {
        Self::Grammar(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the manifest is none: {error}"),
            Self::UnknownPublisher(id) => {
                write!(f, "it is signed by {id}, who is not on the site's roster")
            }
            Self::NotPublisher(id) => {
                write!(f, "it is signed by {id}, who is not a publisher of the site now")
            }
            Self::Signature(id) => write!(f, "the signature is not that of publisher {id}"),
            Self::Name { signed, asked } => {
                write!(f, "the manifest is that of `{signed}` and was pushed as `{asked}`")
            }
            Self::RolledBack { sequence, newest } => write!(
                f,
                "its sequence number {sequence} is lower than {newest}, which was here before; \
                 sign it with {newest} or a higher one"
            ),
            Self::Grammar(error) => error.fmt(f),
            Self::Missing(digest) => write!(f, "{digest} is not here; push it first"),
            Self::ModuleSize { found, signed } => {
                write!(f, "the module has {found} bytes, and {signed} are signed")
            }
            Self::ModuleDigest { found, signed } => {
                write!(f, "the module is {found}, and {signed} is signed")
            }
            Self::Root => f.write_str("the digests of the module's chunks are not those signed"),
            Self::Chunks(error) => write!(f, "the module's chunks: {error}"),
            Self::CutOtherwise { held } => write!(
                f,
                "the same module is here in chunks of {} bytes; use the same length",
                1_u32 << held
            ),
            Self::Check(reason) => f.write_str(reason),
            Self::TooLarge { what, size, most } => {
                write!(f, "the {what} has {size} bytes, and {most} are the most")
            }
            Self::Full { what, most } => write!(f, "there are {most} {what}, which is the most"),
            Self::Quota { needed, left } => {
                write!(f, "the store has {left} bytes left, and {needed} are needed")
            }
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}
