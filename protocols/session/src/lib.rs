//! EDHOC and OSCORE under CoAP: authenticated peers, their roles, their sessions.
//!
//! [`Sessions`] is the [`Security`](capmesh_coap::Security) of an endpoint: it opens and seals
//! requests and responses with OSCORE (RFC 8613), answers handshakes (EDHOC, RFC 9528, over CoAP and
//! combined with the first request, RFC 9668), and tells the application who asks.
//! [`SecureEndpoint`] is the endpoint around it, which also begins handshakes, and [`Link`] is that
//! without the constants of its type.
//!
//! ```text
//!        application: request(peer), Event::Request { peer, .. }
//!                  |
//!         [SecureEndpoint] begins handshakes
//!                  |
//!      coap::Endpoint: messages, tokens, observations
//!                  |
//!    [Sessions]: peers, keys -- [Roster]: credentials, roles
//!                  |
//!            edhoc, oscore
//! ```
//!
//! # Words
//! - A *session* is a security context that both sides have, with one peer: OSCORE's keys, sequence
//!   number and replay window. They live in RAM: after a restart there is a new handshake.
//! - The *roster* says who may have one, by credential, and in which role.
//! - A *member* is somebody on the roster. Anybody else is anonymous, can be heard in the clear, and
//!   is told apart by [`Peer`].
//! - A handshake is *half open* between message_2 and message_3, *unconfirmed* at its initiator until
//!   the responder has shown that it has the keys.
//!
//! # Invariants
//! - A responder takes nobody for a peer before message_3 has verified; an initiator uses only keys
//!   from a verified message_2, and gives up an older session only for a confirmed one.
//! - Unauthenticated input can neither end a session nor take its slot, makes this side compute no
//!   more than [`Config::responses`] allows, and is answered with less than three times its length.
//! - Every request that waits for a handshake is sealed, or fails with the handshake, or times out in
//!   the endpoint.
//! - A peer has one session in which requests go out, and for a while older ones for what is in
//!   flight. If both sides begin at the same time, both handshakes may finish; both sides then use the
//!   one that the side with the smaller id began.
//! - A session follows its peer to another address with each authentic request; until the peer has
//!   answered there, no more than three times what it sent goes to it.
//!
//! # Features
//! All are on by default; without them the crate is small (`cargo xtask size`).
//! - `by-value`: credentials are sent and taken whole, not by `kid` only.
//! - `diagnostics`: EDHOC error messages say in words what was wrong.
//! - `message-4`: a responder shows with message_4 that it has the keys.
//! - `p256`: Diffie-Hellman by the `p256` crate, three times as fast; without it by a sixth of the code.
//! - `persistence`: sessions may outlive a restart.
//! - `separate`: message_3 can go in a request of its own; without it only with a request.
//!
//! # Deliberately absent
//! Storage: sessions live in RAM and EDHOC runs again after a restart, unless the caller keeps what
//! `Sessions::record` gives. OSCORE Appendix B.2; groups; EDHOC's reverse flow (a server that
//! begins). See [`edhoc`] for what is left out of EDHOC.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod edhoc;

mod config;
mod error;
mod index;
mod limit;
mod link;
mod peer;
mod relaying;
mod secure;
mod sessions;
mod stats;

pub use config::{Config, Workflow};
pub use error::HandshakeError;
pub use limit::Rate;
pub use link::{Link, Peers, Replaceable};
pub use peer::{Entry, Member, Peer, Roles, Roster};
pub use relaying::{PLACES, RelayEndpoint};
pub use secure::{Handshakes, SecureEndpoint};
#[cfg(feature = "persistence")]
pub use sessions::Record;
pub use sessions::{Binding, IntroduceError, Sessions, Step};
pub use stats::Stats;
