//! The codec against RFC 7252 section 3, byte for byte and by property.

extern crate std;

use super::*;
use crate::option::OptionNumber;
use hex_literal::hex;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A message taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    kind: Kind,
    code: Code,
    id: u16,
    token: Token,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

fn parts_of(message: Message<'_>) -> Parts {
    Parts {
        kind: message.kind(),
        code: message.code(),
        id: message.id(),
        token: message.token(),
        options: message.options().map(|(number, value)| (number.0, value.to_vec())).collect(),
        payload: message.payload().to_vec(),
    }
}

/// Writes a message, with its options in this order.
fn write<'a>(parts: &Parts, order: &[usize], buf: &'a mut [u8]) -> Result<Message<'a>, Overflow> {
    let mut writer = MessageWriter::new(buf, parts.kind, parts.code, parts.id, parts.token)?;
    for at in order {
        let (number, value) = &parts.options[*at];
        writer.option(OptionNumber(*number), value)?;
    }
    writer.payload(&parts.payload)?;
    Ok(writer.into_message())
}

fn kind() -> impl Strategy<Value = Kind> {
    (0..4_u8).prop_map(Kind::from_bits)
}

/// The code of a request or a response.
fn code() -> impl Strategy<Value = Code> {
    prop_oneof![1..32_u8, 64..96_u8, 128..192_u8].prop_map(Code)
}

fn token() -> impl Strategy<Value = Token> {
    prop::collection::vec(any::<u8>(), 0..=8).prop_map(|bytes| Token::new(&bytes).unwrap())
}

/// Options around the borders of the encoding: 12, 13, 268, 269.
fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let number = prop_oneof![
        4 => 0..30_u16,
        2 => 255..285_u16,
        1 => 65_260..=65_535_u16,
        1 => any::<u16>(),
    ];
    let len = prop_oneof![6 => 0..16_usize, 1 => 265..275_usize];
    let value = len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len));
    prop::collection::vec((number, value), 0..8)
}

fn parts() -> impl Strategy<Value = Parts> {
    (kind(), code(), any::<u16>(), token(), options(), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(kind, code, id, token, mut options, payload)| {
            options.sort_by_key(|(number, _)| *number);
            Parts { kind, code, id, token, options, payload }
        })
}

#[test]
fn the_figures_of_rfc_7252_appendix_a() {
    // Figure 16: GET coap://server/temperature, piggybacked response.
    let mut buf = [0; 64];
    let token = Token::EMPTY;
    let mut writer =
        MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 0x7d34, token).unwrap();
    writer.path("temperature").unwrap();
    assert_eq!(writer.as_message().as_bytes(), hex!("40 01 7d34 bb 74656d7065726174757265"));

    let response = hex!("60 45 7d34 ff 32322e332043");
    let response = Message::parse(&response).unwrap();
    assert_eq!((response.kind(), response.code()), (Kind::Acknowledgement, Code::CONTENT));
    assert_eq!((response.id(), response.token()), (0x7d34, Token::EMPTY));
    assert_eq!((response.options().count(), response.payload()), (0, &b"22.3 C"[..]));

    // Figure 17: the same with a token.
    let request = hex!("41 01 7d35 20 bb 74656d7065726174757265");
    let request = Message::parse(&request).unwrap();
    assert_eq!(request.token().as_bytes(), [0x20]);
    assert_eq!(request.option(OptionNumber::URI_PATH), Some(&b"temperature"[..]));
}

#[test]
fn deltas_and_lengths_change_their_form_at_13_and_269() {
    for (delta, expected) in [
        (12, &[0xc0][..]),
        (13, &[0xd0, 0]),
        (268, &[0xd0, 255]),
        (269, &[0xe0, 0, 0]),
        (65_535, &[0xe0, 0xfe, 0xf2]),
    ] {
        let mut buf = [0; 16];
        let mut writer =
            MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 0, Token::EMPTY).unwrap();
        writer.option(OptionNumber(delta), &[]).unwrap();
        let message = writer.into_message();
        assert_eq!(message.options_bytes(), expected);
        assert_eq!(
            Message::parse(message.as_bytes()).unwrap().options().next().unwrap().0.0,
            delta
        );
    }
    for (len, head) in
        [(12, &[0x0c][..]), (13, &[0x0d, 0]), (268, &[0x0d, 255]), (269, &[0x0e, 0, 0])]
    {
        let (mut buf, value) = ([0; 300], [7; 300]);
        let mut writer =
            MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 0, Token::EMPTY).unwrap();
        writer.option(OptionNumber(0), &value[..len]).unwrap();
        let message = writer.into_message();
        assert!(message.options_bytes().starts_with(head));
        assert_eq!(message.options().next().unwrap().1.len(), len);
    }
}

#[test]
fn each_format_error_has_its_name() {
    let cases: [(&[u8], Malformed); 15] = [
        (&[], Malformed::Truncated),
        (&hex!("400100"), Malformed::Truncated),
        (&hex!("0001 0000"), Malformed::Version),
        (&hex!("8001 0000"), Malformed::Version),
        (&hex!("4901 0000 00 00000000 00000000"), Malformed::TokenLength),
        (&hex!("4f01 0000"), Malformed::TokenLength),
        (&hex!("4201 0000 aa"), Malformed::Truncated),
        (&hex!("4001 0000 ff"), Malformed::EmptyPayload),
        (&hex!("4001 0000 f0"), Malformed::OptionLength),
        (&hex!("4001 0000 0f"), Malformed::OptionLength),
        (&hex!("4001 0000 d0"), Malformed::OptionLength),
        (&hex!("4001 0000 02 aa"), Malformed::OptionLength),
        (&hex!("4001 0000 e0 ffff"), Malformed::OptionNumber),
        (&hex!("4001 0000 e0 fef2 10"), Malformed::OptionNumber),
        (&hex!("4000 0000 00"), Malformed::NotEmpty),
    ];
    for (bytes, error) in cases {
        assert_eq!(Message::parse(bytes).unwrap_err(), error, "{bytes:02x?}");
    }
    for class in [1, 3, 6, 7] {
        let bytes = [0x40, class << 5, 0, 0];
        assert_eq!(Message::parse(&bytes).unwrap_err(), Malformed::ReservedCode);
    }
    let mut long = vec![0; 65_536];
    long[..5].copy_from_slice(&hex!("4001 0000 ff"));
    assert_eq!(Message::parse(&long).unwrap_err(), Malformed::TooLong);
    assert_eq!(Message::parse(&long[..65_535]).unwrap().payload().len(), 65_530);
}

#[test]
fn an_empty_message_is_four_bytes_of_any_type() {
    for kind in [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset] {
        let bytes = kind.empty_message(0xabcd);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind(), message.code(), message.id()), (kind, Code::EMPTY, 0xabcd));
    }
}

#[test]
fn a_writer_that_is_full_says_so_and_keeps_what_it_has() {
    let mut buf = [0; 12];
    let token = Token::new(&[1, 2]).unwrap();
    let mut writer = MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 1, token).unwrap();
    writer.option(OptionNumber(20), b"ab").unwrap();
    let before = writer.as_message().as_bytes().to_vec();
    assert_eq!(writer.room(), 2);
    assert_eq!(writer.option(OptionNumber(20), b"ab").map(drop), Err(Overflow));
    assert_eq!(writer.option(OptionNumber(5), b"ab").map(drop), Err(Overflow));
    assert_eq!(writer.payload(b"ab").map(drop), Err(Overflow));
    assert_eq!(writer.as_message().as_bytes(), before);
    // Room for one byte and the marker.
    writer.payload(b"x").unwrap();
    assert_eq!(writer.payload(b"y").map(drop), Err(Overflow));
    assert_eq!(writer.as_message().payload(), b"x");
    assert_eq!(writer.finish(), 12);

    let mut small = [0; 5];
    assert!(MessageWriter::new(&mut small, Kind::Confirmable, Code::GET, 1, token).is_err());
}

#[test]
fn options_cannot_follow_the_payload_and_the_payload_grows() {
    let mut buf = [0; 64];
    let mut writer =
        MessageWriter::new(&mut buf, Kind::Confirmable, Code::PUT, 1, Token::EMPTY).unwrap();
    writer.payload(b"").unwrap();
    writer.option(OptionNumber::CONTENT_FORMAT, &[]).unwrap();
    writer.payload(b"ab").unwrap();
    writer.payload_room(2).unwrap().copy_from_slice(b"cd");
    assert_eq!(writer.option(OptionNumber::MAX_AGE, &[]).map(drop), Err(Overflow));
    writer.set_code(Code::POST);
    let message = writer.into_message();
    assert_eq!((message.code(), message.payload()), (Code::POST, &b"abcd"[..]));
}

#[test]
fn a_path_has_an_option_for_each_segment() {
    for (path, expected) in [
        ("", &[][..]),
        ("/", &[]),
        ("a", &["a"]),
        ("/a/b/", &["a", "b"]),
        ("a//b", &["a", "", "b"]),
        (".well-known/core", &[".well-known", "core"]),
    ] {
        let mut buf = [0; 64];
        let mut writer =
            MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 1, Token::EMPTY).unwrap();
        writer.path(path).unwrap();
        let message = writer.into_message();
        let segments: Vec<_> = message.option_values(OptionNumber::URI_PATH).collect();
        let expected: Vec<_> = expected.iter().map(|segment| segment.as_bytes()).collect();
        assert_eq!(segments, expected, "{path}");
    }
}

#[test]
fn option_getters_find_the_first_value_and_read_uints() {
    let mut buf = [0; 64];
    let mut writer =
        MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 1, Token::EMPTY).unwrap();
    writer.option(OptionNumber::ETAG, b"one").unwrap();
    writer.option(OptionNumber::ETAG, b"two").unwrap();
    writer.option_uint(OptionNumber::OBSERVE, 0).unwrap();
    writer.option_uint(OptionNumber::MAX_AGE, 65_536).unwrap();
    writer.option(OptionNumber::SIZE1, &[0; 5]).unwrap();
    let message = writer.into_message();
    assert_eq!(message.option(OptionNumber::ETAG), Some(&b"one"[..]));
    assert_eq!(message.option_values(OptionNumber::ETAG).count(), 2);
    assert_eq!(message.option(OptionNumber::IF_MATCH), None);
    assert_eq!(message.option_uint(OptionNumber::OBSERVE), Some(0));
    assert_eq!(message.option(OptionNumber::OBSERVE), Some(&[][..]));
    assert_eq!(message.option(OptionNumber::MAX_AGE), Some(&[1, 0, 0][..]));
    assert_eq!(message.option_uint(OptionNumber::SIZE1), None);
    let shown = std::format!("{message:?}");
    assert!(shown.starts_with("Confirmable 0.01 GET id 1 Token() ETag="), "{shown}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(parts in parts()) {
        let mut buf = vec![0; 4096];
        let order: Vec<_> = (0..parts.options.len()).collect();
        let written = write(&parts, &order, &mut buf).unwrap();
        prop_assert_eq!(&parts_of(written), &parts);
        prop_assert_eq!(parts_of(Message::parse(written.as_bytes()).unwrap()), parts);
    }

    /// Options may be added in any order; those of the same number stay in the order of adding.
    #[test]
    fn the_order_of_adding_makes_no_difference(parts in parts(), keys in prop::collection::vec(any::<u32>(), 8)) {
        let in_order: Vec<_> = (0..parts.options.len()).collect();
        let mut any_order = in_order.clone();
        any_order.sort_by_key(|at| keys[usize::from(parts.options[*at].0) % 8] ^ u32::from(parts.options[*at].0));
        let (mut a, mut b) = (vec![0; 4096], vec![0; 4096]);
        let a = write(&parts, &in_order, &mut a).unwrap();
        let b = write(&parts, &any_order, &mut b).unwrap();
        prop_assert_eq!(a.as_bytes(), b.as_bytes());
    }

    /// A buffer that is too short gives an error, never a message cut short.
    #[test]
    fn a_short_buffer_is_noticed(parts in parts(), missing in 1..50_usize) {
        let mut buf = vec![0; 4096];
        let order: Vec<_> = (0..parts.options.len()).rev().collect();
        let len = write(&parts, &order, &mut buf).unwrap().as_bytes().len();
        prop_assert!(write(&parts, &order, &mut buf[..len]).is_ok());
        prop_assert!(write(&parts, &order, &mut buf[..len.saturating_sub(missing)]).is_err());
    }

    /// Arbitrary bytes do not panic, and what is accepted is written again with the same meaning,
    /// and with the same bytes if they were canonical (the encoding of a length has only one form,
    /// so they are).
    #[test]
    fn what_is_accepted_is_written_again_byte_for_byte(
        head in prop_oneof![any::<[u8; 4]>(), Just([0x42, 1, 0, 0])],
        tail in prop::collection::vec(prop_oneof![any::<u8>(), 0..0x20_u8], 0..60),
    ) {
        let bytes = [&head[..], &tail].concat();
        if let Ok(message) = Message::parse(&bytes) {
            let parts = parts_of(message);
            let mut buf = vec![0; 4096];
            let order: Vec<_> = (0..parts.options.len()).collect();
            let written = write(&parts, &order, &mut buf).unwrap();
            prop_assert_eq!(written.as_bytes(), &bytes[..]);
            let _ = std::format!("{message:?}");
        }
    }

    #[test]
    fn uints_take_the_fewest_bytes(value in prop_oneof![any::<u32>(), 0..70_000_u32]) {
        let mut buf = [0; 4];
        let bytes = crate::option::encode_uint(value, &mut buf);
        prop_assert_ne!(bytes.first(), Some(&0));
        prop_assert_eq!(crate::option::decode_uint(bytes), Some(value));
        let padded = [&[0], bytes].concat();
        let expected = (padded.len() <= 4).then_some(value);
        prop_assert_eq!(crate::option::decode_uint(&padded), expected);
    }

    #[test]
    fn codes_and_tokens_are_taken_as_they_are(code in any::<u8>(), token in prop::collection::vec(any::<u8>(), 0..12)) {
        let code = Code(code);
        prop_assert_eq!(code.class() << 5 | code.detail(), code.0);
        prop_assert!(u8::from(code.is_request()) + u8::from(code.is_response()) <= 1);
        prop_assert_eq!(Token::new(&token).map(|token| token.as_bytes().to_vec()), Some(token).filter(|token| token.len() <= 8));
    }
}
