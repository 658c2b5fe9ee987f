use super::*;
use ccm::Ccm;
use ccm::aead::AeadInPlace;
use ccm::consts::{U8, U13};
use hex_literal::hex;
use proptest::prelude::*;

const KEY: [u8; 16] = hex!("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");

/// Packet vectors 1 to 6 of RFC 3610 section 8: those with a tag of 8 bytes. Their packets are the
/// bytes from 0 on, of which the first 8 or 12 are additional data.
#[test]
fn rfc_3610_vectors() {
    type Vector<'a> = ([u8; 13], usize, &'a [u8], [u8; 8]);
    let packet: std::vec::Vec<u8> = (0..40).collect();
    let vectors: [Vector<'_>; 6] = [
        (
            hex!("00000003020100a0a1a2a3a4a5"),
            8,
            &hex!("588c979a61c663d2f066d0c2c0f989806d5f6b61dac384"),
            hex!("17e8d12cfdf926e0"),
        ),
        (
            hex!("00000004030201a0a1a2a3a4a5"),
            8,
            &hex!("72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3b"),
            hex!("a091d56e10400916"),
        ),
        (
            hex!("00000005040302a0a1a2a3a4a5"),
            8,
            &hex!("51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da859657"),
            hex!("4adaa76fbd9fb0c5"),
        ),
        (
            hex!("00000006050403a0a1a2a3a4a5"),
            12,
            &hex!("a28c6865939a9a79faaa5c4c2a9d4a91cdac8c"),
            hex!("96c861b9c9e61ef1"),
        ),
        (
            hex!("00000007060504a0a1a2a3a4a5"),
            12,
            &hex!("dcf1fb7b5d9e23fb9d4e131253658ad86ebdca3e"),
            hex!("51e83f077d9c2d93"),
        ),
        (
            hex!("00000008070605a0a1a2a3a4a5"),
            12,
            &hex!("6fc1b011f006568b5171a42d953d469b2570a4bd87"),
            hex!("405a0443ac91cb94"),
        ),
    ];
    for (nonce, aad_len, ciphertext, tag) in vectors {
        let (aad, rest) = packet.split_at(aad_len);
        let mut text = rest[..ciphertext.len()].to_vec();
        assert_eq!(seal(&KEY, &nonce, aad, &mut text), Some(tag));
        assert_eq!(text, ciphertext);
        assert_eq!(open(&KEY, &nonce, aad, &mut text, &tag), Some(()));
        assert_eq!(text, rest[..ciphertext.len()]);
    }
}

#[test]
fn lengths_that_need_another_encoding_are_refused() {
    let long = std::vec![0; MAX_LEN + 1];
    let nonce = [0; 13];
    assert_eq!(seal(&KEY, &nonce, &long, &mut []), None);
    assert_eq!(seal(&KEY, &nonce, &[], &mut long.clone()), None);
    assert!(seal(&KEY, &nonce, &long[1..], &mut long[1..].to_vec()).is_some());
}

proptest! {
    /// The same as the `ccm` crate, for all lengths around block boundaries, and longer ones.
    #[test]
    fn agrees_with_another_implementation(
        key: [u8; 16],
        nonce: [u8; 13],
        aad in prop::collection::vec(any::<u8>(), 0..70),
        text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..70),
            prop::collection::vec(any::<u8>(), 0..1300),
        ],
        flip: u8,
    ) {
        let other = <Ccm<aes::Aes128, U8, U13> as KeyInit>::new(&key.into());
        let mut theirs = text.clone();
        let their_tag =
            other.encrypt_in_place_detached(&nonce.into(), &aad, &mut theirs).unwrap();
        let mut ours = text.clone();
        let tag = seal(&key, &nonce, &aad, &mut ours).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(&tag[..], &their_tag[..]);

        let mut wrong_tag = tag;
        wrong_tag[usize::from(flip & 7)] ^= 1 << (flip >> 5);
        prop_assert_eq!(open(&key, &nonce, &aad, &mut ours.clone(), &wrong_tag), None);
        prop_assert_eq!(open(&key, &nonce, &aad, &mut ours, &tag), Some(()));
        prop_assert_eq!(&ours, &text);
    }
}

#[test]
fn refused_text_is_zeroed() {
    let mut text = *b"some ciphertext that is not authentic";
    assert_eq!(open(&KEY, &[0; 13], b"aad", &mut text, &[0; 8]), None);
    assert_eq!(text, [0; 37]);
}
