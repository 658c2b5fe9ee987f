//! Both roles of CoAP in one state machine: the message layer of RFC 7252 section 4, requests and
//! responses (section 5), groups (section 8), and observation (RFC 7641).
//!
//! ```text
//!                 request, cancel, respond, notify ...
//!                            |
//!   datagram -> handle -> [endpoint] -> poll -> datagram, outcome
//!                 |          |
//!        Event (a message)  poll_timeout (when to come back)
//! ```
//!
//! # How to drive it
//! Give every datagram to [`Endpoint::handle`] and deal with the event it returns. After every call
//! that takes `&mut self`, call [`Endpoint::poll`] until it returns `None`, and again at
//! [`Endpoint::poll_timeout`]. `now` never goes back.
//!
//! # Words
//! - An *exchange* is a request of this side's with all that becomes of it, or a ping.
//! - A *responder* stands for a request of the other side's that has not been answered.
//! - An *observation* is one client's wish to hear of changes; the client's side of it is an
//!   exchange that goes on.
//!
//! # Invariants
//! - Every exchange ends exactly once: with a response marked `last`, with an [`Outcome`], or by
//!   [`Endpoint::cancel`].
//! - A request is handed to the application at most once for as long as the memory for duplicates
//!   reaches back: the last `RECENT` messages at least.
//! - All memory is inline and sized by the type's constants; nothing that comes in makes it grow.
//!
//! # What is not here
//! Block-wise transfer, resources, proxying and caching: they use this. Congestion control beyond
//! RFC 7252's (NSTART, exponential back-off).

mod config;
mod stats;
mod types;

pub use config::Config;
pub use stats::Stats;
pub use types::{
    EndReason, Event, ExchangeId, Failure, ObservationId, ObserveError, Outcome, Output,
    Reliability, RequestError, RespondError, Responder, Via,
};

use crate::message::{Code, MessageWriter, Overflow};
use crate::security::Security;
use capmesh_wire::Instant;
use core::net::SocketAddr;

/// An endpoint for a small board: datagrams of up to 1,152 bytes (RFC 7252 section 4.6), 4 exchanges,
/// 4 requests unanswered, 4 observers.
pub type BoardEndpoint<S> = Endpoint<S, 1152, 4, 4, 4, 16, 4608>;

/// An endpoint for a gateway: datagrams of up to 1,280 bytes, 512 exchanges, 256 requests
/// unanswered, 1,024 observers. It takes about 1.5 MB: make it where it stays.
pub type GatewayEndpoint<S> = Endpoint<S, 1280, 512, 256, 1024, 8192, 524_288>;

/// One CoAP endpoint: client and server at once. See the [module](self) for how to drive it.
///
/// - `MTU`: length of the longest datagram, in or out.
/// - `EXCHANGES`: outgoing messages that wait for something: requests until their response,
///   confirmable responses and notifications until their acknowledgement, pings, responses to
///   multicast requests until their moment, and (as a client) observations.
/// - `UNANSWERED`: incoming requests that the application has not answered.
/// - `OBSERVERS`: observations that this side serves.
/// - `RECENT`: messages remembered to find duplicates.
/// - `REPLIES`: bytes for replies, kept to answer duplicates of confirmable requests; at least two
///   `MTU`s.
#[derive(Debug)]
pub struct Endpoint<
    S: Security,
    const MTU: usize,
    const EXCHANGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> {
    config: Config,
    security: S,
    stats: Stats,
}

impl<
    S: Security,
    const MTU: usize,
    const EXCHANGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> Endpoint<S, MTU, EXCHANGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    /// An endpoint with nothing going on.
    ///
    /// `seed` makes tokens, message ids and jitter. It has to be 16 bytes of a cryptographically
    /// secure generator, fresh at every start: with [`Plain`](crate::security::Plain), an attacker
    /// who is not on the path is kept from answering requests only by not knowing their tokens.
    #[must_use]
    pub fn new(config: Config, security: S, _seed: [u8; 16]) -> Self {
        Self { config, security, stats: Stats::default() }
    }

    /// Takes a datagram that came from `from`, and lends the request or response in it.
    ///
    /// `scratch` has to be `MTU` bytes long; what it holds does not matter. A datagram longer than
    /// `MTU` is dropped.
    ///
    /// The work is one pass over the datagram, a search by hash, and at most one operation of the
    /// security layer.
    pub fn handle<'b>(
        &mut self,
        _now: Instant,
        _from: SocketAddr,
        _via: Via,
        _datagram: &'b [u8],
        _scratch: &'b mut [u8],
    ) -> Option<Event<'b, S::Peer>> {
        stats::count(&mut self.stats.received);
        None
    }

    /// The next datagram to send, written to `buf`, which has to be `MTU` bytes long, or the next
    /// outcome; `None` if there is nothing to do before [`Endpoint::poll_timeout`].
    ///
    /// The work of one call is at most one operation of the security layer, and the timers that are
    /// due and lead to nothing.
    pub fn poll(&mut self, _now: Instant, _buf: &mut [u8]) -> Option<Output> {
        None
    }

    /// When [`Endpoint::poll`] has something to do next, if nothing else happens: exact, and in the
    /// past if that is now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Sends a request. `build` adds the options and the payload.
    ///
    /// With Observe: 0 among the options it is an observation: if the other side accepts it, responses
    /// go on until one is marked `last`, until [`Endpoint::cancel`] or [`Endpoint::deregister`].
    /// With No-Response (RFC 7967) for all classes it ends with [`Outcome::Finished`]. `to` may be a
    /// group if the security layer gives a multicast address for it: responses are collected for
    /// [`Config::multicast_wait`].
    ///
    /// If the other side asks for an Echo value (RFC 9175), the request is repeated with it, once.
    ///
    /// # Errors
    /// If the request cannot be taken. What goes wrong later is reported as an [`Outcome`].
    pub fn request(
        &mut self,
        _now: Instant,
        _to: S::Peer,
        _reliability: Reliability,
        _code: Code,
        _build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<ExchangeId, RequestError> {
        Err(RequestError::Full)
    }

    /// Asks `to` for a sign of life by an empty confirmable message ("CoAP ping"), outside of all
    /// security. The answer is [`Outcome::Finished`].
    ///
    /// # Errors
    /// [`RequestError::Full`], or [`RequestError::ConfirmableMulticast`].
    pub fn ping(&mut self, _now: Instant, _to: SocketAddr) -> Result<ExchangeId, RequestError> {
        Err(RequestError::Full)
    }

    /// Forgets an exchange; nothing more is reported of it. A response that comes all the same is
    /// rejected with a Reset, which ends an observation at the other side (RFC 7641 section 3.6).
    /// Returns whether there was such an exchange.
    pub fn cancel(&mut self, _now: Instant, _exchange: ExchangeId) -> bool {
        false
    }

    /// Ends an observation by telling the other side, with the same request and Observe: 1 (RFC 7641
    /// section 3.6). Its response is the last one. Returns whether there was such an observation.
    pub fn deregister(&mut self, _now: Instant, _exchange: ExchangeId) -> bool {
        false
    }

    /// Answers a request. `build` adds the options and the payload.
    ///
    /// The response travels with the acknowledgement if that has not been sent, by itself otherwise.
    /// If the request says with No-Response (RFC 7967) that it does not want a response of this
    /// class, or if it was a multicast request and the response is withdrawn by the application's
    /// silence, nothing is sent but the acknowledgement.
    ///
    /// # Errors
    /// If the response cannot be sent; after [`RespondError::Overflow`],
    /// [`RespondError::Unverified`] and [`RespondError::Code`] another one can.
    pub fn respond(
        &mut self,
        _now: Instant,
        _to: Responder,
        _code: Code,
        _build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(), RespondError> {
        Err(RespondError::Gone)
    }

    /// Leaves a request unanswered: a multicast request that has nothing to do with this side, say.
    /// A confirmable one is acknowledged all the same.
    pub fn ignore(&mut self, _now: Instant, _to: Responder) {}

    /// Says that the request has proved that its sender receives at its address (with an Echo value
    /// for instance), so that the response to it may be of any length.
    pub fn mark_verified(&mut self, _to: Responder) {}

    /// Accepts a request with Observe: 0 as an observation; the response to it is still to be sent
    /// with [`Endpoint::respond`], which adds the Observe option. A response that is not a success
    /// ends the observation again.
    ///
    /// If this client observes with this token already, the observation is renewed and keeps its
    /// name.
    ///
    /// # Errors
    /// If the request is to be answered as one without Observe.
    pub fn accept_observation(
        &mut self,
        _now: Instant,
        _to: Responder,
    ) -> Result<ObservationId, ObserveError> {
        Err(ObserveError::Full)
    }

    /// Sends the new representation to an observer. `build` adds the options (without Observe) and
    /// the payload. A code that is not a success ends the observation.
    ///
    /// It is confirmable if `reliability` says so or [`Config::confirm_every`] or
    /// [`Config::confirm_within`] demand it. While a confirmable notification is unacknowledged, this
    /// one takes its place and is sent when the other is acknowledged or would be retransmitted
    /// (RFC 7641 section 4.5.2): observers get the newest state, not all of them.
    ///
    /// # Errors
    /// If it cannot be sent. After [`RespondError::Security`] the observation is gone.
    pub fn notify(
        &mut self,
        _now: Instant,
        _observation: ObservationId,
        _reliability: Reliability,
        _code: Code,
        _build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(), RespondError> {
        Err(RespondError::Gone)
    }

    /// Forgets an observer without telling it.
    pub fn end_observation(&mut self, _observation: ObservationId) {}

    /// The security layer.
    #[must_use]
    pub const fn security(&self) -> &S {
        &self.security
    }

    /// The security layer, to be changed. Requests that are held because it was not ready are tried
    /// again in [`Endpoint::poll`].
    pub const fn security_mut(&mut self) -> &mut S {
        &mut self.security
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}
