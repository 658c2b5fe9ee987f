//! OSCORE (RFC 8613): CoAP requests and responses, protected end to end between client and server.
//!
//! A [`Context`] is one RFC 8613 security context, shared with one peer, for both roles at once.
//! It protects an inner CoAP message into an outer one and back:
//!
//! | role | sends | receives |
//! |---|---|---|
//! | client | [`Context::protect_request`] | [`Context::unprotect_response`] |
//! | server | [`Context::protect_response`], [`Context::protect_notification`] | [`Context::unprotect_request`] |
//!
//! A server finds the context of an incoming request by its [`CoseHeader`], which is read without
//! keys; [`Context::matches`] compares. What went wrong with a request becomes the unprotected
//! error response of RFC 8613 section 8.2 through [`UnprotectError::refusal`]. A client whose
//! request must be sealed anew recovers it from the sealed bytes with [`Context::reopen_request`].
//!
//! Words, all RFC 8613's: the *inner* message is what the application means, the *outer* one what
//! is on the link; *Sender* and *Recipient* are this side and the other; a *Partial IV* is a
//! sequence number as a nonce carries it; *kid* is the Sender ID that a request names.
//!
//! ```
//! use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
//! use capmesh_oscore::{Context, CoseHeader, Parameters};
//!
//! let shared = [7; 16]; // from EDHOC
//! let client = Parameters {
//!     master_secret: &shared,
//!     master_salt: &[],
//!     id_context: None,
//!     sender_id: b"c",
//!     recipient_id: b"s",
//! };
//! let server = Parameters { sender_id: b"s", recipient_id: b"c", ..client };
//! let (mut client, mut server) = (Context::derive(&client)?, Context::derive(&server)?);
//!
//! let mut buf = [0; 64];
//! let mut get = MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 1, Token::EMPTY)?;
//! get.path("/temperature")?;
//! let mut datagram = [0; 128];
//! let (len, mut asked) = client.protect_request(get.as_message(), &mut datagram)?;
//!
//! let outer = Message::parse(&datagram[..len])?;
//! let header = CoseHeader::of(&outer)?.expect("it is protected");
//! assert!(server.matches(&header));
//! let mut scratch = [0; 128];
//! let (inner, answering) = server.unprotect_request(outer, &mut scratch)?;
//! assert_eq!(inner.code(), Code::GET);
//!
//! let mut content =
//!     MessageWriter::new(&mut buf, Kind::Acknowledgement, Code::CONTENT, 1, Token::EMPTY)?;
//! content.payload(b"21.5")?;
//! let len = server.protect_response(&answering, content.as_message(), &mut datagram)?;
//!
//! let outer = Message::parse(&datagram[..len])?;
//! let inner = client.unprotect_response(&mut asked, outer, &mut scratch)?;
//! assert_eq!(inner.payload(), b"21.5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - A pair of key and nonce protects at most one message, whatever the caller does:
//!   each sequence number is used once and only below the bound that the caller has declared
//!   durable ([`SequenceReservation`]), and the nonce of a request protects at most one response,
//!   which the [`ReplayWindow`] remembers. A response that may not use it gets a number of its own.
//!   Therefore a context cannot be cloned.
//! - A request is accepted at most once. A context restored without its replay window accepts none
//!   until a request echoes a value that has not existed before the restart (RFC 8613 Appendix
//!   B.1.2, RFC 9175 Appendix A).
//! - A notification is accepted only if it is fresher than the last one of its observation; the
//!   [`Binding`] remembers that.
//! - No input makes a call panic. Its work is bounded by the length of the message.
//! - Keys are overwritten when a context is dropped, and no `Debug` output shows them.
//!
//! # Limits
//! Sequence numbers end at 2^40 - 1. [`KeyUse`] bounds how many messages a key may seal and how
//! many forgeries it may see, far below that; [`Context::is_worn`] says when to run EDHOC again.
//!
//! # Features
//! - `id-context` (default): contexts may have an ID Context. EDHOC makes none.
//! - `persistence` (default): a context may be restored without its replay window.
//! - `proxy-uri`: a request may carry a Proxy-Uri, which is split as RFC 8613 section 4.1.3.3 says.
//!   Without it such a request is refused; Proxy-Scheme needs no feature.
//!
//! # Deliberately absent
//! - A cached key schedule: deriving it is 5 % of what a message of 64 bytes costs on x86 and 14 % on
//!   a Cortex-M3, and keeping it would make a context five times as large.
//! - Every algorithm but AES-CCM-16-64-128 and HKDF SHA-256, the two that are mandatory: EDHOC's
//!   cipher suite 2 negotiates no other.
//! - RFC 8613 Appendix B.2 (new contexts from an old secret): EDHOC gives fresh ones with forward
//!   secrecy.
//! - Outer block-wise transfer (section 4.1.3.4.2): an outer Block option is discarded like every
//!   outer option of class E, and a fragment fails to decrypt. Inner block-wise needs nothing here.
//! - HTTP (section 11), signalling messages over TCP (section 4.3), group OSCORE, and an outer
//!   Max-Age on notifications.
#![no_std]
#[cfg(test)]
extern crate std;

pub mod aead;
mod binding;
mod class;
mod context;
mod crypto;
mod error;
mod header;
mod id;
pub mod kdf;
mod replay;
mod sequence;
mod transform;
#[cfg(feature = "proxy-uri")]
mod uri;
#[cfg(not(feature = "proxy-uri"))]
#[path = "uri/absent.rs"]
mod uri;
#[cfg(feature = "test-util")]
pub mod witness;

pub use binding::Binding;
pub use class::{Class, class};
pub use context::{Context, KeyUse, Parameters, Replay};
pub use error::{DeriveError, ProtectError, Refusal, UnprotectError};
pub use header::{CoseHeader, EchoValue, MAX_PARTIAL_IV};
pub use id::{IdContext, KeyId};
pub use replay::ReplayWindow;
pub use sequence::SequenceReservation;
pub use transform::split_combined;
