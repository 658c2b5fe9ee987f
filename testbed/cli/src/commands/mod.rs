//! The commands, one file for each kind.

mod instance;
mod node;
mod site;
mod watch;

use crate::operator::{Operator, Request};
use crate::show;
use crate::site::{OPERATOR, Site};
use anyhow::{Context as _, Result, bail};
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::{Problem, cbor, content_format, paths};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

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
    /// Adopt, list and look at nodes.
    #[command(subcommand)]
    Node(node::Node),
    /// Send a capsule to a node and run it there.
    Run(instance::Run),
    /// Send a capsule to a node and do not run it.
    Install(instance::Install),
    /// End an instance and forget its state.
    Stop(instance::Stop),
    /// Take a capsule that nothing runs any more off a node.
    Remove(instance::Remove),
    /// List the instances of a node, or of all nodes.
    Ps(watch::Ps),
    /// Show the messages of a topic as they come.
    Tap(watch::Tap),
    /// Show the log of a node.
    Logs(watch::Logs),
}

/// Does what the arguments say.
///
/// # Errors
/// If that is not possible, with the reason for people.
pub fn run(arguments: &Arguments) -> Result<()> {
    let at = Context { directory: arguments.site.clone(), json: arguments.json };
    match &arguments.command {
        Top::Site(command) => site::run(&at, command),
        Top::Node(command) => node::run(&at, command),
        Top::Run(command) => instance::run(&at, command),
        Top::Install(command) => instance::install(&at, command),
        Top::Stop(command) => instance::stop(&at, command),
        Top::Remove(command) => instance::remove(&at, command),
        Top::Ps(command) => watch::ps(&at, command),
        Top::Tap(command) => watch::tap(&at, command),
        Top::Logs(command) => watch::logs(&at, command),
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

    /// The site, this person's endpoint, and the node of that name.
    fn node(&self, name: &str) -> Result<(Site, Operator, Peer)> {
        let site = self.site()?;
        let mut operator = operator(&site)?;
        let (id, address) = site.node(name)?;
        let peer = operator.member(id, address)?;
        Ok((site, operator, peer))
    }
}

fn operator(site: &Site) -> Result<Operator> {
    Ok(Operator::new(site.identity(OPERATOR)?, site.roster().to_vec()))
}

/// Reads what a node shows at `path`.
fn read(operator: &mut Operator, node: Peer, path: &str) -> Result<Vec<u8>> {
    granted(operator.ask(node, &Request::new(Code::GET, path))?)
}

/// The body of a response that grants what was asked.
fn granted(response: crate::operator::Response) -> Result<Vec<u8>> {
    if response.code.is_success() {
        return Ok(response.body);
    }
    let code = response.code;
    match cbor::decode::<Problem<'_>>(&response.body) {
        Ok(problem) => bail!("the node refused ({code}): {}", show::problem(&problem)),
        Err(_) => bail!("the node refused ({code}) {}", String::from_utf8_lossy(&response.body)),
    }
}

/// Sends a command and returns the reply's bytes.
fn command(operator: &mut Operator, node: Peer, command: &Command<'_>) -> Result<Vec<u8>> {
    let mut buf = vec![0; 4096];
    let len = cbor::encode(command, &mut buf).context("the command is too long")?;
    let body = buf.get(..len).unwrap_or_default();
    let request = Request::new(Code::POST, paths::CONTROL).body(content_format::CONTROL, body);
    let reply = granted(operator.ask(node, &request)?)?;
    cbor::decode::<Reply<'_>>(&reply).context("the node's reply is not understood")?;
    Ok(reply)
}
