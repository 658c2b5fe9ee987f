//! The publisher's side.

use super::{
    AUTHENTICATION, CAPSULE, COMMON, COMPONENTS, IMAGE_DIGEST, IMAGE_SIZE, MANIFEST,
    MANIFEST_VERSION, Manifest, OVERRIDE_PARAMETERS, SEQUENCE_NUMBER, SHA_256, SHARED_SEQUENCE,
    TAG, URI,
};
use crate::blob::check_blob;
use crate::cbor::{DecodeError, Encode, Overflow, Writer};
use crate::cose::{SigningKey, sign_detached};
use crate::digest::Digest;
use core::fmt;

/// Length of everything before the wrapped manifest. Each part of it has a fixed length, which is
/// why the manifest can be written to its place before it is signed.
const PREFIX: usize = 132;

/// Why a manifest was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// It is too long.
    Overflow,
    /// Every reader would refuse it.
    Illegal(DecodeError),
}

impl From<Overflow> for SignError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => f.write_str("the manifest is too long"),
            Self::Illegal(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SignError {}

impl Manifest<'_> {
    /// Writes the signed envelope to the start of `buf` and returns its length.
    ///
    /// # Errors
    /// If it contradicts itself, does not fit, or is longer than
    /// [`limits::MANIFEST`](crate::limits::MANIFEST).
    pub fn sign(&self, key: &SigningKey, buf: &mut [u8]) -> Result<usize, SignError> {
        self.capsule.check().map_err(SignError::Illegal)?;
        check_blob(&self.module()).map_err(SignError::Illegal)?;
        let buf = match buf.split_at_mut_checked(crate::limits::MANIFEST) {
            Some((buf, _)) => buf,
            None => buf,
        };
        let (prefix, rest) = buf.split_at_mut_checked(PREFIX).ok_or(Overflow)?;
        let mut writer = Writer::new(rest);
        writer.wrapped(|writer| self.encode(writer))?;
        let digest = Digest::of(writer.written());
        let len = PREFIX + writer.len();
        // Wrapping takes a byte more for each level while it is written.
        let mut scratch = [0; PREFIX + 2];
        let mut writer = Writer::new(&mut scratch);
        writer.tag(TAG)?.map(2)?.uint(AUTHENTICATION)?;
        writer.wrapped(|writer| authentication(&digest, key, writer))?;
        writer.uint(MANIFEST)?;
        prefix.copy_from_slice(writer.written());
        Ok(len)
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.map(3)?.uint(MANIFEST_VERSION)?.uint(1)?;
        writer.uint(SEQUENCE_NUMBER)?.uint(self.sequence)?.uint(COMMON)?;
        writer
            .wrapped(|writer| {
                let component = self.name.as_str().as_bytes();
                writer.map(2)?.uint(COMPONENTS)?.array(1)?.array(1)?.bytes(component)?;
                writer.uint(SHARED_SEQUENCE)?;
                writer.wrapped(|writer| self.encode_parameters(writer)).map(drop)
            })
            .map(drop)
    }

    fn encode_parameters(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.array(2)?.uint(OVERRIDE_PARAMETERS)?.map(3 + usize::from(self.uri.is_some()))?;
        writer.int(IMAGE_DIGEST)?;
        writer.wrapped(|writer| encode_suit_digest(&self.module_digest, writer))?;
        writer.int(IMAGE_SIZE)?.uint(u64::from(self.module_size))?;
        if let Some(uri) = self.uri {
            writer.int(URI)?.text(uri.as_str())?;
        }
        writer.int(CAPSULE)?.wrapped(|writer| self.capsule.encode(writer)).map(drop)
    }
}

fn encode_suit_digest(digest: &Digest, writer: &mut Writer<'_>) -> Result<(), Overflow> {
    writer.array(2)?.int(SHA_256)?;
    digest.encode(writer)
}

fn authentication(
    digest: &Digest,
    key: &SigningKey,
    writer: &mut Writer<'_>,
) -> Result<(), Overflow> {
    let mut suit_digest = [0; 36];
    encode_suit_digest(digest, &mut Writer::new(&mut suit_digest))?;
    writer.array(2)?.bytes(&suit_digest)?;
    writer.wrapped(|writer| sign_detached(key, &suit_digest, writer)).map(drop)
}
