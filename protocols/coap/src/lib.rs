//! CoAP as a sans-I/O core.
//!
//! Purpose: everything that RFC 7252 and its companions ask of a client, a server and a proxy, on a
//! microcontroller, on Linux and in simulation alike. Bytes and time come in as arguments and go out
//! as return values; the crate has no sockets, clocks, threads or allocation.
//!
//! | module | what it has | sources |
//! |---|---|---|
//! | [`message`], [`option`] | checked views of messages, and how to write them | RFC 7252 section 3 |
//! | [`endpoint`] | reliability, duplicates, requests and responses, groups, observation | RFC 7252 sections 4, 5 and 8, RFC 7641, RFC 7967 |
//! | [`security`] | what stands between the two layers of an endpoint | RFC 8613 section 2 |
//! | [`block`] | transfers in blocks | RFC 7959 |
//! | [`echo`] | proof of freshness and of an address | RFC 9175 |
//! | [`server`], [`link_format`] | resources, routes, observers, discovery | RFC 7252, RFC 7641, RFC 6690 |
//! | [`relay`] | a forward proxy that passes OSCORE untouched | RFC 7252 section 5.7, RFC 8768 |
//! | `adapter` (feature `coap-handler`) | handlers of the `coap-handler` traits as resources | |
//!
//! Words: a *datagram* is bytes on a link, a *message* is a CoAP message, a *peer* is whoever the
//! security layer says is at the other end, an *exchange* is a request of this side's and all that
//! becomes of it.
//!
//! Features, all on by default but the adapter: `observe` (both roles), `groups` (multicast), `echo`
//! (challenged requests are repeated). Without `observe` a request with Observe is answered as one
//! without; without `groups` what was sent to a group is ignored.
//!
//! Invariants: no input makes anything here panic, grow, or work for longer than its documentation
//! says. Absent on purpose: CoAP over TCP and WebSocket (RFC 8323), DTLS, caching.
#![no_std]

#[cfg(feature = "coap-handler")]
pub mod adapter;
pub mod block;
pub mod echo;
pub mod endpoint;
pub mod link_format;
pub mod message;
pub mod option;
pub mod relay;
pub mod security;
pub mod server;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use endpoint::Endpoint;
pub use message::{Code, Kind, Message, MessageWriter, Token};
pub use security::Security;
