//! The endpoint with sessions: begins handshakes when requests want them.

use crate::peer::{Peer, Roster};
use crate::sessions::{Sessions, Step};
use capmesh_coap::endpoint::{
    Endpoint, Event, ExchangeId, Failure, Outcome, Output, Reliability, RequestError, Via,
};
use capmesh_coap::message::{Code, MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
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
#[derive(Debug)]
pub struct SecureEndpoint<
    R: Roster,
    G: RngCore + CryptoRng,
    const N: usize,
    const H: usize,
    const MTU: usize,
    const EXCHANGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> {
    endpoint:
        Endpoint<Sessions<R, G, N, H>, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>,
}

impl<
    R: Roster,
    G: RngCore + CryptoRng,
    const N: usize,
    const H: usize,
    const MTU: usize,
    const EXCHANGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> SecureEndpoint<R, G, N, H, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    /// Adds handshakes to an endpoint.
    #[must_use]
    pub const fn new(
        endpoint: Endpoint<
            Sessions<R, G, N, H>,
            MTU,
            EXCHANGES,
            UNANSWERED,
            OBSERVERS,
            RECENT,
            REPLIES,
        >,
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
    ) -> Option<Event<'b, Peer>> {
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
                self.take(now, step);
            }
            match self.endpoint.poll(now, buf) {
                Some(Output::Outcome(outcome)) if self.is_ours(now, outcome) => {}
                Some(output) => return Some(output),
                None => {
                    let sessions = self.endpoint.security_mut();
                    sessions.clear_failures();
                    // Sealing what waited may have begun a handshake.
                    if sessions.step_timeout().is_none_or(|at| at > now) {
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

    /// As [`Endpoint::request`], but keeps room for the handshake.
    ///
    /// # Errors
    /// As [`Endpoint::request`]; [`RequestError::Full`] one exchange earlier.
    pub fn request(
        &mut self,
        now: Instant,
        to: Peer,
        reliability: Reliability,
        code: Code,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<ExchangeId, RequestError> {
        if self.endpoint.exchanges_free() < 2 {
            return Err(RequestError::Full);
        }
        self.endpoint.request(now, to, reliability, code, build)
    }

    /// The sessions.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions<R, G, N, H> {
        self.endpoint.security()
    }

    /// The sessions, to be changed.
    pub const fn sessions_mut(&mut self) -> &mut Sessions<R, G, N, H> {
        self.endpoint.security_mut()
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

    fn take(&mut self, now: Instant, step: Step) {
        match step {
            Step::Send { attempt, to, payload } => {
                let sent = self.endpoint.request(
                    now,
                    Peer::Anonymous(to),
                    Reliability::Confirmable,
                    Code::POST,
                    |message| {
                        message.path(".well-known/edhoc")?;
                        message.option_uint(OptionNumber::CONTENT_FORMAT, 65)?;
                        message.payload(&payload)?;
                        Ok(())
                    },
                );
                self.endpoint.security_mut().sent(now, attempt, sent.ok());
            }
            Step::Cancel(exchange) => {
                self.endpoint.cancel(now, exchange);
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
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> Deref for SecureEndpoint<R, G, N, H, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    type Target =
        Endpoint<Sessions<R, G, N, H>, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>;

    fn deref(&self) -> &Self::Target {
        &self.endpoint
    }
}

impl<
    R: Roster,
    G: RngCore + CryptoRng,
    const N: usize,
    const H: usize,
    const MTU: usize,
    const EXCHANGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> DerefMut for SecureEndpoint<R, G, N, H, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.endpoint
    }
}
