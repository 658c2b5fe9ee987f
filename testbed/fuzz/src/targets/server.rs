//! A server and a relay on one endpoint: requests of all kinds, bodies in blocks, observers, answers
//! that come later, and whatever comes back for what was relayed.

use crate::Feed;
use capmesh_coap::block::{BlockSize, BlockValue, Download, Transfer, Upload};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config, Endpoint, Outcome, Output, Responder, Via};
use capmesh_coap::link_format::Attributes;
use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Overflow, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::relay::{Decision, Hop, Policy, Relay, Relaying, Target};
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource, Route, Server, ServerConfig};
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::time::Duration;

const MTU: usize = 512;
const OBSERVERS: usize = 3;
const RELAYED: usize = 3;

/// How many times something may be said in one turn before that counts as a loop.
const MOST_AT_ONCE: usize = 200;

const PATHS: [&str; 6] = ["a", "a/b", "b", "s", ".well-known/core", ""];

/// Options that somebody here looks at, and two that nobody knows.
const OPTIONS: [u16; 24] = [
    1, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 23, 27, 28, 35, 39, 60, 252, 258, 292, 65000,
    65001,
];

const VALUES: [&[u8]; 8] =
    [b"", b"\x01", b"coap", b"10.0.0.9", b"coap://10.0.0.9/x?y=%20", b"a=b", b"rt=*", b"[::1]"];

/// Keeps what it gets, gives it back in reverse several times over, answers now or later.
#[derive(Default)]
struct Thing {
    body: Vec<u8>,
    later: Vec<Responder>,
    in_parts: bool,
}

impl<P: Copy> Resource<P> for Thing {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        if let (Some(responder), Some("b")) = (request.responder(), request.query("a")) {
            self.later.push(responder);
            return Ok(Done::Later);
        }
        reply.content_format(request.negotiate(&[0, 60])?);
        for _ in 0..4 {
            reply.write(&self.body);
        }
        Ok(Done::Content)
    }

    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        self.put(request, reply)?;
        reply.location_path("a/b");
        self.get(request, reply)
    }

    fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        if request.part().offset == 0 {
            self.body.clear();
        }
        // The parts of another body, from somebody else or with other options.
        if self.in_parts && self.body.len() != request.part().offset as usize {
            return Err(Code::CONFLICT.into());
        }
        self.body.extend_from_slice(request.body());
        Ok(Done::Changed)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { observable: true, resource_type: "t", ..Attributes::default() }
    }

    fn streams(&self, _: Code) -> Option<u32> {
        self.in_parts.then_some(500)
    }
}

struct Anywhere;

impl Policy for Anywhere {
    fn route(&self, from: SocketAddr, target: &Target<'_>) -> Decision {
        match target.literal() {
            Some(to) => {
                Decision::Pass { to, is_relay: from.port() == 1, is_verified: from.port() == 2 }
            }
            None => Decision::NoRoute,
        }
    }
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    core: Box<Endpoint<Relaying<Plain>, MTU, 6, { 6 * (MTU + 4) }, 5, 5, 8, 2048>>,
    server: Server<Hop<SocketAddr>, OBSERVERS, 2, 300>,
    relay: Relay<RELAYED>,
    thing: Thing,
    parts: Thing,
    /// What the other sides have heard last.
    heard: Vec<(SocketAddr, Vec<u8>)>,
    transfers: [Transfer; 2],
    id: u16,
}

fn transfer(feed: &mut Feed<'_>) -> Transfer {
    let mut size = || BlockSize::from_szx(feed.byte() % 4).unwrap_or(BlockSize::MIN);
    Transfer::new(Upload::new(200, size()), Download::new(2_000, size()))
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let block = BlockSize::from_szx(feed.byte() % 4).unwrap_or(BlockSize::MIN);
    let amplification = feed.byte() % 4;
    let transfers = [transfer(&mut feed), transfer(&mut feed)];
    let config = Config { amplification, ..Config::default() };
    let mut world = World {
        feed,
        now: Instant::ZERO,
        core: Box::new(Endpoint::new(config, Relaying::new(Plain), [1; 16])),
        server: Server::new(ServerConfig { block, ..Default::default() }, EchoKey::new([2; 16])),
        relay: Relay::new("fuzz"),
        thing: Thing::default(),
        parts: Thing { in_parts: true, ..Thing::default() },
        heard: Vec::new(),
        transfers,
        id: 0,
    };
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
        assert!(world.server.observers() <= OBSERVERS && world.relay.len() <= RELAYED);
    }
    // Whatever goes on ends when nobody hears anything for long enough.
    for _ in 0..40 {
        world.now += Duration::from_secs(60);
        world.settle();
    }
    for (path, _) in PATHS.iter().zip(0..4) {
        world.server.changed(path);
    }
    for _ in 0..40 {
        world.now += Duration::from_secs(60);
        world.settle();
    }
    assert!(world.relay.is_empty(), "something is relayed for ever");
}

impl World<'_> {
    fn operate(&mut self) {
        match self.feed.below(16) {
            0..=4 => self.ask(),
            5..=7 => self.go_on(),
            8 => {
                let bytes = self.feed.bytes(MTU).to_vec();
                self.arrive(&bytes);
            }
            9 => {
                let (_, bytes) = self.heard.last().cloned().unwrap_or((peer(1), Vec::new()));
                let bytes = self.feed.mutated(&bytes);
                self.arrive(&bytes);
            }
            10 | 11 => self.reply(),
            12 => self.server.changed(PATHS[self.feed.below(PATHS.len())]),
            13 => self.answer_later(),
            14 => self.now += Duration::from_millis(u64::from(self.feed.word())),
            _ => self.transfers[self.feed.below(2)] = transfer(&mut self.feed),
        }
    }

    /// A request made of what the other side looks at.
    fn ask(&mut self) {
        let kind = [Kind::Confirmable, Kind::NonConfirmable][self.feed.below(2)];
        let (code, path) = (Code(1 + self.feed.byte() % 8), PATHS[self.feed.below(PATHS.len())]);
        let count = self.feed.below(5);
        let mut buf = [0; MTU];
        let written = self.write(&mut buf, kind, code, |feed, writer| {
            writer.path(path)?;
            for _ in 0..count {
                let number = OptionNumber(OPTIONS[feed.below(OPTIONS.len())]);
                match feed.below(3) {
                    0 => writer.option(number, feed.bytes(12))?,
                    1 => writer.option_uint(number, u32::from(feed.byte()))?,
                    _ => writer.option(number, VALUES[feed.below(VALUES.len())])?,
                };
            }
            writer.payload(feed.bytes(128)).map(drop)
        });
        self.arrive(&buf[..written.unwrap_or(0)]);
    }

    /// The next request of a transfer, whose response is handed to it.
    fn go_on(&mut self) {
        let which = self.feed.below(2);
        let path = ["a", "s"][which];
        let mut machine = self.transfers[which].clone();
        let mut buf = [0; MTU];
        let code = [Code::POST, Code::PUT][which];
        let written = self.write(&mut buf, Kind::Confirmable, code, |_, writer| {
            writer.path(path)?;
            machine.write(writer, &[b'x'; 200])
        });
        let from = self.heard.len();
        self.arrive(&buf[..written.unwrap_or(0)]);
        self.settle();
        let token = Message::parse(&buf[..written.unwrap_or(0)]).map(|request| request.token());
        for (_, bytes) in &self.heard[from..] {
            if let (Ok(response), Ok(token)) = (Message::parse(bytes), token)
                && response.code().is_response()
                && response.token() == token
            {
                let _ = machine.handle(&response);
            }
        }
        self.transfers[which] = machine;
    }

    fn write(
        &mut self,
        buf: &mut [u8],
        kind: Kind,
        code: Code,
        build: impl FnOnce(&mut Feed<'_>, &mut MessageWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<usize, Overflow> {
        self.id = self.id.wrapping_add(1);
        let token = Token::new(&[self.feed.byte() % 4]).unwrap_or(Token::EMPTY);
        let mut writer = MessageWriter::new(buf, kind, code, self.id, token)?;
        build(&mut self.feed, &mut writer)?;
        Ok(writer.finish())
    }

    /// Answers the last message that was heard: with a response if it was a request.
    fn reply(&mut self) {
        let Some((_, heard)) = self.heard.pop() else { return };
        let Ok(heard) = Message::parse(&heard) else { return };
        let kinds = [Kind::Acknowledgement, Kind::Reset, Kind::Confirmable, Kind::NonConfirmable];
        let kind = kinds[self.feed.below(4)];
        let mut buf = [0; MTU];
        let is_request = heard.code().is_request();
        let (code, token) = match kind {
            Kind::Reset => (Code::EMPTY, Token::EMPTY),
            _ if is_request => (Code(self.feed.byte()), heard.token()),
            _ => (Code::EMPTY, Token::EMPTY),
        };
        let Ok(mut writer) = MessageWriter::new(&mut buf, kind, code, heard.id(), token) else {
            return;
        };
        if code != Code::EMPTY {
            for _ in 0..self.feed.below(3) {
                let number = OptionNumber(OPTIONS[self.feed.below(OPTIONS.len())]);
                let _ = writer.option(number, self.feed.bytes(6));
            }
            let block = BlockValue::new(u32::from(self.feed.byte()), true, BlockSize::MIN);
            let _ = block.map(|block| block.write(OptionNumber::BLOCK2, &mut writer));
            let _ = writer.payload(self.feed.bytes(64));
        }
        let len = writer.finish();
        self.arrive_from(SocketAddr::from(([10, 0, 0, 9], 5683)), &buf[..len]);
    }

    fn answer_later(&mut self) {
        let Some(responder) = self.thing.later.pop() else { return };
        let body = self.feed.bytes(64);
        let _ = self
            .core
            .respond(self.now, responder, Code::CONTENT, |writer| writer.payload(body).map(drop));
    }

    fn arrive(&mut self, bytes: &[u8]) {
        let from = peer(self.feed.byte());
        self.arrive_from(from, bytes);
    }

    fn arrive_from(&mut self, from: SocketAddr, bytes: &[u8]) {
        let (mut scratch, mut buf) = ([0; MTU], [0; MTU]);
        let via = if self.feed.below(16) == 1 { Via::Multicast } else { Via::Unicast };
        let Some(event) = self.core.handle(self.now, from, via, bytes, &mut scratch) else {
            return;
        };
        let core = &mut *self.core;
        let Some(event) = self.relay.handle(self.now, core, &Anywhere, event) else { return };
        let mut routes = [Route::at("a", &mut self.thing), Route::below("s", &mut self.parts)];
        let _ = self.server.handle(self.now, core, &mut routes, event, &mut buf);
    }

    /// Polls until there is nothing to do.
    fn settle(&mut self) {
        let mut buf = [0; MTU];
        let core = &mut *self.core;
        let mut routes = [Route::at("a", &mut self.thing), Route::below("s", &mut self.parts)];
        for turn in 0.. {
            assert!(turn < MOST_AT_ONCE, "it does not come to rest");
            if self.server.poll(self.now, core, &mut routes, &mut buf) {
                continue;
            }
            match core.poll(self.now, &mut buf) {
                None => break,
                Some(Output::Transmit { to, len }) => {
                    Message::parse(&buf[..len]).expect("what is sent is a message");
                    self.heard.push((to, buf[..len].to_vec()));
                }
                Some(Output::Outcome(outcome)) => {
                    let outcome = self.relay.handle_outcome(self.now, core, outcome);
                    if let Some(Outcome::ObservationEnded { observation, .. }) = outcome {
                        self.server.ended(observation);
                    }
                }
            }
        }
    }
}

fn peer(port: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1 + u16::from(port % 3)))
}
