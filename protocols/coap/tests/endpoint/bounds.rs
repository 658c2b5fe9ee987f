//! What happens when something is full, how much memory a slot takes, and what arbitrary bytes do.

use super::{Side, get_temperature, message, peer, stranger, token, view};
use capmesh_coap::endpoint::{
    BoardEndpoint, Config, Endpoint, Output, Reliability, RequestError, Via,
};
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Kind};
use capmesh_wire::Instant;
use proptest::prelude::*;
use std::mem::size_of;
use std::time::Duration;

#[test]
fn a_request_beyond_the_bound_is_ignored_until_another_is_answered() {
    let mut side = Side::plain();
    let responders: Vec<_> = (0..3)
        .map(|id| side.receive(&get_temperature(Kind::Confirmable, id, token(&[1]))))
        .map(|got| got.unwrap().responder())
        .collect();
    let one_more = get_temperature(Kind::Confirmable, 3, token(&[1]));
    assert!(side.receive(&one_more).is_none());
    assert_eq!(side.core.stats().no_room, 1);
    side.respond(responders[0], b"x");
    assert!(side.receive(&one_more).is_some());
}

#[test]
fn the_memory_for_duplicates_reaches_back_at_least_as_far_as_it_is_long() {
    let mut side = Side::plain();
    let request = |id| get_temperature(Kind::Confirmable, id, token(&[1]));
    for id in 0..16 {
        let got = side.receive(&request(id)).unwrap();
        side.respond(got.responder(), b"x");
        side.sent_one();
    }
    for id in 0..16 {
        assert!(side.receive(&request(id)).is_none());
        assert_eq!(view(&side.sent_one()).id(), id);
    }
    assert_eq!(side.core.stats().forgotten_early, 0);
    // One more, and the oldest is new again.
    let got = side.receive(&request(16)).unwrap();
    side.respond(got.responder(), b"x");
    assert_eq!(side.core.stats().forgotten_early, 1);
    side.sent_one();
    assert!(side.receive(&request(0)).is_some());
}

#[test]
fn a_duplicate_whose_reply_is_no_longer_kept_is_not_processed_again() {
    let mut side = Side::plain();
    let request = |id| {
        message(Kind::Confirmable, Code::POST, id, token(&[1]), |writer| {
            writer.payload(&[0; 100]).map(drop)
        })
    };
    // 2,048 bytes keep eight replies of about 240.
    for id in 0..12 {
        let got = side.receive(&request(id)).unwrap();
        side.respond(got.responder(), &[0; 234]);
        side.sent_one();
    }
    assert!(side.receive(&request(0)).is_none());
    assert!(side.is_idle());
    assert_eq!(side.core.stats().replies_lost, 1);
    assert!(side.receive(&request(11)).is_none());
    assert_eq!(side.sent_one().len(), 240);
}

#[test]
fn without_a_slot_a_separate_response_is_not_confirmable() {
    let mut side = Side::plain();
    let got = side.receive(&get_temperature(Kind::Confirmable, 1, token(&[1]))).unwrap();
    side.wait();
    side.sent_one();
    for port in 0..4 {
        side.get(stranger(port), "x");
    }
    side.sent();
    side.respond(got.responder(), b"x");
    assert_eq!(view(&side.sent_one()).kind(), Kind::NonConfirmable);
}

/// Room for three datagrams of the longest, or eight short ones, of which some come and go: those that are
/// sent again are what they were.
#[test]
fn with_little_room_for_messages_requests_are_refused_and_none_is_spoilt() {
    let mut core = Endpoint::<Plain, 128, 8, { 3 * (128 + 4) }, 1, 0, 4, 128>::new(
        Config::default(),
        Plain,
        [0; 16],
    );
    let (mut now, mut buf) = (Instant::ZERO, [0; 128]);
    let ask = |core: &mut Endpoint<_, 128, 8, 396, 1, 0, 4, 128>, port, len: usize| {
        let payload = vec![port; len];
        core.request(
            Instant::ZERO,
            stranger(u16::from(port)),
            Reliability::Confirmable,
            Code::POST,
            |writer| writer.payload(&payload).map(drop),
        )
    };
    let mut sent = |core: &mut Endpoint<_, 128, 8, 396, 1, 0, 4, 128>, now| {
        let mut sent = Vec::new();
        while let Some(Output::Transmit { to, len }) = core.poll(now, &mut buf) {
            sent.push((to.port(), buf[..len].to_vec()));
        }
        sent.sort();
        sent
    };
    let first = ask(&mut core, 0, 110).unwrap();
    ask(&mut core, 1, 10).unwrap();
    ask(&mut core, 2, 110).unwrap();
    assert_eq!(ask(&mut core, 3, 1), Err(RequestError::Full));
    assert!(core.exchanges_free() > 0);
    let all = sent(&mut core, now);
    assert_eq!(all.len(), 3);
    assert!(core.cancel(now, first));
    ask(&mut core, 4, 110).unwrap();
    assert_eq!(ask(&mut core, 5, 1), Err(RequestError::Full));
    let fourth = sent(&mut core, now);
    now += Duration::from_secs(3);
    assert_eq!(sent(&mut core, now), [&all[1..], &fourth].concat());
}

#[test]
fn a_client_may_do_without_observers() {
    let mut core =
        Endpoint::<Plain, 128, 1, 132, 1, 0, 4, 128>::new(Config::default(), Plain, [0; 16]);
    let observe = message(Kind::Confirmable, Code::GET, 1, token(&[1]), |writer| {
        writer.option_uint(capmesh_coap::option::OptionNumber::OBSERVE, 0).map(drop)
    });
    let (now, mut scratch) = (Instant::ZERO, [0; 128]);
    let event = core.handle(now, peer(), Via::Unicast, &observe, &mut scratch);
    let Some(capmesh_coap::endpoint::Event::Request { responder, .. }) = event else {
        panic!("{event:?}")
    };
    assert!(core.accept_observation(now, responder).is_err());
}

/// RAM for each slot of a plain endpoint on a 64-bit machine; a board's pointers are shorter, its
/// instants are not.
#[test]
fn memory_is_what_the_documentation_says() {
    const BASE: usize = size_of::<Endpoint<Plain, 1024, 8, 8224, 8, 8, 8, 4096>>();
    let per_exchange = size_of::<Endpoint<Plain, 1024, 9, 8224, 8, 8, 8, 4096>>() - BASE;
    let per_unanswered = size_of::<Endpoint<Plain, 1024, 8, 8224, 9, 8, 8, 4096>>() - BASE;
    let per_observer = size_of::<Endpoint<Plain, 1024, 8, 8224, 8, 9, 8, 4096>>() - BASE;
    let per_recent = size_of::<Endpoint<Plain, 1024, 8, 8224, 8, 8, 9, 4096>>() - BASE;
    let sizes = [per_exchange, per_unanswered, per_observer, per_recent];
    println!(
        "exchange {}, unanswered {}, observer {}, recent {}, board {}",
        sizes[0],
        sizes[1],
        sizes[2],
        sizes[3],
        size_of::<BoardEndpoint<Plain>>()
    );
    assert!(sizes[0] <= 224, "{sizes:?}");
    assert!(sizes[1] <= 192, "{sizes:?}");
    assert!(sizes[2] <= 160, "{sizes:?}");
    assert!(sizes[3] <= 40, "{sizes:?}");
    assert!(size_of::<BoardEndpoint<Plain>>() <= 16 * 1024);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes, from however many addresses: nothing panics, no more goes out than came in
    /// (three times over, or 136 bytes), and in the end nothing is left.
    #[test]
    fn arbitrary_datagrams_do_no_harm(
        datagrams in prop::collection::vec(
            (0..4_u16, any::<bool>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0x40..0x80_u8, 0..6_u8, 0..4_u8, prop::collection::vec(any::<u8>(), 0..20)).prop_map(
                    |(first, code, id, tail)| [&[first & 0xf1, code, 0, id][..], &tail].concat(),
                ),
            ], 0..5_000_u64, any::<bool>()),
            0..60,
        ),
    ) {
        let mut side = Side::plain();
        side.get(stranger(0), "x");
        let mut buf = [0; 256];
        for (from, multicast, datagram, pause, answers) in datagrams {
            let via = if multicast { Via::Multicast } else { Via::Unicast };
            let got = side.receive_from(stranger(from), via, &datagram);
            if let Some(responder) = got.and_then(|got| got.responder)
                && answers
            {
                side.respond(responder, b"some answer");
            }
            for (_, sent) in side.sent_to() {
                prop_assert!(sent.len() <= 136.max(3 * datagram.len()));
            }
            side.pass(Duration::from_millis(pause));
        }
        let mut steps = 0;
        while let Some(at) = side.core.poll_timeout() {
            side.now = at.max(side.now);
            while let Some(output) = side.core.poll(side.now, &mut buf) {
                if let Output::Transmit { len, .. } = output {
                    prop_assert!(len <= 256);
                }
            }
            steps += 1;
            prop_assert!(steps < 1000);
        }
    }
}
