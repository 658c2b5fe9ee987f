//! All of it, and time.

mod asks;
mod faults;
mod schedule;

use crate::Host;
use crate::checkers::{Checkers, Violation};
use crate::event::{Event, Fingerprint, Loss};
use crate::gate::Gate;
use crate::machine::{self, Done, Machine};
use crate::net::{Datagram, Fate, Net};
use crate::registry::Registry;
use crate::site::{
    Dice, GATEWAY, REGISTRY, absent_registry, host_of, roster, roster_with, site_credential,
};
use capmesh_node::flash::nor::Tear;
use capmesh_node::trace::print;
use capmesh_node::{Config, Input};
use capmesh_oscore::witness;
use capmesh_session::edhoc::known;
use capmesh_wire::Instant;
use schedule::{Happening, Schedule};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const MTU: usize = 1280;

/// How long the gateway's database takes for a commit: as long as a disk.
const COMMIT: Duration = Duration::from_millis(2);

/// How long operations of flash take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashTimes {
    /// Programming a page or a part of it.
    pub program: Duration,
    /// Erasing a sector.
    pub erase: Duration,
}

impl Default for FlashTimes {
    fn default() -> Self {
        Self { program: Duration::from_micros(100), erase: Duration::from_micros(100) }
    }
}

/// Labels of what has chance of its own and is no host.
const NET: u64 = 1 << 32;
const OTHER: u64 = 2 << 32;

/// A mesh in virtual time.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Instant,
    /// The network.
    pub net: Net,
    /// How long flash takes.
    pub flash: FlashTimes,
    /// The nodes, from number 1.
    pub machines: Vec<Machine>,
    /// The gateway.
    pub gate: Gate,
    /// The registry.
    pub registry: Registry,
    /// Chance that belongs to nobody.
    pub dice: Dice,
    /// What everything repeats from.
    pub seed: u64,
    /// How long the gateway and the registry stay down when they were killed.
    pub downtime: Duration,
    schedule: Schedule,
    /// When the gateway and the registry start again if they are down.
    restarts: [Option<Instant>; 2],
    requests: u64,
    /// What has to hold.
    pub checkers: Checkers,
    /// The first promise that was broken: from then on nothing happens any more.
    pub violation: Option<Box<Violation>>,
    /// Everything that has happened, if it is to be kept.
    pub history: Option<Vec<(Instant, Event)>>,
    /// What stands for everything that has happened.
    pub fingerprint: Fingerprint,
    fates: Vec<Fate>,
    buf: Vec<u8>,
}

impl World {
    /// Nodes 1 to `nodes`, on and of no site; the gateway and the registry, on.
    #[must_use]
    pub fn new(seed: u64, nodes: Host, config: &Config) -> Self {
        Self::with_roster(seed, nodes, config, roster(0))
    }

    /// As [`World::new`], but the roster names another registry before the one that there is.
    #[must_use]
    pub fn with_absent_registry(seed: u64, nodes: Host, config: &Config) -> Self {
        Self::with_roster(seed, nodes, config, roster_with(0, Some(absent_registry())))
    }

    fn with_roster(seed: u64, nodes: Host, config: &Config, roster: Vec<u8>) -> Self {
        let mut world = Self::dark(seed, nodes);
        world.gate.know(0, roster.clone());
        world.registry.roster = roster;
        for _ in 0..nodes {
            let n = world.join(config);
            world.boot(n);
        }
        world.start_registry();
        world.start_gateway();
        world
    }

    /// Nodes 1 to `nodes`, on and all of the site, whose gateway and registry know them: as if they had been
    /// adopted long ago. It takes a few milliseconds for each node.
    #[must_use]
    pub fn settled(seed: u64, nodes: Host, config: &Config) -> Self {
        let mut world = Self::dark(seed, nodes);
        let roster = roster(nodes);
        let flash = machine::member(config, &site_credential(), &roster);
        world.gate.know(nodes, roster.clone());
        world.registry.roster = roster;
        for _ in 0..nodes {
            let n = world.add(config, flash.clone());
            world.boot(n);
        }
        world.start_registry();
        world.start_gateway();
        world
    }

    /// Nobody but a gateway and a registry, which are off.
    fn dark(seed: u64, nodes: Host) -> Self {
        witness::begin();
        known::begin();
        let dice = Dice(seed);
        let mut net = Net::new(dice.fork(NET));
        [GATEWAY, REGISTRY].into_iter().for_each(|host| net.attach(host));
        Self {
            now: Instant::from_secs(1),
            net,
            flash: FlashTimes::default(),
            machines: Vec::new(),
            gate: Gate::new(dice.fork(GATEWAY.into()).0, nodes),
            registry: Registry::new(dice.fork(REGISTRY.into()).0),
            dice: dice.fork(OTHER),
            seed,
            downtime: Duration::from_millis(500),
            schedule: Schedule::default(),
            restarts: [None; 2],
            requests: 0,
            checkers: Checkers::default(),
            violation: None,
            history: None,
            fingerprint: Fingerprint::default(),
            fates: Vec::new(),
            buf: vec![0; 2_048],
        }
    }

    /// A node.
    pub fn machine(&mut self, n: Host) -> &mut Machine {
        &mut self.machines[usize::from(n) - 1]
    }

    /// Something has happened.
    pub(crate) fn emit(&mut self, event: Event) {
        self.fingerprint.add(self.now, &event);
        if let (None, Err(violation)) = (&self.violation, self.checkers.see(self.now, &event)) {
            self.violation = Some(violation);
        }
        if let Some(history) = &mut self.history {
            history.push((self.now, event));
        }
    }

    /// Tells what a host has sealed since this was told last.
    fn tell_sealed(&mut self, host: Host) {
        let mut sealed = Vec::new();
        witness::take(|of| sealed.push(Event::Sealed { host, key: of.key, nonce: of.nonce }));
        sealed.into_iter().for_each(|event| self.emit(event));
    }

    /// Goes on to what happens next, but not past `until`. Returns whether anything is left before. The
    /// work is that of what happens and of those to whom it does, and grows with the logarithm of how
    /// many there are.
    pub fn step(&mut self, until: Instant) -> bool {
        if self.violation.is_some() {
            return false;
        }
        self.flush();
        let Some(next) = self.schedule.next().filter(|at| *at <= until) else {
            self.now = self.now.max(until);
            self.look();
            return false;
        };
        self.now = self.now.max(next);
        while let Some(happening) = self.schedule.due(self.now) {
            self.happen(happening);
        }
        self.schedule.wake(self.now);
        self.flush();
        self.look();
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(datagram) => self.arrive(&datagram),
            Happening::Flashed(host, number) => self.flashed(host, number),
            Happening::Committed(number) => {
                self.gate.settle(self.now, number);
                self.schedule.touch(GATEWAY);
            }
            Happening::Starts(GATEWAY) if self.restarts[0] == Some(self.now) => {
                self.start_gateway();
            }
            Happening::Starts(REGISTRY) if self.restarts[1] == Some(self.now) => {
                self.start_registry();
            }
            Happening::Starts(_) => {}
        }
    }

    fn flashed(&mut self, host: Host, number: u64) {
        let now = self.now;
        let machine = self.machine(host);
        let Some((_, op)) = machine.flashing.take_if(|(of, _)| *of == number) else { return };
        machine.nor.apply(op.op()).unwrap();
        if let Some(node) = &mut machine.node {
            let now = machine.clock.local(now);
            node.handle(now, machine.nor.bytes(), Input::Flashed(Ok(())));
        }
        self.schedule.touch(host);
    }

    /// Gives a datagram to whom it is for.
    fn arrive(&mut self, datagram: &Datagram) {
        let Datagram { from, to, via, ref bytes } = *datagram;
        let now = self.now;
        let is_on = match to {
            GATEWAY => self.gate.gateway.is_some(),
            REGISTRY => self.registry.is_on(),
            n => self.machines.get(usize::from(n).wrapping_sub(1)).is_some_and(Machine::is_on),
        };
        let (len, print) = (bytes.len() as u16, print(bytes));
        let sender = host_of(from).unwrap_or_default();
        if !is_on {
            self.emit(Event::Lost { from: sender, to, len, print, why: Loss::Nobody });
            return;
        }
        self.emit(Event::Arrived { from: sender, to, len, print });
        match to {
            GATEWAY => {
                self.gate.handle(now, capmesh_gateway::Input::Datagram { from, via, bytes });
            }
            REGISTRY => self.registry.datagram(now, from, via, bytes),
            n => {
                let machine = self.machine(n);
                if let Some(node) = &mut machine.node {
                    let now = machine.clock.local(now);
                    node.handle(now, machine.nor.bytes(), Input::Datagram { from, via, bytes });
                }
            }
        }
        self.tell_sealed(to);
        self.schedule.touch(to);
    }

    /// Takes a datagram that a host sends.
    pub(crate) fn post(&mut self, from: Host, to: SocketAddr, bytes: &[u8]) {
        let mut fates = std::mem::take(&mut self.fates);
        let (len, print) = (bytes.len() as u16, print(bytes));
        self.emit(Event::Sent { from, to: host_of(to).unwrap_or_default(), len, print });
        self.net.send(self.now, from, to, bytes, &mut fates);
        for fate in fates.drain(..) {
            match fate {
                Fate::Arrives(at, datagram) => {
                    self.schedule.add(at, Happening::Arrival(datagram));
                }
                Fate::Lost(datagram, why) => {
                    self.emit(Event::Lost { from, to: datagram.to, len, print, why });
                }
            }
        }
        self.fates = fates;
    }

    /// Lets those do what is to be done now who were touched.
    fn flush(&mut self) {
        while let Some(host) = self.schedule.touched() {
            let timeout = match host {
                GATEWAY => {
                    self.flush_gateway();
                    self.gate.timeout()
                }
                REGISTRY => {
                    let mut posts = Vec::new();
                    let to = |to, bytes: &[u8]| posts.push((to, bytes.to_vec()));
                    self.registry.flush(self.now, to);
                    posts.iter().for_each(|(to, bytes)| self.post(REGISTRY, *to, bytes));
                    self.registry.timeout()
                }
                n => {
                    self.flush_node(n);
                    self.machine(n).timeout()
                }
            };
            self.tell_sealed(host);
            self.schedule.set_timeout(host, timeout);
        }
    }

    fn flush_gateway(&mut self) {
        let mut posts = Vec::new();
        let begun = self.gate.flush(self.now, |to, bytes| posts.push((to, bytes.to_vec())));
        posts.iter().for_each(|(to, bytes)| self.post(GATEWAY, *to, bytes));
        if let Some(number) = begun {
            self.schedule.add(self.now + COMMIT, Happening::Committed(number));
        }
        for event in std::mem::take(&mut self.gate.told) {
            self.emit(event);
        }
        if self.gate.gateway.is_none() {
            self.gateway_is_gone();
        }
    }

    fn flush_node(&mut self, n: Host) {
        let mut buf = std::mem::take(&mut self.buf);
        for turn in 0.. {
            assert!(turn < 20_000, "node {n} does not come to rest");
            let (now, times) = (self.now, self.flash);
            let done = self.machine(n).poll(now, &mut buf);
            for trace in self.machine(n).traces() {
                self.emit(Event::Node { host: n, trace });
            }
            match done {
                Done::Nothing => break,
                Done::Slice => {}
                Done::Sent { to, len } => self.post(n, to, &buf[..len]),
                Done::Began { number, erases } => {
                    let at = now + if erases { times.erase } else { times.program };
                    self.schedule.add(at, Happening::Flashed(n, number));
                }
                Done::Actuated { actuator, value } => {
                    self.emit(Event::Actuated { host: n, actuator, bits: value.to_bits() });
                }
                Done::Reboot => {
                    self.crash(n, Tear::Everything);
                    self.boot(n);
                }
            }
        }
        self.buf = buf;
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// If a promise is broken.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.expect_no_violation();
    }

    /// Runs until `is_done`, or panics after so many seconds.
    ///
    /// # Panics
    /// Also if a promise is broken.
    pub fn run_until(&mut self, seconds: u64, mut is_done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + Duration::from_secs(seconds);
        while !is_done(self) {
            let goes_on = self.step(until);
            self.expect_no_violation();
            assert!(goes_on, "seed {}: it does not happen in time", self.seed);
        }
    }

    /// # Panics
    /// If a promise is broken.
    pub fn expect_no_violation(&self) {
        if let Some(violation) = &self.violation {
            panic!("seed {}: {violation}", self.seed);
        }
    }

    /// What an actuator was set to last, on whichever node.
    #[must_use]
    pub fn last(&self, actuator: u8) -> f64 {
        let all = self.machines.iter().flat_map(|machine| &machine.actuations);
        let newest = all.filter(|(_, of, _)| *of == actuator).max_by_key(|(at, ..)| *at);
        newest.map_or(0.0, |(_, _, value)| *value)
    }
}
