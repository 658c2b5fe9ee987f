//! The answer, with its reasons.

use crate::cost::Board;
use crate::filter::{Obstacle, Prepared, obstacles};
use crate::model::{Instance, Problem, Resources};
use crate::search::Stuck;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;

/// A cost in its parts; see the [crate's documentation](crate) for what each is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Bytes per second times the cost of the paths.
    pub traffic: u64,
    /// How scarce the nodes' resources become.
    pub pressure: u64,
    /// Replicas of one capsule on one node.
    pub sharing: u64,
    /// Moves away from where instances run now.
    pub moving: u64,
}

impl Parts {
    /// The sum.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.traffic
            .saturating_add(self.pressure)
            .saturating_add(self.sharing)
            .saturating_add(self.moving)
    }
}

impl AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        self.traffic = self.traffic.saturating_add(other.traffic);
        self.pressure = self.pressure.saturating_add(other.pressure);
        self.sharing = self.sharing.saturating_add(other.sharing);
        self.moving = self.moving.saturating_add(other.moving);
    }
}

/// Where everything goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One row for each instance.
    pub rows: BTreeMap<Instance, Row>,
    /// What the whole plan costs.
    pub cost: Parts,
    /// Whether it is proven that no other plan costs less.
    pub optimal: bool,
}

/// Where an instance goes and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The node.
    pub node: String,
    /// Where the instance runs now, if that is another node.
    pub moves_from: Option<String>,
    /// What its being there costs beside all the others, with those that have to be with it.
    pub parts: Parts,
    /// The next best node, everything else staying as it is.
    pub runner_up: Option<RunnerUp>,
    /// What kept it from nodes, with the number of nodes.
    pub ruled_out: BTreeMap<Obstacle, usize>,
}

/// The node that an instance would have gone to otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerUp {
    /// The node.
    pub node: String,
    /// What being there would cost.
    pub parts: Parts,
}

/// How much of a resource is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Bytes of flash.
    Flash(u64),
    /// Bytes of RAM.
    Ram(u64),
    /// Fuel per second.
    Fuel(u64),
    /// Instances.
    Instances(u64),
}

impl Lack {
    pub(crate) fn all(lack: &Resources) -> Vec<Self> {
        let all = [
            (lack.flash, Self::Flash(lack.flash)),
            (lack.ram, Self::Ram(lack.ram)),
            (lack.fuel, Self::Fuel(lack.fuel)),
            (lack.instances, Self::Instances(lack.instances)),
        ];
        all.into_iter().filter(|(amount, _)| *amount > 0).map(|(_, lack)| lack).collect()
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(bytes) => write!(f, "{bytes} bytes of flash"),
            Self::Ram(bytes) => write!(f, "{bytes} bytes of RAM"),
            Self::Fuel(fuel) => write!(f, "{fuel} fuel per second"),
            Self::Instances(1) => f.write_str("room for 1 more instance"),
            Self::Instances(count) => write!(f, "room for {count} more instances"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("is being drained"),
            Self::Abi(version) => write!(f, "does not offer version {version} of the contract"),
            Self::Sensor(name) => write!(f, "has no sensor `{name}`"),
            Self::Actuator(name) => write!(f, "has no actuator `{name}`"),
            Self::Label(name) => write!(f, "does not have the label `{name}`"),
            Self::Resource(lack) => write!(f, "is short of {lack}"),
            Self::Refused => f.write_str("has refused it"),
            Self::Pinned(node) => write!(f, "is not `{node}`, which was asked for"),
        }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaceable {
    /// There are no nodes at all.
    NoNodes,
    /// Something names a capsule that the pipeline does not have.
    UnknownCapsule {
        /// The name.
        name: String,
        /// What names it: `a wire`, or a capsule.
        by: String,
    },
    /// Two capsules must be together and must be apart.
    Contradiction {
        /// One of them.
        name: String,
        /// The other.
        other: String,
    },
    /// No node would do, even if it were empty.
    NoNode {
        /// The capsule, with those that have to be with it.
        capsules: Vec<String>,
        /// What they need together.
        needs: Resources,
        /// The node with the fewest obstacles.
        best: String,
        /// What keeps them from it.
        lacks: Vec<Obstacle>,
    },
    /// There is no room or no path beside the other instances.
    NoRoom {
        /// The instance, with those that have to be with it.
        instances: Vec<Instance>,
        /// What they need together.
        needs: Resources,
        /// The node that lacks least.
        best: String,
        /// What it is short of with the others placed; empty if it has room, but no path for the
        /// wires or a capsule that must be elsewhere.
        lacks: Vec<Lack>,
        /// Whether it is proven that there is no plan at all; otherwise none was found.
        proven: bool,
    },
}

impl Unplaceable {
    pub(crate) fn no_node(
        problem: &Problem,
        capsules: Vec<String>,
        needs: &Resources,
        pins: &BTreeSet<&String>,
    ) -> Self {
        let found = |name: &String, node| {
            let members = capsules.iter().filter_map(|name| problem.capsules.get_key_value(name));
            let mut found: Vec<_> =
                members.flat_map(|(name, capsule)| obstacles(name, capsule, node)).collect();
            let together = Lack::all(&needs.minus(&node.capacity));
            found.retain(|obstacle| !matches!(obstacle, Obstacle::Resource(_)));
            found.extend(together.into_iter().map(Obstacle::Resource));
            let elsewhere = pins.iter().filter(|pin| **pin != name);
            found.extend(elsewhere.map(|pin| Obstacle::Pinned((*pin).clone())));
            found.sort();
            found.dedup();
            found
        };
        let candidates = problem.nodes.iter().map(|(name, node)| (found(name, node), name));
        // If it is to be on a certain node, what that one lacks is what counts.
        let is_elsewhere = |name: &String| !pins.is_empty() && !pins.contains(name);
        let shortest = candidates
            .min_by_key(|(lacks, name)| (is_elsewhere(name), lacks.len(), lacks.clone(), *name));
        match shortest {
            Some((lacks, best)) => {
                Self::NoNode { capsules, needs: *needs, best: best.clone(), lacks }
            }
            None => Self::NoNodes,
        }
    }
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[String]| items.join(", ");
        match self {
            Self::NoNodes => f.write_str("there are no nodes; adopt one first"),
            Self::UnknownCapsule { name, by } => {
                write!(f, "there is no capsule `{name}`, which {by} names")
            }
            Self::Contradiction { name, other } => {
                write!(f, "`{name}` and `{other}` must be on one node and on different ones")
            }
            Self::NoNode { capsules, best, lacks, .. } => {
                let lacks: Vec<_> = lacks.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "no node can run {}: the best, `{best}`, {}",
                    list(capsules),
                    lacks.join(" and ")
                )
            }
            Self::NoRoom { instances, best, lacks, proven, .. } => {
                let names: Vec<_> =
                    instances.iter().map(|(name, n)| format!("{name}/{n}")).collect();
                let lacks: Vec<_> = lacks.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{} {} beside the others: ",
                    list(&names),
                    match proven {
                        true => "fits nowhere",
                        false => "found no place",
                    }
                )?;
                match lacks.is_empty() {
                    true => write!(
                        f,
                        "`{best}` has room, but no path for its wires or a capsule it must be apart from"
                    ),
                    false => write!(f, "the best, `{best}`, is short of {}", lacks.join(" and ")),
                }
            }
        }
    }
}

impl std::error::Error for Unplaceable {}

pub(crate) fn unplaceable(problem: &Problem, prepared: &Prepared, stuck: &Stuck) -> Unplaceable {
    let names: Vec<&String> = problem.nodes.keys().collect();
    let Some(unit) = prepared.units.get(stuck.unit) else { return Unplaceable::NoNodes };
    let lack = |node: &usize| {
        let left = stuck.left.get(*node).copied().unwrap_or_default();
        Lack::all(&unit.needs.minus(&left))
    };
    let best = unit.eligible.iter().min_by_key(|node| (lack(node).len(), lack(node), **node));
    let instances =
        prepared.unit_of.iter().filter(|(_, index)| **index == stuck.unit).map(|(i, _)| i.clone());
    Unplaceable::NoRoom {
        instances: instances.collect(),
        needs: unit.needs,
        best: best
            .and_then(|node| names.get(*node))
            .map_or_else(String::new, |name| (*name).clone()),
        lacks: best.map(lack).unwrap_or_default(),
        proven: stuck.proven,
    }
}

pub(crate) fn plan(
    problem: &Problem,
    prepared: &Prepared,
    assignment: &[usize],
    optimal: bool,
) -> Plan {
    let names: Vec<&String> = problem.nodes.keys().collect();
    let name = |node: usize| names.get(node).map_or_else(String::new, |name| (*name).clone());
    let mut board = Board::new(prepared);
    for (unit, node) in assignment.iter().enumerate() {
        board.put(unit, *node);
    }
    let cost = board.total();
    let mut rows = BTreeMap::new();
    for (instance, &unit) in &prepared.unit_of {
        let Some(node) = board.take(unit) else { continue };
        let parts = board.parts(unit, node).unwrap_or_default();
        let eligible = prepared.units.get(unit).map_or(&[][..], |unit| &unit.eligible);
        let others = eligible.iter().filter(|other| **other != node);
        let runner_up = others
            .filter_map(|&other| Some((board.parts(unit, other)?, other)))
            .min_by_key(|(parts, other)| (parts.total(), *other))
            .map(|(parts, other)| RunnerUp { node: name(other), parts });
        board.put(unit, node);
        let capsule = problem.capsules.get(&instance.0);
        let mut ruled_out = BTreeMap::new();
        // Nothing keeps it from a node that it may go to.
        let others = problem.nodes.values().enumerate();
        for (_, node) in others.filter(|(index, _)| eligible.binary_search(index).is_err()) {
            let found = capsule.map(|capsule| obstacles(&instance.0, capsule, node));
            for obstacle in found.unwrap_or_default() {
                *ruled_out.entry(obstacle).or_default() += 1;
            }
        }
        let node = name(node);
        let moves_from = problem.current.get(instance).filter(|home| **home != node).cloned();
        rows.insert(instance.clone(), Row { node, moves_from, parts, runner_up, ruled_out });
    }
    Plan { rows, cost, optimal }
}
