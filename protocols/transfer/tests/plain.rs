//! A blob goes from those who have it to one who has not, over CoAP without security, with blocks of
//! several sizes and a bad link.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use capmesh_blob::fetch::{Config as FetchConfig, Fetch, Holdings, Input};
use capmesh_blob::mapping::PREFIX;
use capmesh_blob::serve::{Held, Rate, ReadError, Serve, Store};
use capmesh_blob::{Geometry, Pages};
use capmesh_coap::block::BlockSize;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config, Event, Output, Via};
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_coap::{Code, Endpoint};
use capmesh_transfer::{BlobResource, Fetcher, Step};
use capmesh_wire::{BlobRef, Digest, Instant};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

type Core<const MTU: usize> = Endpoint<Plain, MTU, 16, 20_544, 8, 1, 64, 8_192>;

/// A blob with its pages, and how often and how much of it was read.
#[derive(Clone)]
struct Stored {
    blob: BlobRef,
    geometry: Geometry,
    bytes: Vec<u8>,
    has: fn(u16) -> bool,
    whole: bool,
    read: Cell<usize>,
}

impl Stored {
    fn new(size: usize) -> Self {
        let mut bytes: Vec<u8> = (0_u8..251).cycle().take(size).collect();
        let size = u32::try_from(size).unwrap();
        let geometry = Geometry::new(size, 10).unwrap();
        let mut pages = Pages::new(size, 10).unwrap();
        let entries: Vec<_> =
            bytes.chunks(1024).flat_map(|chunk| pages.push(chunk).unwrap()).collect();
        bytes.resize(geometry.stored_size() as usize, 0);
        for entry in entries {
            bytes[entry.offset as usize..][..32].copy_from_slice(entry.digest.as_bytes());
        }
        let blob = pages.finish().unwrap();
        Self { blob, geometry, bytes, has: |_| true, whole: true, read: Cell::new(0) }
    }
}

impl Store for Stored {
    fn held(&self, digest: &Digest) -> Held {
        match (*digest == self.blob.digest, self.whole) {
            (false, _) => Held::Nothing,
            (true, true) => Held::Whole(self.geometry),
            (true, false) => Held::Part(self.geometry),
        }
    }

    fn has(&self, _: &Digest, piece: u16) -> bool {
        (self.has)(piece)
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        self.read.set(self.read.get() + buf.len());
        buf.copy_from_slice(&self.bytes[offset as usize..][..buf.len()]);
        Ok(())
    }
}

/// One that has the blob, one that wants it, or both.
struct Node<const MTU: usize> {
    core: Box<Core<MTU>>,
    server: Server<SocketAddr, 1, 1, 64>,
    serve: Serve<SocketAddr, 4>,
    store: Stored,
    allow: fn(SocketAddr) -> Result<(), Code>,
    wants: Option<Wants>,
}

struct Wants {
    fetcher: Fetcher<SocketAddr>,
    flash: Vec<u8>,
    ended: Option<bool>,
}

impl<const MTU: usize> Node<MTU> {
    fn new(store: Stored, seed: u64) -> Self {
        // 1,024 bytes for each 60 that ask: without security, that is a matter of trust.
        let config = Config { nstart: 4, amplification: 0, ..Config::default() };
        let mut dice = Dice::new(seed);
        let block = BlockSize::at_most(MTU - 100).unwrap();
        let server = ServerConfig { block, ..ServerConfig::default() };
        Self {
            core: Box::new(Core::new(config, Plain, dice.seed())),
            server: Server::new(server, EchoKey::new(dice.seed())),
            serve: Serve::new(Rate::default()),
            store,
            allow: |_| Ok(()),
            wants: None,
        }
    }

    fn want(&mut self, now: Instant, block: usize, from: &[SocketAddr]) {
        let blob = self.store.blob;
        let fetch = Fetch::new(now, FetchConfig::default(), &blob, 1).unwrap();
        let block = BlockSize::at_most(block).unwrap();
        let mut fetcher = Fetcher::new(fetch, blob.digest, block);
        for peer in from {
            let input = Input::PeerUp { peer: *peer, rank: 0, holdings: Holdings::Unknown };
            fetcher.handle(now, input);
        }
        let flash = vec![0; self.store.bytes.len()];
        self.store.has = |_| false;
        self.store.whole = false;
        self.wants = Some(Wants { fetcher, flash, ended: None });
    }

    fn is_done(&self) -> bool {
        let wants = self.wants.as_ref().unwrap();
        wants.ended == Some(true)
            && (0..self.store.geometry.pieces()).all(|piece| {
                let at = self.store.geometry.offset(piece) as usize;
                let end = at + usize::from(self.store.geometry.len(piece));
                wants.flash[at..end] == self.store.bytes[at..end]
            })
    }
}

impl Wants {
    fn step(&mut self, now: Instant, endpoint: &mut Core<{ LARGE }>) -> bool {
        let input = match self.fetcher.poll(now, endpoint) {
            None => return false,
            Some(Step::Write { piece, offset, bytes }) => {
                self.flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                Input::Written { piece }
            }
            Some(Step::Read { offset, len }) => {
                let bytes = self.flash[offset as usize..][..usize::from(len)].to_vec();
                self.fetcher.handle(now, Input::Read { offset, bytes: &bytes });
                return true;
            }
            Some(Step::Ended(result)) => {
                self.ended = Some(result.is_ok());
                return true;
            }
            Some(_) => return true,
        };
        self.fetcher.handle(now, input);
        true
    }
}

const LARGE: usize = 1280;

impl Machine for Node<LARGE> {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; LARGE];
        let mut buf = [0; LARGE];
        let Some(event) = self.core.handle(now, from, via, datagram, &mut scratch) else { return };
        let mut blobs = BlobResource::new(&mut self.serve, &self.store, self.allow);
        let mut routes = [Route::below(PREFIX, &mut blobs)];
        let rest = self.server.handle(now, &mut *self.core, &mut routes, event, &mut buf);
        if let Some(Event::Response { exchange, message, .. }) = rest {
            let wants = self.wants.as_mut().unwrap();
            assert!(wants.fetcher.response(now, exchange, message));
            while wants.step(now, &mut self.core) {}
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            if let Some(wants) = &mut self.wants {
                while wants.step(now, &mut self.core) {}
            }
            match self.core.poll(now, buf)? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(outcome) => {
                    assert!(self.wants.as_mut().unwrap().fetcher.outcome(now, &outcome));
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let fetch = self.wants.as_ref().and_then(|wants| wants.fetcher.poll_timeout());
        self.core.poll_timeout().into_iter().chain(fetch).min()
    }
}

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5683 + n))
}

/// Node 0 wants the blob, the others have it.
fn world(seed: u64, servers: u16, block: usize, faults: Faults) -> World<Node<LARGE>> {
    let store = Stored::new(40_000);
    let mut world = World::new(seed, faults);
    let others: Vec<_> = (1..=servers).map(address).collect();
    for at in &others {
        world.machines.insert(*at, Node::new(store.clone(), seed + u64::from(at.port())));
    }
    let mut node = Node::new(store, seed);
    node.want(world.now, block, &others);
    world.machines.insert(address(0), node);
    world
}

fn run(world: &mut World<Node<LARGE>>) -> bool {
    while world.machine(address(0)).wants.as_ref().unwrap().ended.is_none() {
        assert!(world.step(), "it rests without an end");
    }
    world.machine(address(0)).is_done()
}

#[test]
fn a_blob_arrives_with_one_request_for_each_piece() {
    let mut world = world(1, 1, 1024, Faults::NONE);
    assert!(run(&mut world));
    // 40 chunks, 2 pages, the top page, and the holdings; as many responses.
    assert_eq!(world.sent.len(), 2 * 44);
    assert!(world.sent.iter().all(|(_, datagram)| datagram.bytes.len() <= 1024 + 32));
    assert_eq!(world.machine(address(1)).store.read.get(), 40_000 + 42 * 32);
}

#[test]
fn pieces_go_in_blocks_where_datagrams_are_small_and_are_read_once() {
    for block in [64, 256, 512] {
        let mut world = world(1, 2, block, Faults::NONE);
        assert!(run(&mut world));
        assert!(world.sent.iter().all(|(_, datagram)| datagram.bytes.len() <= block + 70));
        let read = [1, 2].map(|n| world.machine(address(n)).store.read.get());
        // Nothing but a few first blocks, which came before it was known that there are blocks.
        let twice = read.iter().sum::<usize>() - (40_000 + 42 * 32);
        assert!(twice <= 8 * block, "{twice} bytes in blocks of {block}");
    }
}

#[test]
fn a_bad_link_makes_it_slower_and_no_worse() {
    let delay = Duration::from_millis(5)..Duration::from_millis(400);
    let faults = Faults { loss: 30, duplication: 20, delay };
    for seed in 0..6 {
        let mut world = world(seed, 1 + u16::try_from(seed % 3).unwrap(), 1024, faults.clone());
        assert!(run(&mut world), "seed {seed}");
    }
}

#[test]
fn those_who_may_not_are_told_so_and_the_transfer_stalls() {
    let mut world = world(1, 1, 1024, Faults::NONE);
    world.machine(address(1)).allow = |_| Err(Code::FORBIDDEN);
    assert!(!run(&mut world));
    let codes: Vec<_> = world.sent.iter().map(|(_, datagram)| datagram.bytes[1]).collect();
    assert_eq!(codes, [Code::GET.0, Code::FORBIDDEN.0]);
}

#[test]
fn what_is_held_in_part_is_fetched_from_whoever_has_it() {
    let mut world = world(1, 2, 1024, Faults::NONE);
    for (n, has) in [(1, (|piece| piece % 2 == 0) as fn(u16) -> bool), (2, |piece| piece % 2 == 1)]
    {
        let node = world.machine(address(n));
        node.store.whole = false;
        node.store.has = has;
    }
    assert!(run(&mut world));
}

#[test]
fn what_no_blob_is_called_is_not_found() {
    let store = Stored::new(3_000);
    let mut node = Node::<LARGE>::new(store.clone(), 1);
    let mut client = Core::<LARGE>::new(Config::default(), Plain, [1; 16]);
    let name = capmesh_blob::mapping::Name::of(&store.blob.digest);
    let (mut buf, mut scratch) = ([0; LARGE], [0; LARGE]);
    for (path, code) in [
        (format!("b/{}/0", name.as_str()), Code::CONTENT),
        (format!("b/{}", name.as_str()), Code::CONTENT),
        (format!("b/{}/4", name.as_str()), Code::NOT_FOUND),
        (format!("b/{}/00", name.as_str()), Code::NOT_FOUND),
        (format!("b/{}/0/0", name.as_str()), Code::NOT_FOUND),
        ("b/AAAA/0".into(), Code::NOT_FOUND),
        ("b".into(), Code::NOT_FOUND),
    ] {
        let kind = capmesh_coap::endpoint::Reliability::Confirmable;
        let now = Instant::ZERO;
        client
            .request(now, address(1), kind, Code::GET, |writer| writer.path(&path).map(drop))
            .unwrap();
        let Some(Output::Transmit { len, .. }) = client.poll(now, &mut buf) else { panic!() };
        node.handle(now, address(0), Via::Unicast, &buf[..len]);
        let (_, len) = node.poll(now, &mut buf).unwrap();
        let event = client.handle(now, address(1), Via::Unicast, &buf[..len], &mut scratch);
        let Some(Event::Response { message, .. }) = event else { panic!("{event:?}") };
        assert_eq!(message.code(), code, "{path}");
    }
}
