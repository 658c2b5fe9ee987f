//! Requests to a group (RFC 7252 section 8), in both roles.

use super::{Side, get_temperature, message, peer, response_to, stranger, token, view};
use capmesh_coap::endpoint::{Outcome, Reliability, RequestError, Via};
use capmesh_coap::{Code, Kind, Token};
use std::net::SocketAddr;
use std::time::Duration;

fn group() -> SocketAddr {
    "[ff02::fd]:5683".parse().unwrap()
}

#[test]
fn a_response_to_a_group_request_goes_out_at_leisure() {
    let mut moments = Vec::new();
    let mut side = Side::plain();
    for id in 1..=3 {
        let request = get_temperature(Kind::NonConfirmable, id, token(&[id as u8]));
        let got = side.receive_from(peer(), Via::Multicast, &request).unwrap();
        side.respond(got.responder(), b"22.3 C");
    }
    assert!(side.sent().is_empty());
    for _ in 0..3 {
        side.wait();
        let response = side.sent_one();
        assert_eq!(view(&response).kind(), Kind::NonConfirmable);
        moments.push(side.now.as_micros());
    }
    moments.dedup();
    assert_eq!(moments.len(), 3);
    assert!(moments.iter().all(|at| (1_000_000..6_000_000).contains(at)));
    assert!(side.is_idle());
}

#[test]
fn a_group_request_without_an_answer_leaves_no_trace_on_the_link() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::NonConfirmable, 1, token(&[1]));
    let got = side.receive_from(peer(), Via::Multicast, &request).unwrap();
    side.core.ignore(side.now, got.responder());
    assert!(side.is_idle());
    let got = side.receive_from(stranger(1), Via::Multicast, &request).unwrap();
    side.core.reject(got.responder());
    assert!(side.is_idle());
}

#[test]
fn nothing_but_a_non_confirmable_request_is_taken_from_a_group() {
    let mut side = Side::plain();
    let datagrams = [
        get_temperature(Kind::Confirmable, 1, token(&[1])),
        vec![0x40, 0, 0, 1],
        vec![0x4f, 0, 0, 1],
        message(Kind::Confirmable, Code::CONTENT, 1, token(&[1]), |_| Ok(())),
        message(Kind::NonConfirmable, Code::CONTENT, 1, token(&[1]), |_| Ok(())),
        vec![0x60, 0, 0, 1],
        vec![0x70, 0, 0, 1],
    ];
    for datagram in &datagrams {
        assert!(side.receive_from(peer(), Via::Multicast, datagram).is_none());
        assert!(side.is_idle());
    }
    assert_eq!(side.core.stats().malformed as usize, datagrams.len());
}

#[test]
fn a_request_to_a_group_has_many_responses_until_its_time_is_over() {
    let mut side = Side::plain();
    let exchange = side.request(group(), Reliability::NonConfirmable, |_| Ok(()));
    let sent = side.sent_to();
    assert_eq!(sent[0].0, group());
    let request = &sent[0].1;
    for n in 0..3 {
        let response = response_to(request, Kind::NonConfirmable, n);
        let got = side.receive_from(stranger(n), Via::Unicast, &response).unwrap();
        assert_eq!(got.answers, Some((exchange, false)));
        assert_eq!(got.peer, stranger(n));
        // A duplicate is no second response.
        assert!(side.receive_from(stranger(n), Via::Unicast, &response).is_none());
    }
    side.pass(Duration::from_millis(9_999));
    assert!(side.sent().is_empty());
    side.wait();
    assert_eq!(side.outcomes(), [Outcome::Finished { exchange }]);
    assert!(side.is_idle());
    let late = response_to(request, Kind::NonConfirmable, 99);
    assert!(side.receive_from(stranger(0), Via::Unicast, &late).is_none());
}

#[test]
fn a_group_does_not_stand_in_the_way_and_is_not_asked_confirmably() {
    let mut side = Side::plain();
    let now = side.now;
    let refused = side.core.request(now, group(), Reliability::Confirmable, Code::GET, |_| Ok(()));
    assert_eq!(refused, Err(RequestError::ConfirmableMulticast));
    for _ in 0..3 {
        side.request(group(), Reliability::NonConfirmable, |_| Ok(()));
    }
    assert_eq!(side.sent().len(), 3);
}

#[test]
fn a_response_at_leisure_needs_a_slot() {
    let mut side = Side::plain();
    for port in 0..4 {
        side.request(stranger(port), Reliability::Confirmable, |_| Ok(()));
    }
    side.sent();
    let request = message(Kind::NonConfirmable, Code::GET, 1, Token::EMPTY, |_| Ok(()));
    let got = side.receive_from(peer(), Via::Multicast, &request).unwrap();
    side.respond(got.responder(), b"x");
    assert_eq!(side.core.stats().no_room, 1);
}
