//! What happened, counted.

use core::net::SocketAddr;

/// Counters; they stop at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Handshakes that this side began.
    pub begun: u32,
    /// Handshakes of others that this side answered with message_2.
    pub answered: u32,
    /// Handshakes that ended in a session, in either role.
    pub completed: u32,
    /// Handshakes that this side began and that failed.
    pub failed: u32,
    /// EDHOC messages that were refused.
    pub refused: u32,
    /// Those of them that ended a handshake because of who the peer is: not on the roster (any more), or
    /// not who it says.
    pub strangers: u32,
    /// Where the last one of these came from.
    pub stranger: Option<SocketAddr>,
    /// Handshakes of others that were put off: by the rate limit, for want of room, or until they
    /// proved their address.
    pub put_off: u32,
    /// Times that a peer said that it had lost a session, and was believed.
    pub restarts: u32,
    /// The same, not believed.
    pub restarts_ignored: u32,
    /// Sessions that made room for another peer's.
    pub evicted: u32,
    /// Sessions that ended because the roster no longer has the peer, or its time is over.
    pub expired: u32,
    /// Requests that were protected and could not be opened.
    pub rejected: u32,
}

/// Adds one.
#[inline(never)]
pub(crate) const fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
