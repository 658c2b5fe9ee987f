//! The words that an endpoint and its application exchange.

use crate::message::{Message, Overflow};
use crate::security::SealError;
use core::fmt;
use core::net::SocketAddr;

/// How a datagram reached this side: the shell knows its destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It was sent to one of this side's addresses.
    Unicast,
    /// It was sent to a group, so that RFC 7252 section 8 applies: no acknowledgement, no reset, and
    /// a response only if the application has something to say.
    Multicast,
}

impl Via {
    /// Whether everybody was asked, in a build that knows groups. In one that does not, nothing that
    /// was sent to a group gets past the endpoint's door.
    pub(super) fn is_group(self) -> bool {
        super::GROUPS && self == Self::Multicast
    }
}

/// Whether a message is to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Retransmitted until it is acknowledged.
    Confirmable,
    /// Sent once.
    NonConfirmable,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(crate) slot: u16,
            pub(crate) generation: u32,
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}#{})"), self.slot, self.generation)
            }
        }
    )*};
}

ids! {
    /// Names a request, an observation (as a client) or a ping of this side's, until its end has
    /// been reported. A name that is no longer valid is refused, not taken for another's.
    ExchangeId;
    /// Names a request of the other side's that waits for this side's response.
    Responder;
    /// Names an observer of this side's: one client that wants to hear of changes of one resource.
    ObservationId;
}

/// What [`Endpoint::handle`](super::Endpoint::handle) hands to the application: a message lent for
/// as long as the datagram and the scratch are.
#[derive(Clone, Copy, Debug)]
pub enum Event<'b, P> {
    /// Somebody asks.
    Request {
        /// What to answer with.
        responder: Responder,
        /// Who asks.
        peer: P,
        /// The request as it was meant.
        message: Message<'b>,
        /// Whether everybody was asked.
        via: Via,
    },
    /// The answer to a request of this side's.
    Response {
        /// The request.
        exchange: ExchangeId,
        /// Who answers.
        peer: P,
        /// The response as it was meant.
        message: Message<'b>,
        /// Whether it is the last one: `exchange` is then void. An observation and a multicast
        /// request go on.
        last: bool,
    },
}

/// What [`Endpoint::poll`](super::Endpoint::poll) wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram has been written to the start of the buffer.
    Transmit {
        /// Where to send it.
        to: SocketAddr,
        /// Its length.
        len: usize,
    },
    /// Something came to its end.
    Outcome(Outcome),
}

/// An end that no message brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A request, a ping or (as a client) an observation failed.
    Failed {
        /// Which one; it is void now.
        exchange: ExchangeId,
        /// Why.
        reason: Failure,
    },
    /// It came to its end as it should without a response: a ping was answered, a request that wants
    /// no response was acknowledged (or sent, if it is non-confirmable), the time to wait for
    /// responses to a multicast request is over.
    Finished {
        /// Which one; it is void now.
        exchange: ExchangeId,
    },
    /// Somebody no longer observes.
    ObservationEnded {
        /// Which observation; it is void now.
        observation: ObservationId,
        /// Why.
        reason: EndReason,
    },
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was retransmitted as often as allowed and never acknowledged.
    Timeout,
    /// It was acknowledged, or could not be, and no response came in time.
    NoResponse,
    /// The other side reset it: it could not make sense of it.
    Reset,
    /// The response had a critical option that is not understood.
    BadOption,
    /// The security layer could not seal it, or was not ready in time
    /// ([`SealError::NotReady`]).
    Security(SealError),
    /// The response said that the security context is lost, again and again.
    Restarted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no acknowledgement in time",
            Self::NoResponse => "no response in time",
            Self::Reset => "the other side reset the message",
            Self::BadOption => "the response has a critical option that is not understood",
            Self::Security(error) => return error.fmt(f),
            Self::Restarted => "the other side keeps losing its security context",
        })
    }
}

impl core::error::Error for Failure {}

/// Why somebody no longer observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client asked for it with Observe: 1.
    Deregistered,
    /// The client used the token of the observation for another request.
    TokenReused,
    /// The client reset a notification.
    Reset,
    /// A confirmable notification was never acknowledged.
    Timeout,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// As many exchanges as there is room for are outstanding; one has to end first.
    Full,
    /// The request does not fit a datagram.
    Overflow,
    /// The security layer knows no address of this peer.
    NoAddress,
    /// A request to a group cannot be confirmable (RFC 7252 section 8.1).
    ConfirmableMulticast,
    /// The code is not a request's.
    Code,
}

impl From<Overflow> for RequestError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many exchanges are outstanding",
            Self::Overflow => "the request does not fit a datagram",
            Self::NoAddress => "no address of this peer is known",
            Self::ConfirmableMulticast => "a request to a group cannot be confirmable",
            Self::Code => "the code is not a request's",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why a response or a notification was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespondError {
    /// The request has been answered or timed out, or the observation has ended.
    Gone,
    /// The response does not fit a datagram. The request can still be answered.
    Overflow,
    /// The address that the response goes to is not verified and the response is too long to be
    /// sent there (RFC 9175 section 2.4). The request can still be answered, for instance by 4.01
    /// with an Echo option.
    Unverified,
    /// The security layer could not seal the response. The request is given up.
    Security(SealError),
    /// The code is not a response's.
    Code,
}

impl From<Overflow> for RespondError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the request or observation is no longer there",
            Self::Overflow => "the response does not fit a datagram",
            Self::Unverified => "the response is too long for an address that is not verified",
            Self::Security(error) => return error.fmt(f),
            Self::Code => "the code is not a response's",
        })
    }
}

impl core::error::Error for RespondError {}

/// Why an observation was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObserveError {
    /// As many observations as there is room for exist. The request is to be answered as one without
    /// Observe (RFC 7641 section 4.1).
    Full,
    /// The request is gone or does not ask for an observation.
    NotAsked,
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many observations exist",
            Self::NotAsked => "the request does not ask for an observation",
        })
    }
}

impl core::error::Error for ObserveError {}
