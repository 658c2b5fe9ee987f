//! Byte strings that name connections and credentials.

use super::cbor::is_one_byte_int;
use core::fmt;

/// A connection identifier, C_I or C_R, which is also the OSCORE Recipient ID of the party that
/// chose it (RFC 9528 section 3.3.3): at most seven bytes, for a nonce of thirteen (RFC 8613 section
/// 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl ConnectionId {
    /// The longest connection identifier, in bytes.
    pub const MAX: usize = 7;

    /// The identifier of these bytes, or `None` if there are more than seven.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { len: u8::try_from(id.len()).ok()?, bytes })
    }

    /// The bytes: the OSCORE Recipient ID.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Writes the representation of RFC 9528 section 3.3.2 to `out` and returns its length.
    #[must_use]
    pub fn encode(self, out: &mut [u8; 1 + Self::MAX]) -> usize {
        let [head, rest @ ..] = out;
        match self.as_bytes() {
            &[byte] if is_one_byte_int(byte) => {
                *head = byte;
                1
            }
            bytes => {
                *head = 0x40 | self.len;
                rest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                1 + bytes.len()
            }
        }
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({:02x?})", self.as_bytes())
    }
}

/// The name of a credential: COSE's `kid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kid {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Kid {
    /// The longest `kid`, in bytes.
    pub const MAX: usize = 16;

    /// The `kid` of these bytes, or `None` if there are more than sixteen.
    #[must_use]
    pub fn new(kid: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..kid.len())?.copy_from_slice(kid);
        Some(Self { len: u8::try_from(kid.len()).ok()?, bytes })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({:02x?})", self.as_bytes())
    }
}
