//! A node's router: batches, answers and requests from anybody in any order, between what instances
//! do: handle, publish, ask, fail, commit, move, start from a commit or from nonsense.

use crate::Feed;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config as CoapConfig, Endpoint, Event as CoapEvent, Output, Via};
use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_node::router::{
    Ask, Config, Event, Export, Extent, InboxResource, Mark, Origin, Router, ServicesResource,
    TopicsResource,
};
use capmesh_wire::cbor::{Writer, encode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::manifest::{Capsule, Needs, Port, Service};
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::plan::{
    Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, PeerBinding,
};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::snapshot::{Header, Section, SectionKind, Snapshot};
use capmesh_wire::{
    Digest, Epoch, ErrorCode, InstanceId, Instant, List, Name, NodeId, Payload, Problem, Schema,
    Seq, Tag, Unit, format,
};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

const MTU: usize = 1152;

/// How many times something may be said in one turn before that counts as a loop.
const MOST_AT_ONCE: usize = 500;

/// The instances of this node; 3 is on node 1, and asked and wired to.
const INSTANCES: [u32; 2] = [1, 2];

const BOUNDS: Config = Config {
    instances: 3,
    inbox_messages: 6,
    inbox_bytes: 700,
    outbox_messages: 6,
    outbox_bytes: 700,
    commit_after: 3,
    commit_delay: Duration::from_millis(100),
    batch_bytes: 700,
    window: 2,
    flights: 3,
    held: 2,
    ack_patience: Duration::from_secs(30),
    retry_min: Duration::from_millis(500),
    retry_max: Duration::from_secs(60),
    burst: 2,
    pace: Duration::from_millis(50),
    asks: 2,
    served: 2,
    ask_timeout: Duration::from_secs(30),
    released: 1,
    released_for: Duration::from_secs(600),
};

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 8])
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5683))
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

fn with_capsule<T>(then: impl FnOnce(&Capsule<'_>) -> T) -> T {
    let field = |ty| Field { name: name("v"), ty, unit: Unit::None, optional: true };
    let (number, bytes) = ([field(FieldType::U16)], [field(FieldType::Bytes(200))]);
    let schema =
        |fields| Schema::new(name("s"), 1, List::new(fields).expect("one")).expect("a schema");
    let schemas = [schema(&number), schema(&bytes)];
    let port = |text, schema| Port { name: name(text), schema };
    let ports = [port("a", 0), port("b", 0), port("c", 1)];
    let services = [Service { name: name("ask"), request: Some(0), response: None }];
    let needs = Needs {
        memory: 0,
        ram: 0,
        fuel_per_second: 0,
        fuel_per_handler: 0,
        outbox_bytes: 8,
        outbox_entries: 1,
        timers: 0,
        table_elements: 0,
    };
    then(&Capsule {
        schemas: List::new(&schemas).expect("few"),
        inputs: List::new(&ports).expect("few"),
        outputs: List::new(&ports).expect("few"),
        services: List::new(&services).expect("few"),
        ..Capsule::bare(Tag::new("1").expect("a tag"), 1, 8, Digest::of(b""), needs)
    })
}

/// A row that the input chooses: which wires there are, of which kind, and where the other end is.
fn with_row<T>(feed: &mut Feed<'_>, id: u32, then: impl FnOnce(&Assignment<'_>) -> T) -> T {
    let other = if id == 1 { 2 } else { 1 };
    let delivery = |feed: &mut Feed<'_>| [Delivery::Every, Delivery::Latest][feed.below(2)];
    let mut inbound = Vec::new();
    let mut outbound = Vec::new();
    for at in 0..3 + feed.below(6) {
        // Something always comes from outside.
        let end = if at < 3 { 3 } else { [other, 3, id][feed.below(3)] };
        let port = (at % 3) as u8;
        let node = if end == 3 { node(1) } else { node(9) };
        let (output, instance) = (port, InstanceId(end));
        inbound.push(Inbound { input: port, node, instance, output, delivery: delivery(feed) });
    }
    for at in 0..feed.below(6) {
        let (end, port) = ([other, 3, id][feed.below(3)], (at % 3) as u8);
        let node = if end == 3 { node(1) } else { node(9) };
        let overflow = Overflowing::from_code(feed.byte() % 3);
        let (output, instance, delivery) = (port, InstanceId(end), delivery(feed));
        outbound.push(Outbound { output, node, instance, input: port, delivery, overflow });
    }
    let peers = [
        PeerBinding { peer: 0, node: node(1), instance: InstanceId(3) },
        PeerBinding { peer: 1, node: node(9), instance: InstanceId(other) },
    ];
    then(&Assignment {
        instance: InstanceId(id),
        epoch: Epoch(1 + u32::from(feed.byte() / 128)),
        capsule: Digest::of(b"c"),
        pipeline: name("p"),
        name: name(["x", "y"][usize::from(id == 2)]),
        replica: 0,
        lease_ms: None,
        failover: Failover::None,
        checkpoint_ms: None,
        rollback: false,
        config: None,
        inbound: List::new(&inbound).expect("few"),
        outbound: List::new(&outbound).expect("few"),
        peers: List::new(&peers).expect("few"),
    })
}

/// What is known of an instance.
#[derive(Default)]
struct Known {
    commit: Option<Mark>,
    record: Vec<u8>,
    writing: Vec<u8>,
    is_busy: bool,
    /// The last message of each `every` stream that it was given, as a number and an input, since
    /// anything was undone.
    last: BTreeMap<Stream, (Seq, u8)>,
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    core: Box<Endpoint<Plain, MTU, 6, { 6 * (MTU + 4) }, 5, 2, 16, 4096>>,
    server: Server<SocketAddr, 2, 1, 64>,
    router: Router,
    known: BTreeMap<u32, Known>,
    /// What has been said to an instance on a stream from outside: the number that comes next.
    said: BTreeMap<(u32, u8), u64>,
    /// What this node has sent last.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    id: u16,
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let coap = CoapConfig { amplification: 0, nstart: 8, ..CoapConfig::default() };
    let mut world = World {
        feed: Feed::new(data),
        now: Instant::ZERO,
        core: Box::new(Endpoint::new(coap, Plain, [1; 16])),
        server: Server::new(ServerConfig::default(), EchoKey::new([2; 16])),
        router: Router::new(BOUNDS, node(9), 2),
        known: BTreeMap::new(),
        said: BTreeMap::new(),
        sent: Vec::new(),
        id: 0,
    };
    for id in INSTANCES {
        world.add(id);
    }
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
    for _ in 0..20 {
        world.now += Duration::from_secs(60);
        world.settle();
    }
}

impl World<'_> {
    fn operate(&mut self) {
        let id = INSTANCES[self.feed.below(2)];
        match self.feed.below(20) {
            0..5 => self.batch(id),
            5..8 => self.answer(),
            8..11 => self.next(id),
            11 | 12 => self.done(id),
            13 => self.publish(id),
            14 | 15 => self.commit(id),
            16 => self.add(id),
            17 => self.arrange(id),
            18 => self.ask(id),
            _ => self.now += Duration::from_millis(u64::from(self.feed.word())),
        }
    }

    /// A batch for an instance, more or less as it should be.
    fn batch(&mut self, to: u32) {
        let confirmable = self.feed.below(3) > 0;
        let from = [1, 1, 1, 1, 1, 1, 1, 2][self.feed.below(8)];
        let output = self.feed.byte() % 3;
        let said = self.said.entry((to, output)).or_default();
        let first = match self.feed.below(8) {
            0 => u64::from(self.feed.byte() % 24),
            1 => said.saturating_add(2),
            2 => said.saturating_sub(2),
            _ => *said,
        };
        let count = self.feed.below(5);
        *said = (*said).max(first + count as u64);
        let mut body = vec![0; 700];
        let mut writer = Writer::new(&mut body);
        let tag = with_capsule(|capsule| {
            let schema = capsule.schema(u8::from(output == 2)).expect("two");
            schema.id().tag()
        });
        let uncertainty = [None, Some(7)][self.feed.below(2)];
        let head = Batch {
            stream: Stream { instance: InstanceId(3), output },
            epoch: Epoch([1, 1, 1, 1, 1, 1, 0, 2][self.feed.below(8)]),
            first: Seq(first),
            schema: tag,
            start: Timestamp { micros: u64::from(self.feed.word()), uncertainty },
            messages: List::EMPTY,
        };
        let mut batch = BatchWriter::new(&head, &mut writer).expect("room for the head");
        for _ in 0..count {
            let payload = self.payload(output);
            let _ = Payload::new(&payload).map(|payload| batch.push(1, payload));
        }
        let len = writer.len();
        body.truncate(len);
        let body = if self.feed.below(12) == 0 { self.feed.mutated(&body) } else { body };
        self.post(from, confirmable, &["m", &to.to_string()], &body);
    }

    fn payload(&mut self, port: u8) -> Vec<u8> {
        match (self.feed.below(8), port) {
            (0, _) => vec![0x81, 0xf6],
            (1, _) => vec![0x81, 0xf5],
            (_, 2) => {
                let bytes = self.feed.bytes(200);
                let mut buf = vec![0; 210];
                let mut writer = Writer::new(&mut buf);
                writer.array(1).bytes(bytes);
                let len = writer.len();
                buf.truncate(len);
                buf
            }
            _ => vec![0x81, 0x18, self.feed.byte().max(24)],
        }
    }

    fn post(&mut self, from: u8, confirmable: bool, path: &[&str], body: &[u8]) {
        let kind = if confirmable { Kind::Confirmable } else { Kind::NonConfirmable };
        let mut buf = [0; MTU];
        self.id = self.id.wrapping_add(1);
        let token = Token::new(&self.id.to_be_bytes()).expect("two bytes");
        let mut writer =
            MessageWriter::new(&mut buf, kind, Code::POST, self.id, token).expect("a head");
        for segment in path {
            writer.option(OptionNumber::URI_PATH, segment.as_bytes()).expect("short");
        }
        if writer.payload(body).is_ok() {
            let len = writer.finish();
            self.arrive(from, &buf[..len]);
        }
    }

    fn arrive(&mut self, from: u8, datagram: &[u8]) {
        let (mut scratch, mut canvas) = ([0; MTU], [0; MTU]);
        let event = self.core.handle(self.now, address(from), Via::Unicast, datagram, &mut scratch);
        match event {
            Some(CoapEvent::Response { exchange, message, .. }) => {
                self.router.response(self.now, exchange, message);
            }
            Some(CoapEvent::Request { message, .. }) => {
                let sender = |peer: SocketAddr| match peer {
                    SocketAddr::V4(v4) => Ok(node(v4.ip().octets()[3])),
                    SocketAddr::V6(_) => Err(Code::FORBIDDEN),
                };
                let router = &mut self.router;
                let (mut inbox, mut services, mut topics);
                let mut routes = match message.option(OptionNumber::URI_PATH) {
                    Some(b"m") => {
                        inbox = InboxResource::new(router, sender);
                        [Route::below("m", &mut inbox)]
                    }
                    Some(b"q") => {
                        services = ServicesResource::new(router, |_| Ok(()));
                        [Route::below("q", &mut services)]
                    }
                    _ => {
                        topics = TopicsResource::new(router, |_| Ok(()));
                        [Route::below("t", &mut topics)]
                    }
                };
                let event = event.expect("it is a request");
                self.server.handle(self.now, &mut *self.core, &mut routes, event, &mut canvas);
            }
            None => {}
        }
    }

    /// The answer to something that this node has sent.
    fn answer(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.feed.below(self.sent.len());
        let (to, bytes) = self.sent.remove(at);
        let Ok(request) = Message::parse(&bytes) else { return };
        let ack = Ack {
            stream: Stream { instance: InstanceId(1), output: 0 },
            epoch: Epoch(u32::from(self.feed.byte() % 4)),
            next: Seq(u64::from(self.feed.byte() % 12)),
            room: u16::from(self.feed.byte() % 4),
        };
        let problem = Problem {
            retry_ms: Some(u32::from(self.feed.word())),
            moved_to: Some(node(2)),
            ..Problem::new(ErrorCode::from_code(self.feed.byte() % 38))
        };
        let mut body = [0; 64];
        let (code, len) = match self.feed.below(4) {
            0 | 1 => (Code::CHANGED, encode(&ack, &mut body).expect("short")),
            2 => {
                let len = encode(&problem, &mut body).expect("short");
                (Code(problem.code.coap_code()), len)
            }
            _ => (Code(self.feed.byte()), 0),
        };
        let mut buf = [0; MTU];
        let (kind, id, token) = (Kind::Acknowledgement, request.id(), request.token());
        let Ok(mut writer) = MessageWriter::new(&mut buf, kind, code, id, token) else { return };
        if writer.payload(&body[..len]).is_err() {
            return;
        }
        let len = writer.finish();
        let bytes = buf[..len].to_vec();
        let bytes = if self.feed.below(4) == 0 { self.feed.mutated(&bytes) } else { bytes };
        let SocketAddr::V4(to) = to else { return };
        self.arrive(to.ip().octets()[3], &bytes);
    }

    fn next(&mut self, id: u32) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.is_busy) else { return };
        let has_event = self.router.has_event(InstanceId(id));
        let event = self.router.next(InstanceId(id));
        assert!(event.is_none() || has_event);
        known.is_busy = event.is_some();
        let Some(Event::Message { input, stream, seq, .. }) = event else { return };
        if let Some(last) = known.last.insert(stream, (seq, input)) {
            assert!(last < (seq, input), "{stream:?}: {last:?}, then {seq:?} on {input}");
        }
    }

    fn done(&mut self, id: u32) {
        let Some(known) = self.known.get_mut(&id).filter(|known| known.is_busy) else { return };
        known.is_busy = false;
        match self.feed.below(6) {
            0 => {
                self.router.failed(InstanceId(id));
                known.last.clear();
            }
            1 => {
                let status = u32::from(self.feed.byte());
                self.router.respond(InstanceId(id), status, self.feed.bytes(600));
                self.router.handled(self.now, InstanceId(id));
            }
            _ => self.router.handled(self.now, InstanceId(id)),
        }
    }

    fn publish(&mut self, id: u32) {
        let output = self.feed.byte() % 4;
        let payload = self.payload(output);
        let Ok(payload) = Payload::new(&payload) else { return };
        let sampled = Timestamp::since_start(self.now);
        let _ = self.router.publish(self.now, InstanceId(id), output, sampled, payload);
    }

    fn commit(&mut self, id: u32) {
        let Some(known) = self.known.get_mut(&id) else { return };
        if let Some(mark) = known.commit.take() {
            if self.feed.below(5) == 0 {
                self.router.abandoned(InstanceId(id), mark);
            } else {
                self.router.committed(InstanceId(id), mark);
                known.record = core::mem::take(&mut known.writing);
            }
            return;
        }
        let extent = [Extent::Commit, Extent::Move][self.feed.below(2)];
        let mut export = Export::default();
        known.commit = self.router.export(InstanceId(id), extent, &mut export);
        if known.commit.is_some() {
            known.writing = record(id, &export);
        }
    }

    /// Starts an instance, from its last commit or from what the input says.
    fn add(&mut self, id: u32) {
        let choice = self.feed.below(6);
        let record = self.known.get(&id).map(|known| known.record.clone()).unwrap_or_default();
        let record = if self.feed.below(3) == 0 { self.feed.mutated(&record) } else { record };
        let snapshot = Snapshot::parse(&record).ok();
        if choice > 0 {
            self.router.remove(InstanceId(id));
            self.known.remove(&id);
        }
        let origin = match (choice, &snapshot) {
            (1, Some(snapshot)) => Origin::Restarted(snapshot),
            (2, Some(snapshot)) => Origin::Moved(snapshot),
            (3, Some(snapshot)) => Origin::Recovered(snapshot),
            _ => Origin::Fresh,
        };
        let router = &mut self.router;
        let added = with_row(&mut self.feed, id, |row| {
            with_capsule(|capsule| router.add(row, capsule, origin))
        });
        if added.is_ok() {
            self.known.insert(id, Known { record, ..Known::default() });
            self.router.run(InstanceId(id));
        }
    }

    /// What a gateway decides.
    fn arrange(&mut self, id: u32) {
        let Some(known) = self.known.get_mut(&id) else { return };
        match self.feed.below(5) {
            0 => self.router.quiesce(InstanceId(id), node(2)),
            1 => {
                self.router.release(self.now, InstanceId(id), node(2));
                self.known.remove(&id);
            }
            2 => self.router.run(InstanceId(id)),
            _ => {
                let router = &mut self.router;
                let _ = with_row(&mut self.feed, id, |row| router.rewire(row));
                // A stream whose wire was gone meanwhile begins again.
                known.last.clear();
            }
        }
    }

    fn ask(&mut self, id: u32) {
        if self.feed.below(2) == 0 {
            let body = self.feed.bytes(20).to_vec();
            let paths: [&[&str]; 4] =
                [&["q", "1", "ask"], &["q", "p", "y", "ask"], &["t", "p", "x", "a"], &["q", "7"]];
            let path = paths[self.feed.below(4)];
            return self.post(2, true, path, &body);
        }
        let (number, peer) = (u32::from(self.feed.byte() % 4), self.feed.byte() % 3);
        let ask = Ask { number, peer, service: "ask", payload: self.feed.bytes(20) };
        let _ = self.router.ask(self.now, InstanceId(id), ask);
    }

    /// Lets everything go on until there is nothing to do at this moment.
    fn settle(&mut self) {
        let mut buf = [0; MTU];
        for turn in 0.. {
            assert!(turn < MOST_AT_ONCE, "it does not come to rest");
            let peer = |id: NodeId| (id != node(9)).then(|| address(id.as_bytes()[0]));
            while self.router.poll(self.now, &mut *self.core, &peer).is_some() {}
            match self.core.poll(self.now, &mut buf) {
                Some(Output::Transmit { to, len }) => {
                    self.sent.push((to, buf[..len].to_vec()));
                    if self.sent.len() > 16 {
                        self.sent.remove(0);
                    }
                }
                Some(Output::Outcome(outcome)) => {
                    self.router.outcome(self.now, &outcome);
                }
                None if self.router.poll_timeout().is_none_or(|at| at > self.now) => break,
                None => {}
            }
        }
        for id in INSTANCES {
            let Some(counters) = self.router.counters(InstanceId(id)) else { continue };
            // A snapshot may bring more than there is room for: it is not refused what it had.
            let is_restored = self.known.get(&id).is_some_and(|known| !known.record.is_empty());
            let within = counters.inbox <= 6 && counters.outbox <= 6;
            assert!(within || is_restored, "{counters:?}");
        }
    }
}

/// What a commit of an instance looks like.
fn record(id: u32, export: &Export) -> Vec<u8> {
    let section = |kind, bytes: &[u8]| Section { kind, len: bytes.len() as u32 };
    let sections =
        [section(SectionKind::Inbox, &export.inbox), section(SectionKind::Outbox, &export.outbox)];
    let header = Header {
        format: format::SNAPSHOT,
        instance: InstanceId(id),
        epoch: Epoch(1),
        capsule: Digest::of(b"c"),
        layout: 0,
        taken: Timestamp { micros: 0, uncertainty: None },
        outputs: List::new(&export.outputs).expect("as many as ports"),
        inputs: List::new(&export.inputs).expect("as many as wires"),
        timers: List::EMPTY,
        sections: List::new(&sections).expect("two"),
    };
    let mut record = vec![0; 1024];
    let len = encode(&header, &mut record).expect("room for the head");
    record.truncate(len);
    record.extend_from_slice(&export.inbox);
    record.extend_from_slice(&export.outbox);
    record
}
