//! What is known of capsules, and whether a pipeline fits them.
//!
//! A [`Catalog`] is data: references (`city/clean:1`) with the digests that they stand for, and verified
//! manifests by digest. Whoever has asked the registry fills it ([`Catalog::refer`],
//! [`Catalog::insert`]); [`Catalog::missing`] says what a pipeline needs that is not there yet.
//!
//! A tag stands for another capsule tomorrow. What a deployed pipeline uses changes only when somebody
//! says [`Catalog::refer`] again, so an update is a decision and not an accident.
//!
//! [`Catalog::check`] compares a pipeline with the manifests of its capsules and with what the nodes
//! offer, and reports every [`Mistake`]; what comes out of it is [`Resolved`]: names are numbers, and
//! settings are payloads.

mod check;
mod config;
mod offers;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use offers::{Demands, Offers};

use crate::pipeline::{Delivery, Overflowing, Pipeline, Replicas};
use capmesh_description::Fault;
use capmesh_wire::manifest::Needs;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, DecodeError, Digest, Manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Capsules that a catalog holds: 8 MB of the longest manifests.
pub const CAPSULES: usize = 4_096;

/// References that a catalog holds.
pub const REFERENCES: usize = 4_096;

/// References and verified manifests.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    references: BTreeMap<String, Digest>,
    manifests: BTreeMap<Digest, Box<[u8]>>,
}

/// Why something was not taken into a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not a manifest.
    Malformed(DecodeError),
    /// There are too many already.
    Full,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "it is not a manifest: {error}"),
            Self::Full => write!(f, "there are {CAPSULES} capsules already"),
        }
    }
}

impl std::error::Error for Refused {}

/// What a pipeline needs that a catalog does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Tags whose digests are to be asked for.
    pub references: BTreeSet<String>,
    /// Digests whose manifests are to be fetched.
    pub manifests: BTreeSet<Digest>,
}

impl Missing {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.references.is_empty() && self.manifests.is_empty()
    }
}

impl Catalog {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { references: BTreeMap::new(), manifests: BTreeMap::new() }
    }

    /// Takes a manifest that was verified, and returns the digest that names it.
    ///
    /// # Errors
    /// [`Refused`]. One that is there already is taken again.
    pub fn insert(&mut self, envelope: &[u8]) -> Result<Digest, Refused> {
        Manifest::from_trusted(envelope).map_err(Refused::Malformed)?;
        let digest = Manifest::digest(envelope);
        if self.manifests.len() >= CAPSULES && !self.manifests.contains_key(&digest) {
            return Err(Refused::Full);
        }
        self.manifests.insert(digest, envelope.into());
        Ok(digest)
    }

    /// Notes what a reference stands for.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn refer(&mut self, reference: &str, digest: Digest) -> Result<(), Refused> {
        if self.references.len() >= REFERENCES && !self.references.contains_key(reference) {
            return Err(Refused::Full);
        }
        self.references.insert(reference.to_owned(), digest);
        Ok(())
    }

    /// Forgets what is not to be kept: references by their text, manifests by their digests.
    pub fn retain(&mut self, reference: impl Fn(&str) -> bool, manifest: impl Fn(&Digest) -> bool) {
        self.references.retain(|text, _| reference(text));
        self.manifests.retain(|digest, _| manifest(digest));
    }

    /// What a reference stands for: one by digest for itself.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Option<Digest> {
        match CapsuleRef::try_from(reference).ok()?.version {
            CapsuleVersion::Digest(digest) => Some(digest),
            CapsuleVersion::Tag(_) => self.references.get(reference).copied(),
        }
    }

    /// The references and what they stand for.
    pub fn references(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.references.iter().map(|(text, digest)| (text.as_str(), *digest))
    }

    /// The manifest with this digest.
    #[must_use]
    pub fn manifest(&self, digest: &Digest) -> Option<Manifest<'_>> {
        Manifest::from_trusted(self.manifests.get(digest)?).ok()
    }

    /// The bytes of the manifest with this digest.
    #[must_use]
    pub fn envelope(&self, digest: &Digest) -> Option<&[u8]> {
        self.manifests.get(digest).map(|envelope| &**envelope)
    }

    /// What a pipeline needs that is not here.
    #[must_use]
    pub fn missing(&self, pipeline: &Pipeline) -> Missing {
        let mut missing = Missing::default();
        for capsule in &pipeline.capsules {
            match self.resolve(&capsule.uses) {
                None => {
                    missing.references.insert(capsule.uses.value.clone());
                }
                Some(digest) if !self.manifests.contains_key(&digest) => {
                    missing.manifests.insert(digest);
                }
                Some(_) => {}
            }
        }
        missing
    }

    /// Compares a pipeline with the capsules that it uses and with what the nodes offer.
    ///
    /// # Errors
    /// Every mistake, in the order of the text.
    pub fn check(&self, pipeline: &Pipeline, offers: &Offers) -> Result<Resolved, Vec<Mistake>> {
        check::check(self, pipeline, offers)
    }
}

/// What a pipeline says that does not fit its capsules or the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What sort of mistake it is.
    pub kind: Kind,
    /// Where it is, and what was meant to stand there.
    pub fault: Fault,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Mistake {}

/// A sort of mistake, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The text is not a pipeline. Mistakes that [`Pipeline::parse`] finds are of this kind.
    Text,
    /// The registry has no such capsule, or not its manifest.
    UnknownCapsule,
    /// A capsule has no such input or output.
    UnknownPort,
    /// The schemas of two ends differ.
    Schema,
    /// A setting does not fit.
    Config,
    /// No node has the sensor.
    Sensor,
    /// No node has the actuator.
    Actuator,
    /// Who is asked is missing, unknown, or does not answer that.
    Peer,
    /// There are more wires than an instance can have.
    TooMany,
}

impl Kind {
    /// Its name: `schema`, `unknown-port`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::UnknownCapsule => "unknown-capsule",
            Self::UnknownPort => "unknown-port",
            Self::Schema => "schema",
            Self::Config => "config",
            Self::Sensor => "sensor",
            Self::Actuator => "actuator",
            Self::Peer => "peer",
            Self::TooMany => "too-many",
        }
    }
}

/// A pipeline in numbers: everything that a plan takes of it and of its capsules' manifests.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Its capsules, in its order.
    pub capsules: Vec<ResolvedCapsule>,
    /// Its wires, but those of capsules that are left out.
    pub wires: Vec<ResolvedWire>,
    /// What goes to MQTT.
    pub publish: Vec<ResolvedPublish>,
    /// What comes from MQTT.
    pub subscribe: Vec<ResolvedSubscribe>,
}

/// A capsule of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedCapsule {
    /// The digest of its manifest.
    pub capsule: Digest,
    /// How many instances run: none if it is optional and no node has what it needs.
    pub replicas: u8,
    /// Its settings as an encoded payload, if there are any.
    pub config: Option<Vec<u8>>,
    /// Whom it asks: the number of the peer in its manifest, and the place of that capsule in
    /// [`Resolved::capsules`].
    pub peers: Vec<(u8, usize)>,
    /// What its node has to have.
    pub demands: Demands,
    /// The version of the contract with its node.
    pub abi: u16,
    /// What it costs to run.
    pub needs: Needs,
    /// Bytes of flash that it takes: module, digest pages, manifest, and its records.
    pub flash: u64,
}

/// A port: the place of its capsule in [`Resolved::capsules`], and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The capsule.
    pub capsule: usize,
    /// The number of the output or input.
    pub number: u8,
}

/// A wire between two capsules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolvedWire {
    /// The output.
    pub from: Port,
    /// The input.
    pub to: Port,
    /// What it promises.
    pub delivery: Delivery,
    /// What a full outbox does.
    pub overflow: Overflowing,
    /// Which replicas it joins.
    pub replicas: Replicas,
    /// Messages a second.
    pub rate: f64,
    /// Bytes of its longest payload.
    pub longest: u32,
}

/// An output that goes to MQTT.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedPublish {
    /// The output.
    pub from: Port,
    /// What the pipeline calls its capsule, and the capsule its output.
    pub name: (String, String),
    /// Its encoded schema.
    pub schema: Vec<u8>,
    /// What is promised on the way to the gateway.
    pub delivery: Delivery,
    /// What a full outbox does.
    pub overflow: Overflowing,
}

/// An MQTT topic that goes to an input.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedSubscribe {
    /// The topic.
    pub topic: String,
    /// The input.
    pub to: Port,
    /// The input's name.
    pub input: String,
    /// Its encoded schema.
    pub schema: Vec<u8>,
    /// What is promised on the way from the gateway.
    pub delivery: Delivery,
}
