//! Nodes: adoption, addresses, rosters, and what they have.

use super::{Context, command, granted, operator, reach, read};
use crate::operator::Request;

use anyhow::{Context as _, Result, anyhow, ensure};
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::control::{Adopt, Command};
use capmesh_wire::inventory::{Inventory, Share, Status};
use capmesh_wire::{Bytes, Claim, Credential, Role, cbor, content_format, paths};
use clap::Subcommand;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a node may take to fetch the roster when it is adopted.
const ADOPTION: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Node {
    /// Make a new node a member of the site.
    Adopt {
        /// What the node printed at its first start: 26 letters and digits.
        claim: Claim,
        /// Where it is, as in 192.0.2.7:5683 or [2001:db8::7]:5683.
        #[arg(long)]
        at: SocketAddr,
    },
    /// Say where a node is.
    At {
        /// Its name.
        node: String,
        /// Its address.
        address: SocketAddr,
    },
    /// List the nodes.
    Ls,
    /// Show what a node has, and what is left of it.
    Show {
        /// Its name or id.
        node: String,
    },
    /// Tell nodes the roster: all, unless some are named.
    Sync {
        /// Their names.
        nodes: Vec<String>,
    },
}

pub(super) fn run(at: &Context, node: &Node) -> Result<()> {
    match node {
        Node::Adopt { claim, at: address } => adopt(at, *claim, *address),
        Node::At { node, address } => {
            let mut site = at.site()?;
            ensure!(site.members().iter().any(|m| m.name == *node), "no node is called {node:?}");
            site.set_address(node, *address)?;
            at.say(
                &json!({ "name": node, "address": address }),
                &format!("{node} is at {address}"),
            );
            Ok(())
        }
        Node::Ls => {
            let nodes = at.site()?.members().into_iter().filter(|m| m.role == Role::Node);
            for node in nodes {
                let address = node.address.map(|address| address.to_string());
                if at.json {
                    let id = node.id.to_string();
                    println!("{}", json!({ "name": node.name, "id": id, "address": address }));
                } else {
                    println!("{:<23} {} {}", node.name, node.id, address.unwrap_or_default());
                }
            }
            Ok(())
        }
        Node::Show { node } => show(at, node),
        Node::Sync { nodes } => sync(at, nodes),
    }
}

/// Adoption: the claim vouches for the key that the node shows; the key goes on the roster; the node
/// is told whose roster to trust, and fetches it from here.
fn adopt(at: &Context, claim: Claim, address: SocketAddr) -> Result<()> {
    let mut site = at.site()?;
    let mut operator = operator(&site)?;
    let _waiting = at.waiting(format!("the node at {address} is adopted"));
    let anybody = Peer::Anonymous(address);
    let query = format!("c={claim}");
    let request = Request::new(Code::GET, paths::CREDENTIAL).query(&query);
    let shown = granted(operator.ask(anybody, &request)?)
        .with_context(|| format!("the node at {address} does not show its credential"))?;
    let credential = Credential::parse(&shown).map_err(|error| anyhow!("{error}"))?;
    ensure!(
        credential.public_key().claim() == claim,
        "the node at {address} is another one: its key does not belong to this claim"
    );
    let name = credential.subject().as_str().to_owned();
    let id = site.enrol(&shown, Role::Node)?;
    site.set_address(&name, address)?;
    operator.set_roster(site.roster().to_vec());

    let roster = operator.offer(site.roster())?;
    let key = site.credential()?;
    let key = Bytes::new(&key).context("the site's credential is too long")?;
    let adopt = Command::Adopt(Adopt { site: key, roster, claim: Some(claim) });
    command(&mut operator, anybody, &adopt).context("the node does not take the site")?;
    let node = operator.member(id, address)?;
    wait_for_roster(&mut operator, node)?;
    if at.json {
        println!("{}", json!({ "name": name, "id": id.to_string(), "address": address }));
    } else {
        println!(
            "{name} ({id}) belongs to the site now; next: capmesh direct run FILE --on {name}"
        );
    }
    Ok(())
}

/// Serves the roster until the node knows who is on it, which shows by its letting the operator in.
fn wait_for_roster(operator: &mut crate::Operator, node: Peer) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        operator.serve_for(Duration::from_millis(300))?;
        match read(operator, node, paths::STATUS) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > ADOPTION => {
                return Err(error.context("the node was told the roster and does not use it"));
            }
            Err(_) => {}
        }
    }
}

fn sync(at: &Context, names: &[String]) -> Result<()> {
    let site = at.site()?;
    let mut operator = operator(&site)?;
    let everybody =
        site.members().into_iter().filter(|m| m.role == Role::Node && m.address.is_some());
    let everybody: Vec<_> = everybody.map(|member| member.name).collect();
    let names = if names.is_empty() { &everybody } else { names };
    let mut failed = Vec::new();
    for name in names {
        let (id, address) = site.node(name)?;
        let node = operator.member(id, address)?;
        let request =
            Request::new(Code::PUT, paths::ROSTER).body(content_format::ROSTER, site.roster());
        match operator.ask(node, &request).and_then(granted) {
            Ok(_) => {
                at.say(&json!({ "node": name }), &format!("{name} has the roster"));
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed.push(name.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "not told: {}", failed.join(", "));
    Ok(())
}

fn show(at: &Context, name: &str) -> Result<()> {
    let (_, mut operator, node) = reach(at, name)?;
    let bytes = read(&mut operator, node, paths::INVENTORY)?;
    let inventory: Inventory<'_> = cbor::decode(&bytes).context("the node's inventory")?;
    let bytes = read(&mut operator, node, paths::STATUS)?;
    let status: Status<'_> = cbor::decode(&bytes).context("the node's status")?;
    let sensors: Vec<_> = inventory.sensors.iter().map(|s| s.name.as_str()).collect();
    if at.json {
        let share = |share: Share| json!({ "total": share.total, "free": share.free });
        println!(
            "{}",
            json!({
                "name": name, "board": inventory.board.as_str(),
                "firmware": inventory.firmware.as_str(), "flash": share(inventory.flash),
                "ram": share(inventory.ram), "fuel": share(inventory.fuel),
                "instances": share(inventory.instances), "sensors": sensors,
                "uptime_ms": status.uptime_ms, "boots": status.boots,
                "roster": status.roster.0, "plan": status.plan.0,
            })
        );
        return Ok(());
    }
    println!("{name}: {} with {}", inventory.board.as_str(), inventory.firmware.as_str());
    println!("up {} s, started {} times", status.uptime_ms / 1000, status.boots);
    println!("roster {}, plan {}", status.roster.0, status.plan.0);
    for (what, share, unit) in [
        ("flash", inventory.flash, " B"),
        ("RAM", inventory.ram, " B"),
        ("fuel", inventory.fuel, "/s"),
        ("instances", inventory.instances, ""),
    ] {
        println!("{what:<9} {}{unit} free of {}{unit}", share.free, share.total);
    }
    println!("sensors   {}", if sensors.is_empty() { "none".into() } else { sensors.join(", ") });
    Ok(())
}
