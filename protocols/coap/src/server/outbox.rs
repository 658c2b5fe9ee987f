//! What servers and relays need of an endpoint, apart from its bounds.

use crate::endpoint::{
    Endpoint, ExchangeId, ObservationId, ObserveError, Reliability, RequestError, RespondError,
    Responder,
};
use crate::message::{Code, MessageWriter, Overflow};
use crate::security::Security;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::ops::DerefMut;

/// Adds options and a payload to a message.
pub type Build<'a> = &'a mut dyn FnMut(&mut MessageWriter<'_>) -> Result<(), Overflow>;

/// The commands of an [`Endpoint`], whatever its bounds and its security: [`Server`](super::Server)
/// and the relay exist once in flash, not once for each kind of endpoint.
pub trait Outbox<P> {
    /// [`Endpoint::respond`].
    ///
    /// # Errors
    /// As there.
    fn respond(
        &mut self,
        now: Instant,
        to: Responder,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError>;

    /// [`Endpoint::ignore`].
    fn ignore(&mut self, now: Instant, to: Responder);

    /// [`Endpoint::reject`].
    fn reject(&mut self, to: Responder);

    /// [`Endpoint::mark_verified`].
    fn mark_verified(&mut self, to: Responder);

    /// [`Endpoint::accept_observation`].
    ///
    /// # Errors
    /// As there.
    fn accept_observation(
        &mut self,
        now: Instant,
        to: Responder,
    ) -> Result<ObservationId, ObserveError>;

    /// [`Endpoint::notify`].
    ///
    /// # Errors
    /// As there.
    fn notify(
        &mut self,
        now: Instant,
        observation: ObservationId,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError>;

    /// [`Endpoint::heard_of`].
    fn heard_of(&self, observation: ObservationId) -> Option<Instant>;

    /// [`Endpoint::end_observation`].
    fn end_observation(&mut self, observation: ObservationId);

    /// [`Endpoint::request`].
    ///
    /// # Errors
    /// As there.
    fn request(
        &mut self,
        now: Instant,
        to: P,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<ExchangeId, RequestError>;

    /// [`Endpoint::cancel`].
    fn cancel(&mut self, now: Instant, exchange: ExchangeId) -> bool;

    /// [`Security::address`].
    fn address(&self, peer: P) -> Option<SocketAddr>;
}

/// What has an endpoint inside of it, and an endpoint that lies elsewhere: one in static memory never
/// passes over the stack.
impl<P, O: DerefMut<Target: Outbox<P>>> Outbox<P> for O {
    fn respond(
        &mut self,
        now: Instant,
        to: Responder,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        (**self).respond(now, to, code, build)
    }

    fn ignore(&mut self, now: Instant, to: Responder) {
        (**self).ignore(now, to);
    }

    fn reject(&mut self, to: Responder) {
        (**self).reject(to);
    }

    fn mark_verified(&mut self, to: Responder) {
        (**self).mark_verified(to);
    }

    fn accept_observation(
        &mut self,
        now: Instant,
        to: Responder,
    ) -> Result<ObservationId, ObserveError> {
        (**self).accept_observation(now, to)
    }

    fn notify(
        &mut self,
        now: Instant,
        observation: ObservationId,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        (**self).notify(now, observation, reliability, code, build)
    }

    fn heard_of(&self, observation: ObservationId) -> Option<Instant> {
        (**self).heard_of(observation)
    }

    fn end_observation(&mut self, observation: ObservationId) {
        (**self).end_observation(observation);
    }

    fn request(
        &mut self,
        now: Instant,
        to: P,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<ExchangeId, RequestError> {
        (**self).request(now, to, reliability, code, build)
    }

    fn cancel(&mut self, now: Instant, exchange: ExchangeId) -> bool {
        (**self).cancel(now, exchange)
    }

    fn address(&self, peer: P) -> Option<SocketAddr> {
        (**self).address(peer)
    }
}

impl<
    S: Security,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
    P: Into<S::Peer>,
> Outbox<P> for Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    fn respond(
        &mut self,
        now: Instant,
        to: Responder,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        Self::respond(self, now, to, code, build)
    }

    fn ignore(&mut self, now: Instant, to: Responder) {
        Self::ignore(self, now, to);
    }

    fn reject(&mut self, to: Responder) {
        Self::reject(self, to);
    }

    fn mark_verified(&mut self, to: Responder) {
        Self::mark_verified(self, to);
    }

    fn accept_observation(
        &mut self,
        now: Instant,
        to: Responder,
    ) -> Result<ObservationId, ObserveError> {
        Self::accept_observation(self, now, to)
    }

    fn notify(
        &mut self,
        now: Instant,
        observation: ObservationId,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        Self::notify(self, now, observation, reliability, code, build)
    }

    fn heard_of(&self, observation: ObservationId) -> Option<Instant> {
        Self::heard_of(self, observation)
    }

    fn end_observation(&mut self, observation: ObservationId) {
        Self::end_observation(self, observation);
    }

    fn request(
        &mut self,
        now: Instant,
        to: P,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<ExchangeId, RequestError> {
        Self::request(self, now, to.into(), reliability, code, build)
    }

    fn cancel(&mut self, now: Instant, exchange: ExchangeId) -> bool {
        Self::cancel(self, now, exchange)
    }

    fn address(&self, peer: P) -> Option<SocketAddr> {
        self.security().address(peer.into())
    }
}
