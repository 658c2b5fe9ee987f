//! The network: links of several kinds, who hears whom on them, and what goes wrong.
//!
//! # Words
//! - *cell*: hosts that share a link ([`Cell`]). A host may be in several.
//! - *weather*: what goes wrong by chance ([`Weather`]), everywhere or in one cell.
//! - *cut*: two hosts that are kept from hearing each other, in one direction or both.
//! - *clog*: what one host sends another stays under way until then.
//!
//! A datagram goes from a host to another that it shares a cell with, or over others if
//! [`Net::is_routed`] says so, as IPv6 over a mesh of radios does. What is sent to the [`group`] comes to
//! all in the sender's cells, in one transmission, and is lost for each by itself.
//!
//! # What is absent
//! Collisions: a medium is free or taken, and who finds it taken waits. IPv6 addresses: hosts have one
//! address each, whatever cell they are in.

mod cell;
mod cuts;
mod kind;
mod weather;

pub use cell::Cell;
pub use cuts::Way;
pub use kind::{Frames, Kind};
pub use weather::Weather;

use crate::Host;
use crate::event::Loss;
use crate::site::{Dice, address, host_of};
use capmesh_coap::endpoint::Via;
use capmesh_wire::Instant;
use cuts::Cuts;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Datagrams that are remembered, to be sent again by somebody who has listened.
const RECENT: usize = 256;

/// The longest that a datagram is held back to be overtaken, in microseconds.
const OVERTAKEN: u64 = 50_000;

/// All CoAP nodes: what a node's [`Config::group`](capmesh_node::Config::group) is to be on links with
/// multicast.
#[must_use]
pub fn group() -> SocketAddr {
    SocketAddr::from(([224, 0, 1, 187], 5683))
}

/// A datagram.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Where it says it comes from.
    pub from: SocketAddr,
    /// Who is to have it.
    pub to: Host,
    /// Whether it was sent to one host or all.
    pub via: Via,
    /// What it holds.
    pub bytes: Arc<[u8]>,
}

/// What has become of a datagram that was sent.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Arrives(Instant, Datagram),
    Lost(Datagram, Loss),
}

/// What a host has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, without headers of lower layers.
    pub bytes: u64,
    /// The time they have taken on media, repetitions by the link included.
    pub air: Duration,
}

/// The network. See the [module](self).
#[derive(Debug)]
pub struct Net {
    /// The links.
    pub cells: Vec<Cell>,
    /// What goes wrong by chance.
    pub weather: Weather,
    /// Whether hosts that do not hear each other are reached over those between.
    pub is_routed: bool,
    hosts: BTreeSet<Host>,
    cuts: Cuts,
    root: Dice,
    dice: BTreeMap<(Host, Host), Dice>,
    recent: VecDeque<Datagram>,
    traffic: BTreeMap<Host, Traffic>,
    /// The next host on the way from one to another, and for which cells that was found out.
    routes: BTreeMap<(Host, Host), Option<Host>>,
}

impl Net {
    /// Everybody on one Ethernet where nothing goes wrong.
    pub(crate) fn new(root: Dice) -> Self {
        Self {
            cells: vec![Cell::everybody(Kind::Ethernet)],
            weather: Weather::default(),
            is_routed: false,
            hosts: BTreeSet::new(),
            cuts: Cuts::default(),
            root,
            dice: BTreeMap::new(),
            recent: VecDeque::new(),
            traffic: BTreeMap::new(),
            routes: BTreeMap::new(),
        }
    }

    /// Has the network consist of these links.
    pub fn lay(&mut self, cells: Vec<Cell>) {
        self.cells = cells;
        self.routes.clear();
    }

    /// What a host has sent.
    #[must_use]
    pub fn traffic(&self, host: Host) -> Traffic {
        self.traffic.get(&host).copied().unwrap_or_default()
    }

    pub(crate) fn attach(&mut self, host: Host) {
        self.hosts.insert(host);
        self.routes.clear();
    }

    pub(crate) const fn cuts(&mut self) -> &mut Cuts {
        &mut self.cuts
    }

    /// The newest datagrams that were sent, the newest first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Datagram> {
        self.recent.iter().rev()
    }

    /// Takes a datagram that a host sends; says what becomes of it and its copies.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: Host,
        to: SocketAddr,
        bytes: &[u8],
        fates: &mut Vec<Fate>,
    ) {
        let traffic = self.traffic.entry(from).or_default();
        traffic.datagrams += 1;
        traffic.bytes += bytes.len() as u64;
        let bytes = Arc::<[u8]>::from(bytes);
        if to.ip().is_multicast() {
            self.send_to_all(now, from, &bytes, fates);
            return;
        }
        let Some(to) = host_of(to) else { return };
        let datagram = Datagram { from: address(from), to, via: Via::Unicast, bytes };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(datagram.clone());
        let (mut at, mut here) = (now, from);
        while here != to {
            let Some(next) = self.next_hop(here, to) else {
                fates.push(Fate::Lost(datagram, Loss::Nobody));
                return;
            };
            match self.hop(at, here, next, datagram.bytes.len()) {
                Ok(arrives) => (at, here) = (arrives, next),
                Err(why) => {
                    fates.push(Fate::Lost(datagram, why));
                    return;
                }
            }
        }
        self.arrive(at, from, &datagram, fates);
    }

    /// The neighbour over which `to` is reached.
    fn next_hop(&mut self, from: Host, to: Host) -> Option<Host> {
        if self.cells.iter().any(|cell| cell.hears(from, to)) {
            return Some(to);
        }
        if !self.is_routed {
            return None;
        }
        if let Some(next) = self.routes.get(&(from, to)) {
            return *next;
        }
        // Breadth first, from the end: everybody's next hop on the way there.
        let mut found = BTreeSet::from([to]);
        let mut queue = VecDeque::from([to]);
        while let Some(near) = queue.pop_front() {
            for cell in &self.cells {
                for host in cell.neighbours(near, &self.hosts) {
                    if found.insert(host) {
                        self.routes.insert((host, to), Some(near));
                        queue.push_back(host);
                    }
                }
            }
        }
        *self.routes.entry((from, to)).or_insert(None)
    }

    /// One transmission from a host to one that hears it: when it has arrived.
    fn hop(&mut self, now: Instant, from: Host, to: Host, len: usize) -> Result<Instant, Loss> {
        let place = self.cells.iter().position(|cell| cell.hears(from, to)).ok_or(Loss::Nobody)?;
        let is_cut = self.cuts.is_cut(from, to);
        let dice = dice(&self.root, &mut self.dice, from, to);
        let (cell, loss) = (&mut self.cells[place], self.weather.loss);
        let kind = cell.kind;
        if len > kind.mtu() {
            return Err(Loss::TooLong);
        }
        let start = cell.free(now, from, Some(to));
        if start > now + kind.queue() {
            return Err(Loss::Full);
        }
        let lost = if is_cut { 1_000 } else { loss };
        let (taken, is_lost) = transmit(dice, kind, len, lost, Some(cell.retries));
        let end = start + taken;
        cell.occupy(from, Some(to), end);
        let latency = kind.latency();
        let latency = latency.start + dice.below(latency.end - latency.start);
        self.traffic.entry(from).or_default().air += taken;
        match (is_lost, is_cut) {
            (false, _) => Ok(end + Duration::from_micros(latency)),
            (true, false) => Err(Loss::Link),
            (true, true) => Err(Loss::Cut),
        }
    }

    /// One transmission to all that hear a host.
    fn send_to_all(&mut self, now: Instant, from: Host, bytes: &Arc<[u8]>, fates: &mut Vec<Fate>) {
        for place in 0..self.cells.len() {
            let near = self.cells[place].neighbours(from, &self.hosts);
            let cell = &mut self.cells[place];
            let (kind, start) = (cell.kind, cell.free(now, from, None));
            if near.is_empty() || bytes.len() > kind.mtu() || start > now + kind.queue() {
                continue;
            }
            let own = dice(&self.root, &mut self.dice, from, from);
            let (taken, _) = transmit(own, kind, bytes.len(), 0, None);
            cell.occupy(from, None, start + taken);
            self.traffic.entry(from).or_default().air += taken;
            for to in near {
                let bytes = Arc::clone(bytes);
                let datagram = Datagram { from: address(from), to, via: Via::Multicast, bytes };
                let dice = dice(&self.root, &mut self.dice, from, to);
                let (_, is_lost) =
                    transmit(dice, kind, datagram.bytes.len(), self.weather.loss, None);
                let latency = kind.latency();
                let latency = latency.start + dice.below(latency.end - latency.start);
                if self.cuts.is_cut(from, to) {
                    fates.push(Fate::Lost(datagram, Loss::Cut));
                } else if is_lost {
                    fates.push(Fate::Lost(datagram, Loss::Link));
                } else {
                    let at = start + taken + Duration::from_micros(latency);
                    self.arrive(at, from, &datagram, fates);
                }
            }
        }
    }

    /// What comes out at the end of the way, and when: here bits fall over, datagrams are doubled and
    /// overtaken.
    fn arrive(&mut self, at: Instant, from: Host, datagram: &Datagram, fates: &mut Vec<Fate>) {
        let weather = &self.weather;
        let dice = dice(&self.root, &mut self.dice, from, datagram.to);
        let copies = 1 + u32::from(dice.chance(weather.duplication));
        for _ in 0..copies {
            let mut datagram = datagram.clone();
            let mut late = weather.delay.start;
            if !weather.delay.is_empty() {
                late += dice.below(weather.delay.end - weather.delay.start);
            }
            if dice.chance(weather.reordering) {
                late += dice.below(OVERTAKEN);
            }
            if dice.chance(weather.corruption) && !datagram.bytes.is_empty() {
                let mut bytes = datagram.bytes.to_vec();
                let bit = dice.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                datagram.bytes = bytes.into();
            }
            let at = at + Duration::from_micros(late);
            let at = at.max(self.cuts.open(from, datagram.to));
            fates.push(Fate::Arrives(at, datagram));
        }
    }
}

/// What a pair of hosts has of chance.
fn dice<'a>(
    root: &Dice,
    all: &'a mut BTreeMap<(Host, Host), Dice>,
    from: Host,
    to: Host,
) -> &'a mut Dice {
    let label = u64::from(from) << 16 | u64::from(to);
    all.entry((from, to)).or_insert_with(|| root.fork(label))
}

/// Sends a datagram's frames: how long that takes, and whether one is lost. `retries` is how often each
/// is sent again if it is acknowledged at all, as it is if it goes to one host.
fn transmit(
    dice: &mut Dice,
    kind: Kind,
    len: usize,
    loss: u16,
    retries: Option<u8>,
) -> (Duration, bool) {
    let frames = kind.frames(len);
    let mut micros = 0;
    for _ in 0..frames.count {
        let mut tries = 0..=retries.unwrap_or(0);
        let comes = tries.any(|_| {
            let backoff = if kind == Kind::Radio { dice.below(8) } else { 0 };
            micros += frames.micros + kind.around(backoff, retries.is_some());
            !dice.chance(loss)
        });
        if !comes {
            return (Duration::from_micros(micros), true);
        }
    }
    (Duration::from_micros(micros), false)
}
