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

/// What is always the same in an envelope, part by part.
mod literal {
    /// 107({2: ...
    pub(super) const ENVELOPE: &[u8] = b"\xd8\x6b\xa2\x02";
    /// ... 3: ...})
    pub(super) const MANIFEST: &[u8] = b"\x03";
    /// [digest, COSE_Sign1]
    pub(super) const AUTHENTICATION: &[u8] = b"\x82";
    /// [-16 (SHA-256), ...]
    pub(super) const DIGEST: &[u8] = b"\x82\x2f";
    /// {1 (manifest version): ...
    pub(super) const VERSION: &[u8] = b"\xa3\x01";
    /// ... 2 (sequence number): ...
    pub(super) const SEQUENCE_NUMBER: &[u8] = b"\x02";
    /// ... 3 (common): ...}
    pub(super) const COMMON: &[u8] = b"\x03";
    /// {2 (components): [[...]], ...
    pub(super) const COMPONENTS: &[u8] = b"\xa2\x02\x81\x81";
    /// ... 4 (shared sequence): ...}
    pub(super) const SHARED_SEQUENCE: &[u8] = b"\x04";
    /// [20 (override parameters), ...]
    pub(super) const OVERRIDE_PARAMETERS: &[u8] = b"\x82\x14";
    /// 3 (image digest): ...
    pub(super) const IMAGE_DIGEST: &[u8] = b"\x03";
    /// 14 (image size): ...
    pub(super) const IMAGE_SIZE: &[u8] = b"\x0e";
    /// 21 (URI): ...
    pub(super) const URI: &[u8] = b"\x15";
    /// -1 (custom): ...
    pub(super) const CAPSULE: &[u8] = b"\x20";
}

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
        reader.literal(literal::ENVELOPE);
        let authentication = reader.bytes();
        reader.literal(literal::MANIFEST);
        let start = reader.position();
        let manifest = reader.bytes();
        reader.finish()?;
        let (suit_digest, sign1) = parse_authentication(authentication)?;
        let wrapped = reader.since(start);
        Ok(Self { sign1, suit_digest, wrapped, manifest: parse_manifest(manifest)? })
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
    reader.literal(literal::AUTHENTICATION);
    let suit_digest = reader.bytes();
    let sign1 = reader.bytes();
    reader.finish()?;
    parse_suit_digest(suit_digest)?;
    let sign1: Sign1<'_> = crate::cbor::decode(sign1)?;
    if sign1.payload().is_some() {
        return Err(DecodeError::Value);
    }
    Ok((suit_digest, sign1))
}

fn parse_suit_digest(bytes: &[u8]) -> Result<Digest, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.literal(literal::DIGEST);
    let digest = Digest::read(&mut reader);
    reader.finish()?;
    Ok(digest)
}

fn parse_manifest(bytes: &[u8]) -> Result<Manifest<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.literal(literal::VERSION);
    if reader.uint() != 1 {
        reader.fail(DecodeError::Version);
    }
    reader.literal(literal::SEQUENCE_NUMBER);
    let sequence = reader.uint();
    reader.literal(literal::COMMON);
    let common = reader.bytes();
    reader.finish()?;

    let mut reader = Reader::new(common);
    reader.literal(literal::COMPONENTS);
    let name = reader.bytes();
    reader.literal(literal::SHARED_SEQUENCE);
    let commands = reader.bytes();
    reader.finish()?;
    let name = core::str::from_utf8(name).map_err(|_| DecodeError::Utf8)?;
    let name = CapsuleName::new(name).map_err(|_| DecodeError::Value)?;
    parse_commands(commands, sequence, name)
}

fn parse_commands<'a>(
    bytes: &'a [u8],
    sequence: u64,
    name: CapsuleName<'a>,
) -> Result<Manifest<'a>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.literal(literal::OVERRIDE_PARAMETERS);
    let parameters = reader.map();
    reader.literal(literal::IMAGE_DIGEST);
    let module_digest = reader.bytes();
    reader.literal(literal::IMAGE_SIZE);
    let module_size = u32::read(&mut reader);
    let uri = match parameters {
        4 => {
            reader.literal(literal::URI);
            Some(Text::read(&mut reader))
        }
        3 => None,
        _ => return Err(DecodeError::Value),
    };
    reader.literal(literal::CAPSULE);
    let capsule = reader.bytes();
    reader.finish()?;
    let module_digest = parse_suit_digest(module_digest)?;
    let capsule = crate::cbor::decode(capsule)?;
    let manifest = Manifest { sequence, name, module_digest, module_size, uri, capsule };
    check_blob(&manifest.module())?;
    Ok(manifest)
}

#[cfg(test)]
#[cfg(feature = "es256")]
mod tests;
