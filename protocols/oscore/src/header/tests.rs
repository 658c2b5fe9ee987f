use super::*;
use std::vec::Vec;

#[test]
fn malformed_option_values_do_not_decode() {
    let malformed: [&[u8]; 10] = [
        &[0x00], // no flags, but not empty
        &[0x20], // reserved flags
        &[0x40],
        &[0x80],
        &[0x06, 1, 2, 3, 4, 5, 6], // reserved lengths
        &[0x07, 1, 2, 3, 4, 5, 6, 7],
        &[0x02, 1],          // the Partial IV ends early
        &[0x10],             // no length of the kid context
        &[0x11, 1, 3, 1, 2], // the kid context ends early
        &[0x01, 1, 9],       // bytes behind, and no kid
    ];
    for value in malformed {
        assert_eq!(CoseHeader::parse(value), Err(UnprotectError::Decode), "{value:02x?}");
    }
    // Leading zeros would give one number two encodings, and so two AADs.
    assert_eq!(CoseHeader::parse(&[0x0a, 0, 1]), Err(UnprotectError::Decode));
    assert_eq!(CoseHeader::parse(&[0x09, 0]).map(|header| header.partial_iv), Ok(Some(0)));
}

#[test]
fn partial_ivs_are_as_short_as_they_can_be() {
    for (piv, bytes) in [
        (0, &[0][..]),
        (0xff, &[0xff]),
        (0x100, &[1, 0]),
        (0x1_0000, &[1, 0, 0]),
        (0x100_0000, &[1, 0, 0, 0]),
        (MAX_PARTIAL_IV, &[0xff; 5]),
    ] {
        assert_eq!(encode_piv(piv).as_bytes(), bytes);
        assert_eq!(decode_piv(bytes), Ok(Some(piv)));
    }
}

#[test]
fn headers_survive_writing_and_parsing() {
    let contexts = [None, Some(&[][..]), Some(&[7; 16])].map(|c| c.and_then(IdContext::new));
    let kids = [None, Some(&[][..]), Some(&[9; 7])].map(|kid| kid.and_then(KeyId::new));
    for partial_iv in [None, Some(0), Some(MAX_PARTIAL_IV)] {
        for kid_context in &contexts {
            for kid in &kids {
                let mut buf = [0; MAX_HEADER_LEN];
                let value =
                    CoseHeader::write(partial_iv, kid_context.as_ref(), kid.as_ref(), &mut buf);
                let parsed = CoseHeader::parse(value).unwrap();
                let expected = CoseHeader {
                    partial_iv,
                    kid_context: kid_context.as_ref().map(Short::as_bytes),
                    kid: kid.as_ref().map(Short::as_bytes),
                };
                assert_eq!(parsed, expected);
            }
        }
    }
}

/// Every value of up to three bytes either is refused or says what it would be written as.
#[test]
fn short_values_exhaustively() {
    let mut values: Vec<Vec<u8>> = std::vec![Vec::new()];
    for flags in 0..=255 {
        values.push(std::vec![flags]);
        for a in 0..=255 {
            values.push(std::vec![flags, a]);
            for b in [0, 1, 2, 0xff] {
                values.push(std::vec![flags, a, b]);
            }
        }
    }
    let mut accepted = 0;
    for value in &values {
        let Ok(header) = CoseHeader::parse(value) else { continue };
        let mut buf = [0; MAX_HEADER_LEN];
        let kid_context = header.kid_context.and_then(IdContext::new);
        let kid = header.kid.and_then(KeyId::new);
        let written =
            CoseHeader::write(header.partial_iv, kid_context.as_ref(), kid.as_ref(), &mut buf);
        assert_eq!(written, value);
        accepted += 1;
    }
    assert!(accepted > 1000);
}
