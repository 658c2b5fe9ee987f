//! A node's documents and capsules in a world of virtual time: simulated flash that can lose power,
//! a link that can lose datagrams, and everybody's keys.
//!
//! Peers are who their address says they are, so that no handshake is needed here.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use crate::flash::nor::{Nor, Tear};
use crate::flash::{Config, Geometry, Op, Store};
use crate::install::{self, Blobs, Board, CapsulesResource, Install};
use crate::problem::Reason;
use crate::site::{self, CredentialResource, PlanResource, RosterResource, Site};
use capmesh_blob::pages::Pages;
use capmesh_blob::serve::{Held, Rate, ReadError, Serve};
use capmesh_blob::{Geometry as Pieces, Store as BlobStore};
use capmesh_coap::block::{BlockSize, BlockValue, Download, Transfer, TransferStep, Upload};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{self, Event, ExchangeId, Output, Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{Answer, OpenedResponse, Opening, SealError, Sealed, Security};
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Machine};
use capmesh_coap::{Code, Endpoint, Message};
use capmesh_session::{Member, Peer};
use capmesh_transfer::BlobResource;
use capmesh_wire::bundle::{self, Pieces as BundlePieces};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Capsule, Needs};
use capmesh_wire::plan::{Assignment, Failover, Plan};
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{
    BlobRef, CapsuleName, Claim, Credential, Digest, Epoch, ErrorCode, InstanceId, Instant, List,
    Manifest, Name, NodeId, Problem, Revision, Role, Tag, format,
};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::net::SocketAddr;
use std::string::String;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

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

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// Somebody's key: everybody has a number.
pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn id(n: u8) -> NodeId {
    key(n).id()
}

pub(crate) const SITE: u8 = 100;
pub(crate) const GATEWAY: u8 = 101;
pub(crate) const PUBLISHER: u8 = 102;
pub(crate) const OPERATOR: u8 = 103;
pub(crate) const REGISTRY: u8 = 104;

pub(crate) const FAR: u64 = 4_000_000_000;

fn role(n: u8) -> Role {
    match n {
        GATEWAY => Role::Gateway,
        PUBLISHER => Role::Publisher,
        OPERATOR => Role::Operator,
        REGISTRY => Role::Registry,
        _ => Role::Node,
    }
}

/// The credential of a party; nodes are called as their [`Site`] calls them.
pub(crate) fn credential(n: u8) -> Vec<u8> {
    let mut buf = [0; 128];
    let subject = if role(n) == Role::Node { "node" } else { "other" };
    let len = Credential::encode(name(subject), &key(n).public_key(), &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A signed roster of these parties.
pub(crate) fn roster(version: u32, members: &[u8]) -> Vec<u8> {
    let members: Vec<_> = members.iter().map(|n| (*n, role(*n), FAR)).collect();
    roster_with(version, &members)
}

pub(crate) fn roster_with(version: u32, members: &[(u8, Role, u64)]) -> Vec<u8> {
    signed_roster("greenhouse", SITE, version, members)
}

pub(crate) fn signed_roster(
    site: &str,
    signer: u8,
    version: u32,
    members: &[(u8, Role, u64)],
) -> Vec<u8> {
    let credentials: Vec<_> = members.iter().map(|(n, ..)| credential(*n)).collect();
    let mut entries: Vec<_> = credentials
        .iter()
        .zip(members)
        .map(|(bytes, (_, role, expires))| {
            let credential = Credential::parse(bytes).unwrap();
            Entry { role: *role, expires: *expires, credential }
        })
        .collect();
    entries.sort_by_key(Entry::id);
    entries.dedup_by_key(|entry| entry.id());
    let mut buf = vec![0; 70_000];
    let mut writer = EntriesWriter::new(&mut buf);
    for entry in &entries {
        writer.push(entry).unwrap();
    }
    let head = writer.head(name(site), Revision(version), 1_790_000_000);
    let mut out = vec![0; 70_000];
    let len = writer.sign(&head, &key(signer), &mut out).unwrap();
    out[..len].to_vec()
}

/// A signed plan for a node, with rows for these capsules.
pub(crate) fn plan(revision: u32, node: NodeId, signer: u8, rows: &[(Digest, bool)]) -> Vec<u8> {
    let rows: Vec<_> = (1..)
        .zip(rows)
        .map(|(instance, (capsule, rollback))| Assignment {
            instance: InstanceId(instance),
            epoch: Epoch(1),
            capsule: *capsule,
            pipeline: name("air"),
            name: name("clean"),
            replica: 0,
            lease_ms: None,
            failover: Failover::Restart,
            checkpoint_ms: None,
            rollback: *rollback,
            config: None,
            inbound: List::EMPTY,
            outbound: List::EMPTY,
            peers: List::EMPTY,
        })
        .collect();
    let plan = Plan {
        format: format::PLAN,
        site: name("greenhouse"),
        revision: Revision(revision),
        node,
        routes: List::EMPTY,
        assignments: List::new(&rows).unwrap(),
    };
    let (mut scratch, mut buf) = (vec![0; 8_192], vec![0; 8_192]);
    let len = plan.sign(&key(signer), &mut scratch, &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A capsule: what its publisher has made of a module.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) envelope: Vec<u8>,
    pub(crate) module: BlobRef,
    pub(crate) pieces: Pieces,
    /// The module with its pages behind it.
    pub(crate) stored: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) sequence: u64,
    pub(crate) size: usize,
    pub(crate) chunk_log2: u8,
    pub(crate) ram: u32,
    pub(crate) signer: u8,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "city/clean",
            sequence: 7,
            size: 5_000,
            chunk_log2: 10,
            ram: 5_000,
            signer: PUBLISHER,
        }
    }
}

impl Recipe {
    pub(crate) fn make(self) -> Made {
        let content: Vec<u8> =
            (0..self.size).map(|i| (i * 31 % 251) as u8 ^ self.sequence as u8).collect();
        self.make_of(&content)
    }

    pub(crate) fn make_of(self, content: &[u8]) -> Made {
        let pieces = Pieces::new(content.len() as u32, self.chunk_log2).unwrap();
        let mut pages = Pages::new(content.len() as u32, self.chunk_log2).unwrap();
        let mut stored = content.to_vec();
        stored.resize(pieces.stored_size() as usize, 0);
        for chunk in content.chunks(1 << self.chunk_log2) {
            for entry in pages.push(chunk).unwrap() {
                stored[entry.offset as usize..][..32].copy_from_slice(entry.digest.as_bytes());
            }
        }
        let module = pages.finish().unwrap();
        self.sign(module, module.digest, pieces, stored)
    }

    /// The same with another digest of the module, signed by a publisher who lies.
    pub(crate) fn make_signed(self, made: Made, digest: Digest) -> Made {
        let module = BlobRef { digest, ..made.module };
        self.sign(module, digest, made.pieces, made.stored)
    }

    fn sign(self, module: BlobRef, digest: Digest, pieces: Pieces, stored: Vec<u8>) -> Made {
        let manifest = Manifest {
            sequence: self.sequence,
            name: CapsuleName::new(self.name).unwrap(),
            module_digest: digest,
            module_size: module.size,
            uri: None,
            capsule: Capsule {
                format: format::CAPSULE,
                version: Tag::new("1.0.0").unwrap(),
                abi: 1,
                chunk_log2: self.chunk_log2,
                root: module.root,
                needs: Needs {
                    memory: 1_024,
                    ram: self.ram,
                    fuel_per_second: 1_000,
                    fuel_per_handler: 1_000,
                    outbox_bytes: 64,
                    outbox_entries: 2,
                    timers: 1,
                    table_elements: 0,
                },
                schemas: List::EMPTY,
                inputs: List::EMPTY,
                outputs: List::EMPTY,
                sensors: List::EMPTY,
                actuators: List::EMPTY,
                sources: List::EMPTY,
                peers: List::EMPTY,
                services: List::EMPTY,
                config: List::EMPTY,
                state: None,
            },
        };
        let mut buf = [0; 2_048];
        let len = manifest.sign(&key(self.signer), &mut buf).unwrap();
        Made { envelope: buf[..len].to_vec(), module, pieces, stored }
    }
}

impl Made {
    pub(crate) fn digest(&self) -> Digest {
        Manifest::digest(&self.envelope)
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.stored[..self.module.size as usize]
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        let mut file = bundle::head(self.envelope.len()).unwrap().to_vec();
        file.extend(&self.envelope);
        for piece in BundlePieces::of(&self.module).unwrap() {
            let at = self.pieces.offset(piece.number) as usize;
            file.extend(&self.stored[at..][..usize::from(piece.len)]);
        }
        file
    }
}

/// Peers by their address.
pub(crate) struct ByAddress(pub(crate) BTreeMap<SocketAddr, Member>);

impl ByAddress {
    fn peer(&self, address: SocketAddr) -> Peer {
        self.0.get(&address).map_or(Peer::Anonymous(address), |member| Peer::Member(*member))
    }
}

impl Security for ByAddress {
    type Peer = Peer;
    type Binding = ();

    const AUTHENTICATES: bool = true;
    const OVERHEAD: usize = 0;

    fn address(&self, peer: Peer) -> Option<SocketAddr> {
        match peer {
            Peer::Anonymous(address) => Some(address),
            Peer::Member(member) => {
                self.0.iter().find(|(_, known)| known.id == member.id).map(|(at, _)| *at)
            }
        }
    }

    fn readiness(&self) -> u32 {
        0
    }

    fn open_request<'b>(
        &mut self,
        _: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        _: &'b mut [u8],
    ) -> Opening<'b, Peer, ()> {
        Opening::Request { peer: self.peer(from), binding: (), inner: outer }
    }

    fn seal_response(
        &mut self,
        _: Instant,
        (): &(),
        _: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        copy(inner, out)
    }

    fn seal_request(
        &mut self,
        _: Instant,
        to: Peer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<()>, SealError> {
        let address = self.address(to).ok_or(SealError::NoPeer)?;
        Ok(Sealed { len: copy(inner, out)?, address, binding: () })
    }

    fn reopen_request(
        &mut self,
        (): &(),
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        copy(outer, out)
    }

    fn open_response<'b>(
        &mut self,
        _: Instant,
        _: SocketAddr,
        to: Peer,
        (): &mut (),
        outer: Message<'b>,
        _: &'b mut [u8],
    ) -> OpenedResponse<'b, Peer> {
        OpenedResponse::Response { peer: to, inner: outer, ordered: false }
    }

    fn is_address_verified(&self, _: Peer, _: SocketAddr) -> bool {
        true
    }
}

fn copy(message: Message<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    let bytes = message.as_bytes();
    out.get_mut(..bytes.len()).ok_or(SealError::Overflow)?.copy_from_slice(bytes);
    Ok(bytes.len())
}

/// A board with so much RAM, whose host refuses modules that begin with a zero.
pub(crate) struct SmallBoard {
    pub(crate) ram: u32,
}

impl Board for SmallBoard {
    fn fits(&self, manifest: &Manifest<'_>) -> Result<(), Reason> {
        let needs = manifest.capsule.needs.ram;
        if needs > self.ram {
            let words = format_args!("it needs {needs} of {} bytes of RAM", self.ram);
            return Err(Reason::new(ErrorCode::NoRam).because(words));
        }
        Ok(())
    }

    fn admit(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), Reason> {
        assert_eq!(Digest::of(module), manifest.module_digest, "admission comes last");
        match module.first() {
            Some(0) => Err(Reason::new(ErrorCode::InvalidModule).because("imports env.fork")),
            _ => Ok(()),
        }
    }
}

/// Blobs that a party gives out, beside what its flash holds: a registry's, or a liar's.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    blobs: BTreeMap<Digest, (Pieces, Vec<u8>)>,
}

impl Shelf {
    pub(crate) fn put(&mut self, digest: Digest, pieces: Pieces, stored: Vec<u8>) {
        self.blobs.insert(digest, (pieces, stored));
    }

    pub(crate) fn document(&mut self, digest: Digest, bytes: Vec<u8>) {
        let pieces = Pieces::new(bytes.len() as u32, 11).unwrap();
        self.put(digest, pieces, bytes);
    }

    pub(crate) fn capsule(&mut self, made: &Made) {
        self.document(made.digest(), made.envelope.clone());
        self.put(made.module.digest, made.pieces, made.stored.clone());
    }
}

impl BlobStore for Shelf {
    fn held(&self, digest: &Digest) -> Held {
        self.blobs.get(digest).map_or(Held::Nothing, |(pieces, _)| Held::Whole(*pieces))
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        self.blobs.contains_key(digest)
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let (_, stored) = self.blobs.get(digest).ok_or(ReadError::Failed)?;
        buf.copy_from_slice(&stored[offset as usize..][..buf.len()]);
        Ok(())
    }
}

type Core = Endpoint<ByAddress, MTU, 24, 12, 2, 128, 16_384>;

/// A request with bodies, as an operator or a gateway makes it.
pub(crate) struct Asking {
    method: Code,
    path: String,
    query: Option<String>,
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
    server: Server<Peer, 2, 4, 64>,
    serve: Serve<Peer, 8>,
    pub(crate) nor: Nor,
    pub(crate) store: Store,
    pub(crate) site: Site,
    pub(crate) install: Install,
    pub(crate) board: SmallBoard,
    pub(crate) shelf: Shelf,
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
            board: SmallBoard { ram: 20_000 },
            shelf: Shelf::default(),
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
        self.next_request(now);
        let hashes = self.install.poll_timeout().is_some_and(|at| at <= now)
            || self.site.poll_timeout().is_some_and(|at| at <= now);
        has_moved | self.operate(now) | hashes
    }

    /// One operation of flash, if it is time.
    fn operate(&mut self, now: Instant) -> bool {
        if self.flash_busy.is_some_and(|until| now < until) {
            return false;
        }
        let op = match self.store.poll(self.nor.bytes()) {
            None => return false,
            Some(Op::Erase { at }) => (at, None),
            Some(Op::Program { at, bytes }) => (at, Some(bytes.to_vec())),
        };
        let op = match &op {
            (at, None) => Op::Erase { at: *at },
            (at, Some(bytes)) => Op::Program { at: *at, bytes },
        };
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
                let mut resource = BlobResource::new(&mut self.serve, &blobs, |_| Ok(()));
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
