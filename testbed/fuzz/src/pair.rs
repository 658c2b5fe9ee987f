//! Two endpoints and what is in flight between them, in virtual time.

use crate::Feed;
use capmesh_coap::endpoint::{Event, ExchangeId, ObservationId, Outcome, Output, Responder, Via};
use capmesh_wire::Instant;
use core::net::SocketAddr;
use std::collections::{BTreeSet, VecDeque};

/// How many datagrams may come out of one call before that counts as a loop.
const MOST_AT_ONCE: usize = 200;

/// An endpoint, with or without security.
pub(crate) trait Core {
    /// Whom it talks to.
    type Peer;

    /// Bytes of the longest datagram.
    const MTU: usize;

    /// Takes a datagram.
    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Self::Peer>>;

    /// What it wants done next.
    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output>;

    /// When it wants to be polled.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// One of the two, with what its application knows.
pub(crate) struct Side<C> {
    pub(crate) core: Box<C>,
    pub(crate) open: BTreeSet<ExchangeId>,
    pub(crate) responders: Vec<Responder>,
    pub(crate) observations: Vec<ObservationId>,
}

impl<C> Side<C> {
    pub(crate) const fn new(core: Box<C>) -> Self {
        Self { core, open: BTreeSet::new(), responders: Vec::new(), observations: Vec::new() }
    }

    /// A request was sent.
    pub(crate) fn asked(&mut self, exchange: ExchangeId) {
        assert!(self.open.insert(exchange), "the name of an exchange is used twice");
    }
}

/// The two, what is in flight to which of them, and the input that says what happens.
pub(crate) struct Pair<'a, C> {
    pub(crate) feed: Feed<'a>,
    pub(crate) now: Instant,
    pub(crate) sides: [Side<C>; 2],
    pub(crate) link: VecDeque<(usize, Vec<u8>)>,
    /// How many datagrams are in flight at most; later ones are lost.
    flight: usize,
}

impl<'a, C: Core> Pair<'a, C> {
    pub(crate) fn new(data: &'a [u8], sides: [Side<C>; 2], flight: usize) -> Self {
        Self { feed: Feed::new(data), now: Instant::ZERO, sides, link: VecDeque::new(), flight }
    }

    /// A datagram arrives at one side. `look` sees who sent a request.
    pub(crate) fn hand(
        &mut self,
        at: usize,
        from: SocketAddr,
        via: Via,
        datagram: &[u8],
        look: impl Fn(C::Peer),
    ) {
        let mut scratch = vec![0; C::MTU];
        let side = &mut self.sides[at];
        match side.core.handle(self.now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, peer, .. }) => {
                look(peer);
                side.responders.push(responder);
            }
            Some(Event::Response { exchange, last, .. }) => {
                assert!(side.open.contains(&exchange), "a response to nothing that is open");
                if last {
                    side.open.remove(&exchange);
                }
            }
            None => {}
        }
    }

    /// Polls both sides until they have nothing to do.
    pub(crate) fn settle(&mut self) {
        let mut buf = vec![0; C::MTU];
        for (at, side) in self.sides.iter_mut().enumerate() {
            for sent in 0.. {
                assert!(sent < MOST_AT_ONCE, "it does not come to rest");
                match side.core.poll(self.now, &mut buf) {
                    Some(Output::Transmit { len, .. }) => {
                        self.link.push_back((1 - at, buf[..len].to_vec()));
                    }
                    Some(Output::Outcome(
                        Outcome::Failed { exchange, .. } | Outcome::Finished { exchange },
                    )) => assert!(side.open.remove(&exchange), "an end of nothing that is open"),
                    Some(Output::Outcome(Outcome::ObservationEnded { observation, .. })) => {
                        side.observations.retain(|other| *other != observation);
                    }
                    None => break,
                }
            }
            let next = side.core.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "idle, but wants to be polled");
        }
        self.link.truncate(self.flight);
    }

    /// Goes on to when something happens next.
    pub(crate) fn wake(&mut self) {
        let next = self.sides.iter().filter_map(|side| side.core.poll_timeout()).min();
        self.now = next.unwrap_or(self.now).max(self.now);
    }

    /// With nothing more arriving, everything but observations comes to its end.
    pub(crate) fn finish(&mut self) {
        for _ in 0..2_000 {
            if self.sides.iter().all(|side| side.core.poll_timeout().is_none()) {
                break;
            }
            self.wake();
            self.settle();
            self.link.clear();
        }
        for side in &self.sides {
            assert!(side.core.poll_timeout().is_none(), "something happens for ever");
        }
    }
}
