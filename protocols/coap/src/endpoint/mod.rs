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
//! # Stack
//! What calls the security layer is kept out of line, so that a handshake, which needs most of the
//! stack, starts from a shallow frame.
//!
//! # What is not here
//! Block-wise transfer, resources, proxying and caching: they use this. Congestion control beyond
//! RFC 7252's (NSTART, exponential back-off).

mod client;
mod config;
mod dedup;
mod exchange;
pub(crate) mod hash;
mod messages;
mod observe;
mod outbox;
mod reliability;
mod server;
mod stats;
mod table;
mod timers;
mod types;

pub use config::Config;
pub use stats::Stats;
pub use types::{
    EndReason, Event, ExchangeId, Failure, ObservationId, ObserveError, Outcome, Output,
    Reliability, RequestError, RespondError, Responder, Via,
};

use crate::message::{Code, Kind, Malformed, Message, MessageWriter, Overflow};
use crate::security::Security;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use dedup::{Recent, Replies};
use exchange::{Exchange, Queue, Remotes};
use hash::{Address, Secret};
use messages::Messages;
use observe::Observer;
use outbox::{Outbox, Reply};
use server::Unanswered;
use stats::count;
use table::{Chains, Link, Table};
use timers::{Timer, Timers};

/// What this build is capable of. Constants rather than conditional compilation, so that every line
/// is checked in every build; what is never reached is not in the image.
const OBSERVE: bool = cfg!(feature = "observe");
const GROUPS: bool = cfg!(feature = "groups");
const ECHO: bool = cfg!(feature = "echo");

/// Adds options and payload to a message. Not generic, so that what uses it exists once.
type Build<'a> = &'a mut dyn FnMut(&mut MessageWriter<'_>) -> Result<(), Overflow>;

/// An endpoint for a small board: datagrams of up to 1,152 bytes (RFC 7252 section 4.6), 4 exchanges,
/// 4 requests unanswered, 4 observers.
pub type BoardEndpoint<S> = Endpoint<S, 1152, 4, 4624, 4, 4, 16, 4608>;

/// An endpoint for a gateway: datagrams of up to 1,280 bytes, 512 exchanges, 256 requests
/// unanswered, 1,024 observers. It takes about 1.7 MB: make it where it stays.
pub type GatewayEndpoint<S> = Endpoint<S, 1280, 512, 657_408, 256, 1024, 8192, 524_288>;

/// One CoAP endpoint: client and server at once. See the [module](self) for how to drive it.
///
/// - `MTU`: length of the longest datagram, in or out.
/// - `EXCHANGES`: outgoing messages that wait for something: requests until their response,
///   confirmable responses and notifications until their acknowledgement, pings, responses to
///   multicast requests until their moment, and (as a client) observations.
/// - `MESSAGES`: bytes for the messages of exchanges, each with 4 bytes more than it has when it is
///   sealed; an observation keeps its request. At least one `MTU` and 4; with as much for each of
///   `EXCHANGES` there is always room, with less, new exchanges are refused as
///   [`RequestError::Full`] while it is taken, and one that grows when it is sealed ends with
///   [`SealError::Overflow`](crate::security::SealError::Overflow).
/// - `UNANSWERED`: incoming requests that the application has not answered.
/// - `OBSERVERS`: observations that this side serves.
/// - `RECENT`: messages remembered to find duplicates.
/// - `REPLIES`: bytes for replies, kept to answer duplicates of confirmable requests; at least two
///   `MTU`s if the security layer authenticates, else one.
///
/// RAM on a 64-bit machine, with [`Plain`](crate::security::Plain): 200 bytes for each exchange
/// beside `MESSAGES`, 152 for each request unanswered, 136 for each observer, 24 to 40 for each recent
/// message. It is made by value: making a large one needs stack for it, several times over in a debug
/// build.
// In this order because small offsets take fewer bytes of code.
#[derive(Debug)]
#[repr(C)]
pub struct Endpoint<
    S: Security,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> {
    /// When the call under way was made, or the last one.
    now: Instant,
    /// EXCHANGE_LIFETIME and NON_LIFETIME in microseconds.
    exchange_lifetime: u64,
    non_lifetime: u64,
    secret: Secret,
    /// Requests that the security layer was not ready for, and its readiness when they were tried.
    readiness: u32,
    held: Queue,
    stats: Stats,
    config: Config,
    /// Message ids, by hash of the address.
    ids: [u16; EXCHANGES],
    timers: Timers<EXCHANGES, UNANSWERED, OBSERVERS>,
    by_id: Chains<[Link; EXCHANGES]>,
    by_relation: Chains<[Link; OBSERVERS]>,

    exchanges: Table<Exchange<S::Peer, S::Binding>, EXCHANGES>,
    unanswered: Table<Unanswered<S::Peer, S::Binding>, UNANSWERED>,
    observers: Table<Observer<S::Peer, S::Binding>, OBSERVERS>,
    remotes: Remotes<EXCHANGES>,
    outbox: Outbox,
    recent: Recent<RECENT>,
    security: S,

    replies: Replies<REPLIES>,
    /// The message of each exchange: the inner one before it is sealed, the outer one afterwards.
    messages: Messages<MTU, MESSAGES, EXCHANGES>,
    /// Where inner messages are written before they are sealed.
    scratch: [u8; MTU],
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
> Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    /// An endpoint with nothing going on.
    ///
    /// `seed` makes tokens, message ids and jitter. It has to be 16 bytes of a cryptographically
    /// secure generator, fresh at every start: with [`Plain`](crate::security::Plain), an attacker
    /// who is not on the path is kept from answering requests only by not knowing their tokens.
    #[must_use]
    pub fn new(config: Config, security: S, seed: [u8; 16]) -> Self {
        const {
            assert!(MTU >= 64 && MTU <= u16::MAX as usize, "a datagram has 64 to 65,535 bytes");
            assert!(EXCHANGES > 0 && UNANSWERED > 0, "both roles need room");
            assert!(MESSAGES >= messages::HEADER + MTU, "a message can be as long as a datagram");
            assert!(MESSAGES < u32::MAX as usize, "32 bits say where a message lies");
            let rings = if S::AUTHENTICATES { 2 } else { 1 };
            assert!(REPLIES >= rings * MTU, "a reply can be as long as a datagram");
        }
        let mut secret = Secret::new(seed);
        let mut ids = [0; EXCHANGES];
        for id in &mut ids {
            let [high, low, ..] = secret.random().to_be_bytes();
            *id = u16::from_be_bytes([high, low]);
        }
        Self {
            exchange_lifetime: config.exchange_lifetime_micros(),
            non_lifetime: config.non_lifetime_micros(),
            config,
            now: Instant::ZERO,
            readiness: security.readiness(),
            security,
            stats: Stats::default(),
            secret,
            timers: Timers::new(),
            ids,
            exchanges: Table::new(),
            messages: Messages::EMPTY,
            by_id: Chains::new(),
            remotes: Remotes::new(),
            held: Queue::new(),
            unanswered: Table::new(),
            observers: Table::new(),
            by_relation: Chains::new(),
            recent: Recent::new(S::AUTHENTICATES),
            replies: Replies::new(S::AUTHENTICATES, MTU),
            outbox: Outbox::new(),
            scratch: [0; MTU],
        }
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
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, S::Peer>> {
        self.now = now;
        count(&mut self.stats.received);
        if datagram.len() > MTU {
            count(&mut self.stats.malformed);
            return None;
        }
        let from = self.secret.address(from);
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(error) => {
                self.on_malformed(from, via, datagram, error);
                return None;
            }
        };
        let (kind, code) = (message.kind(), message.code());
        match kind {
            // RFC 7252 section 8.1: nothing else is sent to a group, so nothing else is answered.
            _ if via == Via::Multicast => {
                if GROUPS && kind == Kind::NonConfirmable && code.is_request() {
                    return self.on_request(from, via, message, scratch);
                }
                count(&mut self.stats.malformed);
            }
            Kind::Confirmable if code == Code::EMPTY => self.reset(from, message),
            Kind::Acknowledgement if code == Code::EMPTY => {
                self.on_acknowledgement(from, message.id());
            }
            Kind::Reset if code == Code::EMPTY => self.on_reset(from, message.id()),
            Kind::Confirmable | Kind::NonConfirmable if code.is_request() => {
                return self.on_request(from, via, message, scratch);
            }
            Kind::Confirmable | Kind::NonConfirmable | Kind::Acknowledgement
                if code.is_response() =>
            {
                return self.on_response(from, message, scratch);
            }
            _ => count(&mut self.stats.malformed),
        }
        None
    }

    /// Rejects what is no message: a confirmable one with a reset, everything else silently (RFC
    /// 7252 sections 4.2 and 4.3). A message of another version is none at all (section 3).
    fn on_malformed(&mut self, from: Address, via: Via, datagram: &[u8], error: Malformed) {
        count(&mut self.stats.malformed);
        let &[first, _, high, low, ..] = datagram else { return };
        let confirmable = first & 0b0011_0000 == 0;
        if confirmable && via == Via::Unicast && error != Malformed::Version {
            self.reply(from, Reply::Empty(Kind::Reset, u16::from_be_bytes([high, low])));
        }
    }

    /// The next datagram to send, written to `buf`, which has to be `MTU` bytes long, or the next
    /// outcome; `None` if there is nothing to do before [`Endpoint::poll_timeout`].
    ///
    /// The work of one call is at most one operation of the security layer, and the timers that are
    /// due and lead to nothing.
    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        self.now = now;
        loop {
            if let Some(output) = self.poll_reply(buf) {
                return Some(output);
            }
            self.retry_held();
            let output = match self.timers.take_due(now)? {
                Timer::Exchange(slot) => self.exchange_due(slot, buf),
                Timer::Unanswered(slot) => {
                    self.unanswered_due(slot);
                    None
                }
                Timer::Observer(slot) => self.observer_due(slot),
            };
            if output.is_some() {
                return output;
            }
        }
    }

    /// When [`Endpoint::poll`] has something to do next, if nothing else happens: exact, and in the
    /// past if that is now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.outbox.is_empty() || self.security.readiness() != self.readiness {
            return Some(Instant::ZERO);
        }
        self.timers.next().map(|(at, _)| at)
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
        now: Instant,
        to: S::Peer,
        reliability: Reliability,
        code: Code,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<ExchangeId, RequestError> {
        if self.exchanges_free() <= S::RESERVED {
            return Err(RequestError::Full);
        }
        self.request_from_reserve(now, to, reliability, code, build)
    }

    /// As [`Endpoint::request`], for what the security layer itself asks: it may take the exchanges that
    /// [`Security::RESERVED`] keeps.
    ///
    /// # Errors
    /// As there.
    pub fn request_from_reserve(
        &mut self,
        now: Instant,
        to: S::Peer,
        reliability: Reliability,
        code: Code,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<ExchangeId, RequestError> {
        self.now = now;
        let mut build = Some(build);
        self.start_request(to, reliability, code, &mut |writer| once(&mut build, writer))
    }

    /// Asks `to` for a sign of life by an empty confirmable message ("CoAP ping"), outside of all
    /// security. The answer is [`Outcome::Finished`].
    ///
    /// # Errors
    /// [`RequestError::Full`], or [`RequestError::ConfirmableMulticast`].
    pub fn ping(&mut self, now: Instant, to: SocketAddr) -> Result<ExchangeId, RequestError> {
        self.now = now;
        self.start_ping(to)
    }

    /// Forgets an exchange; nothing more is reported of it. A response that comes all the same is
    /// rejected with a Reset, which ends an observation at the other side (RFC 7641 section 3.6).
    /// Returns whether there was such an exchange.
    pub fn cancel(&mut self, now: Instant, exchange: ExchangeId) -> bool {
        self.now = now;
        self.is_outstanding(exchange) && self.release(exchange.slot)
    }

    /// Ends an observation by telling the other side, with the same request and Observe: 1 (RFC 7641
    /// section 3.6). Its response is the last one. Returns whether there was such an observation.
    pub fn deregister(&mut self, now: Instant, exchange: ExchangeId) -> bool {
        self.now = now;
        self.is_outstanding(exchange) && self.end_observation_there(exchange.slot)
    }

    /// Answers a request. `build` adds the options and the payload.
    ///
    /// The response travels with the acknowledgement if that has not been sent, by itself otherwise.
    /// If the request says with No-Response (RFC 7967) that it does not want a response of this
    /// class, nothing is sent but the acknowledgement. The response to a multicast request goes out
    /// at a random moment of [`Config::leisure`].
    ///
    /// # Errors
    /// If the response cannot be sent; after [`RespondError::Overflow`],
    /// [`RespondError::Unverified`] and [`RespondError::Code`] another one can.
    pub fn respond(
        &mut self,
        now: Instant,
        to: Responder,
        code: Code,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(), RespondError> {
        self.now = now;
        let mut build = Some(build);
        self.send_response(to, code, &mut |writer| once(&mut build, writer))
    }

    /// Leaves a request unanswered: a multicast request that has nothing to do with this side, say.
    /// A confirmable one is acknowledged all the same.
    pub fn ignore(&mut self, now: Instant, to: Responder) {
        self.now = now;
        self.leave_unanswered(to);
    }

    /// Rejects a request that makes no sense (RFC 7252 sections 4.2 and 4.3): with a reset, unless
    /// the group was asked or it has been acknowledged.
    pub fn reject(&mut self, to: Responder) {
        self.reject_request(to);
    }

    /// Says that the request has proved that its sender receives at its address (with an Echo value
    /// for instance), so that the response to it may be of any length.
    pub fn mark_verified(&mut self, to: Responder) {
        self.lift_budget(to);
    }

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
        now: Instant,
        to: Responder,
    ) -> Result<ObservationId, ObserveError> {
        self.now = now;
        self.take_observer(to)
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
        now: Instant,
        observation: ObservationId,
        reliability: Reliability,
        code: Code,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<(), RespondError> {
        self.now = now;
        let mut build = Some(build);
        self.send_notification(observation, reliability, code, &mut |writer| {
            once(&mut build, writer)
        })
    }

    /// When an observer last showed that it is there: it has registered, or acknowledged a
    /// notification. `None` if there is no such observer.
    #[must_use]
    pub fn heard_of(&self, observation: ObservationId) -> Option<Instant> {
        let slot = self.observer_slot(observation)?;
        self.observers.get(slot).map(|observer| observer.heard)
    }

    /// Forgets an observer without telling it.
    pub fn end_observation(&mut self, observation: ObservationId) {
        self.forget_observer(observation);
    }

    /// How many more exchanges there is room for.
    #[must_use]
    pub const fn exchanges_free(&self) -> usize {
        EXCHANGES - self.exchanges.len()
    }

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

    /// Whether a name still stands for a request or a ping whose end has not been reported.
    fn is_outstanding(&self, id: ExchangeId) -> bool {
        self.exchanges.named(id.slot, id.generation).is_some()
    }
}

/// Calls what can be called once, the first time.
fn once<F>(build: &mut Option<F>, writer: &mut MessageWriter<'_>) -> Result<(), Overflow>
where
    F: FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
{
    build.take().map_or(Ok(()), |build| build(writer))
}
