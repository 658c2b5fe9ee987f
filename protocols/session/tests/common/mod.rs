//! Endpoints with sessions in virtual time.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "test helpers; no test uses all of them"
)]

use capmesh_coap::endpoint::{
    Config as CoapConfig, Event, ExchangeId, Failure, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_coap::{Code, Endpoint};
use capmesh_session::edhoc::{Credential, Identity, Kid};
use capmesh_session::{Config, Entry, Peer, Record, Roster, SecureEndpoint, Sessions};
use capmesh_wire::{Instant, NodeId, Role};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const MTU: usize = 512;
pub(crate) const N: usize = 4;
pub(crate) const H: usize = 4;

pub(crate) type Core<const N: usize, const H: usize> = SecureEndpoint<
    Sessions<SharedRoster, Dice, N, H>,
    MTU,
    12,
    { 12 * (MTU + 4) },
    12,
    4,
    256,
    16_384,
>;

/// A roster that all nodes of a test share and the test may change.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedRoster(pub(crate) Rc<RefCell<Vec<Entry>>>);

impl Roster for SharedRoster {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0.borrow()[..].find(kid)
    }
}

impl SharedRoster {
    /// Nodes 0 to `count` - 1; the first is a gateway.
    pub(crate) fn of(count: u16) -> Self {
        let roster = Self::default();
        for n in 0..count {
            let role = if n == 0 { Role::Gateway } else { Role::Node };
            let credential = identity(n).credential().clone();
            let entry = Entry { id: id(n), credential, role, expires: 2_000_000_000 };
            roster.0.borrow_mut().push(entry);
        }
        roster
    }

    pub(crate) fn without(&self, n: u16) {
        self.0.borrow_mut().retain(|entry| entry.id != id(n));
    }
}

pub(crate) fn identity(n: u16) -> Identity {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    let x = Identity::public_key_of(&key).unwrap();
    let kid = Kid::new(NodeId::of_key(&x).as_bytes()).unwrap();
    Identity::new(&key, Credential::from_public_key(&x, kid)).unwrap()
}

pub(crate) fn id(n: u16) -> NodeId {
    NodeId::of_key(identity(n).credential().public_key())
}

pub(crate) fn address(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 5683))
}

/// What a node was asked: by whom, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) peer: Peer,
    pub(crate) what: u32,
}

/// A node with an application that asks, answers, and keeps account of it.
#[derive(Debug)]
pub(crate) struct Node<const N: usize = { self::N }, const H: usize = { self::H }> {
    pub(crate) core: Box<Core<N, H>>,
    pub(crate) taken: Vec<Taken>,
    /// What was asked and is not over.
    pub(crate) asked: BTreeMap<ExchangeId, u32>,
    pub(crate) answered: Vec<u32>,
    pub(crate) refused: Vec<(u32, Code)>,
    pub(crate) failed: Vec<(u32, Failure)>,
    /// What survives a restart.
    pub(crate) flash: BTreeMap<NodeId, Record>,
    /// Whether anything is stored.
    pub(crate) stores: bool,
    /// How long answers take.
    pub(crate) answer_after: Duration,
    due: BTreeMap<(Instant, Responder), u32>,
}

impl<const N: usize, const H: usize> Node<N, H> {
    pub(crate) fn new(
        now: Instant,
        n: u16,
        roster: &SharedRoster,
        config: Config,
        seed: u64,
    ) -> Self {
        let coap = CoapConfig { nstart: 4, ..CoapConfig::default() };
        let mut dice = Dice::new(seed ^ u64::from(n) << 32);
        let seed = dice.seed();
        let sessions = Sessions::new(now, config, identity(n), roster.clone(), dice);
        Self {
            core: Box::new(SecureEndpoint::new(Endpoint::new(coap, sessions, seed))),
            taken: Vec::new(),
            asked: BTreeMap::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            failed: Vec::new(),
            flash: BTreeMap::new(),
            stores: true,
            answer_after: Duration::ZERO,
            due: BTreeMap::new(),
        }
    }

    /// Asks node `to` for an answer to `what`; it must have been introduced. Returns whether there
    /// was room.
    pub(crate) fn ask(&mut self, now: Instant, to: u16, what: u32) -> bool {
        self.ask_as(now, to, what, Reliability::Confirmable, 0)
    }

    pub(crate) fn ask_as(
        &mut self,
        now: Instant,
        to: u16,
        what: u32,
        reliability: Reliability,
        extra: usize,
    ) -> bool {
        let Some(peer) = self.core.sessions().peer(id(to)) else { return false };
        let exchange = self.core.request(now, peer, reliability, Code::POST, |message| {
            message.path("ask")?;
            message.payload(&what.to_be_bytes())?;
            message.payload_room(extra)?.fill(0);
            Ok(())
        });
        exchange.is_ok_and(|exchange| self.asked.insert(exchange, what).is_none())
    }

    pub(crate) fn introduce(&mut self, now: Instant, n: u16) {
        self.core.sessions_mut().introduce(now, id(n), address(n)).unwrap();
    }

    fn answer_due(&mut self, now: Instant) {
        while let Some((&(at, responder), &what)) = self.due.first_key_value() {
            if at > now {
                break;
            }
            self.due.remove(&(at, responder));
            let _ = self.core.respond(now, responder, Code::CONTENT, |message| {
                message.payload(&what.to_be_bytes()).map(drop)
            });
        }
    }
}

impl<const N: usize, const H: usize> Machine for Node<N, H> {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; MTU];
        match self.core.handle(now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, peer, message, .. }) => {
                let Some(what) = message.payload().first_chunk() else {
                    return self.core.ignore(now, responder);
                };
                let what = u32::from_be_bytes(*what);
                self.taken.push(Taken { peer, what });
                self.due.insert((now + self.answer_after, responder), what);
            }
            Some(Event::Response { exchange, message, last, .. }) => {
                assert!(last);
                let what = self.asked.remove(&exchange).expect("an answer to nothing asked");
                if message.code() == Code::CONTENT {
                    assert_eq!(message.payload(), what.to_be_bytes());
                    self.answered.push(what);
                } else {
                    self.refused.push((what, message.code()));
                }
            }
            None => {}
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.answer_due(now);
        loop {
            while let Some(record) = self.core.sessions().record().filter(|_| self.stores) {
                self.core.sessions_mut().confirm_record(&record);
                self.flash.insert(record.id, record);
            }
            match self.core.poll(now, &mut buf[..MTU])? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(Outcome::Failed { exchange, reason }) => {
                    let what = self.asked.remove(&exchange).expect("a failure of nothing asked");
                    self.failed.push((what, reason));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.keys().next().map(|(at, _)| *at);
        self.core.poll_timeout().into_iter().chain(due).min()
    }
}

/// Nodes that all know of each other.
pub(crate) fn world(
    nodes: u16,
    config: Config,
    seed: u64,
    faults: Faults,
) -> (World<Node>, SharedRoster) {
    let roster = SharedRoster::of(nodes);
    let mut world = World::new(seed, faults);
    for n in 0..nodes {
        world.machines.insert(address(n), node(world.now, n, nodes, &roster, config, seed));
    }
    (world, roster)
}

/// A node that knows where the others are.
pub(crate) fn node(
    now: Instant,
    n: u16,
    nodes: u16,
    roster: &SharedRoster,
    config: Config,
    seed: u64,
) -> Node {
    let mut node = Node::new(now, n, roster, config, seed);
    for other in (0..nodes).filter(|other| *other != n) {
        node.introduce(now, other);
    }
    node
}

/// Puts a new node in the place of one: nothing of the old one is left.
pub(crate) fn reboot(
    world: &mut World<Node>,
    n: u16,
    nodes: u16,
    roster: &SharedRoster,
    config: Config,
) {
    let seed = u64::from(n) + world.now.as_micros().wrapping_mul(31) + 77;
    let fresh = node(world.now, n, nodes, roster, config, seed);
    world.machines.insert(address(n), fresh);
}

/// Lets everything come to rest.
pub(crate) fn settle(world: &mut World<Node>) {
    let limit = world.now + Duration::from_secs(1200);
    world.run_to_rest(limit);
}

/// A node of the usual size or a small one.
#[derive(Debug)]
pub(crate) enum Either {
    Usual(Node),
    Small(Node<2, 2>),
}

impl Either {
    pub(crate) fn usual(&mut self) -> &mut Node {
        let Self::Usual(node) = self else { panic!("a small node") };
        node
    }

    pub(crate) fn small(&mut self) -> &mut Node<2, 2> {
        let Self::Small(node) = self else { panic!("a usual node") };
        node
    }
}

impl Machine for Either {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        match self {
            Self::Usual(node) => node.handle(now, from, via, datagram),
            Self::Small(node) => node.handle(now, from, via, datagram),
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        match self {
            Self::Usual(node) => node.poll(now, buf),
            Self::Small(node) => node.poll(now, buf),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Usual(node) => node.poll_timeout(),
            Self::Small(node) => node.poll_timeout(),
        }
    }
}
