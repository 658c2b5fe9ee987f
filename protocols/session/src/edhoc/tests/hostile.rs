//! Peers that follow EDHOC's key schedule and lie in the plaintexts, written out from RFC 9528 and
//! independent of the code under test.

use super::rfc9529::{SK_R, Y};
use ccm::KeyInit;
use ccm::aead::AeadInPlace;
use sha2::{Digest, Sha256};
use std::vec::Vec;

fn public(private: &[u8; 32]) -> [u8; 32] {
    crate::edhoc::Identity::public_key_of(private).unwrap()
}

fn dh(private: &[u8; 32], x: &[u8; 32]) -> [u8; 32] {
    let secret = p256::SecretKey::from_slice(private).unwrap();
    let compressed = [&[2][..], x].concat();
    let point = p256::PublicKey::from_sec1_bytes(&compressed).unwrap();
    (*p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), point.as_affine()).raw_secret_bytes())
        .into()
}

fn extract(salt: &[u8; 32], ikm: &[u8; 32]) -> [u8; 32] {
    hkdf::Hkdf::<Sha256>::extract(Some(salt), ikm).0.into()
}

fn kdf(prk: &[u8; 32], label: u8, hash: &[u8; 32], len: u8) -> Vec<u8> {
    let mut info = [&[label, 0x58, 0x20][..], hash].concat();
    if len >= 24 {
        info.push(0x18);
    }
    info.push(len);
    let mut out = std::vec![0; usize::from(len)];
    hkdf::Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&info, &mut out).unwrap();
    out
}

fn th_2(message_1: &[u8], g_y: &[u8; 32]) -> [u8; 32] {
    let h1: [u8; 32] = Sha256::digest(message_1).into();
    Sha256::digest([&[0x58, 0x20][..], g_y, &[0x58, 0x20], &h1].concat()).into()
}

/// A message_2 with any plaintext, to a message_1 with a one-byte SUITES_I.
pub(super) fn message_2(message_1: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let g_x: [u8; 32] = message_1[4..36].try_into().unwrap();
    let g_y = public(&Y);
    let th_2 = th_2(message_1, &g_y);
    let prk_2e = extract(&th_2, &dh(&Y, &g_x));
    let keystream = kdf(&prk_2e, 0, &th_2, u8::try_from(plaintext.len()).unwrap());
    let text: Vec<u8> = plaintext.iter().zip(&keystream).map(|(p, k)| p ^ k).collect();
    let len = u8::try_from(32 + text.len()).unwrap();
    [&[0x58, len][..], &g_y, &text].concat()
}

/// A message_3 with any plaintext, of an initiator with the ephemeral key `x` to the responder of RFC
/// 9529, whose message_2 said `plaintext_2`.
pub(super) fn message_3(
    x: &[u8; 32],
    message_1: &[u8],
    message_2: &[u8],
    cred_r: &[u8],
    plaintext: &[u8],
) -> Vec<u8> {
    let g_y: [u8; 32] = message_2[2..34].try_into().unwrap();
    let th_2 = th_2(message_1, &g_y);
    let prk_2e = extract(&th_2, &dh(x, &g_y));
    let ciphertext_2 = &message_2[34..];
    let keystream = kdf(&prk_2e, 0, &th_2, u8::try_from(ciphertext_2.len()).unwrap());
    let plaintext_2: Vec<u8> = ciphertext_2.iter().zip(&keystream).map(|(c, k)| c ^ k).collect();
    let salt: [u8; 32] = kdf(&prk_2e, 1, &th_2, 32).try_into().unwrap();
    let prk_3e2m = extract(&salt, &dh(x, &public(&SK_R)));
    let th_3: [u8; 32] =
        Sha256::digest([&[0x58, 0x20][..], &th_2, &plaintext_2, cred_r].concat()).into();
    let key = kdf(&prk_3e2m, 3, &th_3, 16);
    let iv = kdf(&prk_3e2m, 4, &th_3, 13);
    let aad = [&b"\x83\x68Encrypt0\x40\x58\x20"[..], &th_3].concat();
    type AesCcm = ccm::Ccm<aes::Aes128, ccm::consts::U8, ccm::consts::U13>;
    let mut sealed = plaintext.to_vec();
    let tag = AesCcm::new_from_slice(&key)
        .unwrap()
        .encrypt_in_place_detached(iv[..].into(), &aad, &mut sealed)
        .unwrap();
    sealed.extend(tag);
    let len = u8::try_from(sealed.len()).unwrap();
    let head = if len < 24 { std::vec![0x40 | len] } else { std::vec![0x58, len] };
    [head, sealed].concat()
}
