//! A node's documents and capsules in a world of virtual time: simulated flash that can lose power,
//! a link that can lose datagrams, and everybody's keys.
//!
//! Peers are who their address says they are, so that no handshake is needed here.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use crate::flash::nor::{Nor, Tear};
use crate::flash::{Config, Geometry, Store};
use crate::install::{self, Blobs, CapsulesResource, Install};
use crate::site::{self, CredentialResource, PlanResource, RosterResource, Site};
use crate::test_util::ByAddress;
use capmesh_blob::serve::{Rate, Serve};
use capmesh_coap::block::{BlockSize, BlockValue, Download, Transfer, TransferStep, Upload};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{self, Event, ExchangeId, Output, Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Machine};
use capmesh_coap::{Code, Endpoint, Message};
use capmesh_session::{Member, Peer};
use capmesh_transfer::BlobResource;
use capmesh_wire::{Claim, Digest, Instant, Manifest, Problem};
use std::boxed::Box;
use std::format;
use std::net::SocketAddr;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

mod board;
mod capsules;
mod documents;

pub(crate) use board::*;
pub(crate) use capsules::*;
pub(crate) use documents::*;

pub(crate) const MTU: usize = 1_280;

/// A board of 512 KB, small: 32 KB of log, 64 KB for extents.
pub(crate) const FLASH: Config = Config {
    geometry: Geometry { sector: 4_096, unit: 4, page: 256, rewrites: true },
    log_sectors: 8,
    extent_sectors: 24,
    max_group: 2_560,
    max_records: 64,
    max_extents: 12,
    queue: 5_200,
    write: 1_024,
};

type Core = Endpoint<ByAddress, MTU, 24, { 24 * (MTU + 4) }, 12, 2, 128, 16_384>;

/// A request with bodies, as an operator or a gateway makes it.
pub(crate) struct Asking {
    method: Code,
    path: String,
    pub(crate) query: Option<String>,
    to: Peer,
    body: Vec<u8>,
    format: Option<u16>,
    transfer: Transfer,
    exchange: Option<ExchangeId>,
    received: Vec<u8>,
    pub(crate) answer: Option<Said>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Code,
    pub(crate) payload: Vec<u8>,
    pub(crate) location: Vec<String>,
}

impl Said {
    pub(crate) fn problem(&self) -> Problem<'_> {
        capmesh_wire::cbor::decode(&self.payload).unwrap()
    }
}

/// A party of the world: a node with its flash, or somebody who only asks and gives.
pub(crate) struct Party {
    core: Box<Core>,
    server: Server<Peer, 2, 2, 64>,
    serve: Serve<Peer, 8>,
    pub(crate) nor: Nor,
    pub(crate) store: Store,
    pub(crate) site: Site,
    pub(crate) install: Install,
    pub(crate) board: SmallBoard,
    pub(crate) shelf: Shelf,
    /// Whether nobody may fetch anything here.
    pub(crate) withholds: bool,
    pub(crate) used: Vec<Digest>,
    pub(crate) events: Vec<install::Event>,
    pub(crate) site_events: Vec<site::Event>,
    pub(crate) asking: Option<Asking>,
    /// After so many operations of flash, the power goes as this says.
    pub(crate) cut: Option<(u32, Tear)>,
    pub(crate) ops: u32,
    pub(crate) is_off: bool,
    /// How long an operation of flash takes.
    pub(crate) latency: Duration,
    flash_busy: Option<Instant>,
}

pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5_683))
}

pub(crate) fn member(n: u8) -> Member {
    Member { id: id(n), role: role(n) }
}

pub(crate) fn peer(n: u8) -> Peer {
    Peer::Member(member(n))
}

impl Asking {
    /// Both ways in parts of this size.
    pub(crate) fn in_parts_of(&mut self, block: BlockSize) {
        let upload = Upload::of(&self.body, block);
        self.transfer = Transfer::new(upload, Download::new(80_000, block));
    }
}

impl Party {
    /// Somebody with this number, erased flash and no site.
    pub(crate) fn new(n: u8) -> Self {
        Self::boot(n, Nor::new(FLASH.geometry, FLASH.bytes()), Instant::ZERO)
    }

    /// Starts on this flash.
    pub(crate) fn boot(n: u8, nor: Nor, now: Instant) -> Self {
        Self::boot_with(n, nor, now, FLASH)
    }

    pub(crate) fn boot_with(n: u8, nor: Nor, now: Instant, flash: Config) -> Self {
        let config = endpoint::Config { nstart: 8, ..endpoint::Config::default() };
        let mut dice = Dice::new(u64::from(n) + now.as_micros());
        let everybody = (1..=250).map(|n| (address(n), n));
        let known = everybody.filter(|(_, n)| *n < 20 || *n >= GATEWAY && *n <= REGISTRY);
        let security = ByAddress(known.map(|(at, n)| (at, member(n))).collect());
        let mut store = Store::mount(nor.bytes(), flash);
        let block = BlockSize::MAX;
        let site = site::Config { subject: name("node"), block };
        let site = Site::mount(nor.bytes(), &mut store, &site, [n; 32]).unwrap();
        let install = Install::mount(now, nor.bytes(), &store, block, u32::from(n));
        let server = ServerConfig { block, ..ServerConfig::default() };
        Self {
            core: Box::new(Core::new(config, security, dice.seed())),
            server: Server::new(server, EchoKey::new(dice.seed())),
            serve: Serve::new(Rate::default()),
            nor,
            store,
            site,
            install,
            board: SmallBoard { ram: 20_000, used: Vec::new() },
            shelf: Shelf::default(),
            withholds: false,
            used: Vec::new(),
            events: Vec::new(),
            site_events: Vec::new(),
            asking: None,
            cut: None,
            ops: 0,
            is_off: false,
            latency: Duration::ZERO,
            flash_busy: None,
        }
    }

    /// Belongs to the site with this roster from the start.
    pub(crate) fn with_roster(mut self, roster: &[u8]) -> Self {
        self.settle(Instant::ZERO);
        let mut group = self.store.group();
        group.put(crate::flash::kinds::SITE, 0, &credential(SITE)).unwrap();
        group.put(crate::flash::kinds::ROSTER, 0, roster).unwrap();
        group.submit().unwrap();
        self.settle(Instant::ZERO);
        self.ops = 0;
        self
    }

    pub(crate) fn roster_version(&self) -> Option<u32> {
        self.site.versions(self.nor.bytes(), &self.store).0.map(|version| version.0)
    }

    pub(crate) fn plan_revision(&self) -> Option<u32> {
        self.site.versions(self.nor.bytes(), &self.store).1.map(|revision| revision.0)
    }

    pub(crate) fn is_held(&self, made: &Made) -> bool {
        let held = self.install.held(self.nor.bytes(), &self.store, &made.digest());
        held.is_some_and(|held| {
            assert_eq!(held.module, made.content());
            assert_eq!(Ok(held.manifest), Manifest::from_trusted(&made.envelope));
            true
        })
    }

    pub(crate) fn claim(&self) -> Claim {
        self.site.own().claim()
    }

    /// Asks somebody.
    pub(crate) fn ask(&mut self, to: Peer, method: Code, path: &str, body: &[u8]) -> &mut Asking {
        let upload = Upload::of(body, BlockSize::MAX);
        let transfer = Transfer::new(upload, Download::new(80_000, BlockSize::MAX));
        self.asking.insert(Asking {
            method,
            path: path.into(),
            query: None,
            to,
            body: body.to_vec(),
            format: None,
            transfer,
            exchange: None,
            received: Vec::new(),
            answer: None,
        })
    }

    pub(crate) fn unwant(&mut self, now: Instant, digest: &Digest) {
        self.install.unwant(now, digest, &mut *self.core);
    }

    pub(crate) fn answer(&self) -> Option<&Said> {
        self.asking.as_ref()?.answer.as_ref()
    }

    /// Everything that can be done now without a datagram is done.
    pub(crate) fn settle(&mut self, now: Instant) {
        for round in 0.. {
            assert!(round < 100_000, "it does not come to rest");
            if self.is_off || !self.round(now) {
                return;
            }
        }
    }

    fn round(&mut self, now: Instant) -> bool {
        let mut has_moved = false;
        let flash = self.nor.bytes();
        while let Some(event) = self.site.poll(now, flash, &mut self.store, &mut *self.core) {
            self.site_events.push(event);
            has_moved = true;
        }
        while let Some(event) =
            self.install.poll(now, flash, &mut self.store, &mut *self.core, &self.site, &self.board)
        {
            self.events.push(event);
            has_moved = true;
        }
        self.let_go();
        self.next_request(now);
        let hashes = self.install.poll_timeout().is_some_and(|at| at <= now)
            || self.site.poll_timeout().is_some_and(|at| at <= now);
        has_moved | self.operate(now) | hashes
    }

    /// As the node does.
    fn let_go(&mut self) {
        let cut_short = [self.site.take_cut_short(), self.install.take_cut_short()];
        cut_short.into_iter().flatten().for_each(|body| self.server.release(body));
    }

    /// One operation of flash, if it is time.
    fn operate(&mut self, now: Instant) -> bool {
        if self.flash_busy.is_some_and(|until| now < until) {
            return false;
        }
        let Some(op) = self.store.poll(self.nor.bytes()) else { return false };
        self.ops += 1;
        if let Some((after, tear)) = self.cut
            && self.ops > after
        {
            self.nor.tear(op, tear);
            self.is_off = true;
            return false;
        }
        let result = self.nor.apply(op);
        if !self.latency.is_zero() {
            self.flash_busy = Some(now + self.latency);
        }
        if let Some(done) = self.store.flashed(self.nor.bytes(), result) {
            self.site.flashed(now, &done);
            self.events.extend(self.install.flashed(now, &done, &mut *self.core));
        }
        true
    }

    fn next_request(&mut self, now: Instant) {
        let Some(asking) = &mut self.asking else { return };
        if asking.exchange.is_some() || asking.answer.is_some() {
            return;
        }
        let Asking { method, path, query, body, format, transfer, .. } = &*asking;
        let sent = self.core.request(now, asking.to, Reliability::Confirmable, *method, |writer| {
            writer.path(path)?;
            if let Some(format) = format {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(*format))?;
            }
            if let Some(query) = query {
                writer.option(OptionNumber::URI_QUERY, query.as_bytes())?;
            }
            transfer.write(writer, body)
        });
        asking.exchange = sent.ok();
    }

    fn answered(&mut self, exchange: ExchangeId, message: Message<'_>) {
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.exchange == Some(exchange))
        else {
            return;
        };
        asking.exchange = None;
        let code = message.code();
        let block = BlockValue::find(&message, OptionNumber::BLOCK1).unwrap();
        let is_interim = block.is_some_and(BlockValue::more);
        assert_eq!(is_interim, code == Code::CONTINUE, "{code:?} with {block:?}");
        let locations = message.option_values(OptionNumber::LOCATION_PATH);
        let location = locations.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect();
        match asking.transfer.handle(&message) {
            TransferStep::Next => return,
            TransferStep::Part { payload, more, offset } => {
                asking.received.truncate(offset as usize);
                asking.received.extend(payload);
                if more {
                    return;
                }
            }
            TransferStep::Refused(_) => asking.received = message.payload().to_vec(),
            TransferStep::UploadFailed(error) => panic!("{error} ({code:?})"),
            TransferStep::DownloadFailed(error) => panic!("{error} ({code:?})"),
        }
        let payload = core::mem::take(&mut asking.received);
        asking.answer = Some(Said { code, payload, location });
    }
}

impl Asking {
    pub(crate) fn query(&mut self, query: String) -> &mut Self {
        self.query = Some(query);
        self
    }

    pub(crate) fn format(&mut self, format: u16) -> &mut Self {
        self.format = Some(format);
        self
    }
}

impl Machine for Party {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        if self.is_off {
            return;
        }
        let (mut scratch, mut buf) = ([0; MTU], [0; MTU]);
        let Some(event) = self.core.handle(now, from, via, datagram, &mut scratch) else { return };
        let rest = match event {
            Event::Request { message, .. } => {
                let segment = message.option(OptionNumber::URI_PATH).unwrap_or_default().to_vec();
                self.serve(now, &segment, event, &mut buf);
                None
            }
            response => Some(response),
        };
        if let Some(Event::Response { exchange, message, .. }) = rest
            && !self.site.response(now, exchange, message)
            && !self.install.response(now, exchange, message)
        {
            self.answered(exchange, message);
        }
        self.settle(now);
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            self.settle(now);
            if self.is_off {
                return None;
            }
            match self.core.poll(now, buf)? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(outcome) => {
                    if !self.site.outcome(now, &outcome) && !self.install.outcome(now, &outcome) {
                        let asking = self.asking.as_mut().expect("somebody asked");
                        asking.exchange = None;
                        asking.answer = Some(Said {
                            code: Code::EMPTY,
                            payload: format!("{outcome:?}").into_bytes(),
                            location: Vec::new(),
                        });
                    }
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.is_off {
            return None;
        }
        let timeouts = [
            self.core.poll_timeout(),
            self.site.poll_timeout(),
            self.install.poll_timeout(),
            self.flash_busy.filter(|_| !self.store.is_idle()),
        ];
        timeouts.into_iter().flatten().min()
    }
}

impl Party {
    fn serve(&mut self, now: Instant, segment: &[u8], event: Event<'_, Peer>, buf: &mut [u8]) {
        let Self { site, install, store, nor, shelf, used, server, core, .. } = self;
        let flash = nor.bytes();
        let out = &mut **core;
        match segment {
            b"r" => {
                let mut resource = RosterResource::new(site, flash, store);
                server.handle(now, out, &mut [Route::at("r", &mut resource)], event, buf);
            }
            b"p" => {
                let mut resource = PlanResource::new(site, flash, store);
                server.handle(now, out, &mut [Route::at("p", &mut resource)], event, buf);
            }
            b"k" => {
                let mut resource = CredentialResource::new(site, store);
                server.handle(now, out, &mut [Route::at("k", &mut resource)], event, buf);
            }
            b"x" => {
                let in_use = |digest: &Digest| used.contains(digest);
                let mut resource = CapsulesResource::new(install, flash, store, &in_use);
                server.handle(now, out, &mut [Route::below("x", &mut resource)], event, buf);
            }
            _ => {
                let blobs = Blobs::new(install, store, flash).beside(shelf);
                let may = if self.withholds { |_| Err(Code::UNAUTHORIZED) } else { |_| Ok(()) };
                let mut resource = BlobResource::new(&mut self.serve, &blobs, may);
                server.handle(now, out, &mut [Route::below("b", &mut resource)], event, buf);
            }
        }
    }
}

/// The dimensions of a world.
pub(crate) type World = capmesh_coap::test_util::World<Party>;

/// A world of these parties.
pub(crate) fn world(seed: u64, parties: Vec<(u8, Party)>) -> World {
    let mut world = World::new(seed, capmesh_coap::test_util::Faults::NONE);
    for (n, party) in parties {
        world.machines.insert(address(n), party);
    }
    world
}

/// Runs until `done`, or gives up.
pub(crate) fn run(world: &mut World, n: u8, limit: u64, done: impl Fn(&Party) -> bool) -> bool {
    let until = world.now + Duration::from_secs(limit);
    world.flush();
    while world.now < until {
        if done(world.machine(address(n))) {
            return true;
        }
        if !world.step() {
            break;
        }
    }
    done(world.machine(address(n)))
}

/// Starts a party anew on what its flash holds.
pub(crate) fn reboot(world: &mut World, n: u8) {
    let now = world.now;
    let old = world.machines.remove(&address(n)).unwrap();
    let mut party = Party::boot(n, old.nor, now);
    party.shelf = old.shelf;
    world.machines.insert(address(n), party);
}
