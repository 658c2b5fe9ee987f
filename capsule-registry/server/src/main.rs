//! `capmesh-registry`: the registry of a site as a process.

use capmesh_registry::command::{self, Arguments};
use capmesh_registry_store::Basic;
use clap::Parser;
use std::path::PathBuf;
use std::sync::Arc;

/// Keeps the capsules of a site: serves them to nodes over CoAP with OSCORE, and to people's tools by
/// the OCI distribution API.
///
/// Modules are checked for their beginning and the version of the contract only; `capmesh registry`
/// has the whole check of a node's runtime.
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    /// The site's directory, as `capmesh site init` makes it.
    #[arg(long, env = "CAPMESH_SITE")]
    site: PathBuf,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> anyhow::Result<()> {
    let abis = vec![capmesh_capsule_abi::VERSION];
    let Program { site, arguments } = Program::parse();
    command::run(&site, arguments, Arc::new(Basic { abis }))
}
