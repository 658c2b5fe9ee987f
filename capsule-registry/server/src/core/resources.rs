//! The resources of a registry that are not blobs.

use super::{NotTaken, Shelf, newer};
use capmesh_coap::Code;
use capmesh_coap::link_format::Attributes;
use capmesh_coap::server::{Done, Handled, Refusal, Reply, Request, Resource};
use capmesh_session::{Peer, Roles};
use capmesh_wire::cbor::{Encode, encode};
use capmesh_wire::roster::{Delta, Untrusted};
use capmesh_wire::{CapsuleRef, ErrorCode, Problem, PublicKey, Text, content_format, limits};
use std::fmt::Display;

/// application/cbor, which clients of other makers show.
const CBOR: u16 = 60;

/// Seconds after which to ask again when the store has failed.
const RETRY: u32 = 5;

/// Bytes of what is answered here, at most.
const ANSWER: usize = limits::DETAIL + 48;

/// Everybody on the roster may read.
pub(super) fn reader(peer: Peer) -> Result<(), Code> {
    peer.require(Roles::ANY).map(drop)
}

fn write(reply: &mut Reply<'_>, value: &impl Encode) {
    let mut buf = [0; ANSWER];
    let len = encode(value, &mut buf).unwrap_or_default();
    reply.content_format(CBOR).write(buf.get(..len).unwrap_or_default());
}

fn refuse(reply: &mut Reply<'_>, code: ErrorCode, why: impl Display) -> Handled {
    let why = why.to_string();
    write(reply, &Problem { detail: Some(Text::cut(&why)), ..Problem::new(code) });
    Ok(Done::Code(Code(code.coap_code())))
}

/// What tags stand for: GET with `t=` and a name with its tag.
pub(super) struct TagsResource<'a> {
    pub(super) shelf: &'a dyn Shelf,
}

impl Resource<Peer> for TagsResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        let asker = request.peer().require(Roles::ANY)?;
        let Some(text) = request.query("t") else {
            return refuse(reply, ErrorCode::Malformed, "`t=` and a name with its tag are missing");
        };
        let reference = match CapsuleRef::try_from(text) {
            Ok(reference) => reference,
            Err(error) => return refuse(reply, ErrorCode::Malformed, error),
        };
        request.negotiate(&[CBOR])?;
        match self.shelf.resolve(asker, &reference) {
            Ok(Some(resolved)) => {
                write(reply, &resolved);
                Ok(Done::Content)
            }
            Ok(None) => refuse(reply, ErrorCode::UnknownCapsule, text),
            Err(super::Unavailable) => Err(Refusal::retry_after(RETRY)),
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Tags", ..Attributes::default() }
    }
}

/// The roster: GET, PUT with a newer one or a delta to it.
pub(super) struct RosterResource<'a> {
    pub(super) site: &'a PublicKey,
    pub(super) roster: &'a [u8],
    pub(super) newer: &'a mut Option<Vec<u8>>,
}

impl Resource<Peer> for RosterResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let format = request.negotiate(&[content_format::ROSTER])?;
        reply.content_format(format).write(self.roster);
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        request.expect_format(&[content_format::ROSTER])?;
        match newer(self.site, self.roster, request.body()) {
            Ok(newer) => {
                if newer.is_some() {
                    *self.newer = newer;
                }
                Ok(Done::Changed)
            }
            Err(NotTaken::Untrusted(Untrusted::Malformed(error))) => {
                refuse(reply, ErrorCode::Malformed, error)
            }
            Err(NotTaken::Untrusted(Untrusted::Signature)) => {
                // A delta to another roster than that which is here does not add up to what was signed.
                let hint = Delta::parse(request.body()).map_or("", |_| "send the whole roster");
                refuse(reply, ErrorCode::BadSignature, hint)
            }
            Err(NotTaken::Older(held)) => {
                refuse(reply, ErrorCode::StaleRevision, format_args!("version {} is here", held.0))
            }
            Err(NotTaken::Base(held)) => {
                let why = format_args!("it leads from another one; version {} is here", held.0);
                refuse(reply, ErrorCode::WrongState, why)
            }
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Roster", ..Attributes::default() }
    }
}
