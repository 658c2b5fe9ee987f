//! Random messages.

use crate::common::{CLIENT, Owned, pair, swap, written};
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Class, Context, Parameters, ProtectError, UnprotectError, class};
use proptest::prelude::*;

/// Numbers of all classes, except OSCORE and EDHOC, which are not the application's, and Proxy-Uri,
/// which is changed.
fn number() -> impl Strategy<Value = OptionNumber> {
    prop_oneof![
        6 => prop::sample::select(vec![1, 3, 4, 5, 6, 7, 8, 11, 11, 12, 14, 15, 16, 17, 20, 23, 27, 28, 39, 60, 252, 258, 292]),
        1 => 0_u16..300,
        1 => any::<u16>(),
    ]
    .prop_filter("not the application's", |number| !matches!(number, 9 | 21 | 35))
    .prop_map(OptionNumber)
}

fn options() -> impl Strategy<Value = Vec<(OptionNumber, Vec<u8>)>> {
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..16),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    prop::collection::vec((number(), value), 0..8)
}

fn message(codes: Vec<Code>) -> impl Strategy<Value = Owned> {
    let payload = prop_oneof![
        1 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 0..80),
        1 => prop::collection::vec(any::<u8>(), 0..1100),
    ];
    (prop::sample::select(codes), options(), payload).prop_map(|(code, options, payload)| {
        let options: Vec<_> =
            options.iter().map(|(number, value)| (*number, value.as_slice())).collect();
        Owned::new(code, &options, &payload)
    })
}

fn request() -> impl Strategy<Value = Owned> {
    message(vec![Code::GET, Code::POST, Code::PUT, Code::DELETE, Code::FETCH, Code(31)])
}

fn response() -> impl Strategy<Value = Owned> {
    message(vec![Code::CONTENT, Code::CHANGED, Code::CONTINUE, Code::NOT_FOUND, Code(0xbf)])
}

fn parameters() -> impl Strategy<Value = Parameters<'static>> {
    let ids = [&[][..], &[0], &[1], b"abc", &[0xff; 7]];
    let id_contexts = [None, Some(&[][..]), Some(b"context"), Some(&[0; 16])];
    (
        prop::sample::subsequence(ids.to_vec(), 2),
        prop::sample::select(id_contexts.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(ids, id_context, swapped)| {
            let parameters =
                Parameters { id_context, sender_id: ids[0], recipient_id: ids[1], ..CLIENT };
            if swapped { swap(parameters) } else { parameters }
        })
}

/// The message without its Observe values, which are for each side's own use in responses.
fn without_observe(message: Message<'_>) -> Owned {
    let options: Vec<_> =
        message.options().filter(|(number, _)| *number != OptionNumber::OBSERVE).collect();
    Owned::new(message.code(), &options, message.payload())
}

fn sealed<T>(call: impl FnOnce(&mut [u8]) -> Result<usize, T>) -> Result<Owned, T>
where
    T: std::fmt::Debug,
{
    written(|out| call(out).map(|len| (len, ()))).map(|(outer, ())| outer)
}

proptest! {
    #[test]
    fn exchanges_round_trip(
        parameters in parameters(),
        request in request(),
        responses in prop::collection::vec(response(), 1..3),
    ) {
        let mut client = Context::derive(&parameters).unwrap();
        let mut server = Context::derive(&swap(parameters)).unwrap();
        let (outer, mut at_client) =
            written(|out| client.protect_request(request.view(), out)).unwrap();
        let observe: usize =
            request.view().option_values(OptionNumber::OBSERVE).map(|value| 3 + value.len()).sum();
        prop_assert!(outer.0.len() <= request.0.len() + Context::MAX_OVERHEAD + observe);
        for (number, _) in outer.view().options() {
            let visible = class(number) != Class::E || number == OptionNumber::OBSERVE;
            prop_assert!(visible, "{:?} is visible", number);
        }
        let mut scratch = vec![0; outer.0.len()];
        let reopened = client.reopen_request(&at_client, outer.view(), &mut scratch).unwrap();
        prop_assert_eq!(reopened.as_bytes(), &request.0);
        let mut scratch = vec![0xff; outer.0.len() + 40];
        let (inner, at_server) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
        prop_assert_eq!(inner.as_bytes(), &request.0);

        for response in responses {
            let outer =
                sealed(|out| server.protect_response(&at_server, response.view(), out)).unwrap();
            let mut scratch = vec![0; outer.0.len()];
            let opened = client.unprotect_response(&mut at_client, outer.view(), &mut scratch);
            if response.has(OptionNumber::OBSERVE) && !request.has(OptionNumber::OBSERVE) {
                prop_assert_eq!(opened.unwrap_err(), UnprotectError::Malformed);
            } else {
                prop_assert_eq!(without_observe(opened.unwrap()), without_observe(response.view()));
            }
        }
    }

    /// Any one bit flipped in the OSCORE option or the payload, and the message is refused.
    #[test]
    fn every_protected_bit_counts(request in request(), response in response(), at in any::<prop::sample::Index>()) {
        let (mut client, mut server) = pair();
        let (outer, mut at_client) =
            written(|out| client.protect_request(request.view(), out)).unwrap();
        let mut flipped = outer.clone();
        flip(&mut flipped, at);
        if let Ok(message) = Message::parse(&flipped.0) {
            let mut scratch = vec![0; outer.0.len()];
            prop_assert!(server.unprotect_request(message, &mut scratch).is_err());
            prop_assert!(client.reopen_request(&at_client, message, &mut scratch).is_err() || same_payload(&outer, message));
        }
        let mut scratch = vec![0; outer.0.len()];
        let (_, at_server) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
        let outer =
            sealed(|out| server.protect_notification(&at_server, response.view(), out)).unwrap();
        let mut flipped = outer.clone();
        flip(&mut flipped, at);
        if let Ok(message) = Message::parse(&flipped.0) {
            let mut scratch = vec![0; outer.0.len()];
            prop_assert!(client.unprotect_response(&mut at_client, message, &mut scratch).is_err());
        }
    }

    /// Requests in any order are accepted once each if they stay within the window.
    #[test]
    fn reordered_requests_are_accepted_once(
        order in Just((0..60).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0_usize..60, 20),
    ) {
        let (mut client, mut server) = pair();
        let get = Owned::new(Code::GET, &[], b"");
        let sent: Vec<_> = order
            .iter()
            .map(|_| written(|out| client.protect_request(get.view(), out)).unwrap().0)
            .collect();
        let mut scratch = [0; 64];
        for at in order {
            prop_assert!(server.unprotect_request(sent[at].view(), &mut scratch).is_ok());
        }
        for at in again {
            let replayed = server.unprotect_request(sent[at].view(), &mut scratch);
            prop_assert_eq!(replayed.unwrap_err(), UnprotectError::Replay);
        }
    }

    /// Any message at all, in any role.
    #[test]
    fn nothing_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        message in request(),
        oscore in prop::collection::vec(any::<u8>(), 0..12),
        room in 0_usize..200,
    ) {
        let (mut client, mut server) = pair();
        let (mut out, mut scratch) = (vec![0; room], vec![0; room]);
        let with_option = message.with(OptionNumber::OSCORE, &oscore).with(OptionNumber::PROXY_URI, &bytes);
        for message in [Message::parse(&bytes).ok(), Some(message.view()), Some(with_option.view())].into_iter().flatten() {
            let _ = client.protect_request(message, &mut out);
            let _ = server.unprotect_request(message, &mut scratch).is_ok();
            let mut binding = written(|out| client.protect_request(Owned::new(Code::GET, &[], b"").view(), out)).unwrap().1;
            let _ = client.unprotect_response(&mut binding, message, &mut scratch).is_ok();
            let _ = client.reopen_request(&binding, message, &mut scratch).is_ok();
            let _ = server.protect_response(&binding, message, &mut out);
            let _ = server.protect_notification(&binding, message, &mut out);
        }
    }

    /// A Proxy-Uri is either refused or leaves only its origin outside.
    #[test]
    fn proxy_uris_hide_what_they_are_for(uri in "coaps?://[a-z.:0-9]{0,12}(/[a-z%/]{0,9})?(\\?[a-z%&=]{0,9})?") {
        let (mut client, mut server) = pair();
        let request = Owned::new(Code::GET, &[(OptionNumber::PROXY_URI, uri.as_bytes())], b"");
        match written(|out| client.protect_request(request.view(), out)) {
            Err(error) => prop_assert_eq!(error, ProtectError::ProxyUri),
            Ok((outer, _)) => {
                let origin = outer.view().option(OptionNumber::PROXY_URI).unwrap();
                prop_assert!(uri.as_bytes().starts_with(origin));
                let authority = origin.iter().position(|byte| *byte == b':').unwrap() + 3;
                prop_assert!(!origin[authority..].iter().any(|byte| matches!(byte, b'/' | b'?')));
                let mut scratch = vec![0; outer.0.len()];
                prop_assert!(server.unprotect_request(outer.view(), &mut scratch).is_ok());
            }
        }
    }
}

/// Flips a bit somewhere in the OSCORE option's value or the payload.
fn flip(message: &mut Owned, at: prop::sample::Index) {
    let view = message.view();
    let start = view.as_bytes().as_ptr() as usize;
    let value = view.option(OptionNumber::OSCORE).unwrap_or_default();
    let value_at = value.as_ptr() as usize - start;
    let payload_at = view.as_bytes().len() - view.payload().len();
    let places: Vec<_> =
        (value_at..value_at + value.len()).chain(payload_at..view.as_bytes().len()).collect();
    let bit = at.index(places.len() * 8);
    message.0[places[bit / 8]] ^= 1 << (bit % 8);
}

fn same_payload(outer: &Owned, message: Message<'_>) -> bool {
    outer.view().payload() == message.payload()
}
