//! What the values of records say, in CBOR.

use crate::backend::Fault;
use capmesh_wire::{Digest, KeyId, Revision};
use minicbor::{CborLen, Decode, Encode};

pub(crate) type Bytes32 = [u8; Digest::LEN];

/// About a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Info {
    /// Bytes.
    #[n(0)]
    pub(crate) size: u32,
    /// When it came, or was last asked for before a push; in seconds since 1970.
    #[n(1)]
    pub(crate) added: u64,
    /// The length of its chunks as a power of two, once it belongs to a capsule.
    #[n(2)]
    pub(crate) chunk_log2: Option<u8>,
    /// Bytes of its record in the table of pages.
    #[n(3)]
    pub(crate) pages: u32,
}

impl Info {
    /// What counts against the quota.
    pub(crate) fn used(&self) -> u64 {
        u64::from(self.size) + u64::from(self.pages)
    }
}

/// A capsule that was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Capsule {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) sequence: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) module: Bytes32,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) publisher: [u8; KeyId::LEN],
    #[n(4)]
    pub(crate) admitted: u64,
}

impl Capsule {
    /// Its name, which its publisher has signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its sequence number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The digest of its module.
    #[must_use]
    pub const fn module(&self) -> Digest {
        Digest::from_bytes(self.module)
    }

    /// Who has signed it.
    #[must_use]
    pub const fn publisher(&self) -> KeyId {
        KeyId::from_bytes(self.publisher)
    }

    /// When it was admitted, in seconds since 1970.
    #[must_use]
    pub const fn admitted(&self) -> u64 {
        self.admitted
    }
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Document {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) capsule: Bytes32,
    /// All that it refers to, manifest and module included.
    #[n(1)]
    pub(crate) refers: Vec<minicbor::bytes::ByteArray<{ Digest::LEN }>>,
}

/// What a tag stands for, or stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Tagged {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) capsule: Bytes32,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) document: Bytes32,
    #[n(2)]
    pub(crate) revision: u32,
    #[n(3)]
    pub(crate) since: u64,
    /// Whether the tag was taken away then.
    #[n(4)]
    pub(crate) gone: bool,
}

impl Tagged {
    /// The digest of the capsule's manifest.
    #[must_use]
    pub const fn capsule(&self) -> Digest {
        Digest::from_bytes(self.capsule)
    }

    /// The digest of the document that it was tagged with.
    #[must_use]
    pub const fn document(&self) -> Digest {
        Digest::from_bytes(self.document)
    }

    /// How often the tag has been moved.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// Since when, in seconds since 1970.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// Whether the tag was taken away then.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.gone
    }
}

/// A record's value, read.
pub(crate) fn read<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Fault> {
    minicbor::decode(bytes).map_err(|error| Fault(format!("a record cannot be read: {error}")))
}

/// A record's value, written.
pub(crate) fn write<T: Encode<()> + CborLen<()>>(value: &T) -> Result<Vec<u8>, Fault> {
    minicbor::to_vec(value).map_err(|error| Fault(format!("a record cannot be written: {error}")))
}
