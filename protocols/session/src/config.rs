//! What sessions may be told about their surroundings.

use crate::edhoc::Transfer;
use crate::limit::Rate;
use capmesh_oscore::KeyUse;
use core::time::Duration;

/// How an initiator sends message_3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workflow {
    /// With the first request, in one datagram (RFC 9668): two round trips altogether.
    Combined,
    /// In a request of its own (RFC 9528 appendix A.2), for peers that do not know the EDHOC option:
    /// three round trips. As [`Workflow::Combined`] without the feature `separate`.
    Separate,
}

/// Limits and patience of [`Sessions`](crate::Sessions).
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How this side says which credential it has. By reference; by value costs about 100 bytes in
    /// a message and is for peers that know no `kid` for it.
    pub transfer: Transfer,
    /// How this side sends message_3. Combined, unless the request is too long for that.
    pub workflow: Workflow,
    /// Whether unprotected requests reach the application, as [`Peer::Anonymous`](crate::Peer). They
    /// do: discovery needs them. Otherwise they are answered with 4.01.
    pub anonymous: bool,
    /// How many handshakes this side answers, over all peers: each costs it three Diffie-Hellman
    /// operations (about 0.3 s at 64 MHz). 4 at once, 2 a second.
    pub responses: Rate,
    /// How long message_3 may take after message_2. 90 s: the longest that retransmissions of both
    /// take.
    pub half_open_timeout: Duration,
    /// How long a half-open handshake is safe from being replaced by a newer one when there is no
    /// room. 5 s.
    pub half_open_safe: Duration,
    /// How long the responder's keys may stay unconfirmed. 100 s: a little more than a confirmable
    /// request is retransmitted.
    pub confirm_timeout: Duration,
    /// How long to wait for the confirmation before another request takes message_3 along, and for a
    /// request before message_3 goes by itself. 5 s.
    pub confirm_retry: Duration,
    /// The wait after the first failed handshake; doubles with each one. 1 s.
    pub retry_min: Duration,
    /// The longest wait after failed handshakes. 64 s.
    pub retry_max: Duration,
    /// How many times a peer may say, without proof, that it has lost a session, before it is no
    /// longer believed. 2 at once, one each 30 s.
    pub restarts: Rate,
    /// After what time keys are replaced. 24 h.
    pub lifetime: Duration,
    /// How long replaced keys are kept for messages in flight. 247 s: EXCHANGE_LIFETIME of RFC 7252.
    pub grace: Duration,
    /// How often keys may be used.
    pub key_use: KeyUse,
    /// How many sequence numbers are reserved in non-volatile memory at a time, for sessions that
    /// outlive a restart (RFC 8613 appendix B.1.1): nothing is sent before its number is
    /// (`Sessions::record`). 0: sessions live in RAM, as they do without the feature `persistence`.
    pub reserve: u32,
}

impl Config {
    /// For a machine of PC class, with hundreds of peers: it answers 64 handshakes at once and 200 a
    /// second, a quarter of what one core can do.
    #[must_use]
    pub fn for_host() -> Self {
        let responses = Rate { burst: 64, interval: Duration::from_millis(5) };
        Self { responses, ..Self::default() }
    }
}

impl Default for Config {
    /// For a board.
    fn default() -> Self {
        Self {
            transfer: Transfer::ByReference,
            workflow: Workflow::Combined,
            anonymous: true,
            responses: Rate { burst: 4, interval: Duration::from_millis(500) },
            half_open_timeout: Duration::from_secs(90),
            half_open_safe: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(100),
            confirm_retry: Duration::from_secs(5),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(64),
            restarts: Rate { burst: 2, interval: Duration::from_secs(30) },
            lifetime: Duration::from_secs(24 * 60 * 60),
            grace: Duration::from_secs(247),
            key_use: KeyUse::DEFAULT,
            reserve: 0,
        }
    }
}
