//! What is wanted and what there is.

use crate::search::EFFORT;
use std::collections::{BTreeMap, BTreeSet};

/// An amount of what nodes run out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Bytes of flash: module and metadata.
    pub flash: u64,
    /// Bytes of RAM: linear memory, translated code, instance and queues.
    pub ram: u64,
    /// Fuel per second.
    pub fuel: u64,
    /// Instances. Nodes that do not limit them have 0 of them, and capsules take 0.
    pub instances: u64,
}

impl Resources {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 4;

    pub(crate) const fn amounts(&self) -> [u64; Self::KINDS] {
        [self.flash, self.ram, self.fuel, self.instances]
    }

    pub(crate) const fn plus(&self, other: &Self) -> Self {
        Self {
            flash: self.flash.saturating_add(other.flash),
            ram: self.ram.saturating_add(other.ram),
            fuel: self.fuel.saturating_add(other.fuel),
            instances: self.instances.saturating_add(other.instances),
        }
    }

    pub(crate) const fn minus(&self, other: &Self) -> Self {
        Self {
            flash: self.flash.saturating_sub(other.flash),
            ram: self.ram.saturating_sub(other.ram),
            fuel: self.fuel.saturating_sub(other.fuel),
            instances: self.instances.saturating_sub(other.instances),
        }
    }

    pub(crate) const fn fits(&self, capacity: &Self) -> bool {
        self.flash <= capacity.flash
            && self.ram <= capacity.ram
            && self.fuel <= capacity.fuel
            && self.instances <= capacity.instances
    }
}

/// A node as the gateway knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it has for capsules in all, whether in use or not.
    pub capacity: Resources,
    /// Names of its sensors.
    pub sensors: BTreeSet<String>,
    /// Names of its actuators.
    pub actuators: BTreeSet<String>,
    /// Versions of the capsule contract that it offers.
    pub abi: BTreeSet<u16>,
    /// Words that its owner has attached to it, such as `outdoor`.
    pub labels: BTreeSet<String>,
    /// Whether it takes no new instances and is to lose those it has.
    pub draining: bool,
    /// Capsules that it has refused, by name.
    pub refuses: BTreeSet<String>,
    /// Its path to a network that joins all nodes that have one, if it has one: a byte from one of
    /// them to another takes both their uplinks.
    pub uplink: Option<Link>,
}

/// A path for datagrams from one node to another; give two for a link that works both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// What a byte costs on it, in thousandths of a byte on a perfect link: 1000 times the expected
    /// number of transmissions, more for a slow or battery-powered one.
    pub cost: u32,
    /// The longest message that it carries in one datagram, in bytes of payload.
    pub mtu: u32,
}

/// A capsule of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capsule {
    /// How many instances are wanted.
    pub replicas: u16,
    /// What one instance takes.
    pub needs: Resources,
    /// The version of the capsule contract it was made for.
    pub abi: u16,
    /// Sensors that its node must have.
    pub sensors: BTreeSet<String>,
    /// Actuators that its node must have.
    pub actuators: BTreeSet<String>,
    /// Labels that its node must have.
    pub labels: BTreeSet<String>,
    /// Capsules whose instances of the same number must be on its node.
    pub together: BTreeSet<String>,
    /// Capsules that must not be on its node; its own name keeps replicas apart.
    pub apart: BTreeSet<String>,
    /// What a move sends over the network: module and state, in bytes.
    pub move_bytes: u64,
}

impl Default for Capsule {
    /// One instance that needs nothing, made for version 1 of the contract.
    fn default() -> Self {
        Self {
            replicas: 1,
            needs: Resources::default(),
            abi: 1,
            sensors: BTreeSet::new(),
            actuators: BTreeSet::new(),
            labels: BTreeSet::new(),
            together: BTreeSet::new(),
            apart: BTreeSet::new(),
            move_bytes: 0,
        }
    }
}

/// A wire of the pipeline: instances of one capsule send to instances of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    /// The capsule that sends.
    pub from: String,
    /// The capsule that receives.
    pub to: String,
    /// What one instance sends to one other, in bytes per second.
    pub rate: u64,
    /// Its longest message in bytes.
    pub message: u32,
    /// Which instances it joins: if false, every one of one capsule with every one of the other; if
    /// true, the one with number n with that with number n, modulo how many there are.
    pub paired: bool,
}

impl Wire {
    /// Whether it joins these two instances.
    pub(crate) fn joins(&self, from: (u16, u16), to: (u16, u16)) -> bool {
        let ((from, producers), (to, consumers)) = (from, to);
        match producers >= consumers {
            _ if !self.paired => true,
            true => from % consumers.max(1) == to,
            false => to % producers.max(1) == from,
        }
    }
}

/// An instance: the capsule's name and the replica's number, from 0.
pub type Instance = (String, u16);

/// The whole question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The nodes by their names.
    pub nodes: BTreeMap<String, Node>,
    /// The links by sender and receiver.
    pub links: BTreeMap<(String, String), Link>,
    /// The capsules by their names.
    pub capsules: BTreeMap<String, Capsule>,
    /// The wires.
    pub wires: Vec<Wire>,
    /// Where instances run now. Those that are no longer wanted are ignored.
    pub current: BTreeMap<Instance, String>,
    /// Instances that are not to be placed: who asks knows better where they are.
    pub absent: BTreeSet<Instance>,
    /// Instances that may run on one node only, because somebody wants them there.
    pub pinned: BTreeMap<Instance, String>,
}

/// How the parts of the cost compare, and how hard the least is looked for. All parts are added up; the
/// unit is a byte per second over one perfect link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weights {
    /// For each per mille of a resource that a node uses above [`Weights::EASY`]; three times that
    /// above [`Weights::TIGHT`].
    pub pressure: u64,
    /// For each instance that shares its node with another of the same capsule.
    pub sharing: u64,
    /// For each move, beside its bytes.
    pub moving: u64,
    /// Over how many seconds the bytes of a move have to pay for themselves.
    pub payback: u64,
    /// The work of a search, in prices computed. It bounds the time: some 100 ns each.
    pub effort: u64,
}

impl Weights {
    /// Use of a resource in per mille up to which there is no pressure.
    pub const EASY: u64 = 500;

    /// Use of a resource in per mille from which pressure rises three times as fast.
    pub const TIGHT: u64 = 800;
}

impl Default for Weights {
    fn default() -> Self {
        Self { pressure: 1, sharing: 500, moving: 200, payback: 60, effort: EFFORT }
    }
}
