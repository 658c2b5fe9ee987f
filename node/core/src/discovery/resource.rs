//! Where announcements arrive.

use super::{Discovery, Mine};
use capmesh_coap::link_format::LinkWriter;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource};
use core::fmt;
use core::net::SocketAddr;

/// Takes announcements: mounted at [`paths::ANNOUNCE`](capmesh_wire::paths::ANNOUNCE), made on the
/// spot. It never answers.
pub struct AnnounceResource<'a, P> {
    discovery: &'a mut Discovery,
    mine: Mine,
    address: fn(P) -> Option<SocketAddr>,
}

impl<'a, P> AnnounceResource<'a, P> {
    /// `address` says where somebody is who has sent an announcement.
    pub const fn new(
        discovery: &'a mut Discovery,
        mine: Mine,
        address: fn(P) -> Option<SocketAddr>,
    ) -> Self {
        Self { discovery, mine, address }
    }
}

impl<P> fmt::Debug for AnnounceResource<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnnounceResource")
    }
}

impl<P: Copy> Resource<P> for AnnounceResource<'_, P> {
    fn post(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        if let Some(from) = (self.address)(request.peer()) {
            self.discovery.heard(request.now(), from, &self.mine, request.body());
        }
        if let Some(responder) = request.responder() {
            self.discovery.ignore(responder);
        }
        Ok(Done::Later)
    }

    fn links(&self, _path: &str, _links: &mut LinkWriter<'_>) -> fmt::Result {
        Ok(())
    }
}
