//! The commands, one file for each kind.

mod direct;
mod node;
mod site;

use crate::site::Site;
use anyhow::Result;
use capmesh_capsule::cli::Verb;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Signed WebAssembly capsules on a mesh of sensor nodes.
#[derive(Debug, Parser)]
#[command(name = "capmesh", version, propagate_version = true)]
pub struct Arguments {
    /// The site's directory.
    #[arg(long, global = true, env = "CAPMESH_SITE", default_value = "capmesh-site")]
    site: PathBuf,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Top,
}

#[derive(Debug, Subcommand)]
enum Top {
    /// Make a site, and say who belongs to it.
    #[command(subcommand)]
    Site(site::Site),
    /// Be a node.
    #[command(subcommand)]
    Node(node::Node),
    /// Build, check, sign and try out capsules.
    #[command(subcommand)]
    Capsule(Verb),
    /// Talk to one node over CoAP as the site's operator, with no gateway in between.
    #[command(subcommand)]
    Direct(direct::Direct),
}

/// Does what the arguments say.
///
/// # Errors
/// If that is not possible, with the reason for people.
pub fn run(arguments: Arguments) -> Result<()> {
    let at = Context { directory: arguments.site, json: arguments.json };
    match arguments.command {
        Top::Site(command) => site::run(&at, &command),
        Top::Node(command) => node::run(&at, command),
        Top::Capsule(verb) => Ok(verb.run()?),
        Top::Direct(command) => direct::run(&at, &command),
    }
}

/// What a process ends with that failed so.
#[must_use]
pub fn code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<capmesh_capsule::cli::Failure>() {
        Some(failure) => failure.code(),
        None => ExitCode::FAILURE,
    }
}

/// What is the same for every command.
#[derive(Debug)]
struct Context {
    directory: PathBuf,
    json: bool,
}

impl Context {
    fn site(&self) -> Result<Site> {
        Site::open(&self.directory)
    }
}
