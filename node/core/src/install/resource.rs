//! The capsules of a node as a CoAP resource: `x`.

use super::Install;
use super::upload::{Upload, Waiting};
use super::work::{End, Feed, UNKNOWN, Work};
use crate::flash::Store;
use crate::problem::{self, Reason, refuse, refuse_later};
use alloc::boxed::Box;
use capmesh_blob::mapping::Name;
use capmesh_coap::block::BlockValue;
use capmesh_coap::link_format::Attributes;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Outbox, Reply, Request, Resource, Unfinished};
use capmesh_coap::{Code, MessageWriter};
use capmesh_session::{Peer, Roles};
use capmesh_wire::cbor::{Writer, encode};
use capmesh_wire::{Digest, ErrorCode, Instant, Role, content_format, limits, paths};

/// Bytes of a bundle at most: a manifest, and the largest blob with its pages.
const LONGEST: u32 = limits::BLOB + limits::BLOB / 4;

/// Bytes of an encoded status at most.
const STATUS: usize = 192;

/// What a node does with its capsules:
/// - GET `x`: all of them, as an array of [`CapsuleStatus`](capmesh_wire::inventory::CapsuleStatus);
/// - GET `x/<digest>`: one of them;
/// - PUT `x`: a bundle, which is installed: 2.01 with the path of what it has become, 2.04 if it was
///   here already;
/// - DELETE `x/<digest>`: forgets one that no instance uses.
///
/// The digest is that of the manifest, in base64url as in the path of a blob. Members read; operators
/// and gateways change.
pub struct CapsulesResource<'a> {
    install: &'a mut Install,
    flash: &'a [u8],
    store: &'a Store,
    in_use: &'a dyn Fn(&Digest) -> bool,
}

impl<'a> CapsulesResource<'a> {
    /// For one turn of the server. `in_use` says whether an instance of a capsule is here.
    pub const fn new(
        install: &'a mut Install,
        flash: &'a [u8],
        store: &'a Store,
        in_use: &'a dyn Fn(&Digest) -> bool,
    ) -> Self {
        Self { install, flash, store, in_use }
    }

    fn delete_one(&mut self, digest: &Digest) -> Result<(), Reason> {
        if (self.in_use)(digest) {
            return Err(Reason::new(ErrorCode::WrongState).because("an instance of it is here"));
        }
        self.install.remove(digest)
    }

    /// Takes a part of a bundle. It is dealt with, and answered, by [`Install::poll`].
    fn take(&mut self, request: &Request<'_, Peer>) -> Result<Handled, Reason> {
        let (now, peer, part) = (request.now(), request.peer(), request.part());
        let incomplete = Ok(Err(Code::REQUEST_ENTITY_INCOMPLETE.into()));
        let Some(responder) = request.responder() else { return incomplete };
        if part.offset == 0 {
            self.install.make_room(now, peer)?;
            let upload = Upload::new(now, peer);
            self.install.work = Some(Box::new(Work::new(UNKNOWN, Feed::Upload(upload))));
        }
        let Some(upload) = self.install.upload() else { return incomplete };
        if upload.peer() != peer || upload.taken() != part.offset {
            return incomplete;
        }
        upload.push(now, request.body(), !part.more)?;
        let body = request.unfinished();
        upload.wait(Waiting { responder, block: part.answer, body });
        Ok(Ok(Done::Later))
    }
}

impl Install {
    /// The upload that was answered before its end, to be told [`Server::release`]: to be asked for after
    /// each call that may answer.
    ///
    /// [`Server::release`]: capmesh_coap::server::Server::release
    pub const fn take_cut_short(&mut self) -> Option<Unfinished<Peer>> {
        self.cut_short.take()
    }
}

impl Resource<Peer> for CapsulesResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::ANY)?;
        let wanted = one(request)?;
        let format = request.negotiate(&[problem::FORMAT])?;
        let statuses = || self.install.statuses(self.flash, self.store);
        let is_wanted = |digest: &Digest| wanted.is_none_or(|wanted| wanted == *digest);
        let count = statuses().filter(|status| is_wanted(&status.capsule)).count();
        if wanted.is_some() && count == 0 {
            return Err(Code::NOT_FOUND.into());
        }
        reply.content_format(format);
        let mut buf = [0; STATUS];
        if wanted.is_none() {
            reply.write(Writer::new(&mut buf).array(count).written());
        }
        for status in statuses().filter(|status| is_wanted(&status.capsule)) {
            // It fits, whatever the names are.
            let len = encode(&status, &mut buf).unwrap_or_default();
            reply.write(buf.get(..len).unwrap_or_default());
        }
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::only(Role::Operator).or(Role::Gateway))?;
        if request.rest().next().is_some() {
            return Err(Code::METHOD_NOT_ALLOWED.into());
        }
        request.expect_format(&[content_format::BUNDLE, 42])?;
        match self.take(request) {
            Ok(handled) => handled,
            Err(reason) => refuse(reply, &reason.problem()),
        }
    }

    fn delete(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        request.peer().require(Roles::only(Role::Operator).or(Role::Gateway))?;
        let digest = one(request)?.ok_or(Code::METHOD_NOT_ALLOWED)?;
        match self.delete_one(&digest) {
            Ok(()) => Ok(Done::Deleted),
            Err(reason) => refuse(reply, &reason.problem()),
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Capsules", ..Attributes::default() }
    }

    fn streams(&self, method: Code) -> Option<u32> {
        (method == Code::PUT).then_some(LONGEST)
    }
}

/// The capsule that the path names, if it names one.
fn one(request: &Request<'_, Peer>) -> Result<Option<Digest>, Code> {
    let mut rest = request.rest();
    let Some(segment) = rest.next() else { return Ok(None) };
    let digest = Name::parse(segment.as_bytes()).filter(|_| rest.next().is_none());
    digest.map(Some).ok_or(Code::NOT_FOUND)
}

/// Lets the client send its next part.
pub(super) fn go_on(now: Instant, out: &mut dyn Outbox<Peer>, waiting: Waiting) {
    let block = waiting.block;
    respond(now, out, waiting, Code::CONTINUE, &mut |writer| write_block(writer, block));
}

/// Tells the one who brings a bundle what has come of it. Returns the body that is cut short by that, if
/// it is.
pub(super) fn finish(
    now: Instant,
    out: &mut dyn Outbox<Peer>,
    upload: &mut Upload,
    digest: &Digest,
    end: &End,
) -> Option<Unfinished<Peer>> {
    let waiting = upload.take_waiting()?;
    match end {
        End::Held => {
            let (name, block) = (Name::of(digest), waiting.block);
            let code = if upload.is_passed_over() { Code::CHANGED } else { Code::CREATED };
            respond(now, out, waiting, code, &mut |writer| {
                writer.option(OptionNumber::LOCATION_PATH, paths::CAPSULES.as_bytes())?;
                writer.option(OptionNumber::LOCATION_PATH, name.as_str().as_bytes())?;
                write_block(writer, block.map(BlockValue::last))
            });
        }
        End::Refused(reason) | End::Later(reason) => {
            refuse_later(now, out, waiting.responder, waiting.block, &reason.problem());
        }
    }
    waiting.body
}

fn write_block(
    writer: &mut MessageWriter<'_>,
    block: Option<BlockValue>,
) -> Result<(), capmesh_coap::message::Overflow> {
    match block {
        Some(block) => block.write(OptionNumber::BLOCK1, writer),
        None => Ok(()),
    }
}

fn respond(
    now: Instant,
    out: &mut dyn Outbox<Peer>,
    waiting: Waiting,
    code: Code,
    build: capmesh_coap::server::Build<'_>,
) {
    if out.respond(now, waiting.responder, code, build).is_err() {
        out.ignore(now, waiting.responder);
    }
}
