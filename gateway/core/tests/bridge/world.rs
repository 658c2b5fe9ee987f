//! A gateway's bridge and nodes that play its counterparts, in virtual time.

use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{
    Config as CoapConfig, Event, ExchangeId, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Outbox, Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_coap::{Code, Endpoint};
use capmesh_gateway::bridge::{
    Arrival, Bridge, Config, Consumer, InboxResource, Incoming, Notice, Outgoing, Place,
};
use capmesh_gateway::store::Store;
use capmesh_gateway::{Change, Key, Publication, Token};
use capmesh_wire::cbor::{List, Writer, decode, encode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::plan::Delivery;
use capmesh_wire::schema::{Field, FieldType, PayloadWriter};
use capmesh_wire::{
    Epoch, ErrorCode, InstanceId, Instant, Name, NodeId, Problem, Schema, Seq, Unit, Value,
    content_format, paths,
};
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

type Core = Endpoint<Plain, 1280, 64, 82_176, 64, 4, 256, 16_384>;

/// The gateway's ends of wires.
pub(crate) const TAP: InstanceId = InstanceId(100);
pub(crate) const FEED: InstanceId = InstanceId(101);

/// The machine of the gateway; nodes come after it.
pub(crate) const GATE: u8 = 1;

pub(crate) fn address(machine: u8) -> SocketAddr {
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(machine)), 5683).into()
}

pub(crate) fn node(machine: u8) -> NodeId {
    NodeId::from_bytes([machine, 0, 0, 0, 0, 0, 0, 0])
}

fn sender(address: SocketAddr) -> Result<NodeId, Code> {
    let SocketAddr::V6(address) = address else { return Err(Code::FORBIDDEN) };
    let [.., last] = address.ip().segments();
    u8::try_from(last).map(node).map_err(|_| Code::FORBIDDEN)
}

/// One number.
pub(crate) fn with_schema<T>(then: impl FnOnce(&Schema<'_>) -> T) -> T {
    let name = Name::new("n").unwrap();
    let fields = [Field { name, ty: FieldType::U64, unit: Unit::Count, optional: false }];
    then(&Schema::new(name, 1, List::new(&fields).unwrap()).unwrap())
}

fn schema() -> Vec<u8> {
    with_schema(|schema| {
        let mut buf = [0; 128];
        let len = encode(schema, &mut buf).unwrap();
        buf[..len].to_vec()
    })
}

pub(crate) fn place(machine: u8) -> Place {
    Place {
        node: format!("n{machine}"),
        pipeline: "test".to_owned(),
        name: "c".to_owned(),
        replica: 0,
    }
}

/// The instance on a machine: producer of a tap, consumer of the feed.
pub(crate) fn instance(machine: u8) -> InstanceId {
    InstanceId(u32::from(machine))
}

pub(crate) fn taps(machines: &[u8], delivery: Delivery) -> Vec<Outgoing> {
    let tap = |&machine: &u8| Outgoing {
        consumer: TAP,
        stream: Stream { instance: instance(machine), output: 0 },
        node: node(machine),
        place: place(machine),
        output: "out".to_owned(),
        schema: schema(),
        delivery,
    };
    machines.iter().map(tap).collect()
}

pub(crate) fn feed(machines: &[u8], delivery: Delivery) -> Vec<Incoming> {
    let end = |&machine: &u8| Consumer {
        instance: instance(machine),
        node: node(machine),
        place: place(machine),
        input: "in".to_owned(),
    };
    vec![Incoming {
        stream: Stream { instance: FEED, output: 0 },
        topic: "city/threshold".to_owned(),
        schema: schema(),
        delivery,
        consumers: machines.iter().map(end).collect(),
    }]
}

/// What survives a crash of the gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) state: BTreeMap<Key, Vec<u8>>,
    /// Everything that went to the durable outbox.
    pub(crate) outbox: Vec<Publication>,
}

/// A transaction as this test keeps it.
#[derive(Debug)]
struct Transaction {
    at: Instant,
    token: Token,
    changes: Vec<Change>,
    publications: Vec<Publication>,
}

/// A bridge with an endpoint, a store and a disk that takes its time around it.
pub(crate) struct Gate {
    core: Box<Core>,
    server: Server<SocketAddr, 4, 1, 64>,
    pub(crate) bridge: Bridge,
    pub(crate) store: Store,
    pub(crate) disk: Disk,
    writing: Option<Transaction>,
    /// The longest that a commit takes.
    write: Duration,
    pub(crate) notices: Vec<Notice>,
    dice: Dice,
}

impl Gate {
    pub(crate) fn new(now: Instant, disk: Disk, mut dice: Dice, up: bool) -> Self {
        let config = Config {
            site: "s1".to_owned(),
            gateway: "gw1".to_owned(),
            version: "0.1.0".to_owned(),
            url: Some("http://gw/".to_owned()),
            batch_bytes: 1_024,
            held: 256,
        };
        let coap = CoapConfig { nstart: 8, amplification: 0, ..CoapConfig::default() };
        let mut bridge = Bridge::new(config, &disk.state);
        bridge.mqtt_up(now, up);
        Self {
            core: Box::new(Core::new(coap, Plain, dice.seed())),
            server: Server::new(ServerConfig::default(), EchoKey::new(dice.seed())),
            bridge,
            store: Store::new(),
            disk,
            writing: None,
            write: Duration::from_millis(50),
            notices: Vec::new(),
            dice,
        }
    }

    pub(crate) fn set_wires(
        &mut self,
        now: Instant,
        outgoing: Vec<Outgoing>,
        incoming: Vec<Incoming>,
    ) {
        self.bridge.set_wires(now, outgoing, incoming, &mut self.store);
    }

    /// Replies that were dropped because the endpoint keeps few.
    pub(crate) fn dropped_replies(&self) -> u32 {
        self.core.stats().not_polled
    }

    pub(crate) fn mqtt(&mut self, now: Instant, topic: &str, payload: &str) {
        let arrival = Arrival { topic, payload: payload.as_bytes(), ..Arrival::default() };
        self.bridge.mqtt(now, Some(1_700_000_000_000_000), &arrival, &mut self.store);
    }

    /// What survives when the gateway crashes now: a write that is on its way may just have made it.
    pub(crate) fn crash(mut self) -> (Disk, Dice) {
        if let Some(transaction) = self.writing.take()
            && self.dice.percent(50)
        {
            self.apply(transaction);
        }
        (self.disk, self.dice)
    }

    fn apply(&mut self, transaction: Transaction) {
        for Change { key, value } in transaction.changes {
            match value {
                Some(value) => drop(self.disk.state.insert(key, value)),
                None => drop(self.disk.state.remove(&key)),
            }
        }
        self.disk.outbox.extend(transaction.publications);
    }

    fn turn(&mut self, now: Instant) {
        if self.writing.as_ref().is_some_and(|writing| writing.at <= now) {
            let transaction = self.writing.take().unwrap();
            self.store.committed(now, transaction.token, Ok(()));
            self.apply(transaction);
        }
        let peer = |node: NodeId| Some(address(node.as_bytes()[0]));
        self.bridge.acknowledge::<SocketAddr>(now, &self.store, &mut *self.core);
        while let Some(notice) = self.bridge.poll(now, &mut self.store, &mut *self.core, &peer) {
            self.notices.push(notice);
        }
        if self.writing.is_none()
            && let Some(commit) = self.store.poll(now)
        {
            let micros = self.dice.within(0..u64::try_from(self.write.as_micros()).unwrap());
            self.writing = Some(Transaction {
                at: now + Duration::from_micros(micros + 1),
                token: commit.token,
                changes: commit.changes.clone(),
                publications: commit.publications.clone(),
            });
        }
        self.serve(now, None);
    }

    fn serve(&mut self, now: Instant, event: Option<Event<'_, SocketAddr>>) {
        let mut buf = [0; 1200];
        let mut inbox = InboxResource::new(&mut self.bridge, &mut self.store, sender);
        let mut routes = [Route::below(paths::INBOX, &mut inbox)];
        match event {
            Some(event) => {
                self.server.handle(now, &mut *self.core, &mut routes, event, &mut buf);
            }
            None => while self.server.poll(now, &mut *self.core, &mut routes, &mut buf) {},
        }
    }
}

/// A node: publishes numbers to the tap, remembers what the feed brings.
pub(crate) struct Node {
    core: Box<Core>,
    machine: u8,
    pub(crate) delivery: Delivery,
    /// How many numbers it publishes.
    pub(crate) count: u64,
    pub(crate) acked: u64,
    epoch: Epoch,
    flight: Option<ExchangeId>,
    retry_at: Option<Instant>,
    skip: bool,
    /// What it had from the feed.
    pub(crate) had: Vec<u64>,
    pub(crate) cursor: (Epoch, Seq),
    /// How many of 100 batches it refuses.
    pub(crate) refuses: u8,
    pub(crate) refusals: Vec<ErrorCode>,
    dice: Dice,
}

impl Node {
    pub(crate) fn new(machine: u8, delivery: Delivery, count: u64, mut dice: Dice) -> Self {
        let coap = CoapConfig { nstart: 4, amplification: 0, ..CoapConfig::default() };
        Self {
            core: Box::new(Core::new(coap, Plain, dice.seed())),
            machine,
            delivery,
            count,
            acked: 0,
            epoch: Epoch(1),
            flight: None,
            retry_at: None,
            skip: false,
            had: Vec::new(),
            cursor: (Epoch(0), Seq(0)),
            refuses: 0,
            refusals: Vec::new(),
            dice,
        }
    }

    fn turn(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        if self.flight.is_some() || self.acked >= self.count {
            return;
        }
        let most = if self.skip { 0 } else { self.dice.within(1..8) };
        let end = self.count.min(self.acked + most);
        let batch = self.batch(self.acked, end);
        let every = self.delivery == Delivery::Every;
        let reliability =
            if every { Reliability::Confirmable } else { Reliability::NonConfirmable };
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.path(paths::INBOX)?.path("100")?;
            writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into())?;
            if !every {
                // Of no class.
                writer.option_uint(OptionNumber::NO_RESPONSE, 26)?;
            }
            writer.payload(&batch)?;
            Ok(())
        };
        let sent = Outbox::request(
            &mut *self.core,
            now,
            address(GATE),
            reliability,
            Code::POST,
            &mut build,
        );
        if every {
            self.flight = sent.ok();
            self.skip = false;
        } else {
            self.acked = end;
        }
        if self.flight.is_none() {
            self.retry_at = Some(now + Duration::from_millis(20));
        }
    }

    fn batch(&self, first: u64, end: u64) -> Vec<u8> {
        with_schema(|schema| {
            let head = Batch {
                stream: Stream { instance: instance(self.machine), output: 0 },
                epoch: self.epoch,
                first: Seq(first),
                schema: schema.id().tag(),
                start: Timestamp { micros: 1_700_000_000_000_000, uncertainty: Some(1) },
                messages: List::EMPTY,
            };
            let mut buf = [0; 1024];
            let mut writer = Writer::new(&mut buf);
            let mut batch = BatchWriter::new(&head, &mut writer).unwrap();
            for value in first..end {
                let mut buf = [0; 16];
                let mut writer = Writer::new(&mut buf);
                let mut payload = PayloadWriter::new(schema.fields(), &mut writer).unwrap();
                payload.value(Value::Uint(value)).unwrap();
                batch.push(1, payload.finish().unwrap()).unwrap();
            }
            writer.written().to_vec()
        })
    }

    /// As a router does it.
    fn take(&mut self, body: &[u8]) -> Result<Ack, ErrorCode> {
        let batch: Batch<'_> = decode(body).unwrap();
        assert_eq!(batch.stream, Stream { instance: FEED, output: 0 });
        if batch.epoch < self.cursor.0 {
            return Err(ErrorCode::StaleEpoch);
        }
        if self.dice.percent(self.refuses) {
            return Err(ErrorCode::InboxFull);
        }
        self.cursor.0 = batch.epoch;
        if batch.messages.is_empty() {
            self.cursor.1 = self.cursor.1.max(batch.first);
        }
        for message in batch.numbered() {
            if message.seq == self.cursor.1
                || (self.delivery == Delivery::Latest && message.seq > self.cursor.1)
            {
                let fields = with_schema(|schema| match message.payload.values(schema.fields()) {
                    Ok(mut values) => match values.next() {
                        Some(Ok(Value::Uint(value))) => value,
                        other => panic!("{other:?}"),
                    },
                    Err(error) => panic!("{error}"),
                });
                self.had.push(fields);
                self.cursor.1 = message.seq.next();
            }
        }
        Ok(Ack { stream: batch.stream, epoch: self.cursor.0, next: self.cursor.1, room: 5 })
    }

    fn answer(&mut self, now: Instant, responder: Responder, taken: Result<Ack, ErrorCode>) {
        let mut buf = [0; 64];
        let (code, len) = match taken {
            Ok(ack) => (Code::CHANGED, encode(&ack, &mut buf).unwrap()),
            Err(code) => {
                let len = encode(&Problem::retry(code, 50), &mut buf).unwrap();
                (Code(code.coap_code()), len)
            }
        };
        let _ = Endpoint::respond(&mut self.core, now, responder, code, |writer| {
            writer.payload(&buf[..len]).map(drop)
        });
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; 1280];
        match self.core.handle(now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, message, .. }) => {
                let body = message.payload().to_vec();
                let taken = self.take(&body);
                self.answer(now, responder, taken);
            }
            Some(Event::Response { exchange, message, .. }) if self.flight == Some(exchange) => {
                self.flight = None;
                if message.code().is_success() {
                    let ack: Ack = decode(message.payload()).unwrap();
                    assert!(ack.next.0 <= self.count, "what was not sent is acknowledged");
                    // What was lost with the gateway's state is not kept any longer.
                    self.skip = ack.next.0 < self.acked;
                    self.acked = self.acked.max(ack.next.0);
                } else {
                    let problem: Problem<'_> = decode(message.payload()).unwrap();
                    self.refusals.push(problem.code);
                    let wait = u64::from(problem.retry_ms.unwrap_or(500));
                    self.retry_at = Some(now + Duration::from_millis(wait));
                }
            }
            _ => {}
        }
    }
}

/// Who is at an address.
pub(crate) enum Party {
    Gate(Box<Gate>),
    Node(Box<Node>),
}

impl Machine for Party {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; 1280];
        match self {
            Self::Node(node) => node.handle(now, from, via, datagram),
            Self::Gate(gate) => match gate.core.handle(now, from, via, datagram, &mut scratch) {
                Some(Event::Response { exchange, message, .. }) => {
                    let Gate { bridge, store, .. } = &mut **gate;
                    bridge.response(now, exchange, &message, store);
                }
                Some(event) => gate.serve(now, Some(event)),
                None => {}
            },
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            let output = match self {
                Self::Gate(gate) => gate.core.poll(now, buf).or_else(|| {
                    gate.turn(now);
                    gate.core.poll(now, buf)
                }),
                Self::Node(node) => {
                    node.turn(now);
                    node.core.poll(now, buf)
                }
            };
            match output? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(outcome) => self.ended(now, &outcome),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Gate(gate) => {
                let writing = gate.writing.as_ref().map(|writing| writing.at);
                let store = gate.store.poll_timeout().filter(|_| writing.is_none());
                let others = [gate.core.poll_timeout(), gate.bridge.poll_timeout()];
                others.into_iter().chain([writing, store]).flatten().min()
            }
            Self::Node(node) => {
                let core = node.core.poll_timeout();
                core.into_iter().chain(node.retry_at).min()
            }
        }
    }
}

impl Party {
    fn ended(&mut self, now: Instant, outcome: &Outcome) {
        match self {
            Self::Gate(gate) => {
                let Gate { bridge, store, .. } = &mut **gate;
                bridge.outcome(now, outcome, store);
            }
            Self::Node(node) => {
                let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome
                else {
                    return;
                };
                if node.flight == Some(*exchange) {
                    node.flight = None;
                    node.retry_at = Some(now + Duration::from_millis(100));
                }
            }
        }
    }
}

pub(crate) type Mesh = World<Party>;

/// A gateway and nodes, on a network with these faults.
pub(crate) fn mesh(seed: u64, faults: Faults, nodes: Vec<Node>) -> Mesh {
    let mut world = World::new(seed, faults);
    let gate = Gate::new(Instant::ZERO, Disk::default(), Dice::new(seed), true);
    world.machines.insert(address(GATE), Party::Gate(Box::new(gate)));
    for node in nodes {
        world.machines.insert(address(node.machine), Party::Node(Box::new(node)));
    }
    world
}

pub(crate) fn gate(world: &mut Mesh) -> &mut Gate {
    match world.machine(address(GATE)) {
        Party::Gate(gate) => gate,
        Party::Node(_) => panic!("not the gateway"),
    }
}

pub(crate) fn node_at(world: &mut Mesh, machine: u8) -> &mut Node {
    match world.machine(address(machine)) {
        Party::Node(node) => node,
        Party::Gate(_) => panic!("not a node"),
    }
}

/// Kills the gateway and starts it anew with what was durable, or with nothing.
pub(crate) fn restart(
    world: &mut Mesh,
    keep: bool,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
) {
    let Some(Party::Gate(gate)) = world.machines.remove(&address(GATE)) else {
        panic!("no gateway")
    };
    let (mut disk, dice) = gate.crash();
    if !keep {
        disk.state.clear();
    }
    let now = world.now;
    let mut gate = Gate::new(now, disk, dice, true);
    gate.set_wires(now, outgoing, incoming);
    world.machines.insert(address(GATE), Party::Gate(Box::new(gate)));
}

/// The values that were published of a node's stream, in order.
pub(crate) fn values(publications: &[Publication], machine: u8) -> Vec<u64> {
    let topic = format!("capmesh/s1/node/n{machine}/test--c/out");
    let of_topic = publications.iter().filter(|publication| publication.topic == topic);
    of_topic
        .map(|publication| {
            let json: serde_json::Value = serde_json::from_slice(&publication.payload).unwrap();
            assert_eq!(json["n"], json["seq"], "{json}");
            json["n"].as_u64().unwrap()
        })
        .collect()
}
