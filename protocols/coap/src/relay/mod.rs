//! Passing on what is meant for others: a CoAP-to-CoAP forward proxy (RFC 7252 section 5.7) that
//! relays between nodes which cannot reach each other.
//!
//! A [`Relay`] stands beside the server on one endpoint, whose security layer is wrapped in
//! [`Relaying`]. It takes requests with Proxy-Uri, or with Proxy-Scheme and Uri-Host, sends them on as
//! exchanges of this side's, to their target or to the next relay, and sends back what comes. OSCORE's options and payload pass untouched,
//! so that protection stays end to end and the relay learns nothing but sizes; observations go
//! through; Block options too, block by block.
//!
//! What it says of its own accord:
//!
//! | code | because |
//! |---|---|
//! | 4.00 | the target, or Hop-Limit, makes no sense |
//! | 4.02 | an option is unsafe to forward and not known |
//! | 4.03 | the [`Policy`] does not permit it |
//! | 5.02 | the target cannot be reached or made sense of; its response has an unknown unsafe option |
//! | 5.03 | as many requests as there is room for are being relayed |
//! | 5.04 | the target did not answer within 100 s |
//! | 5.05 | the scheme is not `coap` |
//! | 5.08 | Hop-Limit has run out (RFC 8768) |
//!
//! # What is not here
//! Caching: most of what passes is protected, and none of that can be reused. Names: hosts are IP
//! literals, or what the [`Policy`] knows (node ids, say); there is no DNS. Groups: a multicast target
//! is refused. Other transports, and reverse proxying.

mod detour;
mod forward;
mod security;
mod target;

pub use detour::DETOURS;
pub use security::{Hop, HopBinding, Relaying};
pub use target::Target;

use crate::endpoint::{
    Event, ExchangeId, Failure, ObservationId, Outcome, Reliability, RequestError, RespondError,
    Responder, Via,
};
use crate::message::{Code, Kind, Message, MessageWriter, Overflow};
use crate::option::OptionNumber;
use crate::server::Outbox;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::time::Duration;
use forward::{HopLimit, Onward};
use heapless::Vec;

/// Decides what is relayed, and where it goes.
pub trait Policy {
    /// What to do with a request that `from` wants to have relayed to `target`. If the target's host
    /// is not an [IP literal](Target::literal), it is for the policy to know its address.
    fn route(&self, from: SocketAddr, target: &Target<'_>) -> Decision;
}

/// What a [`Policy`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Pass it on.
    Pass {
        /// To this address.
        to: SocketAddr,
        /// Whether that is another relay, rather than the target itself.
        is_relay: bool,
        /// Whether `from` is known to receive at its address. To one that is not, the response must
        /// not be much longer than the request (RFC 9175 section 2.4), and is 5.02 otherwise.
        is_verified: bool,
    },
    /// 4.03: `from` may not have it relayed.
    Refuse,
    /// 5.02: there is no way to the target.
    NoRoute,
}

/// Where a response goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Responder(Responder),
    Observer(ObservationId),
}

/// A request that was sent on.
#[derive(Clone, Copy, Debug)]
struct Relayed {
    exchange: ExchangeId,
    origin: Origin,
    observes: bool,
    since: Instant,
}

/// How long a response is waited for. The endpoint must take answers for longer
/// ([`Config::answer_timeout`](crate::endpoint::Config::answer_timeout)), or nobody hears of it.
const PATIENCE: Duration = Duration::from_secs(100);

/// Relays at most `N` requests and observations at once.
#[derive(Debug)]
pub struct Relay<const N: usize> {
    /// How this relay calls itself in the diagnostic payload of 5.08.
    name: &'static str,
    relayed: Vec<Relayed, N>,
}

impl Relayed {
    /// When it is not waited for any longer. An observation that has begun has no such time.
    fn gives_up(&self) -> Option<Instant> {
        matches!(self.origin, Origin::Responder(_)).then(|| self.since + PATIENCE)
    }
}

impl<const N: usize> Relay<N> {
    /// A relay that is called `name` where a relay says who it is, in the diagnostic payload of 5.08
    /// (RFC 8768 section 4). A name has no blanks.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, relayed: Vec::new() }
    }

    /// Deals with an event if it is a request to a proxy or the response to what was relayed, and
    /// returns it if it is not.
    ///
    /// The work is a copy of the message, and a search among what is being relayed.
    pub fn handle<'b, P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Hop<P>>,
        policy: &dyn Policy,
        event: Event<'b, Hop<P>>,
    ) -> Option<Event<'b, Hop<P>>> {
        match event {
            Event::Request { responder, peer: Hop::Address(from), message, via } => {
                if let Err(refusal) = self.pass_on(now, out, policy, from, responder, &message, via)
                {
                    self.refuse(now, out, responder, &message, refusal);
                }
                None
            }
            Event::Response { exchange, message, last, .. }
                if self.position(exchange).is_some() =>
            {
                self.pass_back(now, out, exchange, &message, last);
                None
            }
            event => Some(event),
        }
    }

    /// Deals with an outcome if it concerns what is being relayed, and returns it if it does not.
    pub fn handle_outcome<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Hop<P>>,
        outcome: Outcome,
    ) -> Option<Outcome> {
        match outcome {
            Outcome::Failed { exchange, reason } => {
                let Some(relayed) = self.take(exchange) else { return Some(outcome) };
                let code = match reason {
                    Failure::Timeout | Failure::NoResponse => Code::GATEWAY_TIMEOUT,
                    _ => Code::BAD_GATEWAY,
                };
                say(now, out, relayed.origin, code);
                None
            }
            Outcome::Finished { exchange } => {
                let Some(relayed) = self.take(exchange) else { return Some(outcome) };
                if let Origin::Responder(responder) = relayed.origin {
                    out.ignore(now, responder);
                }
                None
            }
            Outcome::ObservationEnded { observation, .. } => {
                let ended = |relayed: &Relayed| relayed.origin == Origin::Observer(observation);
                let Some(at) = self.relayed.iter().position(ended) else { return Some(outcome) };
                let relayed = self.relayed.swap_remove(at);
                out.cancel(now, relayed.exchange);
                None
            }
        }
    }

    /// Gives up what was not answered for 100 s: whoever asked hears 5.04 while they can be answered.
    pub fn poll<P: Copy>(&mut self, now: Instant, out: &mut dyn Outbox<Hop<P>>) {
        let is_over = |relayed: &Relayed| relayed.gives_up().is_some_and(|at| at <= now);
        while let Some(at) = self.relayed.iter().position(is_over) {
            let relayed = self.relayed.swap_remove(at);
            out.cancel(now, relayed.exchange);
            say(now, out, relayed.origin, Code::GATEWAY_TIMEOUT);
        }
    }

    /// When to [`poll`](Self::poll) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.relayed.iter().filter_map(Relayed::gives_up).min()
    }

    /// How many requests and observations are being relayed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.relayed.len()
    }

    /// Whether nothing is being relayed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relayed.is_empty()
    }
}

impl<const N: usize> Relay<N> {
    /// Sends a request on.
    #[expect(clippy::too_many_arguments, reason = "what an event consists of")]
    fn pass_on<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Hop<P>>,
        policy: &dyn Policy,
        from: SocketAddr,
        responder: Responder,
        request: &Message<'_>,
        via: Via,
    ) -> Result<(), Code> {
        if via == Via::Multicast {
            out.ignore(now, responder);
            return Ok(());
        }
        let target = Target::of(request)?;
        let (to, is_relay) = match policy.route(from, &target) {
            Decision::Refuse => return Err(Code::FORBIDDEN),
            Decision::NoRoute => return Err(Code::BAD_GATEWAY),
            Decision::Pass { to, is_relay, is_verified } => {
                if is_verified {
                    out.mark_verified(responder);
                }
                (to, is_relay)
            }
        };
        if to.ip().is_multicast() || to.ip().is_unspecified() {
            return Err(Code::FORBIDDEN);
        }
        let onward = Onward { target, hops: HopLimit::next(request)?, is_relay };
        onward.check(request)?;
        if self.relayed.is_full() {
            return Err(Code::SERVICE_UNAVAILABLE);
        }
        let reliability = match request.kind() {
            Kind::Confirmable => Reliability::Confirmable,
            _ => Reliability::NonConfirmable,
        };
        let exchange =
            out.request(now, Hop::Address(to), reliability, request.code(), &mut |writer| {
                onward.write(request, writer)
            });
        let exchange = exchange.map_err(|error| match error {
            RequestError::Full => Code::SERVICE_UNAVAILABLE,
            RequestError::Overflow => Code::REQUEST_ENTITY_TOO_LARGE,
            _ => Code::BAD_GATEWAY,
        })?;
        let observes = request.option_uint(OptionNumber::OBSERVE) == Some(0);
        let relayed =
            Relayed { exchange, origin: Origin::Responder(responder), observes, since: now };
        if self.relayed.push(relayed).is_err() {
            out.cancel(now, exchange);
            return Err(Code::SERVICE_UNAVAILABLE);
        }
        Ok(())
    }

    /// Sends a response or a notification back.
    fn pass_back<P: Copy>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Hop<P>>,
        exchange: ExchangeId,
        response: &Message<'_>,
        last: bool,
    ) {
        let Some(mut relayed) = self.take(exchange) else { return };
        let name = self.name;
        let mut build =
            |writer: &mut MessageWriter<'_>| forward::write_response(response, name, writer);
        let sent = match relayed.origin {
            _ if !forward::is_response_safe(response) => Err(RespondError::Code),
            Origin::Responder(responder) => {
                let observation = (relayed.observes && !last)
                    .then(|| out.accept_observation(now, responder).ok())
                    .flatten();
                let sent = out.respond(now, responder, response.code(), &mut build);
                if let Some(observation) = observation {
                    relayed.origin = Origin::Observer(observation);
                }
                sent.map(|()| observation.is_some())
            }
            Origin::Observer(observation) => {
                let reliability = match response.kind() {
                    Kind::NonConfirmable => Reliability::NonConfirmable,
                    _ => Reliability::Confirmable,
                };
                let code = response.code();
                out.notify(now, observation, reliability, code, &mut build).map(|()| true)
            }
        };
        match (sent, relayed.origin) {
            (Ok(true), _) if !last => {
                // There was room for it before it was taken.
                let _ = self.relayed.push(relayed);
                return;
            }
            (Ok(true), Origin::Observer(observation)) => out.end_observation(observation),
            (Ok(_), _) => {}
            (Err(_), origin) => say(now, out, origin, Code::BAD_GATEWAY),
        }
        if !last {
            out.cancel(now, exchange);
        }
    }

    /// Answers a request that is not passed on.
    fn refuse<P: Copy>(
        &self,
        now: Instant,
        out: &mut dyn Outbox<Hop<P>>,
        responder: Responder,
        request: &Message<'_>,
        code: Code,
    ) {
        if code == Code::BAD_OPTION && request.kind() == Kind::NonConfirmable {
            out.reject(responder);
            return;
        }
        let sent = out.respond(now, responder, code, &mut |writer| {
            match code {
                Code::HOP_LIMIT_REACHED => {
                    writer.payload(self.name.as_bytes())?;
                }
                Code::SERVICE_UNAVAILABLE => {
                    writer.option_uint(OptionNumber::MAX_AGE, RETRY_AFTER)?;
                }
                _ => {}
            }
            Ok::<(), Overflow>(())
        });
        if sent.is_err() {
            out.ignore(now, responder);
        }
    }

    fn position(&self, exchange: ExchangeId) -> Option<usize> {
        self.relayed.iter().position(|relayed| relayed.exchange == exchange)
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Relayed> {
        let at = self.position(exchange)?;
        Some(self.relayed.swap_remove(at))
    }
}

/// Seconds after which to try again when everything is taken: about what one exchange takes.
const RETRY_AFTER: u32 = 2;

/// Sends nothing but a code back.
fn say<P: Copy>(now: Instant, out: &mut dyn Outbox<Hop<P>>, origin: Origin, code: Code) {
    let sent = match origin {
        Origin::Responder(responder) => out.respond(now, responder, code, &mut |_| Ok(())),
        Origin::Observer(observation) => {
            let reliability = Reliability::Confirmable;
            out.notify(now, observation, reliability, code, &mut |_| Ok(()))
        }
    };
    if let (Err(_), Origin::Responder(responder)) = (sent, origin) {
        out.ignore(now, responder);
    }
}
