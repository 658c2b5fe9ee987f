//! Machines with a router, capsules that are a few lines of Rust, and flash that takes its time.

use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config as CoapConfig, Event as CoapEvent, Outcome, Output, Via};
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_coap::{Code, Endpoint};
use capmesh_node::router::{
    Config, Event, Export, Extent, InboxResource, Mark, Notice, Origin, Router, ServicesResource,
    TopicsResource,
};
use capmesh_wire::cbor::encode;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::snapshot::{Header, Section, SectionKind, Snapshot};
use capmesh_wire::{Digest, Epoch, InstanceId, Instant, List, NodeId, Payload, format, paths};
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

pub(crate) use crate::plan::{Plan, Wire, payload, value, with_capsule};

pub(crate) type Core = Endpoint<Plain, 1280, 16, 20_544, 16, 4, 128, 16_384>;

/// Where a machine is.
pub(crate) fn address(machine: u8) -> SocketAddr {
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(machine)), 5683).into()
}

/// What a machine is called.
pub(crate) fn node(machine: u8) -> NodeId {
    NodeId::from_bytes([machine, 0, 0, 0, 0, 0, 0, 0])
}

fn machine_of(node: NodeId) -> u8 {
    node.as_bytes()[0]
}

fn sender(address: SocketAddr) -> Result<NodeId, Code> {
    let SocketAddr::V6(address) = address else { return Err(Code::FORBIDDEN) };
    let last = address.ip().segments()[7];
    u8::try_from(last).map(node).map_err(|_| Code::FORBIDDEN)
}

/// What a capsule remembers: its state, which commits hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What it has published.
    pub(crate) published: Vec<u64>,
    /// What it has had on each input.
    pub(crate) had: Vec<(u8, u64)>,
}

impl Memory {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.published.len() as u64).to_le_bytes());
        bytes.extend(self.published.iter().flat_map(|value| value.to_le_bytes()));
        for (input, value) in &self.had {
            bytes.push(*input);
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let (count, rest) = bytes.split_at(8);
        let (published, had) = rest.split_at(8 * usize::try_from(number(count)).unwrap());
        Self {
            published: published.chunks(8).map(number).collect(),
            had: had.chunks(9).map(|entry| (entry[0], number(&entry[1..]))).collect(),
        }
    }
}

/// What a capsule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Publishes a number that nobody has published before, this often, until that time.
    Source { every: Duration, until: Instant },
    /// Publishes what it gets.
    Relay,
    /// Remembers what it gets.
    Sink,
}

/// How an instance comes by its state.
pub(crate) type ToOrigin = fn(&'static Snapshot<'static>) -> Origin<'static>;

/// An instance on a machine.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) memory: Memory,
    pub(crate) epoch: u32,
    next_tick: Instant,
    /// Handlers run one after the other and take some time.
    busy_until: Instant,
    /// Whether it has trapped and waits for its last state.
    has_failed: bool,
    /// Whether its state has been taken to go elsewhere.
    pub(crate) is_quiescent: bool,
}

/// What survives a crash: the last commit of each instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flash {
    pub(crate) records: BTreeMap<u32, Vec<u8>>,
}

/// A commit on its way to flash.
#[derive(Debug)]
struct Write {
    at: Instant,
    instance: u32,
    mark: Mark,
    record: Vec<u8>,
}

/// How rough life on a machine is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// How many of 100 handlers trap.
    pub(crate) traps: u8,
    /// The longest that a handler takes.
    pub(crate) handler: Duration,
    /// The longest that a commit takes.
    pub(crate) write: Duration,
}

impl Life {
    pub(crate) const EASY: Self =
        Self { traps: 0, handler: Duration::from_millis(1), write: Duration::from_millis(1) };
    pub(crate) const ROUGH: Self =
        Self { traps: 3, handler: Duration::from_millis(40), write: Duration::from_millis(300) };
}

/// A node's router with an endpoint, instances and flash around it.
pub(crate) struct Site {
    pub(crate) core: Box<Core>,
    server: Server<SocketAddr, 4, 1, 64>,
    pub(crate) router: Router,
    pub(crate) running: BTreeMap<u32, Running>,
    pub(crate) flash: Flash,
    writes: Vec<Write>,
    pub(crate) life: Life,
    dice: Dice,
    machine: u8,
    /// The nonces of sources: unique in the world because the machine's number and life are in them.
    next_value: u64,
    /// Paths that were said to have changed.
    pub(crate) changed: Vec<String>,
    pub(crate) replies: Vec<(u32, u8, Option<u64>)>,
    /// Where moved instances were said to be.
    pub(crate) moved: Vec<(InstanceId, NodeId)>,
    /// The most that was seen in an outbox.
    pub(crate) fullest: u16,
}

impl Site {
    pub(crate) fn new(machine: u8, config: Config, life: Life, boot: u32, mut dice: Dice) -> Self {
        let coap = CoapConfig { nstart: 4, amplification: 0, ..CoapConfig::default() };
        Self {
            core: Box::new(Core::new(coap, Plain, dice.seed())),
            server: Server::new(ServerConfig::default(), EchoKey::new(dice.seed())),
            router: Router::new(config, node(machine), boot),
            running: BTreeMap::new(),
            flash: Flash::default(),
            writes: Vec::new(),
            life,
            next_value: u64::from(machine) << 40 | u64::from(boot) << 24,
            dice,
            machine,
            changed: Vec::new(),
            replies: Vec::new(),
            moved: Vec::new(),
            fullest: 0,
        }
    }

    /// Starts an instance: from a record if there is one.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        plan: &Plan,
        instance: u32,
        kind: Kind,
        record: Option<(&[u8], ToOrigin)>,
    ) {
        let memory = record.map_or(Memory::default(), |(record, _)| {
            let snapshot = Snapshot::parse(record).unwrap();
            Memory::of_bytes(snapshot.section(SectionKind::Runtime).unwrap())
        });
        let origin = record.map_or(Origin::Fresh, |(record, origin)| {
            // A test's few records may last as long as the test.
            let record: &'static [u8] = Box::leak(record.to_vec().into_boxed_slice());
            origin(Box::leak(Box::new(Snapshot::parse(record).unwrap())))
        });
        let added = plan.with_row(instance, |row| {
            with_capsule(|capsule| self.router.add(row, capsule, origin))
        });
        added.unwrap();
        self.router.run(InstanceId(instance));
        let epoch = plan.hosts[&instance].1;
        let running = Running {
            kind,
            memory,
            epoch,
            next_tick: now,
            busy_until: now,
            has_failed: false,
            is_quiescent: false,
        };
        self.running.insert(instance, running);
    }

    /// Comes up after a crash with what is in flash.
    pub(crate) fn restart(&mut self, now: Instant, plan: &Plan, kinds: &BTreeMap<u32, Kind>) {
        let here: Vec<u32> = plan
            .hosts
            .iter()
            .filter(|(_, (machine, _))| *machine == self.machine)
            .map(|(instance, _)| *instance)
            .collect();
        for instance in here {
            let record = self.flash.records.get(&instance).cloned();
            let record = record.as_deref().map(|record| (record, Origin::Restarted as ToOrigin));
            self.start(now, plan, instance, kinds[&instance], record);
        }
    }

    /// What survives when the machine crashes now: a write that is on its way may just have made it.
    pub(crate) fn crash(mut self) -> (Flash, Dice) {
        for write in self.writes {
            if self.dice.percent(50) {
                self.flash.records.insert(write.instance, write.record);
            }
        }
        (self.flash, self.dice)
    }

    /// The record of an instance as it is now, if it is quiescent.
    fn record(&mut self, instance: u32, extent: Extent) -> Option<(Vec<u8>, Mark)> {
        let mut export = Export::default();
        let mark = self.router.export(InstanceId(instance), extent, &mut export)?;
        let running = &self.running[&instance];
        let runtime = running.memory.to_bytes();
        let section = |kind, bytes: &[u8]| Section { kind, len: bytes.len().try_into().unwrap() };
        let sections = [
            section(SectionKind::Runtime, &runtime),
            section(SectionKind::Inbox, &export.inbox),
            section(SectionKind::Outbox, &export.outbox),
        ];
        let header = Header {
            format: format::SNAPSHOT,
            instance: InstanceId(instance),
            epoch: Epoch(running.epoch),
            capsule: Digest::of(b"capsule"),
            layout: 0,
            taken: Timestamp { micros: 0, uncertainty: None },
            outputs: List::new(&export.outputs).unwrap(),
            inputs: List::new(&export.inputs).unwrap(),
            timers: List::EMPTY,
            sections: List::new(&sections).unwrap(),
        };
        let mut record = vec![0; 4096];
        let len = encode(&header, &mut record).unwrap();
        record.truncate(len);
        record.extend([runtime, export.inbox, export.outbox].concat());
        Some((record, mark))
    }

    /// Takes the state of an instance to go elsewhere. `None` while a handler runs.
    pub(crate) fn quiesce(&mut self, now: Instant, instance: u32, to: u8) -> Option<Vec<u8>> {
        if self.running[&instance].busy_until > now || self.running[&instance].has_failed {
            return None;
        }
        self.router.quiesce(InstanceId(instance), node(to));
        let (record, mark) = self.record(instance, Extent::Move)?;
        // It is written before it is shown to anybody.
        self.writes.retain(|write| write.instance != instance);
        self.flash.records.insert(instance, record.clone());
        self.router.committed(InstanceId(instance), mark);
        self.running.get_mut(&instance)?.is_quiescent = true;
        Some(record)
    }

    pub(crate) fn resume(&mut self, instance: u32) {
        self.router.run(InstanceId(instance));
        self.running.get_mut(&instance).unwrap().is_quiescent = false;
    }

    pub(crate) fn release(&mut self, now: Instant, instance: u32, to: u8) {
        self.router.release(now, InstanceId(instance), node(to));
        self.running.remove(&instance);
        self.flash.records.remove(&instance);
        self.writes.retain(|write| write.instance != instance);
    }

    pub(crate) fn rewire(&mut self, plan: &Plan) {
        for instance in self.running.keys() {
            plan.with_row(*instance, |row| self.router.rewire(row)).unwrap();
        }
    }

    /// One turn of everything but the endpoint.
    fn turn(&mut self, now: Instant) {
        self.finish_writes(now);
        let instances: Vec<u32> = self.running.keys().copied().collect();
        for instance in instances {
            self.commit(now, instance);
            while self.handle_one(now, instance) {}
            self.commit(now, instance);
            let outbox = self.router.counters(InstanceId(instance)).unwrap().outbox;
            self.fullest = self.fullest.max(outbox);
        }
        let peer = |node| Some(address(machine_of(node)));
        while let Some(notice) = self.router.poll(now, &mut *self.core, &peer) {
            match notice {
                Notice::Changed(path) => {
                    self.server.changed(path);
                    self.changed.push(path.into());
                }
                Notice::Moved { instance, to } => self.moved.push((instance, to)),
            }
        }
        self.serve(now, None);
    }

    fn finish_writes(&mut self, now: Instant) {
        while let Some(at) = self.writes.iter().position(|write| write.at <= now) {
            let Write { instance, mark, record, .. } = self.writes.remove(at);
            self.flash.records.insert(instance, record);
            self.router.committed(InstanceId(instance), mark);
            self.go_back(instance);
        }
    }

    fn commit(&mut self, now: Instant, instance: u32) {
        let id = InstanceId(instance);
        if self.running[&instance].is_quiescent
            || self.running[&instance].has_failed
            || self.running[&instance].busy_until > now
            || self.writes.iter().any(|write| write.instance == instance)
            || self.router.commit_due(id).is_none_or(|due| due > now)
        {
            return;
        }
        if let Some((record, mark)) = self.record(instance, Extent::Commit) {
            let micros = self.dice.within(0..u64::try_from(self.life.write.as_micros()).unwrap());
            let at = now + Duration::from_micros(micros);
            self.writes.push(Write { at, instance, mark, record });
        }
    }

    /// Runs one handler to its end, if there is something to handle. Its effects come at its start:
    /// the time it takes keeps others waiting, no more.
    fn handle_one(&mut self, now: Instant, instance: u32) -> bool {
        let id = InstanceId(instance);
        let running = self.running.get_mut(&instance).unwrap();
        if running.busy_until > now || running.is_quiescent || running.has_failed {
            return false;
        }
        let mut publish = None;
        let mut answer = None;
        match self.router.next(id) {
            Some(Event::Message { input, payload, .. }) => {
                let value = value(payload);
                running.memory.had.push((input, value));
                publish = (running.kind == Kind::Relay).then_some(value);
            }
            Some(Event::Request { payload, .. }) => {
                answer = Some(Payload::new(payload).map_or(0, value).wrapping_mul(2));
            }
            Some(Event::Reply { number, status, payload }) => {
                let value = Payload::new(payload).ok().map(value);
                self.replies.push((number, status, value));
            }
            None => {
                let Kind::Source { every, until } = running.kind else { return false };
                if running.next_tick > now
                    || running.next_tick >= until
                    || self.router.is_paused(id)
                {
                    return false;
                }
                running.next_tick = now + every;
                publish = Some(self.next_value);
                self.next_value += 1;
            }
        }
        let micros = self.dice.within(0..u64::try_from(self.life.handler.as_micros()).unwrap());
        running.busy_until = now + Duration::from_micros(micros);
        // A message that always traps is lost: not what is tested here, so only ticks trap.
        let is_tick = matches!(running.kind, Kind::Source { .. });
        if is_tick && self.dice.percent(self.life.traps) {
            self.router.failed(id);
            self.running.get_mut(&instance).unwrap().has_failed = true;
            self.go_back(instance);
            return true;
        }
        let mut buf = [0; 16];
        if let Some(value) = publish {
            let sampled = Timestamp::since_start(now);
            let published = self.router.publish(now, id, 0, sampled, payload(value, &mut buf));
            if published.is_ok() {
                self.running.get_mut(&instance).unwrap().memory.published.push(value);
            }
        }
        if let Some(value) = answer {
            let payload = payload(value, &mut buf);
            assert!(self.router.respond(id, Code::CONTENT.0.into(), payload.as_bytes()));
        }
        self.router.handled(now, id);
        true
    }

    /// Takes up the state of the last commit after a trap, once that has been written.
    fn go_back(&mut self, instance: u32) {
        let is_written = self.writes.iter().any(|write| write.instance == instance);
        if is_written || !self.running[&instance].has_failed {
            return;
        }
        let memory = self.flash.records.get(&instance).map_or(Memory::default(), |record| {
            let snapshot = Snapshot::parse(record).unwrap();
            Memory::of_bytes(snapshot.section(SectionKind::Runtime).unwrap())
        });
        let running = self.running.get_mut(&instance).unwrap();
        (running.memory, running.has_failed) = (memory, false);
    }

    fn serve(&mut self, now: Instant, event: Option<CoapEvent<'_, SocketAddr>>) {
        let mut buf = [0; 1200];
        // One at a time: each resource borrows the router.
        let segment = match &event {
            Some(CoapEvent::Request { message, .. }) => message
                .option(capmesh_coap::option::OptionNumber::URI_PATH)
                .map(<[u8]>::to_vec)
                .unwrap_or_default(),
            _ => paths::TOPICS.as_bytes().to_vec(),
        };
        let router = &mut self.router;
        let mut inbox;
        let mut topics;
        let mut services;
        let mut routes = match segment.as_slice() {
            b"m" => {
                inbox = InboxResource::new(router, sender);
                [Route::below(paths::INBOX, &mut inbox)]
            }
            b"q" => {
                services = ServicesResource::new(router, |_| Ok(()));
                [Route::below(paths::SERVICES, &mut services)]
            }
            _ => {
                topics = TopicsResource::new(router, |_| Ok(()));
                [Route::below(paths::TOPICS, &mut topics)]
            }
        };
        if let Some(event) = event {
            self.server.handle(now, &mut *self.core, &mut routes, event, &mut buf);
        } else {
            while self.server.poll(now, &mut *self.core, &mut routes, &mut buf) {}
        }
    }
}

impl Machine for Site {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; 1280];
        match self.core.handle(now, from, via, datagram, &mut scratch) {
            Some(CoapEvent::Response { exchange, message, .. }) => {
                self.router.response(now, exchange, message);
            }
            Some(request) => {
                // The request borrows the scratch, not the machine.
                self.serve(now, Some(request));
            }
            None => {}
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            self.turn(now);
            match self.core.poll(now, buf) {
                Some(Output::Transmit { to, len }) => return Some((to, len)),
                Some(Output::Outcome(outcome)) => {
                    if !self.router.outcome(now, &outcome)
                        && let Outcome::ObservationEnded { observation, .. } = outcome
                    {
                        self.server.ended(observation);
                    }
                }
                None => {
                    // What came of it all may be something to handle.
                    if self.poll_timeout().is_none_or(|at| at > now) {
                        return None;
                    }
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let writes = self.writes.iter().map(|write| write.at);
        let instances = self.running.iter().filter(|(_, r)| !r.is_quiescent && !r.has_failed);
        let instances = instances.filter_map(|(instance, running)| {
            let id = InstanceId(*instance);
            let is_written = self.writes.iter().any(|write| write.instance == *instance);
            let commit = self.router.commit_due(id).filter(|_| !is_written);
            let event = self.router.has_event(id).then_some(running.busy_until);
            let tick = match running.kind {
                Kind::Source { until, .. }
                    if running.next_tick < until && !self.router.is_paused(id) =>
                {
                    Some(running.next_tick)
                }
                _ => None,
            };
            let next = [commit, event, tick].into_iter().flatten().min();
            next.map(|next| next.max(running.busy_until))
        });
        let core = [self.core.poll_timeout(), self.router.poll_timeout()].into_iter().flatten();
        core.chain(writes).chain(instances).min()
    }
}

/// A world of `machines`, with instances as `plan` and `kinds` say.
pub(crate) fn world(
    seed: u64,
    faults: Faults,
    machines: u8,
    plan: &Plan,
    kinds: &BTreeMap<u32, Kind>,
    config: &Config,
    life: Life,
) -> World<Site> {
    let mut world = World::new(seed, faults);
    for machine in 1..=machines {
        let dice = Dice::new(seed ^ u64::from(machine) << 32);
        let mut site = Site::new(machine, config.clone(), life, 1, dice);
        site.restart(Instant::ZERO, plan, kinds);
        world.machines.insert(address(machine), site);
    }
    world
}

/// How many worlds to try.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("ROUTER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..count.unwrap_or(8)
}
