//! Encrypted lines.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// A file is not there or holds something else.
    File(PathBuf, String),
    /// The machine trusts nobody.
    NoRoots,
    /// Certificate and key cannot be used.
    Identity(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoRoots => f.write_str(
                "this machine has no trusted certificates (Debian: apt-get install ca-certificates); \
                 or name the broker's own with `mqtt.ca`",
            ),
            Self::Identity(error) => write!(f, "the client's certificate and key: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Trusts the certificates in `ca`, or those that the machine trusts, and shows `identity`
/// (certificates and key) to brokers that ask.
pub(crate) fn config(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                let file =
                    |error: rustls::Error| TlsError::File(path.to_owned(), error.to_string());
                roots.add(certificate).map_err(file)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let file = |error: rustls::pki_types::pem::Error| {
                TlsError::File(key.to_owned(), error.to_string())
            };
            let private = PrivateKeyDer::from_pem_file(key).map_err(file)?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(TlsError::Identity)?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |error: String| TlsError::File(path.to_owned(), error);
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| file(error.to_string()))?;
    let certificates: Vec<_> =
        certificates.collect::<Result<_, _>>().map_err(|error| file(error.to_string()))?;
    if certificates.is_empty() {
        return Err(file("holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}
