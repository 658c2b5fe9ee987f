//! From a site to placement's question.

use super::{Availability, InstanceName, Site};
use crate::catalog::{Demands, Offers, Resolved, ResolvedCapsule};
use crate::pipeline::{self, Failover, Pipeline, Replicas};
use crate::rows::Rows;
use capmesh_placement::{Capsule, Instance, Link, Node, Problem, Resources, Wire};
use capmesh_wire::inventory::LinkKind;
use capmesh_wire::{NodeId, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a datagram beside a message: IPv6, UDP, CoAP, OSCORE, the head of a batch.
const OVERHEAD: u32 = 160;

/// The longest datagram where nobody knows better: what IPv6 carries everywhere.
const MTU: u16 = 1_280;

/// Bytes of a message beside its payload: its place in a batch.
const MESSAGE: u32 = 8;

/// What half a path costs between two nodes that have not heard each other, in thousandths. The gateway
/// reaches both, so there is one: direct if they can, else through a relay.
const UPLINK: u32 = 600;

/// A pipeline and what it is in numbers.
pub(super) type Known<'a> = BTreeMap<&'a str, (&'a Pipeline, Resolved)>;

/// The names that placement calls things by.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) node_of: BTreeMap<String, NodeId>,
    name_of: BTreeMap<NodeId, String>,
}

impl Names {
    /// Nodes by their names; by their ids where two have one name.
    pub(super) fn of(site: &Site<'_>) -> Self {
        let mut names = Self::default();
        for (id, node) in site.nodes {
            let name = match names.node_of.contains_key(node.name) {
                false => node.name.to_owned(),
                true => id.to_string(),
            };
            names.node_of.insert(name.clone(), *id);
            names.name_of.insert(*id, name);
        }
        names
    }

    fn node(&self, id: NodeId) -> Option<&String> {
        self.name_of.get(&id)
    }
}

/// How placement calls a capsule of a pipeline.
pub(super) fn key(pipeline: &str, capsule: &str) -> String {
    format!("{pipeline}/{capsule}")
}

/// The instance that placement calls by this name.
pub(super) fn instance((key, replica): &Instance) -> Option<InstanceName> {
    let (pipeline, capsule) = key.split_once('/')?;
    let replica = u8::try_from(*replica).ok()?;
    Some(InstanceName { pipeline: pipeline.to_owned(), capsule: capsule.to_owned(), replica })
}

/// Whether an instance on a node stays there: because it waits for it, or the node has yet to say what
/// it has.
pub(super) fn stays(site: &Site<'_>, capsule: &pipeline::Capsule, node: NodeId) -> bool {
    site.nodes.get(&node).is_some_and(|node| match node.availability {
        Availability::Lost => capsule.failover == Failover::None,
        Availability::Ready | Availability::Draining => node.inventory.is_none(),
    })
}

/// The question, without the instances of `absent`: what they take where they are is off the
/// capacity.
pub(super) fn problem(
    site: &Site<'_>,
    names: &Names,
    known: &Known<'_>,
    rows: &Rows,
    absent: &BTreeSet<Instance>,
) -> Problem {
    let mut problem = Problem { absent: absent.clone(), ..Problem::default() };
    nodes(site, names, &mut problem);
    refusals(site, names, known, &mut problem);
    for (name, (pipeline, resolved)) in known {
        let there = resolved.capsules.iter().zip(&pipeline.capsules);
        for (resolved, capsule) in there.filter(|(resolved, _)| resolved.replicas > 0) {
            problem.capsules.insert(key(name, &capsule.name), wanted(name, capsule, resolved));
            for replica in 0..resolved.replicas {
                let instance = (key(name, &capsule.name), u16::from(replica));
                place(site, names, rows, &mut problem, instance, resolved);
            }
        }
        let at = |place: usize| pipeline.capsules.get(place).map(|c| key(name, &c.name));
        let wire = |wire: &crate::catalog::ResolvedWire| {
            let message = wire.longest.saturating_add(MESSAGE);
            Some(Wire {
                from: at(wire.from.capsule)?,
                to: at(wire.to.capsule)?,
                rate: rate(wire.rate, message),
                message: message.saturating_add(OVERHEAD),
                paired: wire.replicas == Replicas::Paired,
            })
        };
        problem.wires.extend(resolved.wires.iter().filter_map(wire));
    }
    let there: BTreeSet<String> = problem.capsules.keys().cloned().collect();
    for capsule in problem.capsules.values_mut() {
        capsule.together.retain(|other| there.contains(other));
        capsule.apart.retain(|other| there.contains(other));
    }
    round_messages(&mut problem);
    problem
}

/// Bytes a second, rounded up.
fn rate(messages: f64, bytes: u32) -> u64 {
    let rate = (messages * f64::from(bytes)).ceil().clamp(0.0, 1e12);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    let rate = rate as u64;
    rate
}

fn wanted(pipeline: &str, capsule: &pipeline::Capsule, resolved: &ResolvedCapsule) -> Capsule {
    let Demands { sensors, actuators } = resolved.demands.clone();
    let keys =
        |names: &[pipeline::Spot<String>]| names.iter().map(|name| key(pipeline, name)).collect();
    Capsule {
        replicas: u16::from(resolved.replicas),
        needs: needs(resolved),
        abi: resolved.abi,
        sensors,
        actuators,
        labels: capsule.labels.iter().map(|label| label.value.clone()).collect(),
        together: keys(&capsule.together),
        apart: keys(&capsule.apart),
        move_bytes: u64::from(resolved.needs.memory),
    }
}

fn needs(resolved: &ResolvedCapsule) -> Resources {
    Resources {
        flash: resolved.flash,
        ram: u64::from(resolved.needs.ram),
        fuel: u64::from(resolved.needs.fuel_per_second),
        instances: 1,
    }
}

/// Notes where an instance is, and where it is to be.
fn place(
    site: &Site<'_>,
    names: &Names,
    rows: &Rows,
    problem: &mut Problem,
    placed: Instance,
    resolved: &ResolvedCapsule,
) {
    let Some(name) = instance(&placed) else { return };
    let row = rows.find(&name.pipeline, &name.capsule, name.replica);
    let home = row.and_then(|row| names.node(row.node));
    if problem.absent.contains(&placed) {
        if let Some(node) = home.and_then(|home| problem.nodes.get_mut(home)) {
            node.capacity = less(node.capacity, needs(resolved));
        }
        return;
    }
    if let Some(home) = home.filter(|home| problem.nodes.contains_key(*home)) {
        problem.current.insert(placed.clone(), home.clone());
    }
    let pin = site.pinned.get(&name).and_then(|node| names.node(*node));
    // A node that refuses the capsule will not have it, whoever wants that.
    let may = |node: &Node| !node.refuses.contains(&placed.0);
    if let Some(pin) = pin.filter(|pin| problem.nodes.get(*pin).is_some_and(may)) {
        problem.pinned.insert(placed, pin.clone());
    }
}

const fn less(from: Resources, taken: Resources) -> Resources {
    Resources {
        flash: from.flash.saturating_sub(taken.flash),
        ram: from.ram.saturating_sub(taken.ram),
        fuel: from.fuel.saturating_sub(taken.fuel),
        instances: from.instances.saturating_sub(taken.instances),
    }
}

/// The nodes that are there, and the links between them.
fn nodes(site: &Site<'_>, names: &Names, problem: &mut Problem) {
    let is_there = |id: &NodeId| {
        site.nodes.get(id).is_some_and(|node| node.availability != Availability::Lost)
    };
    for (id, node) in site.nodes.iter().filter(|(id, _)| is_there(id)) {
        let Some((name, has)) = names.node(*id).zip(node.inventory) else { continue };
        let Demands { sensors, actuators } = Offers::of(&has).there;
        let instances = u64::from(has.instances.total).min(limits::ASSIGNMENTS as u64);
        let capacity = Resources {
            flash: u64::from(has.flash.total),
            ram: u64::from(has.ram.total),
            fuel: u64::from(has.fuel.total),
            instances,
        };
        let placed = Node {
            capacity,
            sensors,
            actuators,
            abi: has.abis.iter().collect(),
            labels: node.labels.clone(),
            draining: node.availability == Availability::Draining,
            refuses: BTreeSet::new(),
            uplink: Some(link(UPLINK, MTU)),
        };
        problem.nodes.insert(name.clone(), placed);
        for heard in has.links.iter().filter(|link| is_there(&link.node)) {
            let Some(from) = names.node(heard.node) else { continue };
            let transmissions = 255_000 / u32::from(heard.quality.max(1));
            let cost = transmissions.saturating_mul(weight(heard.kind));
            let ends = (from.clone(), name.clone());
            problem.links.insert(ends, link(cost, heard.mtu));
        }
    }
}

/// Notes which capsules nodes have refused.
fn refusals(site: &Site<'_>, names: &Names, known: &Known<'_>, problem: &mut Problem) {
    for (id, node) in site.nodes.iter().filter(|(_, node)| !node.refuses.is_empty()) {
        let Some(placed) = names.node(*id).and_then(|name| problem.nodes.get_mut(name)) else {
            continue;
        };
        for (name, (pipeline, resolved)) in known {
            let capsules = resolved.capsules.iter().zip(&pipeline.capsules);
            let refused =
                capsules.filter(|(capsule, _)| node.refuses.contains_key(&capsule.capsule));
            placed.refuses.extend(refused.map(|(_, capsule)| key(name, &capsule.name)));
        }
    }
}

fn link(cost: u32, mtu: u16) -> Link {
    Link { cost, mtu: u32::from(mtu) }
}

/// What a byte costs on a sort of link beside one on a fast one.
const fn weight(kind: LinkKind) -> u32 {
    match kind {
        LinkKind::Loopback | LinkKind::Ethernet | LinkKind::Wifi => 1,
        LinkKind::Serial => 4,
        // A radio of 250 kbit/s that somebody's battery pays for.
        _ => 8,
    }
}

/// Makes the lengths of messages few: what matters is which links carry them, and placement looks for
/// paths once for each length.
fn round_messages(problem: &mut Problem) {
    let uplinks = problem.nodes.values().filter_map(|node| node.uplink);
    let links = problem.links.values().copied().chain(uplinks);
    let limits: BTreeSet<u32> = links.map(|link| link.mtu).collect();
    for wire in &mut problem.wires {
        // The longest that the same links carry; longer than all if none does.
        let length = limits.range(wire.message..).next().copied();
        wire.message = length.unwrap_or(u32::MAX);
    }
}
