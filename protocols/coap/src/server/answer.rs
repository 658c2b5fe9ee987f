//! The way of a request through the server, and that of a notification.

use super::observers::{Observer, SILENCE};
use super::render::{self, Canvas, Rendered};
use super::request::{Part, Request};
use super::resource::{self, Resource, Route};
use super::{Incoming, Outbox, Refusal, Reply, Server, discovery, options};
use crate::block::{Accepted, BlockSize, BlockValue, BodyKey, Served};
use crate::endpoint::{ObservationId, ObserveError, Reliability, RespondError, Via};
use crate::message::{Code, Kind, MessageWriter};
use crate::option::OptionNumber;
use capmesh_wire::Instant;

/// What is to be said to a request.
enum Verdict<'b> {
    /// A response of the resource's, with the Block1 option to go with it, and whether the resource
    /// can be observed.
    Reply(Rendered<'b>, Option<BlockValue>, bool),
    /// 2.31 (Continue).
    Continue(BlockValue),
    /// A later block of a response that was kept.
    Kept,
    /// Nothing now.
    Later,
}

impl<P: Copy + Eq, const OBSERVERS: usize, const BODIES: usize, const BODY: usize>
    Server<P, OBSERVERS, BODIES, BODY>
{
    /// Answers a request one way or the other.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        routes: &mut [Route<'_, P>],
        incoming: Incoming<'_, P>,
        buf: &mut [u8],
    ) {
        let block1 = BlockValue::find(&incoming.message, OptionNumber::BLOCK1).ok().flatten();
        match self.consider(now, out, routes, &incoming, buf) {
            Ok(Verdict::Reply(rendered, answer, observable)) => {
                let answer = answer.map(BlockValue::last);
                self.send(now, out, &incoming, &rendered, answer, observable);
            }
            Ok(Verdict::Continue(answer)) => {
                let mut build =
                    |writer: &mut MessageWriter<'_>| answer.write(OptionNumber::BLOCK1, writer);
                // It is shorter than its request, so that there is no reason not to take it.
                let _ = out.respond(now, incoming.responder, Code::CONTINUE, &mut build);
            }
            Ok(Verdict::Kept | Verdict::Later) => {}
            Err(refusal) => refuse(now, out, &incoming, &refusal, block1),
        }
    }

    /// Finds the resource and asks it, if that is allowed.
    fn consider<'b>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        routes: &mut [Route<'_, P>],
        incoming: &Incoming<'_, P>,
        buf: &'b mut [u8],
    ) -> Result<Verdict<'b>, Refusal> {
        let message = incoming.message;
        let found = resource::find(routes, message);
        let mut core;
        let (resource, depth): (&mut dyn Resource<P>, _) = match found {
            Some((at, depth)) => {
                let route = routes.get_mut(at).ok_or(Code::NOT_FOUND)?;
                (&mut *route.resource, depth)
            }
            None => {
                core = discovery::Discovery { routes };
                (&mut core, 2)
            }
        };
        let exists = found.is_some() || discovery::is_meant(message);
        options::check(message, exists.then_some(&*resource))?;
        if !exists {
            return Err(Code::NOT_FOUND.into());
        }
        let block1 = BlockValue::find(&message, OptionNumber::BLOCK1)?;
        let block2 = BlockValue::find(&message, OptionNumber::BLOCK2)?;
        if let (None, Some(asked)) = (block1, block2)
            && asked.num() > 0
            && !render::is_safe(message.code())
            && !resource.renders_blocks()
        {
            match self.serve(now, out, incoming, asked) {
                Ok(()) => return Ok(Verdict::Kept),
                // A FETCH that comes with its body can be answered anew.
                Err(_) if message.code() == Code::FETCH && !message.payload().is_empty() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let request = Request {
            now,
            peer: incoming.peer,
            method: message.code(),
            message,
            body: message.payload(),
            part: Part::WHOLE,
            depth,
            responder: Some(incoming.responder),
            via: incoming.via,
        };
        self.ask(resource, request, block1, block2, buf)
    }

    /// Collects the body; has the resource answer once it is whole, or part by part if that is what
    /// the resource wants.
    fn ask<'b>(
        &mut self,
        resource: &mut dyn Resource<P>,
        mut request: Request<'_, P>,
        block1: Option<BlockValue>,
        block2: Option<BlockValue>,
        buf: &'b mut [u8],
    ) -> Result<Verdict<'b>, Refusal> {
        let message = request.message;
        let conditional = options::is_conditional(message) && !resource.renders_blocks();
        let begins = block1.is_none_or(|block| block.num() == 0);
        // At once, so that a body that is not wanted does not travel.
        if conditional && begins {
            options::check_conditions(message, render::present(resource, &request, buf))?;
        }
        let streams = resource.streams(request.method);
        let Some(block) = block1 else { return self.run(resource, request, None, block2, buf) };
        let accepted = match streams {
            None => self.bodies.store(request.now, request.peer, &message, block)?,
            Some(limit) => {
                let tracker = self.bodies.tracker();
                tracker.accept(request.now, request.peer, &message, block, limit)?
            }
        };
        if accepted.more && (streams.is_none() || accepted.repeated) {
            return Ok(Verdict::Continue(accepted.answer));
        }
        request.part.answer = Some(accepted.answer);
        let verdict = if streams.is_some() {
            let total = message.option_uint(OptionNumber::SIZE1);
            let Accepted { offset, more, answer, slot, .. } = accepted;
            let slot = more.then_some(slot);
            request.part = Part { offset, more, total, answer: Some(answer), slot };
            self.run(resource, request, None, block2, buf)
        } else if conditional && !begins {
            // Again, because it may have changed since.
            let present = render::present(resource, &request, buf);
            options::check_conditions(message, present)
                .and_then(|()| self.run(resource, request, Some(accepted.slot), block2, buf))
        } else {
            self.run(resource, request, Some(accepted.slot), block2, buf)
        };
        match verdict {
            Ok(Verdict::Later) if accepted.more => {}
            Ok(Verdict::Reply(rendered, ..)) if accepted.more && rendered.code.is_success() => {
                return Ok(Verdict::Continue(accepted.answer));
            }
            _ => self.bodies.tracker().release(accepted.slot),
        }
        verdict
    }

    /// Has the resource answer, with the body that was assembled in a slot, if it was.
    fn run<'b>(
        &mut self,
        resource: &mut dyn Resource<P>,
        request: Request<'_, P>,
        assembled: Option<usize>,
        asked: Option<BlockValue>,
        buf: &'b mut [u8],
    ) -> Result<Verdict<'b>, Refusal> {
        let (now, peer, message) = (request.now, request.peer, request.message);
        let answer = request.part.answer;
        let size = self.block_size(buf);
        // With a shorter life, for a body in a slot.
        let mut request = request;
        let (mut slot, mut room) = (None, None);
        if render::is_safe(request.method) {
            request.body = assembled.map_or(request.body, |slot| self.bodies.body(slot));
        } else {
            let (body, free) = self.bodies.body_and_room(now, assembled);
            (slot, room) = free.unzip();
            if assembled.is_some() {
                request.body = body;
            }
        }
        let rendered = render::render(resource, &request, Canvas { buf, size, room, asked })?;
        let Some(rendered) = rendered else { return Ok(Verdict::Later) };
        if let (Some(slot), Some(etag)) = (slot.filter(|_| rendered.more()), rendered.etag) {
            let Rendered { code, content_format, total: len, .. } = rendered;
            let served = Served { code, content_format, etag, len };
            self.bodies.keep(now, slot, peer, BodyKey::of(&message), served);
        }
        Ok(Verdict::Reply(rendered, answer, resource.attributes().observable))
    }

    /// Answers with a later block of a response that was kept.
    fn serve(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        incoming: &Incoming<'_, P>,
        asked: BlockValue,
    ) -> Result<(), Refusal> {
        let kept = self.bodies.serve(now, incoming.peer, &incoming.message, asked)?;
        let (served, block, bytes) = kept;
        let sent = out.respond(now, incoming.responder, served.code, &mut |writer| {
            writer.option(OptionNumber::ETAG, served.etag.as_bytes())?;
            if let Some(format) = served.content_format {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
            }
            block.write(OptionNumber::BLOCK2, writer)?;
            writer.payload(bytes)?;
            Ok(())
        });
        // Unlike a response that was made just now, this one can be asked for again.
        self.challenge_if_unverified(now, out, incoming, sent);
        Ok(())
    }

    /// Sends a response of the resource's, and takes note of a new observer and of what the request
    /// has changed.
    fn send(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        incoming: &Incoming<'_, P>,
        rendered: &Rendered<'_>,
        answer: Option<BlockValue>,
        observable: bool,
    ) {
        let method = incoming.message.code();
        let success = rendered.code.is_success();
        if incoming.via == Via::Multicast && !(success && rendered.total > 0) {
            out.ignore(now, incoming.responder);
            return;
        }
        let reads = matches!(method, Code::GET | Code::FETCH);
        if success && !reads {
            let path = || incoming.message.option_values(OptionNumber::URI_PATH);
            self.observers.mark(&|observed| observed.eq(path()));
        }
        let observes = incoming.message.option_uint(OptionNumber::OBSERVE) == Some(0);
        let observer = (success && reads && observes && observable)
            .then(|| self.observe(now, out, incoming, rendered.content_format))
            .flatten();
        let mut build = |writer: &mut MessageWriter<'_>| rendered.write(writer, answer);
        match out.respond(now, incoming.responder, rendered.code, &mut build) {
            Ok(()) => {}
            error => {
                if let Some(observation) = observer {
                    self.observers.remove(observation);
                }
                if reads {
                    self.challenge_if_unverified(now, out, incoming, error);
                } else {
                    // It has been done, and must not be asked for again: the body goes missing.
                    let mut build =
                        |writer: &mut MessageWriter<'_>| rendered.write_head(writer, answer);
                    if out.respond(now, incoming.responder, rendered.code, &mut build).is_err() {
                        out.ignore(now, incoming.responder);
                    }
                }
            }
        }
    }

    /// Takes note of an observer, if there is room and its request can be kept.
    fn observe(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        incoming: &Incoming<'_, P>,
        content_format: Option<u16>,
    ) -> Option<ObservationId> {
        let mut accepted = out.accept_observation(now, incoming.responder);
        let is_known = accepted.is_ok_and(|id| self.observers.ids().any(|known| known == id));
        let is_full = accepted == Err(ObserveError::Full) || self.observers.is_full() && !is_known;
        if is_full && self.make_way(now, out) && accepted.is_err() {
            accepted = out.accept_observation(now, incoming.responder);
        }
        let id = accepted.ok()?;
        let observer = Observer::new(id, incoming.peer, content_format, incoming.message);
        if observer.is_some_and(|observer| self.observers.insert(observer)) {
            Some(id)
        } else {
            out.end_observation(id);
            None
        }
    }

    /// Ends the observation of whoever was silent for longest. Returns whether there was one who was
    /// silent for long enough.
    fn make_way(&mut self, now: Instant, out: &mut dyn Outbox<P>) -> bool {
        let heard = self.observers.ids().map(|id| (out.heard_of(id).unwrap_or(Instant::ZERO), id));
        let oldest = heard.min_by_key(|(heard, _)| *heard);
        let Some((_, id)) = oldest.filter(|(heard, _)| *heard + SILENCE <= now) else {
            return false;
        };
        let last = Reliability::NonConfirmable;
        if out.notify(now, id, last, Code::SERVICE_UNAVAILABLE, &mut |_| Ok(())).is_err() {
            out.end_observation(id);
        }
        self.observers.remove(id);
        true
    }

    fn challenge_if_unverified(
        &self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        incoming: &Incoming<'_, P>,
        sent: Result<(), RespondError>,
    ) {
        let refusal = match (sent, out.address(incoming.peer)) {
            (Ok(()), _) => return,
            (Err(RespondError::Unverified), Some(address)) => {
                Refusal::challenge(self.echo.challenge(now, address))
            }
            _ => Refusal::new(Code::INTERNAL_SERVER_ERROR),
        };
        refuse(now, out, incoming, &refusal, None);
    }

    /// The largest block that both the configuration and the buffer allow.
    fn block_size(&self, buf: &[u8]) -> BlockSize {
        let room = buf.len().saturating_sub(Reply::HEAD);
        BlockSize::at_most(room).unwrap_or(BlockSize::MIN).min(self.config.block)
    }

    /// Answers an observer's request anew. Returns whether it observes on.
    pub(super) fn notify(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        routes: &mut [Route<'_, P>],
        observer: &Observer<P>,
        buf: &mut [u8],
    ) -> bool {
        let Some(message) = observer.request() else { return false };
        let size = self.block_size(buf);
        let mut reliability = Reliability::Confirmable;
        let rendered = match resource::find(routes, message) {
            None => Err(Refusal::new(Code::NOT_FOUND)),
            Some((at, depth)) => {
                routes.get_mut(at).ok_or(Code::NOT_FOUND.into()).and_then(|route| {
                    let request = Request {
                        now,
                        peer: observer.peer,
                        method: message.code(),
                        message,
                        body: message.payload(),
                        part: Part::WHOLE,
                        depth,
                        responder: None,
                        via: Via::Unicast,
                    };
                    reliability = route.resource.notifies();
                    let asked = BlockValue::find(&message, OptionNumber::BLOCK2)?;
                    render::render(
                        &mut *route.resource,
                        &request,
                        Canvas { buf, size, room: None, asked },
                    )
                })
            }
        };
        let refusal = match rendered {
            Ok(None) => return true,
            Ok(Some(rendered))
                if rendered.code.is_success()
                    && rendered.content_format != observer.content_format =>
            {
                Refusal::new(Code::NOT_ACCEPTABLE)
            }
            Ok(Some(rendered)) => {
                let mut build = |writer: &mut MessageWriter<'_>| rendered.write(writer, None);
                let code = rendered.code;
                if !code.is_success() {
                    reliability = Reliability::Confirmable;
                }
                match out.notify(now, observer.id, reliability, code, &mut build) {
                    Ok(()) => return code.is_success(),
                    Err(_) => Refusal::new(Code::INTERNAL_SERVER_ERROR),
                }
            }
            Err(refusal) => refusal,
        };
        let mut build = |writer: &mut MessageWriter<'_>| refusal.write(writer);
        let confirmable = Reliability::Confirmable;
        if out.notify(now, observer.id, confirmable, refusal.code(), &mut build).is_err() {
            out.end_observation(observer.id);
        }
        false
    }
}

/// Sends a refusal, or nothing to whoever must not be bothered with one: everybody (RFC 7252 section
/// 8.2), or those who sent a non-confirmable message that is not understood (section 5.4.1).
fn refuse<P>(
    now: Instant,
    out: &mut dyn Outbox<P>,
    incoming: &Incoming<'_, P>,
    refusal: &Refusal,
    block1: Option<BlockValue>,
) {
    if incoming.via == Via::Multicast {
        out.ignore(now, incoming.responder);
        return;
    }
    if refusal.code() == Code::BAD_OPTION && incoming.message.kind() == Kind::NonConfirmable {
        out.reject(incoming.responder);
        return;
    }
    let mut full = |writer: &mut MessageWriter<'_>| {
        block1.map_or(Ok(()), |block| block.last().write(OptionNumber::BLOCK1, writer))?;
        refusal.write(writer)
    };
    let code = refusal.code();
    if out.respond(now, incoming.responder, code, &mut full).is_err()
        && out.respond(now, incoming.responder, code, &mut |_| Ok(())).is_err()
    {
        out.ignore(now, incoming.responder);
    }
}
