//! Relaying between nodes that cannot reach each other, in virtual time.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

use capmesh_coap::endpoint::{
    Config, Endpoint, Event, ExchangeId, Failure, Outcome, Output, Reliability, Via,
};
use capmesh_coap::link_format::Attributes;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::relay::{Decision, Hop, Policy, Relay, Relaying, Target};
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route, Server, ServerConfig};
use capmesh_coap::{Code, Kind, Message, MessageWriter};
use capmesh_wire::Instant;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

const MTU: usize = 1280;
type Peer = Hop<SocketAddr>;
type Options<'a> = &'a dyn Fn(&mut MessageWriter<'_>);

/// Says what it was asked, and lets itself be observed.
#[derive(Default)]
struct Thing {
    value: Vec<u8>,
    requests: Vec<Vec<u8>>,
    options: Vec<(OptionNumber, Vec<u8>)>,
}

impl Resource<Peer> for Thing {
    fn get(&mut self, _: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        reply.max_age(7).write(&self.value);
        Ok(Done::Content)
    }

    fn handle(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        self.requests.push(request.message().as_bytes().to_vec());
        for (number, value) in &self.options {
            reply.option(*number, value);
        }
        match request.method() {
            Code::GET => self.get(request, reply),
            Code::POST => {
                reply.write(&[0xff, 0, 1]);
                Ok(Done::Changed)
            }
            _ => Err(Code::METHOD_NOT_ALLOWED.into()),
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { observable: true, ..Attributes::default() }
    }

    fn understands(&self, option: OptionNumber) -> bool {
        matches!(option, OptionNumber::OSCORE | OptionNumber(65001))
    }
}

struct Node {
    address: SocketAddr,
    endpoint: Endpoint<Relaying<Plain>, MTU, 8, { 8 * (MTU + 4) }, 8, 8, 64, 16384>,
    server: Server<Peer, 4, 2, 2048>,
    relay: Relay<4>,
    thing: Thing,
    told: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Response(Vec<u8>, bool),
    Failed(Failure),
    Finished,
}

/// Nodes 0, 1, ... at fd00::1, fd00::2, ..., each of which hears its neighbours only.
struct Net {
    now: Instant,
    nodes: Vec<Node>,
    in_flight: VecDeque<(usize, usize, Vec<u8>)>,
    seen: Vec<(usize, usize, Vec<u8>)>,
    /// Nodes that hear nothing.
    deaf: Vec<usize>,
    policy: Line,
}

/// Routes along the line of nodes.
#[derive(Clone, Copy, Default)]
struct Line {
    refuse: bool,
    /// Where everything goes instead.
    detour: Option<(SocketAddr, bool)>,
}

struct At(Line, SocketAddr);

impl Policy for At {
    fn route(&self, from: SocketAddr, target: &Target<'_>) -> Decision {
        let Self(line, own) = *self;
        if line.refuse && from == address(0) {
            return Decision::Refuse;
        }
        if let Some((to, is_relay)) = line.detour {
            return Decision::Pass { to, is_relay, is_verified: true };
        }
        if target.host == "loop" {
            // Nodes 1 and 2 take each other for the way.
            let to = address(3 - index(own));
            return Decision::Pass { to, is_relay: true, is_verified: true };
        }
        let named = target.host.strip_prefix("node-").and_then(|n| n.parse().ok()).map(address);
        let Some(goal) = target.literal().or(named) else { return Decision::NoRoute };
        let (own, goal_at) = (index(own), index(goal));
        let to = address(if goal_at > own { own + 1 } else { own - 1 });
        Decision::Pass { to, is_relay: to != goal, is_verified: true }
    }
}

fn address(node: usize) -> SocketAddr {
    format!("[fd00::{:x}]:5683", node + 1).parse().unwrap()
}

fn index(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V6(v6) => usize::from(v6.ip().segments()[7]) - 1,
        SocketAddr::V4(_) => panic!("no such node"),
    }
}

impl Net {
    fn new(nodes: u8) -> Self {
        let node = |at: u8| Node {
            address: address(at.into()),
            endpoint: Endpoint::new(
                Config { nstart: 8, ..Config::default() },
                Relaying::new(Plain),
                [at + 1; 16],
            ),
            server: Server::new(
                ServerConfig::default(),
                capmesh_coap::echo::EchoKey::new([at; 16]),
            ),
            relay: Relay::new(["r0", "r1", "r2", "r3"][usize::from(at)]),
            thing: Thing { value: b"value".to_vec(), ..Thing::default() },
            told: Vec::new(),
        };
        Self {
            now: Instant::from_secs(1),
            nodes: (0..nodes).map(node).collect(),
            in_flight: VecDeque::new(),
            seen: Vec::new(),
            deaf: Vec::new(),
            policy: Line::default(),
        }
    }

    /// Node 0 asks node 1 to relay something.
    fn request(
        &mut self,
        kind: Reliability,
        code: Code,
        build: impl Fn(&mut MessageWriter<'_>),
    ) -> ExchangeId {
        let node = &mut self.nodes[0];
        let to = Hop::Peer(address(1));
        let exchange = node.endpoint.request(self.now, to, kind, code, |writer| {
            build(writer);
            Ok(())
        });
        exchange.unwrap()
    }

    /// A confirmable request of node 0, run to its end. The response as the client got it.
    fn ask(&mut self, code: Code, build: impl Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
        self.request(Reliability::Confirmable, code, build);
        self.run(Duration::from_secs(100));
        match self.nodes[0].told.pop() {
            Some(Told::Response(bytes, true)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            for at in 0..self.nodes.len() {
                self.settle(at);
            }
            if let Some((from, to, bytes)) = self.in_flight.pop_front() {
                self.arrive(from, to, &bytes);
                continue;
            }
            let timeouts = |node: &Node| [node.endpoint.poll_timeout(), node.relay.poll_timeout()];
            let next = self.nodes.iter().flat_map(timeouts).flatten().min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let (mut scratch, mut buf) = ([0; MTU], [0; MTU]);
        let (now, policy) = (self.now, At(self.policy, address(to)));
        let Some(node) = self.nodes.get_mut(to) else { return };
        let Node { endpoint, server, relay, thing, told, .. } = node;
        let event = endpoint.handle(now, address(from), Via::Unicast, bytes, &mut scratch);
        let Some(event) = event else { return };
        let Some(event) = relay.handle(now, endpoint, &policy, event) else { return };
        let mut routes = [Route::at("thing", thing)];
        match server.handle(now, endpoint, &mut routes, event, &mut buf) {
            Some(Event::Response { message, last, .. }) => {
                told.push(Told::Response(message.as_bytes().to_vec(), last));
            }
            Some(Event::Request { .. }) => panic!("the server takes all requests"),
            None => {}
        }
    }

    fn settle(&mut self, at: usize) {
        let mut buf = [0; MTU];
        let now = self.now;
        let Node { address, endpoint, server, relay, thing, told } = &mut self.nodes[at];
        let mut routes = [Route::at("thing", thing)];
        while server.poll(now, endpoint, &mut routes, &mut buf) {}
        relay.poll(now, endpoint);
        while let Some(output) = endpoint.poll(now, &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    let (from, to) = (index(*address), index(to));
                    assert_eq!(from.abs_diff(to), 1, "{from} cannot reach {to}");
                    self.seen.push((from, to, buf[..len].to_vec()));
                    if !self.deaf.contains(&to) {
                        self.in_flight.push_back((from, to, buf[..len].to_vec()));
                    }
                }
                Output::Outcome(outcome) => match relay.handle_outcome(now, endpoint, outcome) {
                    None => {}
                    Some(Outcome::Failed { reason, .. }) => told.push(Told::Failed(reason)),
                    Some(Outcome::ObservationEnded { observation, .. }) => {
                        server.ended(observation);
                    }
                    Some(Outcome::Finished { .. }) => told.push(Told::Finished),
                },
            }
        }
    }

    fn change(&mut self, node: usize, value: &[u8]) {
        self.nodes[node].thing.value = value.to_vec();
        self.nodes[node].server.changed("thing");
        self.run(Duration::from_secs(1));
    }
}

/// Options of a request to a proxy for `thing` at `host`.
fn proxied(host: &str) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.option(OptionNumber::PROXY_SCHEME, b"coap").unwrap();
        writer.option(OptionNumber::URI_HOST, host.as_bytes()).unwrap();
        writer.path("thing").unwrap();
    }
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap()
}

fn options(message: Message<'_>) -> Vec<(OptionNumber, Vec<u8>)> {
    message.options().map(|(number, value)| (number, value.to_vec())).collect()
}

/// Code and payload of the response to a request for `thing` that node 1 is to relay.
fn answer(net: &mut Net, code: Code, build: impl Fn(&mut MessageWriter<'_>)) -> (Code, Vec<u8>) {
    let response = net.ask(code, build);
    (parsed(&response).code(), parsed(&response).payload().to_vec())
}

#[test]
fn a_request_goes_on_and_its_response_comes_back() {
    let mut net = Net::new(3);
    let response = net.ask(Code::GET, proxied("fd00::3"));
    let response = parsed(&response);
    assert_eq!((response.code(), response.payload()), (Code::CONTENT, &b"value"[..]));
    assert_eq!(options(response), [(OptionNumber::MAX_AGE, vec![7])]);
    let got = parsed(&net.nodes[2].thing.requests[0]);
    assert_eq!(got.kind(), Kind::Confirmable);
    let expected =
        [(OptionNumber::URI_PATH, b"thing".to_vec()), (OptionNumber::HOP_LIMIT, vec![16])];
    assert_eq!(options(got), expected);
    assert!(net.nodes[1].relay.is_empty());
}

#[test]
fn names_ports_and_uris_lead_there_too() {
    let with_port = |writer: &mut MessageWriter<'_>| {
        proxied("[fd00::3]")(writer);
        writer.option_uint(OptionNumber::URI_PORT, 5683).unwrap();
    };
    let uri = |uri: &'static str| {
        move |writer: &mut MessageWriter<'_>| {
            writer.option(OptionNumber::PROXY_URI, uri.as_bytes()).unwrap();
        }
    };
    let path = (OptionNumber::URI_PATH, b"thing".to_vec());
    let hops = (OptionNumber::HOP_LIMIT, vec![16]);
    let name = (OptionNumber::URI_HOST, b"node-2".to_vec());
    let query = (OptionNumber::URI_QUERY, b"a=b c".to_vec());
    let cases: [(Options<'_>, _); 4] = [
        (&with_port, vec![path.clone(), hops.clone()]),
        (&proxied("node-2"), vec![name.clone(), path.clone(), hops.clone()]),
        (&uri("coap://[fd00::3]/thing?a=b%20c"), vec![path.clone(), query, hops.clone()]),
        (&uri("coap://node-2:5683/thing"), vec![name, path, hops]),
    ];
    for (build, expected) in cases {
        let mut net = Net::new(3);
        assert_eq!(answer(&mut net, Code::GET, build), (Code::CONTENT, b"value".to_vec()));
        assert_eq!(options(parsed(&net.nodes[2].thing.requests[0])), expected);
    }
}

#[test]
fn oscore_passes_untouched() {
    let mut net = Net::new(3);
    let protected = [0x9f, 0, 0xff, 0xff, 1, 2, 3];
    net.nodes[2].thing.options = vec![(OptionNumber::OSCORE, vec![1, 2])];
    let response = net.ask(Code::POST, |writer| {
        proxied("fd00::3")(writer);
        writer.option(OptionNumber::OSCORE, &[9, 20, 0xab]).unwrap();
        writer.payload(&protected).unwrap();
    });
    let got = parsed(&net.nodes[2].thing.requests[0]);
    assert_eq!((got.code(), got.payload()), (Code::POST, &protected[..]));
    assert_eq!(got.option(OptionNumber::OSCORE), Some(&[9, 20, 0xab][..]));
    let response = parsed(&response);
    assert_eq!((response.code(), response.payload()), (Code::CHANGED, &[0xff, 0, 1][..]));
    assert_eq!(response.option(OptionNumber::OSCORE), Some(&[1, 2][..]));
}

#[test]
fn relays_form_chains_until_the_hops_run_out() {
    let mut net = Net::new(4);
    assert_eq!(answer(&mut net, Code::GET, proxied("node-3")).0, Code::CONTENT);
    let got = parsed(&net.nodes[3].thing.requests[0]);
    assert_eq!(got.option_uint(OptionNumber::HOP_LIMIT), Some(15));
    for (limit, expected) in [
        (3, (Code::CONTENT, b"value".to_vec())),
        (2, (Code::HOP_LIMIT_REACHED, b"r1 r2".to_vec())),
        (1, (Code::HOP_LIMIT_REACHED, b"r1".to_vec())),
        (0, (Code::BAD_REQUEST, vec![])),
        (256, (Code::BAD_REQUEST, vec![])),
    ] {
        let response = answer(&mut net, Code::GET, |writer| {
            proxied("node-3")(writer);
            writer.option_uint(OptionNumber::HOP_LIMIT, limit).unwrap();
        });
        assert_eq!(response, expected, "{limit}");
    }
}

#[test]
fn a_loop_ends() {
    let mut net = Net::new(3);
    let end = answer(&mut net, Code::GET, |writer| {
        proxied("loop")(writer);
        writer.option_uint(OptionNumber::HOP_LIMIT, 8).unwrap();
    });
    assert_eq!(end, (Code::HOP_LIMIT_REACHED, b"r1 r2 r1 r2 r1 r2 r1 r2".to_vec()));
}

#[test]
fn what_cannot_be_relayed_is_refused() {
    let mut net = Net::new(3);
    let with = |number, value: &'static [u8]| {
        move |writer: &mut MessageWriter<'_>| {
            proxied("fd00::3")(writer);
            writer.option(number, value).unwrap();
        }
    };
    let scheme = |scheme: &'static [u8]| {
        move |writer: &mut MessageWriter<'_>| {
            writer.option(OptionNumber::PROXY_SCHEME, scheme).unwrap();
            writer.option(OptionNumber::URI_HOST, b"fd00::3").unwrap();
        }
    };
    let no_host = |writer: &mut MessageWriter<'_>| {
        writer.option(OptionNumber::PROXY_SCHEME, b"coap").unwrap();
    };
    let cases: [(Options<'_>, Code); 8] = [
        (&scheme(b"coaps"), Code::PROXYING_NOT_SUPPORTED),
        (&scheme(b"http"), Code::PROXYING_NOT_SUPPORTED),
        (&no_host, Code::BAD_REQUEST),
        (&proxied("nobody"), Code::BAD_GATEWAY),
        (&proxied("\u{e9}"), Code::BAD_GATEWAY),
        (&with(OptionNumber(65003), b""), Code::BAD_OPTION),
        (&with(OptionNumber(65002), b""), Code::BAD_OPTION),
        (&with(OptionNumber(65001), b""), Code::CONTENT),
    ];
    for (build, expected) in cases {
        assert_eq!(answer(&mut net, Code::GET, build).0, expected);
    }
    net.policy.refuse = true;
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::FORBIDDEN);
    net.policy = Line { detour: Some(("[ff02::1]:5683".parse().unwrap(), false)), refuse: false };
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::FORBIDDEN);
    assert!(net.nodes[1].relay.is_empty());
}

#[test]
fn a_response_with_an_unknown_unsafe_option_stops_at_the_relay() {
    let mut net = Net::new(3);
    net.nodes[2].thing.options = vec![(OptionNumber(65002), vec![])];
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::BAD_GATEWAY);
    net.nodes[2].thing.options = vec![(OptionNumber(65000), vec![])];
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::CONTENT);
}

#[test]
fn a_target_that_does_not_answer_is_a_timeout() {
    let mut net = Net::new(3);
    net.deaf.push(2);
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::GATEWAY_TIMEOUT);
    assert!(net.nodes[1].relay.is_empty());
}

#[test]
fn one_that_takes_a_non_confirmable_request_and_does_not_answer_is_a_timeout_too() {
    let mut net = Net::new(3);
    net.deaf.push(2);
    net.request(Reliability::NonConfirmable, Code::GET, proxied("fd00::3"));
    net.run(Duration::from_secs(99));
    assert_eq!(net.nodes[0].told, []);
    net.run(Duration::from_secs(2));
    let [Told::Response(late, true)] = &net.nodes[0].told[..] else { panic!("one response") };
    assert_eq!(parsed(late).code(), Code::GATEWAY_TIMEOUT);
    assert!(net.nodes[1].relay.is_empty());
}

#[test]
fn a_full_relay_says_so_and_recovers() {
    let mut net = Net::new(3);
    net.deaf.push(2);
    for _ in 0..5 {
        net.request(Reliability::NonConfirmable, Code::GET, proxied("fd00::3"));
    }
    net.run(Duration::from_secs(1));
    assert_eq!(net.nodes[1].relay.len(), 4);
    let [Told::Response(full, true)] = &net.nodes[0].told[..] else { panic!("one response") };
    assert_eq!(parsed(full).code(), Code::SERVICE_UNAVAILABLE);
    assert_eq!(parsed(full).option_uint(OptionNumber::MAX_AGE), Some(2));
    net.deaf.clear();
    net.run(Duration::from_secs(200));
    assert!(net.nodes[1].relay.is_empty());
    net.nodes[0].told.clear();
    assert_eq!(answer(&mut net, Code::GET, proxied("fd00::3")).0, Code::CONTENT);
}

fn observe(net: &mut Net) -> ExchangeId {
    let exchange = net.request(Reliability::Confirmable, Code::GET, |writer| {
        proxied("fd00::3")(writer);
        writer.option_uint(OptionNumber::OBSERVE, 0).unwrap();
    });
    net.run(Duration::from_secs(1));
    exchange
}

fn shown(net: &mut Net) -> Vec<(Vec<u8>, bool)> {
    let shown = |told: Told| match told {
        Told::Response(bytes, last) => (parsed(&bytes).payload().to_vec(), last),
        other => panic!("{other:?}"),
    };
    net.nodes[0].told.drain(..).map(shown).collect()
}

#[test]
fn observations_go_through_until_the_client_cancels() {
    let mut net = Net::new(3);
    let exchange = observe(&mut net);
    for value in ["1", "2", "3"] {
        net.change(2, value.as_bytes());
    }
    let expected = ["value", "1", "2", "3"].map(|value| (value.as_bytes().to_vec(), false));
    assert_eq!(shown(&mut net), expected);
    let now = net.now;
    assert!(net.nodes[0].endpoint.cancel(now, exchange));
    for value in ["4", "5", "6"] {
        net.change(2, value.as_bytes());
    }
    net.run(Duration::from_secs(100));
    assert_eq!(shown(&mut net), []);
    assert!(net.nodes[1].relay.is_empty());
    assert_eq!(net.nodes[2].server.observers(), 0);
}

#[test]
fn an_observation_that_the_target_ends_ends_at_the_client() {
    let mut net = Net::new(3);
    observe(&mut net);
    net.nodes[2].thing.options = vec![(OptionNumber(65002), vec![])];
    net.change(2, b"x");
    let told = net.nodes[0].told.clone();
    let Some(Told::Response(end, true)) = told.last() else { panic!("{told:?}") };
    assert_eq!(parsed(end).code(), Code::BAD_GATEWAY);
    assert!(net.nodes[1].relay.is_empty());
}

#[test]
fn a_client_that_deregisters_through_the_relay_is_forgotten() {
    let mut net = Net::new(3);
    let exchange = observe(&mut net);
    let now = net.now;
    assert!(net.nodes[0].endpoint.deregister(now, exchange));
    net.run(Duration::from_secs(1));
    net.change(2, b"1");
    net.run(Duration::from_secs(100));
    assert!(net.nodes[1].relay.is_empty());
    assert_eq!(net.nodes[2].server.observers(), 0);
}

/// Option numbers that a relay looks at, and a few that nobody knows.
const NUMBERS: [u16; 22] =
    [1, 3, 3, 4, 6, 6, 7, 9, 11, 14, 15, 16, 16, 23, 27, 35, 35, 39, 39, 258, 65000, 65001];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_is_to_be_relayed_ends(
        requests in proptest::collection::vec(
            (
                1..=8_u8,
                proptest::collection::vec(
                    (
                        proptest::sample::select(&NUMBERS[..]),
                        prop_oneof![
                            Just(b"coap".to_vec()),
                            Just(b"fd00::3".to_vec()),
                            Just(b"coap://[fd00::3]/thing".to_vec()),
                            "(coap|x)://(\\[fd00::3\\]|node-2|h)?(:[0-9]{0,6})?/?[a-z%/?&#]{0,6}"
                                .prop_map(String::into_bytes),
                            proptest::collection::vec(any::<u8>(), 0..6),
                        ],
                    ),
                    0..6,
                ),
                proptest::collection::vec(any::<u8>(), 0..40),
            ),
            1..12,
        ),
        deaf: bool,
    ) {
        let mut net = Net::new(3);
        if deaf {
            net.deaf.push(2);
        }
        for (code, options, payload) in requests {
            let kind = Reliability::Confirmable;
            let to = Hop::Address(address(1));
            let (now, endpoint) = (net.now, &mut net.nodes[0].endpoint);
            let sent = endpoint.request(now, to, kind, Code(code), |writer| {
                for (number, value) in &options {
                    writer.option(OptionNumber(*number), value)?;
                }
                writer.payload(&payload)?;
                Ok(())
            });
            prop_assert!(sent.is_ok());
            // With No-Response, it may be that nothing comes.
            net.run(Duration::from_secs(200));
            prop_assert!(net.nodes[0].told.len() == 1, "{:?}", net.nodes[0].told);
            net.nodes[0].told.clear();
            let exchange = sent.unwrap();
            net.nodes[0].endpoint.cancel(net.now, exchange);
        }
        net.deaf.clear();
        net.change(2, b"to end observations");
        net.run(Duration::from_secs(600));
        prop_assert!(net.nodes[1].relay.is_empty());
    }
}
