//! A node, as far as a gateway can tell: a socket, a session, two streams.

use crate::site::{self, EVERY, Failed, LATEST, Members, TAP};
use capmesh_coap::Code;
use capmesh_coap::endpoint::{
    Config, Endpoint, Event, ExchangeId, Outcome, Output, Reliability, Via,
};
use capmesh_coap::message::{MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_session::{Config as SessionConfig, Peer, SecureEndpoint, Sessions};
use capmesh_wire::cbor::{List, Writer, decode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::schema::{PayloadWriter, Schema};
use capmesh_wire::{Epoch, Instant, Problem, Seq, Value, content_format, paths};
use rand_core::{OsRng, RngCore};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const MTU: usize = 1280;

type Link =
    SecureEndpoint<Sessions<Members, OsRng, 1, 1>, MTU, 6, { 6 * (MTU + 4) }, 1, 1, 8, 2_560>;

/// No-Response (RFC 7967): no response of any class is wanted.
const NO_RESPONSE: u32 = 26;

/// Batches of `every` wires on their way at once: as many as a board has.
const WINDOW: usize = 2;

/// How long a node waits that was told nothing new, as the real one does.
const NO_PROGRESS: Duration = Duration::from_millis(200);

/// Messages that wait at the producer. What comes then is not made, as when a capsule is paused.
const OUTBOX: usize = 256;

pub(crate) struct Node {
    link: Box<Link>,
    pub(crate) socket: UdpSocket,
    gateway: Peer,
    number: u32,
    /// When each of the messages was made that are not acknowledged; the first has number `acked`.
    queue: VecDeque<u64>,
    acked: u64,
    /// Batches that are on their way.
    flights: Vec<(ExchangeId, u64, u64)>,
    retry_at: Option<Instant>,
    /// When it is to be looked at, as whoever looks has noted it.
    pub(crate) due: Option<Instant>,
    next_latest: u64,
    /// Messages that were not made because the outbox was full.
    pub(crate) paused: u64,
    /// Batches that the gateway told to come again later.
    pub(crate) held_off: u64,
    pub(crate) failed: u64,
}

impl Node {
    pub(crate) fn new(now: Instant, number: u32, gateway: SocketAddr) -> Result<Self, Failed> {
        let mut seed = [0; 16];
        OsRng.fill_bytes(&mut seed);
        let (identity, members) = (site::identity(number)?, Members::gateway()?);
        let config =
            SessionConfig { retry_min: Duration::from_millis(200), ..SessionConfig::default() };
        let mut sessions = Sessions::new(now, config, identity, members, OsRng);
        let peer = sessions.introduce(now, site::id(site::GATEWAY)?, gateway)?;
        let config = Config { nstart: 4, ..Config::default() };
        let link = Box::new(SecureEndpoint::new(Endpoint::new(config, sessions, seed)));
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(gateway)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            link,
            socket,
            gateway: peer,
            number,
            queue: VecDeque::new(),
            acked: 0,
            flights: Vec::new(),
            retry_at: None,
            due: None,
            next_latest: 0,
            paused: 0,
            held_off: 0,
            failed: 0,
        })
    }

    /// Makes so many messages for the `every` wire.
    pub(crate) fn make(&mut self, now: Instant, count: usize) {
        let room = OUTBOX.saturating_sub(self.queue.len()).min(count);
        self.paused = self.paused.saturating_add((count - room) as u64);
        self.queue.extend(std::iter::repeat_n(now.as_micros(), room));
    }

    /// Makes messages until so many wait.
    pub(crate) fn fill(&mut self, now: Instant, count: usize) {
        self.make(now, count.saturating_sub(self.queue.len()));
    }

    pub(crate) const fn acked(&self) -> u64 {
        self.acked
    }

    pub(crate) const fn latest(&self) -> u64 {
        self.next_latest
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends one message on the `latest` wire.
    pub(crate) fn send_latest(&mut self, now: Instant, schema: &Schema<'_>) {
        let seq = self.next_latest;
        let sent = [now.as_micros()];
        let stream = site::stream(self.number, LATEST);
        let Some(batch) = batch(stream, seq, sent.iter(), schema) else { return };
        if self.post(now, Reliability::NonConfirmable, &batch).is_some() {
            self.next_latest += 1;
        }
    }

    /// Sends batches of at most `most` messages, as many as may be on their way.
    pub(crate) fn send_every(&mut self, now: Instant, most: usize, schema: &Schema<'_>) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        while self.flights.len() < WINDOW {
            let first = self.flights.iter().map(|(_, _, end)| *end).max();
            let first = first.unwrap_or(self.acked).max(self.acked);
            let skip = usize::try_from(first - self.acked).unwrap_or(usize::MAX);
            let times = self.queue.iter().skip(skip).take(most);
            let count = times.clone().count();
            if count == 0 {
                return;
            }
            let stream = site::stream(self.number, EVERY);
            let Some(batch) = batch(stream, first, times, schema) else { return };
            let Some(exchange) = self.post(now, Reliability::Confirmable, &batch) else { return };
            self.flights.push((exchange, first, first + count as u64));
        }
    }

    fn post(&mut self, now: Instant, reliability: Reliability, batch: &[u8]) -> Option<ExchangeId> {
        let build = |writer: &mut MessageWriter<'_>| -> Result<(), Overflow> {
            writer.path(paths::INBOX)?.path(&TAP.0.to_string())?;
            writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into())?;
            if reliability == Reliability::NonConfirmable {
                writer.option_uint(OptionNumber::NO_RESPONSE, NO_RESPONSE)?;
            }
            writer.payload(batch)?;
            Ok(())
        };
        self.link.request(now, self.gateway, reliability, Code::POST, build).ok()
    }

    /// Takes what has come.
    pub(crate) fn receive(&mut self, now: Instant) -> io::Result<()> {
        let (mut datagram, mut scratch) = ([0; 2_048], [0; MTU]);
        loop {
            let len = match self.socket.recv(&mut datagram) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let from = self.socket.peer_addr()?;
            let datagram = datagram.get(..len).unwrap_or_default();
            let event = self.link.handle(now, from, Via::Unicast, datagram, &mut scratch);
            let Some(Event::Response { exchange, message, .. }) = event else { continue };
            let flight = self.flights.iter().position(|(flight, ..)| *flight == exchange);
            if let Some(at) = flight {
                self.flights.swap_remove(at);
            }
            if message.code().is_success() {
                let ack: Option<Ack> = decode(message.payload()).ok();
                let next = ack.map_or(self.acked, |ack| ack.next.0);
                if next <= self.acked {
                    // A batch that was sent before this one did not arrive: it comes again by itself.
                    self.retry_at = Some(now + NO_PROGRESS);
                }
                while self.acked < next && self.queue.pop_front().is_some() {
                    self.acked += 1;
                }
            } else {
                self.held_off += 1;
                let problem: Option<Problem<'_>> = decode(message.payload()).ok();
                let wait = problem.and_then(|problem| problem.retry_ms).unwrap_or(500);
                self.retry_at = Some(now + Duration::from_millis(wait.into()));
            }
        }
    }

    /// Sends what is to be sent.
    pub(crate) fn transmit(&mut self, now: Instant) -> io::Result<()> {
        let mut datagram = [0; MTU];
        while let Some(output) = self.link.poll(now, &mut datagram) {
            match output {
                Output::Transmit { len, .. } => {
                    match self.socket.send(datagram.get(..len).unwrap_or_default()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        sent => drop(sent?),
                    }
                }
                Output::Outcome(Outcome::Failed { exchange, .. }) => {
                    self.failed += 1;
                    self.flights.retain(|(flight, ..)| *flight != exchange);
                }
                Output::Outcome(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout().into_iter().chain(self.retry_at).min()
    }
}

/// Messages that were made at these times, as a batch.
fn batch<'t>(
    stream: Stream,
    first: u64,
    times: impl Iterator<Item = &'t u64>,
    schema: &Schema<'_>,
) -> Option<Vec<u8>> {
    let head = Batch {
        stream,
        epoch: Epoch(1),
        first: Seq(first),
        schema: schema.id().tag(),
        start: Timestamp { micros: 1_763_823_845_000_000, uncertainty: Some(500) },
        messages: List::EMPTY,
    };
    let mut buf = [0; 1_024];
    let mut writer = Writer::new(&mut buf);
    let mut batch = BatchWriter::new(&head, &mut writer).ok()?;
    for sent in times {
        let mut buf = [0; 32];
        let mut writer = Writer::new(&mut buf);
        let mut payload = PayloadWriter::new(schema.fields(), &mut writer).ok()?;
        payload.value(Value::Uint(*sent)).ok()?;
        payload.value(Value::Float(21.5)).ok()?;
        batch.push(1_000, payload.finish().ok()?).ok()?;
    }
    Some(writer.written().to_vec())
}
