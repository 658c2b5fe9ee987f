//! SHA-256 digests: the names of blobs.

use crate::cbor::{Decode, Encode, Reader, Writer};
use core::fmt;
use core::str::FromStr;
use sha2::compress256;

/// The SHA-256 of some exact bytes.
///
/// As text it is `sha256:` and 64 lower-case hexadecimal digits, the form that OCI registries use;
/// [`Digest::ni`] gives the form of RFC 6920.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::LEN]);

impl Digest {
    /// Bytes of a digest.
    pub const LEN: usize = 32;

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest with this value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Its first 8 bytes: enough to tell apart what one mesh holds, not to trust.
    #[must_use]
    pub const fn prefix(&self) -> DigestPrefix {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        DigestPrefix([a, b, c, d, e, f, g, h])
    }

    /// Shows the digest as `ni:///sha-256;` and base64url without padding (RFC 6920 section 3).
    #[must_use]
    pub const fn ni(&self) -> Ni<'_> {
        Ni(self)
    }
}

impl From<[u8; Self::LEN]> for Digest {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

/// Bytes that SHA-256 takes in at a time.
const BLOCK: usize = 64;

/// Computes a [`Digest`] piece by piece.
///
/// The padding of FIPS 180-4 around `sha2`'s compression function: the generic machinery around it
/// takes more flash than the function.
#[derive(Clone)]
pub struct Hasher {
    state: [u32; 8],
    block: [u8; BLOCK],
    /// Bytes taken in; those past the last whole block are at the start of `block`.
    len: u64,
}

impl Hasher {
    /// Of nothing yet.
    #[must_use]
    #[inline(never)]
    pub const fn new() -> Self {
        // FIPS 180-4 section 5.3.3.
        let state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        Self { state, block: [0; BLOCK], len: 0 }
    }

    /// Appends `bytes`.
    #[inline(never)]
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.block.get_mut(filled(self.len)..).unwrap_or_default();
            let taken = room.len().min(rest.len());
            for (to, from) in room.iter_mut().zip(rest) {
                *to = *from;
            }
            rest = rest.get(taken..).unwrap_or_default();
            self.len += taken as u64;
            if filled(self.len) == 0 {
                self.compress();
            }
        }
    }

    /// The digest of all that was appended.
    #[must_use]
    #[inline(never)]
    pub fn finish(mut self) -> Digest {
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        let at = filled(self.len);
        let mut mark = 0x80;
        for byte in self.block.get_mut(at..).unwrap_or_default() {
            *byte = core::mem::take(&mut mark);
        }
        if at >= BLOCK - bits.len() {
            self.compress();
            self.block = [0; BLOCK];
        }
        if let Some(end) = self.block.last_chunk_mut() {
            *end = bits;
        }
        self.compress();
        let mut digest = [0; Digest::LEN];
        for (to, word) in digest.chunks_exact_mut(4).zip(self.state) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        Digest(digest)
    }

    fn compress(&mut self) {
        compress256(&mut self.state, core::slice::from_ref((&self.block).into()));
    }
}

/// Bytes past the last whole block.
const fn filled(len: u64) -> usize {
    let [low, ..] = len.to_le_bytes();
    low as usize % BLOCK
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    /// Without what was taken in, which can be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} B)", self.len)
    }
}

/// The first 8 bytes of a digest, to say briefly what is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestPrefix(pub [u8; 8]);

/// A digest in the form of RFC 6920.
#[derive(Clone, Copy, Debug)]
pub struct Ni<'a>(&'a Digest);

/// Text that is not a digest in the form `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDigest;

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest is `sha256:` and 64 lower-case hexadecimal digits")
    }
}

impl core::error::Error for InvalidDigest {}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").ok_or(InvalidDigest)?.as_bytes();
        if hex.len() != 2 * Self::LEN {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(InvalidDigest),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Ni<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        f.write_str("ni:///sha-256;")?;
        for group in self.0.0.chunks(3) {
            let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            let missing = 3 - group.len();
            let bits = bits << (8 * missing);
            for digit in 0..4 - missing {
                let index = (bits >> (18 - 6 * digit) & 0x3f) as usize;
                fmt::Write::write_char(
                    f,
                    char::from(ALPHABET.get(index).copied().unwrap_or(b'=')),
                )?;
            }
        }
        Ok(())
    }
}

impl<'a> Decode<'a> for Digest {
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(Decode::read(reader))
    }
}

impl Encode for Digest {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
    }
}

impl<'a> Decode<'a> for DigestPrefix {
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(Decode::read(reader))
    }
}

impl Encode for DigestPrefix {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use hex_literal::hex;
    use std::string::ToString;

    #[test]
    fn text_forms_of_a_known_digest() {
        // RFC 6920 section 8.1.
        let digest = Digest::of(b"Hello World!");
        assert_eq!(
            digest.ni().to_string(),
            "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
        );
        let text = "sha256:7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(digest.prefix().0, hex!("7f83b1657ff1fc53"));
    }

    #[test]
    fn text_has_one_form() {
        let good = Digest::of(b"").to_string();
        for bad in [
            good.to_uppercase(),
            good.replace("sha256:", "sha512:"),
            good.replace("sha256:", ""),
            good.clone() + "0",
            good.get(..good.len() - 1).unwrap().to_string(),
            good.replace('e', "g"),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(InvalidDigest), "{bad}");
        }
    }

    #[test]
    fn pieces_and_whole_agree() {
        let mut hasher = Hasher::new();
        hasher.update(b"Hello ");
        hasher.update(b"");
        hasher.update(b"World!");
        assert_eq!(hasher.finish(), Digest::of(b"Hello World!"));
    }
}
