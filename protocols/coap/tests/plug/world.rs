//! Two endpoints, a client and a server, over a link in virtual time that keeps a record of what went
//! over it and loses, repeats and delays what it is told to.

use capmesh_coap::block::{Transfer, TransferStep};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{
    Config, Endpoint, Event, ExchangeId, Failure, Outcome, Output, Reliability, Via,
};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::server::{Server, ServerConfig};
use capmesh_coap::{Code, Kind, Message, MessageWriter, Token};
use capmesh_wire::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::site::Site;

pub const MTU: usize = 1280;
pub const LATENCY: Duration = Duration::from_millis(10);

type Peer = Endpoint<Plain, MTU, 8, { 8 * (MTU + 4) }, 8, 8, 64, 16384>;

/// What the link does to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Deliver,
    Lose,
    Repeat,
    Delay(Duration),
}

/// Who sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// A datagram as it was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub by: Side,
    pub lost: bool,
    pub bytes: Vec<u8>,
}

impl Seen {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub fn kind(&self) -> Kind {
        self.message().kind()
    }

    pub fn code(&self) -> Code {
        self.message().code()
    }

    pub fn id(&self) -> u16 {
        self.message().id()
    }

    pub fn token(&self) -> Token {
        self.message().token()
    }

    pub fn payload(&self) -> &[u8] {
        self.message().payload()
    }

    pub fn option(&self, number: OptionNumber) -> Option<Vec<u8>> {
        self.message().option(number).map(<[u8]>::to_vec)
    }

    pub fn uint(&self, number: OptionNumber) -> Option<u32> {
        self.message().option_uint(number)
    }

    pub fn texts(&self, number: OptionNumber) -> Vec<String> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        self.message().option_values(number).map(text).collect()
    }
}

/// What the client's application was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Response { exchange: ExchangeId, bytes: Vec<u8>, last: bool },
    Failed { exchange: ExchangeId, reason: Failure },
    Finished { exchange: ExchangeId },
}

pub struct World {
    pub now: Instant,
    pub client: Peer,
    pub site: Site,
    pub told: Vec<Told>,
    pub seen: Vec<Seen>,
    pub server: Server<SocketAddr, 4, 4, 8192>,
    server_endpoint: Peer,
    in_flight: BTreeMap<(Instant, usize), (Side, Vec<u8>)>,
    fate: Box<dyn FnMut(&Seen) -> Fate>,
}

pub fn client_address() -> SocketAddr {
    "[fd00::1]:5683".parse().unwrap()
}

pub fn server_address() -> SocketAddr {
    "[fd00::2]:5683".parse().unwrap()
}

/// The plug tests were written before amplification was a concern.
pub fn unlimited() -> Config {
    Config { amplification: 0, ..Config::default() }
}

impl World {
    pub fn new() -> Self {
        Self::with(unlimited(), ServerConfig::default())
    }

    pub fn with(config: Config, server: ServerConfig) -> Self {
        Self {
            now: Instant::from_secs(1),
            client: Endpoint::new(config, Plain, [1; 16]),
            site: Site::new(),
            told: Vec::new(),
            seen: Vec::new(),
            server: Server::new(server, EchoKey::new([3; 16])),
            server_endpoint: Endpoint::new(config, Plain, [2; 16]),
            in_flight: BTreeMap::new(),
            fate: Box::new(|_| Fate::Deliver),
        }
    }

    /// Decides what becomes of each datagram from here on.
    pub fn set_fate(&mut self, fate: impl FnMut(&Seen) -> Fate + 'static) {
        self.fate = Box::new(fate);
    }

    /// Restarts the server without what it knew of its clients.
    pub fn reboot_server(&mut self) {
        self.server_endpoint = Endpoint::new(*self.server_endpoint.config(), Plain, [4; 16]);
        self.server = Server::new(ServerConfig::default(), EchoKey::new([5; 16]));
    }

    /// Restarts the client without what it knew of its requests.
    pub fn reboot_client(&mut self) {
        self.client = Endpoint::new(*self.client.config(), Plain, [6; 16]);
    }

    pub fn request(
        &mut self,
        reliability: Reliability,
        code: Code,
        build: impl Fn(&mut MessageWriter<'_>),
    ) -> ExchangeId {
        let exchange =
            self.client.request(self.now, server_address(), reliability, code, |writer| {
                build(writer);
                Ok(())
            });
        exchange.unwrap()
    }

    /// A confirmable request that is run until it has its response.
    pub fn ask(&mut self, code: Code, build: impl Fn(&mut MessageWriter<'_>)) -> Seen {
        let exchange = self.request(Reliability::Confirmable, code, build);
        self.answer(exchange)
    }

    /// Runs until `exchange` has its response, which is returned.
    pub fn answer(&mut self, exchange: ExchangeId) -> Seen {
        let until = self.now + Duration::from_secs(20_000);
        let from = self.told.len();
        loop {
            for told in &self.told[from..] {
                match told {
                    Told::Response { exchange: e, bytes, .. } if *e == exchange => {
                        let (at, bytes) = (self.now, bytes.clone());
                        return Seen { at, by: Side::Server, lost: false, bytes };
                    }
                    Told::Failed { exchange: e, reason } if *e == exchange => {
                        panic!("the request failed: {reason:?}")
                    }
                    _ => {}
                }
            }
            assert!(self.step(until), "no response");
        }
    }

    /// Runs for as long as `span`.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
        self.settle();
    }

    /// Runs a block-wise transfer with confirmable requests; the response's body.
    pub fn transfer(
        &mut self,
        mut transfer: Transfer,
        code: Code,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, TransferStep<'static>> {
        let mut got = Vec::new();
        loop {
            let response = self.ask(code, |writer| {
                writer.path(path).unwrap();
                transfer.write(writer, body).unwrap();
            });
            match transfer.handle(&response.message()) {
                TransferStep::Next => {}
                TransferStep::Part { payload, more, .. } => {
                    got.extend_from_slice(payload);
                    if !more {
                        return Ok(got);
                    }
                }
                TransferStep::Refused(code) => return Err(TransferStep::Refused(code)),
                TransferStep::UploadFailed(e) => return Err(TransferStep::UploadFailed(e)),
                TransferStep::DownloadFailed(e) => return Err(TransferStep::DownloadFailed(e)),
            }
        }
    }

    /// Says at the server that the resource has changed.
    pub fn change(&mut self, path: &str) {
        self.server.changed(path);
        self.settle();
    }

    /// Gives the server a datagram that the client's endpoint would not make. What it says to it
    /// within ten seconds, which does not reach the client.
    pub fn raw(&mut self, via: Via, bytes: &[u8]) -> Vec<Seen> {
        let from = self.seen.len();
        self.set_fate(|_| Fate::Lose);
        self.arrive(Side::Client, via, bytes);
        self.run(Duration::from_secs(10));
        self.set_fate(|_| Fate::Deliver);
        self.since(from)
    }

    /// What went over the link since `from`, a length of `seen`.
    pub fn since(&self, from: usize) -> Vec<Seen> {
        self.seen[from..].to_vec()
    }

    /// Does everything that is due now, then goes to the next moment at which something is, unless
    /// that is after `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        self.settle();
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let times = [
            arrival,
            self.client.poll_timeout(),
            self.server_endpoint.poll_timeout(),
            self.site.poll_timeout(),
        ];
        let Some(next) = times.into_iter().flatten().min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (by, bytes) = entry.remove();
            self.arrive(by, Via::Unicast, &bytes);
            self.settle();
        }
        self.settle();
        true
    }

    fn arrive(&mut self, by: Side, via: Via, bytes: &[u8]) {
        let (mut scratch, mut buf) = ([0; MTU], [0; MTU]);
        let now = self.now;
        match by {
            Side::Client => {
                let from = client_address();
                let endpoint = &mut self.server_endpoint;
                if let Some(event) = endpoint.handle(now, from, via, bytes, &mut scratch) {
                    let mut routes = self.site.routes();
                    let rest = self.server.handle(now, endpoint, &mut routes, event, &mut buf);
                    assert!(rest.is_none(), "the server asks nothing");
                }
            }
            Side::Server => {
                let from = server_address();
                match self.client.handle(now, from, via, bytes, &mut scratch) {
                    Some(Event::Response { exchange, message, last, .. }) => {
                        let bytes = message.as_bytes().to_vec();
                        self.told.push(Told::Response { exchange, bytes, last });
                    }
                    Some(Event::Request { .. }) => panic!("the client serves nothing"),
                    None => {}
                }
            }
        }
    }

    /// Polls everything until nothing more comes.
    fn settle(&mut self) {
        let mut buf = [0; MTU];
        let now = self.now;
        self.site.poll(now, &mut self.server_endpoint);
        for body in self.site.refuse(now, &mut self.server_endpoint) {
            self.server.release(body);
        }
        for path in self.site.take_changes() {
            self.server.changed(path);
        }
        loop {
            let mut routes = self.site.routes();
            if !self.server.poll(now, &mut self.server_endpoint, &mut routes, &mut buf) {
                break;
            }
        }
        while let Some(output) = self.client.poll(now, &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    assert_eq!(to, server_address());
                    self.transmit(Side::Client, &buf[..len]);
                }
                Output::Outcome(Outcome::Failed { exchange, reason }) => {
                    self.told.push(Told::Failed { exchange, reason });
                }
                Output::Outcome(Outcome::Finished { exchange }) => {
                    self.told.push(Told::Finished { exchange });
                }
                Output::Outcome(other) => panic!("{other:?}"),
            }
        }
        while let Some(output) = self.server_endpoint.poll(now, &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    assert_eq!(to, client_address());
                    self.transmit(Side::Server, &buf[..len]);
                }
                Output::Outcome(Outcome::ObservationEnded { observation, .. }) => {
                    self.server.ended(observation);
                }
                Output::Outcome(_) => {}
            }
        }
    }

    fn transmit(&mut self, by: Side, bytes: &[u8]) {
        let mut seen = Seen { at: self.now, by, lost: false, bytes: bytes.to_vec() };
        let fate = (self.fate)(&seen);
        seen.lost = fate == Fate::Lose;
        let number = 2 * self.seen.len();
        self.seen.push(seen);
        let arrival = self.now + LATENCY;
        match fate {
            Fate::Lose => {}
            Fate::Deliver => {
                self.in_flight.insert((arrival, number), (by, bytes.to_vec()));
            }
            Fate::Delay(more) => {
                self.in_flight.insert((arrival + more, number), (by, bytes.to_vec()));
            }
            Fate::Repeat => {
                self.in_flight.insert((arrival, number), (by, bytes.to_vec()));
                self.in_flight.insert((arrival + LATENCY, number + 1), (by, bytes.to_vec()));
            }
        }
    }
}
