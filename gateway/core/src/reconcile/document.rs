//! The plan of one node, as it is signed.

use crate::nodes::Nodes;
use crate::rows::{Row, Rows};
use capmesh_wire::cbor::{self, List};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::inventory::{Link, LinkKind};
use capmesh_wire::plan::{Address, Plan, Route};
use capmesh_wire::{Digest, Name, NodeId, Revision, format, limits};
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a plan: what a node takes.
const BYTES: usize = 96 << 10;

/// Who relays between two nodes that cannot reach each other, the smaller id first.
pub(crate) type Relays = BTreeMap<(NodeId, NodeId), NodeId>;

/// What the plan of a node says beside its rows.
pub(crate) struct Around<'a> {
    pub(crate) site: &'a str,
    /// This gateway.
    pub(crate) gateway: NodeId,
    /// Gateways and registries, and where nodes can reach them.
    pub(crate) services: &'a [(NodeId, Vec<SocketAddr>)],
    pub(crate) nodes: &'a Nodes,
    pub(crate) relays: &'a Relays,
    /// Nodes that have to reach each other beside those that are wired: the two ends of a migration.
    pub(crate) pairs: &'a BTreeSet<(NodeId, NodeId)>,
}

struct Way {
    node: NodeId,
    addresses: Vec<Address>,
    relay: Option<NodeId>,
}

/// What the plan of `node` says, without revision and signature, as a digest.
pub(crate) fn says(rows: &Rows, node: NodeId, around: &Around<'_>) -> Option<Digest> {
    with_plan(rows, node, around, Revision(0), |plan, buf| {
        let len = cbor::encode(plan, buf).ok()?;
        Some(Digest::of(buf.get(..len)?))
    })
}

/// The plan of `node`, signed.
pub(crate) fn signed(
    rows: &Rows,
    node: NodeId,
    around: &Around<'_>,
    revision: Revision,
    key: &SigningKey,
) -> Option<Vec<u8>> {
    with_plan(rows, node, around, revision, |plan, scratch| {
        let mut signed = vec![0; BYTES];
        let len = plan.sign(key, scratch, &mut signed).ok()?;
        signed.truncate(len);
        signed.shrink_to_fit();
        Some(signed)
    })
}

fn with_plan<T>(
    rows: &Rows,
    node: NodeId,
    around: &Around<'_>,
    revision: Revision,
    with: impl FnOnce(&Plan<'_>, &mut [u8]) -> Option<T>,
) -> Option<T> {
    let own: Vec<Row> = rows
        .of(node)
        .filter_map(|row| rows.bound(row.instance, around.gateway))
        .take(limits::ASSIGNMENTS)
        .collect();
    let ways = ways(&own, node, around);
    let routes: Vec<Route<'_>> = ways
        .iter()
        .filter_map(|way| {
            let addresses = List::new(&way.addresses).ok()?;
            Some(Route { node: way.node, addresses, relay: way.relay })
        })
        .collect();
    let assignments: Vec<_> = own.iter().filter_map(Row::assignment).collect();
    let plan = Plan {
        format: format::PLAN,
        site: Name::new(around.site).ok()?,
        revision,
        node,
        routes: List::new(&routes).ok()?,
        assignments: List::new(&assignments).ok()?,
    };
    with(&plan, &mut vec![0; BYTES])
}

/// How to reach the gateway, those that have capsules, those that the rows name, and those that this node
/// relays between.
fn ways(own: &[Row], node: NodeId, around: &Around<'_>) -> Vec<Way> {
    let addresses = |addresses: &[SocketAddr]| -> Vec<Address> {
        addresses.iter().copied().map(Address).take(limits::ADDRESSES).collect()
    };
    let mut ways: Vec<Way> = around
        .services
        .iter()
        .map(|(id, at)| Way { node: *id, addresses: addresses(at), relay: None })
        .collect();
    let mut named = named(own);
    for (a, b) in around.pairs {
        named.extend([(*a, *b), (*b, *a)].iter().filter(|(a, _)| *a == node).map(|(_, b)| *b));
    }
    let relayed = |id: NodeId| around.relays.get(&(node.min(id), node.max(id))).copied();
    let mut direct: BTreeSet<NodeId> = named.iter().filter_map(|id| relayed(*id)).collect();
    for ((a, b), _) in around.relays.iter().filter(|(_, relay)| **relay == node) {
        direct.extend([*a, *b]);
    }
    let relays = named.iter().filter(|id| relayed(**id).is_some()).copied();
    let relays: BTreeSet<NodeId> = relays.filter(|id| !direct.contains(id)).collect();
    direct.extend(named.difference(&relays));
    for (id, is_direct) in
        direct.iter().map(|id| (*id, true)).chain(relays.iter().map(|id| (*id, false)))
    {
        if id == node || ways.iter().any(|way| way.node == id) {
            continue;
        }
        let known = around.nodes.get(id).and_then(crate::nodes::Node::address);
        let relay = relayed(id).filter(|_| !is_direct);
        ways.push(Way { node: id, addresses: known.map(Address).into_iter().collect(), relay });
    }
    ways.truncate(limits::ROUTES);
    ways
}

/// Those that rows name.
fn named(rows: &[Row]) -> BTreeSet<NodeId> {
    rows.iter()
        .flat_map(|row| {
            let inbound = row.inbound.iter().map(|wire| wire.node);
            let outbound = row.outbound.iter().map(|wire| wire.node);
            inbound.chain(outbound).chain(row.peers.iter().map(|peer| peer.node))
        })
        .collect()
}

/// Who relays between nodes that are wired, or have to reach each other, and cannot. The work is that of
/// all wires, each with the links of two nodes.
pub(crate) fn relays(
    rows: &Rows,
    gateway: NodeId,
    nodes: &Nodes,
    pairs: &BTreeSet<(NodeId, NodeId)>,
) -> Relays {
    let mut wanted = pairs.clone();
    for row in rows.iter() {
        let Some(bound) = rows.bound(row.instance, gateway) else { continue };
        let others = named(core::slice::from_ref(&bound));
        wanted.extend(others.into_iter().map(|other| (row.node.min(other), row.node.max(other))));
    }
    let found = wanted.into_iter().filter(|(a, b)| a != b);
    found.filter_map(|(a, b)| Some(((a.min(b), a.max(b)), relay(nodes, a, b)?))).collect()
}

/// A node that both hear, if neither hears the other and both have said whom they hear: the one with the
/// best of the two worse links.
///
/// Only links that nobody routes between count: on Ethernet and Wi-Fi, not to have talked to somebody does
/// not mean not to reach them.
fn relay(nodes: &Nodes, from: NodeId, to: NodeId) -> Option<NodeId> {
    let links = |id: NodeId| -> Vec<(NodeId, u8)> {
        let inventory = nodes.get(id).and_then(|node| node.inventory());
        let links = inventory.iter().flat_map(|inventory| inventory.links.iter());
        let is_local = |link: &Link| matches!(link.kind, LinkKind::Ieee802154 | LinkKind::Serial);
        links.filter(is_local).map(|link| (link.node, link.quality)).collect()
    };
    let (ours, theirs) = (links(from), links(to));
    let hears = |links: &[(NodeId, u8)], id| links.iter().any(|(node, _)| *node == id);
    if ours.is_empty() || theirs.is_empty() || hears(&ours, to) || hears(&theirs, from) {
        return None;
    }
    ours.iter()
        .filter_map(|(id, quality)| {
            let (_, other) = theirs.iter().find(|(node, _)| node == id)?;
            nodes.get(*id).filter(|node| node.is_up()).map(|_| (*other.min(quality), *id))
        })
        .max()
        .map(|(_, id)| id)
}
