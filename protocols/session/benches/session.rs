//! A handshake, and what a request costs in a session: both sides, on one core.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark")]

use capmesh_coap::endpoint::{Config as CoapConfig, Event, Output, Reliability, Via};
use capmesh_coap::test_util::Dice;
use capmesh_coap::{Code, Endpoint};
use capmesh_session::edhoc::{
    ConnectionId, Credential, EphemeralKey, Identity, Initiator, Kid, MAX_MESSAGE, Message1,
    Transfer,
};
use capmesh_session::{Config, Entry, Peer, Rate, SecureEndpoint, Sessions};
use capmesh_wire::{Instant, NodeId, Role};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

const MTU: usize = 1280;

type Core<'r> = SecureEndpoint<
    Sessions<&'r [Entry], Dice, 64, 8>,
    MTU,
    16,
    { 16 * (MTU + 4) },
    16,
    4,
    64,
    65_536,
>;

fn identity(n: u8) -> Identity {
    let key = [n; 32];
    let x = Identity::public_key_of(&key).unwrap();
    let kid = Kid::new(NodeId::of_key(&x).as_bytes()).unwrap();
    Identity::new(&key, Credential::from_public_key(&x, kid)).unwrap()
}

fn entry(n: u8) -> Entry {
    let credential = identity(n).credential().clone();
    let id = NodeId::of_key(credential.public_key());
    Entry { id, credential, role: Role::Node, expires: u64::MAX }
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5683))
}

fn core(n: u8, roster: &[Entry], seed: u64) -> Box<Core<'_>> {
    let config =
        Config { responses: Rate { burst: 255, interval: Duration::ZERO }, ..Config::default() };
    let mut dice = Dice::new(seed);
    let seed = dice.seed();
    let sessions = Sessions::new(Instant::ZERO, config, identity(n), roster, dice);
    Box::new(SecureEndpoint::new(Endpoint::new(CoapConfig::default(), sessions, seed)))
}

/// A client and a server, joined by memory.
struct Pair<'r> {
    client: Box<Core<'r>>,
    server: Box<Core<'r>>,
    peer: Peer,
}

impl<'r> Pair<'r> {
    fn new(roster: &'r [Entry], seed: u64) -> Self {
        let mut client = core(1, roster, seed);
        let server = core(2, roster, seed + 1);
        let id = entry(2).id;
        let peer = client.sessions_mut().introduce(Instant::ZERO, id, address(2)).unwrap();
        Self { client, server, peer }
    }

    /// A GET with its response of 64 bytes, and the handshake before it if there is no session.
    fn get(&mut self) {
        let now = Instant::ZERO;
        let Self { client, server, peer } = self;
        client
            .request(now, *peer, Reliability::Confirmable, Code::GET, |message| {
                message.path("sensors/air")?;
                Ok(())
            })
            .unwrap();
        let (mut buf, mut scratch) = ([0; MTU], [0; MTU]);
        loop {
            let Some(Output::Transmit { len, .. }) = client.poll(now, &mut buf) else {
                panic!("nothing to send")
            };
            let event = server.handle(now, address(1), Via::Unicast, &buf[..len], &mut scratch);
            if let Some(Event::Request { responder, .. }) = event {
                server
                    .respond(now, responder, Code::CONTENT, |message| {
                        message.payload(&[7; 64]).map(drop)
                    })
                    .unwrap();
            }
            let Some(Output::Transmit { len, .. }) = server.poll(now, &mut buf) else {
                panic!("nothing to send")
            };
            let event = client.handle(now, address(2), Via::Unicast, &buf[..len], &mut scratch);
            if let Some(Event::Response { message, .. }) = event {
                assert_eq!(black_box(message).payload(), [7; 64]);
                return;
            }
        }
    }
}

fn handshake(c: &mut Criterion) {
    let (initiator, responder) = (identity(1), identity(2));
    let (c_i, c_r) = (ConnectionId::new(&[1]).unwrap(), ConnectionId::new(&[2]).unwrap());
    let mut rng = Dice::new(1);
    c.bench_function("EDHOC, both sides", |b| {
        b.iter(|| {
            let (mut m1, mut m2, mut m3) = ([0; MAX_MESSAGE], [0; MAX_MESSAGE], [0; MAX_MESSAGE]);
            let by = Transfer::ByReference;
            let key = EphemeralKey::generate(&mut rng);
            let (wait_2, len) = Initiator::start(key, c_i, &mut m1).unwrap();
            let key = EphemeralKey::generate(&mut rng);
            let received = Message1::parse(&m1[..len]).unwrap();
            let (wait_3, len) = received.answer(key, &responder, c_r, by, &mut m2).unwrap();
            let received = wait_2.receive(&m2[..len]).unwrap();
            let (ours, len) =
                received.verify(responder.credential(), &initiator, by, &mut m3).unwrap();
            let received = wait_3.receive(&m3[..len]).unwrap();
            let theirs = received.verify(initiator.credential()).unwrap();
            black_box((ours.oscore_keys(), theirs.oscore_keys()))
        });
    });
}

fn endpoints(c: &mut Criterion) {
    let roster = [entry(1), entry(2)];
    let mut seed = 0;
    c.bench_function("handshake and first GET, two endpoints", |b| {
        b.iter_batched(
            || {
                seed += 2;
                Pair::new(&roster, seed)
            },
            |mut pair| {
                pair.get();
                pair
            },
            BatchSize::SmallInput,
        );
    });
    let mut pair = Pair::new(&roster, 1);
    pair.get();
    c.bench_function("GET in a session, two endpoints", |b| b.iter(|| pair.get()));
}

criterion_group!(benches, handshake, endpoints);
criterion_main!(benches);
