//! ETSI CoAP plug tests, `TD_COAP_OBS_*`, as the test descriptions of CoAP#4 have them.
//!
//! Left out: 03 does not exist in the descriptions of CoAP#4.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

mod plug;

use capmesh_coap::block::{BlockSize, BlockValue, Download, DownloadStep};
use capmesh_coap::endpoint::{ExchangeId, Reliability};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Kind, MessageWriter};
use plug::site::text;
use plug::world::{Fate, Seen, Side, Told, World};
use std::time::Duration;

const OBSERVE: OptionNumber = OptionNumber::OBSERVE;

/// An observer in its world.
struct Observing {
    world: World,
    exchange: ExchangeId,
    path: &'static str,
    /// The registration and its response.
    request: Seen,
    response: Seen,
    /// The latest Observe value.
    sequence: u32,
}

fn at(path: &'static str) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.path(path).unwrap();
    }
}

/// Steps 1 to 3: the registration.
fn observe(path: &'static str, reliability: Reliability) -> Observing {
    let mut world = World::new();
    let exchange = world.request(reliability, Code::GET, |writer| {
        at(path)(writer);
        writer.option_uint(OBSERVE, 0).unwrap();
    });
    world.answer(exchange);
    let [request, response] = &world.seen[..] else { panic!("two datagrams") };
    let (request, response) = (request.clone(), response.clone());
    assert_eq!((request.code(), request.option(OBSERVE)), (Code::GET, Some(vec![])));
    assert_eq!((response.code(), response.token()), (Code::CONTENT, request.token()));
    let sequence = response.uint(OBSERVE).unwrap();
    assert_eq!(world.server.observers(), 1);
    Observing { world, exchange, path, request, response, sequence }
}

fn observe_con(path: &'static str) -> Observing {
    let observing = observe(path, Reliability::Confirmable);
    assert_eq!(observing.request.kind(), Kind::Confirmable);
    assert_eq!(observing.response.kind(), Kind::Acknowledgement);
    observing
}

impl Observing {
    fn note(&mut self) -> &mut plug::site::Note {
        let site = &mut self.world.site;
        match self.path {
            "obs" => &mut site.obs,
            "obs-non" => &mut site.obs_non,
            "obs-large" => &mut site.obs_large,
            _ => &mut site.obs_pumping,
        }
    }

    /// Changes the resource. The notification, which is checked, comes with what went over the link.
    fn change(&mut self, text: &[u8]) -> (Seen, Vec<Seen>) {
        let from = self.world.seen.len();
        self.note().text = Some(text.to_vec());
        self.world.change(self.path);
        self.world.run(Duration::from_secs(5));
        let seen = self.world.since(from);
        let notification = seen.first().expect("a notification").clone();
        self.check(&notification);
        (notification, seen)
    }

    /// Checks that this is a notification that goes with the registration.
    fn check(&mut self, notification: &Seen) {
        assert_eq!((notification.by, notification.code()), (Side::Server, Code::CONTENT));
        assert_eq!(notification.token(), self.request.token());
        let format = OptionNumber::CONTENT_FORMAT;
        assert_eq!(notification.uint(format), self.response.uint(format));
        let sequence = notification.uint(OBSERVE).unwrap();
        let ahead = sequence.wrapping_sub(self.sequence) & 0xff_ffff;
        assert!((1..1 << 23).contains(&ahead), "{sequence} after {}", self.sequence);
        self.sequence = sequence;
    }

    /// Steps 4 to 6: a confirmable notification and its acknowledgement, with the payload shown.
    fn change_con(&mut self, text: &[u8]) {
        let (notification, seen) = self.change(text);
        let [_, ack] = &seen[..] else { panic!("two datagrams") };
        assert_eq!(notification.kind(), Kind::Confirmable);
        assert_eq!(
            (ack.by, ack.kind(), ack.code()),
            (Side::Client, Kind::Acknowledgement, Code::EMPTY)
        );
        assert_eq!(ack.id(), notification.id());
        assert_eq!(self.shown(), (text.to_vec(), false));
    }

    /// What the client was told last: a payload, and whether it is the last.
    fn shown(&self) -> (Vec<u8>, bool) {
        match self.world.told.last().unwrap() {
            Told::Response { exchange, bytes, last } if *exchange == self.exchange => {
                (capmesh_coap::Message::parse(bytes).unwrap().payload().to_vec(), *last)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Changes the resource and checks that nobody is told.
    fn change_unheard(&mut self) {
        let (told, seen) = (self.world.told.len(), self.world.seen.len());
        self.note().text.get_or_insert_default().push(b'!');
        self.world.change(self.path);
        self.world.run(Duration::from_secs(200));
        assert_eq!((self.world.told.len(), self.world.seen.len()), (told, seen));
        assert_eq!(self.world.server.observers(), 0);
    }
}

#[test]
fn td_coap_obs_01_con() {
    let mut observing = observe_con("obs");
    for text in ["1", "2", "3"] {
        observing.change_con(text.as_bytes());
    }
}

#[test]
fn td_coap_obs_02_non() {
    let mut observing = observe("obs-non", Reliability::NonConfirmable);
    assert_eq!(observing.request.kind(), Kind::NonConfirmable);
    assert_eq!(observing.response.kind(), Kind::NonConfirmable);
    let mut confirmable = 0;
    for text in (1..=20).map(|n: u8| n.to_string()) {
        let (notification, seen) = observing.change(text.as_bytes());
        if notification.kind() == Kind::Confirmable {
            assert_eq!(seen[1].kind(), Kind::Acknowledgement);
            confirmable += 1;
        } else {
            assert_eq!((notification.kind(), seen.len()), (Kind::NonConfirmable, 1));
        }
        assert_eq!(observing.shown(), (text.into(), false));
    }
    assert_eq!(confirmable, 2, "every tenth, as the description's note allows");
}

#[test]
fn td_coap_obs_04_client_detects_deregistration() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    observing.world.reboot_server();
    observing.change_unheard();

    // After Max-Age and MAX_LATENCY the client registers anew. It does so with another token: one
    // that the server may still know would be of no use to it.
    observing.world.run(Duration::from_secs(60 + 100));
    let mut world = observing.world;
    world.client.cancel(world.now, observing.exchange);
    let from = world.seen.len();
    let exchange = world.request(Reliability::Confirmable, Code::GET, |writer| {
        at("obs")(writer);
        writer.option_uint(OBSERVE, 0).unwrap();
    });
    world.answer(exchange);
    let [request, response] = &world.since(from)[..] else { panic!("two datagrams") };
    assert_eq!((request.kind(), request.option(OBSERVE)), (Kind::Confirmable, Some(vec![])));
    assert_eq!((response.kind(), response.code()), (Kind::Acknowledgement, Code::CONTENT));
    let (request, response) = (request.clone(), response.clone());
    let sequence = response.uint(OBSERVE).unwrap();
    let mut again = Observing { world, exchange, path: "obs", request, response, sequence };
    again.change_con(b"2");
}

#[test]
fn td_coap_obs_05_server_detects_that_the_client_is_off() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    observing.world.set_fate(|_| Fate::Lose);
    let from = observing.world.seen.len();
    for text in ["2", "3", "4"] {
        observing.note().text = Some(text.into());
        observing.world.change("obs");
        observing.world.run(Duration::from_secs(7));
    }
    observing.world.run(Duration::from_secs(100));
    let seen = observing.world.since(from);
    assert!(seen.len() > 3, "it keeps trying for a while");
    for window in seen.windows(2) {
        let (first, second) = (window[0].uint(OBSERVE), window[1].uint(OBSERVE));
        assert!(
            window[0].payload() == window[1].payload() || first < second,
            "newest state, newer"
        );
        assert_eq!(window[1].kind(), Kind::Confirmable);
    }
    assert_eq!(seen.last().unwrap().payload(), b"4");
    observing.change_unheard();
}

#[test]
fn td_coap_obs_06_reset() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    observing.world.reboot_client();
    let told = observing.world.told.len();
    let (notification, seen) = observing.change(b"2");
    let [_, reset] = &seen[..] else { panic!("two datagrams") };
    assert_eq!(
        (reset.by, reset.kind(), reset.id()),
        (Side::Client, Kind::Reset, notification.id())
    );
    assert_eq!(observing.world.told.len(), told, "it is not shown");
    observing.change_unheard();
}

/// Changes `/obs` with a request; what follows that request's response.
fn meddle(
    observing: &mut Observing,
    code: Code,
    build: impl Fn(&mut MessageWriter<'_>),
) -> Vec<Seen> {
    let from = observing.world.seen.len();
    let response = observing.world.ask(code, |writer| {
        writer.path("obs").unwrap();
        build(writer);
    });
    assert!(response.code().is_success());
    observing.world.run(Duration::from_secs(5));
    let mut seen = observing.world.since(from);
    // The request and its response, wherever they came among the notifications.
    seen.retain(|seen| seen.token() == observing.request.token() || seen.code() == Code::EMPTY);
    seen
}

/// Checks that the observation was ended by a notification with this code, and stays ended.
fn check_end(observing: &mut Observing, seen: &[Seen], code: Code) {
    let [end, ack] = seen else { panic!("two datagrams: {seen:?}") };
    assert_eq!((end.by, end.kind(), end.code()), (Side::Server, Kind::Confirmable, code));
    assert_eq!((end.token(), end.option(OBSERVE)), (observing.request.token(), None));
    assert_eq!(ack.kind(), Kind::Acknowledgement);
    let (_, last) = observing.shown();
    assert!(last, "the client knows that this was the end");
    observing.change_unheard();
}

#[test]
fn td_coap_obs_07_delete() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    let seen = meddle(&mut observing, Code::DELETE, |_| {});
    check_end(&mut observing, &seen, Code::NOT_FOUND);
}

#[test]
fn td_coap_obs_08_content_format_changes() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    let seen = meddle(&mut observing, Code::PUT, |writer| {
        writer.option_uint(OptionNumber::CONTENT_FORMAT, 41).unwrap().payload(b"<x/>").unwrap();
    });
    check_end(&mut observing, &seen, Code::NOT_ACCEPTABLE);
}

#[test]
fn td_coap_obs_09_update() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    for text in ["new", "newer"] {
        let seen = meddle(&mut observing, Code::PUT, |writer| {
            writer.option_uint(OptionNumber::CONTENT_FORMAT, 0).unwrap();
            writer.payload(text.as_bytes()).unwrap();
        });
        observing.check(&seen[0]);
        assert_eq!((seen[0].kind(), seen[0].payload()), (Kind::Confirmable, text.as_bytes()));
        assert_eq!(seen[1].kind(), Kind::Acknowledgement);
        assert_eq!(observing.shown(), (text.into(), false));
    }
}

#[test]
fn td_coap_obs_10_get_does_not_cancel() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    let from = observing.world.seen.len();
    observing.world.ask(Code::GET, at("obs"));
    let [request, response] = &observing.world.since(from)[..] else { panic!("two datagrams") };
    assert_ne!(request.token(), observing.request.token());
    assert_eq!((request.option(OBSERVE), response.option(OBSERVE)), (None, None));
    assert_eq!((response.kind(), response.code()), (Kind::Acknowledgement, Code::CONTENT));
    observing.change_con(b"2");
}

#[test]
fn td_coap_obs_11_lossy() {
    let mut observing = observe_con("obs");
    let mut number = 0;
    observing.world.set_fate(move |_| {
        number += 1;
        if number % 3 == 0 { Fate::Lose } else { Fate::Deliver }
    });
    let from = observing.world.seen.len();
    for n in 1..=30_u8 {
        observing.note().text = Some(n.to_string().into());
        observing.world.change("obs");
        observing.world.run(Duration::from_secs(1));
    }
    observing.world.run(Duration::from_secs(100));
    assert_eq!(observing.shown(), (b"30".to_vec(), false));
    // One notification at a time: until it is acknowledged, only it is sent, or what takes its place
    // after a retransmission timeout.
    let mut outstanding: Option<Seen> = None;
    for seen in observing.world.since(from) {
        match (seen.by, &outstanding) {
            (Side::Server, Some(before)) => {
                let waited = seen.at.saturating_since(before.at);
                assert!(waited >= Duration::from_secs(2), "a second one after {waited:?}");
                outstanding = Some(seen);
            }
            (Side::Server, None) => outstanding = Some(seen),
            (Side::Client, Some(before)) if before.id() == seen.id() && !seen.lost => {
                outstanding = None;
            }
            (Side::Client, _) => {}
        }
    }
}

#[test]
fn td_coap_obs_12_get_with_observe_1_cancels() {
    let mut observing = observe_con("obs");
    observing.change_con(b"1");
    let from = observing.world.seen.len();
    let (now, exchange) = (observing.world.now, observing.exchange);
    assert!(observing.world.client.deregister(now, exchange));
    observing.world.run(Duration::from_secs(5));
    let [request, response] = &observing.world.since(from)[..] else { panic!("two datagrams") };
    assert_eq!((request.kind(), request.code()), (Kind::Confirmable, Code::GET));
    assert_eq!((request.token(), request.uint(OBSERVE)), (observing.request.token(), Some(1)));
    assert_eq!((response.kind(), response.code()), (Kind::Acknowledgement, Code::CONTENT));
    assert_eq!((response.token(), response.option(OBSERVE)), (request.token(), None));
    assert_eq!(observing.shown(), (b"1".to_vec(), true));
    observing.change_unheard();
}

/// Fetches what is behind the first block of a notification.
fn rest(observing: &mut Observing, first: &Seen) -> Vec<u8> {
    let mut download = Download::new(4_000, BlockSize::MAX);
    let mut response = first.clone();
    let mut body = Vec::new();
    loop {
        let DownloadStep::Part { payload, more, .. } = download.handle(&response.message()) else {
            panic!("a part was to come")
        };
        body.extend_from_slice(payload);
        if !more {
            return body;
        }
        let path = observing.path;
        response = observing.world.ask(Code::GET, |writer| {
            writer.path(path).unwrap();
            download.write(writer).unwrap();
        });
    }
}

/// Checks that a block came with Observe, and is full if it is one of several.
fn check_block(seen: &Seen, len: usize) {
    let block = BlockValue::find(&seen.message(), OptionNumber::BLOCK2).unwrap();
    assert!(seen.option(OBSERVE).is_some());
    assert_eq!(block.is_some(), len > 512);
    if let Some(block) = block {
        assert_eq!((block.num(), block.more(), seen.payload().len()), (0, true, 512));
    }
}

fn observe_large(path: &'static str, lens: &[usize]) {
    let mut observing = observe_con(path);
    let response = observing.response.clone();
    check_block(&response, 1_500);
    assert_eq!(rest(&mut observing, &response), text(1_500));
    for len in lens {
        let mut changed = text(*len);
        changed.reverse();
        let (notification, seen) = observing.change(&changed);
        assert_eq!(
            (notification.kind(), seen[1].kind()),
            (Kind::Confirmable, Kind::Acknowledgement)
        );
        check_block(&notification, *len);
        assert_eq!(rest(&mut observing, &notification), changed);
    }
}

#[test]
fn td_coap_obs_13_large() {
    observe_large("obs-large", &[1_500, 1_600, 2_000]);
}

#[test]
fn td_coap_obs_14_of_varying_size() {
    observe_large("obs-pumping", &[10, 1_500, 512, 513, 0, 700]);
}
