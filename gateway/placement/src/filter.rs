//! From names to indices, and which instance may go where at all.

use crate::explain::{Lack, Unplaceable};
use crate::model::{Capsule, Instance, Node, Problem, Resources, Weights};
use crate::paths::Paths;
use std::collections::{BTreeMap, BTreeSet};

/// Why a capsule may not go to a node, however empty it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The node is being drained.
    Draining,
    /// It does not offer this version of the capsule contract.
    Abi(u16),
    /// It has no such sensor.
    Sensor(String),
    /// It has no such actuator.
    Actuator(String),
    /// It does not have this label.
    Label(String),
    /// It is too small.
    Resource(Lack),
    /// It has refused the capsule.
    Refused,
    /// The instance is to be on another node, this one.
    Pinned(String),
}

/// Instances that have to be on one node, placed as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    /// The capsules of its instances, by index, and their replicas' numbers.
    pub(crate) members: Vec<(usize, u16)>,
    pub(crate) needs: Resources,
    /// The nodes it may go to, in the order of their indices.
    pub(crate) eligible: Vec<usize>,
    /// What moving costs, by the node that an instance would have to leave: one or two, mostly.
    at_home: Vec<(usize, u64)>,
    /// The sum of `at_home`: what it costs to be on a node where none of them runs now.
    pub(crate) away: u64,
    pub(crate) flows: Vec<Flow>,
    /// Units that must be elsewhere.
    pub(crate) apart: BTreeSet<usize>,
}

impl Unit {
    /// What moving costs of those that run on a node.
    pub(crate) fn at_home(&self, node: usize) -> u64 {
        self.at_home.iter().find(|(home, _)| *home == node).map_or(0, |(_, price)| *price)
    }

    fn runs_at(&mut self, node: usize, price: u64) {
        match self.at_home.iter_mut().find(|(home, _)| *home == node) {
            Some((_, known)) => *known += price,
            None => self.at_home.push((node, price)),
        }
        self.away += price;
    }
}

/// What one unit sends to another, or gets from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) other: usize,
    pub(crate) outgoing: bool,
    pub(crate) rate: u64,
    /// Index of the paths that carry its messages.
    pub(crate) paths: usize,
}

/// The problem in indices: nodes and capsules by their places in the order of names.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) weights: Weights,
    pub(crate) capacity: Vec<Resources>,
    pub(crate) capsules: usize,
    pub(crate) units: Vec<Unit>,
    pub(crate) unit_of: BTreeMap<Instance, usize>,
    pub(crate) paths: Vec<Paths>,
}

pub(crate) fn prepare(problem: &Problem, weights: &Weights) -> Result<Prepared, Unplaceable> {
    check_names(problem)?;
    let node_index: BTreeMap<&str, usize> =
        problem.nodes.keys().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let unit_of = group(problem);
    let count = unit_of.values().max().map_or(0, |last| last + 1);
    let mut units = vec![Unit::default(); count];
    for (index, (name, capsule)) in problem.capsules.iter().enumerate() {
        for replica in 0..capsule.replicas {
            let instance = (name.clone(), replica);
            let Some(unit) = unit_of.get(&instance).and_then(|i| units.get_mut(*i)) else {
                continue;
            };
            unit.members.push((index, replica));
            unit.needs = unit.needs.plus(&capsule.needs);
            let home = problem.current.get(&instance);
            if let Some(&home) = home.and_then(|node| node_index.get(node.as_str())) {
                let price = weights.moving + capsule.move_bytes.div_ceil(weights.payback.max(1));
                unit.runs_at(home, price);
            }
        }
    }
    find_eligible(problem, &mut units)?;
    let paths = connect(problem, &unit_of, &mut units);
    keep_apart(problem, &unit_of, &mut units)?;
    Ok(Prepared {
        weights: *weights,
        capacity: problem.nodes.values().map(|node| node.capacity).collect(),
        capsules: problem.capsules.len(),
        units,
        unit_of,
        paths,
    })
}

/// What keeps an instance of `capsule` from `node`, however empty that is.
pub(crate) fn obstacles(name: &str, capsule: &Capsule, node: &Node) -> BTreeSet<Obstacle> {
    if is_suitable(name, capsule, node) {
        return BTreeSet::new();
    }
    let lack = capsule.needs.minus(&node.capacity);
    let missing =
        |wanted: &BTreeSet<String>, there: &BTreeSet<String>, kind: fn(String) -> Obstacle| {
            wanted.difference(there).cloned().map(kind).collect::<Vec<_>>()
        };
    let mut found = BTreeSet::new();
    found.extend(node.draining.then_some(Obstacle::Draining));
    found.extend(node.refuses.contains(name).then_some(Obstacle::Refused));
    found.extend((!node.abi.contains(&capsule.abi)).then_some(Obstacle::Abi(capsule.abi)));
    found.extend(missing(&capsule.sensors, &node.sensors, Obstacle::Sensor));
    found.extend(missing(&capsule.actuators, &node.actuators, Obstacle::Actuator));
    found.extend(missing(&capsule.labels, &node.labels, Obstacle::Label));
    found.extend(Lack::all(&lack).into_iter().map(Obstacle::Resource));
    found
}

/// Whether nothing does: what most nodes are asked, and costs no list.
fn is_suitable(name: &str, capsule: &Capsule, node: &Node) -> bool {
    !node.draining
        && !node.refuses.contains(name)
        && node.abi.contains(&capsule.abi)
        && capsule.sensors.is_subset(&node.sensors)
        && capsule.actuators.is_subset(&node.actuators)
        && capsule.labels.is_subset(&node.labels)
        && capsule.needs.fits(&node.capacity)
}

fn check_names(problem: &Problem) -> Result<(), Unplaceable> {
    if problem.nodes.is_empty() {
        return Err(Unplaceable::NoNodes);
    }
    let known = |name: &String, by: &str| match problem.capsules.contains_key(name) {
        true => Ok(()),
        false => Err(Unplaceable::UnknownCapsule { name: name.clone(), by: by.into() }),
    };
    for wire in &problem.wires {
        known(&wire.from, "a wire")?;
        known(&wire.to, "a wire")?;
    }
    for (name, capsule) in &problem.capsules {
        for other in capsule.together.iter().chain(&capsule.apart) {
            known(other, name)?;
        }
    }
    Ok(())
}

/// Numbers the units: instances joined by `together` get one number.
fn group(problem: &Problem) -> BTreeMap<Instance, usize> {
    let instances: Vec<Instance> = problem
        .capsules
        .iter()
        .flat_map(|(name, capsule)| (0..capsule.replicas).map(|n| (name.clone(), n)))
        .filter(|instance| !problem.absent.contains(instance))
        .collect();
    let mut unit_of: BTreeMap<Instance, usize> =
        instances.iter().cloned().enumerate().map(|(i, instance)| (instance, i)).collect();
    for (name, capsule) in &problem.capsules {
        for other in &capsule.together {
            for replica in 0..capsule.replicas {
                let ends = unit_of
                    .get(&(name.clone(), replica))
                    .zip(unit_of.get(&(other.clone(), replica)));
                if let Some((&a, &b)) = ends {
                    let (keep, drop) = (a.min(b), a.max(b));
                    unit_of
                        .values_mut()
                        .filter(|unit| **unit == drop)
                        .for_each(|unit| *unit = keep);
                }
            }
        }
    }
    let used: BTreeSet<usize> = unit_of.values().copied().collect();
    let dense: BTreeMap<usize, usize> = used.into_iter().enumerate().map(|(i, u)| (u, i)).collect();
    for unit in unit_of.values_mut() {
        *unit = dense.get(unit).copied().unwrap_or_default();
    }
    unit_of
}

fn find_eligible(problem: &Problem, units: &mut [Unit]) -> Result<(), Unplaceable> {
    let capsules: Vec<(&String, &Capsule)> = problem.capsules.iter().collect();
    for unit in units {
        let members: Vec<_> = unit.members.iter().filter_map(|(c, _)| capsules.get(*c)).collect();
        unit.eligible = problem
            .nodes
            .values()
            .enumerate()
            .filter(|(_, node)| unit.needs.fits(&node.capacity))
            .filter(|(_, node)| members.iter().all(|(name, c)| is_suitable(name, c, node)))
            .map(|(index, _)| index)
            .collect();
        let pins = pins(problem, &capsules, unit);
        unit.eligible
            .retain(|node| pins.iter().all(|pin| problem.nodes.keys().nth(*node) == Some(*pin)));
        if unit.eligible.is_empty() {
            let names = members.iter().map(|(name, _)| (*name).clone()).collect();
            return Err(Unplaceable::no_node(problem, names, &unit.needs, &pins));
        }
    }
    Ok(())
}

/// The nodes that the members of a unit are pinned to.
fn pins<'p>(
    problem: &'p Problem,
    capsules: &[(&String, &Capsule)],
    unit: &Unit,
) -> BTreeSet<&'p String> {
    if problem.pinned.is_empty() {
        return BTreeSet::new();
    }
    let instance = |(capsule, replica): &(usize, u16)| {
        capsules.get(*capsule).map(|(name, _)| ((*name).clone(), *replica))
    };
    let instances = unit.members.iter().filter_map(instance);
    instances.filter_map(|instance| problem.pinned.get(&instance)).collect()
}

/// Fills in the flows between units; returns the paths, one for each length of message.
fn connect(
    problem: &Problem,
    unit_of: &BTreeMap<Instance, usize>,
    units: &mut [Unit],
) -> Vec<Paths> {
    let lengths: BTreeSet<u32> = problem.wires.iter().map(|wire| wire.message).collect();
    let paths = lengths.iter().map(|length| Paths::new(problem, *length)).collect();
    let replicas = |name: &String| problem.capsules.get(name).map_or(0, |c| c.replicas);
    for wire in &problem.wires {
        let class = lengths.range(..wire.message).count();
        let (producers, consumers) = (replicas(&wire.from), replicas(&wire.to));
        for from in 0..producers {
            for to in 0..consumers {
                if !wire.joins((from, producers), (to, consumers)) {
                    continue;
                }
                let ends = unit_of
                    .get(&(wire.from.clone(), from))
                    .zip(unit_of.get(&(wire.to.clone(), to)));
                let Some((&from, &to)) = ends.filter(|(from, to)| from != to) else { continue };
                for (unit, other, outgoing) in [(from, to, true), (to, from, false)] {
                    let flow = Flow { other, outgoing, rate: wire.rate, paths: class };
                    if let Some(unit) = units.get_mut(unit) {
                        unit.flows.push(flow);
                    }
                }
            }
        }
    }
    paths
}

fn keep_apart(
    problem: &Problem,
    unit_of: &BTreeMap<Instance, usize>,
    units: &mut [Unit],
) -> Result<(), Unplaceable> {
    for (name, capsule) in &problem.capsules {
        for other in &capsule.apart {
            let mine = unit_of.iter().filter(|((n, _), _)| n == name);
            for ((_, replica), &a) in mine {
                for ((_, r), &b) in unit_of.iter().filter(|((n, _), _)| n == other) {
                    if other == name && r == replica {
                        continue;
                    }
                    if a == b {
                        let (name, other) = (name.clone(), other.clone());
                        return Err(Unplaceable::Contradiction { name, other });
                    }
                    for (unit, other) in [(a, b), (b, a)] {
                        if let Some(unit) = units.get_mut(unit) {
                            unit.apart.insert(other);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
