//! Nodes: adopted, looked at, emptied, revoked.

use super::table::{ago, bytes, table};
use super::{Mesh, explain, print_json};
use crate::Failure;
use crate::commands::Context;
use anyhow::{Result, bail, ensure};
use capmesh_client::api::{
    Adopt, Answer, Label, MigrationState, NodeState, NodeView, OnNode, RefusedView, Rename, Request,
};
use capmesh_wire::Claim;
use clap::Subcommand;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often a node is looked at that is emptied.
const LOOK: Duration = Duration::from_millis(200);

/// How long nothing moves before nothing more is expected to: longer than a gateway takes to decide.
const CALM: Duration = Duration::from_secs(3);

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
    ///
    /// Waits until nothing runs there any more, or nothing more moves away.
    Drain {
        /// Its name or id
        node: String,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
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
        Node::Drain { node, no_wait: false } => return drain(at, &node),
        Node::Drain { node, no_wait: true } => Request::Drain(on(&node)),
        Node::Undrain { node } => Request::Undrain(on(&node)),
        Node::Revoke { node } => Request::Revoke(on(&node)),
        Node::Rename { node, name } => Request::Rename(Rename { node, name }),
        Node::Label { node, labels } => label(node, &labels)?,
        Node::Reboot { node } => Request::Reboot(on(&node)),
    };
    let mesh = Mesh::new(at)?;
    let waiting = mesh.waiting(|| match &request {
        Request::Adopt(adopt) => format!("the node at {} is asked who it is", adopt.address),
        _ => format!("the gateway at {} is asked", at.gateway),
    });
    let answer = mesh.runtime.block_on(mesh.client.ask(&request)).map_err(|e| explain(&e));
    drop(waiting);
    match answer? {
        Answer::Done(done) if at.json => print_json(&[done])?,
        Answer::Node(node) if at.json => print_json(&[node])?,
        Answer::Done(done) => println!("{}", done.message),
        Answer::Node(node) => println!("{} ({}) belongs to the site", node.name, node.id),
        _ => bail!("something else was answered"),
    }
    Ok(())
}

/// Has a node emptied, and waits until it is, or nothing more moves away.
fn drain(at: &Context, name: &str) -> Result<()> {
    let mesh = Mesh::new(at)?;
    let before = mesh.ask(|client| client.node(name))?;
    let said = mesh.ask(|client| client.drain(name))?;
    let waiting = mesh.waiting(|| format!("{} is being emptied", before.name));
    let mut calm_since = Instant::now();
    let left = loop {
        let (node, moves) = mesh
            .runtime
            .block_on(async {
                Ok((mesh.client.node(name).await?, mesh.client.migrations().await?))
            })
            .map_err(|error| explain(&error))?;
        let moves_away = moves.iter().any(|migration| {
            migration.from == node.name
                && !matches!(migration.state, MigrationState::Done | MigrationState::Undone)
        });
        if moves_away {
            calm_since = Instant::now();
        }
        if node.instances.is_empty() || calm_since.elapsed() > CALM {
            break node.instances;
        }
        let all = before.instances.len().max(node.instances.len());
        if let Some(waiting) = &waiting {
            let what = format!("instances have left {}", before.name);
            waiting.step(all - node.instances.len(), all, what);
        }
        std::thread::sleep(LOOK);
    };
    drop(waiting);
    if !left.is_empty() {
        let message = format!("{} takes nothing new, but not all could leave", before.name);
        let failure = Failure::new("unplaceable", message).because(said.message);
        let failure = failure.because(format!("still there: {}", left.join(", ")));
        return Err(failure
            .help(format!("make room elsewhere; `capmesh node undrain {}` ends it", before.name))
            .into());
    }
    let message = format!("{} is empty and takes nothing new", before.name);
    at.say(&json!({ "message": message }), &message);
    Ok(())
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
