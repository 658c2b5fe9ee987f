//! Requests of the other side's and this side's responses (RFC 7252 section 5.2), and what may go to
//! an address that is not verified (RFC 9175 section 2.4).

use super::{Side, empty, get_temperature, message, token, view};
use capmesh_coap::endpoint::{Config, RespondError};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Kind};
use std::time::Duration;

#[test]
fn a_request_that_takes_time_is_acknowledged_and_answered_separately() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::Confirmable, 0x7d38, token(&[0x53]));
    let got = side.receive(&request).unwrap();
    assert_eq!(side.next(), Some(500));
    side.wait();
    assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 0x7d38));
    // A duplicate is acknowledged again.
    assert!(side.receive(&request).is_none());
    assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 0x7d38));
    side.pass(Duration::from_secs(20));
    side.respond(got.responder(), b"22.3 C");
    let response = side.sent_one();
    let sent = view(&response);
    assert_eq!((sent.kind(), sent.code()), (Kind::Confirmable, Code::CONTENT));
    assert_eq!((sent.token(), sent.payload()), (token(&[0x53]), &b"22.3 C"[..]));
    // It is retransmitted until it is acknowledged.
    side.wait();
    assert_eq!(side.sent_one(), response);
    side.receive(&empty(Kind::Acknowledgement, sent.id()));
    assert!(side.is_idle());
    assert!(side.receive(&request).is_none());
    assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 0x7d38));
}

#[test]
fn a_duplicate_before_the_answer_is_acknowledged_at_once() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::Confirmable, 1, token(&[1]));
    let got = side.receive(&request).unwrap();
    side.pass(Duration::from_millis(100));
    assert!(side.receive(&request).is_none());
    assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 1));
    side.respond(got.responder(), b"x");
    assert_eq!(view(&side.sent_one()).kind(), Kind::Confirmable);
}

#[test]
fn a_separate_response_that_is_reset_or_never_acknowledged_is_dropped() {
    for reset in [true, false] {
        let mut side = Side::plain();
        let got = side.receive(&get_temperature(Kind::Confirmable, 1, token(&[1]))).unwrap();
        side.wait();
        side.sent_one();
        side.respond(got.responder(), b"x");
        let response = side.sent_one();
        if reset {
            side.receive(&empty(Kind::Reset, view(&response).id()));
        } else {
            for _ in 0..4 {
                side.wait();
                side.sent_one();
            }
            side.wait();
            assert!(side.sent().is_empty());
            assert_eq!(side.core.stats().timeouts, 1);
        }
        assert!(side.is_idle());
    }
}

#[test]
fn a_responder_is_good_for_one_response() {
    let mut side = Side::plain();
    let got = side.receive(&get_temperature(Kind::Confirmable, 1, token(&[1]))).unwrap();
    side.respond(got.responder(), b"x");
    let again = side.core.respond(side.now, got.responder(), Code::CONTENT, |_| Ok(()));
    assert_eq!(again, Err(RespondError::Gone));
}

#[test]
fn a_response_that_does_not_fit_can_be_replaced() {
    let mut side = Side::plain();
    let got = side.receive(&get_temperature(Kind::Confirmable, 1, token(&[1]))).unwrap();
    let now = side.now;
    let long = side
        .core
        .respond(now, got.responder(), Code::CONTENT, |writer| writer.payload(&[0; 300]).map(drop));
    assert_eq!(long, Err(RespondError::Overflow));
    let code = side.core.respond(now, got.responder(), Code::GET, |_| Ok(()));
    assert_eq!(code, Err(RespondError::Code));
    side.core.respond(now, got.responder(), Code::INTERNAL_SERVER_ERROR, |_| Ok(())).unwrap();
    assert_eq!(view(&side.sent_one()).code(), Code::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_request_that_is_ignored_is_acknowledged_if_it_is_confirmable() {
    for (kind, acknowledgements) in [(Kind::Confirmable, 1), (Kind::NonConfirmable, 0)] {
        let mut side = Side::plain();
        let got = side.receive(&get_temperature(kind, 1, token(&[1]))).unwrap();
        side.core.ignore(side.now, got.responder());
        assert_eq!(side.sent().len(), acknowledgements);
        assert!(side.is_idle());
        assert!(side.receive(&get_temperature(kind, 1, token(&[1]))).is_none());
        assert_eq!(side.sent().len(), acknowledgements);
    }
}

#[test]
fn a_request_that_is_rejected_is_reset() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::Confirmable, 0x1234, token(&[1]));
    let got = side.receive(&request).unwrap();
    side.core.reject(got.responder());
    assert_eq!(side.sent_one(), empty(Kind::Reset, 0x1234));
    assert!(side.is_idle());
}

#[test]
fn a_request_left_unanswered_is_given_up() {
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let mut side = Side::plain();
        let got = side.receive(&get_temperature(kind, 1, token(&[1]))).unwrap();
        while side.core.poll_timeout().is_some() {
            side.wait();
            side.sent();
        }
        assert_eq!(side.now.as_micros(), 121_000_000);
        assert_eq!(side.core.stats().unanswered, 1);
        let late = side.core.respond(side.now, got.responder(), Code::CONTENT, |_| Ok(()));
        assert_eq!(late, Err(RespondError::Gone));
    }
}

#[test]
fn a_response_of_a_class_that_is_not_wanted_is_not_sent() {
    // RFC 7967 section 2.1: 2 is 2.xx, 8 is 4.xx, 16 is 5.xx.
    let ask = |kind, unwanted| {
        message(kind, Code::PUT, 1, token(&[1]), |writer| {
            writer.option_uint(OptionNumber::NO_RESPONSE, unwanted).map(drop)
        })
    };
    for (unwanted, code, is_sent) in [
        (2, Code::CHANGED, false),
        (2, Code::NOT_FOUND, true),
        (8, Code::NOT_FOUND, false),
        (8, Code::CHANGED, true),
        (16, Code::BAD_GATEWAY, false),
        (16, Code::NOT_FOUND, true),
        (26, Code::CHANGED, false),
        (0, Code::CHANGED, true),
    ] {
        let mut side = Side::plain();
        let got = side.receive(&ask(Kind::NonConfirmable, unwanted)).unwrap();
        side.core.respond(side.now, got.responder(), code, |_| Ok(())).unwrap();
        assert_eq!(side.sent().len(), usize::from(is_sent), "{unwanted} {code}");
        assert!(side.is_idle());

        let mut side = Side::plain();
        let got = side.receive(&ask(Kind::Confirmable, unwanted)).unwrap();
        side.core.respond(side.now, got.responder(), code, |_| Ok(())).unwrap();
        let expected = if is_sent { code } else { Code::EMPTY };
        assert_eq!(view(&side.sent_one()).code(), expected);
    }
}

#[test]
fn little_goes_to_an_address_that_is_not_verified() {
    let fill = |len: usize| {
        move |writer: &mut capmesh_coap::MessageWriter<'_>| {
            writer.payload(&[0; 256][..len]).map(drop)
        }
    };
    let mut side = Side::plain();
    let short = get_temperature(Kind::Confirmable, 1, token(&[1]));
    let got = side.receive(&short).unwrap();
    // 136 bytes are harmless: 4 of header, 1 of token, 1 of marker and 130.
    let now = side.now;
    let refused = side.core.respond(now, got.responder(), Code::CONTENT, fill(131));
    assert_eq!(refused, Err(RespondError::Unverified));
    assert_eq!(side.core.stats().withheld, 1);
    side.core.respond(now, got.responder(), Code::CONTENT, fill(130)).unwrap();
    assert_eq!(side.sent_one().len(), 136);

    // Three times the request's bytes.
    let long = message(Kind::Confirmable, Code::POST, 2, token(&[1]), fill(60));
    let got = side.receive(&long).unwrap();
    let refused = side.core.respond(now, got.responder(), Code::CONTENT, fill(3 * 66 - 5));
    assert_eq!(refused, Err(RespondError::Unverified));
    side.core.respond(now, got.responder(), Code::CONTENT, fill(3 * 66 - 6)).unwrap();
    assert_eq!(side.sent_one().len(), 3 * 66);

    // With proof of the address, or without a limit, everything goes.
    let got = side.receive(&get_temperature(Kind::Confirmable, 3, token(&[1]))).unwrap();
    side.core.mark_verified(got.responder());
    side.core.respond(now, got.responder(), Code::CONTENT, fill(200)).unwrap();
    assert_eq!(side.sent_one().len(), 206);
    let mut side = Side::new(Config { amplification: 0, ..Config::default() }, Plain);
    let got = side.receive(&short).unwrap();
    side.core.respond(now, got.responder(), Code::CONTENT, fill(200)).unwrap();
    assert_eq!(side.sent_one().len(), 206);
}

#[test]
fn retransmissions_to_an_address_that_is_not_verified_count() {
    let mut side = Side::plain();
    let got = side.receive(&get_temperature(Kind::Confirmable, 1, token(&[1]))).unwrap();
    side.wait();
    side.sent_one();
    side.respond(got.responder(), &[0; 54]);
    // 60 bytes: twice is within 136, the third time is not.
    assert_eq!(side.sent_one().len(), 60);
    side.wait();
    side.sent_one();
    for _ in 0..3 {
        side.wait();
        assert!(side.sent().is_empty());
    }
    assert_eq!(side.core.stats().withheld, 3);
    side.wait();
    assert!(side.is_idle());
}
