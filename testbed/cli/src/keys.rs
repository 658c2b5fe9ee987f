//! Private keys in files: P-256, PKCS#8, PEM.

use capmesh_wire::PublicKey;
use capmesh_wire::cose::SigningKey;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use rand_core::OsRng;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// A private key.
pub struct Key(SecretKey);

impl Key {
    /// A new key.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretKey::random(&mut OsRng))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let explain = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| explain(&error))?);
        SecretKey::from_pkcs8_pem(&text).map(Self).map_err(|error| explain(&error))
    }

    /// Writes the key to a file that is not there yet and that nobody else can read.
    ///
    /// # Errors
    /// If that fails.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        let text = self
            .0
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// The scalar.
    #[must_use]
    pub fn scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The key, to sign with.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        let key = SigningKey::from_bytes(&self.scalar());
        key.unwrap_or_else(|| unreachable!("a secret key is in the range of the curve"))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let point = self.0.public_key().to_encoded_point(false);
        let coordinate = |bytes: Option<&p256::FieldBytes>| bytes.map_or([0; 32], |b| (*b).into());
        PublicKey { x: coordinate(point.x()), y: coordinate(point.y()) }
    }
}
