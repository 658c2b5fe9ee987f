//! Nodes: adopted, looked at, emptied, revoked.

use super::table::{ago, bytes, table};
use super::{Mesh, print_json};
use crate::commands::Context;
use anyhow::{Result, ensure};
use capmesh_client::api::{
    Adopt, Answer, Label, NodeState, NodeView, OnNode, RefusedView, Rename, Request,
};
use capmesh_wire::Claim;
use clap::Subcommand;
use std::net::SocketAddr;

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Node {
    /// Be a node, until interrupted
    Run(Box<capmesh_node_linux::Arguments>),
    /// Make a new node a member of the site
    Adopt {
        /// What the node printed at its first start: 26 letters and digits
        claim: Claim,
        /// Where it is, as in 192.0.2.7:5683 or [2001:db8::7]:5683
        #[arg(long)]
        at: SocketAddr,
        /// What to call it
        #[arg(long)]
        name: String,
        /// A word that pipelines can ask for; several are said one by one
        #[arg(long = "label", value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// List the nodes with what they have left
    Ls,
    /// Show all that is known of a node
    Show {
        /// Its name or id
        node: String,
    },
    /// Put nothing new on a node, and move away what is there
    Drain {
        /// Its name or id
        node: String,
    },
    /// Let a node take instances again
    Undrain {
        /// Its name or id
        node: String,
    },
    /// Take a node off the roster: nobody talks to it any more
    Revoke {
        /// Its name or id
        node: String,
    },
    /// Give a node another name
    Rename {
        /// Its name or id
        node: String,
        /// Its new name
        name: String,
    },
    /// Give a node labels, and take others from it with a `-` before them
    Label {
        /// Its name or id
        node: String,
        /// As in: outdoor -basement
        #[arg(required = true, allow_hyphen_values = true)]
        labels: Vec<String>,
    },
    /// Start a node anew
    Reboot {
        /// Its name or id
        node: String,
    },
}

pub(in crate::commands) fn run(at: &Context, command: Node) -> Result<()> {
    let on = |node: &str| OnNode { node: node.to_owned() };
    let request = match command {
        Node::Run(arguments) => return capmesh_node_linux::run(&arguments).map_err(Into::into),
        Node::Adopt { claim, at: address, name, labels } => {
            Request::Adopt(Adopt { claim, address, name, labels })
        }
        Node::Ls => return ls(at),
        Node::Show { node } => return show(at, &node),
        Node::Drain { node } => Request::Drain(on(&node)),
        Node::Undrain { node } => Request::Undrain(on(&node)),
        Node::Revoke { node } => Request::Revoke(on(&node)),
        Node::Rename { node, name } => Request::Rename(Rename { node, name }),
        Node::Label { node, labels } => label(node, &labels)?,
        Node::Reboot { node } => Request::Reboot(on(&node)),
    };
    let mesh = Mesh::new(at)?;
    let answer = mesh.ask(|client| client.ask(&request))?;
    match answer {
        _ if at.json => print_json(&[answer]),
        Answer::Done(done) => {
            println!("{}", done.message);
            Ok(())
        }
        Answer::Node(node) => {
            println!("{} ({}) belongs to the site", node.name, node.id);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn label(node: String, labels: &[String]) -> Result<Request> {
    let (remove, add): (Vec<_>, Vec<_>) = labels.iter().partition(|label| label.starts_with('-'));
    let remove: Vec<_> = remove.iter().map(|label| label[1..].to_owned()).collect();
    ensure!(remove.iter().all(|label| !label.is_empty()), "a `-` goes before the label it removes");
    Ok(Request::Label(Label { node, add: add.into_iter().cloned().collect(), remove }))
}

fn ls(at: &Context) -> Result<()> {
    let nodes = Mesh::new(at)?.ask(|client| client.nodes())?;
    if at.json {
        return print_json(&nodes);
    }
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let headings = ["NODE", "STATE", "SEEN", "INSTANCES", "FLASH LEFT", "RAM LEFT", "BOARD"];
    print!("{}", table(headings, &rows));
    if nodes.is_empty() {
        println!("none yet: start one (`capmesh node run`), then `capmesh node adopt` it");
    }
    Ok(())
}

fn row(node: &NodeView) -> [String; 7] {
    let state = if node.draining { "draining" } else { state(node.state) };
    [
        node.name.clone(),
        state.to_owned(),
        node.seen_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", ago(ms))),
        format!("{} of {}", node.places.total.saturating_sub(node.places.free), node.places.total),
        bytes(node.flash.free, node.flash.total),
        bytes(node.ram.free, node.ram.total),
        node.board.clone(),
    ]
}

pub(super) const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Joining => "joining",
        NodeState::Online => "online",
        NodeState::Suspect => "suspect",
        NodeState::Offline => "offline",
        NodeState::Revoked => "revoked",
    }
}

fn show(at: &Context, name: &str) -> Result<()> {
    let node = Mesh::new(at)?.ask(|client| client.node(name))?;
    if at.json {
        return print_json(&[node]);
    }
    let list = |words: &[String]| match words {
        [] => "none".to_owned(),
        words => words.join(", "),
    };
    println!("{} ({}), {}", node.name, node.id, state(node.state));
    println!("  board      {} with {}", node.board, node.firmware);
    if let Some(address) = node.address {
        println!("  address    {address}");
    }
    if let (Some(uptime), Some(boots)) = (node.uptime_ms, node.boots) {
        let times = if boots == 1 { "once".to_owned() } else { format!("{boots} times") };
        println!("  up         {}, started {times}", ago(uptime));
    }
    println!("  flash left {}", bytes(node.flash.free, node.flash.total));
    println!("  RAM left   {}", bytes(node.ram.free, node.ram.total));
    let [free, total] = [node.fuel.free, node.fuel.total].map(|fuel| fuel as f64 / 1e6);
    println!("  fuel left  {free:.2} of {total:.2} million instructions a second");
    println!("  labels     {}", list(&node.labels));
    println!("  sensors    {}", list(&node.sensors));
    println!("  actuators  {}", list(&node.actuators));
    println!("  instances  {}", list(&node.instances));
    if let Some(refused) = &node.refused {
        let RefusedView { unauthenticated, forbidden, messages, unverified } = refused;
        println!(
            "  refused    {unauthenticated} of strangers, {forbidden} that a role does not allow, \
             {unverified} not signed as they should be, {messages} messages that did not fit"
        );
    }
    for link in &node.links {
        let quality = u32::from(link.quality) * 100 / 255;
        println!("  link to    {}: {}, {quality} % arrive", link.to, link.kind.name());
    }
    Ok(())
}
