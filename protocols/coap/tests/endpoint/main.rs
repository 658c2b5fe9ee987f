//! What an endpoint says on the link, datagram by datagram: the rules of RFC 7252 sections 4, 5 and
//! 8, of RFC 7641, and of the seam to the security layer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test helpers"
)]

mod bounds;
mod client;
mod groups;
mod message_layer;
mod observe;
mod sealed;
mod server;

use capmesh_coap::endpoint::{
    Config, Event, ExchangeId, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::message::Overflow;
use capmesh_coap::security::{Plain, Security};
use capmesh_coap::{Code, Endpoint, Kind, Message, MessageWriter, Token};
use capmesh_wire::Instant;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) type Core<S> = Endpoint<S, 256, 4, 1040, 3, 3, 16, 2048>;

/// The other side, played by the test.
pub(crate) fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

pub(crate) fn stranger(n: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 1024 + n))
}

/// A message that `handle` gave out, kept.
#[derive(Debug)]
pub(crate) struct Got<P> {
    pub(crate) responder: Option<Responder>,
    /// The exchange it is for, and whether it is the last one.
    pub(crate) answers: Option<(ExchangeId, bool)>,
    pub(crate) peer: P,
    pub(crate) bytes: Vec<u8>,
}

impl<P> Got<P> {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub(crate) fn responder(&self) -> Responder {
        self.responder.unwrap()
    }
}

/// One endpoint and its clock.
pub(crate) struct Side<S: Security> {
    pub(crate) core: Box<Core<S>>,
    pub(crate) now: Instant,
    outcomes: Vec<Outcome>,
}

impl Side<Plain> {
    pub(crate) fn plain() -> Self {
        Self::new(Config::default(), Plain)
    }
}

impl<S: Security> Side<S> {
    pub(crate) fn new(config: Config, security: S) -> Self {
        let core = Box::new(Core::new(config, security, [7; 16]));
        Self { core, now: Instant::from_secs(1), outcomes: Vec::new() }
    }

    pub(crate) fn receive(&mut self, datagram: &[u8]) -> Option<Got<S::Peer>> {
        self.receive_from(peer(), Via::Unicast, datagram)
    }

    pub(crate) fn receive_from(
        &mut self,
        from: SocketAddr,
        via: Via,
        datagram: &[u8],
    ) -> Option<Got<S::Peer>> {
        let mut scratch = [0; 256];
        Some(match self.core.handle(self.now, from, via, datagram, &mut scratch)? {
            Event::Request { responder, peer, message, via: got_via } => {
                assert_eq!(via, got_via);
                let bytes = message.as_bytes().to_vec();
                Got { responder: Some(responder), answers: None, peer, bytes }
            }
            Event::Response { exchange, peer, message, last } => {
                let bytes = message.as_bytes().to_vec();
                Got { responder: None, answers: Some((exchange, last)), peer, bytes }
            }
        })
    }

    /// Everything that goes out now, with its destination.
    pub(crate) fn sent_to(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut sent, mut buf) = (Vec::new(), [0; 256]);
        while let Some(output) = self.core.poll(self.now, &mut buf) {
            match output {
                Output::Transmit { to, len } => sent.push((to, buf[..len].to_vec())),
                Output::Outcome(outcome) => self.outcomes.push(outcome),
            }
        }
        assert!(self.core.poll_timeout().is_none_or(|at| at > self.now));
        sent
    }

    /// Everything that goes out now.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        self.sent_to().into_iter().map(|(_, datagram)| datagram).collect()
    }

    /// The one datagram that goes out now.
    pub(crate) fn sent_one(&mut self) -> Vec<u8> {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:02x?}");
        sent.remove(0)
    }

    /// What came to its end since the last call.
    pub(crate) fn outcomes(&mut self) -> Vec<Outcome> {
        assert_eq!(self.sent(), Vec::<Vec<u8>>::new());
        core::mem::take(&mut self.outcomes)
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Time until the next timer, in milliseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        let at = self.core.poll_timeout()?;
        Some(at.saturating_since(self.now).as_millis() as u64)
    }

    /// Lets the time pass to the next timer.
    pub(crate) fn wait(&mut self) {
        self.now = self.core.poll_timeout().expect("something to wait for").max(self.now);
    }

    pub(crate) fn respond(&mut self, to: Responder, payload: &[u8]) {
        let now = self.now;
        let build = |writer: &mut MessageWriter<'_>| writer.payload(payload).map(drop);
        self.core.respond(now, to, Code::CONTENT, build).unwrap();
    }

    /// Sends a confirmable GET of `path` to the peer.
    pub(crate) fn get(&mut self, peer: S::Peer, path: &str) -> ExchangeId {
        self.request(peer, Reliability::Confirmable, |writer| writer.path(path).map(drop))
    }

    pub(crate) fn request(
        &mut self,
        peer: S::Peer,
        reliability: Reliability,
        build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> ExchangeId {
        self.core.request(self.now, peer, reliability, Code::GET, build).unwrap()
    }

    /// Whether nothing is going on.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.sent().is_empty() && self.core.poll_timeout().is_none()
    }
}

pub(crate) fn message(
    kind: Kind,
    code: Code,
    id: u16,
    token: Token,
    build: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), Overflow>,
) -> Vec<u8> {
    let mut buf = [0; 300];
    let mut writer = MessageWriter::new(&mut buf, kind, code, id, token).unwrap();
    build(&mut writer).unwrap();
    let len = writer.finish();
    buf[..len].to_vec()
}

pub(crate) fn token(bytes: &[u8]) -> Token {
    Token::new(bytes).unwrap()
}

pub(crate) fn empty(kind: Kind, id: u16) -> Vec<u8> {
    kind.empty_message(id).to_vec()
}

/// A GET of "temperature", as in the figures of RFC 7252.
pub(crate) fn get_temperature(kind: Kind, id: u16, token: Token) -> Vec<u8> {
    message(kind, Code::GET, id, token, |writer| writer.path("temperature").map(drop))
}

/// A response of "22.3 C" to a request that was sent.
pub(crate) fn response_to(request: &[u8], kind: Kind, id: u16) -> Vec<u8> {
    let token = view(request).token();
    message(kind, Code::CONTENT, id, token, |writer| writer.payload(b"22.3 C").map(drop))
}

pub(crate) fn view(datagram: &[u8]) -> Message<'_> {
    Message::parse(datagram).unwrap()
}
