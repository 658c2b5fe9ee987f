//! What a server does beyond what the plug tests ask of it.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

mod plug;

use capmesh_coap::block::{
    BlockSize, BlockValue, Download, RequestTag, Transfer, TransferStep, Upload, UploadError,
};
use capmesh_coap::endpoint::{Config, Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::ServerConfig;
use capmesh_coap::{Code, Kind, MessageWriter, Token};
use plug::site::{targets, text};
use plug::world::{Fate, Seen, Side, Told, World, unlimited};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

const PICKY: OptionNumber = OptionNumber(65001);

fn at(path: &'static str) -> impl Fn(&mut MessageWriter<'_>) {
    with(path, &[])
}

fn with<'o>(
    path: &'static str,
    options: &'o [(OptionNumber, &'static [u8])],
) -> impl Fn(&mut MessageWriter<'_>) + 'o {
    move |writer| {
        writer.path(path).unwrap();
        for (number, value) in options {
            writer.option(*number, value).unwrap();
        }
    }
}

fn code(build: impl Fn(&mut MessageWriter<'_>)) -> Code {
    World::new().ask(Code::GET, build).code()
}

fn size(bytes: usize) -> BlockSize {
    BlockSize::at_most(bytes).unwrap()
}

#[test]
fn critical_options_have_to_be_understood() {
    let bad = Code::BAD_OPTION;
    assert_eq!(code(with("test", &[(OptionNumber(65003), b"")])), bad);
    assert_eq!(code(with("test", &[(OptionNumber(65002), b"")])), Code::CONTENT);
    assert_eq!(code(with("test", &[(PICKY, b"")])), bad);
    assert_eq!(code(with("picky", &[(PICKY, b"")])), Code::CONTENT);
    // Repeated, too long, or not text.
    let accept = OptionNumber::ACCEPT;
    assert_eq!(code(with("test", &[(accept, b""), (accept, b"")])), bad);
    assert_eq!(code(with("test", &[(accept, b"abc")])), bad);
    assert_eq!(code(with("test", &[(OptionNumber::URI_QUERY, b"\xff")])), bad);
    assert_eq!(code(with("test", &[(OptionNumber::BLOCK2, b"\x07")])), Code::BAD_REQUEST);
    assert_eq!(
        code(with("test", &[(OptionNumber::PROXY_SCHEME, b"coap")])),
        Code::PROXYING_NOT_SUPPORTED
    );
    assert_eq!(
        code(with("test", &[(OptionNumber::URI_HOST, b"me"), (OptionNumber::URI_PORT, b"\x07")])),
        Code::CONTENT
    );
}

#[test]
fn non_confirmable_messages_that_are_not_understood_are_rejected() {
    let mut world = World::new();
    world.request(Reliability::NonConfirmable, Code::GET, with("test", &[(PICKY, b"")]));
    world.run(Duration::from_secs(1));
    assert_eq!((world.seen[1].kind(), world.seen[1].code()), (Kind::Reset, Code::EMPTY));
}

#[test]
fn a_refusal_is_final_however_much_of_the_body_is_to_come() {
    let mut world = World::new();
    let first = BlockValue::new(0, true, BlockSize::MIN).unwrap();
    let response = world.ask(Code::PUT, |writer| {
        writer.path("nowhere").unwrap();
        first.write(OptionNumber::BLOCK1, writer).unwrap();
        writer.payload(&[b'x'; 16]).unwrap();
    });
    assert_eq!(response.code(), Code::NOT_FOUND);
    // A client that sees the M bit would go on (RFC 7959 section 2.3).
    let block = response.option(OptionNumber::BLOCK1).map(|value| BlockValue::decode(&value));
    assert_eq!(block, Some(Ok(first.last())));
}

#[test]
fn paths_lead_to_one_resource_or_none() {
    for path in ["nowhere", "", "seg1/seg2", "seg1/seg2/seg3/seg4", "Test", ".well-known"] {
        assert_eq!(code(at(path)), Code::NOT_FOUND, "{path}");
    }
    let mut world = World::new();
    assert_eq!(world.ask(Code::GET, at("path/a/b")).payload(), b"/path/a");
    assert_eq!(world.ask(Code(8), at("test")).code(), Code::METHOD_NOT_ALLOWED);
    assert_eq!(world.ask(Code::PUT, at("query")).code(), Code::METHOD_NOT_ALLOWED);
    assert_eq!(world.ask(Code::PUT, at(".well-known/core")).code(), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn formats_are_negotiated() {
    let mut world = World::new();
    let put = |format: u32| {
        move |writer: &mut MessageWriter<'_>| {
            writer.path("test").unwrap();
            writer
                .option_uint(OptionNumber::CONTENT_FORMAT, format)
                .unwrap()
                .payload(b"x")
                .unwrap();
        }
    };
    assert_eq!(world.ask(Code::PUT, put(60)).code(), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(world.ask(Code::PUT, put(41)).code(), Code::CHANGED);
    // The resource does not look at Accept; the server sees that it does not have what is wanted.
    let wants = with("test", &[(OptionNumber::ACCEPT, b"")]);
    assert_eq!(world.ask(Code::GET, wants).code(), Code::NOT_ACCEPTABLE);
}

#[test]
fn resources_can_name_their_representations() {
    let mut world = World::new();
    world.site.picky.version = 0x0102_0304;
    let response = world.ask(Code::GET, at("picky"));
    assert_eq!(response.option(OptionNumber::ETAG), Some(vec![1, 2, 3, 4]));
    let valid = world.ask(Code::GET, with("picky", &[(OptionNumber::ETAG, &[1, 2, 3, 4])]));
    assert_eq!((valid.code(), valid.payload()), (Code::VALID, &b""[..]));
    assert_eq!(valid.uint(OptionNumber::MAX_AGE), Some(5));
    for (tag, expected) in [
        (&[1, 2, 3, 4][..], Code::CHANGED),
        (&[1, 2, 3, 5], Code::PRECONDITION_FAILED),
        (&[], Code::CHANGED),
    ] {
        let response = world.ask(Code::PUT, |writer| {
            writer.path("picky").unwrap().option(OptionNumber::IF_MATCH, tag).unwrap();
        });
        assert_eq!(response.code(), expected, "{tag:?}");
    }
    let absent = with("create1", &[(OptionNumber::IF_MATCH, b"")]);
    assert_eq!(world.ask(Code::PUT, absent).code(), Code::PRECONDITION_FAILED);
}

#[test]
fn a_block_that_is_not_there_is_a_bad_request() {
    let block = |num| {
        move |writer: &mut MessageWriter<'_>| {
            writer.path("large").unwrap();
            let value = BlockValue::new(num, false, size(512)).unwrap();
            value.write(OptionNumber::BLOCK2, writer).unwrap();
        }
    };
    let mut world = World::new();
    let last = world.ask(Code::GET, block(3));
    assert_eq!((last.code(), last.payload().len()), (Code::CONTENT, 2_000 - 3 * 512));
    assert_eq!(world.ask(Code::GET, block(4)).code(), Code::BAD_REQUEST);
    assert_eq!(world.ask(Code::GET, block(BlockValue::MAX_NUM)).code(), Code::BAD_REQUEST);
    let post = world.ask(Code::POST, |writer| {
        writer.path("large-post").unwrap();
        BlockValue::new(1, false, size(64)).unwrap().write(OptionNumber::BLOCK2, writer).unwrap();
    });
    assert_eq!(post.code(), Code::REQUEST_ENTITY_INCOMPLETE, "of a response that was not made");
}

#[test]
fn size2_tells_the_length_of_what_takes_several_blocks_or_was_asked_for() {
    let mut world = World::new();
    assert_eq!(world.ask(Code::GET, at("large")).uint(OptionNumber::SIZE2), Some(2_000));
    assert_eq!(world.ask(Code::GET, at("test")).uint(OptionNumber::SIZE2), None);
    let asked = world.ask(Code::GET, with("test", &[(OptionNumber::SIZE2, b"")]));
    assert_eq!(asked.uint(OptionNumber::SIZE2), Some(4));
}

#[test]
fn a_representation_that_changes_between_two_blocks_is_fetched_anew() {
    let mut world = World::new();
    let mut download = Download::new(4_000, size(512));
    let mut body = Vec::new();
    for round in 0.. {
        let response = world.ask(Code::GET, |writer| {
            writer.path("large").unwrap();
            download.write(writer).unwrap();
        });
        if round == 1 {
            let changed = text(1_999);
            world.site.large.text = Some(changed);
        }
        match download.handle(&response.message()) {
            capmesh_coap::block::DownloadStep::Part { payload, more, .. } => {
                body.extend_from_slice(payload);
                if !more {
                    break;
                }
            }
            capmesh_coap::block::DownloadStep::Restart => body.clear(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(body, text(1_999));
}

fn transfer(body: &[u8], block: usize) -> Transfer {
    Transfer::new(Upload::of(body, size(block)), Download::new(20_000, size(block)))
}

#[test]
fn bodies_that_are_too_large_are_refused_at_once() {
    let mut world = World::new();
    let body = text(8_193);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "large-update", &body);
    let refused = TransferStep::UploadFailed(UploadError::TooLarge { limit: 8_192 });
    assert_eq!(result, Err(refused));
    assert_eq!(world.seen.len(), 2, "no second block was sent");
    let body = text(8_192);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "large-update", &body);
    assert_eq!(result, Ok(Vec::new()));
    assert_eq!(world.site.large_update.text, Some(body));
}

#[test]
fn a_body_is_not_collected_for_a_resource_that_is_not_there_or_does_not_want_it() {
    let mut world = World::new();
    let body = text(2_000);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "nowhere", &body);
    assert_eq!(result, Err(TransferStep::Refused(Code::NOT_FOUND)));
    assert_eq!(world.seen.len(), 2);
    let response = world.ask(Code::PUT, |writer| {
        writer.option(OptionNumber::IF_NONE_MATCH, &[]).unwrap().path("large-update").unwrap();
        Upload::of(&body, size(512)).write(writer, &body).unwrap();
    });
    assert_eq!(response.code(), Code::PRECONDITION_FAILED);
}

/// Sends the first block of a body with this tag.
fn begin(world: &mut World, tag: u8) -> Seen {
    begin_at(world, "large-update", tag)
}

fn begin_at(world: &mut World, path: &str, tag: u8) -> Seen {
    let body = text(1_000);
    let upload = Upload::of(&body, size(64)).with_request_tag(RequestTag::new(&[tag]).unwrap());
    world.ask(Code::PUT, |writer| {
        writer.path(path).unwrap();
        upload.write(writer, &body).unwrap();
    })
}

#[test]
fn when_no_more_bodies_can_be_collected_the_server_says_for_how_long() {
    let mut world = World::new();
    for tag in 1..=4 {
        assert_eq!(begin(&mut world, tag).code(), Code::CONTINUE);
        world.run(Duration::from_secs(5));
    }
    let full = begin(&mut world, 5);
    assert_eq!(full.code(), Code::SERVICE_UNAVAILABLE);
    let wait = full.uint(OptionNumber::MAX_AGE).unwrap();
    assert!((39..=41).contains(&wait), "{wait}");
    // What needs no room still works, a small body for one.
    let small = world.ask(Code::PUT, |writer| {
        writer.path("test").unwrap().payload(b"small").unwrap();
    });
    assert_eq!(small.code(), Code::CHANGED);
    world.run(Duration::from_secs(wait.into()));
    assert_eq!(begin(&mut world, 5).code(), Code::CONTINUE);
}

#[test]
fn a_large_response_to_a_post_needs_room_and_says_so() {
    let mut world = World::new();
    let body = text(700);
    for tag in 1..=4 {
        begin(&mut world, tag);
    }
    let response = world.ask(Code::POST, |writer| {
        writer.path("large-post").unwrap().payload(&body).unwrap();
    });
    assert_eq!(response.code(), Code::INTERNAL_SERVER_ERROR);
    assert_eq!(response.payload(), b"no room for the response");
    world.run(Duration::from_secs(61));
    let result = world.transfer(transfer(&body, 1024), Code::POST, "large-post", &body);
    let reversed: Vec<u8> = body.iter().rev().copied().collect();
    assert_eq!(result, Ok(reversed));
}

#[test]
fn a_resource_can_take_its_body_in_parts() {
    let mut world = World::new();
    let body = text(50_000);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "picky", &body);
    assert_eq!(result, Ok(Vec::new()));
    let parts = &world.site.picky.parts;
    assert_eq!(parts.len(), 98);
    let mut whole = Vec::new();
    for (offset, bytes, more) in parts {
        assert_eq!(
            (*offset as usize, *more),
            (whole.len(), whole.len() + bytes.len() < body.len())
        );
        whole.extend_from_slice(bytes);
    }
    assert_eq!(whole, body);
}

#[test]
fn a_resource_can_stop_a_body_that_it_takes_in_parts() {
    let mut world = World::new();
    world.site.picky.refuse_from = Some(1_024);
    let body = text(5_000);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "picky", &body);
    assert_eq!(result, Err(TransferStep::Refused(Code::FORBIDDEN)));
    assert_eq!(world.site.picky.parts.len(), 2);
    world.site.picky.refuse_from = None;
    let result = world.transfer(transfer(&body, 512), Code::PUT, "picky", &body);
    assert_eq!(result, Ok(Vec::new()));
    let body = text(100_001);
    let result = world.transfer(transfer(&body, 512), Code::PUT, "picky", &body);
    let refused = TransferStep::UploadFailed(UploadError::TooLarge { limit: 100_000 });
    assert_eq!(result, Err(refused));
}

#[test]
fn a_body_that_is_refused_later_leaves_its_room_at_once() {
    let mut world = World::new();
    begin(&mut world, 0);
    // There is room for four.
    for tag in 1..=9 {
        assert_eq!(begin_at(&mut world, "separate", tag).code(), Code::FORBIDDEN);
    }
    for tag in 1..=3 {
        assert_eq!(begin(&mut world, tag).code(), Code::CONTINUE);
    }
    assert_eq!(begin_at(&mut world, "separate", 10).code(), Code::SERVICE_UNAVAILABLE);
}

#[test]
fn a_stranger_proves_its_address_once() {
    let mut world = World::with(Config::default(), ServerConfig::default());
    let response = world.ask(Code::GET, at("large"));
    assert_eq!((response.code(), response.payload().len()), (Code::CONTENT, 512));
    let codes: Vec<_> = world.seen.iter().map(Seen::code).collect();
    assert_eq!(codes, [Code::GET, Code::UNAUTHORIZED, Code::GET, Code::CONTENT]);
    assert!(world.seen[1].option(OptionNumber::ECHO).is_some());
    assert_eq!(world.seen[2].option(OptionNumber::ECHO), world.seen[1].option(OptionNumber::ECHO));
    let got = world.transfer(transfer(&[], 512), Code::GET, "large", &[]);
    assert_eq!((got, world.seen.len()), (Ok(text(2_000)), 4 + 8), "and is known from then on");
    world.run(Duration::from_secs(601));
    world.ask(Code::GET, at("large"));
    assert_eq!(world.seen.len(), 12 + 4, "for a while");
}

#[test]
fn what_has_been_done_for_a_stranger_is_not_done_twice() {
    let mut world = World::with(Config::default(), ServerConfig::default());
    let response = world.ask(Code::POST, |writer| {
        writer.path("large-post").unwrap().payload(&text(200)).unwrap();
    });
    // The response is as long as the request, so that it may go.
    assert_eq!((response.code(), response.payload().len()), (Code::CHANGED, 200));
    assert_eq!((world.site.large_post.calls, world.seen.len()), (1, 2));
    let response = world.ask(Code::POST, |writer| {
        writer.path("large-post").unwrap().option(OptionNumber::URI_QUERY, b"times=9").unwrap();
        writer.payload(&text(50)).unwrap();
    });
    // It is too long by far, so that its body stays behind.
    assert_eq!((response.code(), response.payload().len()), (Code::CHANGED, 0));
    assert_eq!((world.site.large_post.calls, world.seen.len()), (2, 4));
}

#[test]
fn a_large_resource_can_be_observed_by_many_until_the_table_is_full() {
    let mut world = World::new();
    for n in 0..5 {
        let exchange = world.request(Reliability::Confirmable, Code::GET, |writer| {
            writer.path("obs").unwrap().option_uint(OptionNumber::OBSERVE, 0).unwrap();
        });
        let response = world.answer(exchange);
        assert_eq!(response.uint(OptionNumber::OBSERVE).is_some(), n < 4, "{n}");
    }
    assert_eq!(world.server.observers(), 4);
    let told = world.told.len();
    world.site.obs.text = Some(b"1".to_vec());
    world.change("obs");
    world.run(Duration::from_secs(10));
    assert_eq!(world.told.len(), told + 4);
}

#[test]
fn an_observer_that_shows_no_life_makes_way_for_another() {
    let mut world = World::new();
    let observe = |world: &mut World| {
        let exchange = world.request(Reliability::Confirmable, Code::GET, |writer| {
            writer.path("obs").unwrap().option_uint(OptionNumber::OBSERVE, 0).unwrap();
        });
        let response = world.answer(exchange);
        (exchange, response.uint(OptionNumber::OBSERVE).is_some())
    };
    let first = observe(&mut world).0;
    for _ in 0..3 {
        assert!(observe(&mut world).1);
        world.run(Duration::from_secs(30));
    }
    // The first is the oldest, and was silent for 90 s.
    assert!(observe(&mut world).1);
    assert_eq!(world.server.observers(), 4);
    world.run(Duration::from_secs(1));
    let is_told = world.told.iter().any(|told| match told {
        Told::Response { exchange, bytes, .. } if *exchange == first => {
            capmesh_coap::Message::parse(bytes).unwrap().code() == Code::SERVICE_UNAVAILABLE
        }
        _ => false,
    });
    assert!(is_told);
    // The others have acknowledged this lately: nobody makes way.
    world.server.check_observers();
    world.run(Duration::from_secs(1));
    assert!(!observe(&mut world).1);
    assert_eq!(world.server.observers(), 4);
}

#[test]
fn what_cannot_be_observed_is_answered_once() {
    let mut world = World::new();
    let observe = (OptionNumber::OBSERVE, &b""[..]);
    let response = world.ask(Code::GET, with("test", &[observe]));
    assert_eq!((response.code(), response.option(OptionNumber::OBSERVE)), (Code::CONTENT, None));
    // A request that is too long to be kept.
    let long =
        "a query that goes on and on until nobody can be expected to remember it, and on, and on";
    let response =
        world.ask(Code::GET, with("obs", &[observe, (OptionNumber::URI_QUERY, long.as_bytes())]));
    assert_eq!((response.code(), response.option(OptionNumber::OBSERVE)), (Code::CONTENT, None));
    assert_eq!(world.server.observers(), 0);
}

fn multicast(world: &mut World, path: &str, query: &str) -> Vec<Seen> {
    let mut buf = [0; 128];
    let token = Token::new(&[1, 2]).unwrap();
    let kind = Kind::NonConfirmable;
    let mut writer = MessageWriter::new(&mut buf, kind, Code::GET, 7, token).unwrap();
    writer.path(path).unwrap();
    if !query.is_empty() {
        writer.option(OptionNumber::URI_QUERY, query.as_bytes()).unwrap();
    }
    let len = writer.finish();
    world.raw(Via::Multicast, &buf[..len])
}

#[test]
fn a_group_is_answered_by_those_who_have_something_to_say() {
    let mut world = World::new();
    assert!(multicast(&mut world, ".well-known/core", "rt=nothing").is_empty());
    assert!(multicast(&mut world, "nowhere", "").is_empty());
    let mut world = World::new();
    let [found] = &multicast(&mut world, ".well-known/core", "rt=Type3")[..] else { panic!("one") };
    assert_eq!(
        (found.by, found.kind(), found.code()),
        (Side::Server, Kind::NonConfirmable, Code::CONTENT)
    );
    assert_eq!(targets(&found.message()), ["/type2", "/type3"]);
}

#[test]
fn a_repeated_post_is_handled_once() {
    let mut world = World::new();
    world.set_fate(|_| Fate::Repeat);
    let body = text(1_000);
    let result = world.transfer(transfer(&body, 256), Code::POST, "large-post", &body);
    assert_eq!(result.map(|body| body.len()), Ok(1_000));
    assert_eq!(world.site.large_post.calls, 1);
}

#[test]
fn the_blocks_of_a_fetch_are_had_with_and_without_its_body() {
    let mut world = World::new();
    let body = text(600);
    let reversed: Vec<u8> = body.iter().rev().copied().collect();
    let got = world.transfer(transfer(&body, 256), Code::FETCH, "large-post", &body);
    assert_eq!(got, Ok(reversed));
    assert_eq!(world.site.large_post.calls, 1);

    // A client that repeats the body for every block, to a server that has kept nothing.
    world.reboot_server();
    let response = world.ask(Code::FETCH, |writer| {
        writer.path("large-post").unwrap().option(OptionNumber::URI_QUERY, b"times=9").unwrap();
        BlockValue::new(2, false, size(64)).unwrap().write(OptionNumber::BLOCK2, writer).unwrap();
        writer.payload(b"0123456789abcdef").unwrap();
    });
    let block = BlockValue::find(&response.message(), OptionNumber::BLOCK2).unwrap();
    assert_eq!((response.code(), block), (Code::CONTENT, BlockValue::new(2, false, size(64))));
    assert_eq!(response.payload(), b"fedcba9876543210");
}

/// Option numbers that somebody here looks at, and a few that nobody knows.
const NUMBERS: [u16; 30] = [
    0, 1, 3, 4, 5, 6, 7, 8, 9, 11, 11, 11, 12, 14, 15, 15, 16, 17, 20, 21, 23, 27, 28, 35, 39, 60,
    252, 258, 292, 65001,
];

const PATHS: [&str; 10] = [
    "test",
    "large",
    "large-post",
    "large-create/0",
    "obs",
    "picky",
    "path/x",
    ".well-known/core",
    "separate",
    "query",
];

prop_compose! {
    fn wild_message()(
        kind in prop_oneof![Just(Kind::Confirmable), Just(Kind::NonConfirmable)],
        code in 1..=8_u8,
        id: u16,
        token: [u8; 8],
        path in proptest::sample::select(&PATHS[..]),
        options in proptest::collection::vec(
            (
                proptest::sample::select(&NUMBERS[..]),
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..4),
                    Just(b"a=b".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..30),
                ],
            ),
            0..4,
        ),
        payload in prop_oneof![Just(vec![]), Just(vec![7; 16]), proptest::collection::vec(any::<u8>(), 0..80)],
    ) -> Vec<u8> {
        let mut buf = [0; 512];
        let token = Token::new(&token).unwrap();
        let mut writer = MessageWriter::new(&mut buf, kind, Code(code), id, token).unwrap();
        writer.path(path).unwrap();
        for (number, value) in &options {
            writer.option(OptionNumber(*number), value).unwrap();
        }
        writer.payload(&payload).unwrap();
        let len = writer.finish();
        buf[..len].to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_is_asked_has_one_answer_and_breaks_nothing(
        messages in proptest::collection::vec(wild_message(), 1..30),
    ) {
        let (mut world, mut ids) = (World::new(), HashSet::new());
        for bytes in messages {
            let request = capmesh_coap::Message::parse(&bytes).unwrap();
            let said = world.raw(Via::Unicast, &bytes);
            let answers = said.iter().filter(|seen| {
                seen.code() != Code::EMPTY && seen.option(OptionNumber::OBSERVE).is_none()
            });
            let answers: Vec<_> = answers.filter(|seen| seen.token() == request.token()).collect();
            prop_assert!(answers.iter().all(|seen| seen.bytes[4..] == answers[0].bytes[4..]));
            // If it is not by chance the id of one before, of which this is then a duplicate.
            if ids.insert(request.id()) && request.kind() == Kind::Confirmable {
                prop_assert!(!said.is_empty());
            }
            prop_assert!(world.server.observers() <= 4);
        }
        world.run(Duration::from_secs(300));
        prop_assert_eq!(world.ask(Code::GET, at("query")).code(), Code::CONTENT);
    }
}

#[test]
fn a_small_block_size_goes_for_both_directions() {
    let server = ServerConfig { block: size(16), ..ServerConfig::default() };
    let mut world = World::with(unlimited(), server);
    let body = text(100);
    let result = world.transfer(transfer(&body, 1024), Code::POST, "large-post", &body);
    assert_eq!(result.map(|body| body.len()), Ok(100));
    let responses = world.seen.iter().filter(|seen| seen.by == Side::Server);
    assert!(responses.map(|seen| seen.payload().len()).max() == Some(16));
}
