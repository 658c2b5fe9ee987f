//! Serving resources.
//!
//! A [`Server`] stands between an [`Endpoint`](crate::Endpoint) and a table of [`Resource`]s, and
//! does for all of them what each would otherwise do by itself: routing by path, refusing what is
//! not understood (4.02, 4.05, 4.06, 5.05), preconditions (If-Match, If-None-Match), validation (2.03
//! with ETag), block-wise transfer of both bodies, observers, `.well-known/core`, and Echo challenges
//! (RFC 9175) to those whose address is not verified.
//!
//! Resources belong to the caller, who lends them for each call as a table of [`Route`]s, made on the
//! spot: so that they can borrow from one state machine what each of them needs.
//!
//! ```text
//! loop {
//!     if let Some(event) = endpoint.handle(now, from, via, datagram, &mut scratch) {
//!         let mut routes = [Route::at("light", &mut light), Route::below("topics", &mut topics)];
//!         let rest = server.handle(now, &mut endpoint, &mut routes, event, &mut buf);
//!         // `rest` is a response to a request of this side's, if it is anything
//!         while server.poll(now, &mut endpoint, &mut routes, &mut buf) {}
//!     }
//!     while let Some(output) = endpoint.poll(now, &mut buf) { /* send; server.ended(..) */ }
//! }
//! ```
//!
//! # Invariants
//! - A GET or FETCH has no effect on a resource, so that it can be rendered block by block and for
//!   each observer. Everything else reaches a resource once, with its whole body, unless the
//!   resource takes the body in parts.
//! - What a server keeps is bounded by its type: observers, bodies that come in blocks, and responses
//!   that go in blocks and cannot be rendered again.
//!
//! # What is not here
//! Proxying (see [`relay`](crate::relay)), and authorisation: a resource is told who asks.

mod answer;
mod discovery;
mod observers;
mod options;
mod outbox;
mod refusal;
mod render;
mod reply;
mod request;
mod resource;

pub use observers::{OBSERVE_REQUEST, SILENCE};
pub use outbox::{Build, Outbox};
pub use refusal::Refusal;
pub use reply::Reply;
pub use request::{Part, Request, Unfinished};
pub use resource::{Done, Handled, Resource, Route};

use crate::block::{Assembler, BlockSize};
use crate::echo::EchoKey;
use crate::endpoint::{Event, ObservationId, Responder, Via};
use crate::message::Message;
use crate::option::OptionNumber;
use capmesh_wire::Instant;
use core::time::Duration;
use heapless::Vec;
use observers::Observers;

/// How a server treats its clients.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The size of blocks, in both directions, unless the client asks for smaller ones.
    pub block: BlockSize,
    /// How long to wait for the next block of a body before it is given up, and for how long a
    /// response is kept whose later blocks have not been asked for.
    pub patience: Duration,
    /// How old an Echo value may be that proves a client's address.
    pub echo_age: Duration,
}

impl Default for ServerConfig {
    /// Blocks of 512 bytes, which fit the MTU of 1,280 that IPv6 guarantees with room for OSCORE and
    /// a relay; 60 s of patience, more than the 45 s over which a block may be retransmitted; Echo
    /// values valid for 10 minutes.
    fn default() -> Self {
        const { assert!(BlockSize::at_most(512).is_some()) };
        Self {
            block: BlockSize::at_most(512).unwrap_or(BlockSize::MAX),
            patience: Duration::from_secs(60),
            echo_age: Duration::from_secs(600),
        }
    }
}

/// The server role, for peers of type `P`. See the [module](self).
///
/// - `OBSERVERS`: observers at once. For one more, the one that has shown no sign of life for longest
///   makes way, and is told so with 5.03; if all have within [`SILENCE`], the new one is answered as if
///   it had not asked to observe.
/// - `BODIES`: bodies that come, and responses to other methods than GET that go, in blocks at once.
///   One more is answered 5.03 with Max-Age.
/// - `BODY`: the most bytes of each. A larger body is answered 4.13 with Size1, if possible at its
///   first block.
#[derive(Debug)]
pub struct Server<P, const OBSERVERS: usize, const BODIES: usize, const BODY: usize> {
    config: ServerConfig,
    echo: EchoKey,
    /// Addresses that are verified, by name, and since when.
    verified: Vec<(u64, Instant), VERIFIED>,
    observers: Observers<P, OBSERVERS>,
    bodies: Assembler<P, BODIES, BODY>,
}

/// A request on its way to a resource.
#[derive(Clone, Copy)]
struct Incoming<'b, P> {
    responder: Responder,
    peer: P,
    message: Message<'b>,
    via: Via,
}

impl<P: Copy + Eq, const OBSERVERS: usize, const BODIES: usize, const BODY: usize>
    Server<P, OBSERVERS, BODIES, BODY>
{
    /// The shortest buffer that [`Server::handle`] and [`Server::poll`] can work with, in bytes:
    /// what a response's options may take, and the smallest block. A buffer of [`Server::BUFFER`]
    /// plus 1,008 bytes has room for the largest block.
    pub const BUFFER: usize = Reply::HEAD + 16;

    /// A server without observers. `key` is for Echo values.
    #[must_use]
    pub const fn new(config: ServerConfig, key: EchoKey) -> Self {
        let bodies = Assembler::new(config.patience, config.block);
        Self { config, echo: key, verified: Vec::new(), observers: Observers::new(), bodies }
    }

    /// Deals with an event if it is a request, and returns it if it is not.
    ///
    /// `buf` is where the response is rendered, and may be the buffer that
    /// [`Endpoint::poll`](crate::Endpoint::poll) fills; how much there is behind the first
    /// [`Server::BUFFER`] bytes limits the block size.
    ///
    /// The work is the routing, which compares with each route, and the resource's; with If-Match or
    /// If-None-Match, the representation is rendered once more.
    pub fn handle<'b>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        routes: &mut [Route<'_, P>],
        event: Event<'b, P>,
        buf: &mut [u8],
    ) -> Option<Event<'b, P>> {
        let Event::Request { responder, peer, message, via } = event else { return Some(event) };
        let incoming = Incoming { responder, peer, message, via };
        self.check_echo(now, out, &incoming);
        self.answer(now, out, routes, incoming, buf);
        None
    }

    /// Sends a notification to one observer that [`Server::changed`] or a request has made due.
    /// Returns whether there was one; call it until there is none.
    pub fn poll(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        routes: &mut [Route<'_, P>],
        buf: &mut [u8],
    ) -> bool {
        let Some(observer) = self.observers.next_changed() else { return false };
        if !self.notify(now, out, routes, &observer, buf) {
            self.observers.remove(observer.id);
        }
        true
    }

    /// Says that a body which a resource takes in parts was answered [later](Done::Later) and for good, so
    /// that no further part of it comes: another one finds room at once.
    pub fn release(&mut self, body: Unfinished<P>) {
        self.bodies.tracker().abandon(body.slot, body.peer);
    }

    /// Says that the resource at this path has changed; its observers are notified by
    /// [`Server::poll`]. The work is a comparison with each observer's path.
    pub fn changed(&mut self, path: &str) {
        let segments = || path.split('/').filter(|segment| !segment.is_empty());
        self.observers.mark(&|observed| observed.eq(segments().map(str::as_bytes)));
    }

    /// Has every observer told what it observes, changed or not, by [`Server::poll`]: one that is not
    /// there any more does not acknowledge that, and its observation ends. RFC 7641 section 4.5 wants
    /// this once a day at least.
    pub fn check_observers(&mut self) {
        self.observers.mark_all();
    }

    /// Says that an observation has ended
    /// ([`Outcome::ObservationEnded`](crate::endpoint::Outcome::ObservationEnded)).
    pub fn ended(&mut self, observation: ObservationId) {
        self.observers.remove(observation);
    }

    /// How many observers there are.
    #[must_use]
    pub fn observers(&self) -> usize {
        self.observers.len()
    }

    /// Takes an Echo value that comes with the request as the proof of its sender's address, and of
    /// those that come from there for a while.
    fn check_echo(&mut self, now: Instant, out: &mut dyn Outbox<P>, incoming: &Incoming<'_, P>) {
        let value = incoming.message.option(OptionNumber::ECHO);
        if value.is_none() && self.verified.is_empty() {
            return;
        }
        let Some(address) = out.address(incoming.peer) else { return };
        let (age, name) = (self.config.echo_age, self.echo.name(address));
        let known = self.verified.iter().position(|(known, _)| *known == name);
        if value.is_some_and(|value| self.echo.verify(now, address, value, age).is_ok()) {
            if known.is_some() || self.verified.is_full() {
                self.verified.remove(known.unwrap_or(0));
            }
            let _ = self.verified.push((name, now));
        } else if known
            .and_then(|at| self.verified.get(at))
            .is_none_or(|(_, since)| now.saturating_since(*since) > age)
        {
            return;
        }
        out.mark_verified(incoming.responder);
    }
}

/// How many addresses a server remembers that have proved to be their sender's. One that is forgotten
/// has to prove it again.
const VERIFIED: usize = 8;
