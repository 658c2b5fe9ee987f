//! What may stand between the message layer and requests and responses.
//!
//! The [endpoint](crate) gives every request and response to a [`Security`] on its way in and out:
//! RFC 8613 puts OSCORE exactly there. Message ids, acknowledgements, retransmission and
//! deduplication happen outside of it, on the bytes that go over the link; resources, block-wise
//! transfer and observation happen inside of it, on what was protected.
//!
//! Words: the *outer* message is the one on the link, the *inner* one is what the application
//! means. Both are whole CoAP messages with the same type, message id and token. With [`Plain`]
//! they are equal.

use crate::message::{Code, Message, Overflow};
use capmesh_wire::Instant;
use core::fmt;
use core::net::SocketAddr;

/// Opens what comes in and seals what goes out.
pub trait Security {
    /// Who is at the other end: an authenticated identity, or no more than an address.
    type Peer: Copy + Eq + fmt::Debug;

    /// What ties a response to its request; kept by the endpoint for as long as a response may
    /// come or go, so it counts in the size of each exchange.
    type Binding: Clone + fmt::Debug;

    /// Whether this layer authenticates at least some peers. Where it does, the endpoint keeps the
    /// larger part of its memory for duplicates to peers with a verified address, so that nobody
    /// else can displace what it remembers about them.
    const AUTHENTICATES: bool;

    /// The most bytes by which an outer message is longer than its inner one.
    const OVERHEAD: usize;

    /// How many exchanges the application's requests leave free for requests of this layer's own, such
    /// as those of a handshake.
    const RESERVED: usize;

    /// Where requests to `peer` go now, or `None` if it is not known or not reachable. The endpoint
    /// counts outstanding interactions (NSTART) by address.
    fn address(&self, peer: Self::Peer) -> Option<SocketAddr>;

    /// A number that changes whenever a request that was refused as [`SealError::NotReady`] may be
    /// sealed now, or fails for good now. The endpoint tries held requests again when it changes.
    fn readiness(&self) -> u32;

    /// Opens a request. `scratch` is as long as the longest datagram; an inner message that differs
    /// from the outer one is written there.
    fn open_request<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Self::Peer, Self::Binding>;

    /// Seals the response to a request that [`Security::open_request`] gave `binding` for. The
    /// outer message, with the inner one's type, id and token, is written to `out`; its length is
    /// returned.
    ///
    /// # Errors
    /// The response is dropped and the failure counted.
    fn seal_response(
        &mut self,
        now: Instant,
        binding: &Self::Binding,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError>;

    /// Seals a request to `to`. On success the outer message has been written to `out`.
    ///
    /// # Errors
    /// [`SealError::NotReady`] leaves the request in the endpoint, which tries again when
    /// [`Security::readiness`] changes; every other error ends the exchange.
    fn seal_request(
        &mut self,
        now: Instant,
        to: Self::Peer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<Self::Binding>, SealError>;

    /// Recovers the inner message of a request that this side has sealed, so that the endpoint need
    /// not keep it beside the outer one: needed when the request must be sealed anew, for instance
    /// with an Echo value. Writes it to `out` and returns its length.
    ///
    /// # Errors
    /// If the keys that sealed it are gone.
    fn reopen_request(
        &mut self,
        binding: &Self::Binding,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError>;

    /// Opens a response whose token matched the request with `binding`. The binding may keep what
    /// tells a late or replayed notification (RFC 8613 section 7.4.1), so that of those that it opens
    /// each is fresher than the one before.
    fn open_response<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Self::Peer,
        binding: &mut Self::Binding,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Self::Peer>;

    /// Whether `peer` has proved that it receives at `address`. Towards one that has not, the
    /// endpoint sends no more than three times the bytes it got (RFC 9175 section 2.4).
    fn is_address_verified(&self, peer: Self::Peer, address: SocketAddr) -> bool;
}

/// What became of an incoming request.
#[derive(Debug)]
pub enum Opening<'b, P, B> {
    /// A request of `peer`'s, to be answered by the application.
    Request {
        /// Who asks.
        peer: P,
        /// What its response will be sealed with.
        binding: B,
        /// The request as it was meant.
        inner: Message<'b>,
    },
    /// The security layer answers by itself, with an unprotected response (an error, or a step of a
    /// handshake).
    Answer {
        /// The response's code.
        code: Code,
        /// Value of the Max-Age option, where RFC 8613 wants one.
        max_age: Option<u32>,
        /// Value of the Content-Format option.
        content_format: Option<u16>,
        /// The payload.
        payload: &'b [u8],
    },
    /// The request was authentic but perhaps not fresh: it is answered with a sealed 4.01 that asks
    /// for this Echo value (RFC 8613 appendix B.1.2). Sealed as [`Answer::Notification`], so that the
    /// nonce is not the request's.
    Challenge {
        /// What the response is sealed with.
        binding: B,
        /// Value of the Echo option, of up to 40 bytes.
        echo: &'b [u8],
    },
    /// Nothing is to be said.
    Drop,
}

/// What became of an incoming response.
#[derive(Debug)]
pub enum OpenedResponse<'b, P> {
    /// A response.
    Response {
        /// Who answers: whom the request went to, or one of the many that a multicast request
        /// reached.
        peer: P,
        /// The response as it was meant.
        inner: Message<'b>,
        /// Whether this is known to be newer than every notification before it. Otherwise the
        /// endpoint orders notifications by their Observe option (RFC 7641 section 3.4).
        ordered: bool,
    },
    /// Not authentic, replayed or malformed: ignored, and the request waits on.
    Drop,
    /// The peer has lost its security context. The endpoint reopens the request and seals it anew
    /// when the security layer is ready again.
    Restart,
}

/// A sealed request.
#[derive(Clone, Debug)]
pub struct Sealed<B> {
    /// Length of the outer message.
    pub len: usize,
    /// Where to send it.
    pub address: SocketAddr,
    /// What the response will be opened with.
    pub binding: B,
}

/// Which of the responses to a request this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The only response, or the first of an observation.
    First,
    /// A later notification of an observation, which needs a nonce of its own.
    Notification,
}

/// Why a message was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The security context is being established.
    NotReady,
    /// There is no way to reach or authenticate this peer.
    NoPeer,
    /// The handshake with this peer failed.
    HandshakeFailed,
    /// The keys that the message was or is to be sealed with are gone or used up.
    NoKeys,
    /// The outer message is too large.
    Overflow,
}

impl From<Overflow> for SealError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "the security context is being established",
            Self::NoPeer => "there is no way to reach or authenticate this peer",
            Self::HandshakeFailed => "the handshake with this peer failed",
            Self::NoKeys => "the keys for this message are gone or used up",
            Self::Overflow => "the protected message is larger than a datagram",
        })
    }
}

impl core::error::Error for SealError {}

/// No security: the peer is its address, inner and outer messages are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Security for Plain {
    type Peer = SocketAddr;
    type Binding = ();

    const AUTHENTICATES: bool = false;
    const OVERHEAD: usize = 0;
    const RESERVED: usize = 0;

    fn address(&self, peer: SocketAddr) -> Option<SocketAddr> {
        Some(peer)
    }

    fn readiness(&self) -> u32 {
        0
    }

    fn open_request<'b>(
        &mut self,
        _now: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        _scratch: &'b mut [u8],
    ) -> Opening<'b, SocketAddr, ()> {
        Opening::Request { peer: from, binding: (), inner: outer }
    }

    fn seal_response(
        &mut self,
        _now: Instant,
        _binding: &(),
        _role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        copy(inner, out)
    }

    fn seal_request(
        &mut self,
        _now: Instant,
        to: SocketAddr,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<()>, SealError> {
        Ok(Sealed { len: copy(inner, out)?, address: to, binding: () })
    }

    fn reopen_request(
        &mut self,
        _binding: &(),
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        copy(outer, out)
    }

    fn open_response<'b>(
        &mut self,
        _now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        _binding: &mut (),
        outer: Message<'b>,
        _scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, SocketAddr> {
        if from == to || to.ip().is_multicast() {
            OpenedResponse::Response { peer: from, inner: outer, ordered: false }
        } else {
            OpenedResponse::Drop
        }
    }

    fn is_address_verified(&self, _peer: SocketAddr, _address: SocketAddr) -> bool {
        false
    }
}

fn copy(message: Message<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    let bytes = message.as_bytes();
    out.get_mut(..bytes.len()).ok_or(SealError::Overflow)?.copy_from_slice(bytes);
    Ok(bytes.len())
}
