//! The endpoint without security: two of them, and an application that asks, answers, observes and
//! notifies as the input says, over a link that loses, repeats, changes and invents datagrams.

use crate::Feed;
use crate::pair::{Core, Pair, Side};
use capmesh_coap::endpoint::{Config, Endpoint, Event, Output, Reliability, Via};
use capmesh_coap::message::{Code, MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::time::Duration;

const MTU: usize = 256;

type Unsecured = Endpoint<Plain, MTU, 4, { 2 * (MTU + 4) }, 3, 3, 8, 1024>;

impl Core for Unsecured {
    type Peer = SocketAddr;

    const MTU: usize = MTU;

    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, SocketAddr>> {
        Self::handle(self, now, from, via, datagram, scratch)
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        Self::poll(self, now, buf)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8], 5683))
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let side = |n: u8| {
        let config = Config { nstart: 2, ..Config::default() };
        Side::new(Box::new(Endpoint::new(config, Plain, [n; 16])))
    };
    let mut world = Pair::new(data, [side(0), side(1)], 64);
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
    world.finish();
}

impl Pair<'_, Unsecured> {
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
        let to = address(1 - at);
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
            side.asked(exchange);
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
        let Some((to, bytes)) = self.link.remove(which) else { return };
        let bytes = match self.feed.below(4) {
            0 => self.feed.mutated(&bytes),
            1 => {
                self.hand(to, address(1 - to), Via::Unicast, &bytes, drop);
                bytes
            }
            _ => bytes,
        };
        self.hand(to, address(1 - to), Via::Unicast, &bytes, drop);
    }

    fn invent(&mut self, at: usize) {
        let bytes = self.feed.bytes(MTU + 8).to_vec();
        let from = match self.feed.below(3) {
            0 => SocketAddr::from(([10, 9, 9, 9], 1)),
            _ => address(1 - at),
        };
        let via = if self.feed.below(4) == 0 { Via::Multicast } else { Via::Unicast };
        self.hand(at, from, via, &bytes, drop);
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
