//! Public keys and the CCS credentials that carry them.

use crate::cbor::{Decode, DecodeError, Encode, Overflow, Reader, Writer};
use crate::id::{Claim, NodeId};
use crate::text::Name;
use core::fmt;

/// A public key on P-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    /// The x-coordinate, big-endian: all that EDHOC uses of a static Diffie-Hellman key.
    pub x: [u8; 32],
    /// The y-coordinate, big-endian: needed to verify signatures.
    pub y: [u8; 32],
}

impl PublicKey {
    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::of_key(&self.x)
    }

    /// The claim of the key.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim::of_key(&self.x)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A CCS credential (RFC 9528 section 3.5.2; RFC 8392, RFC 8747, RFC 9052):
///
/// ```text
/// {2: subject, 8: {1: {1: 2, 2: kid, -1: 1, -2: x, -3: y}}}
/// ```
///
/// Its bytes go into EDHOC as CRED_I and CRED_R, and both sides must have the same ones: that is why
/// the roster carries it whole, and why there is one encoding. The kid is the key's [`NodeId`], the
/// subject a name for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    bytes: &'a [u8],
    subject: Name<'a>,
    id: NodeId,
    x: &'a [u8; 32],
    y: &'a [u8; 32],
}

impl<'a> Credential<'a> {
    /// Checks `bytes`, including that the kid is the key's; not that the point is on the curve.
    ///
    /// # Errors
    /// If they are anything else than what [`Credential::encode`] writes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let credential = Self::parse_unbound(bytes)?;
        if credential.id == NodeId::of_key(credential.x) {
            Ok(credential)
        } else {
            Err(DecodeError::Value)
        }
    }

    /// As [`Credential::parse`], but without hashing the key: for bytes that have been checked
    /// before.
    pub(crate) fn parse_unbound(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        // {2: ..., 8: {1: {1: 2, 2: ..., -1: 1, -2: ..., -3: ...}}}
        reader.literal(b"\xa2\x02");
        let subject = Name::read(&mut reader);
        reader.literal(b"\x08\xa1\x01\xa5\x01\x02\x02");
        let id = NodeId::read(&mut reader);
        reader.literal(b"\x20\x01\x21");
        let x = reader.array_of_bytes();
        reader.literal(b"\x22");
        let y = reader.array_of_bytes();
        reader.finish()?;
        Ok(Self { bytes, subject, id, x, y })
    }

    /// Writes the credential of `key` to the start of `buf` and returns its length, at most
    /// [`limits::CREDENTIAL`](crate::limits::CREDENTIAL).
    ///
    /// # Errors
    /// If it does not fit.
    pub fn encode(subject: Name<'_>, key: &PublicKey, buf: &mut [u8]) -> Result<usize, Overflow> {
        let mut writer = Writer::new(buf);
        writer.raw(b"\xa2\x02");
        subject.write(&mut writer);
        writer.raw(b"\x08\xa1\x01\xa5\x01\x02\x02").bytes(key.id().as_bytes());
        writer.raw(b"\x20\x01\x21").bytes(&key.x).raw(b"\x22").bytes(&key.y);
        writer.finish()
    }

    /// The encoded credential: CRED_x.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What people call its owner.
    #[must_use]
    pub const fn subject(&self) -> Name<'a> {
        self.subject
    }

    /// The key's id: the kid.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        PublicKey { x: *self.x, y: *self.y }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} {})", self.subject, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use hex_literal::hex;

    /// The key of the initiator in RFC 9529 section 3.
    const KEY: PublicKey = PublicKey {
        x: hex!("ac75e9ece3e50bfc8ed60399889522405c47bf16df96660a41298cb4307f7eb6"),
        y: hex!("6e5de611388a4b8a8211334ac7d37ecb52a387d257e6db3c2a93df21ff3affc8"),
    };

    fn encoded(subject: &str) -> ([u8; limits::CREDENTIAL], usize) {
        let mut buf = [0; limits::CREDENTIAL];
        let len = Credential::encode(Name::new(subject).unwrap(), &KEY, &mut buf).unwrap();
        (buf, len)
    }

    #[test]
    fn what_is_written_is_read() {
        let (buf, len) = encoded("n03");
        let credential = Credential::parse(&buf[..len]).unwrap();
        assert_eq!(credential.subject().as_str(), "n03");
        assert_eq!(credential.id(), KEY.id());
        assert_eq!(credential.public_key(), KEY);
        assert_eq!(credential.as_bytes(), &buf[..len]);
    }

    #[test]
    fn the_longest_credential_has_the_stated_length() {
        assert_eq!(encoded("abcdefghijklmnopqrstuvw").1, limits::CREDENTIAL);
    }

    #[test]
    fn a_kid_that_is_not_the_keys_is_refused() {
        let (buf, len) = encoded("n03");
        for at in 0..len {
            for bit in 0..8 {
                let mut changed = buf;
                changed[at] ^= 1 << bit;
                // The name and y are bound to the key by nothing but the roster's signature.
                if let Ok(credential) = Credential::parse(&changed[..len]) {
                    assert!(credential.subject().as_str() != "n03" || credential.y != &KEY.y);
                }
            }
        }
        assert_eq!(Credential::parse(&buf[..len - 1]), Err(DecodeError::Truncated));
        assert_eq!(Credential::parse(&buf[..=len]), Err(DecodeError::Trailing));
    }

    #[test]
    fn lakers_reads_the_credential_and_the_kid() {
        let (buf, len) = encoded("n03");
        let theirs = lakers_shared::Credential::parse_ccs(&buf[..len]).unwrap();
        assert_eq!(theirs.bytes.as_slice(), &buf[..len]);
        assert_eq!(theirs.public_key(), Some(KEY.x));
        assert_eq!(theirs.kid.unwrap().as_slice(), KEY.id().as_bytes());
    }
}
