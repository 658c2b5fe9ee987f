use super::*;
use hex_literal::hex;
use hkdf::Hkdf;
use proptest::prelude::*;
use sha2::Sha256;
use std::vec;

#[test]
fn rfc_5869_test_case_1() {
    let prk = extract(&hex!("000102030405060708090a0b0c"), &[0x0b; 22]);
    assert_eq!(prk, hex!("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
    let mut okm = [0; 42];
    expand(&prk, &[&[&hex!("f0f1"), &hex!("f2f3f4")], &[&hex!("f5f6f7f8f9")]], &mut okm);
    assert_eq!(
        okm,
        hex!(
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        )
    );
}

proptest! {
    /// Against another implementation, over every length that could matter.
    #[test]
    fn any_input_gives_what_hkdf_gives(
        salt in prop::collection::vec(any::<u8>(), 0..140),
        secret in prop::collection::vec(any::<u8>(), 0..140),
        info in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..5),
        len in 0_usize..300,
    ) {
        let (prk, theirs) = Hkdf::<Sha256>::extract(Some(&salt), &secret);
        prop_assert_eq!(&extract(&salt, &secret), &*prk);
        let parts: vec::Vec<&[u8]> = info.iter().map(|part| &part[..]).collect();
        let (mut ours, mut expected) = (vec![0; len], vec![0; len]);
        expand(&prk.into(), &[&parts], &mut ours);
        theirs.expand_multi_info(&parts, &mut expected).unwrap();
        prop_assert_eq!(ours, expected);
    }
}
