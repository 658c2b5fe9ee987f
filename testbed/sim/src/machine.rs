//! A node, its flash, and what it has done to the world.

use crate::Host;
use crate::clock::Clock;
use crate::host::{Faulty, HostFault, SimHost};
use crate::site::{Dice, identity, name, scalar};
use crate::world::MTU;
use capmesh_coap::endpoint::{self, Endpoint};
use capmesh_coap::relay::Relaying;
use capmesh_node::flash::nor::{Nor, Pending, Tear};
use capmesh_node::flash::{Owner, Store, kinds};
use capmesh_node::site::Members;
use capmesh_node::test_util::Hooked;
use capmesh_node::trace::{Gauge, Trace};
use capmesh_node::{Boot, Config, Node, Output};
use capmesh_session::{RelayEndpoint, Sessions};
use capmesh_wire::{BlobRef, Digest, Instant, Revision};
use rand_core::RngCore;
use std::net::SocketAddr;

pub(crate) type Core =
    RelayEndpoint<Members, Dice, 16, 4, MTU, 24, { 24 * (MTU + 4) }, 16, 8, 128, 16_384, 4>;

/// A node, its flash, and what it has done to the world.
#[derive(Debug)]
pub struct Machine {
    pub(crate) n: Host,
    config: Config,
    pub(crate) nor: Nor,
    pub(crate) node: Option<Box<Node<Core, Hooked<SimHost, Faulty>>>>,
    /// The operation that flash works on, and its number.
    pub(crate) flashing: Option<(u64, Pending)>,
    /// Its clock, which begins anew at each start.
    pub clock: Clock,
    ppm: i32,
    /// What its actuators were set to, and when in the world's time.
    pub actuations: Vec<(Instant, u8, f64)>,
    /// How often it has started: what its random numbers come from.
    pub boots: u32,
    /// Operations of flash so far.
    pub(crate) operations: u64,
    /// What its host does wrong from the next start on.
    pub fault: Option<HostFault>,
}

/// Flash of a node that has its site's credential and roster, and no key yet.
pub(crate) fn member(config: &Config, site: &[u8], roster: &[u8]) -> Nor {
    let mut nor = Nor::new(config.flash.geometry, config.flash.bytes());
    let mut store = Store::mount(nor.bytes(), config.flash);
    let (owner, digest) = (Owner { kind: kinds::ROSTER, id: 0 }, Digest::of(roster));
    let size = roster.len() as u32;
    let blob = BlobRef { digest, size, chunk_log2: 12, root: digest };
    let extent = store.allocate(nor.bytes(), &blob, owner).unwrap();
    nor.settle(&mut store);
    let step = config.flash.write as usize;
    for (place, part) in roster.chunks(step).enumerate() {
        store.write(nor.bytes(), extent, (place * step) as u32, part).unwrap();
        nor.settle(&mut store);
    }
    let mut group = store.group();
    group.put(kinds::SITE, 0, site).unwrap();
    group.commit_extent(nor.bytes(), extent).unwrap();
    group.submit().unwrap();
    nor.settle(&mut store);
    nor
}

/// What a node has just done.
pub(crate) enum Done {
    /// Nothing: there is nothing to do now.
    Nothing,
    /// A slice of a handler, or something else that is not over.
    Slice,
    /// It sends a datagram, at the start of the buffer.
    Sent { to: SocketAddr, len: usize },
    /// It has flash begin an operation.
    Began { number: u64, erases: bool },
    /// It sets an actuator.
    Actuated { actuator: u8, value: f64 },
    /// It wants to start anew.
    Reboot,
}

impl Machine {
    /// A new node with its key. It belongs to no site, or to the one whose documents are in `nor`.
    pub(crate) fn new(n: Host, config: Config, mut nor: Nor) -> Self {
        let mut own = scalar(n).to_vec();
        own.extend_from_slice(name(n).as_bytes());
        let mut store = Store::mount(nor.bytes(), config.flash);
        store.put(kinds::IDENTITY, 0, &own).unwrap();
        nor.settle(&mut store);
        Self {
            n,
            config,
            nor,
            node: None,
            flashing: None,
            clock: Clock::new(Instant::ZERO, Instant::ZERO),
            ppm: 0,
            actuations: Vec::new(),
            boots: 0,
            operations: 0,
            fault: None,
        }
    }

    /// The power comes back.
    pub(crate) fn boot(&mut self, world: Instant, seed: u64) {
        self.boots += 1;
        let mut dice = Dice(seed).fork(u64::from(self.boots));
        self.clock = Clock::new(world, Instant::from_micros(dice.below(1_000_000)));
        self.clock.drift(world, self.ppm);
        let now = self.clock.local(world);
        let flash = self.nor.bytes();
        let mut random = [0; 32];
        dice.fill_bytes(&mut random);
        let boot = Boot::new(self.config.clone(), flash, random).unwrap();
        let link = core(self.n, dice.fork(1));
        let host = Hooked { inner: SimHost::new(), hook: Faulty::new(self.fault) };
        let node = boot.start(now, flash, link, host, dice.roll());
        self.node = Some(Box::new(node));
    }

    /// Its clock runs too fast by so many millionths, whatever happens to it.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i32) {
        self.ppm = ppm;
        self.clock.drift(now, ppm);
    }

    /// Lets the node do the next thing that is to be done now.
    pub(crate) fn poll(&mut self, world: Instant, buf: &mut [u8]) -> Done {
        let now = self.clock.local(world);
        let Some(node) = &mut self.node else { return Done::Nothing };
        let op = match node.poll(now, self.nor.bytes(), buf) {
            None if node.poll_timeout().is_some_and(|at| at <= now) => return Done::Slice,
            None => return Done::Nothing,
            Some(Output::Transmit { to, bytes }) => return Done::Sent { to, len: bytes.len() },
            Some(Output::Actuate { actuator, value }) => {
                self.actuations.push((world, actuator, value));
                return Done::Actuated { actuator, value };
            }
            Some(Output::Reboot) => return Done::Reboot,
            Some(Output::Program { at, bytes }) => Pending::Program { at, bytes: bytes.to_vec() },
            Some(Output::Erase { at }) => Pending::Erase { at },
        };
        self.operations += 1;
        let erases = matches!(op, Pending::Erase { .. });
        assert!(self.flashing.replace((self.operations, op)).is_none(), "one at a time");
        Done::Began { number: self.operations, erases }
    }

    /// What the node has done since this was asked last.
    pub(crate) fn traces(&mut self) -> Vec<Trace> {
        self.node.as_mut().map(|node| node.traces()).unwrap_or_default()
    }

    /// How full its tables are, if it is on.
    pub(crate) fn gauges(&self) -> Option<Vec<Gauge>> {
        Some(self.node.as_ref()?.gauges(self.nor.bytes()))
    }

    /// What it holds of a capsule.
    pub(crate) fn held(&self, capsule: &Digest) -> Option<(&[u8], &[u8])> {
        self.node.as_ref()?.held(self.nor.bytes(), capsule)
    }

    /// When it wants to be polled, in the world's time.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        Some(self.clock.world(self.node.as_ref()?.poll_timeout()?))
    }

    /// What its flash holds, and how worn it is.
    #[must_use]
    pub const fn flash(&self) -> &Nor {
        &self.nor
    }

    /// Its flash, for whoever changes it behind the node's back.
    pub const fn flash_mut(&mut self) -> &mut Nor {
        &mut self.nor
    }

    /// The roster that it holds, if it is on and holds one.
    #[must_use]
    pub fn roster(&self) -> Option<Revision> {
        self.node.as_ref()?.revisions(self.nor.bytes()).0
    }

    /// Whether it is on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.node.is_some()
    }

    /// The power goes: what flash was doing is done in part.
    pub(crate) fn crash(&mut self, tear: Tear) {
        self.node = None;
        if let Some((_, op)) = self.flashing.take() {
            self.nor.tear(op.op(), tear);
        }
    }
}

fn core(n: Host, mut dice: Dice) -> Core {
    let config = endpoint::Config { nstart: 8, ..endpoint::Config::default() };
    let sessions = Sessions::new(
        Instant::ZERO,
        capmesh_session::Config::for_host(),
        identity(n),
        Members::new(),
        dice.clone(),
    );
    let mut seed = [0; 16];
    dice.fill_bytes(&mut seed);
    RelayEndpoint::new(Endpoint::new(config, Relaying::new(sessions), seed), "node")
}
