//! What an operator does to one node by hand, over CoAP, with no gateway in between.

mod instance;
mod node;
mod watch;

use super::Context;
use crate::operator::{Operator, Request, Response};
use crate::show;
use crate::site::{OPERATOR, Site};
use anyhow::{Context as _, Result, bail};
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::{Problem, cbor, content_format, paths};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Direct {
    #[command(flatten)]
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

pub(super) fn run(at: &Context, command: &Direct) -> Result<()> {
    match command {
        Direct::Node(command) => node::run(at, command),
        Direct::Run(command) => instance::run(at, command),
        Direct::Install(command) => instance::install(at, command),
        Direct::Stop(command) => instance::stop(at, command),
        Direct::Remove(command) => instance::remove(at, command),
        Direct::Ps(command) => watch::ps(at, command),
        Direct::Tap(command) => watch::tap(at, command),
        Direct::Logs(command) => watch::logs(at, command),
    }
}

/// The site, this person's endpoint, and the node of that name.
fn reach(at: &Context, node: &str) -> Result<(Site, Operator, Peer)> {
    let site = at.site()?;
    let mut operator = operator(&site)?;
    let (id, address) = site.node(node)?;
    let peer = operator.member(id, address)?;
    Ok((site, operator, peer))
}

fn operator(site: &Site) -> Result<Operator> {
    Ok(Operator::new(site.identity(OPERATOR)?, site.roster().to_vec()))
}

/// Reads what a node shows at `path`.
fn read(operator: &mut Operator, node: Peer, path: &str) -> Result<Vec<u8>> {
    granted(operator.ask(node, &Request::new(Code::GET, path))?)
}

/// The body of a response that grants what was asked.
fn granted(response: Response) -> Result<Vec<u8>> {
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
