//! What an endpoint may be told about its link and its patience.

use super::hash::micros;
use crate::option::OptionNumber;
use core::time::Duration;

/// The parameters of RFC 7252 section 4.8, RFC 7641 section 4.5 and of this endpoint's patience.
///
/// The defaults are the RFCs'; where these leave the value open, the field says why it is what it
/// is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// ACK_TIMEOUT: the shortest time before the first retransmission. 2 s; raising it is always
    /// allowed, lowering it needs congestion control of another kind (RFC 7252 section 4.8.1).
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR in percent: the first retransmission happens after `ack_timeout` times a
    /// random factor between 1 and this. 150; never below 100.
    pub ack_random_percent: u16,
    /// MAX_RETRANSMIT: retransmissions of a confirmable message before it counts as lost. 4.
    pub max_retransmit: u8,
    /// NSTART: interactions with one address that may be outstanding at once; the others wait their
    /// turn. 1 by RFC 7252; 8 is what this mesh uses on links it knows.
    pub nstart: u8,
    /// MAX_LATENCY: the longest time that a datagram is expected to take. 100 s.
    pub max_latency: Duration,
    /// PROCESSING_DELAY as a server: how long a confirmable request may stay unanswered before an
    /// empty acknowledgement goes out and its response becomes a separate one. The RFC's bound is
    /// ACK_TIMEOUT at the other side; 500 ms leave time for the way.
    pub processing_delay: Duration,
    /// How long the application may take to answer a request. After that its
    /// [`Responder`](super::Responder) is void. 120 s.
    pub answer_timeout: Duration,
    /// How long to wait for the response to a request that was acknowledged, or that was
    /// non-confirmable. 150 s: the other side's `answer_timeout` and some for the way.
    pub response_timeout: Duration,
    /// How long a request may be held because the security layer is not ready. 90 s: room for a
    /// handshake over a bad link.
    pub held_timeout: Duration,
    /// DEFAULT_LEISURE: the response to a multicast request is sent at a random moment of this
    /// span. 5 s.
    pub leisure: Duration,
    /// How long responses to a multicast request are collected. 10 s: the other side's leisure and
    /// some for the way.
    pub multicast_wait: Duration,
    /// Every n-th notification of an observation is confirmable at least, so that an observer that
    /// went away is noticed. 10; 1 makes all of them confirmable.
    pub confirm_every: u16,
    /// A notification is confirmable when the last such one is this long ago. 24 h, the most that
    /// RFC 7641 section 4.5 allows.
    pub confirm_within: Duration,
    /// How many times the bytes of a request may go to an address that is not verified in answer to
    /// it. 3 by RFC 9175 section 2.4; 0 sets no limit. 136 bytes may go there in any case.
    pub amplification: u8,
    /// Which critical options the application understands in a response; a response with another
    /// one is rejected (RFC 7252 section 5.4.1).
    pub understands: fn(OptionNumber) -> bool,
}

impl Config {
    /// MAX_TRANSMIT_SPAN (RFC 7252 section 4.8.2): from the first transmission of a confirmable
    /// message to its last retransmission.
    #[must_use]
    pub fn max_transmit_span(&self) -> Duration {
        Duration::from_micros(self.worst_timeout(self.max_retransmit))
    }

    /// MAX_TRANSMIT_WAIT: from the first transmission of a confirmable message to giving up.
    #[must_use]
    pub fn max_transmit_wait(&self) -> Duration {
        Duration::from_micros(self.worst_timeout(self.max_retransmit.saturating_add(1)))
    }

    /// EXCHANGE_LIFETIME: how long a confirmable message can have duplicates.
    #[must_use]
    pub fn exchange_lifetime(&self) -> Duration {
        Duration::from_micros(self.exchange_lifetime_micros())
    }

    /// NON_LIFETIME: how long a non-confirmable message can have duplicates.
    #[must_use]
    pub fn non_lifetime(&self) -> Duration {
        Duration::from_micros(self.non_lifetime_micros())
    }

    // In microseconds, because a microcontroller has no division of 64 bits, which `Duration` needs.

    pub(super) fn exchange_lifetime_micros(&self) -> u64 {
        let flights = 2 * u64::from(micros(self.max_latency)) + u64::from(micros(self.ack_timeout));
        self.worst_timeout(self.max_retransmit).saturating_add(flights)
    }

    pub(super) fn non_lifetime_micros(&self) -> u64 {
        let flight = u64::from(micros(self.max_latency));
        self.worst_timeout(self.max_retransmit).saturating_add(flight)
    }

    /// The most that a first timeout is longer than `ack_timeout`.
    pub(super) fn ack_jitter_micros(&self) -> u32 {
        let spread = u32::from(self.ack_random_percent.saturating_sub(100));
        (micros(self.ack_timeout) / 100).saturating_mul(spread)
    }

    /// `ack_timeout * (2^steps - 1) * ack_random_factor`.
    fn worst_timeout(&self, steps: u8) -> u64 {
        let doublings = 1_u32.checked_shl(u32::from(steps)).map_or(u32::MAX, |power| power - 1);
        let longest = micros(self.ack_timeout).saturating_add(self.ack_jitter_micros());
        u64::from(longest) * u64::from(doublings)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_percent: 150,
            max_retransmit: 4,
            nstart: 1,
            max_latency: Duration::from_secs(100),
            processing_delay: Duration::from_millis(500),
            answer_timeout: Duration::from_secs(120),
            response_timeout: Duration::from_secs(150),
            held_timeout: Duration::from_secs(90),
            leisure: Duration::from_secs(5),
            multicast_wait: Duration::from_secs(10),
            confirm_every: 10,
            confirm_within: Duration::from_secs(24 * 60 * 60),
            amplification: 3,
            understands: |number| number.name().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_times_are_those_of_rfc_7252_section_4_8_2() {
        let config = Config::default();
        assert_eq!(config.max_transmit_span(), Duration::from_secs(45));
        assert_eq!(config.max_transmit_wait(), Duration::from_secs(93));
        assert_eq!(config.exchange_lifetime(), Duration::from_secs(247));
        assert_eq!(config.non_lifetime(), Duration::from_secs(145));
    }

    #[test]
    fn absurd_parameters_saturate() {
        let config = Config { max_retransmit: 255, ..Config::default() };
        assert!(config.max_transmit_span() > Duration::from_secs(1 << 32));
    }
}
