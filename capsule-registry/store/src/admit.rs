//! What has to be right about a capsule that is pushed.

use crate::bounds;
use crate::refusal::Refusal;
use capmesh_blob::{Geometry, lay_out};
use capmesh_wire::roster::Untrusted;
use capmesh_wire::{
    BlobRef, CapsuleName, Digest, KeyId, Manifest, Role, Roster, Tag, UnverifiedManifest, limits,
};

/// Looks at what only those can tell who run capsules: the version of the contract, and whether the
/// module is valid. It is passed in by whoever puts a registry together.
pub trait Checker: Send + Sync {
    /// Looks at a module whose digest is right and whose manifest is verified.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    fn check(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), String>;
}

/// The least that can be checked without a runtime: the versions of the contract, and how a module of
/// WebAssembly 1.0 begins. Nodes validate whatever they install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The versions of the contract that the site's nodes offer.
    pub abis: Vec<u16>,
}

impl Checker for Basic {
    fn check(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), String> {
        let abi = manifest.capsule.abi;
        if !self.abis.contains(&abi) {
            let known: Vec<_> = self.abis.iter().map(u16::to_string).collect();
            let known = known.join(", ");
            return Err(format!(
                "it is built for version {abi} of the contract; nodes have {known}"
            ));
        }
        match module {
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
            _ => Err("the module does not begin as one of WebAssembly 1.0 does".into()),
        }
    }
}

/// What a push is judged by.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The site's roster, verified.
    pub roster: &'a Roster<'a>,
    /// What looks at manifest and module.
    pub checker: &'a dyn Checker,
}

/// A capsule whose blobs are here, to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The name that it is pushed under.
    pub name: CapsuleName<'a>,
    /// The tag that is to stand for it.
    pub tag: Option<Tag<'a>>,
    /// The digest of its manifest, which names it.
    pub manifest: Digest,
    /// The digest of its module.
    pub module: Digest,
    /// What describes it to tools, to be kept as it is.
    pub document: &'a [u8],
    /// What else the document refers to.
    pub others: &'a [Digest],
}

/// What has become of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the capsule's manifest.
    pub capsule: Digest,
    /// The digest of the document.
    pub document: Digest,
    /// Whether the capsule was here already.
    pub known: bool,
}

/// A capsule that was found good.
pub(crate) struct Good<'m> {
    pub(crate) manifest: Manifest<'m>,
    pub(crate) publisher: KeyId,
    pub(crate) module: BlobRef,
    /// What lies behind the module where it is cut into pieces.
    pub(crate) pages: Vec<u8>,
}

/// Looks at all but what was there before. The work is a signature, digests over the module, and the
/// checker's.
pub(crate) fn examine<'m>(
    now: u64,
    trust: Trust<'_>,
    name: CapsuleName<'_>,
    envelope: &'m [u8],
    module: &[u8],
) -> Result<Good<'m>, Refusal> {
    if envelope.len() > limits::MANIFEST {
        let (size, most) = (envelope.len(), limits::MANIFEST);
        return Err(Refusal::TooLarge { what: "manifest", size, most });
    }
    let (publisher, manifest) = verify(now, trust.roster, envelope)?;
    if manifest.name != name {
        let (signed, asked) = (manifest.name.to_string(), name.to_string());
        return Err(Refusal::Name { signed, asked });
    }
    let signed = manifest.module();
    if usize::try_from(signed.size) != Ok(module.len()) {
        return Err(Refusal::ModuleSize { found: module.len(), signed: signed.size });
    }
    let pages = cut(&signed, module)?;
    trust.checker.check(&manifest, module).map_err(|mut reason| {
        let end = (0..=bounds::REASON).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or_default());
        Refusal::Check(reason)
    })?;
    Ok(Good { manifest, publisher, module: signed, pages })
}

/// Verifies the signature of a publisher of the site's.
fn verify<'m>(
    now: u64,
    roster: &Roster<'_>,
    envelope: &'m [u8],
) -> Result<(KeyId, Manifest<'m>), Refusal> {
    let unverified = UnverifiedManifest::parse(envelope).map_err(Refusal::Malformed)?;
    let id = unverified.publisher();
    let entry = roster.find(id).ok_or(Refusal::UnknownPublisher(id))?;
    if entry.role != Role::Publisher || entry.expires <= now {
        return Err(Refusal::NotPublisher(id));
    }
    let manifest =
        unverified.verify(&entry.credential.public_key()).map_err(|error| match error {
            Untrusted::Malformed(error) => Refusal::Malformed(error),
            Untrusted::Signature => Refusal::Signature(id),
        })?;
    Ok((id, manifest))
}

/// Cuts a module as its manifest says, and compares digests.
fn cut(signed: &BlobRef, module: &[u8]) -> Result<Vec<u8>, Refusal> {
    let geometry = Geometry::new(signed.size, signed.chunk_log2)
        .map_err(|error| Refusal::Chunks(error.into()))?;
    let mut stored = module.to_vec();
    stored.resize(usize::try_from(geometry.stored_size()).unwrap_or(usize::MAX), 0);
    let found = lay_out(&mut stored, signed.size, signed.chunk_log2).map_err(Refusal::Chunks)?;
    if found.digest != signed.digest {
        return Err(Refusal::ModuleDigest { found: found.digest, signed: signed.digest });
    }
    if found.root != signed.root {
        return Err(Refusal::Root);
    }
    Ok(stored.split_off(module.len()))
}
