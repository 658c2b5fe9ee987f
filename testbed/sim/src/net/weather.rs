//! What goes wrong on links by chance.

use std::ops::Range;

/// What goes wrong on links by chance, in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Frames that are lost.
    pub loss: u16,
    /// Datagrams that come twice.
    pub duplication: u16,
    /// Datagrams that take up to 50 ms longer, so that others overtake them.
    pub reordering: u16,
    /// Datagrams of which a bit falls over without the link noticing.
    pub corruption: u16,
    /// How much longer than it has to each datagram takes, in microseconds.
    pub delay: Range<u64>,
}

impl Weather {
    /// So many thousandths of frames are lost, and nothing else.
    #[must_use]
    pub const fn loss(thousandths: u16) -> Self {
        Self { loss: thousandths, duplication: 0, reordering: 0, corruption: 0, delay: 0..0 }
    }
}
