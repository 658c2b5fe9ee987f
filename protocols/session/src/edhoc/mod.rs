//! EDHOC (RFC 9528): authenticated key exchange, method 3 (static Diffie-Hellman on both sides),
//! cipher suite 2 (AES-CCM-16-64-128, SHA-256, P-256), credentials that are CWT Claims Sets, sent by
//! reference (`kid`) or by value.
//!
//! Everything that comes from a peer is read strictly before anything is done with it:
//!
//! - every message and decrypted plaintext is parsed whole, in deterministic encoding;
//! - points are decompressed, which refuses coordinates past the prime or off the curve;
//! - MACs are compared in constant time;
//! - secrets are wiped when they are dropped. What the primitives leave on the stack is not.
//!
//! Transcripts are hashed and keys derived piece by piece, and Diffie-Hellman is done where little
//! else is on the stack: a handshake takes less than 6 KB of it.
//!
//! Each stage of a handshake is a type; a stage is used up by the message that ends it:
//!
//! | Initiator | | Responder |
//! |---|---|---|
//! | [`Initiator::start`] | message_1 → | [`Message1::parse`] |
//! | [`AwaitMessage2::receive`] | ← message_2 | [`Message1::answer`] |
//! | [`Message2::verify`] | message_3 → | [`AwaitMessage3::receive`], [`Message3::verify`] |
//! | [`Completed`] | (← message_4) | [`Completed`] |
//!
//! Between `receive` and `verify` the caller looks up whom the [`CredentialId`] names. A responder
//! trusts its peer, and an initiator may use its keys, from [`Completed`] on.
//!
//! Deliberately absent: signatures (methods 0 to 2), other suites, X.509, credentials without a
//! roster ("trust on first use"), EAD of our own, the reverse message flow, EDHOC_KeyUpdate.

mod cbor;
mod credential;
#[cfg(any(test, not(feature = "p256")))]
mod curve;
mod dh;
mod error;
mod identifier;
mod initiator;
mod keys;
#[cfg(feature = "test-util")]
pub mod known;
mod message;
mod responder;
mod schedule;

pub use credential::{Credential, CredentialId, Identity, InvalidCredential, InvalidKey};
pub use error::{ErrorMessage, Refusal};
pub use identifier::{ConnectionId, Kid};
pub use initiator::{AwaitMessage2, Initiator, Message2};
pub use keys::{Completed, EphemeralKey, OscoreKeys};
pub use responder::{AwaitMessage3, Message1, Message3};

pub(crate) use cbor::Reader;
pub(crate) use error::TRUE;

/// How a party tells the other which credential it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// By its `kid`: the other side has it in its roster.
    ByReference,
    /// The whole credential.
    #[cfg(feature = "by-value")]
    ByValue,
}

/// The longest EDHOC message that is read or written, in bytes.
pub const MAX_MESSAGE: usize = 192;

/// The longest credential, in bytes.
pub const MAX_CREDENTIAL: usize = 128;

/// A decrypted plaintext.
type Text = heapless::Vec<u8, MAX_MESSAGE, u8>;

#[cfg(test)]
mod tests;
