//! A node and a gateway over an endpoint each, by hand.

use super::{Config, Timekeeper};
use capmesh_coap::endpoint::{Config as CoapConfig, Event, Output, Via};
use capmesh_coap::message::MessageWriter;
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Endpoint};
use capmesh_wire::Instant;
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::clock::{TimeReply, TimeRequest};
use core::net::SocketAddr;
use core::time::Duration;

type Core = Endpoint<Plain, 256, 4, 1040, 4, 1, 16, 512>;

const EPOCH: u64 = 1_700_000_000_000_000;

fn address(host: u16) -> SocketAddr {
    SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, host], 5683))
}

/// A node that asks, gateways that answer, and the delays between them.
struct Bench {
    node: Core,
    gateway: Core,
    keeper: Timekeeper,
    there: Duration,
    back: Duration,
    /// What the gateway's clock shows when the node's shows 0.
    offset: u64,
    answers: bool,
    asked: u32,
}

impl Bench {
    fn new() -> Self {
        let config = CoapConfig { amplification: 0, ..CoapConfig::default() };
        Self {
            node: Core::new(config, Plain, [1; 16]),
            gateway: Core::new(config, Plain, [2; 16]),
            keeper: Timekeeper::new(Config::default()),
            there: Duration::from_millis(20),
            back: Duration::from_millis(30),
            offset: EPOCH,
            answers: true,
            asked: 0,
        }
    }

    /// One turn of the node at `now`; what it sends is answered before it returns.
    fn turn(&mut self, now: Instant) {
        let mut buf = [0; 256];
        self.keeper.poll(now, &mut self.node, &|_| Some(address(2)));
        loop {
            match self.node.poll(now, &mut buf) {
                Some(Output::Transmit { len, .. }) => {
                    let bytes = buf;
                    self.carry(now, bytes.get(..len).unwrap());
                }
                Some(Output::Outcome(outcome)) => {
                    assert!(self.keeper.outcome(now, &outcome));
                }
                None => break,
            }
        }
    }

    fn carry(&mut self, now: Instant, datagram: &[u8]) {
        self.asked += 1;
        let (mut scratch, mut buf) = ([0; 256], [0; 256]);
        let arrival = now + self.there;
        let event = self.gateway.handle(arrival, address(1), Via::Unicast, datagram, &mut scratch);
        let Some(Event::Request { responder, message, .. }) = event else { return };
        if !self.answers {
            return self.gateway.ignore(arrival, responder);
        }
        assert_eq!(message.code(), Code::FETCH);
        let request: TimeRequest = decode(message.payload()).unwrap();
        let time = arrival.as_micros() + self.offset;
        let reply =
            TimeReply { sent: request.sent, received: time, replied: time, uncertainty: 10 };
        let mut payload = [0; 64];
        let len = encode(&reply, &mut payload).unwrap();
        let build = |writer: &mut MessageWriter<'_>| {
            writer.payload(payload.get(..len).unwrap())?;
            Ok(())
        };
        self.gateway.respond(arrival, responder, Code::CONTENT, build).unwrap();
        let Some(Output::Transmit { len, .. }) = self.gateway.poll(arrival, &mut buf) else {
            panic!("no response");
        };
        let back = arrival + self.back;
        let datagram = buf.get(..len).unwrap();
        let event = self.node.handle(back, address(2), Via::Unicast, datagram, &mut scratch);
        let Some(Event::Response { exchange, message, .. }) = event else { panic!("{event:?}") };
        assert!(self.keeper.response(back, exchange, message));
    }

    /// Runs from one thing to do to the next.
    fn run(&mut self, from: Instant, until: Instant) {
        let mut now = from;
        while now < until {
            self.turn(now);
            let next = [self.keeper.poll_timeout(), self.node.poll_timeout()];
            now = next.into_iter().flatten().min().unwrap().max(now + Duration::from_micros(1));
        }
    }
}

#[test]
fn the_time_is_learned_and_kept() {
    let mut bench = Bench::new();
    bench.run(Instant::from_secs(1), Instant::from_secs(10));
    assert_eq!(bench.asked, 4);
    let clock = *bench.keeper.clock().unwrap();
    let now = Instant::from_secs(10);
    let time = clock.at(now);
    // Off by half the difference of the two ways.
    assert_eq!(time.micros, EPOCH + 10_000_000 - 5_000);
    assert!((25_011..26_000).contains(&time.uncertainty.unwrap()), "{time:?}");

    bench.run(now, Instant::from_secs(2_000));
    assert_eq!(bench.asked, 4 + 3);
    assert_eq!(bench.keeper.steps(), 0);
}

#[test]
fn a_surer_answer_replaces_one_that_is_less_sure_and_not_the_other_way_round() {
    let mut bench = Bench::new();
    bench.there = Duration::from_secs(1);
    bench.run(Instant::from_secs(1), Instant::from_secs(2));
    assert!(bench.keeper.clock().unwrap().uncertainty > 500_000);
    bench.there = Duration::from_millis(1);
    bench.back = Duration::from_millis(1);
    bench.run(Instant::from_secs(5), Instant::from_secs(6));
    let sure = *bench.keeper.clock().unwrap();
    assert!(sure.uncertainty < 1_100);
    bench.back = Duration::from_secs(1);
    bench.run(Instant::from_secs(9), Instant::from_secs(10));
    assert_eq!(*bench.keeper.clock().unwrap(), sure);
    assert_eq!((bench.asked, bench.keeper.steps()), (3, 0));
}

#[test]
fn a_clock_that_was_set_is_followed() {
    let mut bench = Bench::new();
    bench.run(Instant::from_secs(1), Instant::from_secs(10));
    bench.offset += 3_600_000_000;
    bench.run(Instant::from_secs(10), Instant::from_secs(600));
    assert_eq!(bench.keeper.steps(), 1);
    let time = bench.keeper.clock().unwrap().at(Instant::from_secs(600));
    let truth = EPOCH + 3_600_000_000 + 600_000_000;
    assert!(time.micros.abs_diff(truth) <= u64::from(time.uncertainty.unwrap()));
}

#[test]
fn without_an_answer_it_asks_less_and_less_often() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.run(Instant::from_secs(1), Instant::from_secs(20_000));
    assert_eq!(bench.keeper.clock(), None);
    // Five datagrams an attempt, and an attempt each ten minutes.
    assert!((100..250).contains(&bench.asked), "{}", bench.asked);

    // Nobody to ask.
    let mut keeper = Timekeeper::new(Config::default());
    keeper.poll(Instant::from_secs(1), &mut bench.node, &|_| None::<SocketAddr>);
    assert_eq!(keeper.poll_timeout(), Some(Instant::from_secs(3)));
}
