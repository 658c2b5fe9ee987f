//! A node with everything from the link up to an application: EDHOC, OSCORE, CoAP, a server, blobs.

use crate::storage::{Flash, Stored};
use capmesh_blob::fetch::{Config as FetchConfig, Fetch, Holdings, Input, Trust};
use capmesh_blob::mapping::PREFIX;
use capmesh_blob::serve::{Rate, Serve};
use capmesh_coap::block::BlockSize;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{
    Config as CoapConfig, Event, ExchangeId, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Machine};
use capmesh_coap::{Code, Endpoint};
use capmesh_session::edhoc::{Credential, Identity, Kid};
use capmesh_session::{Config, Entry, Peer, Roles, Roster, SecureEndpoint, Sessions};
use capmesh_transfer::{BlobResource, Fetcher, Step};
use capmesh_wire::{Instant, NodeId, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const MTU: usize = 1280;

type Core =
    SecureEndpoint<Sessions<Members, Dice, 4, 4>, MTU, 16, { 16 * (MTU + 4) }, 16, 1, 256, 16_384>;

/// The two of them.
#[derive(Clone, Debug)]
pub(crate) struct Members(Rc<[Entry]>);

impl Members {
    pub(crate) fn new() -> Self {
        let entry = |n, role| Entry {
            id: id(n),
            credential: identity(n).credential().clone(),
            role,
            expires: 2_000_000_000,
        };
        Self([entry(0, Role::Gateway), entry(1, Role::Node)].into())
    }
}

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0.find(kid)
    }
}

fn identity(n: u16) -> Identity {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    let x = Identity::public_key_of(&key).unwrap();
    let kid = Kid::new(NodeId::of_key(&x).as_bytes()).unwrap();
    Identity::new(&key, Credential::from_public_key(&x, kid)).unwrap()
}

fn id(n: u16) -> NodeId {
    NodeId::of_key(identity(n).credential().public_key())
}

pub(crate) fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5683 + n))
}

/// How the requests of one incarnation of a node ended, and which it took.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) accepted: usize,
    pub(crate) answered: usize,
    pub(crate) failed: usize,
    pub(crate) refused: Vec<Code>,
    /// Those that have not ended.
    pub(crate) asked: BTreeMap<ExchangeId, u32>,
    pub(crate) taken: BTreeSet<u32>,
}

/// Answers every request with what it says, at once or later, and takes note of it.
struct Echoes<'a> {
    account: &'a mut Account,
    later: &'a mut BTreeMap<(Instant, Responder), u32>,
}

impl Resource<Peer> for Echoes<'_> {
    fn post(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let what = u32::from_be_bytes(request.body().try_into().map_err(|_| Code::BAD_REQUEST)?);
        assert!(self.account.taken.insert(what), "request {what} was taken twice");
        match (what % 4, request.responder()) {
            (0, Some(responder)) => {
                let at = request.now() + Duration::from_millis(u64::from(what % 29) * 100);
                self.later.insert((at, responder), what);
                Ok(Done::Later)
            }
            _ => {
                reply.write(request.body());
                Ok(Done::Changed)
            }
        }
    }
}

// A transfer over sessions, with everything that belongs to it.
const _: () = assert!(size_of::<Fetcher<Peer>>() <= 4096);

/// A transfer under way.
struct Wanted {
    fetcher: Fetcher<Peer>,
    flash: Flash,
}

/// One incarnation of a node. Its flash outlives it.
pub(crate) struct Node {
    core: Box<Core>,
    server: Server<Peer, 1, 1, 64>,
    serve: Serve<Peer, 4>,
    store: Rc<Stored>,
    pub(crate) account: Account,
    later: BTreeMap<(Instant, Responder), u32>,
    other: u16,
    wanted: Option<Wanted>,
    dice: Dice,
}

impl Node {
    /// Starts node `n` of the two. With flash, it fetches what is missing there.
    pub(crate) fn new(
        now: Instant,
        n: u16,
        seed: u64,
        members: Members,
        store: Rc<Stored>,
        flash: Option<Flash>,
    ) -> Self {
        let coap = CoapConfig { nstart: 4, ..CoapConfig::default() };
        let mut dice = Dice::new(seed);
        let (endpoint, echo, keys) = (dice.seed(), dice.seed(), dice.roll());
        let config = Config::default();
        let rng = Dice::new(keys);
        let sessions = Sessions::new(now, config, identity(n), members, rng);
        let mut core = Box::new(Core::new(Endpoint::new(coap, sessions, endpoint)));
        let other = 1 - n;
        core.security_mut().introduce(now, id(other), address(other)).unwrap();
        let server = ServerConfig { block: BlockSize::MAX, ..ServerConfig::default() };
        let mut node = Self {
            core,
            server: Server::new(server, EchoKey::new(echo)),
            serve: Serve::new(Rate { burst: 200, ..Rate::default() }),
            store,
            account: Account::default(),
            later: BTreeMap::new(),
            other,
            wanted: None,
            dice,
        };
        node.wanted = flash.map(|flash| node.begin(now, flash));
        node
    }

    /// Asks the other side for an answer to `what`.
    pub(crate) fn ask(&mut self, now: Instant, what: u32) {
        let Some(peer) = self.core.security().peer(id(self.other)) else { return };
        let asked = self.core.request(now, peer, Reliability::Confirmable, Code::POST, |writer| {
            writer.path("echo")?.payload(&what.to_be_bytes()).map(drop)
        });
        if let Ok(exchange) = asked {
            self.account.accepted += 1;
            assert_eq!(self.account.asked.insert(exchange, what), None);
        }
    }

    /// Takes the power away: what is left is in flash.
    pub(crate) fn crash(mut self) -> (Account, Option<Flash>) {
        let flash = self.wanted.map(|mut wanted| {
            wanted.flash.lose_power(&mut self.dice);
            wanted.flash
        });
        (self.account, flash)
    }

    pub(crate) fn has_blob(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.fetcher.fetch().result() == Some(Ok(())))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.has_blob() && self.account.asked.is_empty() && self.later.is_empty()
    }

    pub(crate) fn flash(&self) -> Option<&Flash> {
        self.wanted.as_ref().map(|wanted| &wanted.flash)
    }

    fn begin(&mut self, now: Instant, flash: Flash) -> Wanted {
        let trust = if self.dice.percent(50) { Trust::Nothing } else { Trust::Recorded };
        let [seed, ..] = self.dice.roll().to_le_bytes();
        let fetch = Fetch::new(now, FetchConfig::default(), &self.store.blob, seed.into())
            .unwrap()
            .resume(flash.journal(), trust);
        let mut fetcher = Fetcher::new(fetch, self.store.blob.digest, BlockSize::MAX);
        let peer = self.core.security().peer(id(self.other)).unwrap();
        fetcher.handle(now, Input::PeerUp { peer, rank: 0, holdings: Holdings::Unknown });
        Wanted { fetcher, flash }
    }

    /// Does what the transfer wants done. Says whether there was something.
    fn transfer(&mut self, now: Instant) -> bool {
        let Some(wanted) = &mut self.wanted else { return false };
        if wanted.flash.work(now, &self.store, &mut wanted.fetcher) {
            return true;
        }
        match wanted.fetcher.poll(now, &mut *self.core) {
            None => return false,
            Some(Step::Write { piece, offset, bytes }) => {
                let time = Duration::from_millis(self.dice.within(1..40));
                wanted.flash.write(now + time, piece, offset, bytes);
            }
            Some(Step::Read { offset, len }) => {
                let time = Duration::from_millis(self.dice.within(0..3));
                wanted.flash.read(now + time, offset, len);
            }
            Some(Step::Ended(Err(_))) => {
                // A node tries again for as long as its plan says that it needs the blob.
                if let Some(Wanted { flash, .. }) = self.wanted.take() {
                    self.wanted = Some(self.begin(now, flash));
                }
            }
            Some(Step::Ended(Ok(())) | Step::Stalled { .. }) => {}
            Some(Step::Dropped { reason, .. }) => panic!("an honest peer was dropped: {reason:?}"),
        }
        true
    }

    fn answer_later(&mut self, now: Instant) {
        while let Some((&(at, responder), &what)) = self.later.first_key_value() {
            if at > now {
                break;
            }
            self.later.remove(&(at, responder));
            // It may have timed out; then the other side hears of it in its own time.
            let _ = self.core.respond(now, responder, Code::CHANGED, |writer| {
                writer.payload(&what.to_be_bytes()).map(drop)
            });
        }
    }

    fn answered(&mut self, exchange: ExchangeId, code: Code, payload: &[u8]) {
        let what = self.account.asked.remove(&exchange).expect("an answer to nothing asked");
        if code == Code::CHANGED {
            assert_eq!(payload, what.to_be_bytes());
            self.account.answered += 1;
        } else {
            self.account.refused.push(code);
        }
    }
}

impl Machine for Node {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let (mut scratch, mut buf) = ([0; MTU], [0; MTU]);
        let Some(event) = self.core.handle(now, from, via, datagram, &mut scratch) else { return };
        let allow = |peer: Peer| peer.require(Roles::ANY).map(drop);
        let mut blobs = BlobResource::new(&mut self.serve, &*self.store, allow);
        let mut echoes = Echoes { account: &mut self.account, later: &mut self.later };
        let mut routes = [Route::below(PREFIX, &mut blobs), Route::at("echo", &mut echoes)];
        let rest = self.server.handle(now, &mut *self.core, &mut routes, event, &mut buf);
        let Some(Event::Response { exchange, message, last, .. }) = rest else { return };
        assert!(last);
        let fetcher = self.wanted.as_mut().map(|wanted| &mut wanted.fetcher);
        if fetcher.is_some_and(|fetcher| fetcher.response(now, exchange, message)) {
            while self.transfer(now) {}
        } else {
            self.answered(exchange, message.code(), message.payload());
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            self.answer_later(now);
            while self.transfer(now) {}
            match self.core.poll(now, &mut buf[..MTU])? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(outcome) => {
                    let fetcher = self.wanted.as_mut().map(|wanted| &mut wanted.fetcher);
                    if fetcher.is_some_and(|fetcher| fetcher.outcome(now, &outcome)) {
                        continue;
                    }
                    let Outcome::Failed { exchange, .. } = outcome else { panic!("{outcome:?}") };
                    self.account.asked.remove(&exchange).expect("a failure of nothing asked");
                    self.account.failed += 1;
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let later = self.later.keys().next().map(|(at, _)| *at);
        let wanted = self.wanted.as_ref().and_then(|wanted| {
            [wanted.fetcher.poll_timeout(), wanted.flash.timeout()].into_iter().flatten().min()
        });
        [self.core.poll_timeout(), later, wanted].into_iter().flatten().min()
    }
}
