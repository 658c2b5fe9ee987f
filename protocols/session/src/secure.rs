//! The endpoint with sessions: begins handshakes when requests want them.

use crate::peer::{Peer, Roster};
use crate::sessions::{Sessions, Step};
use capmesh_coap::endpoint::{
    Endpoint, Event, ExchangeId, Failure, Outcome, Output, Reliability, Via,
};
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::relay::{Hop, Relaying};
use capmesh_coap::security::Security;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use rand_core::{CryptoRng, RngCore};

/// An [`Endpoint`] whose requests to [members](Peer::Member) are protected: the first one to a peer
/// begins a handshake, and it and those that come meanwhile wait until there is a session.
///
/// It is driven like the endpoint it [dereferences](Deref) to, and everything but
/// [`handle`](Self::handle), [`poll`](Self::poll), [`poll_timeout`](Self::poll_timeout) and
/// [`request`](Self::request) is the endpoint's: use these four here, or handshakes do not go on.
///
/// If a handshake fails, the requests that waited for it end with
/// [`SealError::HandshakeFailed`](capmesh_coap::security::SealError::HandshakeFailed), and
/// [`Sessions::last_failure`] says why.
///
/// `S` is [`Sessions`], or a security layer around them; the numbers are the [`Endpoint`]'s.
#[derive(Debug)]
pub struct SecureEndpoint<
    S: Handshakes,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> {
    endpoint: Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>,
}

/// A security layer that handshakes with peers: [`Sessions`], and what wraps them.
///
/// [`SecureEndpoint`] is the one who calls this.
pub trait Handshakes: Security {
    /// Whoever is at an address.
    fn anonymous(address: SocketAddr) -> Self::Peer;

    /// What is to be done now. The work is at most one Diffie-Hellman operation.
    fn step(&mut self, now: Instant) -> Option<Step>;

    /// When there is something to do next, if nothing else happens.
    fn step_timeout(&self) -> Option<Instant>;

    /// Says which request carries the message of the last [`Step::Send`]; `None` if it could not be
    /// sent.
    fn sent(&mut self, now: Instant, attempt: usize, exchange: Option<ExchangeId>);

    /// With whom a handshake is.
    fn peer_of(&self, attempt: usize) -> Option<Self::Peer>;

    /// The handshake that a request belongs to.
    fn attempt_of(&self, exchange: ExchangeId) -> Option<usize>;

    /// A response to the request of a handshake has come. The work is at most three Diffie-Hellman
    /// operations.
    fn answered(&mut self, now: Instant, attempt: usize, message: Message<'_>);

    /// The request of a handshake was not answered.
    fn unanswered(&mut self, now: Instant, attempt: usize, failure: Failure);

    /// Says that the requests that waited for handshakes which failed have been told.
    fn clear_failures(&mut self);
}

impl<
    S: Handshakes,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> SecureEndpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    /// Adds handshakes to an endpoint.
    #[must_use]
    pub const fn new(
        endpoint: Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>,
    ) -> Self {
        Self { endpoint }
    }

    /// As [`Endpoint::handle`]. Messages of handshakes are dealt with here: at most one for each call,
    /// which is at most three Diffie-Hellman operations.
    pub fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, S::Peer>> {
        let event = self.endpoint.handle(now, from, via, datagram, scratch)?;
        if let Event::Response { exchange, message, .. } = event
            && let Some(attempt) = self.endpoint.security().attempt_of(exchange)
        {
            self.endpoint.security_mut().answered(now, attempt, message);
            return None;
        }
        Some(event)
    }

    /// As [`Endpoint::poll`].
    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        loop {
            while let Some(step) = self.endpoint.security_mut().step(now) {
                self.take(now, &step);
            }
            match self.endpoint.poll(now, buf) {
                Some(Output::Outcome(outcome)) if self.is_ours(now, outcome) => {}
                Some(output) => return Some(output),
                None => {
                    let security = self.endpoint.security_mut();
                    security.clear_failures();
                    // Sealing what waited may have begun a handshake.
                    if security.step_timeout().is_none_or(|at| at > now) {
                        return None;
                    }
                }
            }
        }
    }

    /// As [`Endpoint::poll_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let step = self.endpoint.security().step_timeout();
        [self.endpoint.poll_timeout(), step].into_iter().flatten().min()
    }

    /// Whether an outcome is of a handshake, which is told of it then.
    fn is_ours(&mut self, now: Instant, outcome: Outcome) -> bool {
        let (exchange, failure) = match outcome {
            Outcome::Failed { exchange, reason } => (exchange, reason),
            Outcome::Finished { exchange } => (exchange, Failure::NoResponse),
            Outcome::ObservationEnded { .. } => return false,
        };
        let Some(attempt) = self.endpoint.security().attempt_of(exchange) else { return false };
        self.endpoint.security_mut().unanswered(now, attempt, failure);
        true
    }

    fn take(&mut self, now: Instant, step: &Step) {
        match step {
            Step::Send { attempt, to, payload } => {
                let sent = self.endpoint.request_from_reserve(
                    now,
                    S::anonymous(*to),
                    Reliability::Confirmable,
                    Code::POST,
                    |message| {
                        message.path(".well-known/edhoc")?;
                        message.option_uint(OptionNumber::CONTENT_FORMAT, 65)?;
                        message.payload(payload)?;
                        Ok(())
                    },
                );
                self.endpoint.security_mut().sent(now, *attempt, sent.ok());
            }
            Step::Cancel(exchange) => {
                self.endpoint.cancel(now, *exchange);
            }
        }
    }
}

impl<
    R: Roster,
    G: RngCore + CryptoRng,
    const N: usize,
    const H: usize,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
>
    SecureEndpoint<
        Sessions<R, G, N, H>,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
    >
{
    /// The sessions: the endpoint's security layer.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions<R, G, N, H> {
        self.endpoint.security()
    }

    /// The sessions, to be changed.
    pub const fn sessions_mut(&mut self) -> &mut Sessions<R, G, N, H> {
        self.endpoint.security_mut()
    }
}

impl<
    S: Handshakes,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> Deref for SecureEndpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    type Target = Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>;

    fn deref(&self) -> &Self::Target {
        &self.endpoint
    }
}

impl<
    S: Handshakes,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> DerefMut for SecureEndpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.endpoint
    }
}

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Handshakes
    for Sessions<R, G, N, H>
{
    fn anonymous(address: SocketAddr) -> Peer {
        Peer::Anonymous(address)
    }

    fn step(&mut self, now: Instant) -> Option<Step> {
        self.set_now(now);
        self.next_step()
    }

    fn step_timeout(&self) -> Option<Instant> {
        self.next_step_at()
    }

    fn sent(&mut self, now: Instant, attempt: usize, exchange: Option<ExchangeId>) {
        self.set_now(now);
        self.step_sent(attempt, exchange);
    }

    fn peer_of(&self, attempt: usize) -> Option<Peer> {
        self.peer_of_attempt(attempt)
    }

    fn attempt_of(&self, exchange: ExchangeId) -> Option<usize> {
        self.attempt_with(exchange)
    }

    fn answered(&mut self, now: Instant, attempt: usize, message: Message<'_>) {
        self.set_now(now);
        self.step_answered(attempt, message);
    }

    fn unanswered(&mut self, now: Instant, attempt: usize, failure: Failure) {
        self.set_now(now);
        self.step_unanswered(attempt, failure);
    }

    fn clear_failures(&mut self) {
        self.clear_failing();
    }
}

/// A relay with sessions of its own. Handshakes with those behind another relay go by way of that.
impl<S: Handshakes> Handshakes for Relaying<S> {
    fn anonymous(address: SocketAddr) -> Self::Peer {
        Hop::Peer(S::anonymous(address))
    }

    fn step(&mut self, now: Instant) -> Option<Step> {
        let mut step = self.inner_mut().step(now);
        if let Some(Step::Send { attempt, to, .. }) = &mut step
            && let Some(target) = self.inner().peer_of(*attempt).and_then(|p| self.target_of(p))
        {
            *to = target;
        }
        step
    }

    fn step_timeout(&self) -> Option<Instant> {
        self.inner().step_timeout()
    }

    fn sent(&mut self, now: Instant, attempt: usize, exchange: Option<ExchangeId>) {
        self.inner_mut().sent(now, attempt, exchange);
    }

    fn peer_of(&self, attempt: usize) -> Option<Self::Peer> {
        self.inner().peer_of(attempt).map(Hop::Peer)
    }

    fn attempt_of(&self, exchange: ExchangeId) -> Option<usize> {
        self.inner().attempt_of(exchange)
    }

    fn answered(&mut self, now: Instant, attempt: usize, message: Message<'_>) {
        self.inner_mut().answered(now, attempt, message);
    }

    fn unanswered(&mut self, now: Instant, attempt: usize, failure: Failure) {
        self.inner_mut().unanswered(now, attempt, failure);
    }

    fn clear_failures(&mut self) {
        self.inner_mut().clear_failures();
    }
}
