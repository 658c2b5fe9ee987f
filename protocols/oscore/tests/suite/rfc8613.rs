//! RFC 8613 Appendix C, every vector: C.1 to C.3 through the messages that they key, since keys do
//! not leave a context; their intermediate values are in the crate's unit tests.

use capmesh_coap::message::Message;
use capmesh_oscore::{
    Binding, Context, CoseHeader, Parameters, Replay, ReplayWindow, SequenceReservation,
    UnprotectError,
};
use hex_literal::hex;

const SECRET: [u8; 16] = hex!("0102030405060708090a0b0c0d0e0f10");
const SALT: [u8; 8] = hex!("9e7ca92223786340");
const ID_CONTEXT: [u8; 8] = hex!("37cbf3210017a2d3");

/// A vector's context, about to send sequence number `next`.
fn context(salt: &[u8], id_context: Option<&[u8]>, ids: [&[u8]; 2], next: u64) -> Context {
    let [sender_id, recipient_id] = ids;
    let parameters = Parameters {
        master_secret: &SECRET,
        master_salt: salt,
        id_context,
        sender_id,
        recipient_id,
    };
    let sequence = SequenceReservation::stored(next, 32);
    let replay = Replay::Known(ReplayWindow::EMPTY);
    let mut context = Context::restore(&parameters, sequence, replay).unwrap();
    context.confirm_sequence(next + 32);
    context
}

/// Protects at the client, opens at the server, and compares both with the vector.
fn request(
    client: &mut Context,
    server: &mut Context,
    unprotected: &[u8],
    protected: &[u8],
) -> [Binding; 2] {
    let mut out = [0; 128];
    let (len, binding) =
        client.protect_request(Message::parse(unprotected).unwrap(), &mut out).unwrap();
    assert_eq!(out[..len], *protected);

    let outer = Message::parse(protected).unwrap();
    let header = CoseHeader::of(&outer).unwrap().unwrap();
    assert_eq!(header.partial_iv, Some(20));
    assert!(server.matches(&header));
    let mut scratch = [0; 128];
    let (inner, at_server) = server.unprotect_request(outer, &mut scratch).unwrap();
    assert_eq!(inner.as_bytes(), unprotected);
    assert_eq!(server.unprotect_request(outer, &mut [0; 128]).unwrap_err(), UnprotectError::Replay);

    let mut scratch = [0; 128];
    let inner = client.reopen_request(&binding, outer, &mut scratch).unwrap();
    assert_eq!(inner.as_bytes(), unprotected);
    [binding, at_server]
}

#[test]
fn c4_request_with_salt() {
    let mut client = context(&SALT, None, [&[], &[1]], 20);
    let mut server = context(&SALT, None, [&[1], &[]], 0);
    request(
        &mut client,
        &mut server,
        &hex!("44015d1f00003974396c6f63616c686f737483747631"),
        &hex!("44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"),
    );
}

#[test]
fn c5_request_without_salt() {
    let mut client = context(&[], None, [&[0], &[1]], 20);
    let mut server = context(&[], None, [&[1], &[0]], 0);
    request(
        &mut client,
        &mut server,
        &hex!("440171c30000b932396c6f63616c686f737483747631"),
        &hex!("440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0"),
    );
}

#[test]
fn c6_request_with_id_context() {
    let mut client = context(&SALT, Some(&ID_CONTEXT), [&[], &[1]], 20);
    let mut server = context(&SALT, Some(&ID_CONTEXT), [&[1], &[]], 0);
    request(
        &mut client,
        &mut server,
        &hex!("44012f8eef9bbf7a396c6f63616c686f737483747631"),
        &hex!(
            "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff"
            "72cd7273fd331ac45cffbe55c3"
        ),
    );
}

/// C.7, the response to C.4, then C.8, the same with a Partial IV.
#[test]
fn c7_and_c8_responses() {
    let mut client = context(&SALT, None, [&[], &[1]], 20);
    let mut server = context(&SALT, None, [&[1], &[]], 0);
    let [mut at_client, at_server] = request(
        &mut client,
        &mut server,
        &hex!("44015d1f00003974396c6f63616c686f737483747631"),
        &hex!("44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"),
    );
    let unprotected = hex!("64455d1f00003974ff48656c6c6f20576f726c6421");
    let with_nonce_of_request =
        hex!("64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106");
    let with_partial_iv =
        hex!("64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e");

    let inner = Message::parse(&unprotected).unwrap();
    let mut out = [0; 64];
    let len = server.protect_response(&at_server, inner, &mut out).unwrap();
    assert_eq!(out[..len], with_nonce_of_request);
    // The nonce is used up, so the second response gets a Partial IV without being asked for it.
    let len = server.protect_response(&at_server, inner, &mut out).unwrap();
    assert_eq!(out[..len], with_partial_iv);

    for outer in [&with_nonce_of_request[..], &with_partial_iv] {
        let mut scratch = [0; 64];
        let outer = Message::parse(outer).unwrap();
        let inner = client.unprotect_response(&mut at_client, outer, &mut scratch).unwrap();
        assert_eq!(inner.as_bytes(), unprotected);
        let mut scratch = [0; 64];
        let again = client.unprotect_response(&mut at_client, outer, &mut scratch);
        assert_eq!(again.unwrap_err(), UnprotectError::Stale);
    }
}

/// The examples of RFC 8613 section 6.3.
#[test]
fn header_compression_examples() {
    let parse = |value: &'static [u8]| CoseHeader::parse(value).unwrap();
    assert_eq!(
        parse(&hex!("090525")),
        CoseHeader { partial_iv: Some(5), kid_context: None, kid: Some(&[0x25]) }
    );
    assert_eq!(
        parse(&hex!("0900")),
        CoseHeader { partial_iv: Some(0), kid_context: None, kid: Some(&[]) }
    );
    assert_eq!(
        parse(&hex!("19050544616c656b")),
        CoseHeader { partial_iv: Some(5), kid_context: Some(b"Dalek"), kid: Some(&[]) }
    );
    assert_eq!(parse(&[]), CoseHeader::default());
    assert_eq!(parse(&hex!("0107")), CoseHeader { partial_iv: Some(7), ..Default::default() });
}
