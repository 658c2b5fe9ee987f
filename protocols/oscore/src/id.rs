//! The identifiers of a security context.

use core::fmt;

/// A Sender ID or Recipient ID: up to 7 bytes, which is what the nonce of AES-CCM-16-64-128 has
/// room for (RFC 8613 section 3.3). The empty one is legitimate.
pub type KeyId = Short<7>;

/// An ID Context. RFC 8613 allows any length; here up to 16 bytes.
pub type IdContext = Short<16>;

/// Up to `N` bytes, by value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Short<N> {
    /// The most bytes that fit.
    pub const MAX: usize = N;

    /// The identifier with these bytes, or `None` if there are too many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self { bytes: [0; N], len: u8::try_from(bytes.len()).ok()? };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// How many bytes it has.
    pub(crate) const fn len(&self) -> u8 {
        self.len
    }

    /// The bytes of the identifier.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
