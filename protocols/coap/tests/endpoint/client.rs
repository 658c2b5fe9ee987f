//! Requests of this side's and their responses (RFC 7252 section 5.2).

use super::{Side, empty, message, peer, response_to, stranger, view};
use capmesh_coap::endpoint::{Failure, Outcome, Reliability, RequestError, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Kind, Token};
use std::time::Duration;

#[test]
fn a_piggybacked_response_ends_the_exchange() {
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let request = side.sent_one();
    let response = response_to(&request, Kind::Acknowledgement, view(&request).id());
    let got = side.receive(&response).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
    assert_eq!(got.peer, peer());
    assert_eq!(got.message().payload(), b"22.3 C");
    assert!(side.is_idle());
    // Its duplicate belongs to nothing.
    assert!(side.receive(&response).is_none());
    assert!(side.is_idle());
}

#[test]
fn a_piggybacked_response_needs_the_right_id_token_and_address() {
    let mut side = Side::plain();
    side.get(peer(), "temperature");
    let request = side.sent_one();
    let id = view(&request).id();
    assert!(side.receive(&response_to(&request, Kind::Acknowledgement, id ^ 1)).is_none());
    let mut other_token = response_to(&request, Kind::Acknowledgement, id);
    other_token[8] ^= 1;
    assert!(side.receive(&other_token).is_none());
    let response = response_to(&request, Kind::Acknowledgement, id);
    assert!(side.receive_from(stranger(0), Via::Unicast, &response).is_none());
    let stats = side.core.stats();
    assert_eq!((stats.unmatched, stats.not_authentic), (2, 1));
    assert!(side.receive(&response).is_some());
}

#[test]
fn a_separate_response_is_acknowledged_as_often_as_it_comes() {
    // Figure 18 of RFC 7252.
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let request = side.sent_one();
    side.receive(&empty(Kind::Acknowledgement, view(&request).id()));
    side.pass(Duration::from_secs(20));
    assert_eq!(side.sent(), Vec::<Vec<u8>>::new());
    let response = response_to(&request, Kind::Confirmable, 0xad7b);
    assert_eq!(side.receive(&response).unwrap().answers, Some((exchange, true)));
    assert_eq!(side.sent_one(), [0x60, 0, 0xad, 0x7b]);
    assert!(side.receive(&response).is_none());
    assert_eq!(side.sent_one(), [0x60, 0, 0xad, 0x7b]);
    assert!(side.is_idle());
}

#[test]
fn a_response_counts_as_acknowledgement() {
    // Figure 19 of RFC 7252: the empty acknowledgement is lost.
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let mut side = Side::plain();
        let exchange = side.get(peer(), "temperature");
        let request = side.sent_one();
        let got = side.receive(&response_to(&request, kind, 0x1234)).unwrap();
        assert_eq!(got.answers, Some((exchange, true)));
        assert_eq!(side.sent().len(), usize::from(kind == Kind::Confirmable));
        assert!(side.is_idle());
        // The acknowledgement comes late.
        side.receive(&empty(Kind::Acknowledgement, view(&request).id()));
        assert!(side.is_idle());
    }
}

#[test]
fn a_response_after_the_end_does_not_end_it_again() {
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let request = side.sent_one();
    // Both arrive before the application polls.
    side.receive(&empty(Kind::Reset, view(&request).id()));
    assert!(side.receive(&response_to(&request, Kind::NonConfirmable, 0x1234)).is_none());
    assert_eq!(side.sent_one(), [0x70, 0, 0x12, 0x34]);
    let reason = Failure::Reset;
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason }]);
}

#[test]
fn a_response_after_cancelling_is_reset() {
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let request = side.sent_one();
    side.receive(&empty(Kind::Acknowledgement, view(&request).id()));
    assert!(side.core.cancel(side.now, exchange));
    assert!(side.is_idle());
    assert!(side.receive(&response_to(&request, Kind::Confirmable, 0x1234)).is_none());
    assert_eq!(side.sent_one(), [0x70, 0, 0x12, 0x34]);
}

#[test]
fn a_response_with_a_critical_option_that_is_not_understood_is_rejected() {
    for (kind, resets) in
        [(Kind::Confirmable, 1), (Kind::NonConfirmable, 0), (Kind::Acknowledgement, 0)]
    {
        let mut side = Side::plain();
        let exchange = side.get(peer(), "temperature");
        let request = side.sent_one();
        let id = view(&request).id();
        let response = message(kind, Code::CONTENT, id, view(&request).token(), |writer| {
            writer.option(OptionNumber(0x7f01), b"?").map(drop)
        });
        assert!(side.receive(&response).is_none());
        let sent = side.sent();
        assert_eq!(sent.len(), resets);
        assert!(sent.iter().all(|datagram| view(datagram).kind() == Kind::Reset));
        let reason = Failure::BadOption;
        assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason }]);
    }
    // An elective one is none of the endpoint's business.
    let mut side = Side::plain();
    side.get(peer(), "temperature");
    let request = side.sent_one();
    let (id, token) = (view(&request).id(), view(&request).token());
    let response = message(Kind::Acknowledgement, Code::CONTENT, id, token, |writer| {
        writer.option(OptionNumber(0x7f00), b"?").map(drop)
    });
    assert!(side.receive(&response).is_some());
}

#[test]
fn a_request_that_wants_no_response_ends_when_it_has_arrived() {
    // RFC 7967: 2 | 8 | 16 is no interest in any response.
    let no_response = |writer: &mut capmesh_coap::MessageWriter<'_>| {
        writer.option_uint(OptionNumber::NO_RESPONSE, 26).map(drop)
    };
    let mut side = Side::plain();
    let exchange = side.request(peer(), Reliability::Confirmable, no_response);
    let request = side.sent_one();
    side.receive(&empty(Kind::Acknowledgement, view(&request).id()));
    assert_eq!(side.outcomes(), [Outcome::Finished { exchange }]);

    let mut side = Side::plain();
    let exchange = side.request(peer(), Reliability::NonConfirmable, no_response);
    side.sent_one();
    assert_eq!(side.outcomes(), [Outcome::Finished { exchange }]);
    assert!(side.is_idle());

    // Interest in errors is interest.
    let mut side = Side::plain();
    side.request(peer(), Reliability::NonConfirmable, |writer| {
        writer.option_uint(OptionNumber::NO_RESPONSE, 2).map(drop)
    });
    side.sent_one();
    assert!(!side.is_idle());
}

#[test]
fn a_plain_4_01_with_echo_is_answered_once_by_the_same_request_with_the_value() {
    let mut side = Side::plain();
    let exchange = side.request(peer(), Reliability::Confirmable, |writer| {
        writer.path("door")?;
        writer.option(OptionNumber(300), b"kept")?;
        writer.payload(b"open").map(drop)
    });
    let request = side.sent_one();
    let challenge = |request: &[u8]| {
        let (id, token) = (view(request).id(), view(request).token());
        message(Kind::Acknowledgement, Code::UNAUTHORIZED, id, token, |writer| {
            writer.option(OptionNumber::ECHO, b"fresh").map(drop)
        })
    };
    assert!(side.receive(&challenge(&request)).is_none());
    let again = side.sent_one();
    let (first, second) = (view(&request), view(&again));
    assert_ne!((first.id(), first.token()), (second.id(), second.token()));
    assert_eq!(second.option(OptionNumber::ECHO), Some(&b"fresh"[..]));
    assert_eq!(second.option(OptionNumber::URI_PATH), Some(&b"door"[..]));
    assert_eq!(second.option(OptionNumber(300)), Some(&b"kept"[..]));
    assert_eq!((second.kind(), second.payload()), (Kind::Confirmable, &b"open"[..]));
    let got = side.receive(&challenge(&again)).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
    assert_eq!(got.message().code(), Code::UNAUTHORIZED);
    assert!(side.is_idle());
}

#[test]
fn what_is_no_request_is_refused() {
    let mut side = Side::plain();
    let now = side.now;
    for code in [Code::EMPTY, Code::CONTENT] {
        let refused = side.core.request(now, peer(), Reliability::Confirmable, code, |_| Ok(()));
        assert_eq!(refused, Err(RequestError::Code));
    }
    let long = side.core.request(now, peer(), Reliability::Confirmable, Code::POST, |writer| {
        writer.payload(&[0; 256]).map(drop)
    });
    assert_eq!(long, Err(RequestError::Overflow));
    assert!(side.is_idle());
    // It took no slot.
    for _ in 0..4 {
        side.get(peer(), "x");
    }
}

#[test]
fn a_void_name_is_refused_when_its_slot_is_used_again() {
    let mut side = Side::plain();
    let old = side.get(peer(), "a");
    assert!(side.core.cancel(side.now, old));
    let new = side.get(peer(), "b");
    assert_ne!(old, new);
    assert!(!side.core.cancel(side.now, old));
    assert!(!side.core.deregister(side.now, new));
    assert!(side.core.cancel(side.now, new));
}

#[test]
fn a_response_with_an_empty_or_foreign_token_is_not_taken() {
    let mut side = Side::plain();
    side.get(peer(), "a");
    let request = side.sent_one();
    let id = view(&request).id();
    for token in [Token::EMPTY, super::token(&[0]), super::token(&[0xff; 8])] {
        let response = message(Kind::Acknowledgement, Code::CONTENT, id, token, |_| Ok(()));
        assert!(side.receive(&response).is_none());
    }
    assert_eq!(side.core.stats().unmatched, 3);
}
