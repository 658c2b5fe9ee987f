//! What a publisher signs about a capsule.
//!
//! The manifest is a SUIT envelope (draft-ietf-suit-manifest, of which it is a subset; other tools
//! can verify it and read name, digest, size and sequence number):
//!
//! ```text
//! envelope = 107({2: bstr([bstr(digest), bstr(COSE_Sign1, detached: digest)]), 3: bstr(manifest)})
//! digest   = [-16, SHA-256 of the encoded bstr(manifest), head included]
//! manifest = {1: 1, 2: sequence number, 3: bstr({2: [[component]], 4: bstr([20, parameters])})}
//! parameters = {3: bstr([-16, module digest]), 14: module size, ? 21: URI, -1: bstr(capsule)}
//! ```
//!
//! `-1` is SUIT's place for parameters of one's own: there stands the [`Capsule`]. Nothing else of
//! SUIT is understood or written: no further commands, components, dependencies or severable parts,
//! no encryption. A manifest that has them is refused, not half read.
//!
//! A capsule is named by the digest of the whole envelope ([`Manifest::digest`]).

mod capsule;
#[cfg(feature = "es256")]
mod sign;

pub use capsule::{Actuator, Capsule, Needs, Peer, Port, Service, StateLayout};
#[cfg(feature = "es256")]
pub use sign::SignError;

use crate::blob::{BlobRef, check_blob};
use crate::cbor::{Decode, DecodeError, Reader};
use crate::cose::Sign1;
use crate::digest::Digest;
use crate::id::KeyId;
use crate::limits;
use crate::text::{CapsuleName, Text};

/// A capsule's manifest, whose signature has been verified by whoever holds this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Which of two manifests of the same name is newer: a node does not go back unless told to by a
    /// signed plan.
    pub sequence: u64,
    /// The capsule's name: SUIT's component.
    pub name: CapsuleName<'a>,
    /// The SHA-256 of the module.
    pub module_digest: Digest,
    /// The length of the module in bytes.
    pub module_size: u32,
    /// Where the module may be had, beside asking peers and the registry for its digest.
    pub uri: Option<Text<'a, { limits::URI }>>,
    /// What it is and needs.
    pub capsule: Capsule<'a>,
}

/// A manifest that was parsed and not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnverifiedManifest<'a> {
    sign1: Sign1<'a>,
    /// The encoded SUIT digest: what is signed.
    suit_digest: &'a [u8],
    /// The encoded byte string that holds the manifest, head included: what is digested.
    wrapped: &'a [u8],
    manifest: Manifest<'a>,
}

/// CBOR tag of a SUIT envelope.
const TAG: u64 = 107;
/// COSE algorithm id of SHA-256.
const SHA_256: i64 = -16;

const AUTHENTICATION: u64 = 2;
const MANIFEST: u64 = 3;
const MANIFEST_VERSION: u64 = 1;
const SEQUENCE_NUMBER: u64 = 2;
const COMMON: u64 = 3;
const COMPONENTS: u64 = 2;
const SHARED_SEQUENCE: u64 = 4;
const OVERRIDE_PARAMETERS: u64 = 20;
const IMAGE_DIGEST: i64 = 3;
const IMAGE_SIZE: i64 = 14;
const URI: i64 = 21;
const CAPSULE: i64 = -1;

impl<'a> UnverifiedManifest<'a> {
    /// Takes `bytes` apart. The work is a pass over them and over small bounded lists.
    ///
    /// # Errors
    /// If they are not a manifest, longer than [`limits::MANIFEST`], or contradict themselves.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::MANIFEST {
            return Err(DecodeError::Bound);
        }
        let mut reader = Reader::new(bytes);
        expect(reader.tag()?, TAG)?;
        expect(reader.map()?, 2)?;
        expect(reader.uint()?, AUTHENTICATION)?;
        let (suit_digest, sign1) = parse_authentication(reader.bytes()?)?;
        expect(reader.uint()?, MANIFEST)?;
        let start = reader.position();
        let manifest = parse_manifest(reader.bytes()?)?;
        reader.finish()?;
        Ok(Self { sign1, suit_digest, wrapped: reader.since(start), manifest })
    }

    /// Which publisher claims to have signed it.
    #[must_use]
    pub const fn publisher(&self) -> KeyId {
        self.sign1.key()
    }

    /// What it says, for those who only want to know. Nothing may be done on its word.
    #[must_use]
    pub const fn claims(&self) -> &Manifest<'a> {
        &self.manifest
    }

    /// Verifies that the publisher with this key has signed the manifest. The caller has looked the
    /// key up by [`UnverifiedManifest::publisher`] among those that the site trusts.
    ///
    /// # Errors
    /// [`Untrusted`](crate::roster::Untrusted), with the reason.
    #[cfg(feature = "es256")]
    pub fn verify(
        self,
        publisher: &crate::PublicKey,
    ) -> Result<Manifest<'a>, crate::roster::Untrusted> {
        use crate::roster::Untrusted;
        let digest = parse_suit_digest(self.suit_digest).map_err(Untrusted::Malformed)?;
        if digest != Digest::of(self.wrapped) {
            return Err(Untrusted::Malformed(DecodeError::Value));
        }
        self.sign1.verify(publisher, self.suit_digest).map_err(|_| Untrusted::Signature)?;
        Ok(self.manifest)
    }
}

impl<'a> Manifest<'a> {
    /// Takes bytes that were verified before and have since been where nobody else writes, such as
    /// the node's own flash.
    ///
    /// # Errors
    /// If they are not a manifest.
    pub fn from_trusted(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(UnverifiedManifest::parse(bytes)?.manifest)
    }

    /// The name of the capsule with this envelope.
    #[must_use]
    pub fn digest(envelope: &[u8]) -> Digest {
        Digest::of(envelope)
    }

    /// The module as a blob.
    #[must_use]
    pub const fn module(&self) -> BlobRef {
        BlobRef {
            digest: self.module_digest,
            size: self.module_size,
            chunk_log2: self.capsule.chunk_log2,
            root: self.capsule.root,
        }
    }
}

fn parse_authentication(bytes: &[u8]) -> Result<(&[u8], Sign1<'_>), DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(reader.array()?, 2)?;
    let suit_digest = reader.bytes()?;
    parse_suit_digest(suit_digest)?;
    let sign1: Sign1<'_> = crate::cbor::decode(reader.bytes()?)?;
    reader.finish()?;
    expect(sign1.payload(), None)?;
    Ok((suit_digest, sign1))
}

fn parse_suit_digest(bytes: &[u8]) -> Result<Digest, DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(reader.array()?, 2)?;
    expect(reader.int()?, SHA_256)?;
    let digest = Digest::decode(&mut reader)?;
    reader.finish()?;
    Ok(digest)
}

fn parse_manifest(bytes: &[u8]) -> Result<Manifest<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(reader.map()?, 3)?;
    expect(reader.uint()?, MANIFEST_VERSION)?;
    if reader.uint()? != 1 {
        return Err(DecodeError::Version);
    }
    expect(reader.uint()?, SEQUENCE_NUMBER)?;
    let sequence = reader.uint()?;
    expect(reader.uint()?, COMMON)?;
    let common = reader.bytes()?;
    reader.finish()?;

    let mut reader = Reader::new(common);
    expect(reader.map()?, 2)?;
    expect(reader.uint()?, COMPONENTS)?;
    expect(reader.array()?, 1)?;
    expect(reader.array()?, 1)?;
    let name = core::str::from_utf8(reader.bytes()?).map_err(|_| DecodeError::Utf8)?;
    let name = CapsuleName::new(name).map_err(|_| DecodeError::Value)?;
    expect(reader.uint()?, SHARED_SEQUENCE)?;
    let commands = reader.bytes()?;
    reader.finish()?;
    parse_commands(commands, sequence, name)
}

fn parse_commands<'a>(
    bytes: &'a [u8],
    sequence: u64,
    name: CapsuleName<'a>,
) -> Result<Manifest<'a>, DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(reader.array()?, 2)?;
    expect(reader.uint()?, OVERRIDE_PARAMETERS)?;
    let parameters = reader.map()?;
    expect(reader.int()?, IMAGE_DIGEST)?;
    let module_digest = parse_suit_digest(reader.bytes()?)?;
    expect(reader.int()?, IMAGE_SIZE)?;
    let module_size = u32::decode(&mut reader)?;
    let uri = match parameters {
        3 => None,
        4 => {
            expect(reader.int()?, URI)?;
            Some(Text::decode(&mut reader)?)
        }
        _ => return Err(DecodeError::Value),
    };
    expect(reader.int()?, CAPSULE)?;
    let capsule = crate::cbor::decode(reader.bytes()?)?;
    reader.finish()?;
    let manifest = Manifest { sequence, name, module_digest, module_size, uri, capsule };
    check_blob(&manifest.module())?;
    Ok(manifest)
}

fn expect<T: Copy + PartialEq>(found: T, wanted: T) -> Result<(), DecodeError> {
    if found == wanted { Ok(()) } else { Err(DecodeError::Value) }
}

#[cfg(test)]
#[cfg(feature = "es256")]
mod tests;
