use super::*;
use crate::aead;
use capmesh_coap::message::{Code, Kind, MessageWriter, Token};
use std::vec::Vec;
use std::{format, vec};

const PARAMETERS: Parameters<'static> = Parameters {
    master_secret: &[0x5a; 16],
    master_salt: &[],
    id_context: None,
    sender_id: &[1],
    recipient_id: &[2],
};

fn pair() -> (Context, Context) {
    let other = Parameters { sender_id: &[2], recipient_id: &[1], ..PARAMETERS };
    (Context::derive(&PARAMETERS).unwrap(), Context::derive(&other).unwrap())
}

fn write(buf: &mut [u8], code: Code) -> Message<'_> {
    let token = Token::new(&[7]).unwrap();
    let len = MessageWriter::new(buf, Kind::Confirmable, code, 1, token).unwrap().finish();
    Message::parse(&buf[..len]).unwrap()
}

#[test]
fn sizes() {
    assert!(size_of::<Context>() <= 160, "{}", size_of::<Context>());
    assert!(size_of::<Binding>() <= 16, "{}", size_of::<Binding>());
    assert!(size_of::<Keys>() <= 150);
    assert!(core::mem::needs_drop::<Context>(), "keys are zeroized on drop");
}

#[test]
fn debug_shows_no_key() {
    let (context, _) = pair();
    let text = format!("{context:?}");
    assert!(text.contains("0x01") && text.contains("sequence"), "{text}");
    for key in [&context.keys.sender[..], &context.keys.recipient, &context.keys.common_iv] {
        let decimal = format!("{key:?}");
        let hex: std::string::String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(decimal.trim_matches(['[', ']'])) && !text.contains(&hex));
    }
}

#[test]
fn ids_are_checked() {
    let derive = |sender_id, recipient_id, id_context| {
        Context::derive(&Parameters { sender_id, recipient_id, id_context, ..PARAMETERS }).err()
    };
    assert_eq!(derive(&[0; 7], &[], Some(&[0; 16])), None);
    assert_eq!(derive(&[0; 8], &[1], None), Some(DeriveError::IdTooLong));
    assert_eq!(derive(&[0], &[1; 8], None), Some(DeriveError::IdTooLong));
    assert_eq!(derive(&[0], &[1], Some(&[0; 17])), Some(DeriveError::IdContextTooLong));
    assert_eq!(derive(&[3], &[3], None), Some(DeriveError::SameIds));
    assert_eq!(derive(&[], &[], None), Some(DeriveError::SameIds));
}

#[test]
fn contexts_are_found_by_kid_and_kid_context() {
    let header = |kid, kid_context| CoseHeader { partial_iv: Some(0), kid, kid_context };
    let (plain, _) = pair();
    assert!(plain.matches(&header(Some(&[2]), None)));
    assert!(!plain.matches(&header(Some(&[1]), None)));
    assert!(!plain.matches(&header(Some(&[]), None)));
    assert!(!plain.matches(&header(None, None)));
    assert!(!plain.matches(&header(Some(&[2]), Some(&[]))), "it has no ID Context");
    let named = Parameters { id_context: Some(b"ctx"), ..PARAMETERS };
    let named = Context::derive(&named).unwrap();
    assert!(named.matches(&header(Some(&[2]), None)), "a client may leave it out");
    assert!(named.matches(&header(Some(&[2]), Some(b"ctx"))));
    assert!(!named.matches(&header(Some(&[2]), Some(b"other"))));
}

#[test]
fn key_use_is_limited_and_reported_before() {
    let (mut client, mut server) = pair();
    client.limit(KeyUse { messages: 16, forgeries: 8 });
    let (mut request, mut out) = ([0; 16], [0; 64]);
    let request = write(&mut request, Code::GET);
    for used in 0..16 {
        assert_eq!(client.is_worn(), used >= 14);
        client.protect_request(request, &mut out).unwrap();
    }
    assert_eq!(client.protect_request(request, &mut out), Err(ProtectError::Exhausted));

    let (mut client, _) = pair();
    server.limit(KeyUse { messages: 16, forgeries: 8 });
    let (len, _) = client.protect_request(request, &mut out).unwrap();
    let genuine = out;
    out[len - 1] ^= 1;
    let forged = Message::parse(&out[..len]).unwrap();
    for used in 0..8 {
        assert_eq!(server.is_worn(), used >= 7);
        let mut scratch = [0; 64];
        let refused = server.unprotect_request(forged, &mut scratch).unwrap_err();
        assert_eq!(refused, UnprotectError::Decryption);
    }
    let genuine = Message::parse(&genuine[..len]).unwrap();
    let mut scratch = [0; 64];
    let refused = server.unprotect_request(genuine, &mut scratch).unwrap_err();
    assert_eq!(refused, UnprotectError::Exhausted);
}

#[test]
fn sequence_numbers_run_out() {
    let sequence = SequenceReservation::stored(MAX_PARTIAL_IV, 1);
    let replay = Replay::Known(ReplayWindow::EMPTY);
    let mut context = Context::restore(&PARAMETERS, sequence, replay).unwrap();
    context.limit(KeyUse { messages: u32::MAX, forgeries: 1 });
    context.confirm_sequence(MAX_PARTIAL_IV + 1);
    assert!(context.is_worn());
    let (mut request, mut out) = ([0; 16], [0; 64]);
    let request = write(&mut request, Code::GET);
    // Any count that a context may have had before the restart counts as used.
    assert_eq!(context.protect_request(request, &mut out), Err(ProtectError::Exhausted));
}

#[test]
fn the_largest_partial_iv_round_trips() {
    let sequence = SequenceReservation::stored(MAX_PARTIAL_IV, 1);
    let replay = Replay::Known(ReplayWindow::EMPTY);
    let (_, mut server) = pair();
    let mut client = Context::restore(&PARAMETERS, sequence, replay).unwrap();
    client.used.messages = 0;
    client.confirm_sequence(MAX_PARTIAL_IV + 1);
    let (mut request, mut out, mut scratch) = ([0; 16], [0; 64], [0; 64]);
    let request = write(&mut request, Code::GET);
    let (len, binding) = client.protect_request(request, &mut out).unwrap();
    assert_eq!(binding.partial_iv(), MAX_PARTIAL_IV);
    let outer = Message::parse(&out[..len]).unwrap();
    let (inner, _) = server.unprotect_request(outer, &mut scratch).unwrap();
    assert_eq!(inner.as_bytes(), request.as_bytes());
    assert_eq!(client.protect_request(request, &mut out), Err(ProtectError::Exhausted));
}

/// An outer message with any plaintext, as only the peer can make it.
fn seal_plaintext(
    sender: &Context,
    nonce: (&KeyId, u64),
    request: (&KeyId, u64),
    header: &[u8],
    code: Code,
    plaintext: &[u8],
) -> Vec<u8> {
    let cipher = sender.cipher(&sender.keys.sender, nonce, request);
    let mut text = plaintext.to_vec();
    let tag = aead::seal(cipher.key, &cipher.nonce, cipher.aad.as_bytes(), &mut text).unwrap();
    text.extend(tag);
    let mut out = [0; 256];
    let mut writer =
        MessageWriter::new(&mut out, Kind::Confirmable, code, 1, Token::EMPTY).unwrap();
    writer.option(OptionNumber::OSCORE, header).unwrap().payload(&text).unwrap();
    let len = writer.finish();
    out[..len].to_vec()
}

/// Opened, or why not; then whether it is a replay if it comes again.
fn open_plaintext(plaintext: &[u8]) -> (Result<Vec<u8>, UnprotectError>, UnprotectError) {
    let (client, mut server) = pair();
    let nonce = (&client.sender_id, 5);
    let outer = seal_plaintext(&client, nonce, nonce, &[9, 5, 1], Code::POST, plaintext);
    let outer = Message::parse(&outer).unwrap();
    let mut scratch = [0; 256];
    let opened = server.unprotect_request(outer, &mut scratch);
    let opened = opened.map(|(inner, _)| inner.as_bytes().to_vec());
    let again = server.unprotect_request(outer, &mut scratch).unwrap_err();
    (opened, again)
}

#[test]
fn authentic_requests_that_are_no_messages() {
    let malformed: &[&[u8]] = &[
        &[],                       // no code
        &[0x45],                   // a response
        &[0x00],                   // the empty message
        &[0x20],                   // a reserved class
        &[0x01, 0xff],             // a payload marker and no payload
        &[0x01, 0xb2, b'a'],       // an option that ends early
        &[0x01, 0xf0],             // a reserved delta
        &[0x01, 0x0f],             // a reserved length
        &[0x01, 0xe0, 0xff, 0xff], // an option number past 65535
        &[0x01, 0xe0, 0xfe, 0xf2, 0x10],
        &[0x01, 0x92, 9, 0], // OSCORE in OSCORE
        &[0x01, 0x31, b'h'], // Uri-Host, which is outer only and critical
        &[0x01, 0xd0, 8],    // EDHOC
    ];
    for plaintext in malformed {
        let (opened, again) = open_plaintext(plaintext);
        assert_eq!(opened, Err(UnprotectError::Malformed), "{plaintext:02x?}");
        assert_eq!(again, UnprotectError::Replay, "{plaintext:02x?}");
    }
}

/// A peer that does not know the class of Hop-Limit protects it.
#[test]
fn elective_outer_options_inside_are_dropped() {
    let (opened, _) = open_plaintext(&[0x01, 0xb1, b'p', 0x51, 7, 0x10, 0xff, b'x']);
    assert_eq!(opened.unwrap(), [0x40, 0x01, 0, 1, 0xb1, b'p', 0x60, 0xff, b'x']);
}

#[test]
fn authentic_responses_that_are_no_responses() {
    for plaintext in [&[0x01][..], &[], &[0x45, 0xff], &[0x45, 0x60]] {
        let (mut client, server) = pair();
        let mut binding = Binding::new(3, false);
        let (id, peer) = (&server.sender_id, &server.recipient_id);
        let outer = seal_plaintext(&server, (id, 0), (peer, 3), &[1, 0], Code::CHANGED, plaintext);
        let mut scratch = [0; 256];
        let outer = Message::parse(&outer).unwrap();
        let refused = client.unprotect_response(&mut binding, outer, &mut scratch).unwrap_err();
        assert_eq!(refused, UnprotectError::Malformed, "{plaintext:02x?}");
    }
}

#[test]
fn observe_values_are_the_ends_of_partial_ivs() {
    for (piv, header, value) in [
        (0, &[1, 0][..], &[][..]),
        (0x12, &[1, 0x12], &[0x12]),
        (0x01_2345_6789, &[5, 0x01, 0x23, 0x45, 0x67, 0x89], &[0x45, 0x67, 0x89]),
        (0x0100_0000, &[4, 1, 0, 0, 0], &[]),
    ] {
        let (mut client, server) = pair();
        let mut binding = Binding::new(3, true);
        let (id, peer) = (&server.sender_id, &server.recipient_id);
        let plaintext = [0x45, 0x60, 0x61, 50, 0xff, b'v'];
        let outer =
            seal_plaintext(&server, (id, piv), (peer, 3), header, Code::CONTENT, &plaintext);
        // As short as it may be: the value takes room that the OSCORE option leaves.
        let mut scratch = vec![0; outer.len()];
        let outer = Message::parse(&outer).unwrap();
        let inner = client.unprotect_response(&mut binding, outer, &mut scratch).unwrap();
        assert_eq!(inner.option(OptionNumber::OBSERVE), Some(value));
        assert_eq!(inner.option(OptionNumber::CONTENT_FORMAT), Some(&[50][..]));
        assert_eq!(inner.payload(), b"v");
    }
}
