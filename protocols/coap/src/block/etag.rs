//! Entity-tags (RFC 7252 section 5.10.6).

use core::fmt;

/// An entity-tag: one to eight opaque bytes that name one representation of a resource.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ETag {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl ETag {
    /// The longest entity-tag, in bytes.
    pub const MAX: usize = 8;

    /// A tag of these bytes, or `None` if there are none or more than eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let len = u8::try_from(bytes.len()).ok().filter(|len| (1..=8).contains(len))?;
        let mut tag = Self { bytes: [0; Self::MAX], len };
        tag.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(tag)
    }

    /// The bytes of the tag.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl From<u32> for ETag {
    /// A tag from a version counter or a hash.
    fn from(value: u32) -> Self {
        let [a, b, c, d] = value.to_be_bytes();
        Self { bytes: [a, b, c, d, 0, 0, 0, 0], len: 4 }
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ETag(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Derives a tag from a representation's bytes: FNV-1a of 64 bits, folded to the four bytes of the
/// tag.
///
/// It tells accidental changes apart and is no protection against somebody who chooses the bytes:
/// whoever writes a representation could make two of them that have the same tag, and so confuse
/// nobody but those who read what they wrote.
#[derive(Clone, Copy, Debug)]
pub struct ETagHasher(u64);

impl ETagHasher {
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// Starts with nothing hashed.
    #[must_use]
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Hashes more bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }

    /// The 64 bits of the hash.
    #[must_use]
    pub const fn finish(self) -> u64 {
        self.0
    }

    /// The tag of what was hashed.
    #[must_use]
    pub fn tag(self) -> ETag {
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        ETag { bytes: [a ^ e, b ^ f, c ^ g, d ^ h, 0, 0, 0, 0], len: 4 }
    }
}

impl Default for ETagHasher {
    fn default() -> Self {
        Self::new()
    }
}
