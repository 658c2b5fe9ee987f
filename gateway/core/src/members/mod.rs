//! Who belongs to the site: the roster, signed anew with each change.

mod adopt;

pub(crate) use adopt::{Adoption, Stage};

use crate::io::Token;
use crate::store::{Key, Store, Table};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::roster::{Delta, EntriesWriter, Entry, Roster, UnverifiedRoster};
use capmesh_wire::{Credential, Name, NodeId, Revision, Role, limits};
use core::fmt;
use std::collections::BTreeMap;

/// Bytes of the longest roster, with room for its head and signature.
const LONGEST: usize = limits::ROSTER_HEAD + limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY + 8;

/// Bytes of the longest delta: nodes keep no longer ones for each other.
const DELTA: usize = 1_024;

/// Why the roster does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersError {
    /// The site's signing key is not here.
    NoSiteKey,
    /// There are as many members as a roster may have.
    Full,
    /// Nobody has this id.
    Unknown,
    /// What was given is no roster of this site's.
    NotARoster,
}

impl fmt::Display for MembersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSiteKey => "the site's signing key is not here",
            Self::Full => "the roster is full",
            Self::Unknown => "nobody on the roster has this id",
            Self::NotARoster => "that is not a roster of this site",
        })
    }
}

impl core::error::Error for MembersError {}

/// The roster, and the key that signs it if it is here.
#[derive(Debug)]
pub(crate) struct Members {
    site: String,
    key: Option<SigningKey>,
    /// The signed roster; empty if there is none yet.
    roster: Vec<u8>,
    read: Read,
    /// What leads to it from the one before, and which that was, if it was made in this life and is short.
    delta: Option<(Revision, Vec<u8>)>,
    /// The commit that makes it durable: before, nobody is told of it.
    token: Token,
}

/// What is asked of the roster all the time. Whoever is no node is one of a few.
#[derive(Debug, Default)]
struct Read {
    version: Revision,
    registries: Vec<NodeId>,
    /// What those are called that are no nodes.
    services: BTreeMap<NodeId, String>,
}

impl Read {
    fn of(roster: &[u8]) -> Self {
        let Ok(roster) = Roster::from_trusted(roster) else { return Self::default() };
        let mut read = Self { version: roster.head().version, ..Self::default() };
        for entry in roster.entries().filter(|entry| entry.role != Role::Node) {
            if entry.role == Role::Registry {
                read.registries.push(entry.id());
            }
            read.services.insert(entry.id(), subject(&entry));
        }
        read
    }
}

fn subject(entry: &Entry<'_>) -> String {
    entry.credential.subject().as_str().to_owned()
}

impl Members {
    /// The newer of the roster that was kept and the one that is given.
    pub(crate) fn new(
        site: &str,
        key: Option<SigningKey>,
        kept: Option<Vec<u8>>,
        given: Option<Vec<u8>>,
        store: &mut Store,
    ) -> Self {
        let version = |bytes: &Vec<u8>| Roster::from_trusted(bytes).ok().map(|r| r.head().version);
        let kept = kept.filter(|bytes| version(bytes).is_some());
        let given = given.filter(|bytes| {
            version(bytes).is_some()
                && key.as_ref().is_none_or(|key| {
                    UnverifiedRoster::parse(bytes)
                        .is_ok_and(|roster| roster.verify(&key.public_key()).is_ok())
                })
        });
        let newer = given.filter(|given| version(given) > kept.as_ref().and_then(version));
        let token = match &newer {
            Some(roster) => store.put(Key::new(Table::Roster, []), roster.clone()),
            None => Token::default(),
        };
        let roster = newer.or(kept).unwrap_or_default();
        let read = Read::of(&roster);
        Self { site: site.to_owned(), key, roster, read, delta: None, token }
    }

    /// The signed roster.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.roster
    }

    /// What to tell a node that holds this version: what has changed since, or all.
    pub(crate) fn since(&self, held: Revision) -> &[u8] {
        match &self.delta {
            Some((base, delta)) if *base == held => delta,
            _ => &self.roster,
        }
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(crate) fn roster(&self) -> Option<Roster<'_>> {
        Roster::from_trusted(&self.roster).ok()
    }

    pub(crate) const fn version(&self) -> Revision {
        self.read.version
    }

    pub(crate) fn role(&self, id: NodeId) -> Option<Role> {
        self.roster()?.find(id).map(|entry| entry.role)
    }

    /// The registries.
    pub(crate) fn registries(&self) -> &[NodeId] {
        &self.read.registries
    }

    /// What somebody on the roster is called.
    pub(crate) fn name(&self, id: NodeId) -> Option<String> {
        let service = self.read.services.get(&id).cloned();
        service.or_else(|| self.roster()?.find(id).map(|entry| subject(&entry)))
    }

    /// The site's credential: what a node that is adopted trusts from then on.
    pub(crate) fn credential(&self) -> Result<Vec<u8>, MembersError> {
        let key = self.key.as_ref().ok_or(MembersError::NoSiteKey)?;
        let name = Name::new(&self.site).map_err(|_| MembersError::NotARoster)?;
        let mut bytes = vec![0; limits::CREDENTIAL];
        let len = Credential::encode(name, &key.public_key(), &mut bytes)
            .map_err(|_| MembersError::NotARoster)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Puts somebody on the roster, in a new version if they are not there as they should be.
    pub(crate) fn enrol(
        &mut self,
        store: &mut Store,
        unix: u64,
        credential: Credential<'_>,
        role: Role,
    ) -> Result<(), MembersError> {
        let id = credential.id();
        let known = self.roster().and_then(|roster| roster.find(id)).is_some_and(|entry| {
            entry.role == role && entry.credential.as_bytes() == credential.as_bytes()
        });
        if known {
            return Ok(());
        }
        self.sign(store, unix, Some(&Entry { role, expires: u64::MAX, credential }), Some(id))
    }

    /// Takes somebody off the roster.
    pub(crate) fn revoke(
        &mut self,
        store: &mut Store,
        unix: u64,
        id: NodeId,
    ) -> Result<(), MembersError> {
        if self.role(id).is_none() {
            return Err(MembersError::Unknown);
        }
        self.sign(store, unix, None, Some(id))
    }

    fn sign(
        &mut self,
        store: &mut Store,
        unix: u64,
        added: Option<&Entry<'_>>,
        left_out: Option<NodeId>,
    ) -> Result<(), MembersError> {
        let key = self.key.as_ref().ok_or(MembersError::NoSiteKey)?;
        let old = Roster::from_trusted(&self.roster).ok();
        let kept = old.iter().flat_map(Roster::entries).filter(|e| Some(e.id()) != left_out);
        let mut entries: Vec<_> = kept.chain(added.copied()).collect();
        if entries.len() > limits::ROSTER_ENTRIES {
            return Err(MembersError::Full);
        }
        entries.sort_by_key(Entry::id);
        let mut buf = vec![0; LONGEST];
        let mut writer = EntriesWriter::new(&mut buf);
        for entry in &entries {
            writer.push(entry).map_err(|_| MembersError::Full)?;
        }
        let version = old.as_ref().map_or(Revision(0), |old| old.head().version).next();
        let name = Name::new(&self.site).map_err(|_| MembersError::NotARoster)?;
        let head = writer.head(name, version, unix);
        let mut signed = vec![0; LONGEST];
        let len = writer.sign(&head, key, &mut signed).map_err(|_| MembersError::Full)?;
        signed.truncate(len);
        signed.shrink_to_fit();
        let delta = old.zip(Roster::from_trusted(&signed).ok()).and_then(|(old, new)| {
            let mut delta = vec![0; DELTA];
            let len = Delta::between(&old, &new, &mut delta).ok()?;
            delta.truncate(len);
            Some((old.head().version, delta))
        });
        self.delta = delta;
        self.read = Read::of(&signed);
        self.roster = signed;
        self.token = store.put(Key::new(Table::Roster, []), self.roster.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
