//! Intermediate values of RFC 8613 Appendix C.

use super::*;
use crate::aead;
use hex_literal::hex;

struct Derivation {
    salt: &'static [u8],
    id_context: Option<&'static [u8]>,
    /// Of client and server.
    ids: [&'static [u8]; 2],
    infos: [&'static [u8]; 3],
    keys: [[u8; 16]; 2],
    common_iv: [u8; 13],
    /// With Partial IV 0.
    nonces: [[u8; 13]; 2],
}

/// Client and server of a vector have the same values, swapped.
#[test]
fn c1_to_c3_key_derivation() {
    let secret = hex!("0102030405060708090a0b0c0d0e0f10");
    let salt = &hex!("9e7ca92223786340");
    let vectors = [
        Derivation {
            salt,
            id_context: None,
            ids: [&[], &[1]],
            infos: [
                &hex!("8540f60a634b657910"),
                &hex!("854101f60a634b657910"),
                &hex!("8540f60a6249560d"),
            ],
            keys: [
                hex!("f0910ed7295e6ad4b54fc793154302ff"),
                hex!("ffb14e093c94c9cac9471648b4f98710"),
            ],
            common_iv: hex!("4622d4dd6d944168eefb54987c"),
            nonces: [hex!("4622d4dd6d944168eefb54987c"), hex!("4722d4dd6d944169eefb54987c")],
        },
        Derivation {
            salt: &[],
            id_context: None,
            ids: [&[0], &[1]],
            infos: [
                &hex!("854100f60a634b657910"),
                &hex!("854101f60a634b657910"),
                &hex!("8540f60a6249560d"),
            ],
            keys: [
                hex!("321b26943253c7ffb6003b0b64d74041"),
                hex!("e57b5635815177cd679ab4bcec9d7dda"),
            ],
            common_iv: hex!("be35ae297d2dace910c52e99f9"),
            nonces: [hex!("bf35ae297d2dace910c52e99f9"), hex!("bf35ae297d2dace810c52e99f9")],
        },
        Derivation {
            salt,
            id_context: Some(&hex!("37cbf3210017a2d3")),
            ids: [&[], &[1]],
            infos: [
                &hex!("85404837cbf3210017a2d30a634b657910"),
                &hex!("8541014837cbf3210017a2d30a634b657910"),
                &hex!("85404837cbf3210017a2d30a6249560d"),
            ],
            keys: [
                hex!("af2a1300a5e95788b356336eeecd2b92"),
                hex!("e39a0c7c77b43f03b4b39ab9a268699f"),
            ],
            common_iv: hex!("2ca58fb85ff1b81c0b7181b85e"),
            nonces: [hex!("2ca58fb85ff1b81c0b7181b85e"), hex!("2da58fb85ff1b81d0b7181b85e")],
        },
    ];
    for vector in &vectors {
        let prk = kdf::extract(vector.salt, &secret);
        let id_context = vector.id_context.map(|bytes| IdContext::new(bytes).unwrap());
        let id_context = id_context.as_ref();
        for side in [0, 1] {
            let id = KeyId::new(vector.ids[side]).unwrap();
            let purpose = Purpose::Key(&id);
            assert_eq!(info(purpose, id_context, 16).as_bytes(), vector.infos[side]);
            let mut key = [0; 16];
            expand(&prk, purpose, id_context, &mut key);
            assert_eq!(key, vector.keys[side]);
            assert_eq!(nonce(&vector.common_iv, &id, 0), vector.nonces[side]);
        }
        assert_eq!(info(Purpose::Iv, id_context, 13).as_bytes(), vector.infos[2]);
        let mut common_iv = [0; 13];
        expand(&prk, Purpose::Iv, id_context, &mut common_iv);
        assert_eq!(common_iv, vector.common_iv);
    }
}

struct Sealed {
    request_kid: &'static [u8],
    nonce_id: &'static [u8],
    nonce_piv: u64,
    common_iv: [u8; 13],
    key: [u8; 16],
    aad: &'static [u8],
    plaintext: &'static [u8],
    nonce: [u8; 13],
    ciphertext: &'static [u8],
}

/// All of them protect, or answer, a request with Partial IV 0x14.
#[test]
fn c4_to_c8_nonce_aad_and_ciphertext() {
    let salted_iv = hex!("4622d4dd6d944168eefb54987c");
    let vectors = [
        Sealed {
            request_kid: &[],
            nonce_id: &[],
            nonce_piv: 20,
            common_iv: salted_iv,
            key: hex!("f0910ed7295e6ad4b54fc793154302ff"),
            aad: &hex!("8368456e63727970743040488501810a40411440"),
            plaintext: &hex!("01b3747631"),
            nonce: hex!("4622d4dd6d944168eefb549868"),
            ciphertext: &hex!("612f1092f1776f1c1668b3825e"),
        },
        Sealed {
            request_kid: &[0],
            nonce_id: &[0],
            nonce_piv: 20,
            common_iv: hex!("be35ae297d2dace910c52e99f9"),
            key: hex!("321b26943253c7ffb6003b0b64d74041"),
            aad: &hex!("8368456e63727970743040498501810a4100411440"),
            plaintext: &hex!("01b3747631"),
            nonce: hex!("bf35ae297d2dace910c52e99ed"),
            ciphertext: &hex!("4ed339a5a379b0b8bc731fffb0"),
        },
        Sealed {
            request_kid: &[],
            nonce_id: &[],
            nonce_piv: 20,
            common_iv: hex!("2ca58fb85ff1b81c0b7181b85e"),
            key: hex!("af2a1300a5e95788b356336eeecd2b92"),
            aad: &hex!("8368456e63727970743040488501810a40411440"),
            plaintext: &hex!("01b3747631"),
            nonce: hex!("2ca58fb85ff1b81c0b7181b84a"),
            ciphertext: &hex!("72cd7273fd331ac45cffbe55c3"),
        },
        Sealed {
            request_kid: &[],
            nonce_id: &[],
            nonce_piv: 20,
            common_iv: salted_iv,
            key: hex!("ffb14e093c94c9cac9471648b4f98710"),
            aad: &hex!("8368456e63727970743040488501810a40411440"),
            plaintext: &hex!("45ff48656c6c6f20576f726c6421"),
            nonce: hex!("4622d4dd6d944168eefb549868"),
            ciphertext: &hex!("dbaad1e9a7e7b2a813d3c31524378303cdafae119106"),
        },
        Sealed {
            request_kid: &[],
            nonce_id: &[1],
            nonce_piv: 0,
            common_iv: salted_iv,
            key: hex!("ffb14e093c94c9cac9471648b4f98710"),
            aad: &hex!("8368456e63727970743040488501810a40411440"),
            plaintext: &hex!("45ff48656c6c6f20576f726c6421"),
            nonce: hex!("4722d4dd6d944169eefb54987c"),
            ciphertext: &hex!("4d4c13669384b67354b2b6175ff4b8658c666a6cf88e"),
        },
    ];
    for vector in &vectors {
        let aad = aad(&KeyId::new(vector.request_kid).unwrap(), 20);
        assert_eq!(aad.as_bytes(), vector.aad);
        let id = KeyId::new(vector.nonce_id).unwrap();
        let nonce = nonce(&vector.common_iv, &id, vector.nonce_piv);
        assert_eq!(nonce, vector.nonce);
        let mut text = vector.plaintext.to_vec();
        let tag = aead::seal(&vector.key, &nonce, aad.as_bytes(), &mut text).unwrap();
        text.extend(tag);
        assert_eq!(text, vector.ciphertext);
    }
}

/// The example of RFC 8613 section 5.4, and the longest values.
#[test]
fn aad_example_and_bounds() {
    let example = aad(&KeyId::new(&[0]).unwrap(), 0x25);
    assert_eq!(example.as_bytes(), hex!("8368456e63727970743040498501810a4100412540"));
    let longest = aad(&KeyId::new(&[0xff; 7]).unwrap(), (1 << 40) - 1);
    assert_eq!(longest.as_bytes().len(), 31);
    assert_eq!(longest.as_bytes()[11], 0x40 + 19);
    let id_context = IdContext::new(&[0xff; 16]).unwrap();
    let id = KeyId::new(&[0xff; 7]).unwrap();
    assert_eq!(info(Purpose::Key(&id), Some(&id_context), 16).as_bytes().len(), 32);
}

#[test]
fn nonces_of_longest_id_and_partial_iv_fill_every_byte() {
    let id = KeyId::new(&[1, 2, 3, 4, 5, 6, 7]).unwrap();
    assert_eq!(nonce(&[0; 13], &id, 0x08_090a_0b0c), hex!("070102030405060708090a0b0c"));
}
