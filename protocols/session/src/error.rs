//! Why a handshake failed.

use crate::edhoc::{ErrorMessage, Refusal};
use capmesh_coap::endpoint::Failure;
use capmesh_coap::message::Code;
use core::fmt;

/// Why a handshake that this side began has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The peer sent an EDHOC error message. It is not protected: somebody else may have.
    Error(ErrorMessage),
    /// The peer answered with something else than EDHOC, for instance 4.04 if it does not have it.
    Code(Code),
    /// What the peer sent was refused.
    Refused(Refusal),
    /// Another member of the roster answered than the one that was meant.
    WrongPeer,
    /// The request with message_1 or message_3 was not answered.
    Unanswered(Failure),
    /// The peer never confirmed that it has the keys, or lost them at once.
    Unconfirmed,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(ErrorMessage::WrongSuite) => {
                f.write_str("the peer has other cipher suites")
            }
            Self::Error(ErrorMessage::UnknownCredential) => {
                f.write_str("the peer does not know our credential")
            }
            Self::Error(ErrorMessage::Unspecified) => f.write_str("the peer refused the handshake"),
            Self::Code(code) => write!(f, "the peer answered {code} to the handshake"),
            Self::Refused(refusal) => write!(f, "the handshake was refused here: {refusal}"),
            Self::WrongPeer => f.write_str("another node than expected is at this address"),
            Self::Unanswered(failure) => write!(f, "the handshake was not answered: {failure}"),
            Self::Unconfirmed => f.write_str("the peer did not confirm the keys"),
        }
    }
}

impl core::error::Error for HandshakeError {}
