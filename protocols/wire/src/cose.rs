//! COSE_Sign1 with ES256 (RFC 9052 section 4.2, RFC 9053 section 2.1), the one form of it that is
//! used here.
//!
//! The protected header holds the algorithm (-7) and the id of the key; the unprotected header is
//! empty, and so is the external data. What is signed says by itself what it is (see
//! [`format`](crate::format)): a signed plan cannot be passed off as a roster.

use crate::cbor::{Decode, Encode, Reader, Writer};
use crate::digest::{Digest, Hasher};
use crate::id::KeyId;

/// A COSE_Sign1 structure, tagged, whose signature has not been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign1<'a> {
    protected: &'a [u8],
    key: KeyId,
    payload: Option<&'a [u8]>,
    signature: &'a [u8; 64],
}

/// 18([bytes ..., {}, ..., bytes ...]).
const START: &[u8] = b"\xd2\x84";
const UNPROTECTED: &[u8] = b"\xa0";
/// {1: -7, 4: ...}: ES256 and the key's id, which follows.
const PROTECTED: &[u8] = b"\xa2\x01\x26\x04";

impl<'a> Sign1<'a> {
    /// Whose signature it claims to be.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// What is signed, unless it is elsewhere (detached).
    #[must_use]
    pub const fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    /// The digest that the signature is made over: that of the `Sig_structure`, with no external
    /// data. `payload` counts if it is detached.
    #[must_use]
    pub fn signed_digest(&self, payload: &[u8]) -> Digest {
        signed_digest(self.protected, self.payload.unwrap_or(payload))
    }

    /// The signature: r and s, big-endian.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8; 64] {
        self.signature
    }
}

impl<'a> Decode<'a> for Sign1<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        reader.literal(START);
        let protected = reader.bytes();
        let mut header = Reader::new(protected);
        header.literal(PROTECTED);
        let key = KeyId::read(&mut header);
        if let Err(error) = header.finish() {
            reader.fail(error);
        }
        reader.literal(UNPROTECTED);
        let payload = if reader.take_null() { None } else { Some(reader.bytes()) };
        let signature = reader.array_of_bytes();
        Self { protected, key, payload, signature }
    }
}

impl Encode for Sign1<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.raw(START).bytes(self.protected).raw(UNPROTECTED);
        match self.payload {
            Some(payload) => writer.bytes(payload),
            None => writer.null(),
        };
        writer.bytes(self.signature);
    }
}

fn signed_digest(protected: &[u8], payload: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"\x84\x6aSignature1");
    update_bytes(&mut hasher, protected);
    hasher.update(&[0x40]);
    update_bytes(&mut hasher, payload);
    hasher.finish()
}

/// Hashes `bytes` as a byte string, so that a payload need not be copied behind a head.
fn update_bytes(hasher: &mut Hasher, bytes: &[u8]) {
    let mut head = [0; 9];
    let mut writer = Writer::new(&mut head);
    hasher.update(writer.bytes_head(bytes.len()).written());
    hasher.update(bytes);
}

#[cfg(feature = "es256")]
pub use es256::{BadSignature, SigningKey, sign, sign_detached};

#[cfg(feature = "es256")]
mod es256 {
    use super::{Encode, KeyId, PROTECTED, Sign1, Writer, signed_digest};
    use crate::credential::PublicKey;
    use crate::digest::Digest;
    use core::fmt;
    use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
    use p256::ecdsa::{Signature, VerifyingKey};

    /// A private key that signs with ES256; its memory is cleared when it is dropped. Signatures are
    /// deterministic (RFC 6979): the same key and bytes always give the same one, and no random
    /// source is needed.
    pub struct SigningKey(p256::ecdsa::SigningKey);

    /// A signature that is not the key's over these bytes, or a key that is not a point of the
    /// curve.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BadSignature;

    impl fmt::Display for BadSignature {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the signature is not valid")
        }
    }

    impl core::error::Error for BadSignature {}

    impl SigningKey {
        /// The key with this private scalar, big-endian; `None` if it is zero or not below the
        /// order of the curve.
        #[must_use]
        pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
            p256::ecdsa::SigningKey::from_bytes(scalar.into()).ok().map(Self)
        }

        /// Its public key.
        #[must_use]
        pub fn public_key(&self) -> PublicKey {
            let point = self.0.verifying_key().to_encoded_point(false);
            let coordinate =
                |bytes: Option<&p256::FieldBytes>| bytes.copied().map_or([0; 32], <[u8; 32]>::from);
            PublicKey { x: coordinate(point.x()), y: coordinate(point.y()) }
        }

        /// The signature over what has this digest: r and s, big-endian.
        pub(super) fn sign(&self, digest: &Digest) -> [u8; 64] {
            let signature: Signature = self
                .0
                .sign_prehash(digest.as_bytes())
                .unwrap_or_else(|_| unreachable!("32 bytes are enough to sign"));
            signature.to_bytes().into()
        }

        /// Its id.
        #[must_use]
        pub fn id(&self) -> KeyId {
            self.public_key().id()
        }
    }

    impl fmt::Debug for SigningKey {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "SigningKey({})", self.id())
        }
    }

    impl Sign1<'_> {
        /// Verifies the signature. `payload` is what was signed if it is detached, and ignored
        /// otherwise. Whether `key` may sign this is the caller's question.
        ///
        /// # Errors
        /// If the structure names another key, or the signature is not that key's.
        pub fn verify(&self, key: &PublicKey, payload: &[u8]) -> Result<(), BadSignature> {
            if self.key != key.id() {
                return Err(BadSignature);
            }
            let point =
                p256::EncodedPoint::from_affine_coordinates(&key.x.into(), &key.y.into(), false);
            let verifier = VerifyingKey::from_encoded_point(&point).map_err(|_| BadSignature)?;
            let signature = Signature::from_slice(self.signature).map_err(|_| BadSignature)?;
            verifier
                .verify_prehash(self.signed_digest(payload).as_bytes(), &signature)
                .map_err(|_| BadSignature)
        }
    }

    /// Writes a COSE_Sign1 that carries `payload`.
    pub fn sign(key: &SigningKey, payload: &[u8], writer: &mut Writer<'_>) {
        write(key, payload, Some(payload), writer);
    }

    /// Writes a COSE_Sign1 over `payload` that does not carry it.
    pub fn sign_detached(key: &SigningKey, payload: &[u8], writer: &mut Writer<'_>) {
        write(key, payload, None, writer);
    }

    fn write(key: &SigningKey, signed: &[u8], carried: Option<&[u8]>, writer: &mut Writer<'_>) {
        let key_id = key.id();
        let mut protected = [0; 16];
        let mut header = Writer::new(&mut protected);
        let protected = header.raw(PROTECTED).bytes(key_id.as_bytes()).written();
        let signature = key.sign(&signed_digest(protected, signed));
        Sign1 { protected, key: key_id, payload: carried, signature: &signature }.write(writer);
    }
}

#[cfg(test)]
#[cfg(feature = "es256")]
mod tests;
