//! EDHOC's key schedule with the primitives of cipher suite 2 (RFC 9528 section 4). Everything is
//! hashed and expanded piece by piece: no message is ever put together in memory.

use super::cbor::is_one_byte_int;
use super::dh::Shared;
use super::{ConnectionId, CredentialId, MAX_MESSAGE, Refusal, Text};
use capmesh_oscore::{aead, kdf};
use capmesh_wire::Hasher;
use zeroize::ZeroizeOnDrop;

/// A hash, or a key that is as long as one.
pub(super) type Hash = [u8; 32];

/// A pseudorandom key, wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub(super) struct Prk(pub(super) Hash);

/// Labels of EDHOC_KDF (section 4.1.2).
pub(super) mod label {
    pub(in super::super) const KEYSTREAM_2: u8 = 0;
    pub(in super::super) const SALT_3E2M: u8 = 1;
    pub(in super::super) const MAC_2: u8 = 2;
    pub(in super::super) const K_3: u8 = 3;
    pub(in super::super) const IV_3: u8 = 4;
    pub(in super::super) const SALT_4E3M: u8 = 5;
    pub(in super::super) const MAC_3: u8 = 6;
    pub(in super::super) const PRK_OUT: u8 = 7;
    pub(in super::super) const K_4: u8 = 8;
    pub(in super::super) const IV_4: u8 = 9;
    pub(in super::super) const PRK_EXPORTER: u8 = 10;
}

/// The head of a byte string of 32 bytes.
pub(super) const HASH_HEAD: [u8; 2] = [0x58, 32];

/// The length of a MAC and of an authentication tag.
pub(super) const MAC: usize = 8;

/// The hash of `parts`, one after the other.
#[inline(never)]
pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = Hasher::new();
    for part in parts {
        hash.update(part);
    }
    *hash.finish().as_bytes()
}

/// EDHOC_Extract.
pub(super) fn extract(salt: &Hash, shared: &Shared) -> Prk {
    Prk(kdf::extract(salt, &shared.0))
}

impl Prk {
    /// EDHOC_KDF with a context of these parts: fills `out`, which is at most 255 bytes long, as the
    /// context is.
    #[inline(never)]
    pub(super) fn derive(&self, label: u8, context: &[&[u8]], out: &mut [u8]) {
        let context_len = context.iter().map(|part| part.len()).sum::<usize>();
        let (mut context_head, mut out_len) = ([0; 3], [0; 3]);
        let context_head = head(0x40, context_len, &mut context_head);
        let out_len = head(0x00, out.len(), &mut out_len);
        kdf::expand(&self.0, &[&[&[label], context_head], context, &[out_len]], out);
    }

    /// EDHOC_KDF to another key, with a transcript hash as the context.
    pub(super) fn next(&self, label: u8, th: &Hash) -> Prk {
        let mut next = Prk([0; 32]);
        self.derive(label, &[th], &mut next.0);
        next
    }

    /// Encrypts `text` with the key and the IV of these labels, and returns the tag.
    #[inline(never)]
    pub(super) fn seal(
        &self,
        labels: [u8; 2],
        th: &Hash,
        text: &mut [u8],
    ) -> Result<[u8; MAC], Refusal> {
        let (key, iv, aad) = self.aead(labels, th);
        aead::seal(&key, &iv, &aad, text).ok_or(Refusal::TooLong)
    }

    /// Decrypts `text` with the key and the IV of these labels.
    #[inline(never)]
    pub(super) fn open(
        &self,
        labels: [u8; 2],
        th: &Hash,
        text: &mut [u8],
        tag: &[u8; MAC],
    ) -> Result<(), Refusal> {
        let (key, iv, aad) = self.aead(labels, th);
        aead::open(&key, &iv, &aad, text, tag).ok_or(Refusal::NotAuthentic)
    }

    /// Key, IV, and the Enc_structure of COSE_Encrypt0 with the transcript hash as associated data.
    fn aead(&self, [key_label, iv_label]: [u8; 2], th: &Hash) -> ([u8; 16], [u8; 13], [u8; 45]) {
        let (mut key, mut iv) = ([0; 16], [0; 13]);
        self.derive(key_label, &[th], &mut key);
        self.derive(iv_label, &[th], &mut iv);
        let mut aad = *b"\x83\x68Encrypt0\x40\x58\x20................................";
        aad.iter_mut().skip(13).zip(th).for_each(|(to, from)| *to = *from);
        (key, iv, aad)
    }
}

/// The head of a CBOR item with this argument of at most 65,535.
pub(super) fn head(major: u8, argument: usize, buf: &mut [u8; 3]) -> &[u8] {
    let [high, low] = u16::try_from(argument).unwrap_or(u16::MAX).to_be_bytes();
    let (bytes, len) = match (high, low) {
        (0, 0..=23) => ([major | low, 0, 0], 1),
        (0, _) => ([major | 24, low, 0], 2),
        _ => ([major | 25, high, low], 3),
    };
    *buf = bytes;
    buf.get(..len).unwrap_or_default()
}

/// EDHOC_KDF of a MAC (sections 5.3.2 and 5.4.2): over C_R in message_2, ID_CRED, the transcript hash,
/// CRED and EAD.
#[inline(never)]
pub(super) fn mac(
    prk: &Prk,
    label: u8,
    c_r: Option<ConnectionId>,
    id_cred: &CredentialId<'_>,
    th: &Hash,
    credential: &[u8],
    ead: &[u8],
) -> [u8; MAC] {
    let mut c_r_bytes = [0; 1 + ConnectionId::MAX];
    let c_r_len = c_r.map_or(0, |c_r| c_r.encode(&mut c_r_bytes));
    let c_r = c_r_bytes.get(..c_r_len).unwrap_or_default();
    let mut kid_head = [0; 3];
    let (map, head, id): (&[u8], &[u8], &[u8]) = match id_cred {
        CredentialId::Kid(kid) => (&[0xa1, 0x04], head(0x40, kid.len(), &mut kid_head), kid),
        #[cfg(feature = "by-value")]
        CredentialId::Value { ccs, .. } => (&[0xa1, 0x0e], &[], ccs),
    };
    let mut mac = [0; MAC];
    prk.derive(label, &[c_r, map, head, id, &HASH_HEAD, th, credential, ead], &mut mac);
    mac
}

/// Appends ID_CRED as it stands in a plaintext, and the MAC (sections 3.5.3.2, 5.3.2 and 5.4.2).
pub(super) fn write_id_and_mac(
    text: &mut Text,
    id_cred: &CredentialId<'_>,
    mac: &[u8; MAC],
) -> Result<(), Refusal> {
    let mut kid_head = [0; 3];
    let (head, id): (&[u8], &[u8]) = match id_cred {
        CredentialId::Kid(kid @ [byte]) if is_one_byte_int(*byte) => (&[], kid),
        CredentialId::Kid(kid) => (head(0x40, kid.len(), &mut kid_head), kid),
        #[cfg(feature = "by-value")]
        CredentialId::Value { ccs, .. } => (&[0xa1, 0x0e], ccs),
    };
    for part in [head, id, &[0x48], mac] {
        text.extend_from_slice(part).map_err(|_| Refusal::TooLong)?;
    }
    Ok(())
}

/// Encrypts PLAINTEXT_2 or decrypts CIPHERTEXT_2 (section 5.3.2).
#[inline(never)]
pub(super) fn apply_keystream_2(prk_2e: &Prk, th_2: &Hash, text: &mut [u8]) {
    let mut keystream = [0; MAX_MESSAGE];
    if let Some(keystream) = keystream.get_mut(..text.len()) {
        prk_2e.derive(label::KEYSTREAM_2, &[th_2], keystream);
    }
    text.iter_mut().zip(keystream).for_each(|(byte, key)| *byte ^= key);
}
