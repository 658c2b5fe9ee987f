//! Capsules: made here, and kept in a registry.

use super::Context;
use crate::Failure;
use anyhow::{Context as _, Result, anyhow};
use capmesh_capsule::cli::Verb;
use capmesh_capsule::module::{self, Hints};
use capmesh_capsule::seal;
use capmesh_registry::client::{Client, Error as RegistryError};
use capmesh_registry_store::Checker;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, Manifest};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Looks at modules as nodes do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission;

impl Checker for Admission {
    fn check(&self, _manifest: &Manifest<'_>, module: &[u8]) -> Result<(), String> {
        module::pack(module, Hints::default()).map(drop).map_err(|fault| fault.to_string())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Capsule {
    #[command(flatten)]
    Make(Verb),
    /// Put a capsule into the registry, so that pipelines can use it
    Push(Push),
    /// Fetch a capsule from the registry
    Pull(Pull),
    /// List the tags of a capsule in the registry
    Tags(Tags),
}

#[derive(Debug, Args)]
pub(super) struct Registry {
    /// The registry
    #[arg(
        long,
        env = "CAPMESH_REGISTRY",
        default_value = "http://127.0.0.1:5050",
        value_name = "URL"
    )]
    registry: String,
    /// What it wants to be told
    #[arg(long, env = "CAPMESH_REGISTRY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    registry_token: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Push {
    /// The signed capsule
    file: PathBuf,
    /// NAME:TAG, if not the name and version that its manifest says
    #[arg(long = "as", value_name = "NAME:TAG")]
    to: Option<String>,
    #[command(flatten)]
    registry: Registry,
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// NAME:TAG or NAME@sha256:DIGEST
    capsule: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    registry: Registry,
}

#[derive(Debug, Args)]
pub(super) struct Tags {
    /// The capsule's name
    capsule: String,
    #[command(flatten)]
    registry: Registry,
}

impl Registry {
    fn client(self) -> Result<Client> {
        let client = Client::new(&self.registry)?;
        Ok(match self.registry_token {
            Some(token) => client.with_token(token),
            None => client,
        })
    }
}

pub(super) fn run(at: &Context, command: Capsule) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Capsule::Make(verb) => Ok(verb.run(at.json)?),
        Capsule::Push(arguments) => runtime.block_on(push(at, arguments)),
        Capsule::Pull(arguments) => runtime.block_on(pull(at, arguments)),
        Capsule::Tags(arguments) => runtime.block_on(async {
            let name = arguments.capsule.as_str();
            let name =
                name.try_into().map_err(|error| anyhow!("{:?}: {error}", arguments.capsule))?;
            let _waiting =
                at.waiting(format!("the registry at {} is asked", arguments.registry.registry));
            for tag in arguments.registry.client()?.tags(name).await? {
                at.say(&json!({ "tag": tag }), &tag);
            }
            Ok(())
        }),
    }
}

async fn push(at: &Context, arguments: Push) -> Result<()> {
    let path = &arguments.file;
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let capsule = seal::open(&file).with_context(|| path.display().to_string())?;
    let manifest = capsule.manifest().map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let to = match &arguments.to {
        Some(text) => reference(text)?,
        None => {
            let version = CapsuleVersion::Tag(manifest.capsule.version);
            CapsuleRef { name: manifest.name, version }
        }
    };
    let waiting =
        at.waiting(format!("{to} goes to the registry at {}", arguments.registry.registry));
    let client = arguments.registry.client()?;
    let pushed = client.push(&to, capsule.envelope(), capsule.module()).await;
    drop(waiting);
    let digest = pushed.map_err(|error| {
        let is_signer = matches!(&error, RegistryError::Refused(_, why) if why.contains("roster"));
        let failure = Failure::of(&error.into());
        let help = "a publisher of the site signs it: capmesh capsule sign FILE --key \
                    SITE/keys/publisher.pem (of `up`: capmesh-up/site/keys/publisher.pem)";
        if is_signer { failure.help(help) } else { failure }
    })?;
    let json = json!({ "capsule": to.to_string(), "digest": digest.to_string() });
    at.say(&json, &format!("{to} is {digest}; a pipeline says: use = \"{to}\""));
    Ok(())
}

async fn pull(at: &Context, arguments: Pull) -> Result<()> {
    let from = reference(&arguments.capsule)?;
    let path = &arguments.output;
    let _waiting =
        at.waiting(format!("{from} comes from the registry at {}", arguments.registry.registry));
    let client = arguments.registry.client()?;
    let pulled = client.pull(&from).await?;
    let capsule = seal::join(pulled.manifest, &pulled.module)?;
    std::fs::write(path, capsule.bundle()).with_context(|| path.display().to_string())?;
    let file = path.display().to_string();
    let json = json!({ "capsule": from.to_string(), "file": file });
    at.say(&json, &format!("{from} is in {file}"));
    Ok(())
}

fn reference(text: &str) -> Result<CapsuleRef<'_>> {
    CapsuleRef::try_from(text).map_err(|error| anyhow!("{text:?} does not name a capsule: {error}"))
}
