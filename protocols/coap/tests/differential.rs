//! Our codec against two others: `coap-lite`, and `coap-message-implementations` (what Ariel OS
//! speaks). Where they differ from ours, the test says how and why ours is right.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "test helpers"
)]

use capmesh_coap::message::{Malformed, Message, Options};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Kind, MessageWriter, Token};
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use coap_message::{MessageOption, MinimalWritableMessage, ReadableMessage};
use coap_message_implementations::{inmemory, inmemory_write};
use proptest::prelude::*;

/// A message taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    kind: u8,
    code: u8,
    id: u16,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

const KINDS: [Kind; 4] =
    [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset];

fn ours(message: Message<'_>) -> Parts {
    Parts {
        kind: KINDS.iter().position(|kind| *kind == message.kind()).unwrap().try_into().unwrap(),
        code: message.code().0,
        id: message.id(),
        token: message.token().as_bytes().to_vec(),
        options: message.options().map(|(n, value)| (n.0, value.to_vec())).collect(),
        payload: message.payload().to_vec(),
    }
}

fn lite(packet: &Packet) -> Parts {
    Parts {
        kind: match packet.header.get_type() {
            MessageType::Confirmable => 0,
            MessageType::NonConfirmable => 1,
            MessageType::Acknowledgement => 2,
            MessageType::Reset => 3,
        },
        code: packet.header.code.into(),
        id: packet.header.message_id,
        token: packet.get_token().to_vec(),
        options: packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())))
            .collect(),
        payload: packet.payload.clone(),
    }
}

/// What `coap-message` sees: code, options and payload; the rest is not its business.
fn inmemory_parts(bytes: &[u8]) -> (u8, Vec<(u16, Vec<u8>)>, Vec<u8>) {
    let token_len = usize::from(bytes[0] & 0x0f);
    let message = inmemory::Message::new(bytes[1], &bytes[4 + token_len..]);
    let options =
        message.options().map(|option| (option.number(), option.value().to_vec())).collect();
    (message.code(), options, message.payload().to_vec())
}

fn write(parts: &Parts, order: &[usize]) -> Vec<u8> {
    let mut buf = vec![0; 4096];
    let kind = KINDS[usize::from(parts.kind)];
    let token = Token::new(&parts.token).unwrap();
    let mut writer = MessageWriter::new(&mut buf, kind, Code(parts.code), parts.id, token).unwrap();
    for at in order {
        let (number, value) = &parts.options[*at];
        writer.option(OptionNumber(*number), value).unwrap();
    }
    writer.payload(&parts.payload).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

fn write_lite(parts: &Parts) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_type(match parts.kind {
        0 => MessageType::Confirmable,
        1 => MessageType::NonConfirmable,
        2 => MessageType::Acknowledgement,
        _ => MessageType::Reset,
    });
    packet.header.code = MessageClass::from(parts.code);
    packet.header.message_id = parts.id;
    packet.set_token(parts.token.clone());
    for (number, value) in &parts.options {
        packet.add_option(CoapOption::from(*number), value.clone());
    }
    packet.payload = parts.payload.clone();
    packet.to_bytes_unlimited().unwrap()
}

fn write_inmemory(parts: &Parts) -> Vec<u8> {
    let (mut code, mut tail) = (0, vec![0; 4096]);
    let mut message = inmemory_write::Message::new(&mut code, &mut tail);
    message.set_code(parts.code);
    for (number, value) in &parts.options {
        message.add_option(*number, value).unwrap();
    }
    message.set_payload(&parts.payload).unwrap();
    let len = message.finish();
    tail.truncate(len);
    tail
}

fn code() -> impl Strategy<Value = u8> {
    prop_oneof![(1..32_u8), (0x40..0x60_u8), (0x80..0xc0_u8),]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 260..300),
    ]
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0..40_u16, 1 => 250..320_u16, 1 => any::<u16>()]
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        0..4_u8,
        code(),
        any::<u16>(),
        prop::collection::vec(any::<u8>(), 0..=8),
        prop::collection::vec((number(), value()), 0..8),
        prop::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(|(kind, code, id, token, mut options, payload)| {
            options.sort_by_key(|(number, _)| *number);
            Parts { kind, code, id, token, options, payload }
        })
}

/// Bytes that are nearly a message.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (parts(), damage, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(parts, damage, cut, cuts)| {
            let order: Vec<_> = (0..parts.options.len()).collect();
            let mut bytes = write(&parts, &order);
            for (at, with) in damage {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()) + 1);
            }
            bytes
        },
    )
}

/// Checks what all three make of some bytes.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = Packet::from_bytes(bytes);
    match Message::parse(bytes) {
        Ok(message) => {
            let parts = ours(message);
            prop_assert_eq!(&lite(&theirs.unwrap()), &parts);
            let (code, options, payload) = inmemory_parts(bytes);
            prop_assert_eq!((code, options, payload), (parts.code, parts.options, parts.payload));
        }
        // coap-lite reads every version as if it were 1. RFC 7252 section 3: messages with unknown
        // version numbers MUST be silently ignored.
        Err(Malformed::Version) => {}
        // coap-lite accepts a payload marker without a payload. RFC 7252 section 3: the presence of a
        // marker followed by a zero-length payload MUST be processed as a message format error.
        Err(Malformed::EmptyPayload) => prop_assert!(theirs.unwrap().payload.is_empty()),
        // coap-lite accepts token, options and payload in a message with code 0.00, which RFC 7252
        // section 4.1 calls a message format error; they can be malformed as well.
        Err(Malformed::NotEmpty) => prop_assert_eq!(bytes[1], 0),
        // coap-lite accepts the classes 1, 6 and 7, which RFC 7252 sections 4.2 and 4.3 reject, and
        // class 3, which is unassigned.
        Err(Malformed::ReservedCode) => prop_assert!(matches!(bytes[1] >> 5, 1 | 3 | 6 | 7)),
        Err(Malformed::Truncated | Malformed::TokenLength) => prop_assert!(theirs.is_err()),
        // coap-message checks nothing ahead: it shows the options before the damage, then the damage
        // as option 65535; where a value reaches past the end it leaves the option out and reads the
        // value's bytes as options. That is for its caller to notice; our view does not exist.
        Err(Malformed::OptionLength | Malformed::OptionNumber) => {
            prop_assert!(theirs.is_err());
            let (_, options, _) = inmemory_parts(bytes);
            let good: Vec<_> = Options::new(&bytes[4 + usize::from(bytes[0] & 0x0f)..])
                .map(|(number, value)| (number.0, value.to_vec()))
                .collect();
            prop_assert!(options.starts_with(&good), "{options:?} {good:?}");
        }
        Err(Malformed::TooLong) => prop_assert!(bytes.len() > 65_535),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_messages_are_read_alike(bytes in nearly()) {
        compare(&bytes)?;
    }

    #[test]
    fn arbitrary_bytes_are_read_alike(bytes in prop::collection::vec(any::<u8>(), 4..80)) {
        compare(&bytes)?;
    }

    #[test]
    fn arbitrary_options_are_read_alike(tail in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = vec![0x40, 1, 0, 0];
        bytes.extend(tail);
        compare(&bytes)?;
    }

    /// All three write the same bytes, and ours does so whatever order the options are added in.
    #[test]
    fn messages_are_written_alike(parts in parts(), seed in any::<u64>()) {
        let in_order: Vec<_> = (0..parts.options.len()).collect();
        let bytes = write(&parts, &in_order);
        prop_assert_eq!(&bytes, &write_lite(&parts));
        prop_assert_eq!(&bytes[4 + parts.token.len()..], write_inmemory(&parts));

        // Out of order, but repeated options one after the other: their order has a meaning.
        let mut order = in_order;
        let hash = |number: u16| (u64::from(number) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        order.sort_by_key(|at| hash(parts.options[*at].0));
        prop_assert_eq!(&bytes, &write(&parts, &order));
        prop_assert_eq!(ours(Message::parse(&bytes).unwrap()), parts);
    }
}

#[test]
fn the_known_differences_exist() {
    let version_2 = [0x80, 1, 0, 0];
    let empty_payload = [0x40, 1, 0, 0, 0xff];
    let ping_with_option = [0x40, 0, 0, 0, 0x10];
    let reserved_class = [0x40, 0x21, 0, 0];
    for (bytes, error) in [
        (&version_2[..], Malformed::Version),
        (&empty_payload, Malformed::EmptyPayload),
        (&ping_with_option, Malformed::NotEmpty),
        (&reserved_class, Malformed::ReservedCode),
    ] {
        assert_eq!(Message::parse(bytes).unwrap_err(), error);
        assert!(Packet::from_bytes(bytes).is_ok());
    }
}
