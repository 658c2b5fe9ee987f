//! Who has the capsules: what a registry does for nodes and gateways.

use crate::capsules::Packed;
use crate::site::{Dice, REGISTRY, identity, roster};
use crate::world::MTU;
use capmesh_blob::serve::{Held, Rate, ReadError};
use capmesh_blob::{Geometry, Serve, Store};
use capmesh_coap::Code;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config, Endpoint, Via};
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route, Server, ServerConfig};
use capmesh_gateway::endpoint::Members;
use capmesh_session::{Peer, Replaceable, SecureEndpoint, Sessions};
use capmesh_transfer::BlobResource;
use capmesh_wire::registry::Resolved;
use capmesh_wire::{Digest, Instant, Revision, Roster, cbor, paths};
use std::collections::BTreeMap;
use std::net::SocketAddr;

type Core = SecureEndpoint<Sessions<Members, Dice, 32, 8>, MTU, 32, 32, 4, 256, 65_536>;

/// Who has the capsules.
#[derive(Debug)]
pub struct Registry {
    pub(crate) core: Box<Core>,
    server: Box<Server<Peer, 2, 4, 16_384>>,
    serve: Serve<Peer, 32>,
    shelf: Shelf,
    /// Pieces that were asked for.
    pub served: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    blobs: BTreeMap<[u8; 32], (Geometry, Vec<u8>)>,
    tags: BTreeMap<String, Digest>,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = Dice(seed ^ 0x7e61);
        let mut members = Members::default();
        members.replace(&Roster::from_trusted(&roster()).unwrap());
        let config = capmesh_session::Config::for_host();
        let sessions = Sessions::new(Instant::ZERO, config, identity(REGISTRY), members, dice);
        let config = Config { nstart: 8, ..Config::default() };
        Self {
            core: Box::new(SecureEndpoint::new(Endpoint::new(config, sessions, [7; 16]))),
            server: Box::new(Server::new(ServerConfig::default(), EchoKey::new([8; 16]))),
            serve: Serve::new(Rate::default()),
            shelf: Shelf::default(),
            served: 0,
        }
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

    pub(crate) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut scratch = [0; MTU];
        let event = self.core.handle(now, from, Via::Unicast, bytes, &mut scratch);
        let Some(event) = event else { return };
        let mut roster = None;
        let Self { core, server, serve, shelf, served, .. } = self;
        let mut tags = Tags { tags: &shelf.tags };
        let counted = Counted { shelf, served: std::cell::Cell::new(0) };
        let mut blobs = BlobResource::new(serve, &counted, |_| Ok(()));
        let mut documents = Documents { roster: &mut roster };
        let mut routes = [
            Route::at(paths::TAGS, &mut tags),
            Route::below(paths::BLOBS, &mut blobs),
            Route::at(paths::ROSTER, &mut documents),
        ];
        server.handle(now, &mut **core, &mut routes, event, &mut vec![0; 2 * MTU]);
        *served += counted.served.get();
        if let Some(roster) = roster.as_ref().and_then(|bytes| Roster::from_trusted(bytes).ok()) {
            core.sessions_mut().roster_mut().replace(&roster);
            core.sessions_mut().revalidate(now);
        }
    }
}

struct Tags<'a> {
    tags: &'a BTreeMap<String, Digest>,
}

impl Resource<Peer> for Tags<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        let tag = request.query("t").ok_or(Code::BAD_REQUEST)?;
        let capsule = *self.tags.get(tag).ok_or(Code::NOT_FOUND)?;
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

struct Counted<'a> {
    shelf: &'a Shelf,
    served: std::cell::Cell<u64>,
}

impl Store for Counted<'_> {
    fn held(&self, digest: &Digest) -> Held {
        let blob = self.shelf.blobs.get(digest.as_bytes());
        blob.map_or(Held::Nothing, |(geometry, _)| Held::Whole(*geometry))
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        self.shelf.blobs.contains_key(digest.as_bytes())
    }

    fn read(&self, digest: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let (_, stored) = self.shelf.blobs.get(digest.as_bytes()).ok_or(ReadError::Failed)?;
        let bytes = stored.get(offset as usize..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(ReadError::Failed)?);
        self.served.set(self.served.get() + 1);
        Ok(())
    }
}
