//! From a packed module to a signed bundle, and back.

use crate::module::Packed;
use capmesh_blob::geometry::Unsupported;
use capmesh_blob::{Geometry, lay_out};
use capmesh_description::{Description, Illegal};
use capmesh_wire::bundle::{self, BundleError, BundleReader, Part, Pieces};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Needs, SignError};
use capmesh_wire::text::{CapsuleName, Text};
use capmesh_wire::{BlobRef, DecodeError, Digest, KeyId, Manifest, UnverifiedManifest, limits};
use std::fmt;

/// A signed capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The signed manifest.
    pub envelope: Vec<u8>,
    /// The module, and its digest pages behind it as they are stored.
    stored: Vec<u8>,
    /// What names the module.
    pub blob: BlobRef,
}

/// Why a capsule was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The module cannot be cut into chunks of this length.
    Chunks(Unsupported),
    /// The manifest is too long: fewer or shorter names, or fewer schemas.
    Manifest(SignError),
    /// The description was changed after it was read.
    Description(Illegal),
    /// The capsule's name is none.
    Name,
    /// The module is larger than a blob may be.
    Size,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunks(error) => write!(f, "[capsule] chunk: {error}"),
            Self::Manifest(SignError::Overflow) => write!(
                f,
                "the manifest is longer than {} bytes; use fewer or smaller schemas, or shorter names",
                limits::MANIFEST
            ),
            Self::Manifest(error) => write!(f, "the manifest is not a legal one: {error}"),
            Self::Description(error) => error.fmt(f),
            Self::Name => f.write_str("the capsule's name is none"),
            Self::Size => write!(f, "the module is larger than {} bytes", limits::BLOB),
        }
    }
}

impl std::error::Error for SealError {}

/// Signs a capsule.
///
/// # Errors
/// If no manifest can say what is to be said.
pub fn seal(
    description: &Description,
    packed: &Packed,
    needs: Needs,
    key: &SigningKey,
) -> Result<Sealed, SealError> {
    let (blob, stored) = cut(&packed.wasm, description.chunk_log2)?;
    let name = CapsuleName::new(&description.name).map_err(|_| SealError::Name)?;
    let mut buf = [0; limits::MANIFEST];
    let signed =
        description.with_capsule(capmesh_capsule_abi::VERSION, blob.root, needs, |capsule| {
            Manifest {
                sequence: description.sequence,
                name,
                module_digest: blob.digest,
                module_size: blob.size,
                uri: description.uri.as_deref().map(Text::cut),
                capsule: *capsule,
            }
            .sign(key, &mut buf)
        });
    let len = signed.map_err(SealError::Description)?.map_err(SealError::Manifest)?;
    Ok(Sealed { envelope: buf.get(..len).unwrap_or_default().to_vec(), stored, blob })
}

/// Cuts a module into chunks; returns its name, and the module with its pages behind it.
fn cut(module: &[u8], chunk_log2: u8) -> Result<(BlobRef, Vec<u8>), SealError> {
    let size = u32::try_from(module.len()).ok().filter(|size| *size <= limits::BLOB);
    let size = size.ok_or(SealError::Size)?;
    let geometry = Geometry::new(size, chunk_log2).map_err(SealError::Chunks)?;
    let mut stored = module.to_vec();
    stored.resize(usize::try_from(geometry.stored_size()).map_err(|_| SealError::Size)?, 0);
    let blob = lay_out(&mut stored, size, chunk_log2).map_err(|_| SealError::Size)?;
    Ok((blob, stored))
}

impl Sealed {
    /// The capsule's name in the mesh: the digest of its manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Manifest::digest(&self.envelope)
    }

    /// The signed manifest.
    #[must_use]
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &[u8] {
        let size = usize::try_from(self.blob.size).unwrap_or(usize::MAX);
        self.stored.get(..size).unwrap_or_default()
    }

    /// The whole capsule in one file.
    #[must_use]
    pub fn bundle(&self) -> Vec<u8> {
        // What was sealed or opened has a manifest of a legal length and a module of legal pieces.
        let head = bundle::head(self.envelope.len()).unwrap_or_default();
        let mut file = [&head[..], &self.envelope].concat();
        for piece in Pieces::of(&self.blob).into_iter().flatten() {
            let start = usize::from(piece.number) << self.blob.chunk_log2;
            let bytes = self.stored.get(start..start + usize::from(piece.len));
            file.extend_from_slice(bytes.unwrap_or_default());
        }
        file
    }

    /// The manifest, which is trusted as far as whoever sealed or opened it.
    ///
    /// # Errors
    /// None for what was sealed or opened.
    pub fn manifest(&self) -> Result<Manifest<'_>, DecodeError> {
        Manifest::from_trusted(&self.envelope)
    }

    /// Whose signature it bears. Whether it is that publisher's is for who has the key to verify.
    ///
    /// # Errors
    /// None for what was sealed or opened.
    pub fn publisher(&self) -> Result<KeyId, DecodeError> {
        Ok(UnverifiedManifest::parse(&self.envelope)?.publisher())
    }

    /// The same capsule, signed by another key.
    ///
    /// # Errors
    /// None for what was sealed or opened.
    pub fn resign(&self, key: &SigningKey) -> Result<Self, SealError> {
        let manifest =
            self.manifest().map_err(|error| SealError::Manifest(SignError::Illegal(error)))?;
        let mut buf = [0; limits::MANIFEST];
        let len = manifest.sign(key, &mut buf).map_err(SealError::Manifest)?;
        Ok(Self { envelope: buf.get(..len).unwrap_or_default().to_vec(), ..self.clone() })
    }
}

/// Why a file is not a capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is no bundle.
    Bundle(BundleError),
    /// It ends early: the byte at which something is missing.
    Truncated(u32),
    /// Its manifest is not one.
    Manifest(DecodeError),
    /// This piece is not what the page above it, or the manifest, says.
    Piece(u16),
    /// The chunks are right and the whole is not: the manifest contradicts itself.
    Module,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(error) => error.fmt(f),
            Self::Truncated(at) => write!(f, "it ends after {at} bytes, in the middle"),
            Self::Manifest(error) => write!(f, "its manifest is not one: {error}"),
            Self::Piece(number) => write!(f, "piece {number} is not what its digest says"),
            Self::Module => f.write_str("its module has another digest than the manifest says"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Takes a bundle apart and checks every digest in it, as a node does; not the signature, for which
/// the publisher's key is needed ([`UnverifiedManifest::verify`]).
///
/// # Errors
/// The first thing that is wrong.
pub fn open(file: &[u8]) -> Result<Sealed, OpenError> {
    let mut reader = BundleReader::new();
    let (mut envelope, mut stored) = (Vec::new(), Vec::new());
    let mut blob = None;
    let mut input = file;
    while let Some(part) = reader.feed(&mut input).map_err(OpenError::Bundle)? {
        let is_last = part.is_last();
        match part {
            Part::Manifest { bytes, .. } => {
                envelope.extend_from_slice(bytes);
                if !is_last {
                    break;
                }
                let manifest = UnverifiedManifest::parse(&envelope).map_err(OpenError::Manifest)?;
                let module = manifest.claims().module();
                reader.describe(&module).map_err(OpenError::Bundle)?;
                let geometry = Geometry::new(module.size, module.chunk_log2);
                let geometry = geometry.map_err(|_| OpenError::Bundle(BundleError::Module))?;
                let size = usize::try_from(geometry.stored_size()).unwrap_or(usize::MAX);
                stored = vec![0; size];
                blob = Some((module, geometry));
            }
            Part::Piece { piece, bytes, .. } => {
                let Some((module, geometry)) = &blob else { break };
                let expected = match geometry.entry(piece.number) {
                    None => module.root,
                    Some(at) => entry(&stored, at).ok_or(OpenError::Module)?,
                };
                if !is_last {
                    break;
                }
                if Digest::of(bytes) != expected {
                    return Err(OpenError::Piece(piece.number));
                }
                let start = usize::from(piece.number) << module.chunk_log2;
                let place = stored.get_mut(start..start + bytes.len());
                place.ok_or(OpenError::Module)?.copy_from_slice(bytes);
            }
        }
    }
    let blob = match blob {
        Some((module, _)) if reader.is_complete() => module,
        _ => return Err(OpenError::Truncated(reader.position())),
    };
    let sealed = Sealed { envelope, stored, blob };
    if Digest::of(sealed.module()) == blob.digest { Ok(sealed) } else { Err(OpenError::Module) }
}

/// Puts a manifest and its module together again, as [`open`] would find them in one file; not the
/// signature, as there.
///
/// # Errors
/// If they do not belong together.
pub fn join(envelope: Vec<u8>, module: &[u8]) -> Result<Sealed, OpenError> {
    let manifest = UnverifiedManifest::parse(&envelope).map_err(OpenError::Manifest)?;
    let expected = manifest.claims().module();
    let (blob, stored) = cut(module, expected.chunk_log2).map_err(|_| OpenError::Module)?;
    if blob == expected { Ok(Sealed { envelope, stored, blob }) } else { Err(OpenError::Module) }
}

/// The digest that a page holds at this offset.
fn entry(stored: &[u8], at: u32) -> Option<Digest> {
    let bytes = stored.get(usize::try_from(at).ok()?..)?.first_chunk::<{ Digest::LEN }>()?;
    Some(Digest::from_bytes(*bytes))
}

#[cfg(test)]
mod tests;
