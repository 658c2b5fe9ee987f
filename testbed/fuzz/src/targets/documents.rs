//! Rosters, plans and bundles that come to a node in blocks, in any order, whole, changed or cut
//! off, while the power goes.
//!
//! Whatever comes, what a node holds is one of the documents that were really signed, never an older
//! one than before, and every module that it holds is the one of its manifest.

use crate::Feed;
use capmesh_blob::{Geometry as Pieces, lay_out};
use capmesh_coap::Endpoint;
use capmesh_coap::block::{BlockSize, BlockValue};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config as EndpointConfig, Output, Via};
use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_node::flash::nor::{Nor, Tear};
use capmesh_node::flash::{Config, Geometry, Store, kinds};
use capmesh_node::install::{Board, CapsulesResource, Install};
use capmesh_node::problem::Reason;
use capmesh_node::site::{self, PlanResource, RosterResource, Site};
use capmesh_node::test_util::ByAddress;
use capmesh_session::{Member, Peer};
use capmesh_wire::bundle::{self, Pieces as BundlePieces};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Capsule, Needs};
use capmesh_wire::plan::Plan;
use capmesh_wire::roster::{Delta, EntriesWriter, Entry};
use capmesh_wire::{
    CapsuleName, Credential, Digest, Instant, List, Manifest, Name, NodeId, Revision, Role, Roster,
    Tag, format,
};
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::LazyLock;

const MTU: usize = 1_200;

/// How many times something may be said in one turn before that counts as a loop.
const MOST_AT_ONCE: usize = 20_000;

const FLASH: Config = Config {
    geometry: Geometry { sector: 1_024, unit: 4, page: 64, rewrites: true },
    log_sectors: 8,
    extent_sectors: 16,
    max_group: 900,
    max_records: 32,
    max_extents: 8,
    queue: 2_000,
    write: 512,
};

const SITE: u8 = 100;
const PUBLISHER: u8 = 99;
const GATEWAY: u8 = 98;
const OPERATOR: u8 = 97;
const NODE: u8 = 1;

/// What is really signed. The key of a party is its number.
struct Signed {
    rosters: [Vec<u8>; 3],
    delta: Vec<u8>,
    plans: [Vec<u8>; 2],
    /// Manifest, module, bundle.
    capsules: [(Vec<u8>, Vec<u8>, Vec<u8>); 2],
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let few = [NODE, PUBLISHER, GATEWAY, OPERATOR];
    let many = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, NODE, PUBLISHER, GATEWAY, OPERATOR];
    let rosters = [roster(1, &few), roster(2, &many), roster(3, &many[1..])];
    let parse = |bytes| Roster::from_trusted(bytes).expect("it is one");
    let mut buf = [0; 1_024];
    let len = Delta::between(&parse(&rosters[1]), &parse(&rosters[2]), &mut buf).expect("it fits");
    let capsules = [capsule(1, 900), capsule(2, 2_000)];
    Signed { delta: buf[..len].to_vec(), plans: [plan(1), plan(2)], capsules, rosters }
});

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).expect("it is a scalar")
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("it is a name")
}

fn role(n: u8) -> Role {
    match n {
        PUBLISHER => Role::Publisher,
        GATEWAY => Role::Gateway,
        OPERATOR => Role::Operator,
        _ => Role::Node,
    }
}

fn credential(n: u8) -> Vec<u8> {
    let mut buf = [0; 128];
    let len = Credential::encode(name("node"), &key(n).public_key(), &mut buf).expect("it fits");
    buf[..len].to_vec()
}

fn roster(version: u32, members: &[u8]) -> Vec<u8> {
    let credentials: Vec<_> = members.iter().map(|n| credential(*n)).collect();
    let entry = |(bytes, n): (&'static [u8], &u8)| Entry {
        role: role(*n),
        expires: u64::MAX,
        credential: Credential::parse(bytes).expect("it is one"),
    };
    let leaked = credentials.into_iter().map(|bytes| &*bytes.leak());
    let mut entries: Vec<_> = leaked.zip(members).map(entry).collect();
    entries.sort_by_key(Entry::id);
    let (mut buf, mut out) = ([0; 4_096], [0; 4_096]);
    let mut writer = EntriesWriter::new(&mut buf);
    for entry in &entries {
        writer.push(entry).expect("it fits");
    }
    let head = writer.head(name("s"), Revision(version), 1);
    let len = writer.sign(&head, &key(SITE), &mut out).expect("it fits");
    out[..len].to_vec()
}

fn plan(revision: u32) -> Vec<u8> {
    let plan = Plan {
        format: format::PLAN,
        site: name("s"),
        revision: Revision(revision),
        node: key(NODE).id(),
        routes: List::EMPTY,
        assignments: List::EMPTY,
    };
    let (mut scratch, mut buf) = ([0; 512], [0; 512]);
    let len = plan.sign(&key(GATEWAY), &mut scratch, &mut buf).expect("it fits");
    buf[..len].to_vec()
}

fn capsule(sequence: u64, size: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let module: Vec<u8> = (1..=251_u8).cycle().take(size as usize).collect();
    let pieces = Pieces::new(size, 8).expect("it is legal");
    let mut stored = module.clone();
    stored.resize(pieces.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, 8).expect("it is legal");
    let needs = Needs {
        memory: 1,
        ram: 1,
        fuel_per_second: 1,
        fuel_per_handler: 1,
        outbox_bytes: 1,
        outbox_entries: 1,
        timers: 0,
        table_elements: 0,
    };
    let description = Capsule::bare(Tag::new("1").expect("it is a tag"), 1, 8, blob.root, needs);
    let manifest = Manifest {
        sequence,
        name: CapsuleName::new("a/b").expect("it is a name"),
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule: description,
    };
    let mut buf = [0; 1_024];
    let len = manifest.sign(&key(PUBLISHER), &mut buf).expect("it fits");
    let mut file = bundle::head(len).expect("it is legal").to_vec();
    file.extend(&buf[..len]);
    for piece in BundlePieces::of(&blob).expect("it is legal") {
        let at = pieces.offset(piece.number) as usize;
        file.extend(&stored[at..][..usize::from(piece.len)]);
    }
    (buf[..len].to_vec(), module, file)
}

/// Those who are taken at their address's word.
const PEERS: [u8; 4] = [GATEWAY, OPERATOR, 2, 3];

fn member(n: u8) -> Member {
    static IDS: LazyLock<[NodeId; 4]> = LazyLock::new(|| PEERS.map(|n| key(n).id()));
    let at = PEERS.iter().position(|known| *known == n).unwrap_or_default();
    Member { id: IDS[at], role: role(n) }
}

fn by_address() -> ByAddress {
    ByAddress(PEERS.iter().enumerate().map(|(at, n)| (address(at), member(*n))).collect())
}

fn address(which: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], u16::try_from(which + 1).unwrap_or(1)))
}

struct Anything;

impl Board for Anything {
    fn fits(&self, _: &Manifest<'_>) -> Result<(), Reason> {
        Ok(())
    }

    fn admit(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), Reason> {
        assert_eq!(manifest.module_digest, Digest::of(module));
        Ok(())
    }

    /// All of them: nothing that came whole goes by itself.
    fn uses(&self, _: &Digest) -> bool {
        true
    }
}

/// A body on its way.
struct Body {
    path: &'static str,
    bytes: Vec<u8>,
    sent: usize,
    size: BlockSize,
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    core: Box<Endpoint<ByAddress, MTU, 6, { 6 * (MTU + 4) }, 8, 1, 16, 4_096>>,
    server: Server<Peer, 1, 3, 64>,
    nor: Nor,
    store: Store,
    site: Site,
    install: Install,
    bodies: [Option<Body>; 4],
    /// After so many operations the power goes.
    cut: Option<u32>,
    id: u16,
    roster: u32,
    plan: u32,
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let mut nor = Nor::new(FLASH.geometry, FLASH.bytes());
    let mut store = Store::mount(nor.bytes(), FLASH);
    let mut group = store.group();
    group.put(kinds::SITE, 0, &credential(SITE)).expect("it fits");
    group.put(kinds::ROSTER, 0, &SIGNED.rosters[0]).expect("it fits");
    group.submit().expect("it fits");
    while operate(&mut nor, &mut store, None).is_some() {}
    let (site, install) = mount(&nor, &mut store, Instant::ZERO);
    let mut world = World {
        feed: Feed::new(data),
        now: Instant::ZERO,
        core: Box::new(Endpoint::new(EndpointConfig::default(), by_address(), [1; 16])),
        server: Server::new(ServerConfig::default(), EchoKey::new([2; 16])),
        nor,
        store,
        site,
        install,
        bodies: [const { None }; 4],
        cut: None,
        id: 0,
        roster: 1,
        plan: 0,
    };
    while !world.feed.is_empty() {
        world.step();
        world.settle();
        world.check();
    }
    // What is under way ends, and the real thing is taken after all that.
    world.cut = None;
    world.now += Duration::from_secs(700);
    world.settle();
    world.bodies[0] =
        Some(Body { path: "r", bytes: SIGNED.rosters[2].clone(), sent: 0, size: BlockSize::MAX });
    while world.bodies[0].is_some() {
        world.send(0, true);
        world.settle();
    }
    world.check();
    assert_eq!(world.roster, 3);
}

fn mount(nor: &Nor, store: &mut Store, now: Instant) -> (Site, Install) {
    let config = site::Config { subject: name("node"), block: BlockSize::MAX };
    let site = Site::mount(nor.bytes(), store, &config, [NODE; 32]).expect("it fits");
    (site, Install::mount(now, nor.bytes(), store, BlockSize::MAX, 7))
}

/// One operation of flash; `None` if there is nothing to do, or if the power is gone.
fn operate(
    nor: &mut Nor,
    store: &mut Store,
    tear: Option<Tear>,
) -> Option<Option<capmesh_node::flash::Done>> {
    let op = store.poll(nor.bytes())?;
    if let Some(tear) = tear {
        nor.tear(op, tear);
        return None;
    }
    let result = nor.apply(op);
    Some(store.flashed(nor.bytes(), result))
}

impl World<'_> {
    fn step(&mut self) {
        let which = self.feed.below(4);
        match self.feed.below(12) {
            0..=2 => self.begin(which),
            3..=7 => {
                let is_next = self.feed.below(16) > 0;
                self.send(which, is_next);
            }
            8 => self.read(which),
            9 => self.now += Duration::from_millis(u64::from(self.feed.word()) * 4),
            10 => self.cut = Some(u32::from(self.feed.byte() % 64)),
            _ => {
                let name = SIGNED.capsules.each_ref().map(|(envelope, ..)| Digest::of(envelope));
                let _ = self.install.remove(&name[which % 2]);
            }
        }
    }

    /// Somebody begins to bring something.
    fn begin(&mut self, which: usize) {
        let signed = &*SIGNED;
        let (path, bytes) = match self.feed.below(8) {
            n @ 0..=2 => ("r", &signed.rosters[n]),
            3 => ("r", &signed.delta),
            n @ 4..=5 => ("p", &signed.plans[n - 4]),
            n => ("x", &signed.capsules[n - 6].2),
        };
        let bytes = if self.feed.below(3) == 0 { self.feed.mutated(bytes) } else { bytes.clone() };
        let size = BlockSize::from_szx(3 + self.feed.byte() % 4).unwrap_or(BlockSize::MAX);
        self.bodies[which] = Some(Body { path, bytes, sent: 0, size });
    }

    /// The next block of it, or another one.
    fn send(&mut self, which: usize, is_next: bool) {
        let skip = if is_next { 0 } else { self.feed.below(4) };
        let Some(body) = &mut self.bodies[which] else { return };
        let size = body.size.bytes() as usize;
        let start = (body.sent + skip * size).min(body.bytes.len() / size * size);
        let end = (start + size).min(body.bytes.len());
        let more = end < body.bytes.len();
        self.id = self.id.wrapping_add(1);
        let mut buf = [0; MTU];
        let token = Token::new(&self.id.to_be_bytes()).expect("it is short");
        let kind = Kind::Confirmable;
        let mut writer =
            MessageWriter::new(&mut buf, kind, Code::PUT, self.id, token).expect("it fits");
        writer.path(body.path).expect("it fits");
        if more || start > 0 {
            let block = BlockValue::at(u32::try_from(start).unwrap_or(0), more, body.size);
            let block = block.expect("it is small");
            block.write(OptionNumber::BLOCK1, &mut writer).expect("it fits");
        }
        writer.payload(&body.bytes[start..end]).expect("it fits");
        let len = writer.finish();
        body.sent = end;
        if !more {
            self.bodies[which] = None;
        }
        self.arrive(which, &buf[..len]);
    }

    fn read(&mut self, which: usize) {
        let mut buf = [0; 128];
        self.id = self.id.wrapping_add(1);
        let kind = Kind::NonConfirmable;
        let mut writer =
            MessageWriter::new(&mut buf, kind, Code::GET, self.id, Token::EMPTY).expect("it fits");
        writer.path(["r", "p", "x"][self.feed.below(3)]).expect("it fits");
        let queries = ["v=1", "v=2", "v=", "v=99999999999"];
        let query = queries[self.feed.below(4)].as_bytes();
        writer.option(OptionNumber::URI_QUERY, query).expect("it fits");
        let len = writer.finish();
        self.arrive(which, &buf[..len]);
    }

    fn arrive(&mut self, which: usize, bytes: &[u8]) {
        let (mut scratch, mut canvas) = ([0; MTU], [0; MTU]);
        let from = address(which);
        let Some(event) = self.core.handle(self.now, from, Via::Unicast, bytes, &mut scratch)
        else {
            return;
        };
        let Self { site, install, store, nor, server, core, .. } = self;
        let flash = nor.bytes();
        let path = Message::parse(bytes)
            .ok()
            .and_then(|m| m.option(OptionNumber::URI_PATH).map(<[u8]>::to_vec));
        let none = |_: &Digest| false;
        match path.as_deref() {
            Some(b"r") => {
                let mut roster = RosterResource::new(site, flash, store);
                let mut routes = [Route::at("r", &mut roster)];
                server.handle(self.now, &mut **core, &mut routes, event, &mut canvas);
            }
            Some(b"p") => {
                let mut plan = PlanResource::new(site, flash, store);
                let mut routes = [Route::at("p", &mut plan)];
                server.handle(self.now, &mut **core, &mut routes, event, &mut canvas);
            }
            _ => {
                let mut capsules = CapsulesResource::new(install, flash, store, &none);
                let mut routes = [Route::below("x", &mut capsules)];
                server.handle(self.now, &mut **core, &mut routes, event, &mut canvas);
            }
        }
    }

    /// Does everything that can be done now.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < MOST_AT_ONCE, "it does not come to rest");
            let Self { site, install, store, nor, core, now, .. } = self;
            let flash = nor.bytes();
            while site.poll(*now, flash, store, &mut **core).is_some() {}
            while install.poll(*now, flash, store, &mut **core, site, &Anything).is_some() {}
            let mut buf = [0; MTU];
            while let Some(output) = core.poll(*now, &mut buf) {
                if let Output::Transmit { len, .. } = output {
                    Message::parse(&buf[..len]).expect("what is sent is a message");
                }
            }
            if self.cut == Some(0) {
                self.cut = None;
                let seed = u64::from(self.feed.word());
                operate(&mut self.nor, &mut self.store, Some(Tear::Bits(seed)));
                self.store = Store::mount(self.nor.bytes(), FLASH);
                (self.site, self.install) = mount(&self.nor, &mut self.store, self.now);
                *self.core = Endpoint::new(EndpointConfig::default(), by_address(), [1; 16]);
                continue;
            }
            match operate(&mut self.nor, &mut self.store, None) {
                Some(done) => {
                    self.cut = self.cut.map(|left| left - 1);
                    if let Some(done) = done {
                        self.site.flashed(self.now, &done);
                        let _ = self.install.flashed(self.now, &done, &mut *self.core);
                    }
                }
                None if self.install.poll_timeout().is_some_and(|at| at <= self.now) => {}
                None => return,
            }
        }
    }

    /// What is held is what was signed, and nothing goes back.
    fn check(&mut self) {
        let (flash, store, signed) = (self.nor.bytes(), &self.store, &*SIGNED);
        let roster = self.site.roster(flash, store).expect("there is one");
        let version = roster.head().version.0;
        assert_eq!(roster.as_bytes(), signed.rosters[version as usize - 1]);
        assert!(version >= self.roster, "from {} to {version}", self.roster);
        self.roster = version;
        let revision = self.site.plan(flash, store).map_or(0, |plan| plan.revision.0);
        assert!(revision >= self.plan && revision <= 2);
        self.plan = revision;
        for digest in self.install.digests() {
            let held = self.install.held(flash, store, &digest).expect("it is held");
            let made = signed.capsules.iter().find(|(envelope, ..)| Digest::of(envelope) == digest);
            let (_, module, _) = made.expect("it was signed");
            assert_eq!(held.module, module);
        }
    }
}
