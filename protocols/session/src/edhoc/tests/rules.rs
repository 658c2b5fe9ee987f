//! What is accepted, refused and ignored beyond the vectors.

use super::rfc9529::*;
use super::*;
use hex_literal::hex;

type Bytes = std::vec::Vec<u8>;

fn id(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

/// A handshake between the parties of RFC 9529 with given identifiers and transfers.
fn handshake(
    c_i: &[u8],
    c_r: &[u8],
    transfer: Transfer,
) -> Result<(Completed, Completed, [Bytes; 3]), Refusal> {
    let mut buf = [0; MAX_MESSAGE];
    let (wait_2, len) = Initiator::start(ephemeral(X), id(c_i), &mut buf)?;
    let m1 = buf[..len].to_vec();
    let (wait_3, len) =
        Message1::parse(&m1)?.answer(ephemeral(Y), &responder(), id(c_r), transfer, &mut buf)?;
    let m2 = buf[..len].to_vec();
    let message_2 = wait_2.receive(&m2)?;
    assert!(message_2.credential_id()?.is(responder().credential()));
    let cred_r = responder().credential().clone();
    let (done_i, len) = message_2.verify(&cred_r, &initiator(), transfer, &mut buf)?;
    let m3 = buf[..len].to_vec();
    let message_3 = wait_3.receive(&m3)?;
    assert!(message_3.credential_id()?.is(initiator().credential()));
    let done_r = message_3.verify(initiator().credential())?;
    Ok((done_i, done_r, [m1, m2, m3]))
}

#[test]
fn connection_identifiers_become_oscore_ids() {
    let cases: [(&[u8], &[u8]); 6] = [
        (&hex!("21"), &hex!("0d")),
        (&hex!("18"), &hex!("38")),
        (&hex!(""), &hex!("ff")),
        (&hex!("abcd"), &hex!("")),
        (&hex!("01020304050607"), &hex!("07060504030201")),
        (&hex!("00"), &hex!("000000")),
    ];
    for (c_i, c_r) in cases {
        let (i, r, _) = handshake(c_i, c_r, Transfer::ByReference).unwrap();
        let (i, r) = (i.oscore_keys(), r.oscore_keys());
        assert_eq!((i.sender_id.as_bytes(), i.recipient_id.as_bytes()), (c_r, c_i));
        assert_eq!((r.sender_id.as_bytes(), r.recipient_id.as_bytes()), (c_i, c_r));
        assert_eq!(i.master_secret, r.master_secret);
        assert_eq!(i.master_salt, r.master_salt);
    }
}

#[test]
fn equal_connection_identifiers_are_refused_by_both_sides() {
    let refused = handshake(&[7], &[7], Transfer::ByReference).map(|_| ());
    assert_eq!(refused, Err(Refusal::ConnectionId));
    // A responder that does not check.
    let mut buf = [0; MAX_MESSAGE];
    let (wait, len) = Initiator::start(ephemeral(X), id(&[7]), &mut buf).unwrap();
    let message_2 = hostile::message_2(&buf[..len], &hex!("0732480102030405060708"));
    assert_eq!(wait.receive(&message_2).unwrap_err(), Refusal::ConnectionId);
}

#[test]
fn connection_identifiers_too_long_for_oscore_are_refused() {
    let mut message = MESSAGE_1[..38].to_vec();
    message.extend(hex!("480102030405060708"));
    assert_eq!(Message1::parse(&message).unwrap_err(), Refusal::ConnectionId);
    let mut buf = [0; MAX_MESSAGE];
    let (wait, len) = Initiator::start(ephemeral(X), id(&[7]), &mut buf).unwrap();
    let plaintext = hex!("480102030405060708 32 480102030405060708");
    let message_2 = hostile::message_2(&buf[..len], &plaintext);
    assert_eq!(wait.receive(&message_2).unwrap_err(), Refusal::ConnectionId);
}

#[test]
fn credentials_travel_by_value_too() {
    let (i, r, messages) = handshake(&[1], &[2], Transfer::ByValue).unwrap();
    assert_eq!(i.oscore_keys().master_secret, r.oscore_keys().master_secret);
    assert_eq!(messages.map(|m| m.len()), [37, 141, 128]);
}

#[test]
fn a_credential_that_was_not_named_is_refused() {
    let mut buf = [0; MAX_MESSAGE];
    let (wait, _) =
        Initiator::start_with_suites(&ephemeral(X), &[6, 2], id(&C_I), &mut buf).unwrap();
    let message_2 = wait.receive(&MESSAGE_2).unwrap();
    let other = Credential::parse(&CRED_I).unwrap();
    let verified = message_2.verify(&other, &initiator(), Transfer::ByReference, &mut buf);
    assert_eq!(verified.map(|_| ()), Err(Refusal::UnknownCredential));
}

/// The same `kid`, another key: only the MAC can tell.
#[test]
fn an_impostor_fails_the_mac() {
    let mut buf = [0; MAX_MESSAGE];
    let impostor = Credential::from_public_key(
        &Identity::public_key_of(&[9; 32]).unwrap(),
        Kid::new(&[0x32]).unwrap(),
    );
    let (wait, _) =
        Initiator::start_with_suites(&ephemeral(X), &[6, 2], id(&C_I), &mut buf).unwrap();
    let message_2 = wait.receive(&MESSAGE_2).unwrap();
    let verified = message_2.verify(&impostor, &initiator(), Transfer::ByReference, &mut buf);
    assert_eq!(verified.map(|_| ()), Err(Refusal::NotAuthentic));

    let message_1 = Message1::parse(&MESSAGE_1).unwrap();
    let (wait, _) = message_1
        .answer(ephemeral(Y), &responder(), id(&C_R), Transfer::ByReference, &mut buf)
        .unwrap();
    let impostor = Credential::from_public_key(
        &Identity::public_key_of(&[9; 32]).unwrap(),
        Kid::new(&[0x2b]).unwrap(),
    );
    let message_3 = wait.receive(&MESSAGE_3).unwrap();
    assert_eq!(message_3.verify(&impostor).map(|_| ()), Err(Refusal::NotAuthentic));
}

#[test]
fn critical_ead_is_refused_and_the_rest_ignored() {
    let with = |ead: &[u8]| Message1::parse(&[&MESSAGE_1[..], ead].concat()).map(|_| ());
    // Padding of one, two and three bytes, unknown labels, several items.
    for ignored in
        [&hex!("00")[..], &hex!("0040"), &hex!("0041e9"), &hex!("0e4101"), &hex!("1864 05 0041e9")]
    {
        assert_eq!(with(ignored), Ok(()));
    }
    for critical in [&hex!("20")[..], &hex!("2d4101"), &hex!("00 20"), &hex!("0e4101 3863 40")] {
        assert_eq!(with(critical), Err(Refusal::CriticalEad));
    }
    for malformed in [&hex!("4101")[..], &hex!("004101 4102"), &hex!("6101"), &hex!("0042e9")] {
        assert_eq!(with(malformed), Err(Refusal::Malformed));
    }
}

/// An initiator of the outside that puts EAD into message_3 (lakers would take it for one item).
#[test]
fn ead_3_is_part_of_what_is_authenticated() {
    let mut buf = [0; MAX_MESSAGE];
    let (_, len) = Initiator::start(ephemeral(X), id(&[1]), &mut buf).unwrap();
    let m1 = buf[..len].to_vec();
    let receive = |plaintext: &[u8]| {
        let mut buf = [0; MAX_MESSAGE];
        let (wait, len) = Message1::parse(&m1)
            .unwrap()
            .answer(ephemeral(Y), &responder(), id(&[2]), Transfer::ByReference, &mut buf)
            .unwrap();
        wait.receive(&hostile::message_3(&X, &m1, &buf[..len], &CRED_R, plaintext)).map(|_| ())
    };
    assert_eq!(receive(&hex!("2b 48 0102030405060708")), Ok(()));
    assert_eq!(receive(&hex!("2b 48 0102030405060708 00 41e9 05")), Ok(()));
    assert_eq!(receive(&hex!("2b 48 0102030405060708 24 41e9")), Err(Refusal::CriticalEad));
    assert_eq!(receive(&hex!("2b 48 0102030405060708 1864")), Ok(()));
    assert_eq!(receive(&hex!("412b 48 0102030405060708")), Err(Refusal::Malformed));
    assert_eq!(receive(&hex!("b8ff 48 0102030405060708")), Err(Refusal::Malformed));
    assert_eq!(receive(&hex!("2b")), Err(Refusal::Malformed));
    assert_eq!(receive(&[]), Err(Refusal::Malformed));
}

/// Everything a peer may make as long as it likes, at the longest that a message carries.
#[test]
fn the_longest_plaintext_is_verified_like_any_other() {
    let ead = [0; 60];
    let plaintext = [&[0xa1, 0x0e][..], &CRED_I, &[0x48], &[7; 8], &ead].concat();
    let mut buf = [0; MAX_MESSAGE];
    let (_, len) = Initiator::start(ephemeral(X), id(&[1]), &mut buf).unwrap();
    let m1 = buf[..len].to_vec();
    let (wait, len) = Message1::parse(&m1)
        .unwrap()
        .answer(ephemeral(Y), &responder(), id(&[2]), Transfer::ByReference, &mut buf)
        .unwrap();
    let m3 = hostile::message_3(&X, &m1, &buf[..len], &CRED_R, &plaintext);
    let message_3 = wait.receive(&m3).unwrap();
    let verified = message_3.verify(initiator().credential());
    assert_eq!(verified.map(|_| ()), Err(Refusal::NotAuthentic));
}

#[test]
fn error_messages_have_their_info() {
    let mut out = [0; 40];
    for (refusal, expected) in [
        (Refusal::UnsupportedSuite, ErrorMessage::WrongSuite),
        (Refusal::UnknownCredential, ErrorMessage::UnknownCredential),
        (Refusal::CriticalEad, ErrorMessage::Unspecified),
        (Refusal::NotAuthentic, ErrorMessage::Unspecified),
    ] {
        let len = refusal.error_message(&mut out).unwrap();
        assert_eq!(ErrorMessage::parse(&out[..len]), Some(expected));
    }
    let len = Refusal::NotAuthentic.error_message(&mut out).unwrap();
    assert_eq!(out[..len], *b"\x01\x6dnot authentic");
    let len = Refusal::CriticalEad.error_message(&mut out).unwrap();
    assert_eq!(out[..3], hex!("01781f"));
    assert_eq!(len, 34);
    assert_eq!(Refusal::CriticalEad.error_message(&mut out[..20]), None);
    assert_eq!(ErrorMessage::parse(&hex!("00f5")), None);
    assert_eq!(ErrorMessage::parse(&[]), None);
}

#[test]
fn credentials_are_read_strictly() {
    let x = Identity::public_key_of(&SK_R).unwrap();
    let own = Credential::from_public_key(&x, Kid::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap());
    assert_eq!(Credential::parse(own.as_bytes()), Ok(own.clone()));
    assert_eq!(own.public_key(), &x);
    assert_eq!(Credential::parse(&CRED_R).unwrap().public_key(), &x);
    for at in 0..CRED_R.len() {
        assert!(Credential::parse(&CRED_R[..at]).is_err());
    }
    let patched = |from: &[u8], to: &[u8]| {
        let at = CRED_R.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = CRED_R.to_vec();
        bytes.splice(at..at + from.len(), to.iter().copied());
        Credential::parse(&bytes).map(|_| ())
    };
    assert_eq!(patched(&hex!("2001"), &hex!("2001")), Ok(()));
    assert_eq!(patched(&hex!("2001"), &hex!("2002")), Err(InvalidCredential), "curve");
    assert_eq!(patched(&hex!("a50102"), &hex!("a50101")), Err(InvalidCredential), "key type");
    assert_eq!(patched(&hex!("a50102"), &hex!("a40102")), Err(InvalidCredential), "a pair over");
    assert_eq!(patched(&hex!("024132"), &hex!("0241")), Err(InvalidCredential), "cut");
    assert_eq!(patched(&hex!("2001"), &hex!("01022001")), Err(InvalidCredential), "twice");
    assert_eq!(patched(&hex!("a2026b"), &hex!("a2036b")), Err(InvalidCredential), "unknown claim");
    assert_eq!(Identity::new(&SK_I, own).map(|_| ()), Err(InvalidKey));
    assert!(Identity::public_key_of(&[0; 32]).is_err());
    assert!(Identity::public_key_of(&[0xff; 32]).is_err());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let (i, _, _) = handshake(&[1], &[2], Transfer::ByReference).unwrap();
    let shown = std::format!("{:?} {:?} {:?} {:?}", i, i.oscore_keys(), ephemeral(X), initiator());
    assert!(shown.len() < 200, "{shown}");
}
