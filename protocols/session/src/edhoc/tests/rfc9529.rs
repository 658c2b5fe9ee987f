//! RFC 9529: the trace with static Diffie-Hellman (section 3) and the invalid traces (section 4).

use super::*;
use crate::edhoc::message::{Plaintext, read_message_1, read_message_2};
use crate::edhoc::schedule::label;
use hex_literal::hex;

pub(super) const X: [u8; 32] =
    hex!("368ec1f69aeb659ba37d5a8d45b21bdc0299dceaa8ef235f3ca42ce3530f9525");
pub(super) const Y: [u8; 32] =
    hex!("e2f4126777205e853b437d6eaca1e1f753cdcc3e2c69fa884b0a1a640977e418");
pub(super) const SK_R: [u8; 32] =
    hex!("72cc4761dbd4c78f758931aa589d348d1ef874a7e303ede2f140dcf3e6aa4aac");
pub(super) const SK_I: [u8; 32] =
    hex!("fb13adeb6518cee5f88417660841142e830a81fe334380a953406a1305e8706b");
pub(super) const CRED_R: [u8; 95] = hex!(
    "a2026b6578616d706c652e65647508a101a501020241322001215820bbc34960"
    "526ea4d32e940cad2a234148ddc21791a12afbcbac93622046dd44f022582045"
    "19e257236b2a0ce2023f0931f1f386ca7afda64fcde0108c224c51eabf6072"
);
pub(super) const CRED_I: [u8; 107] = hex!(
    "a2027734322d35302d33312d46462d45462d33372d33322d333908a101a50102"
    "02412b2001215820ac75e9ece3e50bfc8ed60399889522405c47bf16df96660a"
    "41298cb4307f7eb62258206e5de611388a4b8a8211334ac7d37ecb52a387d257"
    "e6db3c2a93df21ff3affc8"
);
pub(super) const C_I: [u8; 1] = hex!("37");
pub(super) const C_R: [u8; 1] = hex!("27");

const MESSAGE_1_FIRST: [u8; 37] =
    hex!("03065820 741a13d7ba048fbb615e94386aa3b61bea5b3d8f65f32620b749bee8d278efa90e");
pub(super) const MESSAGE_1: [u8; 39] =
    hex!("03820602 5820 8af6f430ebe18d34184017a9a11bf511c8dff8f834730b96c1b7c8dbca2fc3b6 37");
pub(super) const MESSAGE_2: [u8; 45] = hex!(
    "582b 419701d7f00a26c2dc587a36dd752549f33763c893422c8ea0f955a13a4ff5d5"
    "9862a1eef9e0e7e1886fcd"
);
pub(super) const MESSAGE_3: [u8; 19] = hex!("52e562097bc417dd5919485ac7891ffd90a9fc");
const MESSAGE_4: [u8; 9] = hex!("4828c966b7ca304f83");
const PLAINTEXT_2: [u8; 12] = hex!("27 32 48 0943305c899f5c54 00");
const PRK_OUT: [u8; 32] = hex!("2c71afc1a9338a940bb3529ca734b886f30d1aba0b4dc51beeaeabdfea9ecbf8");
const PRK_EXPORTER: [u8; 32] =
    hex!("e14d06699cee248c5a04bf9227bbcd4ce394de7dcb56db43555474171e6446db");

pub(super) fn ephemeral(private: [u8; 32]) -> EphemeralKey {
    EphemeralKey::generate(&mut Bytes(private))
}

pub(super) fn initiator() -> Identity {
    Identity::new(&SK_I, Credential::parse(&CRED_I).unwrap()).unwrap()
}

pub(super) fn responder() -> Identity {
    Identity::new(&SK_R, Credential::parse(&CRED_R).unwrap()).unwrap()
}

fn id(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

#[test]
fn the_suite_that_the_responder_lacks_is_answered_with_the_one_it_has() {
    let refusal = Message1::parse(&MESSAGE_1_FIRST).unwrap_err();
    assert_eq!(refusal, Refusal::UnsupportedSuite);
    let mut error = [0; 40];
    let len = refusal.error_message(&mut error).unwrap();
    assert_eq!(error[..len], hex!("0202"));
    assert_eq!(ErrorMessage::parse(&error[..len]), Some(ErrorMessage::WrongSuite));
}

#[test]
fn both_sides_of_the_trace_come_out_byte_for_byte() {
    let mut buf = [0; MAX_MESSAGE];
    let (wait_2, len) =
        Initiator::start_with_suites(&ephemeral(X), &[6, 2], id(&C_I), &mut buf).unwrap();
    assert_eq!(buf[..len], MESSAGE_1);

    let message_1 = Message1::parse(&MESSAGE_1).unwrap();
    assert_eq!(message_1.connection_id(), id(&C_I));
    let (wait_3, len) = message_1
        .answer(ephemeral(Y), &responder(), id(&C_R), Transfer::ByReference, &mut buf)
        .unwrap();
    assert_eq!(buf[..len], MESSAGE_2);

    let message_2 = wait_2.receive(&MESSAGE_2).unwrap();
    assert_eq!(message_2.credential_id(), Ok(CredentialId::Kid(&hex!("32"))));
    let cred_r = Credential::parse(&CRED_R).unwrap();
    let (done_i, len) =
        message_2.verify(&cred_r, &initiator(), Transfer::ByReference, &mut buf).unwrap();
    assert_eq!(buf[..len], MESSAGE_3);

    let message_3 = wait_3.receive(&MESSAGE_3).unwrap();
    assert_eq!(message_3.credential_id(), Ok(CredentialId::Kid(&hex!("2b"))));
    let done_r = message_3.verify(&Credential::parse(&CRED_I).unwrap()).unwrap();
    let len = done_r.compose_message_4(&mut buf).unwrap();
    assert_eq!(buf[..len], MESSAGE_4);
    done_i.verify_message_4(&MESSAGE_4).unwrap();

    for (done, sender, recipient) in [(&done_i, C_R, C_I), (&done_r, C_I, C_R)] {
        assert_eq!(done.prk_4e3m.next(label::PRK_OUT, &done.th_4).0, PRK_OUT);
        assert_eq!(done.prk_exporter.0, PRK_EXPORTER);
        let keys = done.oscore_keys();
        assert_eq!(keys.master_secret, hex!("f9868f6a3aca78a05d1485b35030b162"));
        assert_eq!(keys.master_salt, hex!("ada24c7dbfc85eeb"));
        assert_eq!(keys.sender_id.as_bytes(), sender);
        assert_eq!(keys.recipient_id.as_bytes(), recipient);
    }
}

#[test]
fn an_initiator_that_prefers_another_suite_of_ours_is_refused() {
    // SUITES_I = [2, 6]: the selected suite is 6, and 2 = the first that we support is not selected.
    let mut message = MESSAGE_1;
    message[2..4].copy_from_slice(&[2, 6]);
    assert_eq!(Message1::parse(&message).unwrap_err(), Refusal::UnsupportedSuite);
    // SUITES_I = [2, 2].
    message[2..4].copy_from_slice(&[2, 2]);
    assert_eq!(Message1::parse(&message).unwrap_err(), Refusal::UnsupportedSuite);
}

/// Section 4, by the messages that a responder gets. Two of them show only in the public-key
/// operation, when message_2 is made.
#[test]
fn invalid_message_1_is_refused() {
    let g_x = "741a13d7ba048fbb615e94386aa3b61bea5b3d8f65f32620b749bee8d278efa9";
    let cases: [(&str, Refusal); 11] = [
        // 4.1: encoding.
        (&std::format!("8403025820{g_x}0e"), Refusal::Malformed),
        (&std::format!("03025820{g_x}410e"), Refusal::Malformed),
        (&std::format!("0381025820{g_x}0e"), Refusal::Malformed),
        (
            "0302782020616972207370656564206f66206120756e6c6164656e207377616c6c6f77200e",
            Refusal::Malformed,
        ),
        // 4.2: cryptography. Suites 24 and 0 are not supported anyway.
        (&std::format!("03820218185820{g_x}0e"), Refusal::UnsupportedSuite),
        (
            "03025820ffffffff00000001000000000000000000000000ffffffffffffffffffffffff0e",
            Refusal::InvalidPoint,
        ),
        (
            "03025820a04e73601df544a70ba7ea1e57030f7d4b4eb7f673924e58d54ca77a5e7d4d4a0e",
            Refusal::InvalidPoint,
        ),
        (
            "03005820edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f0e",
            Refusal::UnsupportedSuite,
        ),
        (
            "0302581fd9697725d23a688b12d1c7e0108a08c9f71a85a09c20814976ab21122248fc0e",
            Refusal::InvalidPoint,
        ),
        // 4.3: CBOR that is not deterministic.
        (&std::format!("190003025820{g_x}0e"), Refusal::Malformed),
        (&std::format!("039f0602ff5820{g_x}0e"), Refusal::Malformed),
    ];
    for (message, expected) in cases {
        let message = unhex(message);
        let answered = Message1::parse(&message).and_then(|message_1| {
            let mut out = [0; MAX_MESSAGE];
            let c_r = ConnectionId::new(&C_R).unwrap();
            message_1.answer(ephemeral(Y), &responder(), c_r, Transfer::ByReference, &mut out)
        });
        assert_eq!(answered.map(|_| ()), Err(expected), "{message:02x?}");
    }
    // The valid one beside them.
    read_message_1(&unhex(&std::format!("03025820{g_x}0e"))).unwrap();
}

#[test]
fn invalid_message_2_is_refused() {
    let split = hex!(
        "5820 419701d7f00a26c2dc587a36dd752549f33763c893422c8ea0f955a13a4ff5d5"
        "4b 9862a11de42a95d785386a"
    );
    assert_eq!(read_message_2(&split), Err(Refusal::Malformed));
    let mut buf = [0; MAX_MESSAGE];
    let start = || Initiator::start(ephemeral(X), id(&C_I), &mut [0; MAX_MESSAGE]).unwrap().0;
    assert_eq!(start().receive(&split).unwrap_err(), Refusal::Malformed);
    // The points of 4.2 in G_Y.
    for point in [
        hex!("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
        hex!("a04e73601df544a70ba7ea1e57030f7d4b4eb7f673924e58d54ca77a5e7d4d4a"),
    ] {
        buf[..45].copy_from_slice(&MESSAGE_2);
        buf[2..34].copy_from_slice(&point);
        assert_eq!(start().receive(&buf[..45]).unwrap_err(), Refusal::InvalidPoint);
    }
}

/// PLAINTEXT_2 of section 4, read by itself and sealed into a message_2 of a responder's who means
/// harm.
#[test]
fn invalid_plaintext_2_is_refused() {
    for plaintext in [
        &hex!("27a104423210 48fa5efa2ebf920bf3")[..],
        &hex!("274132 48fa5efa2ebf920bf3"),
        &hex!("2732 44fa5efa2e"),
        // Counts that overflow eight bits, and nesting, where lakers would go on parsing.
        &hex!("27b8ff00"),
        &hex!("279818ffffffff"),
        &hex!("27c1c1c1c1c1c1c1"),
        // A CCS whose COSE_Key has the label -1 - 0x10.
        &hex!("27a10ea108a101a1381001 48fa5efa2ebf920bf3"),
    ] {
        assert!(Plaintext::read_2(plaintext).is_err());
        let (wait, message_1) = start();
        let message_2 = super::hostile::message_2(&message_1, plaintext);
        assert_eq!(wait.receive(&message_2).unwrap_err(), Refusal::Malformed);
    }
    assert!(Plaintext::read_2(&PLAINTEXT_2).is_ok());
}

fn start() -> (AwaitMessage2, std::vec::Vec<u8>) {
    let mut buf = [0; MAX_MESSAGE];
    let (wait, len) = Initiator::start(ephemeral(X), id(&C_I), &mut buf).unwrap();
    (wait, buf[..len].to_vec())
}

fn unhex(text: &str) -> std::vec::Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}
