//! What peers ask of the gateway.

use super::Gateway;
use crate::bridge::InboxResource;
use capmesh_coap::Code;
use capmesh_coap::block::ETag;
use capmesh_coap::endpoint::Event;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route};
use capmesh_session::{Peer, Roles};
use capmesh_transfer::BlobResource;
use capmesh_wire::clock::{TimeReply, TimeRequest};
use capmesh_wire::discovery::Announce;
use capmesh_wire::{Instant, NodeId, cbor, content_format, paths};
use core::net::SocketAddr;

/// How far off the machine's own time may be, in microseconds: it is not known, and NTP keeps it within
/// that.
const UNCERTAINTY: u32 = 20_000;

impl Gateway {
    /// Serves a request. The work is that of one resource.
    pub(super) fn serve(&mut self, now: Instant, event: Event<'_, Peer>) {
        let Event::Request { peer, message, .. } = event else { return };
        let mut path = message.option_values(OptionNumber::URI_PATH);
        let first = path.next().and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
        let mut canvas = core::mem::take(&mut self.canvas);
        let micros = self.unix_micros(now);
        let Self { server, link, serve, offers, bridge, store, members, .. } = self;
        let mut announced = None;
        match first {
            paths::INBOX => {
                let mut inbox = InboxResource::new(bridge, store, sender);
                let mut routes = [Route::below(paths::INBOX, &mut inbox)];
                server.handle(now, &mut **link, &mut routes, event, &mut canvas);
            }
            paths::BLOBS => {
                let shown = offers.shown(peer.member().is_some());
                let mut blobs = BlobResource::new(serve, &shown, |_| Ok(()));
                let mut routes = [Route::below(paths::BLOBS, &mut blobs)];
                server.handle(now, &mut **link, &mut routes, event, &mut canvas);
            }
            paths::ANNOUNCE => {
                let mut announce = Announcements { heard: &mut announced };
                let mut routes = [Route::at(paths::ANNOUNCE, &mut announce)];
                server.handle(now, &mut **link, &mut routes, event, &mut canvas);
            }
            paths::ROSTER => {
                let version = members.version().0;
                let mut roster = RosterResource { bytes: members.bytes(), version };
                let mut routes = [Route::at(paths::ROSTER, &mut roster)];
                server.handle(now, &mut **link, &mut routes, event, &mut canvas);
            }
            _ => {
                let mut time = TimeResource { micros };
                let mut routes = [Route::at(paths::TIME, &mut time)];
                server.handle(now, &mut **link, &mut routes, event, &mut canvas);
            }
        }
        self.canvas = canvas;
        if let (Some(id), Some(from)) = (announced, self.link.address(peer)) {
            self.announced(now, id, from);
        }
    }

    /// A node has said where it is. It is a hint, which a handshake proves or disproves.
    fn announced(&mut self, now: Instant, id: NodeId, from: SocketAddr) {
        self.nodes.hint(now, &mut *self.link, &mut self.store, id, from);
    }
}

/// Who may send batches: nodes.
fn sender(peer: Peer) -> Result<NodeId, Code> {
    peer.require(Roles::only(capmesh_wire::Role::Node)).map(|member| member.id)
}

/// The time: FETCH, for members.
struct TimeResource {
    micros: Option<u64>,
}

impl Resource<Peer> for TimeResource {
    fn fetch(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let asked: TimeRequest = cbor::decode(request.body()).map_err(|_| Code::BAD_REQUEST)?;
        let micros = self.micros.ok_or(Code::SERVICE_UNAVAILABLE)?;
        let told = TimeReply {
            sent: asked.sent,
            received: micros,
            replied: micros,
            uncertainty: UNCERTAINTY,
        };
        let mut buf = [0; 64];
        let len = cbor::encode(&told, &mut buf).map_err(|_| Code::INTERNAL_SERVER_ERROR)?;
        reply.content_format(60).write(buf.get(..len).unwrap_or_default());
        Ok(Done::Content)
    }
}

/// The roster: GET, for members.
struct RosterResource<'a> {
    bytes: &'a [u8],
    version: u32,
}

impl Resource<Peer> for RosterResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let format = request.negotiate(&[content_format::ROSTER])?;
        if let Some(tag) = ETag::new(&self.version.to_be_bytes()) {
            reply.etag(tag);
        }
        reply.content_format(format).write(self.bytes);
        Ok(Done::Content)
    }
}

/// Where announcements arrive. It never answers.
struct Announcements<'a> {
    heard: &'a mut Option<NodeId>,
}

impl Resource<Peer> for Announcements<'_> {
    fn post(&mut self, request: &Request<'_, Peer>, _: &mut Reply<'_>) -> Handled {
        *self.heard = cbor::decode::<Announce<'_>>(request.body()).ok().map(|said| said.node);
        Ok(Done::Later)
    }
}
