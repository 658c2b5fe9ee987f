//! Why a message is refused, and EDHOC error messages (RFC 9528 section 6).

use super::Reader;
use core::fmt;

/// Why a message of a peer's was refused, or a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not the one encoding that RFC 9528 allows.
    Malformed,
    /// Larger than this implementation takes: a message, a credential, or what they add up to.
    TooLong,
    /// A method other than 3.
    UnsupportedMethod,
    /// A selected cipher suite other than 2.
    UnsupportedSuite,
    /// A public key that is no point of P-256.
    InvalidPoint,
    /// A connection identifier of more than seven bytes, or equal to the one of the other side,
    /// which OSCORE cannot use (RFC 9528 section 3.3.3).
    ConnectionId,
    /// An EAD item that is critical and not known.
    CriticalEad,
    /// A reference to a credential that the roster does not have.
    UnknownCredential,
    /// The credential is known, but not (or no longer) good for a session.
    NotAuthorised,
    /// A MAC or an authentication tag that does not match.
    NotAuthentic,
    /// There is no room for another session.
    NoRoom,
}

impl Refusal {
    /// The text for a peer's log: what kind of thing was wrong, never what was expected instead.
    const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "malformed message",
            Self::TooLong => "message too long",
            Self::UnsupportedMethod => "method not supported",
            Self::UnsupportedSuite => "cipher suite not supported",
            Self::InvalidPoint => "invalid public key",
            Self::ConnectionId => "connection identifier not usable",
            Self::CriticalEad => "critical EAD item not supported",
            Self::UnknownCredential => "unknown credential",
            Self::NotAuthorised => "not authorised",
            Self::NotAuthentic => "not authentic",
            Self::NoRoom => "no room for another session",
        }
    }

    /// Writes the error message for the peer into `out` and returns its bytes; `None` if it does not
    /// fit (the longest takes 40 bytes). Its text is empty without the feature `diagnostics`.
    #[must_use]
    pub fn error_message(self, out: &mut [u8]) -> Option<usize> {
        let put = |out: &mut [u8], bytes: &[u8]| {
            out.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        };
        match self {
            Self::UnsupportedSuite => put(out, &[2, SUITE]),
            Self::UnknownCredential => put(out, &[3, TRUE]),
            _ => {
                let text = if cfg!(feature = "diagnostics") { self.text() } else { "" }.as_bytes();
                let len = u8::try_from(text.len()).ok()?;
                let head: &[u8] = if len < 24 { &[1, 0x60 | len] } else { &[1, 0x78, len] };
                let at = put(out, head)?;
                Some(at + put(out.get_mut(at..)?, text)?)
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Refusal {}

/// The suite that this implementation has.
pub(super) const SUITE: u8 = 2;

/// CBOR's `true`, which also announces message_1 over CoAP (RFC 9528 appendix A.2).
pub(crate) const TRUE: u8 = 0xf5;

/// An error message of a peer's. It is not protected: a hint, never a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMessage {
    /// ERR_CODE 1, or one that is not known.
    Unspecified,
    /// ERR_CODE 2: the peer has other suites only.
    WrongSuite,
    /// ERR_CODE 3: the peer does not have our credential.
    UnknownCredential,
}

impl ErrorMessage {
    /// Reads an error message; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        match reader.int().ok()? {
            0 => None,
            2 => Some(Self::WrongSuite),
            3 if reader.rest() == [TRUE] => Some(Self::UnknownCredential),
            _ => Some(Self::Unspecified),
        }
    }
}
