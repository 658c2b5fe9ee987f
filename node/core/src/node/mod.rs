//! The node: every part of it together, behind three verbs.

mod bring_up;
mod command;
mod commit;
mod events;
mod life;
mod moves;
mod once;
mod parts;
mod reach;
mod said;
mod serve;
mod states;
mod turn;
#[cfg(any(test, feature = "test-util"))]
mod view;

use crate::clock::Timekeeper;
use crate::config::Config;
use crate::discovery::{Discovery, Tidings};
use crate::flash::{self, ExtentId, Store, Ticket};
use crate::host::CapsuleHost;
use crate::install::Install;
use crate::instances::Instances;
use crate::instances::fuel::Allowance;
use crate::log::Log;
use crate::migrate::Restoring;
use crate::router::Router;
use crate::site::{self, Own, Site};
use crate::trace::Tracer;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use capmesh_blob::Serve;
use capmesh_blob::serve::Rate;
use capmesh_coap::block::BlockSize;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::server::{Server, ServerConfig};
use capmesh_session::{Link, Peer};
use capmesh_transfer::said::Speaker;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::digest::Hasher;
use capmesh_wire::log::{Level, LogLine};
use capmesh_wire::{Digest, InstanceId, Instant, Name, NodeId, Revision, Role, limits};
use core::fmt;
use reach::Reached;
use states::Long;

/// Observers of a node's resources at once.
const OBSERVERS: usize = 8;

/// Requests and responses in blocks at once.
const BODIES: usize = 2;

/// The longest command, in bytes: one with an assignment of full lists.
const BODY: usize = 2048;

/// Peers whose rate of fetching blobs is remembered.
const FETCHING_PEERS: usize = 8;

/// Snapshots that are fetched at once.
const RESTORING: usize = 2;

/// Changes of phase that wait for flash: one of each instance, and of each command.
const PENDING: usize = limits::ASSIGNMENTS + 8;

/// A node of the mesh.
///
/// `E` is its endpoint, `H` runs its capsules. It is driven by [`Node::handle`], [`Node::poll`] and
/// [`Node::poll_timeout`]; what flash holds is lent to the first two, as the present time is.
pub struct Node<E, H: CapsuleHost> {
    config: Config,
    link: E,
    host: H,
    server: Box<Server<Peer, OBSERVERS, BODIES, BODY>>,
    store: Store,
    /// Whether flash has been asked for something and has not answered.
    flashing: bool,
    /// Whether the store could not take a commit: there is none before flash has answered.
    store_is_full: bool,
    site: Site,
    install: Install,
    instances: Instances<H::Instance>,
    router: Router,
    timekeeper: Timekeeper,
    discovery: Discovery,
    tidings: Tidings,
    /// Says blobs to all on the link, where that is cheaper than to give them to each.
    speaker: Option<Box<Speaker>>,
    /// When to ask whom for a newer roster, if it has not come by then.
    behind: Option<(Instant, NodeId, Revision)>,
    serve: Serve<Peer, FETCHING_PEERS>,
    log: Log,
    tracer: Tracer,
    restoring: Vec<Restoring>,
    /// A state that is too long for a record, and extents of such that are to be given back.
    long: Option<Long>,
    leftover: Vec<ExtentId>,
    /// What waits for a write to be durable, at most [`PENDING`].
    pending: Vec<(Ticket, Then)>,
    /// Fuel of all instances together.
    fuel: Allowance,
    samples: Vec<Sample>,
    /// Values that actuators are to be set to: the newest of each.
    actuations: Vec<Option<f64>>,
    changed: serve::Changes,
    /// Whether an observer may have to be told of something.
    notifies: bool,
    /// When observers are told of what has changed.
    notify_at: Option<Instant>,
    /// When all of them are told, if there are any.
    check_at: Option<Instant>,
    /// Whether the plan is to be compared with what there is.
    reconcile: bool,
    /// Whether this start has been counted in flash.
    is_ready: bool,
    /// Whether there may be more to do at once.
    again: bool,
    reboot: Option<Instant>,
    /// Who waits to hear of the node's adoption.
    adopting: Option<Responder>,
    /// Those that may have to be talked to, and those that do.
    reached: Vec<Reached>,
    wanted: Vec<NodeId>,
    /// Whom it could reach when that was last looked at.
    linked: Option<Digest>,
    /// When it is looked again whether they have a place among the sessions.
    reach_at: Instant,
    /// Makes the seeds of instances and transfers.
    seed: u64,
    /// Requests that a role did not allow, and documents and capsules that failed verification.
    forbidden: u32,
    unverified: u32,
    /// When the log last said that somebody was refused, and how many strangers had been until then.
    refused_said: (Option<Instant>, u32),
    born: Instant,
    /// Where datagrams are opened and responses rendered.
    scratch: Vec<u8>,
    canvas: Vec<u8>,
    /// Where records are converted.
    record: Vec<u8>,
}

/// The last sample of a sensor.
#[derive(Clone, Debug, Default)]
struct Sample {
    record: Vec<u8>,
    /// Which sample it is; 0 if there is none.
    number: u32,
}

/// What is done once a write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// An instance's phase is as it was to be.
    Phase(InstanceId, Option<Responder>),
}

/// A node that has found its state in flash, and has no endpoint yet: that needs the node's key.
pub struct Boot {
    config: Config,
    store: Store,
    site: Site,
    /// The key of Echo values.
    echo: [u8; 16],
}

impl Boot {
    /// Finds the state of a node in `flash`, or begins one. `random` has to be 32 bytes of a
    /// cryptographically secure generator, fresh at each start: they become the node's key if it has
    /// none, and other secrets of this start.
    ///
    /// # Errors
    /// If flash cannot keep it.
    ///
    /// # Panics
    /// If the configuration is nonsense, as [`Store::mount`] says.
    pub fn new(config: Config, flash: &[u8], random: [u8; 32]) -> Result<Self, flash::Error> {
        let mut store = Store::mount(flash, config.flash);
        let subject = Name::new(&config.name).map_err(|_| flash::Error::Kind);
        let block = BlockSize::MAX;
        let site = site::Config { subject: subject?, block };
        let site = Site::mount(flash, &mut store, &site, random)?;
        let mut hasher = Hasher::new();
        hasher.update(b"capmesh echo");
        hasher.update(&random);
        let echo = hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default();
        Ok(Self { config, store, site, echo })
    }

    /// The node's key, its credential and its claim.
    #[must_use]
    pub const fn own(&self) -> &Own {
        self.site.own()
    }

    /// Starts the node. `link` is an endpoint with the node's own key and no members yet; `seed` has
    /// to be different at each start, and decides nothing that has to be secret.
    #[must_use]
    #[inline(never)]
    pub fn start<E: Link, H: CapsuleHost>(
        self,
        now: Instant,
        flash: &[u8],
        mut link: E,
        host: H,
        seed: u64,
    ) -> Node<E, H> {
        let Self { config, store, site, echo } = self;
        if let Some(roster) = site.roster(flash, &store) {
            link.set_roster(now, &roster);
        }
        let [.., a, b, c, d] = seed.to_be_bytes();
        let block = BlockSize::at_most(link.mtu().saturating_sub(128)).unwrap_or(BlockSize::MIN);
        let install = Install::mount(now, flash, &store, block, u32::from_be_bytes([a, b, c, d]));
        let router = Router::new(config.router.clone(), link.own_id(), site.boots());
        let canvas = Server::<Peer, OBSERVERS, BODIES, BODY>::BUFFER + 1_008;
        let live = usize::from(config.budget.instances).min(limits::ASSIGNMENTS);
        let mut node = Node {
            server: server(echo),
            flashing: false,
            store_is_full: false,
            instances: Instances::new(live),
            timekeeper: Timekeeper::new(config.clock),
            discovery: Discovery::new(config.discovery, link.own_id(), Role::Node, seed),
            tidings: Tidings::new(seed.rotate_left(32)),
            speaker: said::speaker(&config, seed),
            behind: None,
            serve: Serve::new(Rate::default()),
            log: Log::new(config.log),
            tracer: Tracer::default(),
            restoring: Vec::new(),
            long: None,
            leftover: states::leftovers(flash, &store),
            pending: Vec::new(),
            fuel: Allowance::new(now, config.budget.fuel_per_second),
            samples: vec![Sample::default(); config.sensors.len()],
            actuations: vec![None; config.actuators.len()],
            changed: serve::Changes::default(),
            notifies: false,
            notify_at: None,
            check_at: None,
            reconcile: true,
            is_ready: false,
            again: true,
            reboot: None,
            adopting: None,
            reached: Vec::new(),
            wanted: Vec::new(),
            linked: None,
            reach_at: now,
            seed,
            forbidden: 0,
            unverified: 0,
            refused_said: (None, 0),
            born: now,
            scratch: vec![0; link.mtu()],
            canvas: vec![0; canvas],
            record: Vec::new(),
            config,
            link,
            host,
            store,
            site,
            install,
            router,
        };
        node.take_up(flash);
        node
    }
}

/// The server on the heap. Its own frame, since it is longer than anything else of a start.
#[inline(never)]
fn server(echo: [u8; 16]) -> Box<Server<Peer, OBSERVERS, BODIES, BODY>> {
    Box::new(Server::new(ServerConfig::default(), EchoKey::new(echo)))
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.link.own_id()
    }

    /// The roster and the plan that it holds.
    #[must_use]
    pub fn revisions(&self, flash: &[u8]) -> (Option<Revision>, Option<Revision>) {
        self.site.versions(flash, &self.store)
    }

    /// The lines of the log from number `from` on, the oldest first: those that were dropped since are
    /// missing. For whoever shows them on the spot.
    pub fn log(&self, from: u32) -> impl Iterator<Item = LogLine<'_>> {
        self.log.since(from)
    }

    /// What it has done since this was asked last. Work is bounded by what that is.
    #[cfg(any(test, feature = "test-util"))]
    pub fn traces(&mut self) -> Vec<crate::trace::Trace> {
        let is_up = |slot: &&crate::instances::Slot<H::Instance>| slot.running.is_some();
        self.tracer.take(self.instances.iter().filter(is_up).map(|slot| (slot.id, slot.epoch)))
    }

    /// The time as well as the node knows it.
    fn time(&self, now: Instant) -> Timestamp {
        Timestamp::now(self.timekeeper.clock(), now)
    }

    /// Writes a line of the node's own to the log.
    fn say(
        &mut self,
        now: Instant,
        instance: Option<InstanceId>,
        level: Level,
        text: fmt::Arguments<'_>,
    ) {
        let at = self.time(now);
        self.log.node(at, instance, level, text);
        self.changed.log = true;
    }
}

impl<E: Link, H: CapsuleHost> fmt::Debug for Node<E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("instances", &self.instances.live())
            .field("again", &self.again)
            .field("reconcile", &self.reconcile)
            .field("flashing", &self.flashing)
            .field("commit", &self.next_commit())
            .field("link", &self.link.poll_timeout())
            .field("router", &self.router.poll_timeout())
            .field("notify", &self.notify_at)
            .finish_non_exhaustive()
    }
}
