//! What an endpoint counts.

/// Counts since the endpoint was made; each wraps around at 2^32.
///
/// Nothing in the endpoint depends on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams given to `handle`.
    pub received: u32,
    /// Datagrams given out by `poll`.
    pub transmitted: u32,
    /// Of these, retransmissions of confirmable messages.
    pub retransmitted: u32,
    /// Datagrams that are no CoAP message, or one that makes no sense (an acknowledgement of code
    /// 0.01, say).
    pub malformed: u32,
    /// Messages that had been had before.
    pub duplicates: u32,
    /// Duplicates of confirmable requests whose reply was no longer kept: nothing was sent.
    pub replies_lost: u32,
    /// Entries of the duplicate memory that had to make room before their lifetime was over.
    pub forgotten_early: u32,
    /// Responses, acknowledgements and resets that belong to nothing outstanding.
    pub unmatched: u32,
    /// Messages that the security layer dropped.
    pub not_authentic: u32,
    /// Messages that could not be sealed.
    pub not_sealed: u32,
    /// Requests ignored because no more may be unanswered at once; a confirmable one comes again.
    pub no_room: u32,
    /// Requests that the application left unanswered for `answer_timeout`.
    pub unanswered: u32,
    /// Responses and notifications not sent, or not sent again, because the address is not verified
    /// and they exceed what may go there.
    pub withheld: u32,
    /// Replies and acknowledgements dropped because `poll` was not drained.
    pub not_polled: u32,
    /// Responses rejected for a critical option that is not understood.
    pub bad_options: u32,
    /// Notifications that came out of order and were dropped.
    pub stale_notifications: u32,
    /// Confirmable messages that were never acknowledged.
    pub timeouts: u32,
}

/// Adds one to a counter. Not inlined: it is called in many places.
#[inline(never)]
pub(crate) const fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
