//! All of it, and time.

use crate::gate::Gate;
use crate::machine::{Machine, OwnedOp};
use crate::registry::Registry;
use crate::site::{Dice, GATEWAY, REGISTRY, address, claim};
use capmesh_coap::endpoint::{self, Via};
use capmesh_gateway::RequestId;
use capmesh_gateway::api::{Adopt, Answer, Refusal, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_node::{Config, Input, Output};
use capmesh_wire::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const MTU: usize = 1280;

/// What the network and flash do.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Lost of 100 datagrams.
    pub loss: u64,
    /// Sent twice of 100 datagrams.
    pub duplication: u64,
    /// How long a datagram takes, in microseconds.
    pub delay: std::ops::Range<u64>,
    /// How long an operation of flash takes, in microseconds.
    pub flash: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { loss: 0, duplication: 0, delay: 500..1_500, flash: 100 }
    }
}

#[derive(Clone, Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A mesh in virtual time.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Instant,
    /// What goes wrong.
    pub faults: Faults,
    /// The nodes, from number 1.
    pub machines: Vec<Machine>,
    /// The gateway.
    pub gate: Gate,
    /// The registry.
    pub registry: Registry,
    /// Chance.
    pub dice: Dice,
    /// What everything repeats from.
    pub seed: u64,
    /// Nodes that hear and are heard by nobody.
    pub cut: Vec<u8>,
    /// How long the gateway stays down when it was killed.
    pub downtime: Duration,
    restart_at: Option<Instant>,
    requests: u64,
    on_the_way: BTreeMap<(Instant, u64), Datagram>,
}

impl World {
    /// Nodes 1 to `nodes`, on and of no site; the gateway, on.
    #[must_use]
    pub fn new(seed: u64, nodes: u8, config: &Config) -> Self {
        let mut world = Self {
            now: Instant::from_secs(1),
            faults: Faults::default(),
            machines: (1..=nodes).map(|n| Machine::new(n, config.clone())).collect(),
            gate: Gate::new(seed),
            registry: Registry::new(seed),
            dice: Dice(seed),
            seed,
            cut: Vec::new(),
            downtime: Duration::from_millis(500),
            restart_at: None,
            requests: 0,
            on_the_way: BTreeMap::new(),
        };
        (1..=nodes).for_each(|n| world.boot(n));
        world.gate.start(world.now);
        world
    }

    /// A node.
    pub fn machine(&mut self, n: u8) -> &mut Machine {
        &mut self.machines[usize::from(n) - 1]
    }

    /// The power of a node comes back.
    pub fn boot(&mut self, n: u8) {
        let (now, seed) = (self.now, self.seed);
        self.machine(n).boot(now, seed);
    }

    /// The power of a node goes, in the middle of whatever it is doing.
    pub fn crash(&mut self, n: u8) {
        let seed = self.dice.roll();
        self.machine(n).crash(Tear::Bits(seed));
    }

    /// The gateway is killed; it starts again after a while.
    pub fn kill_gateway(&mut self) {
        self.gate.kill();
    }

    /// Asks the gateway for something, and waits for the answer. `None` if the gateway was killed before.
    pub fn ask(&mut self, request: &Request) -> Option<Result<Answer, Refusal>> {
        self.run_until(60, |world| world.gate.gateway.is_some());
        let (id, starts) = (self.begin_ask(request), self.gate.starts);
        self.run_until(120, |world| {
            world.gate.answers.contains_key(&id)
                || world.gate.starts != starts
                || world.gate.gateway.is_none()
        });
        self.gate.answers.remove(&id)
    }

    /// Asks the gateway for something until it is done.
    pub fn insist(&mut self, request: &Request) -> Answer {
        for _ in 0..20 {
            match self.ask(request) {
                Some(Ok(answer)) => return answer,
                Some(Err(refusal)) if refusal.retry_ms.is_none() => {
                    panic!("seed {}: {refusal}: {refusal:?}", self.seed);
                }
                _ => self.run_for(Duration::from_millis(200)),
            }
        }
        panic!("seed {}: {request:?} is not done", self.seed);
    }

    /// Begins to ask.
    pub fn begin_ask(&mut self, request: &Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        if let Some(gateway) = &mut self.gate.gateway {
            gateway.handle(self.now, capmesh_gateway::Input::Request { id, request });
        }
        id
    }

    /// Has the gateway take a node into the site.
    pub fn adopt(&mut self, n: u8) {
        self.insist(&Request::Adopt(Adopt {
            claim: claim(n),
            address: address(n),
            name: format!("n{n}"),
            labels: Vec::new(),
        }));
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let is_cut = |a: SocketAddr| self.cut.iter().any(|n| address(*n) == a);
        if is_cut(from) || is_cut(to) || self.dice.below(100) < self.faults.loss {
            return;
        }
        let copies = 1 + u64::from(self.dice.below(100) < self.faults.duplication);
        for _ in 0..copies {
            let range = self.faults.delay.clone();
            let delay = range.start + self.dice.below(range.end - range.start);
            let order = self.dice.roll();
            let at = self.now + Duration::from_micros(delay);
            self.on_the_way.insert((at, order), Datagram { from, to, bytes: bytes.to_vec() });
        }
    }

    /// Lets everybody do what is to be done now.
    fn flush(&mut self) {
        for place in 0..self.machines.len() {
            self.flush_node(place);
        }
        let mut posts = Vec::new();
        let now = self.now;
        self.gate.flush(now, |to, bytes| posts.push((GATEWAY, to, bytes.to_vec())));
        let mut buf = vec![0; MTU];
        while let Some(output) = self.registry.core.poll(now, &mut buf) {
            if let endpoint::Output::Transmit { to, len } = output {
                posts.push((REGISTRY, to, buf[..len].to_vec()));
            }
        }
        for (from, to, bytes) in posts {
            self.post(address(from), to, &bytes);
        }
        if self.gate.gateway.is_none() && self.restart_at.is_none() {
            self.restart_at = Some(self.now + self.downtime);
        }
    }

    fn flush_node(&mut self, place: usize) {
        let mut buf = vec![0; 2_048];
        for turn in 0.. {
            assert!(turn < 20_000, "node {} does not come to rest", place + 1);
            let (now, flash_time) = (self.now, self.faults.flash);
            let machine = &mut self.machines[place];
            let from = address(machine.n);
            let Some(node) = &mut machine.node else { return };
            match node.poll(now, machine.nor.bytes(), &mut buf) {
                None if node.poll_timeout().is_some_and(|at| at <= now) => {}
                None => return,
                Some(Output::Transmit { to, bytes }) => {
                    let bytes = bytes.to_vec();
                    self.post(from, to, &bytes);
                }
                Some(Output::Program { at, bytes }) => {
                    let op = OwnedOp::Program { at, bytes: bytes.to_vec() };
                    let until = now + Duration::from_micros(flash_time);
                    assert!(machine.flashing.replace((until, op)).is_none());
                }
                Some(Output::Erase { at }) => {
                    let until = now + Duration::from_micros(flash_time);
                    assert!(machine.flashing.replace((until, OwnedOp::Erase { at })).is_none());
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
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
        let nodes = self.machines.iter().filter_map(|m| m.node.as_ref()?.poll_timeout());
        let flash = self.machines.iter().filter_map(|m| Some(m.flashing.as_ref()?.0));
        let registry = self.registry.core.poll_timeout();
        let gate = self.gate.next_event().into_iter().chain(self.restart_at);
        arrival.into_iter().chain(nodes).chain(flash).chain(registry).chain(gate).min()
    }

    /// Goes on to what happens next, but not past `until`. Returns whether anything is left before.
    pub fn step(&mut self, until: Instant) -> bool {
        self.flush();
        let Some(next) = self.next_event().filter(|at| *at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        if self.restart_at.is_some_and(|at| at <= self.now) {
            self.restart_at = None;
            self.gate.start(self.now);
        }
        self.gate.settle(self.now);
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
        self.deliver();
        self.flush();
        true
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.on_the_way.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let Datagram { from, to, bytes } = entry.remove();
            let (now, via, bytes) = (self.now, Via::Unicast, bytes.as_slice());
            if to == address(GATEWAY) {
                if let Some(gateway) = &mut self.gate.gateway {
                    gateway.handle(now, capmesh_gateway::Input::Datagram { from, via, bytes });
                }
            } else if to == address(REGISTRY) {
                self.registry.datagram(now, from, bytes);
            } else if let Some(machine) = self.machines.iter_mut().find(|m| address(m.n) == to)
                && let Some(node) = &mut machine.node
            {
                node.handle(now, machine.nor.bytes(), Input::Datagram { from, via, bytes });
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
    }

    /// Runs until `is_done`, or panics after so many seconds.
    pub fn run_until(&mut self, seconds: u64, mut is_done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + Duration::from_secs(seconds);
        while !is_done(self) {
            assert!(self.step(until), "seed {}: it does not happen in time", self.seed);
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
