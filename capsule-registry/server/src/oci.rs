//! A capsule as an OCI artifact: what its document says.
//!
//! ```json
//! { "schemaVersion": 2,
//!   "mediaType": "application/vnd.oci.image.manifest.v1+json",
//!   "artifactType": "application/vnd.capmesh.capsule.v1",
//!   "config": { "mediaType": "application/suit-envelope+cose", "digest": ..., "size": ... },
//!   "layers": [ { "mediaType": "application/wasm", "digest": ..., "size": ... } ] }
//! ```
//! The config is the signed manifest and the layer is the module, byte for byte, so that their digests
//! are the same in the registry and on nodes. Tools that make a config of their own may push the
//! manifest as a layer: it is recognised by its media type.

use capmesh_wire::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The media type of a document.
pub const DOCUMENT: &str = "application/vnd.oci.image.manifest.v1+json";
/// What kind of artifact a capsule is.
pub const CAPSULE: &str = "application/vnd.capmesh.capsule.v1";
/// The media type of a signed manifest: a SUIT envelope (draft-ietf-suit-manifest).
pub const MANIFEST: &str = "application/suit-envelope+cose";
/// The media type of a module.
pub const MODULE: &str = "application/wasm";

/// Names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest, as `sha256:...`.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// What tools say of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    fn read(&self) -> Result<Named, NotCapsule> {
        let digest = self.digest.parse().map_err(|_| NotCapsule::Digest(self.digest.clone()))?;
        Ok(Named { digest, size: self.size })
    }
}

/// An OCI image manifest, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// A blob that a document names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a capsule's document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The signed manifest.
    pub manifest: Named,
    /// The module.
    pub module: Named,
    /// Whatever else.
    pub others: Vec<Named>,
}

/// Why a document is not that of a capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCapsule {
    /// It is no OCI image manifest.
    Format(String),
    /// It is that of another kind of artifact.
    Kind(String),
    /// It does not name exactly one blob of this media type.
    Count(&'static str, usize),
    /// It names a blob by what is no SHA-256.
    Digest(String),
}

impl fmt::Display for NotCapsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => write!(f, "it is no OCI image manifest: {error}"),
            Self::Kind(kind) => write!(f, "it is {kind:?}; this registry keeps {CAPSULE:?}"),
            Self::Count(kind, count) => {
                write!(f, "it has {count} blobs of media type {kind:?}; a capsule has one")
            }
            Self::Digest(text) => write!(f, "{text:?} is no SHA-256 digest"),
        }
    }
}

impl std::error::Error for NotCapsule {}

/// The document of a capsule: the same for the same bytes.
#[must_use]
pub fn document(manifest: &[u8], module: &[u8]) -> Vec<u8> {
    let image = Image {
        schema_version: 2,
        media_type: Some(DOCUMENT.into()),
        artifact_type: Some(CAPSULE.into()),
        config: Descriptor::of(MANIFEST, manifest),
        layers: vec![Descriptor::of(MODULE, module)],
    };
    // Text and numbers: it has no way to fail.
    serde_json::to_vec(&image).unwrap_or_default()
}

/// Reads the document of a capsule.
///
/// # Errors
/// If it is none.
pub fn read(document: &[u8]) -> Result<Artifact, NotCapsule> {
    let image: Image =
        serde_json::from_slice(document).map_err(|error| NotCapsule::Format(error.to_string()))?;
    if image.schema_version != 2 {
        return Err(NotCapsule::Format(format!("schemaVersion {}", image.schema_version)));
    }
    if let Some(kind) = image.media_type.filter(|kind| kind != DOCUMENT) {
        return Err(NotCapsule::Kind(kind));
    }
    if let Some(kind) = image.artifact_type.filter(|kind| kind != CAPSULE) {
        return Err(NotCapsule::Kind(kind));
    }
    let blobs = std::iter::once(&image.config).chain(&image.layers);
    let one = |kind: &'static str| {
        let found: Vec<_> = blobs.clone().filter(|blob| blob.media_type == kind).collect();
        match found.as_slice() {
            [one] => one.read(),
            found => Err(NotCapsule::Count(kind, found.len())),
        }
    };
    let (manifest, module) = (one(MANIFEST)?, one(MODULE)?);
    let others = blobs.filter(|blob| blob.media_type != MANIFEST && blob.media_type != MODULE);
    let others = others.map(Descriptor::read).collect::<Result<_, _>>()?;
    Ok(Artifact { manifest, module, others })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A document of which a part was changed is that of the same capsule, or none.
        #[test]
        fn a_changed_document_names_the_same_or_is_refused(at in 0_usize..400, byte: u8) {
            let document = document(b"manifest", b"module");
            let mut changed = document.clone();
            let len = changed.len();
            if let Some(place) = changed.get_mut(at % len) {
                *place = byte;
            }
            if let Ok(artifact) = read(&changed) {
                // What was changed is a digest, a size, or what is not looked at.
                prop_assert!(artifact.others.is_empty());
                let digests = [artifact.manifest.digest, artifact.module.digest];
                let text = String::from_utf8_lossy(&changed).into_owned();
                prop_assert!(digests.iter().all(|digest| text.contains(&digest.to_string())));
            }
        }
    }

    #[test]
    fn a_document_names_what_it_was_made_of() {
        let artifact = read(&document(b"manifest", b"module")).unwrap();
        assert_eq!(artifact.manifest, Named { digest: Digest::of(b"manifest"), size: 8 });
        assert_eq!(artifact.module, Named { digest: Digest::of(b"module"), size: 6 });
        assert_eq!(artifact.others, []);
    }

    #[test]
    fn a_manifest_may_be_a_layer() {
        let mut image: Image = serde_json::from_slice(&document(b"manifest", b"module")).unwrap();
        let empty = Descriptor::of("application/vnd.oci.empty.v1+json", b"{}");
        let manifest = std::mem::replace(&mut image.config, empty);
        image.layers.push(manifest);
        let artifact = read(&serde_json::to_vec(&image).unwrap()).unwrap();
        assert_eq!(artifact.manifest.digest, Digest::of(b"manifest"));
        assert_eq!(artifact.others.len(), 1);
    }

    #[test]
    fn what_is_no_capsule_is_refused_with_the_reason() {
        let image: Image = serde_json::from_slice(&document(b"manifest", b"module")).unwrap();
        let why = |change: fn(&mut Image)| {
            let mut changed = image.clone();
            change(&mut changed);
            read(&serde_json::to_vec(&changed).unwrap()).unwrap_err()
        };
        assert!(matches!(read(b"{}"), Err(NotCapsule::Format(_))));
        assert!(matches!(why(|image| image.schema_version = 1), NotCapsule::Format(_)));
        let kind = |image: &mut Image| image.artifact_type = Some("application/x".into());
        assert_eq!(why(kind), NotCapsule::Kind("application/x".into()));
        assert_eq!(why(|image| image.layers.clear()), NotCapsule::Count(MODULE, 0));
        let double = |image: &mut Image| image.layers.push(image.config.clone());
        assert_eq!(why(double), NotCapsule::Count(MANIFEST, 2));
        let other = |image: &mut Image| image.config.digest = "md5:00".into();
        assert_eq!(why(other), NotCapsule::Digest("md5:00".into()));
    }
}
