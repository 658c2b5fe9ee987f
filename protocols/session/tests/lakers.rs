//! lakers, another implementation of EDHOC, as the other side: in both roles, by reference and by
//! value, with every kind of connection identifier.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod common;

use capmesh_coap::test_util::Dice;
use capmesh_session::edhoc::{
    ConnectionId, Credential, EphemeralKey, Identity, Initiator, Kid, MAX_MESSAGE, Message1,
    OscoreKeys, Transfer,
};
use lakers::{
    ConnId, CredentialTransfer, EDHOCMethod, EDHOCSuite, EdhocInitiator, EdhocMessageBuffer,
    EdhocResponder,
};
use lakers_crypto_rustcrypto::Crypto;

fn identity(n: u8) -> Identity {
    let key = [n; 32];
    let x = Identity::public_key_of(&key).unwrap();
    Identity::new(&key, Credential::from_public_key(&x, Kid::new(&[n, 7, n]).unwrap())).unwrap()
}

fn theirs(n: u8) -> lakers::Credential {
    lakers::Credential::parse_ccs(identity(n).credential().as_bytes()).unwrap()
}

fn rng(seed: u64) -> Dice {
    Dice::new(seed)
}

fn buffer(bytes: &[u8]) -> EdhocMessageBuffer {
    EdhocMessageBuffer::new_from_slice(bytes).unwrap()
}

/// C_I, C_R, and how credentials travel on both sides.
fn cases() -> impl Iterator<Item = (&'static [u8], &'static [u8], Transfer, CredentialTransfer)> {
    let ids: [(&[u8], &[u8]); 4] =
        [(&[0x05], &[0x37]), (&[0x18], &[]), (&[1, 2], &[0xff]), (&[1, 2, 3, 4, 5, 6, 7], &[9, 9])];
    let transfers = [
        (Transfer::ByReference, CredentialTransfer::ByReference),
        (Transfer::ByReference, CredentialTransfer::ByValue),
        (Transfer::ByValue, CredentialTransfer::ByReference),
        (Transfer::ByValue, CredentialTransfer::ByValue),
    ];
    ids.into_iter().flat_map(move |(c_i, c_r)| {
        transfers.into_iter().map(move |(ours, theirs)| (c_i, c_r, ours, theirs))
    })
}

fn assert_same(ours: &OscoreKeys, secret: &[u8], salt: &[u8]) {
    assert_eq!(ours.master_secret, secret[..16]);
    assert_eq!(ours.master_salt, salt[..8]);
}

#[test]
fn lakers_answers_our_initiator() {
    for (seed, (c_i, c_r, transfer, their_transfer)) in (0..).zip(cases()) {
        let mut buf = [0; MAX_MESSAGE];
        let key = EphemeralKey::generate(&mut rng(seed));
        let (wait, len) = Initiator::start(key, ConnectionId::new(c_i).unwrap(), &mut buf).unwrap();
        let responder = EdhocResponder::new(
            Crypto::new(rng(seed + 100)),
            EDHOCMethod::StatStat,
            [2; 32],
            theirs(2),
        );
        let (responder, _, _) = responder.process_message_1(&buffer(&buf[..len])).unwrap();
        let (responder, message_2) =
            responder.prepare_message_2(their_transfer, ConnId::from_slice(c_r), &None).unwrap();
        let message_2 = wait.receive(message_2.as_slice()).unwrap();
        assert!(message_2.credential_id().unwrap().is(identity(2).credential()));
        let (ours, len) =
            message_2.verify(identity(2).credential(), &identity(1), transfer, &mut buf).unwrap();
        let (responder, _, _) = responder.parse_message_3(&buffer(&buf[..len])).unwrap();
        let (responder, _) = responder.verify_message_3(theirs(1)).unwrap();
        let (mut responder, message_4) = responder.prepare_message_4(&None).unwrap();
        ours.verify_message_4(message_4.as_slice()).unwrap();
        let keys = ours.oscore_keys();
        assert_eq!((keys.sender_id.as_bytes(), keys.recipient_id.as_bytes()), (c_r, c_i));
        assert_same(
            &keys,
            &responder.edhoc_exporter(0, &[], 16),
            &responder.edhoc_exporter(1, &[], 8),
        );
    }
}

#[test]
fn our_responder_answers_lakers() {
    for (seed, (c_i, c_r, transfer, their_transfer)) in (0..).zip(cases()) {
        let mut buf = [0; MAX_MESSAGE];
        let initiator = EdhocInitiator::new(
            Crypto::new(rng(seed)),
            EDHOCMethod::StatStat,
            EDHOCSuite::CipherSuite2,
        );
        let (initiator, message_1) =
            initiator.prepare_message_1(ConnId::from_slice(c_i), &None).unwrap();
        let key = EphemeralKey::generate(&mut rng(seed + 100));
        let c_r = ConnectionId::new(c_r).unwrap();
        let (wait, len) = Message1::parse(message_1.as_slice())
            .unwrap()
            .answer(key, &identity(2), c_r, transfer, &mut buf)
            .unwrap();
        let (mut initiator, their_c_r, _, _) =
            initiator.parse_message_2(&buffer(&buf[..len])).unwrap();
        assert_eq!(their_c_r.as_slice(), c_r.as_bytes());
        initiator.set_identity([1; 32], theirs(1)).unwrap();
        let initiator = initiator.verify_message_2(theirs(2)).unwrap();
        let (initiator, message_3, _) = initiator.prepare_message_3(their_transfer, &None).unwrap();
        let message_3 = wait.receive(message_3.as_slice()).unwrap();
        assert!(message_3.credential_id().unwrap().is(identity(1).credential()));
        let ours = message_3.verify(identity(1).credential()).unwrap();
        let len = ours.compose_message_4(&mut buf).unwrap();
        let (mut initiator, _) = initiator.process_message_4(&buffer(&buf[..len])).unwrap();
        assert_same(
            &ours.oscore_keys(),
            &initiator.edhoc_exporter(0, &[], 16),
            &initiator.edhoc_exporter(1, &[], 8),
        );
    }
}
