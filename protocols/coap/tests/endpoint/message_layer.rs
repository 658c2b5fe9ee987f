//! RFC 7252 section 4.

use super::{Side, empty, get_temperature, message, peer, response_to, stranger, token, view};
use capmesh_coap::endpoint::{Config, Failure, Outcome, Reliability, RequestError, Via};
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Kind, Token};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_confirmable_request_is_retransmitted_with_doubling_timeouts_and_given_up() {
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let first = side.sent_one();
    assert_eq!(view(&first).kind(), Kind::Confirmable);
    let timeout = side.next().unwrap();
    assert!((2000..3000).contains(&timeout), "{timeout} ms");
    for doubled in 1..=4 {
        side.wait();
        assert_eq!(side.sent_one(), first);
        let next = side.next().unwrap();
        assert!(next.abs_diff(timeout << doubled) <= 16, "{next} ms after {timeout} ms");
    }
    side.wait();
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason: Failure::Timeout }]);
    assert!(side.is_idle());
    let stats = side.core.stats();
    assert_eq!((stats.transmitted, stats.retransmitted, stats.timeouts), (5, 4, 1));
}

#[test]
fn timeouts_have_jitter_and_ids_and_tokens_differ() {
    let config = Config { nstart: 4, ..Config::default() };
    let mut side = Side::new(config, Plain);
    for _ in 0..4 {
        side.get(peer(), "x");
    }
    let sent = side.sent();
    let ids: Vec<_> = sent.iter().map(|datagram| view(datagram).id()).collect();
    assert_eq!(ids, [ids[0], ids[0] + 1, ids[0] + 2, ids[0] + 3]);
    let mut tokens: Vec<_> = sent.iter().map(|datagram| view(datagram).token()).collect();
    assert!(tokens.iter().all(|token| token.as_bytes().len() == 5));
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    let mut timeouts = Vec::new();
    for _ in 0..4 {
        side.wait();
        timeouts.push(side.now);
        side.sent_one();
    }
    timeouts.dedup();
    assert_eq!(timeouts.len(), 4);
}

#[test]
fn an_acknowledgement_ends_retransmission_but_only_from_where_it_went() {
    let mut side = Side::plain();
    let exchange = side.get(peer(), "temperature");
    let request = side.sent_one();
    let acknowledgement = empty(Kind::Acknowledgement, view(&request).id());
    assert!(side.receive_from(stranger(0), Via::Unicast, &acknowledgement).is_none());
    assert!(side.receive(&empty(Kind::Acknowledgement, view(&request).id() ^ 1)).is_none());
    assert_eq!(side.core.stats().unmatched, 2);
    assert!(side.next().unwrap() < 3000);
    side.receive(&acknowledgement);
    assert_eq!(side.next(), Some(150_000));
    // Twice is once.
    side.receive(&acknowledgement);
    side.wait();
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason: Failure::NoResponse }]);
    assert!(side.is_idle());
}

#[test]
fn a_reset_ends_the_exchange() {
    for reliability in [Reliability::Confirmable, Reliability::NonConfirmable] {
        let mut side = Side::plain();
        let exchange = side.request(peer(), reliability, |_| Ok(()));
        let request = side.sent_one();
        side.receive(&empty(Kind::Reset, view(&request).id()));
        assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason: Failure::Reset }]);
        assert!(side.is_idle());
    }
}

#[test]
fn one_interaction_at_a_time_with_each_address() {
    let mut side = Side::plain();
    let first = side.get(peer(), "a");
    side.get(peer(), "b");
    side.get(stranger(0), "c");
    let sent = side.sent_to();
    let to: Vec<_> = sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [peer(), stranger(0)]);
    // Acknowledged, the first is no longer outstanding: the second takes its turn.
    side.receive(&empty(Kind::Acknowledgement, view(&sent[0].1).id()));
    let second = side.sent_one();
    assert_eq!(view(&second).option(capmesh_coap::option::OptionNumber::URI_PATH), Some(&b"b"[..]));
    assert!(side.core.cancel(side.now, first));
    assert!(!side.core.cancel(side.now, first));
}

#[test]
fn those_who_wait_go_in_order_and_can_be_cancelled() {
    let mut side = Side::plain();
    let exchanges = ["a", "b", "c", "d"].map(|path| side.get(peer(), path));
    let full = side.core.request(side.now, peer(), Reliability::Confirmable, Code::GET, |_| Ok(()));
    assert_eq!(full, Err(RequestError::Full));
    let mut request = side.sent_one();
    assert!(side.core.cancel(side.now, exchanges[1]));
    for path in ["c", "d"] {
        let got = side.receive(&response_to(&request, Kind::Acknowledgement, view(&request).id()));
        assert!(got.unwrap().answers.unwrap().1);
        request = side.sent_one();
        let sent = view(&request);
        assert_eq!(
            sent.option(capmesh_coap::option::OptionNumber::URI_PATH),
            Some(path.as_bytes())
        );
    }
}

#[test]
fn a_non_confirmable_request_is_sent_once_and_gives_way_after_a_while() {
    let mut side = Side::plain();
    let first = side.request(peer(), Reliability::NonConfirmable, |_| Ok(()));
    side.request(peer(), Reliability::NonConfirmable, |_| Ok(()));
    let request = side.sent_one();
    assert_eq!(view(&request).kind(), Kind::NonConfirmable);
    let waited = side.next().unwrap();
    assert!((2000..3000).contains(&waited));
    side.wait();
    let second = side.sent_one();
    assert_ne!(view(&second).id(), view(&request).id());
    let got = side.receive(&response_to(&request, Kind::NonConfirmable, 9)).unwrap();
    assert_eq!(got.answers, Some((first, true)));
}

#[test]
fn a_ping_is_answered_with_a_reset() {
    let mut side = Side::plain();
    assert!(side.receive(&empty(Kind::Confirmable, 0x1234)).is_none());
    assert_eq!(side.sent_one(), [0x70, 0, 0x12, 0x34]);
    let exchange = side.core.ping(side.now, peer()).unwrap();
    let ping = side.sent_one();
    assert_eq!((ping.len(), ping[0], ping[1]), (4, 0x40, 0));
    side.receive(&empty(Kind::Reset, view(&ping).id()));
    assert_eq!(side.outcomes(), [Outcome::Finished { exchange }]);
    let lost = side.core.ping(side.now, peer()).unwrap();
    for _ in 0..5 {
        side.sent_one();
        side.wait();
    }
    let reason = Failure::Timeout;
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange: lost, reason }]);
    let group = SocketAddr::from(([224, 0, 1, 187], 5683));
    assert_eq!(side.core.ping(side.now, group), Err(RequestError::ConfirmableMulticast));
}

#[test]
fn what_makes_no_sense_is_rejected_by_its_type() {
    let reset = vec![vec![0x70, 0, 0x12, 0x34]];
    let silence = Vec::<Vec<u8>>::new();
    let cases: [(&[u8], &Vec<Vec<u8>>); 14] = [
        // Malformed: a confirmable message is reset, everything else ignored (4.2, 4.3).
        (&[0x4f, 1, 0x12, 0x34], &reset),
        (&[0x40, 1, 0x12, 0x34, 0xff], &reset),
        (&[0x40, 1, 0x12, 0x34, 0xf0], &reset),
        (&[0x40, 0, 0x12, 0x34, 0], &reset),
        (&[0x40, 0x20, 0x12, 0x34], &reset),
        (&[0x40, 0xe1, 0x12, 0x34], &reset),
        (&[0x5f, 1, 0x12, 0x34], &silence),
        (&[0x60, 0, 0x12, 0x34, 0], &silence),
        // Another version, and less than a header (3).
        (&[0x80, 1, 0x12, 0x34], &silence),
        (&[0x40, 1, 0x12], &silence),
        // An empty non-confirmable message, an acknowledgement with a request, a reset that is not
        // empty.
        (&[0x50, 0, 0x12, 0x34], &silence),
        (&[0x60, 1, 0x12, 0x34], &silence),
        (&[0x70, 1, 0x12, 0x34], &silence),
        (&[0x70, 0x45, 0x12, 0x34], &silence),
    ];
    for (count, (datagram, answer)) in (1..).zip(cases) {
        let mut side = Side::plain();
        assert!(side.receive(datagram).is_none());
        assert_eq!(&side.sent(), answer, "{datagram:02x?}");
        assert_eq!(side.core.stats().malformed, 1, "case {count}");
    }
}

#[test]
fn a_response_to_nothing_is_reset() {
    let mut side = Side::plain();
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let response = message(kind, Code::CONTENT, 0x1234, token(&[1; 5]), |_| Ok(()));
        assert!(side.receive(&response).is_none());
        assert_eq!(side.sent_one(), [0x70, 0, 0x12, 0x34]);
    }
    let response = message(Kind::Acknowledgement, Code::CONTENT, 1, token(&[1; 5]), |_| Ok(()));
    assert!(side.receive(&response).is_none());
    assert!(side.is_idle());
    assert_eq!(side.core.stats().unmatched, 3);
}

#[test]
fn a_duplicate_of_a_request_gets_the_same_bytes_again_and_the_application_nothing() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::Confirmable, 0x7d34, token(&[0x20]));
    let got = side.receive(&request).unwrap();
    side.respond(got.responder(), b"22.3 C");
    // Figure 16 of RFC 7252, with a token.
    let reply = side.sent_one();
    assert_eq!(reply, [&[0x61, 0x45, 0x7d, 0x34, 0x20, 0xff][..], b"22.3 C"].concat());
    for _ in 0..3 {
        side.pass(Duration::from_secs(60));
        assert!(side.receive(&request).is_none());
        assert_eq!(side.sent_one(), reply);
    }
    assert_eq!(side.core.stats().duplicates, 3);
    // EXCHANGE_LIFETIME is 247 s.
    side.pass(Duration::from_secs(66));
    assert!(side.receive(&request).is_none());
    side.sent();
    side.pass(Duration::from_secs(1));
    assert!(side.receive(&request).is_some());
}

#[test]
fn the_same_id_from_elsewhere_or_with_another_token_is_another_message() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::Confirmable, 1, token(&[1]));
    assert!(side.receive(&request).is_some());
    assert!(side.receive_from(stranger(0), Via::Unicast, &request).is_some());
    assert!(side.receive(&get_temperature(Kind::Confirmable, 1, token(&[2]))).is_some());
}

#[test]
fn a_duplicate_of_a_non_confirmable_request_is_ignored() {
    let mut side = Side::plain();
    let request = get_temperature(Kind::NonConfirmable, 1, token(&[1]));
    let got = side.receive(&request).unwrap();
    side.respond(got.responder(), b"22.3 C");
    let reply = side.sent_one();
    assert_eq!(view(&reply).kind(), Kind::NonConfirmable);
    assert_eq!(view(&reply).token(), token(&[1]));
    assert!(side.receive(&request).is_none());
    assert!(side.is_idle());
    // NON_LIFETIME is 145 s.
    side.pass(Duration::from_secs(145));
    assert!(side.receive(&request).is_some());
}

#[test]
fn replies_that_are_not_polled_are_dropped_and_counted() {
    let mut side = Side::plain();
    for id in 0..20 {
        side.receive(&empty(Kind::Confirmable, id));
    }
    assert_eq!(side.sent().len(), 8);
    assert_eq!(side.core.stats().not_polled, 12);
}

#[test]
fn a_datagram_longer_than_the_bound_is_dropped() {
    let mut side = Side::plain();
    let long = message(Kind::Confirmable, Code::POST, 1, Token::EMPTY, |writer| {
        writer.payload(&[0; 252]).map(drop)
    });
    assert_eq!(long.len(), 257);
    assert!(side.receive(&long).is_none());
    assert_eq!(side.core.stats().malformed, 1);
    assert!(side.is_idle());
}
