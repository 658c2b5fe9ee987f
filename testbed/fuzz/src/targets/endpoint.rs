//! The endpoint without security: two of them, and an application that asks, answers, observes and
//! notifies as the input says, over a link that loses, repeats, changes and invents datagrams.

use crate::Feed;
use capmesh_coap::endpoint::{
    Config, Endpoint, Event, ExchangeId, ObservationId, Outcome, Output, Reliability, Responder,
    Via,
};
use capmesh_coap::message::{Code, MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

const MTU: usize = 256;

/// How many datagrams may come out of one call before that counts as a loop.
const MOST_AT_ONCE: usize = 200;

struct Side {
    address: SocketAddr,
    core: Box<Endpoint<Plain, MTU, 4, 3, 3, 8, 1024>>,
    open: BTreeSet<ExchangeId>,
    responders: Vec<Responder>,
    observations: Vec<ObservationId>,
}

struct Datagram {
    from: SocketAddr,
    to: usize,
    bytes: Vec<u8>,
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    sides: [Side; 2],
    link: VecDeque<Datagram>,
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let side = |n: u8| Side {
        address: SocketAddr::from(([10, 0, 0, n], 5683)),
        core: Box::new(Endpoint::new(Config { nstart: 2, ..Config::default() }, Plain, [n; 16])),
        open: BTreeSet::new(),
        responders: Vec::new(),
        observations: Vec::new(),
    };
    let mut world = World {
        feed: Feed::new(data),
        now: Instant::ZERO,
        sides: [side(0), side(1)],
        link: VecDeque::new(),
    };
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
    world.finish();
}

impl World<'_> {
    fn operate(&mut self) {
        let at = self.feed.below(2);
        match self.feed.below(16) {
            0..=2 => self.request(at),
            3..=5 => self.answer(at),
            6 => self.notify(at),
            7 => self.cancel(at),
            8..=11 => self.deliver(),
            12 => drop(self.link.pop_front()),
            13 => self.invent(at),
            14 => self.now += Duration::from_millis(u64::from(self.feed.word())),
            _ => self.wake(),
        }
    }

    fn request(&mut self, at: usize) {
        let to = self.sides[1 - at].address;
        let to = match self.feed.below(8) {
            0 => SocketAddr::from(([224, 0, 1, 187], 5683)),
            _ => to,
        };
        let reliability = self.reliability();
        let code = Code(1 + self.feed.byte() % 7);
        let body = draw_body(&mut self.feed);
        let side = &mut self.sides[at];
        let requested = side.core.request(self.now, to, reliability, code, |m| body.write(m));
        if let Ok(exchange) = requested {
            assert!(side.open.insert(exchange), "the name of an exchange is used twice");
        }
    }

    fn answer(&mut self, at: usize) {
        let Some(responder) = self.sides[at].responders.pop() else { return };
        let code = [Code::CONTENT, Code::CHANGED, Code::NOT_FOUND, Code(self.feed.byte())];
        let code = code[self.feed.below(4)];
        let body = draw_body(&mut self.feed);
        let side = &mut self.sides[at];
        match self.feed.below(8) {
            0 => side.core.ignore(self.now, responder),
            1 => side.core.reject(responder),
            2 | 3 => {
                if let Ok(observation) = side.core.accept_observation(self.now, responder) {
                    side.observations.push(observation);
                }
                let _ = side.core.respond(self.now, responder, code, |m| body.write(m));
            }
            4 => {
                side.core.mark_verified(responder);
                let _ = side.core.respond(self.now, responder, code, |m| body.write(m));
            }
            _ => drop(side.core.respond(self.now, responder, code, |m| body.write(m))),
        }
    }

    fn notify(&mut self, at: usize) {
        let reliability = self.reliability();
        let body = draw_body(&mut self.feed);
        let code = if self.feed.below(5) == 0 { Code::GONE } else { Code::CONTENT };
        let which = self.feed.byte();
        let side = &mut self.sides[at];
        let count = side.observations.len().max(1);
        if let Some(&observation) = side.observations.get(usize::from(which) % count) {
            let _ = side.core.notify(self.now, observation, reliability, code, |m| body.write(m));
        }
    }

    fn cancel(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let Some(&exchange) = side.open.iter().nth(self.feed.below(4)) else { return };
        if self.feed.below(2) == 0 {
            assert!(side.core.cancel(self.now, exchange), "an open exchange can be cancelled");
            side.open.remove(&exchange);
        } else {
            let _ = side.core.deregister(self.now, exchange);
        }
    }

    fn deliver(&mut self) {
        let which = self.feed.below(self.link.len().max(1));
        let Some(datagram) = self.link.remove(which) else { return };
        let bytes = match self.feed.below(4) {
            0 => self.feed.mutated(&datagram.bytes),
            1 => {
                self.hand(datagram.to, datagram.from, Via::Unicast, &datagram.bytes);
                datagram.bytes
            }
            _ => datagram.bytes,
        };
        self.hand(datagram.to, datagram.from, Via::Unicast, &bytes);
    }

    fn invent(&mut self, at: usize) {
        let bytes = self.feed.bytes(MTU + 8).to_vec();
        let from = match self.feed.below(3) {
            0 => SocketAddr::from(([10, 9, 9, 9], 1)),
            _ => self.sides[1 - at].address,
        };
        let via = if self.feed.below(4) == 0 { Via::Multicast } else { Via::Unicast };
        self.hand(at, from, via, &bytes);
    }

    fn hand(&mut self, at: usize, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; MTU];
        let side = &mut self.sides[at];
        match side.core.handle(self.now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, .. }) => side.responders.push(responder),
            Some(Event::Response { exchange, last, .. }) => {
                assert!(side.open.contains(&exchange), "a response to nothing that is open");
                if last {
                    side.open.remove(&exchange);
                }
            }
            None => {}
        }
    }

    /// Polls both sides until they have nothing to do.
    fn settle(&mut self) {
        for at in 0..2 {
            let mut buf = [0; MTU];
            for sent in 0.. {
                assert!(sent < MOST_AT_ONCE, "it does not come to rest");
                let side = &mut self.sides[at];
                match side.core.poll(self.now, &mut buf) {
                    Some(Output::Transmit { len, .. }) => {
                        let bytes = buf[..len].to_vec();
                        let from = side.address;
                        self.link.push_back(Datagram { from, to: 1 - at, bytes });
                    }
                    Some(Output::Outcome(
                        Outcome::Failed { exchange, .. } | Outcome::Finished { exchange },
                    )) => assert!(side.open.remove(&exchange), "an end of nothing that is open"),
                    Some(Output::Outcome(Outcome::ObservationEnded { observation, .. })) => {
                        side.observations.retain(|other| *other != observation);
                    }
                    None => break,
                }
            }
            let next = self.sides[at].core.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "idle, but wants to be polled");
        }
        self.link.truncate(64);
    }

    /// Goes on to when something happens next.
    fn wake(&mut self) {
        let next = self.sides.iter().filter_map(|side| side.core.poll_timeout()).min();
        self.now = next.unwrap_or(self.now).max(self.now);
    }

    /// With nothing more arriving, everything but observations comes to its end.
    fn finish(&mut self) {
        for _ in 0..2_000 {
            if self.sides.iter().all(|side| side.core.poll_timeout().is_none()) {
                break;
            }
            self.wake();
            self.settle();
            self.link.clear();
        }
        for side in &self.sides {
            assert!(side.core.poll_timeout().is_none(), "something happens for ever");
        }
    }

    fn reliability(&mut self) -> Reliability {
        [Reliability::Confirmable, Reliability::NonConfirmable][self.feed.below(2)]
    }
}

/// Options and a payload.
pub(crate) struct Body<'a> {
    options: Vec<(u16, &'a [u8])>,
    payload: &'a [u8],
}

impl Body<'_> {
    pub(crate) fn write(&self, message: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        for (number, value) in &self.options {
            message.option(OptionNumber(*number), value)?;
        }
        message.payload(self.payload)?;
        Ok(())
    }
}

pub(crate) fn draw_body<'a>(feed: &mut Feed<'a>) -> Body<'a> {
    let options = (0..feed.below(4))
        .map(|_| {
            let known = [6, 6, 6, 11, 14, 23, 27, 252, 258, 9];
            let number = match feed.below(12) {
                i if i < known.len() => known[i],
                _ => feed.word(),
            };
            (number, feed.bytes(12))
        })
        .collect();
    Body { options, payload: feed.bytes(300) }
}
