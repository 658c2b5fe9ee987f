//! A site in virtual time: nodes with the real runtime and flash that tears, a gateway that commands
//! them, and a network between them. Everything repeats from the seed.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "helpers of tests")]

pub(crate) mod capsules;
mod gateway;
mod machine;
pub(crate) mod site;
pub(crate) mod watched;
mod who;

pub(crate) use who::*;

use capmesh_coap::endpoint::{self, Via};
use capmesh_coap::test_util::Dice;
use capmesh_node::flash::nor::{Pending, Tear};
use capmesh_node::{Config, Input, Output};
use capmesh_session::Replaceable as _;
use capmesh_wire::{Instant, Roster};
use gateway::Controller;
use machine::Machine;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// What the network and flash do.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Of 100 datagrams.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) delay: std::ops::Range<u64>,
    /// How long an operation of flash takes, in microseconds.
    pub(crate) flash: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { loss: 0, duplication: 0, delay: 500..1_500, flash: 100 }
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) faults: Faults,
    pub(crate) machines: Vec<Machine>,
    pub(crate) gateway: Controller,
    pub(crate) dice: Dice,
    pub(crate) seed: u64,
    pub(crate) sent: u64,
    /// In how many of 100 cases a node falls over while it is commanded.
    pub(crate) chaos: u64,
    /// How long after the next command node 1 loses its power.
    pub(crate) power_cut: Option<Duration>,
    /// Nodes that hear and are heard by nobody.
    pub(crate) cut: Vec<u8>,
    /// Pairs that do not hear each other.
    pub(crate) walls: Vec<(u8, u8)>,
    on_the_way: BTreeMap<(Instant, u64), Datagram>,
}

impl World {
    /// Nodes 1 to `nodes`, adopted and not yet started.
    pub(crate) fn new(seed: u64, nodes: u8, config: &Config) -> Self {
        let roster = roster(1, nodes, &[]);
        let mut gateway = core("gateway", GATEWAY, seed);
        gateway.sessions_mut().roster_mut().replace(&Roster::from_trusted(&roster).unwrap());
        for n in 1..=nodes {
            gateway.sessions_mut().introduce(Instant::ZERO, node_id(n), address(n)).unwrap();
        }
        Self {
            now: Instant::from_secs(1),
            faults: Faults::default(),
            machines: (1..=nodes).map(|n| Machine::new(n, config.clone(), &roster)).collect(),
            gateway: Controller {
                core: Box::new(gateway),
                answers: BTreeMap::new(),
                observed: None,
                observing: BTreeSet::new(),
            },
            dice: Dice::new(seed),
            seed,
            sent: 0,
            chaos: 0,
            power_cut: None,
            cut: Vec::new(),
            walls: Vec::new(),
            on_the_way: BTreeMap::new(),
        }
    }

    pub(crate) fn machine(&mut self, n: u8) -> &mut Machine {
        &mut self.machines[usize::from(n) - 1]
    }

    pub(crate) fn boot(&mut self, n: u8) {
        let (now, seed) = (self.now, self.seed);
        self.machine(n).boot(now, seed);
    }

    pub(crate) fn boot_all(&mut self) {
        for n in 1..=self.machines.len() as u8 {
            self.boot(n);
        }
    }

    /// The power of a node goes, in the middle of whatever it is doing.
    pub(crate) fn crash(&mut self, n: u8) {
        let seed = self.dice.roll();
        self.machine(n).crash(Tear::Bits(seed));
    }

    /// Something happens at a node.
    pub(crate) fn input(&mut self, n: u8, input: Input<'_>) {
        let now = self.now;
        let machine = self.machine(n);
        if let Some(node) = &mut machine.node {
            node.handle(now, machine.nor.bytes(), input);
        }
    }

    /// A node that hears both of two nodes which do not hear each other.
    pub(crate) fn relay_between(&self, a: u8, b: u8) -> Option<u8> {
        let hear = |a, b| !self.walls.contains(&(a, b)) && !self.walls.contains(&(b, a));
        let mut others =
            self.machines.iter().map(|machine| machine.n).filter(|n| ![a, b].contains(n));
        others.find(|relay| !hear(a, b) && hear(a, *relay) && hear(b, *relay))
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.sent += 1;
        let is_cut = |a: SocketAddr| self.cut.iter().any(|n| address(*n) == a);
        let pair = |(a, b)| [(from, to), (to, from)].contains(&(address(a), address(b)));
        if self.walls.iter().copied().any(pair) {
            return;
        }
        if is_cut(from) || is_cut(to) || self.dice.within(0..100) < self.faults.loss {
            return;
        }
        let copies = 1 + u64::from(self.dice.within(0..100) < self.faults.duplication);
        for _ in 0..copies {
            let range = self.faults.delay.clone();
            let delay = self.dice.within(range.clone());
            let order = self.dice.roll();
            let at = self.now + Duration::from_micros(delay);
            let datagram = Datagram { from, to, bytes: bytes.to_vec() };
            self.on_the_way.insert((at, order), datagram);
        }
    }

    /// Lets everybody do what is to be done now.
    fn flush(&mut self) {
        let mut buf = vec![0; 2_048];
        for place in 0..self.machines.len() {
            for turn in 0.. {
                let stuck = self.machines[place].node.as_ref().map(|node| format!("{node:?}"));
                assert!(turn < 20_000, "node {} does not come to rest: {stuck:?}", place + 1);
                if !self.turn(place, &mut buf) {
                    break;
                }
            }
        }
        loop {
            match self.gateway.core.poll(self.now, &mut buf) {
                None => break,
                Some(endpoint::Output::Transmit { to, len }) => {
                    let bytes = buf[..len].to_vec();
                    self.post(address(GATEWAY), to, &bytes);
                }
                Some(endpoint::Output::Outcome(outcome)) => self.gateway.outcome(outcome),
            }
        }
    }

    /// Lets a node do the next thing that is to be done now. Returns whether there was anything.
    pub(crate) fn turn(&mut self, place: usize, buf: &mut [u8]) -> bool {
        let (now, flash_time) = (self.now, self.faults.flash);
        let machine = &mut self.machines[place];
        let from = address(machine.n);
        let Some(node) = &mut machine.node else { return false };
        match node.poll(now, machine.nor.bytes(), buf) {
            None if node.poll_timeout().is_some_and(|at| at <= now) => {}
            None => return false,
            Some(Output::Transmit { to, bytes }) => {
                let bytes = bytes.to_vec();
                self.post(from, to, &bytes);
            }
            Some(Output::Program { at, bytes }) => {
                let op = Pending::Program { at, bytes: bytes.to_vec() };
                let until = now + Duration::from_micros(flash_time);
                assert!(machine.flashing.replace((until, op)).is_none());
            }
            Some(Output::Erase { at }) => {
                let until = now + Duration::from_micros(flash_time);
                assert!(machine.flashing.replace((until, Pending::Erase { at })).is_none());
            }
            Some(Output::Actuate { actuator, value }) => {
                machine.actuations.push((now, actuator, value));
            }
            Some(Output::Reboot) => {
                machine.crash(Tear::Everything);
                let seed = self.seed;
                machine.boot(now, seed);
            }
        }
        true
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
        let nodes = self.machines.iter().filter_map(|m| m.node.as_ref()?.poll_timeout());
        let flash = self.machines.iter().filter_map(|m| Some(m.flashing.as_ref()?.0));
        let gateway = self.gateway.core.poll_timeout();
        arrival.into_iter().chain(nodes).chain(flash).chain(gateway).min()
    }

    /// Goes on to what happens next, but not past `until`. Returns whether anything is left before.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.flush();
        let Some(next) = self.next_event().filter(|at| *at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        for machine in &mut self.machines {
            if machine.flashing.as_ref().is_some_and(|(at, _)| *at <= self.now)
                && let Some((_, op)) = machine.flashing.take()
            {
                machine.nor.apply(op.op()).unwrap();
                if let Some(node) = &mut machine.node {
                    node.handle(self.now, machine.nor.bytes(), Input::Flashed(Ok(())));
                }
            }
        }
        while let Some(entry) = self.on_the_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let Datagram { from, to, bytes } = entry.remove();
            if to == address(GATEWAY) {
                self.gateway.datagram(self.now, from, &bytes);
            } else if let Some(machine) = self.machines.iter_mut().find(|m| address(m.n) == to)
                && let Some(node) = &mut machine.node
            {
                let input = Input::Datagram { from, via: Via::Unicast, bytes: &bytes };
                node.handle(self.now, machine.nor.bytes(), input);
            }
        }
        self.flush();
        true
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
    }

    /// Runs until `is_done`, or panics after so many seconds.
    pub(crate) fn run_until(&mut self, seconds: u64, mut is_done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + Duration::from_secs(seconds);
        while !is_done(self) {
            assert!(self.step(until), "seed {}: it does not happen in time", self.seed);
        }
    }

    /// With the chance that was set, a node loses its power in the middle of whatever it does, and
    /// comes back after a while.
    pub(crate) fn chaos(&mut self) {
        if let Some(after) = self.power_cut.take() {
            self.run_for(after);
            self.crash(1);
            self.boot(1);
        }
        if self.dice.within(0..100) >= self.chaos {
            return;
        }
        let soon = self.dice.within(0..40_000);
        self.run_for(Duration::from_micros(soon));
        let n = 1 + self.dice.within(0..self.machines.len() as u64) as u8;
        self.crash(n);
        let off = self.dice.within(0..2_000);
        self.run_for(Duration::from_millis(off));
        self.boot(n);
    }

    /// Tells each node where the others are, as announcements do.
    pub(crate) fn introduce_each_other(&mut self) {
        let all: Vec<u8> = self.machines.iter().map(|machine| machine.n).collect();
        let now = self.now;
        for machine in &mut self.machines {
            for n in all.iter().filter(|n| **n != machine.n) {
                if let Some(node) = &mut machine.node {
                    node.found(now, machine.nor.bytes(), node_id(*n), address(*n));
                }
            }
        }
    }
}
