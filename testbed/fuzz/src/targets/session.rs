//! Sessions: strangers who send anything, and a member of the mesh who means harm.
//!
//! Two endpoints that know each other. What is in flight is lost, repeated, changed and invented;
//! what the peers say inside of the protection is drawn too, so that it gets past authentication.

use super::edhoc::{SeededRng, identity};
use super::endpoint::draw_body;
use crate::Feed;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{
    Config as CoapConfig, Endpoint, Event, ExchangeId, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::test_util::Dice;
use capmesh_session::{Config, Entry, Peer, Roster, SecureEndpoint, Sessions};
use capmesh_wire::{Instant, NodeId, Role};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

const MTU: usize = 512;
const MOST_AT_ONCE: usize = 200;

type Core = SecureEndpoint<Sessions<Members, SeededRng, 2, 2>, MTU, 5, 4, 2, 16, 2048>;

struct Members([Entry; 2]);

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0[..].find(kid)
    }
}

struct Side {
    core: Box<Core>,
    open: BTreeSet<ExchangeId>,
    responders: Vec<Responder>,
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    sides: [Side; 2],
    link: VecDeque<(usize, Vec<u8>)>,
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

fn side(now: Instant, n: u8, seed: u64) -> Side {
    let mut dice = Dice::new(seed ^ u64::from(n) << 32);
    let seed = dice.seed();
    let roster = Members([entry(0), entry(1)]);
    let sessions =
        Sessions::new(now, Config::default(), identity(n).clone(), roster, SeededRng(dice));
    let endpoint = Endpoint::new(CoapConfig { nstart: 2, ..CoapConfig::default() }, sessions, seed);
    let mut core = Box::new(SecureEndpoint::new(endpoint));
    let other = 1 - n;
    core.sessions_mut().introduce(now, id(other), address(other.into())).expect("on the roster");
    Side { core, open: BTreeSet::new(), responders: Vec::new() }
}

/// Runs the input as a program. In half of the inputs there is a session to begin with.
pub fn run(data: &[u8]) {
    let mut world = World {
        feed: Feed::new(data),
        now: Instant::ZERO,
        sides: [side(Instant::ZERO, 0, 1), side(Instant::ZERO, 1, 1)],
        link: VecDeque::new(),
        reboots: 0,
    };
    if world.feed.below(2) == 0 {
        world.connect();
    }
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
    world.finish();
}

impl World<'_> {
    fn connect(&mut self) {
        self.sides[0].core.sessions_mut().connect(self.now, id(1));
        self.settle();
        while let Some((to, bytes)) = self.link.pop_front() {
            self.hand(to, address(1 - to), &bytes);
            self.settle();
        }
    }

    fn operate(&mut self) {
        let at = self.feed.below(2);
        match self.feed.below(16) {
            0..=2 => self.request(at),
            3..=5 => self.answer(at),
            6..=9 => self.deliver(),
            10 => drop(self.link.pop_front()),
            11 => {
                let bytes = self.feed.bytes(MTU + 8).to_vec();
                let from = [address(1 - at), address(9)][self.feed.below(2)];
                self.hand(at, from, &bytes);
            }
            12 => {
                self.reboots += 1;
                if self.reboots < 3 {
                    self.sides[at] = side(self.now, at as u8, 100 + self.reboots);
                }
            }
            13 => self.handshake_of_a_stranger(at),
            14 => self.now += Duration::from_millis(u64::from(self.feed.word())),
            _ => self.wake(),
        }
    }

    fn request(&mut self, at: usize) {
        let peer = self.sides[at].core.sessions().peer(id(1 - at as u8));
        let peer = match self.feed.below(8) {
            0 => Some(Peer::Anonymous(address(1 - at))),
            _ => peer,
        };
        let Some(peer) = peer else { return };
        let reliability = [Reliability::Confirmable, Reliability::NonConfirmable];
        let reliability = reliability[self.feed.below(2)];
        let code = Code(1 + self.feed.byte() % 7);
        let body = draw_body(&mut self.feed);
        let side = &mut self.sides[at];
        let requested = side.core.request(self.now, peer, reliability, code, |m| body.write(m));
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
        if self.feed.below(4) == 0
            && let Ok(observation) = side.core.accept_observation(self.now, responder)
        {
            let _ = side.core.respond(self.now, responder, code, |m| body.write(m));
            let reliability = Reliability::Confirmable;
            let core = &mut side.core;
            let _ =
                core.notify(self.now, observation, reliability, Code::CONTENT, |m| body.write(m));
        } else {
            let _ = side.core.respond(self.now, responder, code, |m| body.write(m));
        }
    }

    /// Something drawn, to the resource of handshakes.
    fn handshake_of_a_stranger(&mut self, at: usize) {
        use capmesh_coap::message::{Kind, MessageWriter, Token};
        let mut buf = [0; MTU];
        let id = self.feed.word();
        let bytes = self.feed.bytes(200);
        let written = MessageWriter::new(&mut buf, Kind::Confirmable, Code::POST, id, Token::EMPTY)
            .and_then(|mut writer| {
                writer.path(".well-known/edhoc")?;
                writer.payload(if self.feed.below(2) == 0 { &[0xf5] } else { &[] })?;
                writer.payload(bytes)?;
                Ok(writer.finish())
            });
        if let Ok(len) = written {
            let from = [address(1 - at), address(9)][self.feed.below(2)];
            self.hand(at, from, &buf[..len]);
        }
    }

    fn deliver(&mut self) {
        let which = self.feed.below(self.link.len().max(1));
        let Some((to, bytes)) = self.link.remove(which) else { return };
        let bytes = match self.feed.below(6) {
            0 => self.feed.mutated(&bytes),
            1 => {
                self.hand(to, address(1 - to), &bytes);
                bytes
            }
            _ => bytes,
        };
        let from = if self.feed.below(8) == 7 { address(8) } else { address(1 - to) };
        self.hand(to, from, &bytes);
    }

    fn hand(&mut self, at: usize, from: SocketAddr, datagram: &[u8]) {
        let mut scratch = [0; MTU];
        let side = &mut self.sides[at];
        match side.core.handle(self.now, from, Via::Unicast, datagram, &mut scratch) {
            Some(Event::Request { responder, peer, .. }) => {
                if let Peer::Member(member) = peer {
                    assert_eq!(member.id, id(1 - at as u8), "there is nobody else");
                }
                side.responders.push(responder);
            }
            Some(Event::Response { exchange, last, .. }) => {
                assert!(side.open.contains(&exchange), "a response to nothing that is open");
                if last {
                    side.open.remove(&exchange);
                }
            }
            None => {}
        }
        assert!(side.core.sessions().half_open() <= 2);
    }

    fn settle(&mut self) {
        for at in 0..2 {
            let mut buf = [0; MTU];
            for sent in 0.. {
                assert!(sent < MOST_AT_ONCE, "it does not come to rest");
                let side = &mut self.sides[at];
                match side.core.poll(self.now, &mut buf) {
                    Some(Output::Transmit { len, .. }) => {
                        self.link.push_back((1 - at, buf[..len].to_vec()));
                    }
                    Some(Output::Outcome(
                        Outcome::Failed { exchange, .. } | Outcome::Finished { exchange },
                    )) => assert!(side.open.remove(&exchange), "an end of nothing that is open"),
                    Some(Output::Outcome(Outcome::ObservationEnded { .. })) => {}
                    None => break,
                }
            }
            let next = self.sides[at].core.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "idle, but wants to be polled");
        }
        self.link.truncate(32);
    }

    fn wake(&mut self) {
        let next = self.sides.iter().filter_map(|side| side.core.poll_timeout()).min();
        self.now = next.unwrap_or(self.now).max(self.now);
    }

    /// With nothing more arriving, every request comes to its end.
    fn finish(&mut self) {
        for _ in 0..500 {
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
}
