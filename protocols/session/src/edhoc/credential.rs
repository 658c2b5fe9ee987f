//! Authentication credentials: CWT Claims Sets with a P-256 key (RFC 9528 section 3.5.2).

use super::cbor::Reader;
use super::dh::public_of;
use super::{Kid, MAX_CREDENTIAL, Refusal, Transfer};
use core::fmt;
#[cfg(feature = "p256")]
use p256::elliptic_curve::sec1::ToEncodedPoint;
use zeroize::Zeroize;

/// A CWT Claims Set whose confirmation key is a P-256 point, for instance
/// `{2: "example.edu", 8: {1: {1: 2, 2: h'32', -1: 1, -2: x, -3: y}}}`.
///
/// The bytes matter: both sides hash the very same ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    bytes: heapless::Vec<u8, MAX_CREDENTIAL, u8>,
    public_key: [u8; 32],
    kid: Option<Kid>,
}

/// Bytes are not a credential that this implementation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCredential;

impl fmt::Display for InvalidCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a CWT Claims Set with a P-256 key, or too long")
    }
}

impl core::error::Error for InvalidCredential {}

impl Credential {
    /// Reads a CWT Claims Set in deterministic encoding. It may have a subject; the COSE_Key may have
    /// a `kid` and a y-coordinate; nothing else is understood.
    ///
    /// # Errors
    /// If it is not of that form, or longer than [`MAX_CREDENTIAL`]. Whether the key is a point of
    /// the curve shows when it is used.
    pub fn parse(ccs: &[u8]) -> Result<Self, InvalidCredential> {
        let mut reader = Reader::new(ccs);
        let key = read_ccs(&mut reader).and_then(|key| reader.end().map(|()| key));
        let (public_key, kid) = key.map_err(|_| InvalidCredential)?;
        let bytes = heapless::Vec::from_slice(ccs).map_err(|_| InvalidCredential)?;
        let kid = kid.map(|kid| Kid::new(kid).ok_or(InvalidCredential)).transpose()?;
        Ok(Self { bytes, public_key, kid })
    }

    /// The credential `{8: {1: {1: 2, 2: kid, -1: 1, -2: x}}}`, which everybody who has the
    /// x-coordinate of the public key and the `kid` makes the same.
    #[must_use]
    pub fn from_public_key(x: &[u8; 32], kid: Kid) -> Self {
        let kid_bytes = kid.as_bytes();
        let kid_head = 0x40 | u8::try_from(kid_bytes.len()).unwrap_or_default();
        let mut bytes = heapless::Vec::new();
        let parts = [
            &[0xa1, 0x08, 0xa1, 0x01, 0xa4, 0x01, 0x02, 0x02, kid_head][..],
            kid_bytes,
            &[0x20, 0x01, 0x21, 0x58, 0x20],
            x,
        ];
        for part in parts {
            // At most 9 + 16 + 5 + 32 bytes.
            let _ = bytes.extend_from_slice(part);
        }
        Self { bytes, public_key: *x, kid: Some(kid) }
    }

    /// The encoded CWT Claims Set.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The x-coordinate of the public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The name by which it can be referred to.
    #[must_use]
    pub const fn kid(&self) -> Option<Kid> {
        self.kid
    }

    /// How this credential is named to the other side; `None` by reference without a `kid`.
    pub(super) fn id(&self, transfer: Transfer) -> Option<CredentialId<'_>> {
        let kid = self.kid.as_ref().map(Kid::as_bytes);
        match transfer {
            Transfer::ByReference => kid.map(CredentialId::Kid),
            #[cfg(feature = "by-value")]
            Transfer::ByValue => {
                Some(CredentialId::Value { ccs: &self.bytes, kid, public_key: self.public_key })
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?}, {} B)", self.kid, self.bytes.len())
    }
}

/// The public key and the `kid` of a credential.
type Key<'a> = ([u8; 32], Option<&'a [u8]>);

/// Reads one CWT Claims Set.
pub(super) fn read_ccs<'a>(reader: &mut Reader<'a>) -> Result<Key<'a>, Refusal> {
    let mut key = None;
    let mut last = 0;
    for _ in 0..reader.map()? {
        let claim = reader.int()?;
        if claim <= last {
            return Err(Refusal::Malformed);
        }
        last = claim;
        match claim {
            // Subject.
            2 => {
                reader.text()?;
            }
            // Confirmation: a COSE_Key.
            8 => {
                if reader.map()? != 1 || reader.int()? != 1 {
                    return Err(Refusal::Malformed);
                }
                key = Some(read_cose_key(reader)?);
            }
            _ => return Err(Refusal::Malformed),
        }
    }
    key.ok_or(Refusal::Malformed)
}

fn read_cose_key<'a>(reader: &mut Reader<'a>) -> Result<Key<'a>, Refusal> {
    let (mut is_ec2, mut is_p256, mut x, mut kid) = (false, false, None, None);
    let pairs = reader.map()?;
    // Five labels are known: a sixth pair would repeat one.
    if pairs > 5 {
        return Err(Refusal::Malformed);
    }
    for _ in 0..pairs {
        match reader.int()? {
            1 if !is_ec2 => is_ec2 = reader.int()? == 2,
            2 if kid.is_none() => kid = Some(reader.bytes()?),
            -1 if !is_p256 => is_p256 = reader.int()? == 1,
            -2 if x.is_none() => {
                x = Some(<[u8; 32]>::try_from(reader.bytes()?).map_err(|_| Refusal::Malformed)?);
            }
            // Which of the two points it is does not matter to Diffie-Hellman on x-coordinates.
            -3 => {
                reader.bytes()?;
            }
            _ => return Err(Refusal::Malformed),
        }
    }
    match x {
        Some(x) if is_ec2 && is_p256 => Ok((x, kid)),
        _ => Err(Refusal::Malformed),
    }
}

/// What ID_CRED_x said: which credential the peer uses. Not authenticated when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialId<'a> {
    /// The one with this `kid`.
    Kid(&'a [u8]),
    /// This one. Knowing the key, it must still be found in the roster.
    #[cfg(feature = "by-value")]
    Value {
        /// The whole CWT Claims Set.
        ccs: &'a [u8],
        /// Its `kid`, if it has one.
        kid: Option<&'a [u8]>,
        /// The x-coordinate of its public key.
        public_key: [u8; 32],
    },
}

impl CredentialId<'_> {
    /// Whether `credential` is meant: by `kid`, or byte for byte.
    #[must_use]
    pub fn is(&self, credential: &Credential) -> bool {
        match *self {
            Self::Kid(kid) => credential.kid.is_some_and(|known| known.as_bytes() == kid),
            #[cfg(feature = "by-value")]
            Self::Value { ccs, .. } => credential.as_bytes() == ccs,
        }
    }
}

/// A private key and the credential that goes with it.
#[derive(Clone)]
pub struct Identity {
    private_key: [u8; 32],
    credential: Credential,
}

/// A private key is zero or past the group's order, or does not belong to the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a P-256 private key, or not the one of the credential")
    }
}

impl core::error::Error for InvalidKey {}

impl Identity {
    /// The party that has `private_key` (a P-256 scalar, big-endian) and is known by `credential`.
    ///
    /// # Errors
    /// If they do not belong together.
    pub fn new(private_key: &[u8; 32], credential: Credential) -> Result<Self, InvalidKey> {
        if Self::public_key_of(private_key)? != credential.public_key {
            return Err(InvalidKey);
        }
        Ok(Self { private_key: *private_key, credential })
    }

    /// The x-coordinate of the public key of `private_key`.
    ///
    /// # Errors
    /// If it is zero or past the group's order.
    pub fn public_key_of(private_key: &[u8; 32]) -> Result<[u8; 32], InvalidKey> {
        public_of(private_key).map_err(|_| InvalidKey)
    }

    /// Both coordinates of the public key of `private_key`, for a credential that shall have them. Needs
    /// the feature `p256`.
    ///
    /// # Errors
    /// If it is zero or past the group's order.
    #[cfg(feature = "p256")]
    pub fn public_point_of(private_key: &[u8; 32]) -> Result<([u8; 32], [u8; 32]), InvalidKey> {
        let secret = p256::SecretKey::from_bytes(private_key.into()).map_err(|_| InvalidKey)?;
        let point = secret.public_key().to_encoded_point(false);
        match (point.x(), point.y()) {
            (Some(x), Some(y)) => Ok(((*x).into(), (*y).into())),
            _ => Err(InvalidKey),
        }
    }

    /// What it is known by.
    #[must_use]
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    pub(super) const fn private_key(&self) -> &[u8; 32] {
        &self.private_key
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.credential)
    }
}
