//! What a node is told about itself: its budgets, its bounds and its patience.

use crate::flash::Geometry;
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_wire::inventory::LinkKind;
use capmesh_wire::{SchemaTag, Unit};
use core::net::SocketAddr;
use core::time::Duration;

/// Everything that a node is told when it is made. What is not said here is in flash or comes in.
#[derive(Clone, Debug)]
pub struct Config {
    /// What people call it until its site has a name for it: a [`Name`](capmesh_wire::Name).
    pub name: Box<str>,
    /// Name and version of the firmware, of up to 23 bytes, for people.
    pub firmware: Box<str>,
    /// What board it is, of up to 23 bytes, for people and for placement.
    pub board: Box<str>,
    /// What capsules may take of it.
    pub budget: Budget,
    /// Its sensors; [`Input::Sample`](crate::Input::Sample) numbers them by their place here. At most
    /// [`NODE_CHANNELS`](capmesh_wire::limits::NODE_CHANNELS), as actuators and sources.
    pub sensors: Vec<Sensor>,
    /// Its actuators; [`Output::Actuate`](crate::Output::Actuate) numbers them by their place here.
    pub actuators: Vec<Actuator>,
    /// The names of its digital inputs; [`Input::Digital`](crate::Input::Digital) numbers them by
    /// their place here.
    pub sources: Vec<Box<str>>,
    /// How instances are run.
    pub schedule: Schedule,
    /// The most bytes of the state of one instance, as it is made durable and handed on. One that does
    /// not fit a record of the log goes to an extent, which erases sectors with each commit.
    pub snapshot: u32,
    /// Queues, batches and patience of the router.
    pub router: crate::router::Config,
    /// Where things lie in flash, and how much of it there is.
    pub flash: crate::flash::Config,
    /// How the node announces itself on its link.
    pub discovery: crate::discovery::Config,
    /// The group that it announces itself to: all CoAP nodes, in the address family of its link.
    /// `None` on links without multicast: the plan says who is where.
    pub group: Option<SocketAddr>,
    /// What kind of link that is.
    pub link: LinkKind,
    /// How often it asks for the time.
    pub clock: crate::clock::Config,
    /// How faults are answered.
    pub restart: Restart,
    /// The log.
    pub log: Log,
}

/// What capsules may take of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of RAM for all instances, by what their manifests say they need.
    pub ram: u32,
    /// Fuel per second for all instances: also how fast they run, so that one fast machine can play
    /// many slow ones.
    pub fuel_per_second: u32,
    /// Instances, at most [`ASSIGNMENTS`](capmesh_wire::limits::ASSIGNMENTS).
    pub instances: u8,
}

/// A sensor of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Its name: a [`Name`](capmesh_wire::Name), by which a capsule's sensor finds it.
    pub name: Box<str>,
    /// The schema of its samples.
    pub schema: SchemaTag,
}

/// An actuator of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Actuator {
    /// Its name: a [`Name`](capmesh_wire::Name).
    pub name: Box<str>,
    /// What the number means that it is set to.
    pub unit: Unit,
}

/// How instances are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Fuel of one slice: how long the node may go without looking at anything else. Handlers wait for
    /// a slice of each other instance at most; [`Schedule::slice_of`] makes that a hundredth of a second.
    pub slice: u32,
    /// Events other than messages and timers that may wait for an instance: requests, replies,
    /// digital inputs. One more is refused, or dropped and counted.
    pub events: u8,
}

impl Schedule {
    /// The slice with which each instance that has something to do, and fuel of its own left, has its
    /// turn within 10 ms, whatever the others do. Slow nodes with many instances take longer: a slice
    /// below 1,000 would be spent on changing turns.
    #[must_use]
    pub const fn slice_of(budget: &Budget) -> u32 {
        let instances = if budget.instances == 0 { 1 } else { budget.instances as u32 };
        let slice = budget.fuel_per_second / 100 / instances;
        if slice < 1_000 { 1_000 } else { slice }
    }
}

/// How faults of instances are answered. They are counted in RAM: a start of the node is a new attempt for
/// those that have failed too, as it may have mended what was wrong (a sensor, memory that others took).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The wait before the first restart; doubles with each one.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// After so many faults without [`Restart::healthy`] between them the instance has failed.
    pub attempts: u8,
    /// How long an instance runs without a fault until those before are forgotten.
    pub healthy: Duration,
}

/// The log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines that are kept; the oldest make room.
    pub lines: u8,
    /// Lines a second that one instance may write in the long run; more are dropped and counted.
    pub rate: u8,
    /// Lines that one instance may write at once after a pause.
    pub burst: u8,
}

impl Default for Config {
    /// A board with 64 KB of RAM to spare.
    fn default() -> Self {
        let budget = Budget { ram: 64 << 10, fuel_per_second: 2_000_000, instances: 8 };
        Self {
            name: "node".into(),
            firmware: "capmesh".into(),
            board: "unknown".into(),
            budget,
            sensors: Vec::new(),
            actuators: Vec::new(),
            sources: Vec::new(),
            schedule: Schedule { slice: Schedule::slice_of(&budget), events: 8 },
            snapshot: 16 << 10,
            router: crate::router::Config::default(),
            flash: crate::flash::Config {
                geometry: Geometry { sector: 4_096, unit: 4, page: 256, rewrites: true },
                log_sectors: 16,
                extent_sectors: 96,
                max_group: 3_072,
                max_records: 256,
                max_extents: 24,
                queue: 6_144,
                write: 2_048,
            },
            discovery: crate::discovery::Config::default(),
            group: None,
            link: LinkKind::Ethernet,
            clock: crate::clock::Config::default(),
            restart: Restart {
                min: Duration::from_secs(1),
                max: Duration::from_secs(300),
                attempts: 8,
                healthy: Duration::from_secs(600),
            },
            log: Log { lines: 32, rate: 4, burst: 16 },
        }
    }
}
