//! Requests between capsules, and from outside to a capsule's services.

use super::handle::Event;
use super::instance::{Current, State};
use super::receive::{self, CBOR, Received};
use super::{Instance, Router};
use alloc::boxed::Box;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability, Responder};
use capmesh_coap::message::{Message, MessageWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_wire::{ErrorCode, InstanceId, Instant, NodeId, Payload, Problem, limits, paths};
use core::fmt;

/// A request of a capsule's to a service of another.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the reply will carry.
    pub number: u32,
    /// The number of the peer in the asker's manifest.
    pub peer: u8,
    /// The service's name.
    pub service: &'a str,
    /// What goes along: a payload that fits the service's schema, or nothing.
    pub payload: &'a [u8],
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// There is no such instance, or its row ties no instance to that peer.
    Unknown,
    /// It is longer than [`limits::PAYLOAD`].
    TooLong,
    /// As many requests are waiting as may.
    Full,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no instance stands behind that peer",
            Self::TooLong => "the request is too long",
            Self::Full => "too many requests are waiting",
        })
    }
}

impl core::error::Error for AskError {}

/// Why a request to a service was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// There is no such instance or service.
    Unknown,
    /// What was sent does not fit the service's schema.
    Schema,
    /// The instance is not running, or is on its way to another node: try again.
    Busy,
    /// As many requests are waiting as may: try again.
    Full,
}

impl ServiceError {
    /// What to tell whoever asked.
    pub(super) const fn code(self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::UnknownInstance,
            Self::Schema => ErrorCode::SchemaMismatch,
            Self::Busy => ErrorCode::Busy,
            Self::Full => ErrorCode::Full,
        }
    }
}

/// A request of an instance's, until it has handled the reply.
#[derive(Debug)]
pub(super) struct Asked {
    asker: InstanceId,
    number: u32,
    arrived: u64,
    deadline: Instant,
    state: Asking,
}

#[derive(Debug)]
enum Asking {
    /// To be sent.
    Queued { node: NodeId, target: InstanceId, service: Box<str>, payload: Box<[u8]> },
    /// On its way to another node.
    Out(ExchangeId),
    /// With an instance of this node.
    Local,
    /// Answered, or given up with status 0.
    Done(u8, Box<[u8]>),
}

/// A request to an instance of this node, until it is answered.
#[derive(Debug)]
pub(super) struct Served {
    /// Its name, and which of all arrivals it was.
    key: u64,
    target: InstanceId,
    service: u8,
    method: u8,
    payload: Box<[u8]>,
    from: From,
    deadline: Instant,
    state: Serving,
}

#[derive(Clone, Copy, Debug)]
enum From {
    /// Another node, or a person.
    Outside(Responder),
    /// An instance of this node.
    Inside(InstanceId, u32),
}

#[derive(Debug)]
enum Serving {
    /// No handler has begun.
    Waiting,
    /// A handler has.
    Running,
    /// It has answered.
    Done(u8, Box<[u8]>),
    /// It has not, and will not.
    Failed(ErrorCode),
}

/// A CoAP code that a capsule may answer with; any other is a fault of the capsule's.
fn status_of(status: u32) -> u8 {
    let code = u8::try_from(status).unwrap_or(0);
    if matches!(code >> 5, 2 | 4 | 5) { code } else { Code::INTERNAL_SERVER_ERROR.0 }
}

impl Router {
    /// Sends a request of an instance's, as part of what a handler leaves. Its reply comes as an
    /// [`Event::Reply`], with status 0 if none came in time.
    ///
    /// A request is handled once at most, and is no part of a commit: when the asker starts anew from
    /// its last commit, those that are under way are forgotten, and no reply comes to them. Who must not
    /// wait for ever sets a timer.
    ///
    /// # Errors
    /// [`AskError`]; there will be no reply then.
    pub fn ask(&mut self, now: Instant, asker: InstanceId, ask: Ask<'_>) -> Result<(), AskError> {
        let found = self.index(asker).and_then(|at| self.instances.get(at));
        let mut peers = found.ok_or(AskError::Unknown)?.peers.iter();
        let peer = *peers.find(|peer| peer.peer == ask.peer).ok_or(AskError::Unknown)?;
        if ask.payload.len() > limits::PAYLOAD {
            return Err(AskError::TooLong);
        }
        if self.asks.len() >= usize::from(self.config.asks) {
            self.stats.full = self.stats.full.saturating_add(1);
            return Err(AskError::Full);
        }
        let state = if peer.node == self.own {
            let from = From::Inside(asker, ask.number);
            let (method, target) = (Code::POST.0, peer.instance);
            match self.serve_from(now, target, ask.service, method, ask.payload, from) {
                Ok(()) => Asking::Local,
                Err(error) => Asking::Done(error.code().coap_code(), Box::default()),
            }
        } else {
            let (service, payload) = (ask.service.into(), ask.payload.into());
            Asking::Queued { node: peer.node, target: peer.instance, service, payload }
        };
        let (arrived, deadline) = (self.arrival(), now + self.config.ask_timeout);
        self.asks.push(Asked { asker, number: ask.number, arrived, deadline, state });
        self.dirty = true;
        Ok(())
    }

    /// Takes a request from outside to a service of an instance, which is answered in
    /// [`Router::poll`].
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn serve(
        &mut self,
        now: Instant,
        target: InstanceId,
        service: &str,
        method: u8,
        payload: &[u8],
        responder: Responder,
    ) -> Result<(), ServiceError> {
        self.serve_from(now, target, service, method, payload, From::Outside(responder))
    }

    fn serve_from(
        &mut self,
        now: Instant,
        target: InstanceId,
        service: &str,
        method: u8,
        payload: &[u8],
        from: From,
    ) -> Result<(), ServiceError> {
        let found = self.index(target).and_then(|at| self.instances.get(at));
        let found = found.ok_or(ServiceError::Unknown)?;
        if found.state != State::Running {
            return Err(ServiceError::Busy);
        }
        let number = found.service(service, payload)?;
        if self.served.len() >= usize::from(self.config.served) {
            self.stats.full = self.stats.full.saturating_add(1);
            return Err(ServiceError::Full);
        }
        let key = self.arrival();
        self.served.push(Served {
            key,
            target,
            service: number,
            method,
            payload: payload.into(),
            from,
            deadline: now + self.config.ask_timeout,
            state: Serving::Waiting,
        });
        Ok(())
    }

    /// Answers the request that is being handled, as part of what its handler leaves. The last answer
    /// counts. A request that its handler does not answer is answered 2.04. Returns whether there was
    /// one to answer.
    pub fn respond(&mut self, instance: InstanceId, status: u32, payload: &[u8]) -> bool {
        let found = self.index(instance).and_then(|at| self.instances.get(at));
        let Some(Current::Request(key)) = found.and_then(|found| found.current) else {
            return false;
        };
        let Some(served) = self.served.iter_mut().find(|served| served.key == key) else {
            return false;
        };
        served.state = match payload.get(limits::PAYLOAD..) {
            Some([_, ..]) => Serving::Failed(ErrorCode::TooLarge),
            _ => Serving::Done(status_of(status), payload.into()),
        };
        true
    }

    /// The first request that waits for an instance: when it came, and its name.
    pub(super) fn first_served(&self, target: InstanceId) -> Option<(u64, u64)> {
        let is_waiting =
            |served: &&Served| served.target == target && matches!(served.state, Serving::Waiting);
        self.served.iter().filter(is_waiting).map(|served| (served.key, served.key)).min()
    }

    /// The first reply that waits for an instance: when its request was made, and its number.
    pub(super) fn first_reply(&self, asker: InstanceId) -> Option<(u64, u32)> {
        let is_done =
            |asked: &&Asked| asked.asker == asker && matches!(asked.state, Asking::Done(..));
        self.asks.iter().filter(is_done).map(|asked| (asked.arrived, asked.number)).min()
    }

    pub(super) fn served_event(&mut self, key: u64) -> Option<Event<'_>> {
        let served = self.served.iter_mut().find(|served| served.key == key)?;
        served.state = Serving::Running;
        let (service, method) = (served.service, served.method);
        Some(Event::Request { service, method, payload: &served.payload })
    }

    pub(super) fn reply_event(&self, asker: InstanceId, number: u32) -> Option<Event<'_>> {
        let mut asks = self.asks.iter();
        let asked = asks.find(|asked| asked.asker == asker && asked.number == number)?;
        let Asking::Done(status, payload) = &asked.state else { return None };
        Some(Event::Reply { number, status: *status, payload })
    }

    /// The handler of a request has ended.
    pub(super) fn finish_served(&mut self, key: u64) {
        if let Some(served) = self.served.iter_mut().find(|served| served.key == key)
            && matches!(served.state, Serving::Running)
        {
            served.state = Serving::Done(Code::CHANGED.0, Box::default());
        }
    }

    /// The handler of a request has failed.
    pub(super) fn fail_served(&mut self, key: u64) {
        if let Some(served) = self.served.iter_mut().find(|served| served.key == key) {
            served.state = Serving::Failed(ErrorCode::Trapped);
        }
    }

    pub(super) fn forget_ask(&mut self, asker: InstanceId, number: u32) {
        self.forget_if(|asked| asked.asker == asker && asked.number == number);
    }

    /// Forgets what an instance has asked: it would not know what a reply is to.
    pub(super) fn forget_asks(&mut self, asker: InstanceId) {
        self.forget_if(|asked| asked.asker == asker);
    }

    fn forget_if(&mut self, is_meant: impl Fn(&Asked) -> bool) {
        let cancelled = &mut self.cancelled;
        self.asks.retain(|asked| {
            let stays = !is_meant(asked);
            if let (false, Asking::Out(exchange)) = (stays, &asked.state) {
                cancelled.push(*exchange);
            }
            stays
        });
    }

    /// Forgets what an instance has asked and was asked.
    pub(super) fn forget_requests(&mut self, instance: InstanceId) {
        self.forget_asks(instance);
        for served in self.served.iter_mut().filter(|served| served.target == instance) {
            served.state = Serving::Failed(ErrorCode::Moving);
        }
    }

    /// Takes the response to a request of an instance's.
    pub(super) fn replied(&mut self, exchange: ExchangeId, message: Message<'_>) -> bool {
        let payload = message.payload();
        let payload = payload.get(..payload.len().min(limits::PAYLOAD)).unwrap_or_default();
        self.end_ask(exchange, message.code().0, payload)
    }

    /// Takes the failure of a request of an instance's.
    pub(super) fn not_replied(&mut self, outcome: &Outcome) -> bool {
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        self.end_ask(*exchange, 0, &[])
    }

    fn end_ask(&mut self, exchange: ExchangeId, status: u8, payload: &[u8]) -> bool {
        let is_out = |asked: &&mut Asked| matches!(asked.state, Asking::Out(e) if e == exchange);
        let Some(asked) = self.asks.iter_mut().find(is_out) else { return false };
        asked.state = Asking::Done(status, payload.into());
        true
    }

    /// Sends requests and responses, and gives up what has taken too long.
    pub(super) fn poll_requests<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) {
        for asked in &mut self.asks {
            asked.poll(now, out, peer);
        }
        let mut at = 0;
        while let Some(served) = self.served.get_mut(at) {
            if now >= served.deadline && matches!(served.state, Serving::Waiting) {
                served.state = Serving::Failed(ErrorCode::Timeout);
            }
            if matches!(served.state, Serving::Waiting | Serving::Running) {
                at += 1;
                continue;
            }
            let served = self.served.swap_remove(at);
            match served.from {
                From::Outside(responder) => answer(now, out, responder, &served.state),
                From::Inside(asker, number) => self.answer_inside(asker, number, served.state),
            }
        }
    }

    fn answer_inside(&mut self, asker: InstanceId, number: u32, state: Serving) {
        let mut asks = self.asks.iter_mut();
        let asked = asks.find(|asked| {
            asked.asker == asker && asked.number == number && matches!(asked.state, Asking::Local)
        });
        if let Some(asked) = asked {
            asked.state = match state {
                Serving::Done(status, payload) => Asking::Done(status, payload),
                Serving::Failed(code) => Asking::Done(code.coap_code(), Box::default()),
                Serving::Waiting | Serving::Running => return,
            };
        }
    }

    /// When the first request is given up.
    pub(super) fn requests_timeout(&self) -> Option<Instant> {
        let asks = self.asks.iter().filter(|asked| !matches!(asked.state, Asking::Done(..)));
        let served = self.served.iter().filter(|s| matches!(s.state, Serving::Waiting));
        asks.map(|asked| asked.deadline).chain(served.map(|served| served.deadline)).min()
    }
}

impl Instance {
    /// The number of a service that takes this payload.
    fn service(&self, name: &str, payload: &[u8]) -> Result<u8, ServiceError> {
        let mut services = (0_u8..).zip(&self.services);
        let found = services.find(|(_, service)| &*service.name == name);
        let (number, service) = found.ok_or(ServiceError::Unknown)?;
        let fits = match service.request.and_then(|shape| self.shapes.get(shape)) {
            None => payload.is_empty(),
            Some(shape) => Payload::new(payload).is_ok_and(|payload| shape.fits(payload)),
        };
        // Whoever only reads need not send anything.
        if fits || payload.is_empty() { Ok(number) } else { Err(ServiceError::Schema) }
    }
}

impl Asked {
    fn poll<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) {
        if now >= self.deadline && !matches!(self.state, Asking::Done(..)) {
            if let Asking::Out(exchange) = self.state {
                out.cancel(now, exchange);
            }
            self.state = Asking::Done(0, Box::default());
            return;
        }
        let Asking::Queued { node, target, service, payload } = &self.state else { return };
        let sent = peer(*node).and_then(|peer| {
            let reliability = Reliability::Confirmable;
            let mut build = |writer: &mut MessageWriter<'_>| {
                let mut text = [0; 10];
                let target = decimal(target.0, &mut text);
                writer.path(paths::SERVICES)?.path(target)?.path(service)?;
                if !payload.is_empty() {
                    writer.option_uint(OptionNumber::CONTENT_FORMAT, CBOR.into())?;
                    writer.payload(payload)?;
                }
                Ok(())
            };
            out.request(now, peer, reliability, Code::POST, &mut build).ok()
        });
        self.state = sent.map_or(Asking::Done(0, Box::default()), Asking::Out);
    }
}

fn answer<P>(now: Instant, out: &mut dyn Outbox<P>, responder: Responder, state: &Serving) {
    match state {
        Serving::Done(status, payload) => {
            let mut build = |writer: &mut MessageWriter<'_>| {
                if !payload.is_empty() {
                    writer.option_uint(OptionNumber::CONTENT_FORMAT, CBOR.into())?;
                    writer.payload(payload)?;
                }
                Ok(())
            };
            // If it has gone, whoever asked has given up.
            let _ = out.respond(now, responder, Code(*status), &mut build);
        }
        Serving::Failed(code) => {
            let refused = Received::Refused(Problem::new(*code));
            receive::answer(now, out, responder, &refused);
        }
        Serving::Waiting | Serving::Running => {}
    }
}

/// A number as a segment of a path.
pub(super) fn decimal(number: u32, text: &mut [u8; 10]) -> &str {
    let (mut left, mut at) = (number, text.len());
    while let Some(place) = at.checked_sub(1).and_then(|at| text.get_mut(at)) {
        *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
        (left, at) = (left / 10, at - 1);
        if left == 0 {
            break;
        }
    }
    core::str::from_utf8(text.get(at..).unwrap_or_default()).unwrap_or_default()
}
