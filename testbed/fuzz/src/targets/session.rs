//! Sessions: strangers who send anything, and a member of the mesh who means harm.
//!
//! Two endpoints that know each other. What is in flight is lost, repeated, changed and invented;
//! what the peers say inside of the protection is drawn too, so that it gets past authentication.

use super::edhoc::identity;
use super::endpoint::draw_body;
use crate::pair::{Core, Pair, Side};
use capmesh_coap::Code;
use capmesh_coap::endpoint::{Config as CoapConfig, Endpoint, Event, Output, Reliability, Via};
use capmesh_coap::test_util::Dice;
use capmesh_session::{Config, Entry, Peer, Roster, SecureEndpoint, Sessions};
use capmesh_wire::{Instant, NodeId, Role};
use core::net::SocketAddr;
use core::time::Duration;

const MTU: usize = 512;

type Secured = SecureEndpoint<Sessions<Members, Dice, 2, 2>, MTU, 5, { 5 * (MTU + 4) }, 4, 2, 16, 2048>;

struct Members([Entry; 2]);

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0[..].find(kid)
    }
}

impl Core for Secured {
    type Peer = Peer;

    const MTU: usize = MTU;

    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Peer>> {
        Self::handle(self, now, from, via, datagram, scratch)
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        Self::poll(self, now, buf)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }
}

struct World<'a> {
    pair: Pair<'a, Secured>,
    reboots: u64,
}

fn id(n: u8) -> NodeId {
    NodeId::of_key(identity(n).credential().public_key())
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8], 5683))
}

fn entry(n: u8) -> Entry {
    let role = if n == 0 { Role::Gateway } else { Role::Node };
    Entry { id: id(n), credential: identity(n).credential().clone(), role, expires: 2_000_000_000 }
}

fn side(now: Instant, n: u8, seed: u64) -> Side<Secured> {
    let mut dice = Dice::new(seed ^ u64::from(n) << 32);
    let seed = dice.seed();
    let roster = Members([entry(0), entry(1)]);
    let sessions = Sessions::new(now, Config::default(), identity(n).clone(), roster, dice);
    let endpoint = Endpoint::new(CoapConfig { nstart: 2, ..CoapConfig::default() }, sessions, seed);
    let mut core = Box::new(SecureEndpoint::new(endpoint));
    let other = 1 - n;
    core.sessions_mut().introduce(now, id(other), address(other.into())).expect("on the roster");
    Side::new(core)
}

/// Runs the input as a program. In half of the inputs there is a session to begin with.
pub fn run(data: &[u8]) {
    let sides = [side(Instant::ZERO, 0, 1), side(Instant::ZERO, 1, 1)];
    let mut world = World { pair: Pair::new(data, sides, 32), reboots: 0 };
    if world.pair.feed.below(2) == 0 {
        world.connect();
    }
    while !world.pair.feed.is_empty() {
        world.operate();
        world.pair.settle();
    }
    world.pair.finish();
}

impl World<'_> {
    fn connect(&mut self) {
        self.pair.sides[0].core.sessions_mut().connect(self.pair.now, id(1));
        self.pair.settle();
        while let Some((to, bytes)) = self.pair.link.pop_front() {
            self.hand(to, address(1 - to), &bytes);
            self.pair.settle();
        }
    }

    fn operate(&mut self) {
        let at = self.pair.feed.below(2);
        match self.pair.feed.below(16) {
            0..=2 => self.request(at),
            3..=5 => self.answer(at),
            6..=9 => self.deliver(),
            10 => drop(self.pair.link.pop_front()),
            11 => {
                let bytes = self.pair.feed.bytes(MTU + 8).to_vec();
                let from = [address(1 - at), address(9)][self.pair.feed.below(2)];
                self.hand(at, from, &bytes);
            }
            12 => {
                self.reboots += 1;
                if self.reboots < 3 {
                    self.pair.sides[at] = side(self.pair.now, at as u8, 100 + self.reboots);
                }
            }
            13 => self.handshake_of_a_stranger(at),
            14 => self.pair.now += Duration::from_millis(u64::from(self.pair.feed.word())),
            _ => self.pair.wake(),
        }
    }

    fn request(&mut self, at: usize) {
        let peer = self.pair.sides[at].core.sessions().peer(id(1 - at as u8));
        let peer = match self.pair.feed.below(8) {
            0 => Some(Peer::Anonymous(address(1 - at))),
            _ => peer,
        };
        let Some(peer) = peer else { return };
        let reliability = [Reliability::Confirmable, Reliability::NonConfirmable];
        let reliability = reliability[self.pair.feed.below(2)];
        let code = Code(1 + self.pair.feed.byte() % 7);
        let body = draw_body(&mut self.pair.feed);
        let side = &mut self.pair.sides[at];
        let requested =
            side.core.request(self.pair.now, peer, reliability, code, |m| body.write(m));
        if let Ok(exchange) = requested {
            side.asked(exchange);
        }
    }

    fn answer(&mut self, at: usize) {
        let Some(responder) = self.pair.sides[at].responders.pop() else { return };
        let code = [Code::CONTENT, Code::CHANGED, Code::NOT_FOUND, Code(self.pair.feed.byte())];
        let code = code[self.pair.feed.below(4)];
        let body = draw_body(&mut self.pair.feed);
        let side = &mut self.pair.sides[at];
        if self.pair.feed.below(4) == 0
            && let Ok(observation) = side.core.accept_observation(self.pair.now, responder)
        {
            let _ = side.core.respond(self.pair.now, responder, code, |m| body.write(m));
            let reliability = Reliability::Confirmable;
            let core = &mut side.core;
            let _ = core
                .notify(self.pair.now, observation, reliability, Code::CONTENT, |m| body.write(m));
        } else {
            let _ = side.core.respond(self.pair.now, responder, code, |m| body.write(m));
        }
    }

    /// Something drawn, to the resource of handshakes.
    fn handshake_of_a_stranger(&mut self, at: usize) {
        use capmesh_coap::message::{Kind, MessageWriter, Token};
        let mut buf = [0; MTU];
        let id = self.pair.feed.word();
        let bytes = self.pair.feed.bytes(200);
        let written = MessageWriter::new(&mut buf, Kind::Confirmable, Code::POST, id, Token::EMPTY)
            .and_then(|mut writer| {
                writer.path(".well-known/edhoc")?;
                writer.payload(if self.pair.feed.below(2) == 0 { &[0xf5] } else { &[] })?;
                writer.payload(bytes)?;
                Ok(writer.finish())
            });
        if let Ok(len) = written {
            let from = [address(1 - at), address(9)][self.pair.feed.below(2)];
            self.hand(at, from, &buf[..len]);
        }
    }

    fn deliver(&mut self) {
        let which = self.pair.feed.below(self.pair.link.len().max(1));
        let Some((to, bytes)) = self.pair.link.remove(which) else { return };
        let bytes = match self.pair.feed.below(6) {
            0 => self.pair.feed.mutated(&bytes),
            1 => {
                self.hand(to, address(1 - to), &bytes);
                bytes
            }
            _ => bytes,
        };
        let from = if self.pair.feed.below(8) == 7 { address(8) } else { address(1 - to) };
        self.hand(to, from, &bytes);
    }

    fn hand(&mut self, at: usize, from: SocketAddr, datagram: &[u8]) {
        self.pair.hand(at, from, Via::Unicast, datagram, |peer| {
            if let Peer::Member(member) = peer {
                assert_eq!(member.id, id(1 - at as u8), "there is nobody else");
            }
        });
        assert!(self.pair.sides[at].core.sessions().half_open() <= 2);
    }
}
