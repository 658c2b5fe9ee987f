//! A site in virtual time: nodes with the real runtime and flash that tears, a gateway that commands
//! them, and a network between them. Everything repeats from the seed.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "helpers of tests")]

pub(crate) mod capsules;
pub(crate) mod site;

use capmesh_coap::endpoint::{self, Event, ExchangeId, Outcome, Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::relay::Relaying;
use capmesh_coap::{Code, Endpoint, MessageWriter};
use capmesh_node::flash::nor::{Nor, Tear};
use capmesh_node::flash::{Done, Op, Owner, Store, kinds};
use capmesh_node::site::Members;
use capmesh_node::{Boot, Config, Input, Node, Output};
use capmesh_runtime::Runtime;
use capmesh_session::edhoc::{self, Identity};
use capmesh_session::{Peer, RelayEndpoint, Replaceable as _, SecureEndpoint, Sessions};
use capmesh_wire::clock::{TimeReply, TimeRequest};
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::inventory::{InstanceState, InstanceStatus, Status};
use capmesh_wire::log::LogLine;
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{
    Credential, Digest, ErrorCode, InstanceId, Instant, Name, NodeId, Problem, Revision, Role,
    Roster, cbor, content_format, limits, paths,
};
use rand_core::{CryptoRng, RngCore};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const MTU: usize = 1280;

/// The endpoint of the gateway.
pub(crate) type Core = SecureEndpoint<Sessions<Members, Dice, 8, 4>, MTU, 24, 16, 8, 128, 16_384>;

/// The endpoint of a node.
pub(crate) type NodeCore = RelayEndpoint<Members, Dice, 8, 4, MTU, 24, 16, 8, 128, 16_384, 4>;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }
}

impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        (self.roll() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.roll()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill_with(|| self.roll().to_be_bytes()[0]);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Dice {}

/// The seeds of a test with chance in it: `CAPMESH_SEEDS=100..200` asks for others than the usual.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("CAPMESH_SEEDS").ok();
    let range = asked.as_deref().and_then(|asked| asked.split_once(".."));
    range.map_or(0..usual, |(first, end)| first.parse().unwrap()..end.parse().unwrap())
}

pub(crate) fn scalar(n: u8) -> [u8; 32] {
    let mut scalar = [n; 32];
    scalar[0] = 1;
    scalar
}

/// Site time at the start of the world's clock, in microseconds since 1970.
pub(crate) const UNIX: u64 = 1_700_000_000_000_000;

/// Who is who: by the number that their key is made of.
pub(crate) const SITE: u8 = 200;
pub(crate) const GATEWAY: u8 = 201;
pub(crate) const PUBLISHER: u8 = 202;

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&scalar(n)).unwrap()
}

pub(crate) fn credential(name: &str, n: u8) -> Vec<u8> {
    let mut buf = [0; limits::CREDENTIAL];
    let len = Credential::encode(Name::new(name).unwrap(), &key(n).public_key(), &mut buf);
    buf[..len.unwrap()].to_vec()
}

fn identity(name: &str, n: u8) -> Identity {
    let credential = edhoc::Credential::parse(&credential(name, n)).unwrap();
    Identity::new(&scalar(n), credential).unwrap()
}

pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5683))
}

pub(crate) fn node_id(n: u8) -> NodeId {
    key(n).id()
}

/// The roster of the nodes 1 to `nodes`, without those who were revoked.
pub(crate) fn roster(version: u32, nodes: u8, revoked: &[u8]) -> Vec<u8> {
    let mut members: Vec<(Role, Vec<u8>)> = (1..=nodes)
        .filter(|n| !revoked.contains(n))
        .map(|n| (Role::Node, credential(&format!("n{n}"), n)))
        .collect();
    if !revoked.contains(&GATEWAY) {
        members.push((Role::Gateway, credential("gateway", GATEWAY)));
    }
    if !revoked.contains(&PUBLISHER) {
        members.push((Role::Publisher, credential("publisher", PUBLISHER)));
    }
    members.sort_by_key(|(_, bytes)| Credential::parse(bytes).unwrap().id());
    let mut buf = vec![0; 8_192];
    let mut entries = EntriesWriter::new(&mut buf);
    for (role, bytes) in &members {
        let credential = Credential::parse(bytes).unwrap();
        entries.push(&Entry { role: *role, expires: 4_000_000_000, credential }).unwrap();
    }
    let head = entries.head(Name::new("site").unwrap(), Revision(version), 1_700_000_000);
    let mut out = vec![0; 8_192];
    let len = entries.sign(&head, &key(SITE), &mut out).unwrap();
    out.truncate(len);
    out
}

/// Sessions of somebody without members yet, and what an endpoint needs beside them.
fn sessions(
    name: &str,
    n: u8,
    seed: u64,
) -> (endpoint::Config, Sessions<Members, Dice, 8, 4>, [u8; 16]) {
    let mut dice = Dice(seed ^ u64::from(n) << 40);
    let config = endpoint::Config { nstart: 8, ..endpoint::Config::default() };
    let sessions = Sessions::new(
        Instant::ZERO,
        capmesh_session::Config::for_host(),
        identity(name, n),
        Members::new(),
        dice.clone(),
    );
    let mut seed = [0; 16];
    dice.fill_bytes(&mut seed);
    (config, sessions, seed)
}

fn core(name: &str, n: u8, seed: u64) -> Core {
    let (config, sessions, seed) = sessions(name, n, seed);
    SecureEndpoint::new(Endpoint::new(config, sessions, seed))
}

fn node_core(name: &str, n: u8, seed: u64) -> NodeCore {
    let (config, sessions, seed) = sessions(name, n, seed);
    RelayEndpoint::new(Endpoint::new(config, Relaying::new(sessions), seed), "node")
}

/// A node, its flash, and what it has done to the world.
pub(crate) struct Machine {
    pub(crate) n: u8,
    pub(crate) config: Config,
    pub(crate) nor: Nor,
    pub(crate) node: Option<Box<Node<NodeCore, Runtime>>>,
    /// When the operation that flash works on is done, and what it is.
    flashing: Option<(Instant, OwnedOp)>,
    pub(crate) actuations: Vec<(Instant, u8, f64)>,
    pub(crate) boots: u32,
}

#[derive(Clone, Debug)]
enum OwnedOp {
    Program { at: u32, bytes: Vec<u8> },
    Erase { at: u32 },
}

impl OwnedOp {
    fn op(&self) -> Op<'_> {
        match self {
            Self::Program { at, bytes } => Op::Program { at: *at, bytes },
            Self::Erase { at } => Op::Erase { at: *at },
        }
    }
}

impl Machine {
    /// A node whose flash holds its key, the site and the roster.
    fn new(n: u8, config: Config, roster: &[u8]) -> Self {
        let nor = Nor::new(config.flash.geometry, config.flash.bytes());
        let mut machine =
            Self { n, config, nor, node: None, flashing: None, actuations: Vec::new(), boots: 0 };
        let mut own = scalar(n).to_vec();
        own.extend_from_slice(format!("n{n}").as_bytes());
        machine.put(kinds::IDENTITY, 0, &own);
        machine.put(kinds::SITE, 0, &credential("site", SITE));
        machine.put(kinds::ROSTER, 0, roster);
        machine
    }

    /// Writes a record past the node.
    fn put(&mut self, kind: u8, id: u32, value: &[u8]) {
        let mut store = Store::mount(self.nor.bytes(), self.config.flash);
        store.put(kind, id, value).unwrap();
        settle(&mut store, &mut self.nor);
    }

    /// Gives the node another roster past the node.
    pub(crate) fn set_roster(&mut self, roster: &[u8]) {
        self.put(kinds::ROSTER, 0, roster);
    }

    /// Puts a capsule into flash past the node.
    pub(crate) fn preload(&mut self, id: u32, capsule: &capsules::Packed) {
        self.put(kinds::CAPSULE, id, &capsule.manifest);
        let mut store = Store::mount(self.nor.bytes(), self.config.flash);
        let owner = Owner { kind: kinds::CAPSULE, id };
        let extent = store.allocate(self.nor.bytes(), &capsule.blob, owner).unwrap();
        settle(&mut store, &mut self.nor);
        for (offset, bytes) in capsule.pieces() {
            store.write(self.nor.bytes(), extent, offset, bytes).unwrap();
            settle(&mut store, &mut self.nor);
        }
        let mut group = store.group();
        group.commit_extent(self.nor.bytes(), extent).unwrap();
        group.submit().unwrap();
        settle(&mut store, &mut self.nor);
    }

    pub(crate) fn boot(&mut self, now: Instant, seed: u64) {
        self.boots += 1;
        let flash = self.nor.bytes();
        let boot = Boot::new(self.config.clone(), flash, [9; 32]).unwrap();
        let link = node_core(&format!("n{}", self.n), self.n, seed ^ u64::from(self.boots) << 48);
        let node = boot.start(now, flash, link, Runtime::new(), seed + u64::from(self.boots));
        self.node = Some(Box::new(node));
    }

    /// Whether flash works on something.
    pub(crate) const fn is_flashing(&self) -> bool {
        self.flashing.is_some()
    }

    /// The power goes: what flash was doing is done in part.
    pub(crate) fn crash(&mut self, tear: Tear) {
        self.node = None;
        if let Some((_, op)) = self.flashing.take() {
            self.nor.tear(op.op(), tear);
        }
    }
}

fn settle(store: &mut Store, nor: &mut Nor) {
    loop {
        let op = match store.poll(nor.bytes()) {
            None => return,
            Some(Op::Program { at, bytes }) => OwnedOp::Program { at, bytes: bytes.to_vec() },
            Some(Op::Erase { at }) => OwnedOp::Erase { at },
        };
        nor.apply(op.op()).unwrap();
        let _: Option<Done> = store.flashed(nor.bytes(), Ok(()));
    }
}

/// What a command was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) payload: Vec<u8>,
}

impl Answer {
    pub(crate) fn reply(&self) -> Reply<'_> {
        assert_eq!(self.code, Code::CHANGED, "{:?}", self.problem());
        cbor::decode(&self.payload).unwrap()
    }

    pub(crate) fn problem(&self) -> Option<ErrorCode> {
        Some(cbor::decode::<Problem<'_>>(&self.payload).ok()?.code)
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code.is_success()
    }
}

/// The gateway: somebody who commands.
pub(crate) struct Controller {
    core: Box<Core>,
    answers: BTreeMap<ExchangeId, Option<Answer>>,
    /// An observation, and what it has brought.
    observed: Option<(ExchangeId, Vec<Vec<u8>>)>,
    /// Observations that were accepted.
    observing: BTreeSet<ExchangeId>,
}

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
            dice: Dice(seed),
            seed,
            sent: 0,
            chaos: 0,
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

    /// Observes a resource for a while; gives what it has been.
    pub(crate) fn observe(&mut self, n: u8, path: &str, time: Duration) -> Vec<Vec<u8>> {
        let peer = self.gateway.core.sessions().peer(node_id(n)).unwrap();
        let build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            path.split('/').try_for_each(|segment| writer.path(segment).map(drop))
        };
        let now = self.now;
        let core = &mut self.gateway.core;
        let exchange = core.request(now, peer, Reliability::Confirmable, Code::GET, build).unwrap();
        self.gateway.observed = Some((exchange, Vec::new()));
        self.run_for(time);
        self.gateway.core.cancel(self.now, exchange);
        self.gateway.observed.take().map_or(Vec::new(), |(_, seen)| seen)
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
        if is_cut(from) || is_cut(to) || self.dice.below(100) < self.faults.loss {
            return;
        }
        let copies = 1 + u64::from(self.dice.below(100) < self.faults.duplication);
        for _ in 0..copies {
            let range = self.faults.delay.clone();
            let delay = range.start + self.dice.below(range.end - range.start);
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
                let (now, flash_time) = (self.now, self.faults.flash);
                let machine = &mut self.machines[place];
                let from = address(machine.n);
                let Some(node) = &mut machine.node else { break };
                match node.poll(now, machine.nor.bytes(), &mut buf) {
                    None if node.poll_timeout().is_some_and(|at| at <= now) => {}
                    None => break,
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

    /// Asks a node, as the gateway.
    pub(crate) fn ask(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        format: u16,
        body: &[u8],
    ) -> Answer {
        let exchange = self.begin_ask(n, code, path, format, body);
        self.answer(exchange)
    }

    fn introduced(&mut self, n: u8) -> Peer {
        let sessions = self.gateway.core.sessions_mut();
        let peer = sessions.peer(node_id(n));
        peer.unwrap_or_else(|| sessions.introduce(self.now, node_id(n), address(n)).unwrap())
    }

    pub(crate) fn begin_ask(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        format: u16,
        body: &[u8],
    ) -> ExchangeId {
        let now = self.now;
        let peer = self.introduced(n);
        let build = |writer: &mut MessageWriter<'_>| {
            for segment in path.split('/') {
                writer.path(segment)?;
            }
            if !body.is_empty() {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
                writer.payload(body)?;
            }
            Ok(())
        };
        let exchange = self.gateway.core.request(now, peer, Reliability::Confirmable, code, build);
        let exchange = exchange.unwrap();
        self.gateway.answers.insert(exchange, None);
        exchange
    }

    pub(crate) fn answer(&mut self, exchange: ExchangeId) -> Answer {
        self.run_until(300, |world| {
            world.gateway.answers.get(&exchange).is_none_or(|answer| answer.is_some())
        });
        self.gateway
            .answers
            .remove(&exchange)
            .flatten()
            .unwrap_or(Answer { code: Code::GATEWAY_TIMEOUT, payload: Vec::new() })
    }

    /// Commands a node.
    pub(crate) fn command(&mut self, n: u8, command: &Command<'_>) -> Answer {
        let exchange = self.begin_command(n, command);
        self.answer(exchange)
    }

    pub(crate) fn begin_command(&mut self, n: u8, command: &Command<'_>) -> ExchangeId {
        let mut body = vec![0; 2_048];
        let len = cbor::encode(command, &mut body).unwrap();
        self.begin_ask(n, Code::POST, paths::CONTROL, content_format::CONTROL, &body[..len])
    }

    /// Commands until it is obeyed: nodes may be down or busy for a while, and fall over if there is
    /// chaos.
    pub(crate) fn retry(&mut self, n: u8, command: &Command<'_>) -> Answer {
        for _ in 0..60 {
            let exchange = self.begin_command(n, command);
            self.chaos();
            let answer = self.answer(exchange);
            if answer.is_success() {
                return answer;
            }
            self.run_for(Duration::from_millis(500));
        }
        panic!("seed {}: node {n} does not obey {command:?}", self.seed);
    }

    /// With the chance that was set, a node loses its power in the middle of whatever it does, and
    /// comes back after a while.
    pub(crate) fn chaos(&mut self) {
        if self.dice.below(100) >= self.chaos {
            return;
        }
        let soon = self.dice.below(40_000);
        self.run_for(Duration::from_micros(soon));
        let n = 1 + self.dice.below(self.machines.len() as u64) as u8;
        self.crash(n);
        let off = self.dice.below(2_000);
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

    /// The gateway falls over, and is back with its key and nothing else.
    pub(crate) fn restart_gateway(&mut self) {
        let roster = roster(1, self.machines.len() as u8, &[]);
        let seed = self.dice.roll();
        let mut core = core("gateway", GATEWAY, seed);
        core.sessions_mut().roster_mut().replace(&Roster::from_trusted(&roster).unwrap());
        *self.gateway.core = core;
        self.gateway.observing.clear();
    }

    /// Asks to observe a resource. Says whether that was accepted.
    pub(crate) fn begin_to_observe(&mut self, n: u8, path: &str) -> bool {
        let peer = self.introduced(n);
        let build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            path.split('/').try_for_each(|segment| writer.path(segment).map(drop))
        };
        let now = self.now;
        let core = &mut self.gateway.core;
        let exchange = core.request(now, peer, Reliability::Confirmable, Code::GET, build).unwrap();
        self.gateway.answers.insert(exchange, None);
        let is_success = self.answer(exchange).is_success();
        is_success && self.gateway.observing.contains(&exchange)
    }

    /// The controller has the key of a node from now on, which is down.
    pub(crate) fn become_node(&mut self, n: u8) {
        self.machine(n).node = None;
        let roster = roster(1, self.machines.len() as u8, &[]);
        let mut core = core(&format!("n{n}"), n, self.seed + 77);
        core.sessions_mut().roster_mut().replace(&Roster::from_trusted(&roster).unwrap());
        *self.gateway.core = core;
    }

    /// Asks a node without saying who asks.
    pub(crate) fn ask_anonymously(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        command: &Command<'_>,
    ) -> Answer {
        let mut body = vec![0; 2_048];
        let len = cbor::encode(command, &mut body).unwrap();
        let peer = Peer::Anonymous(address(n));
        let format = u32::from(content_format::CONTROL);
        let build = |writer: &mut MessageWriter<'_>| {
            writer.path(path)?;
            if code == Code::POST {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, format)?;
                writer.payload(&body[..len])?;
            }
            Ok(())
        };
        let now = self.now;
        let exchange =
            self.gateway.core.request(now, peer, Reliability::Confirmable, code, build).unwrap();
        self.gateway.answers.insert(exchange, None);
        self.answer(exchange)
    }

    /// How an instance is, as its node's status says.
    pub(crate) fn status(&mut self, n: u8, instance: u32) -> Option<InstanceStatus> {
        let answer = self.ask(n, Code::GET, paths::STATUS, 0, &[]);
        let status: Status<'_> = cbor::decode(&answer.payload).ok()?;
        status.instances.iter().find(|status| status.instance == InstanceId(instance))
    }

    /// Waits until an instance is in a state.
    pub(crate) fn wait(&mut self, n: u8, instance: u32, state: InstanceState) -> InstanceStatus {
        for _ in 0..200 {
            self.chaos();
            if let Some(status) = self.status(n, instance)
                && status.state == state
            {
                return status;
            }
            self.run_for(Duration::from_millis(100));
        }
        let (is, log) = (self.status(n, instance), self.log(n));
        panic!("seed {}: instance {instance} is {is:?}\n{log}", self.seed);
    }

    /// The first block of the node's log, as text.
    pub(crate) fn log(&mut self, n: u8) -> String {
        let answer = self.ask(n, Code::GET, paths::LOG, 0, &[]);
        let mut reader = cbor::Reader::new(&answer.payload);
        let mut text = String::new();
        while !reader.is_at_end() {
            let line: LogLine<'_> = cbor::Decode::read(&mut reader);
            if reader.status().is_err() {
                break;
            }
            text += &format!("{:?} {}: {}\n", line.instance, line.level, line.text);
        }
        text
    }
}

impl Controller {
    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut scratch = [0; MTU];
        let event = self.core.handle(now, from, Via::Unicast, bytes, &mut scratch);
        match event {
            Some(Event::Response { exchange, message, last, .. }) => {
                if !last {
                    self.observing.insert(exchange);
                }
                let answer = Answer { code: message.code(), payload: message.payload().to_vec() };
                if let Some((observed, seen)) = &mut self.observed
                    && *observed == exchange
                    && answer.is_success()
                {
                    seen.push(answer.payload.clone());
                }
                if let Some(place) = self.answers.get_mut(&exchange) {
                    *place = Some(answer);
                }
            }
            Some(Event::Request { responder, message, .. }) => {
                let mut buf = [0; 64];
                let reply = cbor::decode::<TimeRequest>(message.payload()).ok().map(|request| {
                    let micros = UNIX + now.as_micros();
                    let uncertainty = 100;
                    TimeReply { sent: request.sent, received: micros, replied: micros, uncertainty }
                });
                let len = reply.and_then(|reply| cbor::encode(&reply, &mut buf).ok());
                let code = if len.is_some() { Code::CONTENT } else { Code::NOT_FOUND };
                let payload = &buf[..len.unwrap_or(0)];
                let _ = self.core.respond(now, responder, code, |writer| {
                    writer.payload(payload)?;
                    Ok(())
                });
            }
            None => {}
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        if let Outcome::Failed { exchange, .. } | Outcome::Finished { exchange } = outcome {
            self.answers.remove(&exchange);
        }
    }
}

/// Who a member of the site is.
pub(crate) fn peer(n: u8) -> Peer {
    let role = if n == GATEWAY { Role::Gateway } else { Role::Node };
    Peer::Member(capmesh_session::Member { id: node_id(n), role })
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}
