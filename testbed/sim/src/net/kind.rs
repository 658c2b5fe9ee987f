//! What a link is made of, and what a datagram costs on it.

use std::ops::Range;
use std::time::Duration;

/// A kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 100 Mbit/s through a switch: each host sends by itself.
    Ethernet,
    /// IEEE 802.15.4 at 250 kbit/s with 6LoWPAN: frames of 127 bytes, one air for all that hear each
    /// other, acknowledged and sent again up to three times if sent to one.
    Radio,
    /// A serial line at 115,200 baud, 8N1, in both directions at once.
    Serial,
}

/// Bytes of a frame's header and checksum on 802.15.4 (short addresses, one PAN: 9 and 2; with long
/// ones, as nodes without a coordinator use, 21 and 2).
const RADIO_HEADER: usize = 23;
/// The longest frame.
const RADIO_FRAME: usize = 127;
/// What a datagram's IPv6 and UDP headers come to with 6LoWPAN (RFC 6282).
const RADIO_COMPRESSED: usize = 10;
/// A fragment's header (RFC 4944), and its payload: a multiple of 8.
const RADIO_FRAGMENT: usize = 5;
const RADIO_PAYLOAD: usize = (RADIO_FRAME - RADIO_HEADER - RADIO_FRAGMENT) / 8 * 8;
/// Preamble, start of frame and length.
const RADIO_PHY: usize = 6;
/// Microseconds for each byte: 250 kbit/s.
const RADIO_BYTE: u64 = 32;
/// Turning round and an acknowledgement of 11 bytes.
const RADIO_ACK: u64 = 192 + 11 * RADIO_BYTE;
/// A period of back-off; there are 0 to 7 before a frame.
const RADIO_BACKOFF: u64 = 320;

/// A datagram on a link, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// How many.
    pub count: usize,
    /// What each takes of the medium, in microseconds, without chance.
    pub micros: u64,
}

impl Kind {
    /// How often a frame to one host is sent again when it was not acknowledged.
    #[must_use]
    pub const fn retries(self) -> u8 {
        match self {
            Self::Radio => 3,
            Self::Ethernet | Self::Serial => 0,
        }
    }

    /// What a datagram takes.
    #[must_use]
    pub const fn frames(self, bytes: usize) -> Frames {
        match self {
            Self::Ethernet => Frames { count: 1, micros: ((bytes + 86) * 8).div_ceil(100) as u64 },
            Self::Serial => {
                Frames { count: 1, micros: ((bytes + 54) * 10 * 1_000_000 / 115_200) as u64 }
            }
            Self::Radio => {
                let bytes = bytes + RADIO_COMPRESSED;
                let (count, each) = if bytes <= RADIO_FRAME - RADIO_HEADER {
                    (1, bytes)
                } else {
                    let count = bytes.div_ceil(RADIO_PAYLOAD);
                    (count, bytes.div_ceil(count) + RADIO_FRAGMENT)
                };
                let micros = (each + RADIO_HEADER + RADIO_PHY) as u64 * RADIO_BYTE;
                Frames { count, micros }
            }
        }
    }

    /// What a frame takes beside: up to so many periods of back-off, and the acknowledgement.
    pub(crate) const fn around(self, backoff: u64, is_acknowledged: bool) -> u64 {
        match self {
            Self::Radio if is_acknowledged => backoff * RADIO_BACKOFF + RADIO_ACK,
            Self::Radio => backoff * RADIO_BACKOFF,
            Self::Ethernet | Self::Serial => 0,
        }
    }

    /// What a datagram takes from the last bit sent until the receiver's software has it, in microseconds.
    #[must_use]
    pub const fn latency(self) -> Range<u64> {
        match self {
            Self::Ethernet => 500..1_500,
            Self::Radio => 300..1_000,
            Self::Serial => 200..400,
        }
    }

    /// How long a datagram may have to wait for its turn before it is dropped: what a queue holds.
    #[must_use]
    pub const fn queue(self) -> Duration {
        match self {
            Self::Ethernet => Duration::from_millis(50),
            Self::Radio | Self::Serial => Duration::from_millis(1_000),
        }
    }

    /// The longest datagram.
    #[must_use]
    pub const fn mtu(self) -> usize {
        1_280
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_take_what_they_do_on_real_links() {
        // A full frame of 127 bytes: 4.26 ms.
        assert_eq!(Kind::Radio.frames(94), Frames { count: 1, micros: 133 * 32 });
        assert_eq!(Kind::Radio.frames(95).count, 2);
        assert_eq!(Kind::Radio.frames(1_280).count, 14);
        // 1 KB and its headers over a serial line: about 94 ms.
        assert_eq!(Kind::Serial.frames(1_024).micros, 93_576);
        assert_eq!(Kind::Ethernet.frames(1_164).micros, 100);
    }
}
