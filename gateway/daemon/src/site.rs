//! The site's directory: who this gateway is, and who belongs to the site.
//!
//! ```text
//! site.toml         the site's name
//! roster            the signed roster (CBOR)
//! keys/NAME.pem     this gateway's key
//! keys/site.pem     the key that signs the roster, if this gateway is to adopt and revoke nodes
//! ```

use crate::config::{Config, ConfigError};
use capmesh_keyfile::{Key, KeyError};
use capmesh_wire::{Name, Role, Roster};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a gateway reads there.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) key: Key,
    pub(crate) site_key: Option<Key>,
    pub(crate) roster: Vec<u8>,
}

/// Why a directory is no site for this gateway.
#[derive(Debug)]
pub enum SiteError {
    /// A file is not there.
    Missing(PathBuf, &'static str),
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// `site.toml` is not one.
    About(PathBuf, String),
    /// A key cannot be used.
    Key(KeyError),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path, help) => write!(f, "{} is not there; {help}", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::About(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Key(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SiteError {}

#[derive(Deserialize)]
struct About {
    name: String,
}

impl Site {
    pub(crate) fn read(directory: &Path, gateway: &str) -> Result<Self, SiteError> {
        let no_site = "`capmesh site init` makes a site";
        let path = directory.join("site.toml");
        let text = read(&path, no_site)?;
        let about = Toml::string(&String::from_utf8_lossy(&text));
        let about: Result<About, _> = Figment::from(about).extract();
        let name = about
            .map_err(|error| SiteError::About(path.clone(), error.to_string()))
            .map(|about| about.name)?;
        Name::new(&name).map_err(|error| SiteError::About(path, format!("`name`: {error}")))?;
        let roster = read(&directory.join("roster"), no_site)?;
        let keys = directory.join("keys");
        let own = keys.join(gateway).with_extension("pem");
        if !own.exists() {
            let help = "`capmesh site add NAME --role gateway` puts a gateway on the roster, \
                        `--name` says which one this is";
            return Err(SiteError::Missing(own, help));
        }
        let key = Key::read(&own).map_err(SiteError::Key)?;
        let site = keys.join("site.pem");
        let site_key = site.exists().then(|| Key::read(&site)).transpose();
        Ok(Self { name, key, site_key: site_key.map_err(SiteError::Key)?, roster })
    }

    /// Whether the registries that have an address of their own are on the roster. Those that are there
    /// and share one are told of: at most one of them can be there.
    pub(crate) fn check_registries(&self, config: &Config) -> Result<(), ConfigError> {
        let roster = Roster::from_trusted(&self.roster).ok();
        let entries = roster.as_ref().map(|roster| roster.entries()).into_iter().flatten();
        let there: Vec<String> = entries
            .filter(|entry| entry.role == Role::Registry)
            .map(|entry| entry.credential.subject().as_str().to_owned())
            .collect();
        if let Some(name) = config.registries.keys().find(|name| !there.contains(name)) {
            return Err(ConfigError::NoRegistry(name.clone(), there));
        }
        let shared: Vec<_> =
            there.iter().filter(|name| !config.registries.contains_key(*name)).cloned().collect();
        if let (Some(address), 2..) = (config.registry, shared.len()) {
            tracing::warn!(
                registries = shared.join(", "), %address,
                "several registries are looked for at one address: `[registries]` says where each is"
            );
        }
        Ok(())
    }
}

/// Writes the roster so that there is the old or the new one at any time.
pub(crate) fn write_roster(directory: &Path, roster: &[u8]) -> Result<(), SiteError> {
    let path = directory.join("roster");
    let new = path.with_extension("new");
    let write = || {
        let mut file = fs::File::create(&new)?;
        file.write_all(roster)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(|error| SiteError::Io(path.clone(), error))
}

fn read(path: &Path, help: &'static str) -> Result<Vec<u8>, SiteError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SiteError::Missing(path.to_owned(), help),
        _ => SiteError::Io(path.to_owned(), error),
    })
}
