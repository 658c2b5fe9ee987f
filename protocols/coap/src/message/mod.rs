//! The message format of RFC 7252 section 3, in two layers: [`Message`] is a checked view of
//! received bytes, [`MessageWriter`] writes a message that can only be well formed.

mod code;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use code::Code;
pub use view::{Malformed, Message, OptionValues, Options};
pub use writer::{MessageWriter, Overflow, option_head};

use core::fmt;

/// The type of a message (RFC 7252 section 3). The field is called T there; `Type` is a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Confirmable: retransmitted until acknowledged or reset.
    Confirmable,
    /// Non-confirmable: sent once.
    NonConfirmable,
    /// Acknowledgement, with or without a piggybacked response.
    Acknowledgement,
    /// Reset: the receiver lacks the context to process the message.
    Reset,
}

impl Kind {
    const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }

    /// An empty message of this type: an acknowledgement, a reset, or a ping.
    #[must_use]
    pub const fn empty_message(self, id: u16) -> [u8; 4] {
        let [high, low] = id.to_be_bytes();
        [0x40 | self.bits() << 4, 0, high, low]
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }
}

/// A token: up to eight opaque bytes that match a response to its request (RFC 7252 section 5.3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Token {
    /// The longest token, in bytes.
    pub const MAX: usize = 8;

    /// The empty token, which empty messages carry.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    /// A token of these bytes, or `None` if there are more than eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut token = Self::EMPTY;
        token.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        token.len = u8::try_from(bytes.len()).ok()?;
        Some(token)
    }

    /// The bytes of the token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}
