//! The publisher's side.

use super::{Manifest, literal};
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
        let len = PREFIX + writer.wrapped(|writer| self.write(writer)).finish()?;
        let digest = Digest::of(writer.written());
        // Wrapping takes two bytes more while it is written.
        let mut scratch = [0; PREFIX + 2];
        let mut writer = Writer::new(&mut scratch);
        writer.raw(literal::ENVELOPE).wrapped(|writer| authentication(&digest, key, writer));
        writer.raw(literal::MANIFEST).status()?;
        prefix.copy_from_slice(writer.written());
        Ok(len)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.raw(literal::VERSION).uint(1);
        writer.raw(literal::SEQUENCE_NUMBER).uint(self.sequence);
        writer.raw(literal::COMMON).wrapped(|writer| {
            writer.raw(literal::COMPONENTS).bytes(self.name.as_str().as_bytes());
            writer.raw(literal::SHARED_SEQUENCE).wrapped(|writer| self.write_parameters(writer));
        });
    }

    fn write_parameters(&self, writer: &mut Writer<'_>) {
        writer.raw(literal::OVERRIDE_PARAMETERS).map(3 + usize::from(self.uri.is_some()));
        writer.raw(literal::IMAGE_DIGEST);
        writer.wrapped(|writer| write_suit_digest(&self.module_digest, writer));
        writer.raw(literal::IMAGE_SIZE).uint(u64::from(self.module_size));
        if let Some(uri) = self.uri {
            writer.raw(literal::URI).text(uri.as_str());
        }
        writer.raw(literal::CAPSULE).wrapped(|writer| self.capsule.write(writer));
    }
}

fn authentication(digest: &Digest, key: &SigningKey, writer: &mut Writer<'_>) {
    let mut suit_digest = [0; 36];
    write_suit_digest(digest, &mut Writer::new(&mut suit_digest));
    writer.raw(literal::AUTHENTICATION).bytes(&suit_digest);
    writer.wrapped(|writer| sign_detached(key, &suit_digest, writer));
}

fn write_suit_digest(digest: &Digest, writer: &mut Writer<'_>) {
    digest.write(writer.raw(literal::DIGEST));
}
