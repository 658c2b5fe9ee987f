//! The documents as CoAP resources: `r`, `p` and `k`.

use super::Site;
use super::documents::{Kind, Known};
use crate::flash::{Store, kinds};
use crate::problem::refuse;
use capmesh_coap::Code;
use capmesh_coap::block::ETag;
use capmesh_coap::link_format::Attributes;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Unfinished};
use capmesh_session::{Peer, Roles};
use capmesh_wire::content_format;
use capmesh_wire::roster::Delta;
use capmesh_wire::{Revision, limits};

/// Bytes of a document that somebody brings, at most.
const LONGEST: u32 = 96 * 1_024;

const _: () = assert!(limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY < LONGEST as usize);

impl Site {
    /// The document that was answered before its end, to be told [`Server::release`]: to be asked for
    /// after [`Site::poll`].
    ///
    /// [`Server::release`]: capmesh_coap::server::Server::release
    pub const fn take_cut_short(&mut self) -> Option<Unfinished<Peer>> {
        self.cut_short.take()
    }
}

/// The roster: GET, with `v=` and a version for what has changed since, if that is short; PUT with a
/// roster or a delta. For members of the site.
pub struct RosterResource<'a>(Document<'a>);

/// This node's plan: GET, PUT. For members of the site.
pub struct PlanResource<'a>(Document<'a>);

struct Document<'a> {
    site: &'a mut Site,
    flash: &'a [u8],
    store: &'a mut Store,
    kind: Kind,
}

impl<'a> RosterResource<'a> {
    /// For one turn of the server.
    pub const fn new(site: &'a mut Site, flash: &'a [u8], store: &'a mut Store) -> Self {
        Self(Document { site, flash, store, kind: Kind::Roster })
    }
}

impl<'a> PlanResource<'a> {
    /// For one turn of the server.
    pub const fn new(site: &'a mut Site, flash: &'a [u8], store: &'a mut Store) -> Self {
        Self(Document { site, flash, store, kind: Kind::Plan })
    }
}

impl Document<'_> {
    const fn format(&self) -> u16 {
        match self.kind {
            Kind::Roster => content_format::ROSTER,
            Kind::Plan => content_format::PLAN,
        }
    }

    fn get(&self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let known = Known::read(self.flash, self.store, self.site.own.id(), None);
        let held = self.kind.read(self.flash, self.store);
        let (Some(known), Some(held)) = (known, held) else { return Err(Code::NOT_FOUND.into()) };
        let format = request.negotiate(&[self.format()])?;
        let base = request.query("v").and_then(|text| text.parse().ok()).map(Revision);
        let delta = base.filter(|_| self.kind == Kind::Roster);
        let (delta, tag) = match delta.and_then(|base| self.delta(&known, base)) {
            Some(delta) => (delta, b'd'),
            None => (held, b'w'),
        };
        let version = match self.kind {
            Kind::Roster => known.version(self.kind),
            Kind::Plan => self.site.plan(self.flash, self.store).map(|plan| plan.revision),
        };
        let [a, b, c, d] = version.unwrap_or_default().0.to_be_bytes();
        if let Some(tag) = ETag::new(&[tag, a, b, c, d]) {
            reply.etag(tag);
        }
        reply.content_format(format).write(delta);
        Ok(Done::Content)
    }

    /// What leads from `base` to the roster that is held, if it is kept.
    fn delta(&self, known: &Known<'_>, base: Revision) -> Option<&[u8]> {
        let kept = self.store.get(self.flash, kinds::ROSTER_DELTA, 0)?;
        let delta = Delta::parse(kept).ok()?;
        let leads = delta.base() == base && delta.head().version == known.roster.head().version;
        leads.then_some(kept)
    }

    fn put(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        request.expect_format(&[self.format()])?;
        match self.site.put(self.kind, request, self.flash, self.store) {
            Ok(handled) => handled,
            Err(reason) => refuse(reply, &reason.problem()),
        }
    }
}

macro_rules! resource {
    ($name:ident, $title:literal) => {
        impl Resource<Peer> for $name<'_> {
            fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
                self.0.get(request, reply)
            }

            fn put(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
                self.0.put(request, reply)
            }

            fn attributes(&self) -> Attributes<'_> {
                Attributes { title: $title, ..Attributes::default() }
            }

            fn streams(&self, method: Code) -> Option<u32> {
                (method == Code::PUT).then_some(LONGEST)
            }
        }
    };
}

resource!(RosterResource, "Roster");
resource!(PlanResource, "Plan");

/// The node's own credential: GET, for everybody once the node belongs to a site, and before that
/// for those who say the claim, `k?c=` and its text.
pub struct CredentialResource<'a> {
    site: &'a Site,
    store: &'a Store,
}

impl<'a> CredentialResource<'a> {
    /// For one turn of the server.
    #[must_use]
    pub const fn new(site: &'a Site, store: &'a Store) -> Self {
        Self { site, store }
    }
}

impl Resource<Peer> for CredentialResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        let claim = request.query("c");
        if !self.site.is_adopted(self.store)
            && !claim.is_some_and(|claim| self.site.shows_claim(claim))
        {
            return Err(Code::FORBIDDEN.into());
        }
        // Its own content format is that of CBOR: everybody can show it.
        reply.content_format(crate::problem::FORMAT).write(self.site.own.credential());
        Ok(Done::Content)
    }
}
