//! RFC 7641, in both roles.

use super::{Side, empty, message, peer, stranger, token, view};
use capmesh_coap::endpoint::{
    Config, EndReason, ExchangeId, ObservationId, ObserveError, Outcome, Reliability, RespondError,
    Via,
};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Kind, Token};
use std::time::Duration;

fn ask(id: u16, token: Token, observe: Option<u32>) -> Vec<u8> {
    message(Kind::Confirmable, Code::GET, id, token, |writer| {
        if let Some(observe) = observe {
            writer.option_uint(OptionNumber::OBSERVE, observe)?;
        }
        writer.path("temperature").map(drop)
    })
}

fn observe_option(datagram: &[u8]) -> Option<u32> {
    view(datagram).option_uint(OptionNumber::OBSERVE)
}

/// Registers an observer and answers it.
fn registered(side: &mut Side<Plain>, id: u16, token: Token) -> ObservationId {
    let got = side.receive(&ask(id, token, Some(0))).unwrap();
    let observation = side.core.accept_observation(side.now, got.responder()).unwrap();
    side.respond(got.responder(), b"0");
    assert!(observe_option(&side.sent_one()).is_some());
    observation
}

/// A server with one observer that has acknowledged a notification.
fn observed() -> (Side<Plain>, ObservationId) {
    let mut side = Side::plain();
    let observation = registered(&mut side, 1, token(&[1]));
    notify(&mut side, observation, Reliability::Confirmable, b"1");
    let first = side.sent_one();
    side.receive(&empty(Kind::Acknowledgement, view(&first).id()));
    (side, observation)
}

fn notify(side: &mut Side<Plain>, observation: ObservationId, how: Reliability, state: &[u8]) {
    let now = side.now;
    let build = |writer: &mut capmesh_coap::MessageWriter<'_>| writer.payload(state).map(drop);
    side.core.notify(now, observation, how, Code::CONTENT, build).unwrap();
}

#[test]
fn notifications_carry_the_token_and_a_rising_number() {
    let (mut side, observation) = observed();
    let mut last = 0;
    for state in [b"2", b"3", b"4"] {
        notify(&mut side, observation, Reliability::NonConfirmable, state);
        let sent = side.sent_one();
        assert_eq!(view(&sent).kind(), Kind::NonConfirmable);
        assert_eq!((view(&sent).token(), view(&sent).payload()), (token(&[1]), &state[..]));
        let number = observe_option(&sent).unwrap();
        assert!(number > last);
        last = number;
    }
    assert!(side.is_idle());
}

#[test]
fn now_and_then_a_notification_is_confirmable() {
    let (mut side, observation) = observed();
    let mut kinds = Vec::new();
    for _ in 0..20 {
        notify(&mut side, observation, Reliability::NonConfirmable, b"x");
        let sent = side.sent_one();
        kinds.push(view(&sent).kind() == Kind::Confirmable);
        side.receive(&empty(Kind::Acknowledgement, view(&sent).id()));
    }
    let expected: Vec<_> = (1..=20).map(|n| n % 10 == 0).collect();
    assert_eq!(kinds, expected);
    // At least every 24 hours.
    notify(&mut side, observation, Reliability::NonConfirmable, b"x");
    assert_eq!(view(&side.sent_one()).kind(), Kind::NonConfirmable);
    side.pass(Duration::from_secs(24 * 60 * 60));
    notify(&mut side, observation, Reliability::NonConfirmable, b"x");
    assert_eq!(view(&side.sent_one()).kind(), Kind::Confirmable);
}

#[test]
fn a_stranger_has_to_acknowledge_before_more_is_sent() {
    let mut side = Side::plain();
    let observation = registered(&mut side, 1, token(&[1]));
    for state in [b"1", b"2", b"3"] {
        notify(&mut side, observation, Reliability::NonConfirmable, state);
    }
    let sent = side.sent_one();
    assert_eq!((view(&sent).kind(), view(&sent).payload()), (Kind::Confirmable, &b"3"[..]));
    notify(&mut side, observation, Reliability::NonConfirmable, b"4");
    assert!(side.sent().is_empty());
}

#[test]
fn a_newer_state_waits_for_the_acknowledgement_of_the_older() {
    let (mut side, observation) = observed();
    notify(&mut side, observation, Reliability::Confirmable, b"2");
    let older = side.sent_one();
    notify(&mut side, observation, Reliability::NonConfirmable, b"3");
    notify(&mut side, observation, Reliability::NonConfirmable, b"4");
    assert!(side.sent().is_empty());
    side.receive(&empty(Kind::Acknowledgement, view(&older).id()));
    let newer = side.sent_one();
    assert_eq!((view(&newer).kind(), view(&newer).payload()), (Kind::Confirmable, &b"4"[..]));
    assert_ne!(view(&newer).id(), view(&older).id());
    // The older one's acknowledgement says nothing about the newer one.
    side.receive(&empty(Kind::Acknowledgement, view(&older).id()));
    assert!(!side.is_idle());
    side.receive(&empty(Kind::Acknowledgement, view(&newer).id()));
    assert!(side.is_idle());
}

#[test]
fn a_newer_state_takes_the_place_of_a_retransmission_and_its_count() {
    // RFC 7641 section 4.5.2.
    let (mut side, observation) = observed();
    notify(&mut side, observation, Reliability::Confirmable, b"2");
    let older = side.sent_one();
    notify(&mut side, observation, Reliability::NonConfirmable, b"3");
    side.wait();
    let newer = side.sent_one();
    assert_eq!(view(&newer).payload(), b"3");
    assert_ne!(view(&newer).id(), view(&older).id());
    for _ in 0..3 {
        side.wait();
        assert_eq!(side.sent_one(), newer);
    }
    side.wait();
    let reason = EndReason::Timeout;
    assert_eq!(side.outcomes(), [Outcome::ObservationEnded { observation, reason }]);
    let gone =
        side.core
            .notify(side.now, observation, Reliability::NonConfirmable, Code::CONTENT, |_| Ok(()));
    assert_eq!(gone, Err(RespondError::Gone));
    assert!(side.is_idle());
}

#[test]
fn a_reset_ends_the_observation() {
    for how in [Reliability::Confirmable, Reliability::NonConfirmable] {
        let (mut side, observation) = observed();
        notify(&mut side, observation, how, b"2");
        let sent = side.sent_one();
        let elsewhere = empty(Kind::Reset, view(&sent).id());
        side.receive_from(stranger(0), Via::Unicast, &elsewhere);
        assert_eq!(side.outcomes(), []);
        side.receive(&empty(Kind::Reset, view(&sent).id()));
        let reason = EndReason::Reset;
        assert_eq!(side.outcomes(), [Outcome::ObservationEnded { observation, reason }]);
        assert!(side.is_idle());
    }
}

#[test]
fn asking_with_observe_1_or_with_the_token_ends_the_observation() {
    for (observe, reason) in [(Some(1), EndReason::Deregistered), (None, EndReason::TokenReused)] {
        let (mut side, observation) = observed();
        // While a notification is out, too.
        notify(&mut side, observation, Reliability::Confirmable, b"2");
        side.sent_one();
        let got = side.receive(&ask(2, token(&[1]), observe)).unwrap();
        assert_eq!(side.outcomes(), [Outcome::ObservationEnded { observation, reason }]);
        side.respond(got.responder(), b"3");
        assert_eq!(observe_option(&side.sent_one()), None);
        assert!(side.is_idle());
    }
    // Another token, or another client's, has nothing to do with it.
    let (mut side, _) = observed();
    let got = side.receive(&ask(2, token(&[2]), Some(1))).unwrap();
    side.core.ignore(side.now, got.responder());
    let same_token = ask(2, token(&[1]), Some(1));
    side.receive_from(stranger(0), Via::Unicast, &same_token).unwrap();
    side.sent();
    assert_eq!(side.outcomes(), []);
}

#[test]
fn registering_again_renews_the_observation() {
    let (mut side, observation) = observed();
    let before = observe_option(&{
        notify(&mut side, observation, Reliability::NonConfirmable, b"2");
        side.sent_one()
    });
    let got = side.receive(&ask(2, token(&[1]), Some(0))).unwrap();
    assert_eq!(side.core.accept_observation(side.now, got.responder()), Ok(observation));
    side.respond(got.responder(), b"3");
    assert!(observe_option(&side.sent_one()) > before);
    assert_eq!(side.outcomes(), []);
}

#[test]
fn an_error_ends_the_observation_with_its_last_notification() {
    for how in [Reliability::Confirmable, Reliability::NonConfirmable] {
        for outstanding in [false, true] {
            let (mut side, observation) = observed();
            if outstanding {
                notify(&mut side, observation, Reliability::Confirmable, b"2");
                let sent = side.sent_one();
                side.core.notify(side.now, observation, how, Code::NOT_FOUND, |_| Ok(())).unwrap();
                assert!(side.sent().is_empty());
                side.receive(&empty(Kind::Acknowledgement, view(&sent).id()));
            } else {
                side.core.notify(side.now, observation, how, Code::NOT_FOUND, |_| Ok(())).unwrap();
            }
            let last = side.sent_one();
            assert_eq!((view(&last).code(), observe_option(&last)), (Code::NOT_FOUND, None));
            side.receive(&empty(Kind::Acknowledgement, view(&last).id()));
            assert!(side.is_idle());
            let gone = side.core.notify(side.now, observation, how, Code::CONTENT, |_| Ok(()));
            assert_eq!(gone, Err(RespondError::Gone));
        }
    }
    // So does a first response that is an error.
    let mut side = Side::plain();
    let got = side.receive(&ask(1, token(&[1]), Some(0))).unwrap();
    let observation = side.core.accept_observation(side.now, got.responder()).unwrap();
    side.core.respond(side.now, got.responder(), Code::NOT_FOUND, |_| Ok(())).unwrap();
    assert_eq!(observe_option(&side.sent_one()), None);
    let gone = side.core.notify(
        side.now,
        observation,
        Reliability::Confirmable,
        Code::CONTENT,
        |_| Ok(()),
    );
    assert_eq!(gone, Err(RespondError::Gone));
}

#[test]
fn observers_are_bounded_and_only_those_who_ask_are_accepted() {
    let mut side = Side::plain();
    for n in 1..=3 {
        registered(&mut side, n, token(&[n as u8]));
    }
    let got = side.receive(&ask(4, token(&[4]), Some(0))).unwrap();
    let full = side.core.accept_observation(side.now, got.responder());
    assert_eq!(full, Err(ObserveError::Full));
    side.respond(got.responder(), b"x");
    assert_eq!(observe_option(&side.sent_one()), None);

    let got = side.receive(&ask(5, token(&[5]), None)).unwrap();
    let not_asked = side.core.accept_observation(side.now, got.responder());
    assert_eq!(not_asked, Err(ObserveError::NotAsked));
    let post = message(Kind::Confirmable, Code::POST, 6, token(&[6]), |writer| {
        writer.option_uint(OptionNumber::OBSERVE, 0).map(drop)
    });
    let got = side.receive(&post).unwrap();
    let not_asked = side.core.accept_observation(side.now, got.responder());
    assert_eq!(not_asked, Err(ObserveError::NotAsked));
}

#[test]
fn without_a_slot_a_notification_is_not_confirmable() {
    let (mut side, observation) = observed();
    for port in 0..4 {
        side.request(stranger(port), Reliability::Confirmable, |_| Ok(()));
    }
    side.sent();
    notify(&mut side, observation, Reliability::Confirmable, b"2");
    assert_eq!(view(&side.sent_one()).kind(), Kind::NonConfirmable);
}

#[test]
fn an_observer_can_be_forgotten() {
    let (mut side, observation) = observed();
    notify(&mut side, observation, Reliability::Confirmable, b"2");
    side.sent_one();
    side.core.end_observation(observation);
    assert!(side.is_idle());
}

/// A client that observes, and the request it sent.
fn observing() -> (Side<Plain>, ExchangeId, Vec<u8>) {
    let mut side = Side::plain();
    let exchange = side.request(peer(), Reliability::Confirmable, |writer| {
        writer.option_uint(OptionNumber::OBSERVE, 0)?;
        writer.path("temperature").map(drop)
    });
    let request = side.sent_one();
    let id = view(&request).id();
    let got = side.receive(&notification(&request, Kind::Acknowledgement, id, Some(10))).unwrap();
    assert_eq!(got.answers, Some((exchange, false)));
    assert!(side.is_idle());
    (side, exchange, request)
}

fn notification(request: &[u8], kind: Kind, id: u16, sequence: Option<u32>) -> Vec<u8> {
    message(kind, Code::CONTENT, id, view(request).token(), |writer| {
        if let Some(sequence) = sequence {
            writer.option_uint(OptionNumber::OBSERVE, sequence)?;
        }
        writer.payload(b"state").map(drop)
    })
}

#[test]
fn notifications_are_taken_in_order_and_acknowledged_in_any() {
    let (mut side, exchange, request) = observing();
    for (id, sequence, is_fresh) in [(1, 12, true), (2, 11, false), (3, 12, false), (4, 13, true)] {
        let got = side.receive(&notification(&request, Kind::Confirmable, id, Some(sequence)));
        assert_eq!(got.is_some(), is_fresh, "{sequence}");
        assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, id));
        if let Some(got) = got {
            assert_eq!(got.answers, Some((exchange, false)));
        }
    }
    assert_eq!(side.core.stats().stale_notifications, 2);
    // After 128 seconds everything is fresh.
    side.pass(Duration::from_secs(129));
    assert!(side.receive(&notification(&request, Kind::NonConfirmable, 5, Some(1))).is_some());
    assert!(side.is_idle());
}

#[test]
fn a_response_without_observe_or_an_error_is_the_last() {
    for (code, sequence) in [(Code::CONTENT, None), (Code::NOT_FOUND, Some(20))] {
        let (mut side, exchange, request) = observing();
        let token = view(&request).token();
        let last = message(Kind::Confirmable, code, 9, token, |writer| {
            if let Some(sequence) = sequence {
                writer.option_uint(OptionNumber::OBSERVE, sequence)?;
            }
            Ok(())
        });
        assert_eq!(side.receive(&last).unwrap().answers, Some((exchange, true)));
        assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 9));
        let more = notification(&request, Kind::Confirmable, 10, Some(21));
        assert!(side.receive(&more).is_none());
        assert_eq!(side.sent_one(), empty(Kind::Reset, 10));
    }
}

#[test]
fn a_request_to_observe_that_is_not_accepted_has_one_response() {
    let mut side = Side::plain();
    let exchange = side.request(peer(), Reliability::Confirmable, |writer| {
        writer.option_uint(OptionNumber::OBSERVE, 0).map(drop)
    });
    let request = side.sent_one();
    let id = view(&request).id();
    let got = side.receive(&notification(&request, Kind::Acknowledgement, id, None)).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
    assert!(side.is_idle());
}

#[test]
fn cancelling_resets_the_next_notification() {
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let (mut side, exchange, request) = observing();
        assert!(side.core.cancel(side.now, exchange));
        assert!(side.receive(&notification(&request, kind, 7, Some(11))).is_none());
        assert_eq!(side.sent_one(), empty(Kind::Reset, 7));
    }
}

#[test]
fn deregistering_asks_with_the_same_token_and_takes_the_answer() {
    let (mut side, exchange, request) = observing();
    assert!(side.core.deregister(side.now, exchange));
    let goodbye = side.sent_one();
    let (first, second) = (view(&request), view(&goodbye));
    assert_eq!(second.token(), first.token());
    assert_ne!(second.id(), first.id());
    assert_eq!(observe_option(&goodbye), Some(1));
    assert_eq!(second.option(OptionNumber::URI_PATH), Some(&b"temperature"[..]));
    assert!(!side.core.deregister(side.now, exchange));
    // A notification that was on its way.
    assert!(side.receive(&notification(&request, Kind::Confirmable, 8, Some(11))).is_none());
    assert_eq!(side.sent_one(), empty(Kind::Acknowledgement, 8));
    let id = second.id();
    let got = side.receive(&notification(&request, Kind::Acknowledgement, id, None)).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
    assert!(side.is_idle());
}

#[test]
fn an_observation_takes_no_turn_from_others() {
    let (mut side, _, _) = observing();
    side.get(peer(), "other");
    assert_eq!(side.sent().len(), 1);
}

#[test]
fn every_notification_is_confirmable_if_so_configured() {
    let mut side = Side::new(Config { confirm_every: 1, ..Config::default() }, Plain);
    let observation = registered(&mut side, 1, token(&[1]));
    for _ in 0..3 {
        notify(&mut side, observation, Reliability::NonConfirmable, b"x");
        let sent = side.sent_one();
        assert_eq!(view(&sent).kind(), Kind::Confirmable);
        side.receive(&empty(Kind::Acknowledgement, view(&sent).id()));
    }
}
