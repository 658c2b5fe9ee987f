//! ETSI CoAP plug tests, `TD_COAP_CORE_*`, as the test descriptions of CoAP#4 have them.
//!
//! Left out, because this endpoint has no part in what they test:
//! - 12, a request with an empty token: the endpoint chooses tokens that cannot be guessed. That a
//!   server answers one is tested all the same.
//! - 24 to 30 do not exist in the descriptions of CoAP#4.
//! - `TD_COAP_DTLS_*` (no DTLS: OSCORE takes its place) and `TD_6LoWPAN_*` (no link layer).

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

mod plug;

use capmesh_coap::endpoint::{Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Kind, MessageWriter, Token};
use plug::world::{Fate, Seen, Side, Told, World, server_address};
use std::time::Duration;

const CONTENT_FORMAT: OptionNumber = OptionNumber::CONTENT_FORMAT;

/// Sends a confirmable request and checks that it is what it should be and that its response comes
/// with its acknowledgement. Both as they were on the link.
fn exchange(world: &mut World, code: Code, build: impl Fn(&mut MessageWriter<'_>)) -> (Seen, Seen) {
    let from = world.seen.len();
    world.ask(code, build);
    let [request, response] = &world.since(from)[..] else { panic!("two datagrams") };
    assert_eq!(
        (request.by, request.kind(), request.code()),
        (Side::Client, Kind::Confirmable, code)
    );
    assert_eq!((response.by, response.kind()), (Side::Server, Kind::Acknowledgement));
    assert_eq!((response.id(), response.token()), (request.id(), request.token()));
    (request.clone(), response.clone())
}

/// The same with a non-confirmable request, whose response is non-confirmable too.
fn non_exchange(
    world: &mut World,
    code: Code,
    build: impl Fn(&mut MessageWriter<'_>),
) -> (Seen, Seen) {
    let from = world.seen.len();
    let id = world.request(Reliability::NonConfirmable, code, build);
    world.answer(id);
    let [request, response] = &world.since(from)[..] else { panic!("two datagrams") };
    assert_eq!((request.kind(), request.code()), (Kind::NonConfirmable, code));
    assert_eq!((response.kind(), response.token()), (Kind::NonConfirmable, request.token()));
    (request.clone(), response.clone())
}

fn at(path: &'static str) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.path(path).unwrap();
    }
}

fn with_text(path: &'static str, text: &'static [u8]) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.path(path).unwrap().option_uint(CONTENT_FORMAT, 0).unwrap().payload(text).unwrap();
    }
}

/// A Content-Format exactly if there is a payload.
fn has_format_with_payload(response: &Seen) {
    assert_eq!(response.uint(CONTENT_FORMAT).is_some(), !response.payload().is_empty());
}

#[test]
fn td_coap_core_01_get_con() {
    let (request, response) = exchange(&mut World::new(), Code::GET, at("test"));
    assert_eq!(request.texts(OptionNumber::URI_PATH), ["test"]);
    assert_eq!(response.code(), Code::CONTENT);
    assert!(response.uint(CONTENT_FORMAT).is_some());
    assert!(!response.payload().is_empty());
}

#[test]
fn td_coap_core_02_delete_con() {
    let (_, response) = exchange(&mut World::new(), Code::DELETE, at("test"));
    assert_eq!(response.code(), Code::DELETED);
    has_format_with_payload(&response);
}

#[test]
fn td_coap_core_03_put_con() {
    let mut world = World::new();
    let (_, response) = exchange(&mut world, Code::PUT, with_text("test", b"new"));
    assert_eq!(response.code(), Code::CHANGED);
    assert_eq!(world.site.test.text.as_deref(), Some(&b"new"[..]));
    has_format_with_payload(&response);
}

#[test]
fn td_coap_core_04_post_con() {
    let mut world = World::new();
    let (_, response) = exchange(&mut world, Code::POST, with_text("test", b"posted"));
    assert_eq!(response.code(), Code::CREATED);
    assert_eq!(world.site.test.posts, [b"posted"]);
    has_format_with_payload(&response);
}

#[test]
fn td_coap_core_05_get_non() {
    let (_, response) = non_exchange(&mut World::new(), Code::GET, at("test"));
    assert_eq!(response.code(), Code::CONTENT);
    assert!(response.uint(CONTENT_FORMAT).is_some());
}

#[test]
fn td_coap_core_06_delete_non() {
    let (_, response) = non_exchange(&mut World::new(), Code::DELETE, at("test"));
    assert_eq!(response.code(), Code::DELETED);
    has_format_with_payload(&response);
}

#[test]
fn td_coap_core_07_put_non() {
    let mut world = World::new();
    let (_, response) = non_exchange(&mut world, Code::PUT, with_text("test", b"new"));
    assert_eq!(response.code(), Code::CHANGED);
    assert_eq!(world.site.test.text.as_deref(), Some(&b"new"[..]));
    has_format_with_payload(&response);
}

#[test]
fn td_coap_core_08_post_non() {
    let mut world = World::new();
    let (_, response) = non_exchange(&mut world, Code::POST, with_text("test", b"posted"));
    assert_eq!(response.code(), Code::CREATED);
    assert_eq!(world.site.test.posts, [b"posted"]);
    has_format_with_payload(&response);
}

/// Request, empty acknowledgement, separate response, its acknowledgement.
fn separate(world: &mut World) -> [Seen; 4] {
    let from = world.seen.len();
    world.ask(Code::GET, at("separate"));
    world.run(Duration::from_secs(1));
    let [request, ack, response, ack_c] = &world.since(from)[..] else { panic!("four datagrams") };
    assert_eq!((request.kind(), request.code()), (Kind::Confirmable, Code::GET));
    assert_eq!((ack.by, ack.kind(), ack.bytes.len()), (Side::Server, Kind::Acknowledgement, 4));
    assert_eq!(ack.id(), request.id());
    assert_eq!((response.by, response.kind()), (Side::Server, Kind::Confirmable));
    assert_eq!((response.code(), response.token()), (Code::CONTENT, request.token()));
    assert!(response.uint(CONTENT_FORMAT).is_some() && !response.payload().is_empty());
    assert_eq!(
        (ack_c.by, ack_c.kind(), ack_c.bytes.len()),
        (Side::Client, Kind::Acknowledgement, 4)
    );
    assert_eq!(ack_c.id(), response.id());
    [request.clone(), ack.clone(), response.clone(), ack_c.clone()]
}

#[test]
fn td_coap_core_09_get_with_a_separate_response() {
    let [request, .., response, _] = separate(&mut World::new());
    assert!(response.at.saturating_since(request.at) >= Duration::from_secs(2));
}

#[test]
fn td_coap_core_10_get_with_a_token() {
    let (request, _) = exchange(&mut World::new(), Code::GET, at("test"));
    assert!((1..=8).contains(&request.token().as_bytes().len()));
}

#[test]
fn td_coap_core_11_get_with_a_token_and_a_separate_response() {
    let [request, ..] = separate(&mut World::new());
    assert!((1..=8).contains(&request.token().as_bytes().len()));
}

#[test]
fn td_coap_core_12_get_with_an_empty_token() {
    let mut world = World::new();
    let mut buf = [0; 64];
    let mut writer =
        MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 0x1234, Token::EMPTY).unwrap();
    at("test")(&mut writer);
    let len = writer.finish();
    let [response] = &world.raw(Via::Unicast, &buf[..len])[..] else { panic!("one response") };
    assert_eq!((response.kind(), response.code()), (Kind::Acknowledgement, Code::CONTENT));
    assert_eq!((response.id(), response.token()), (0x1234, Token::EMPTY));
    assert!(response.uint(CONTENT_FORMAT).is_some() && !response.payload().is_empty());
}

#[test]
fn td_coap_core_13_get_with_several_uri_path_options() {
    let (request, response) = exchange(&mut World::new(), Code::GET, at("seg1/seg2/seg3"));
    assert_eq!(request.texts(OptionNumber::URI_PATH), ["seg1", "seg2", "seg3"]);
    assert_eq!((response.code(), response.payload()), (Code::CONTENT, &b"three segments"[..]));
}

#[test]
fn td_coap_core_14_get_with_several_uri_query_options() {
    let (request, response) = exchange(&mut World::new(), Code::GET, |writer| {
        writer.path("query").unwrap();
        for query in ["first=1", "second=2", "third=3"] {
            writer.option(OptionNumber::URI_QUERY, query.as_bytes()).unwrap();
        }
    });
    assert_eq!(request.texts(OptionNumber::URI_QUERY), ["first=1", "second=2", "third=3"]);
    assert_eq!(response.code(), Code::CONTENT);
    assert_eq!(response.payload(), b"first is 1\nfirst=1\nsecond=2\nthird=3\n");
}

/// Loses the datagrams with these numbers, counted from now on.
fn lose(world: &mut World, numbers: &'static [usize]) {
    let mut number = 0;
    world.set_fate(move |_| {
        number += 1;
        if numbers.contains(&(number - 1)) { Fate::Lose } else { Fate::Deliver }
    });
}

fn kinds(seen: &[Seen]) -> Vec<(Side, Kind, bool)> {
    seen.iter().map(|seen| (seen.by, seen.kind(), seen.lost)).collect()
}

#[test]
fn td_coap_core_15_get_on_a_lossy_link() {
    use {Kind::*, Side::*};
    let mut world = World::new();
    lose(&mut world, &[0]);
    world.ask(Code::GET, at("test"));
    let request_lost = [
        (Client, Confirmable, true),
        (Client, Confirmable, false),
        (Server, Acknowledgement, false),
    ];
    assert_eq!(kinds(&world.seen), request_lost);
    assert_eq!(world.seen[0].bytes, world.seen[1].bytes);

    let mut world = World::new();
    lose(&mut world, &[1]);
    let response = world.ask(Code::GET, at("test"));
    assert_eq!(
        kinds(&world.seen),
        [
            (Client, Confirmable, false),
            (Server, Acknowledgement, true),
            (Client, Confirmable, false),
            (Server, Acknowledgement, false),
        ]
    );
    assert_eq!(
        (world.seen[1].bytes == world.seen[3].bytes, response.code()),
        (true, Code::CONTENT)
    );
}

#[test]
fn td_coap_core_16_get_with_a_separate_response_on_a_lossy_link() {
    use {Kind::*, Side::*};
    let request = (Client, Confirmable, false);
    let (ack, response) = ((Server, Acknowledgement, false), (Server, Confirmable, false));
    let ack_c = (Client, Acknowledgement, false);
    let lost = |(side, kind, _)| (side, kind, true);
    for (numbers, expected) in [
        (&[0][..], vec![lost(request), request, ack, response, ack_c]),
        // The response comes before the request is retransmitted, and stops that.
        (&[1], vec![request, lost(ack), response, ack_c]),
        (&[2], vec![request, ack, lost(response), response, ack_c]),
        (&[3], vec![request, ack, response, lost(ack_c), response, ack_c]),
        (
            &[3, 5],
            vec![request, ack, response, lost(ack_c), response, lost(ack_c), response, ack_c],
        ),
    ] {
        let mut world = World::new();
        lose(&mut world, numbers);
        let answer = world.ask(Code::GET, at("separate"));
        assert_eq!((answer.code(), answer.payload()), (Code::CONTENT, &b"at last"[..]));
        world.run(Duration::from_secs(100));
        let mut seen = kinds(&world.seen);
        if numbers == [1] && seen[2] == request {
            // Unless the dice made the retransmission come first: it is then acknowledged again.
            seen.drain(2..4);
        }
        assert_eq!(seen, expected, "{numbers:?}");
        assert_eq!(world.told.len(), 1, "one response");
    }
}

#[test]
fn td_coap_core_17_get_non_with_a_separate_response() {
    let mut world = World::new();
    let (request, response) = non_exchange(&mut world, Code::GET, at("separate"));
    assert_eq!(response.code(), Code::CONTENT);
    assert!(response.at.saturating_since(request.at) >= Duration::from_secs(2));
    assert!(response.uint(CONTENT_FORMAT).is_some() && !response.payload().is_empty());
    assert!(world.seen.iter().all(|seen| seen.kind() != Kind::Acknowledgement));
}

#[test]
fn td_coap_core_18_post_with_several_location_path_options() {
    let (_, response) = exchange(&mut World::new(), Code::POST, with_text("test", b"make it"));
    assert_eq!(response.code(), Code::CREATED);
    let path = response.texts(OptionNumber::LOCATION_PATH);
    assert_eq!(path, ["location1", "location2", "location3"]);
}

#[test]
fn td_coap_core_19_post_with_several_location_query_options() {
    let (_, response) = exchange(&mut World::new(), Code::POST, with_text("location-query", b"x"));
    assert_eq!(response.code(), Code::CREATED);
    assert_eq!(response.texts(OptionNumber::LOCATION_QUERY), ["first=1", "second=2"]);
}

#[test]
fn td_coap_core_20_get_with_accept() {
    let mut world = World::new();
    let accept = |format| {
        move |writer: &mut MessageWriter<'_>| {
            let writer = writer.path("multi-format").unwrap();
            writer.option_uint(OptionNumber::ACCEPT, format).unwrap();
        }
    };
    for (format, payload) in [(0, &b"hello"[..]), (41, b"<text>hello</text>")] {
        let (request, response) = exchange(&mut world, Code::GET, accept(format));
        assert_eq!(request.uint(OptionNumber::ACCEPT), Some(format));
        assert_eq!((response.code(), response.payload()), (Code::CONTENT, payload));
        assert_eq!(response.uint(CONTENT_FORMAT), Some(format));
    }
    let (_, response) = exchange(&mut world, Code::GET, accept(60));
    assert_eq!(response.code(), Code::NOT_ACCEPTABLE);
}

fn with_etag(etag: Vec<u8>) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.path("validate").unwrap().option(OptionNumber::ETAG, &etag).unwrap();
    }
}

#[test]
fn td_coap_core_21_get_with_etag() {
    let mut world = World::new();
    let (_, first) = exchange(&mut world, Code::GET, at("validate"));
    let etag = first.option(OptionNumber::ETAG).unwrap();
    assert_eq!((first.code(), first.payload().is_empty()), (Code::CONTENT, false));

    let (_, valid) = exchange(&mut world, Code::GET, with_etag(etag.clone()));
    assert_eq!((valid.code(), valid.payload()), (Code::VALID, &b""[..]));
    assert_eq!(valid.option(OptionNumber::ETAG), Some(etag.clone()));

    exchange(&mut world, Code::PUT, with_text("validate", b"changed"));
    let (_, changed) = exchange(&mut world, Code::GET, with_etag(etag.clone()));
    assert_eq!((changed.code(), changed.payload()), (Code::CONTENT, &b"changed"[..]));
    assert!(changed.option(OptionNumber::ETAG).is_some_and(|tag| tag != etag));
}

#[test]
fn td_coap_core_22_put_with_if_match() {
    let mut world = World::new();
    let put_if = |etag: Vec<u8>, text: &'static [u8]| {
        move |writer: &mut MessageWriter<'_>| {
            writer.option(OptionNumber::IF_MATCH, &etag).unwrap();
            with_text("validate", text)(writer);
        }
    };
    let (_, first) = exchange(&mut world, Code::GET, at("validate"));
    let etag = first.option(OptionNumber::ETAG).unwrap();
    let (_, put) = exchange(&mut world, Code::PUT, put_if(etag.clone(), b"second"));
    assert_eq!(put.code(), Code::CHANGED);

    let (_, second) = exchange(&mut world, Code::GET, at("validate"));
    assert_eq!(second.payload(), b"second");
    let etag2 = second.option(OptionNumber::ETAG).unwrap();
    assert_ne!(etag2, etag);
    let (_, put) = exchange(&mut world, Code::PUT, with_text("validate", b"third"));
    assert_eq!(put.code(), Code::CHANGED);
    let (_, refused) = exchange(&mut world, Code::PUT, put_if(etag2, b"fourth"));
    assert_eq!(refused.code(), Code::PRECONDITION_FAILED);
    assert_eq!(world.site.validate.text.as_deref(), Some(&b"third"[..]));
}

#[test]
fn td_coap_core_23_put_with_if_none_match() {
    let mut world = World::new();
    let create = |writer: &mut MessageWriter<'_>| {
        writer.option(OptionNumber::IF_NONE_MATCH, &[]).unwrap();
        with_text("create1", b"created")(writer);
    };
    let (_, created) = exchange(&mut world, Code::PUT, create);
    assert_eq!(created.code(), Code::CREATED);
    let (_, refused) = exchange(&mut world, Code::PUT, create);
    assert_eq!(refused.code(), Code::PRECONDITION_FAILED);
    assert_eq!(world.site.create1.text.as_deref(), Some(&b"created"[..]));
}

#[test]
fn td_coap_core_31_ping() {
    let mut world = World::new();
    let exchange = world.client.ping(world.now, server_address()).unwrap();
    world.run(Duration::from_secs(1));
    let [ping, pong] = &world.seen[..] else { panic!("two datagrams") };
    assert_eq!((ping.bytes.len(), ping.kind(), ping.code()), (4, Kind::Confirmable, Code::EMPTY));
    assert_eq!((pong.bytes.len(), pong.kind(), pong.code()), (4, Kind::Reset, Code::EMPTY));
    assert_eq!(pong.id(), ping.id());
    assert_eq!(world.told, [Told::Finished { exchange }]);
}
