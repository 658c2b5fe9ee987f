//! The primitives of cipher suite 2 for lakers.

use super::Refusal;
use super::cbor::Reader;
use super::dh::Shared;
use super::message::{Plaintext, read_ead};
use capmesh_oscore::aead;
use core::fmt;
use lakers::{
    AES_CCM_TAG_LEN, BufferCiphertext3, BufferPlaintext3, BytesCcmIvLen, BytesCcmKeyLen,
    BytesHashLen, BytesMaxBuffer, BytesMaxInfoBuffer, BytesP256ElemLen, EDHOCError, MAX_BUFFER_LEN,
};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// Labels of EDHOC_KDF (RFC 9528 section 4.1.2), the first byte of what lakers expands with.
const KEYSTREAM_2: u8 = 0;
const MAC_2: u8 = 2;
const MAC_3: u8 = 6;

/// One use of the primitives, in one step of a handshake.
///
/// It sees what lakers decrypts before lakers parses it, and takes MACs out of lakers' hands; why it
/// refused is found with [`Suite2::check`] after the step.
pub(super) struct Suite2<'a> {
    step: Step<'a>,
    /// The results of the Diffie-Hellman operations of the step, in their order.
    shared: &'a [Shared],
    refused: Option<Refusal>,
}

/// What lakers is asked to do, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// To compose a message, or to export keys.
    Compose,
    /// To decrypt message_2 with this CIPHERTEXT_2.
    Receive2(&'a [u8]),
    /// To decrypt message_3.
    Receive3,
    /// To decrypt message_4.
    Receive4,
    /// To verify this MAC.
    Verify([u8; 8]),
}

impl<'a> Suite2<'a> {
    pub(super) const fn new(step: Step<'a>, shared: &'a [Shared]) -> Self {
        Self { step, shared, refused: None }
    }

    /// What went wrong in the step, by what was seen here or else by what lakers says.
    pub(super) fn check<T>(&self, result: Result<T, EDHOCError>) -> Result<T, Refusal> {
        match (self.refused, result) {
            (Some(refusal), _) => Err(refusal),
            (None, Ok(value)) => Ok(value),
            (None, Err(EDHOCError::MacVerificationFailed)) => Err(Refusal::NotAuthentic),
            (None, Err(_)) => Err(Refusal::Malformed),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }

    /// Decrypts CIPHERTEXT_2 and reads it. A plaintext that is not in order is replaced by one that
    /// lakers refuses at once.
    fn check_plaintext_2(&mut self, keystream: &mut BytesMaxBuffer) {
        let Step::Receive2(ciphertext) = self.step else { return };
        let mut plaintext = [0; lakers::MAX_MESSAGE_SIZE_LEN];
        let pairs = ciphertext.iter().zip(keystream.iter());
        plaintext.iter_mut().zip(pairs).for_each(|(to, (c, k))| *to = c ^ k);
        let plaintext = plaintext.get(..ciphertext.len()).unwrap_or_default();
        if let Err(refusal) = Plaintext::read_2(plaintext) {
            self.refuse(refusal);
            keystream.iter_mut().zip(ciphertext).for_each(|(k, c)| *k = *c);
        }
    }

    /// Compares the expected MAC with the received one in constant time. In place of one that does
    /// not match, lakers gets one that differs in every bit: how long its own comparison takes says
    /// nothing about the expected one.
    fn check_mac(&self, expected: &mut BytesMaxBuffer) {
        let (Step::Verify(received), Some(expected)) = (self.step, expected.first_chunk_mut::<8>())
        else {
            return;
        };
        let is_equal = expected.ct_eq(&received);
        for (to, from) in expected.iter_mut().zip(received) {
            *to = u8::conditional_select(&!from, &from, is_equal);
        }
    }
}

/// lakers asks for it; secrets do not show.
impl fmt::Debug for Suite2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Suite2")
    }
}

impl lakers::CryptoTrait for Suite2<'_> {
    fn sha256_digest(&mut self, message: &BytesMaxBuffer, message_len: usize) -> BytesHashLen {
        Sha256::digest(message.get(..message_len).unwrap_or_default()).into()
    }

    fn hkdf_expand(
        &mut self,
        prk: &BytesHashLen,
        info: &BytesMaxInfoBuffer,
        info_len: usize,
        length: usize,
    ) -> BytesMaxBuffer {
        let mut output = [0; MAX_BUFFER_LEN];
        let info = info.get(..info_len).unwrap_or_default();
        let expanded = match (hkdf::Hkdf::<Sha256>::from_prk(prk), output.get_mut(..length)) {
            (Ok(hkdf), Some(output)) => hkdf.expand(info, output).is_ok(),
            _ => false,
        };
        if !expanded {
            self.refuse(Refusal::TooLong);
        }
        match info.first() {
            Some(&KEYSTREAM_2) => self.check_plaintext_2(&mut output),
            Some(&(MAC_2 | MAC_3)) => self.check_mac(&mut output),
            _ => {}
        }
        output
    }

    fn hkdf_extract(&mut self, salt: &BytesHashLen, ikm: &BytesP256ElemLen) -> BytesHashLen {
        hkdf::Hkdf::<Sha256>::extract(Some(salt), ikm).0.into()
    }

    fn aes_ccm_encrypt_tag_8(
        &mut self,
        key: &BytesCcmKeyLen,
        iv: &BytesCcmIvLen,
        ad: &[u8],
        plaintext: &BufferPlaintext3,
    ) -> BufferCiphertext3 {
        let mut buffer = *plaintext;
        let Some(text) = buffer.content.get_mut(..plaintext.len) else { return buffer };
        match aead::seal(key, iv, ad, text) {
            Some(tag) if buffer.extend_from_slice(&tag).is_ok() => {}
            _ => self.refuse(Refusal::TooLong),
        }
        buffer
    }

    fn aes_ccm_decrypt_tag_8(
        &mut self,
        key: &BytesCcmKeyLen,
        iv: &BytesCcmIvLen,
        ad: &[u8],
        ciphertext: &BufferCiphertext3,
    ) -> Result<BufferPlaintext3, EDHOCError> {
        let mut buffer = *ciphertext;
        buffer.len = ciphertext.len.checked_sub(AES_CCM_TAG_LEN).ok_or(EDHOCError::ParsingError)?;
        let (text, tag) = buffer
            .content
            .get_mut(..ciphertext.len)
            .and_then(|bytes| bytes.split_last_chunk_mut::<AES_CCM_TAG_LEN>())
            .ok_or(EDHOCError::ParsingError)?;
        aead::open(key, iv, ad, text, tag).ok_or(EDHOCError::MacVerificationFailed)?;
        let read = match self.step {
            Step::Receive3 => Plaintext::read_3(text).map(|_| ()),
            _ => read_ead(&mut Reader::new(text)),
        };
        read.map_err(|refusal| {
            self.refuse(refusal);
            EDHOCError::ParsingError
        })?;
        Ok(buffer)
    }

    fn p256_ecdh(&mut self, _: &BytesP256ElemLen, _: &BytesP256ElemLen) -> BytesP256ElemLen {
        if let Some((first, rest)) = self.shared.split_first() {
            self.shared = rest;
            first.0
        } else {
            self.refuse(Refusal::InvalidPoint);
            [0; 32]
        }
    }

    /// Not used: ephemeral keys and connection identifiers are given to lakers.
    fn get_random_byte(&mut self) -> u8 {
        self.refuse(Refusal::Malformed);
        0
    }

    /// Not used: ephemeral keys are given to lakers.
    fn p256_generate_key_pair(&mut self) -> (BytesP256ElemLen, BytesP256ElemLen) {
        self.refuse(Refusal::Malformed);
        ([0; 32], [0; 32])
    }
}
