//! A site on a disk: its keys, its roster, where its nodes are, and the bundles that they were sent.
//!
//! ```text
//! site.toml           the site's name
//! roster              the signed roster (CBOR)
//! nodes.toml          name of each node -> its address
//! keys/site.pem       signs the roster
//! keys/operator.pem   who talks to nodes by hand
//! keys/publisher.pem  signs capsules
//! keys/NAME.pem       of other members that were made here
//! capsules/DIGEST     bundles, to know what a topic carries
//! ```

use crate::Failure;
use anyhow::{Context, Result, anyhow, bail, ensure};
use capmesh_keyfile::Key;
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::roster::{EntriesWriter, Entry, Roster, UnverifiedRoster};
use capmesh_wire::{Digest, Name, NodeId, Revision, Role, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The member that a person is.
pub const OPERATOR: &str = "operator";
/// The member that signs capsules.
pub const PUBLISHER: &str = "publisher";

/// Bytes of the longest roster, with room for its head and signature.
const LONGEST_ROSTER: usize =
    limits::ROSTER_HEAD + limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY + 8;

/// A site directory.
#[derive(Debug)]
pub struct Site {
    directory: PathBuf,
    roster: Vec<u8>,
    nodes: Nodes,
}

#[derive(Debug, Serialize, Deserialize)]
struct About {
    name: String,
}

/// Where nodes are.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Nodes {
    #[serde(default)]
    nodes: BTreeMap<String, SocketAddr>,
}

/// Somebody on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key's id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where it is, if that is known.
    pub address: Option<SocketAddr>,
}

impl Site {
    /// Makes a site called `name`, with an operator and a publisher on its roster.
    ///
    /// # Errors
    /// If there is one already, or it cannot be written.
    pub fn create(directory: &Path, name: &str) -> Result<Self> {
        let about = directory.join("site.toml");
        ensure!(!about.exists(), "{} is a site already", directory.display());
        Name::new(name).with_context(|| format!("the site's name {name:?}"))?;
        fs::create_dir_all(directory.join("keys"))?;
        fs::create_dir_all(directory.join("capsules"))?;
        Key::generate().write_new(&key_file(directory, "site"))?;
        replace(&about, toml::to_string(&About { name: name.into() })?.as_bytes())?;
        let mut site =
            Self { directory: directory.into(), roster: Vec::new(), nodes: Nodes::default() };
        site.make_member(OPERATOR, Role::Operator)?;
        site.make_member(PUBLISHER, Role::Publisher)?;
        Ok(site)
    }

    /// Opens a site, whose roster is verified.
    ///
    /// # Errors
    /// If there is none, or its files are not as they should be.
    pub fn open(directory: &Path) -> Result<Self> {
        let roster = directory.join("roster");
        let bytes = match fs::read(&roster) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("{} is not a site; `capmesh site init` makes one", directory.display())
            }
            Err(error) => return Err(error).context(roster.display().to_string()),
        };
        let key = Key::read(&key_file(directory, "site"))?.public();
        UnverifiedRoster::parse(&bytes)
            .map_err(|error| anyhow!("{error}"))
            .and_then(|roster| roster.verify(&key).map_err(|error| anyhow!("{error}")))
            .with_context(|| roster.display().to_string())?;
        let nodes = directory.join("nodes.toml");
        let nodes = match fs::read_to_string(&nodes) {
            Ok(text) => toml::from_str(&text).with_context(|| nodes.display().to_string())?,
            Err(_) => Nodes::default(),
        };
        Ok(Self { directory: directory.into(), roster: bytes, nodes })
    }

    /// The signed roster.
    #[must_use]
    pub fn roster(&self) -> &[u8] {
        &self.roster
    }

    /// The site's own credential: what a node that is adopted trusts from then on.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub fn credential(&self) -> Result<Vec<u8>> {
        Ok(self.key("site")?.credential(&self.name()?)?)
    }

    /// The site's name.
    ///
    /// # Errors
    /// If `site.toml` cannot be read.
    pub fn name(&self) -> Result<String> {
        let path = self.directory.join("site.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let about: About = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(about.name)
    }

    /// Everybody on the roster.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let Ok(roster) = Roster::from_trusted(&self.roster) else { return Vec::new() };
        let member = |entry: Entry<'_>| {
            let name = entry.credential.subject().as_str().to_owned();
            let address = self.nodes.nodes.get(&name).copied();
            Member { id: entry.id(), name, role: entry.role, address }
        };
        roster.entries().map(member).collect()
    }

    /// The node with this name or id, and where it is.
    ///
    /// # Errors
    /// If there is none, or its address is not known.
    pub fn node(&self, name: &str) -> Result<(NodeId, SocketAddr)> {
        let nodes: Vec<_> =
            self.members().into_iter().filter(|member| member.role == Role::Node).collect();
        let found = nodes.iter().find(|node| node.name == name || node.id.to_string() == name);
        let Some(node) = found else {
            let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
            match names.as_slice() {
                [] => bail!("the site has no nodes yet; `capmesh direct adopt` adds one"),
                names => bail!("no node is called {name:?}; there are {}", names.join(", ")),
            }
        };
        let address = node.address.with_context(|| {
            format!("where {name} is is not known; `capmesh direct at {name} ADDRESS` says so")
        })?;
        Ok((node.id, address))
    }

    /// What a member whose key is here proves itself with.
    ///
    /// # Errors
    /// If its key cannot be read.
    pub fn identity(&self, name: &str) -> Result<Identity> {
        let key = self.key(name)?;
        let credential = key.credential(name)?;
        let credential = Credential::parse(&credential)?;
        Identity::new(&key.scalar(), credential).with_context(|| format!("the key of {name}"))
    }

    /// The key of a member, or of the site.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn key(&self, name: &str) -> Result<Key> {
        let file = key_file(&self.directory, name);
        if !file.exists() {
            let there: Vec<_> = self.members().into_iter().map(|member| member.name).collect();
            let whose = match there.iter().any(|member| member == name) || name == "site" {
                true => format!("the key of {name} is not here"),
                false => format!(
                    "nobody on the roster is called {name:?}; there are {}",
                    there.join(", ")
                ),
            };
            return Err(Failure::new("machine", format!("{}: {whose}", file.display())).into());
        }
        Ok(Key::read(&file)?)
    }

    /// Makes a key for somebody and puts them on the roster.
    ///
    /// # Errors
    /// If the name is taken or the files cannot be written.
    pub fn make_member(&mut self, name: &str, role: Role) -> Result<NodeId> {
        ensure!(
            self.members().iter().all(|member| member.name != name),
            "{name} is on the roster already"
        );
        let key = Key::generate();
        let credential = key.credential(name)?;
        key.write_new(&key_file(&self.directory, name))?;
        self.enrol(&credential, role)
    }

    /// Puts the owner of a credential on the roster, or gives it another role, in a new version.
    ///
    /// # Errors
    /// If the credential is malformed, its name is somebody else's, or files cannot be written.
    pub fn enrol(&mut self, credential: &[u8], role: Role) -> Result<NodeId> {
        let credential = capmesh_wire::Credential::parse(credential)
            .map_err(|error| anyhow!("the credential is not valid: {error}"))?;
        let (id, name) = (credential.id(), credential.subject());
        let taken = self.members().into_iter().find(|m| m.name == name.as_str() && m.id != id);
        if let Some(taken) = taken {
            bail!("{name} is the name of {} already; give the new member another one", taken.id);
        }
        self.sign(Some(&Entry { role, expires: u64::MAX, credential }), None)?;
        Ok(id)
    }

    /// Takes somebody off the roster, in a new version.
    ///
    /// # Errors
    /// If nobody has this name, or files cannot be written.
    pub fn revoke(&mut self, name: &str) -> Result<NodeId> {
        let member = self.members().into_iter().find(|member| member.name == name);
        let id = member.with_context(|| format!("nobody on the roster is called {name:?}"))?.id;
        self.sign(None, Some(id))?;
        self.nodes.nodes.remove(name);
        self.write_nodes()?;
        Ok(id)
    }

    /// Remembers where a node is.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn set_address(&mut self, name: &str, address: SocketAddr) -> Result<()> {
        self.nodes.nodes.insert(name.into(), address);
        self.write_nodes()
    }

    /// Keeps a bundle, so that what its capsule publishes can be read later.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, capsule: &Digest, bundle: &[u8]) -> Result<()> {
        replace(&self.directory.join("capsules").join(hex(capsule)), bundle)
    }

    /// The bundles that were kept.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn bundles(&self) -> Result<Vec<Vec<u8>>> {
        let directory = self.directory.join("capsules");
        let mut bundles = Vec::new();
        for file in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            bundles.push(fs::read(file?.path())?);
        }
        Ok(bundles)
    }

    /// Signs the next version of the roster, with one entry added or replaced, and one left out.
    fn sign(&mut self, added: Option<&Entry<'_>>, removed: Option<NodeId>) -> Result<()> {
        let old = Roster::from_trusted(&self.roster).ok();
        let left_out = removed.or(added.map(Entry::id));
        let kept = old.iter().flat_map(Roster::entries).filter(|e| Some(e.id()) != left_out);
        let mut entries: Vec<_> = kept.chain(added.copied()).collect();
        entries.sort_by_key(Entry::id);
        let mut buf = vec![0; LONGEST_ROSTER];
        let mut writer = EntriesWriter::new(&mut buf);
        for entry in &entries {
            writer.push(entry)?;
        }
        let version = old.map_or(0, |old| old.head().version.0) + 1;
        let issued = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let name = self.name()?;
        let name = Name::new(&name).with_context(|| format!("the site's name {name:?}"))?;
        let head = writer.head(name, Revision(version), issued);
        let mut signed = vec![0; LONGEST_ROSTER];
        let len = writer.sign(&head, &self.key("site")?.signing(), &mut signed)?;
        signed.truncate(len);
        replace(&self.directory.join("roster"), &signed)?;
        self.roster = signed;
        Ok(())
    }

    fn write_nodes(&self) -> Result<()> {
        let text = toml::to_string(&self.nodes)?;
        replace(&self.directory.join("nodes.toml"), text.as_bytes())
    }
}

/// The credential of somebody on a roster that has been verified.
///
/// # Errors
/// If nobody there has this id.
pub fn credential_of(roster: &[u8], id: NodeId) -> Result<capmesh_wire::Credential<'_>> {
    let roster = Roster::from_trusted(roster).map_err(|error| anyhow!("{error}"))?;
    let entry = roster.find(id).with_context(|| format!("{id} is not on the roster"))?;
    Ok(entry.credential)
}

fn key_file(directory: &Path, name: &str) -> PathBuf {
    directory.join("keys").join(format!("{name}.pem"))
}

/// A digest as a file is called.
fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file so that there is the old or the new one at any time.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
