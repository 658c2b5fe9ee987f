//! What can go wrong, and what the peer is told of it.

use crate::binding::Binding;
use capmesh_coap::message::{Code, Overflow};
use core::fmt;

/// Why a security context was not derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveError {
    /// A Sender or Recipient ID of more than 7 bytes.
    IdTooLong,
    /// An ID Context of more than 16 bytes, or any where the feature `id-context` is off.
    IdContextTooLong,
    /// Both sides have the same ID, and so would have the same key.
    SameIds,
}

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdTooLong => "a Sender or Recipient ID is longer than 7 bytes",
            Self::IdContextTooLong => "the ID Context is longer than 16 bytes",
            Self::SameIds => "Sender ID and Recipient ID are the same",
        })
    }
}

impl core::error::Error for DeriveError {}

/// Why a message was not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectError {
    /// The outer message does not fit its buffer.
    Overflow,
    /// No reserved sequence number is left: make the bound that
    /// [`SequenceReservation::wanted`](crate::SequenceReservation::wanted) gives durable first.
    NotReserved,
    /// The sequence numbers, or the uses that [`KeyUse`](crate::KeyUse) allows, are used up: a new
    /// context is needed.
    Exhausted,
    /// The message carries an OSCORE option already (RFC 8613 section 4.1.3.7).
    Nested,
    /// A response where a request is wanted, or the other way round.
    WrongCode,
    /// The Proxy-Uri option is not one to be split into its parts (RFC 7252 section 6.4), or the
    /// feature `proxy-uri` is off.
    ProxyUri,
}

impl From<Overflow> for ProtectError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl fmt::Display for ProtectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "the protected message does not fit its buffer",
            Self::NotReserved => "no reserved sequence number is left",
            Self::Exhausted => "the keys are used up",
            Self::Nested => "the message is protected already",
            Self::WrongCode => "the message is not what its role says, request or response",
            Self::ProxyUri => "the Proxy-Uri option is malformed",
        })
    }
}

impl core::error::Error for ProtectError {}

/// Why a message was not opened. A client drops such a response and waits on (RFC 8613 section
/// 8.4); a server answers with [`UnprotectError::refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprotectError {
    /// The OSCORE option is missing, repeated or malformed, or nothing was encrypted.
    Decode,
    /// The request names another context than this.
    ContextNotFound,
    /// The request has been received before, or is too old to tell.
    Replay,
    /// The message was not made by the peer, or not for this request.
    Decryption,
    /// The peer protected what is no legal inner message: malformed options, a code of the wrong
    /// kind, a nested OSCORE option, Observe in a response to a request without.
    Malformed,
    /// The request is authentic but may be a replay from before the last restart. Answer it with a
    /// 4.01 (Unauthorized) that has an Echo option of value [`Context::echo`](crate::Context::echo)
    /// and no payload, protected with this binding.
    Unverified(Binding),
    /// A response that is older than one already accepted, or a repeated one.
    Stale,
    /// The recipient key has seen as many forgeries as [`KeyUse`](crate::KeyUse) allows: a new
    /// context is needed.
    Exhausted,
    /// The scratch buffer is shorter than the message.
    Overflow,
}

/// An unprotected error response (RFC 8613 sections 7.4 and 8.2). It is to carry a Max-Age of 0, so
/// that no proxy caches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The response's code.
    pub code: Code,
    /// The diagnostic payload.
    pub payload: &'static str,
}

impl Refusal {
    /// Value of the Max-Age option of the response.
    pub const MAX_AGE: u32 = 0;
}

impl UnprotectError {
    /// What to answer to the request that failed so, or `None` for what is not answered in the
    /// clear.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        let (code, payload) = match self {
            Self::Decode => (Code::BAD_OPTION, "Failed to decode COSE"),
            // A client that has run into the limit needs what one with an unknown context needs.
            Self::ContextNotFound | Self::Exhausted => {
                (Code::UNAUTHORIZED, "Security context not found")
            }
            Self::Replay => (Code::UNAUTHORIZED, "Replay detected"),
            Self::Decryption => (Code::BAD_REQUEST, "Decryption failed"),
            Self::Malformed => (Code::BAD_REQUEST, "Malformed inner message"),
            Self::Unverified(_) | Self::Stale | Self::Overflow => return None,
        };
        Some(Refusal { code, payload })
    }
}

impl fmt::Display for UnprotectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "the COSE object does not decode",
            Self::ContextNotFound => "the request names another security context",
            Self::Replay => "the request has been received before",
            Self::Decryption => "decryption failed",
            Self::Malformed => "the peer protected a malformed message",
            Self::Unverified(_) => "the request may be from before the last restart",
            Self::Stale => "a fresher response has been received",
            Self::Exhausted => "the keys have seen too many forgeries",
            Self::Overflow => "the scratch buffer is shorter than the message",
        })
    }
}

impl core::error::Error for UnprotectError {}
