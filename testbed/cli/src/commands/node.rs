//! Nodes.

use super::Context;
use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// Be a node, until interrupted.
    Run(Box<capmesh_node_linux::Arguments>),
}

pub(super) fn run(_at: &Context, node: Node) -> Result<()> {
    match node {
        Node::Run(arguments) => capmesh_node_linux::run(&arguments).map_err(Into::into),
    }
}
