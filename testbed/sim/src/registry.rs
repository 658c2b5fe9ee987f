//! Who has the capsules: what a registry does for nodes and gateways.

use crate::capsules::Packed;
use crate::clock::Clock;
use crate::site::{Dice, REGISTRY, identity, roster};
use crate::world::MTU;
use capmesh_blob::serve::{Held, Rate, ReadError};
use capmesh_blob::{Geometry, Serve, Store};
use capmesh_coap::Code;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{self, Config, Endpoint, Via};
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route, Server, ServerConfig};
use capmesh_gateway::endpoint::Members;
use capmesh_session::{Peer, Replaceable, SecureEndpoint, Sessions};
use capmesh_transfer::BlobResource;
use capmesh_transfer::said::{self, Heard, Rank, Speaker};
use capmesh_wire::registry::Resolved;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, Digest, Instant, Revision, Roster, cbor, paths};
use rand_core::RngCore;
use std::collections::BTreeMap;
use std::net::SocketAddr;

type Core =
    SecureEndpoint<Sessions<Members, Dice, 32, 8>, MTU, 32, { 32 * (MTU + 4) }, 32, 4, 256, 65_536>;

/// Who has the capsules.
#[derive(Debug)]
pub struct Registry {
    core: Option<Box<Core>>,
    /// Its clock, which begins anew at each start.
    pub clock: Clock,
    ppm: i32,
    pub(crate) roster: Vec<u8>,
    seed: u64,
    /// How often it has started.
    pub starts: u64,
    server: Box<Server<Peer, 2, 4, 16_384>>,
    serve: Serve<Peer, 32>,
    shelf: Shelf,
    /// Says capsules to all on its link, if it is told to.
    speaker: Option<(SocketAddr, Speaker)>,
    /// Pieces that were asked for.
    pub served: u64,
    /// The references that were asked for, and when.
    pub resolved: Vec<(Instant, String)>,
}

#[derive(Debug, Default)]
struct Shelf {
    blobs: BTreeMap<[u8; 32], (Geometry, Vec<u8>)>,
    tags: BTreeMap<String, Digest>,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            core: None,
            clock: Clock::new(Instant::ZERO, Instant::ZERO),
            ppm: 0,
            roster: roster(0),
            seed,
            starts: 0,
            server: Box::new(Server::new(ServerConfig::default(), EchoKey::new([8; 16]))),
            serve: Serve::new(Rate::default()),
            shelf: Shelf::default(),
            speaker: None,
            served: 0,
            resolved: Vec::new(),
        }
    }

    /// Starts with the capsules and the roster that it has.
    pub(crate) fn start(&mut self, world: Instant) {
        self.starts += 1;
        let mut dice = Dice(self.seed).fork(self.starts);
        self.clock = Clock::new(world, Instant::from_micros(dice.below(1_000_000)));
        self.clock.drift(world, self.ppm);
        let mut members = Members::default();
        members.replace(&Roster::from_trusted(&self.roster).unwrap());
        let mut seed = [0; 16];
        dice.fill_bytes(&mut seed);
        let config = capmesh_session::Config::for_host();
        let now = self.clock.local(world);
        let sessions = Sessions::new(now, config, identity(REGISTRY), members, dice);
        let config = Config { nstart: 8, ..Config::default() };
        self.core = Some(Box::new(SecureEndpoint::new(Endpoint::new(config, sessions, seed))));
        *self.server = Server::new(ServerConfig::default(), EchoKey::new([8; 16]));
        self.serve = Serve::new(Rate::default());
    }

    /// Is on a radio with all who hear this group.
    pub fn speak(&mut self, group: SocketAddr) {
        let config = said::Config::radio(Rank::Registry);
        self.speaker = Some((group, Speaker::new(config, self.seed)));
    }

    /// Is killed: sessions are lost.
    pub(crate) fn kill(&mut self) {
        self.core = None;
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.core.is_some()
    }

    /// Its clock runs too fast by so many millionths.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i32) {
        self.ppm = ppm;
        self.clock.drift(now, ppm);
    }

    /// When it wants to be polled, in the world's time.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let said = self.speaker.as_ref().and_then(|(_, speaker)| speaker.poll_timeout());
        let next = self.core.as_ref()?.poll_timeout().into_iter().chain(said).min()?;
        Some(self.clock.world(next))
    }

    /// Lets it do what is to be done now. Gives datagrams to `post`.
    pub(crate) fn flush(&mut self, world: Instant, mut post: impl FnMut(SocketAddr, &[u8])) {
        let now = self.clock.local(world);
        let mut buf = [0; MTU];
        while let Some(output) = self.core.as_mut().and_then(|core| core.poll(now, &mut buf)) {
            if let endpoint::Output::Transmit { to, len } = output {
                post(to, &buf[..len]);
            }
        }
        let Some((group, speaker)) = self.speaker.as_mut().filter(|_| self.core.is_some()) else {
            return;
        };
        while let Some(len) = speaker.poll(now, &self.shelf, &mut [0; said::PIECE], &mut buf) {
            post(*group, &buf[..len]);
        }
    }

    /// Whether a tag stands for something.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        self.shelf.tags.contains_key(tag)
    }

    /// Takes a capsule, and has a tag stand for it.
    pub fn push(&mut self, tag: &str, capsule: &Packed) {
        let digest = capsule.digest();
        let size = u32::try_from(capsule.manifest.len()).unwrap();
        let document = Geometry::new(size, 12).unwrap();
        self.shelf.blobs.insert(*digest.as_bytes(), (document, capsule.manifest.clone()));
        let module = (capsule.geometry, capsule.stored.clone());
        self.shelf.blobs.insert(*capsule.blob.digest.as_bytes(), module);
        self.shelf.tags.insert(tag.to_owned(), digest);
    }

    /// It has lost all capsules.
    pub fn forget_all(&mut self) {
        self.shelf.blobs.clear();
        self.shelf.tags.clear();
    }

    pub(crate) fn datagram(&mut self, world: Instant, from: SocketAddr, via: Via, bytes: &[u8]) {
        let now = self.clock.local(world);
        let Self { core, server, serve, shelf, served, resolved, speaker, .. } = self;
        let Some(core) = core else { return };
        if via == Via::Multicast
            && let Some(heard) = said::read(bytes)
        {
            let Some((_, speaker)) = speaker else { return };
            match heard {
                Heard::Part(part) => speaker.heard_part(now, &part),
                Heard::Ask(ask) => {
                    speaker.heard_ask(now, &ask, &*shelf);
                }
            }
            return;
        }
        let mut scratch = [0; MTU];
        let event = core.handle(now, from, via, bytes, &mut scratch);
        let Some(event) = event else { return };
        let mut roster = None;
        let mut tags = Tags { tags: &shelf.tags, now: world, resolved };
        let counted = Counted { shelf, served: std::cell::Cell::new(0) };
        let blobs = BlobResource::new(serve, &counted, |_| Ok(()));
        let mut blobs = blobs.speaking(speaker.as_mut().map(|(_, speaker)| speaker));
        let mut documents = Documents { roster: &mut roster };
        let mut routes = [
            Route::at(paths::TAGS, &mut tags),
            Route::below(paths::BLOBS, &mut blobs),
            Route::at(paths::ROSTER, &mut documents),
        ];
        server.handle(now, &mut **core, &mut routes, event, &mut vec![0; 2 * MTU]);
        *served += counted.served.get();
        let Some(bytes) = roster else { return };
        if let Ok(roster) = Roster::from_trusted(&bytes) {
            core.sessions_mut().roster_mut().replace(&roster);
            core.sessions_mut().revalidate(now);
            self.roster = bytes;
        }
    }
}

struct Tags<'a> {
    tags: &'a BTreeMap<String, Digest>,
    now: Instant,
    resolved: &'a mut Vec<(Instant, String)>,
}

impl Tags<'_> {
    /// What a reference by tag or by digest stands for.
    fn resolve(&self, text: &str) -> Option<Digest> {
        let reference = CapsuleRef::try_from(text).ok()?;
        match reference.version {
            CapsuleVersion::Tag(_) => self.tags.get(text).copied(),
            CapsuleVersion::Digest(digest) => {
                let of_name = |tag: &String| tag.split(':').next() == Some(reference.name.as_str());
                let mut known = self.tags.iter().filter(|(tag, _)| of_name(tag));
                known.any(|(_, known)| *known == digest).then_some(digest)
            }
        }
    }
}

impl Resource<Peer> for Tags<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        let tag = request.query("t").ok_or(Code::BAD_REQUEST)?;
        self.resolved.push((self.now, tag.to_owned()));
        let capsule = self.resolve(tag).ok_or(Code::NOT_FOUND)?;
        let mut buf = [0; 64];
        let len = cbor::encode(&Resolved { capsule, revision: Revision(1) }, &mut buf).unwrap();
        reply.content_format(60).write(&buf[..len]);
        Ok(Done::Content)
    }
}

struct Documents<'a> {
    roster: &'a mut Option<Vec<u8>>,
}

impl Resource<Peer> for Documents<'_> {
    fn put(&mut self, request: &Request<'_, Peer>, _: &mut Reply<'_>) -> Handled {
        *self.roster = Some(request.body().to_vec());
        Ok(Done::Changed)
    }
}

impl Store for Shelf {
    fn held(&self, digest: &Digest) -> Held {
        let blob = self.blobs.get(digest.as_bytes());
        blob.map_or(Held::Nothing, |(geometry, _)| Held::Whole(*geometry))
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        self.blobs.contains_key(digest.as_bytes())
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let (_, stored) = self.blobs.get(digest.as_bytes()).ok_or(ReadError::Failed)?;
        let bytes = stored.get(offset as usize..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(ReadError::Failed)?);
        Ok(())
    }
}

struct Counted<'a> {
    shelf: &'a Shelf,
    served: std::cell::Cell<u64>,
}

impl Store for Counted<'_> {
    fn held(&self, digest: &Digest) -> Held {
        self.shelf.held(digest)
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        self.shelf.has(digest, piece)
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        self.shelf.read(digest, offset, buf)?;
        self.served.set(self.served.get() + 1);
        Ok(())
    }
}
