//! What a message costs on its way through a node: from the datagram that brings it to the handler, and
//! from what the handler publishes to the datagram that takes it on; on `latest` wires, on `every`
//! wires with what a commit costs the router, and between two instances of one node. CoAP without
//! security: what OSCORE adds is benched beside it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark")]

use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config as CoapConfig, Event as CoapEvent, Output, Via};
use capmesh_coap::message::{Kind, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_coap::{Code, Endpoint};
use capmesh_node::router::{Config, Event, Export, Extent, InboxResource, Origin, Router};
use capmesh_wire::cbor::{Writer, encode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::manifest::{Capsule, Needs, Port};
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::plan::{Assignment, Delivery, Failover, Inbound, Outbound, Overflowing};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{
    Digest, Epoch, InstanceId, Instant, List, Name, NodeId, Payload, Schema, Seq, Tag, Unit,
    content_format,
};
use core::hint::black_box;
use core::net::SocketAddr;
use core::time::Duration;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

type Core = Endpoint<Plain, 1280, 16, 20_544, 16, 4, 64, 16_384>;

/// The instance that is between others; what it gets it publishes.
const RELAY: InstanceId = InstanceId(2);

/// 21.5 degrees.
const READING: [u8; 4] = [0x81, 0xf9, 0x4d, 0x60];

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 8])
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5683))
}

fn sender(_: SocketAddr) -> Result<NodeId, Code> {
    Ok(node(1))
}

fn with_capsule<T>(then: impl FnOnce(&Capsule<'_>) -> T) -> T {
    let name = |text| Name::new(text).unwrap();
    let field = Field { name: name("t"), ty: FieldType::F32, unit: Unit::None, optional: false };
    let fields = [field];
    let schemas = [Schema::new(name("temperature"), 1, List::new(&fields).unwrap()).unwrap()];
    let ports = [Port { name: name("a"), schema: 0 }];
    then(&Capsule {
        schemas: List::new(&schemas).unwrap(),
        inputs: List::new(&ports).unwrap(),
        outputs: List::new(&ports).unwrap(),
        ..Capsule::bare(
            Tag::new("1").unwrap(),
            1,
            8,
            Digest::of(b""),
            Needs {
                memory: 0,
                ram: 0,
                fuel_per_second: 0,
                fuel_per_handler: 0,
                outbox_bytes: 8,
                outbox_entries: 1,
                timers: 0,
                table_elements: 0,
            },
        )
    })
}

/// A node between two others, with an instance that passes on what it gets.
struct Between {
    core: Box<Core>,
    server: Server<SocketAddr, 1, 1, 16>,
    router: Router,
    now: Instant,
    seq: u64,
    id: u16,
    export: Export,
}

impl Between {
    /// `from` and `to` are the nodes of the other instances; this one is node 9.
    fn new(delivery: Delivery, from: u8, to: u8) -> Self {
        let config = CoapConfig { amplification: 0, nstart: 8, ..CoapConfig::default() };
        let pace = Duration::from_nanos(1_000);
        let router = Config { pace, commit_after: 1, ..Config::for_host() };
        let mut between = Self {
            core: Box::new(Core::new(config, Plain, [1; 16])),
            server: Server::new(ServerConfig::default(), EchoKey::new([2; 16])),
            router: Router::new(router, node(9), 1),
            now: Instant::from_secs(1),
            seq: 0,
            id: 0,
            export: Export::default(),
        };
        between.add(2, delivery, from, to);
        between
    }

    /// Adds an instance that gets from the one before it and gives to the one after it.
    fn add(&mut self, id: u32, delivery: Delivery, from: u8, to: u8) {
        let inbound = [Inbound {
            input: 0,
            node: node(from),
            instance: InstanceId(id - 1),
            output: 0,
            delivery,
        }];
        let outbound = [Outbound {
            output: 0,
            node: node(to),
            instance: InstanceId(id + 1),
            input: 0,
            delivery,
            overflow: Overflowing::PauseProducer,
        }];
        let row = Assignment {
            instance: InstanceId(id),
            epoch: Epoch(1),
            capsule: Digest::of(b"c"),
            pipeline: Name::new("bench").unwrap(),
            name: Name::new("relay").unwrap(),
            replica: 0,
            lease_ms: None,
            failover: Failover::None,
            checkpoint_ms: None,
            rollback: false,
            config: None,
            inbound: List::new(&inbound).unwrap(),
            outbound: List::new(&outbound).unwrap(),
            peers: List::EMPTY,
        };
        with_capsule(|capsule| self.router.add(&row, capsule, Origin::Fresh)).unwrap();
        self.router.run(InstanceId(id));
    }

    /// A datagram with the next `count` messages for the instance.
    fn datagram(&mut self, kind: Kind, count: u64) -> Vec<u8> {
        let tag = with_capsule(|capsule| capsule.schema(0).unwrap().id().tag());
        let mut body = [0; 512];
        let mut writer = Writer::new(&mut body);
        let head = Batch {
            stream: Stream { instance: InstanceId(1), output: 0 },
            epoch: Epoch(1),
            first: Seq(self.seq),
            schema: tag,
            start: Timestamp { micros: 1_700_000_000_000_000, uncertainty: Some(500) },
            messages: List::EMPTY,
        };
        let mut batch = BatchWriter::new(&head, &mut writer).unwrap();
        for _ in 0..count {
            batch.push(1_000, Payload::new(&READING).unwrap()).unwrap();
        }
        self.seq += count;
        self.id = self.id.wrapping_add(1);
        let mut buf = [0; 1280];
        let token = Token::new(&self.id.to_be_bytes()).unwrap();
        let mut message = MessageWriter::new(&mut buf, kind, Code::POST, self.id, token).unwrap();
        message.path("m/2").unwrap();
        message.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into()).unwrap();
        message.payload(writer.written()).unwrap();
        let len = message.finish();
        buf[..len].to_vec()
    }

    fn arrive(&mut self, from: u8, datagram: &[u8]) {
        let (mut scratch, mut canvas) = ([0; 1280], [0; 1280]);
        match self.core.handle(self.now, address(from), Via::Unicast, datagram, &mut scratch) {
            Some(event @ CoapEvent::Request { .. }) => {
                let mut inbox = InboxResource::new(&mut self.router, sender);
                let mut routes = [Route::below("m", &mut inbox)];
                self.server.handle(self.now, &mut *self.core, &mut routes, event, &mut canvas);
            }
            Some(CoapEvent::Response { exchange, message, .. }) => {
                assert!(self.router.response(self.now, exchange, message));
            }
            None => {}
        }
    }

    /// Has an instance handle everything that it has, and publish it again.
    fn work(&mut self, id: InstanceId) -> usize {
        let mut count = 0;
        while let Some(event) = self.router.next(id) {
            let Event::Message { payload, sampled, .. } = event else { panic!("{event:?}") };
            let mut copy = [0; 16];
            let len = payload.as_bytes().len();
            copy[..len].copy_from_slice(payload.as_bytes());
            let payload = Payload::new(&copy[..len]).unwrap();
            self.router.publish(self.now, id, 0, sampled, payload).unwrap();
            self.router.handled(self.now, id);
            count += 1;
        }
        count
    }

    fn commit(&mut self, id: InstanceId) {
        let mark = self.router.export(id, Extent::Commit, &mut self.export).unwrap();
        black_box(&self.export);
        self.router.committed(id, mark);
    }

    /// Sends what there is to send; gives the last datagram of a batch and all their lengths.
    fn send(&mut self, buf: &mut [u8]) -> (Vec<u8>, usize) {
        let (mut batch, mut sum) = (Vec::new(), 0);
        let peer = |node: NodeId| Some(address(node.as_bytes()[0]));
        while self.router.poll(self.now, &mut *self.core, &peer).is_some() {}
        while let Some(output) = self.core.poll(self.now, buf) {
            match output {
                Output::Transmit { len, .. } => {
                    sum += len;
                    if buf[1] == Code::POST.0 {
                        batch = buf[..len].to_vec();
                    }
                }
                Output::Outcome(outcome) => {
                    self.router.outcome(self.now, &outcome);
                }
            }
        }
        (batch, sum)
    }

    /// What the consumer says to a batch: that it has all of it.
    fn acknowledge(&mut self, batch: &[u8]) {
        let request = capmesh_coap::Message::parse(batch).unwrap();
        let stream = Stream { instance: RELAY, output: 0 };
        let ack = Ack { stream, epoch: Epoch(1), next: Seq(self.seq), room: 100 };
        let mut body = [0; 32];
        let len = encode(&ack, &mut body).unwrap();
        let mut buf = [0; 128];
        let (kind, id, token) = (Kind::Acknowledgement, request.id(), request.token());
        let mut message = MessageWriter::new(&mut buf, kind, Code::CHANGED, id, token).unwrap();
        message.payload(&body[..len]).unwrap();
        let len = message.finish();
        self.arrive(3, &buf[..len]);
    }
}

fn latest(c: &mut Criterion) {
    let mut group = c.benchmark_group("router/latest");
    group.throughput(Throughput::Elements(1));
    let mut between = Between::new(Delivery::Latest, 1, 3);
    let mut buf = [0; 1280];
    group.bench_function("datagram to handler to datagram", |b| {
        b.iter(|| {
            let datagram = between.datagram(Kind::NonConfirmable, 1);
            between.now += Duration::from_millis(1);
            between.arrive(1, &datagram);
            assert_eq!(between.work(RELAY), 1);
            let (batch, _) = between.send(&mut buf);
            assert!(!batch.is_empty());
        });
    });
    let mut between = Between::new(Delivery::Latest, 1, 3);
    group.bench_function("of that, making the datagram", |b| {
        b.iter(|| black_box(between.datagram(Kind::NonConfirmable, 1)));
    });
    group.finish();
}

fn every(c: &mut Criterion) {
    let mut group = c.benchmark_group("router/every");
    let mut buf = [0; 1280];
    for count in [1, 16] {
        group.throughput(Throughput::Elements(count));
        let mut between = Between::new(Delivery::Every, 1, 3);
        group.bench_function(format!("{count} in, handled, committed, out, acknowledged"), |b| {
            b.iter(|| {
                let datagram = between.datagram(Kind::Confirmable, count);
                between.now += Duration::from_millis(1);
                between.arrive(1, &datagram);
                assert_eq!(between.work(RELAY) as u64, count);
                between.commit(RELAY);
                let (batch, _) = between.send(&mut buf);
                between.acknowledge(&batch);
                between.send(&mut buf);
            });
        });
    }
    group.finish();
}

/// From one instance to the next on the same node.
fn local(c: &mut Criterion) {
    let mut group = c.benchmark_group("router/local");
    group.throughput(Throughput::Elements(1));
    for delivery in [Delivery::Latest, Delivery::Every] {
        let mut between = Between::new(delivery, 1, 9);
        between.add(3, delivery, 9, 4);
        let next = InstanceId(3);
        let mut buf = [0; 1280];
        let sampled = Timestamp { micros: 1_700_000_000_000_000, uncertainty: Some(500) };
        group.bench_function(format!("{delivery}: publish to handler"), |b| {
            b.iter(|| {
                let payload = Payload::new(&READING).unwrap();
                between.router.publish(between.now, RELAY, 0, sampled, payload).unwrap();
                if delivery == Delivery::Every {
                    between.commit(RELAY);
                    let peer = |_: NodeId| None::<SocketAddr>;
                    while between.router.poll(between.now, &mut *between.core, &peer).is_some() {}
                }
                assert!(matches!(between.router.next(next), Some(Event::Message { .. })));
                between.router.handled(between.now, next);
                if delivery == Delivery::Every {
                    between.commit(next);
                }
            });
        });
        between.send(&mut buf);
    }
    group.finish();
}

/// Not a time: the bytes that a message takes on the link, with all around it but IP and UDP.
fn bytes(_: &mut Criterion) {
    let mut buf = [0; 1280];
    let mut latest = Between::new(Delivery::Latest, 1, 3);
    let datagram = latest.datagram(Kind::NonConfirmable, 1);
    latest.arrive(1, &datagram);
    latest.work(RELAY);
    println!("router/bytes/latest: {} a message", latest.send(&mut buf).1);
    for count in [1, 4, 16] {
        let mut every = Between::new(Delivery::Every, 1, 3);
        let datagram = every.datagram(Kind::Confirmable, count);
        every.arrive(1, &datagram);
        every.work(RELAY);
        every.commit(RELAY);
        let (batch, sum) = every.send(&mut buf);
        let ack = sum - batch.len();
        println!(
            "router/bytes/every: {} a message in batches of {count} ({} and {ack} for the answer)",
            (sum as u64).div_ceil(count),
            batch.len(),
        );
    }
}

criterion_group!(benches, latest, every, local, bytes);
criterion_main!(benches);
