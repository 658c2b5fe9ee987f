//! Private keys in files: everybody's in the mesh.
//!
//! A private key is a P-256 key in PKCS#8, as PEM (`BEGIN PRIVATE KEY`): what
//! `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes and every other tool
//! reads. It is created readable by its owner only, and never overwritten.
//!
//! The public half goes to others as a credential ([`Key::credential`]): a name and the key, the
//! form that a site's roster has it in. By custom it lies beside the key with the ending `.ccs`.
//!
//! # Invariants
//! - A private key is never printed and never overwritten; its memory is cleared.
//!
//! # Deliberately absent
//! Encrypted keys and other algorithms: what is found instead is named, with what converts it. It is
//! for hosts: boards keep their keys in flash.

use capmesh_wire::cose::SigningKey;
use capmesh_wire::text::InvalidName;
use capmesh_wire::{Credential, KeyId, Name, PublicKey, limits};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_core::OsRng;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A private key; its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Key(SecretKey);

/// Why a key could not be read or written.
#[derive(Debug)]
pub enum KeyError {
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// It holds no P-256 private key in PKCS#8 PEM; what it holds instead, if that is known.
    Format(PathBuf, Option<&'static str>),
    /// It is there already.
    Exists(PathBuf),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Format(path, found) => {
                write!(f, "{}: not a P-256 private key in PEM (PKCS#8)", path.display())?;
                found.map_or(Ok(()), |found| write!(f, "; it is {found}"))
            }
            Self::Exists(path) => {
                write!(f, "{}: is there already, and a key is not overwritten", path.display())
            }
        }
    }
}

impl std::error::Error for KeyError {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl Key {
    /// A new key, out of the system's random source.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretKey::random(&mut OsRng))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read(path).map(Zeroizing::new);
        let text = text.map_err(|error| KeyError::Io(path.to_owned(), error))?;
        let format = |found| KeyError::Format(path.to_owned(), found);
        let text = core::str::from_utf8(&text).map_err(|_| format(None))?;
        SecretKey::from_pkcs8_pem(text).map(Self).map_err(|_| format(guess(text)))
    }

    /// Writes the key to a file that is not there yet.
    ///
    /// # Errors
    /// If it is there, or cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|_| KeyError::Format(path.to_owned(), None))?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(path).and_then(|mut file| file.write_all(pem.as_bytes()));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => KeyError::Io(path.to_owned(), error),
        })
    }

    /// The private scalar, big-endian.
    #[must_use]
    pub fn scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let point = self.0.public_key().to_encoded_point(false);
        let coordinate =
            |bytes: Option<&p256::FieldBytes>| bytes.copied().map_or([0; 32], <[u8; 32]>::from);
        PublicKey { x: coordinate(point.x()), y: coordinate(point.y()) }
    }

    /// The id of the public key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.public().id()
    }

    /// The key as what signs manifests, plans and rosters.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        // Both sides refuse the same scalars: zero, and what is not below the curve's order.
        SigningKey::from_bytes(&self.scalar())
            .unwrap_or_else(|| unreachable!("a secret key is a legal scalar"))
    }

    /// The credential of this key under a name.
    ///
    /// # Errors
    /// If the name is none.
    pub fn credential(&self, subject: &str) -> Result<Vec<u8>, InvalidName> {
        let mut buf = [0; limits::CREDENTIAL];
        // There is room for the longest name.
        let len = Credential::encode(Name::new(subject)?, &self.public(), &mut buf).unwrap_or(0);
        Ok(buf.get(..len).unwrap_or_default().to_vec())
    }
}

/// What somebody may have given instead of a private key.
fn guess(text: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 5] = [
        (
            "BEGIN EC PRIVATE KEY",
            "in the older SEC1 form: convert it with `openssl pkcs8 -topk8 -nocrypt`",
        ),
        ("BEGIN ENCRYPTED PRIVATE KEY", "encrypted: decrypt it with `openssl pkcs8`"),
        ("BEGIN PUBLIC KEY", "a public key"),
        ("BEGIN CERTIFICATE", "a certificate"),
        ("BEGIN PRIVATE KEY", "a key of another algorithm or curve, or damaged"),
    ];
    KINDS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests;
