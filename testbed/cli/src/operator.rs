//! An operator's endpoint on a socket: asks nodes and waits for their answers, and serves what it
//! [offers](Operator::offer) meanwhile.

use crate::offer::Offers;
use anyhow::{Context, Result, anyhow};
use capmesh_blob::Serve;
use capmesh_blob::mapping::PREFIX;
use capmesh_blob::serve::Rate;
use capmesh_coap::block::{
    BlockSize, Download, DownloadStep, RequestTag, Transfer, TransferStep, Upload,
};
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{
    self, Endpoint, Event, ExchangeId, Failure, Outcome, Output, Reliability, Via,
};
use capmesh_coap::message::{MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Build, Route, Server, ServerConfig};
use capmesh_coap::{Code, Message};
use capmesh_session::edhoc::Identity;
use capmesh_session::{Config, Entry, Peer, Roster, SecureEndpoint, Sessions};
use capmesh_transfer::BlobResource;
use capmesh_wire::{BlobRef, Instant, NodeId};
use rand_core::{OsRng, RngCore};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The longest datagram: a block of 1,024 bytes with options and protection fits.
const MTU: usize = 1280;

/// The longest body that is taken, in bytes.
const MAX_BODY: u32 = 4 << 20;

/// Sessions with up to 64 nodes.
type Link =
    SecureEndpoint<Sessions<Members, OsRng, 64, 8>, MTU, 16, { 16 * (MTU + 4) }, 8, 1, 64, 16_384>;

/// The roster of a site in memory, signed and verified before it came here.
#[derive(Debug)]
pub struct Members(Vec<u8>);

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        Roster::find(&capmesh_wire::Roster::from_trusted(&self.0).ok()?, kid)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    code: Code,
    path: &'a str,
    query: Option<&'a str>,
    content_format: Option<u16>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request for what is at `path`.
    #[must_use]
    pub const fn new(code: Code, path: &'a str) -> Self {
        Self { code, path, query: None, content_format: None, body: &[] }
    }

    /// With a query.
    #[must_use]
    pub const fn query(self, query: &'a str) -> Self {
        Self { query: Some(query), ..self }
    }

    /// With a body of this content format.
    #[must_use]
    pub const fn body(self, content_format: u16, body: &'a [u8]) -> Self {
        Self { content_format: Some(content_format), body, ..self }
    }

    fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        writer.path(self.path)?;
        if let Some(format) = self.content_format {
            writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
        }
        if let Some(query) = self.query {
            writer.option(OptionNumber::URI_QUERY, query.as_bytes())?;
        }
        Ok(())
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its code.
    pub code: Code,
    /// The whole body.
    pub body: Vec<u8>,
}

/// An observation under way.
#[derive(Debug)]
pub struct Observation {
    exchange: ExchangeId,
}

/// An operator's endpoint, sockets and offers.
pub struct Operator {
    link: Box<Link>,
    server: Server<Peer, 1, 1, 256>,
    serve: Serve<Peer>,
    offers: Offers,
    /// One for each family of addresses, made when it is needed.
    sockets: [Option<UdpSocket>; 2],
    started: std::time::Instant,
    arrivals: VecDeque<Arrival>,
    /// The longest time to wait for an answer.
    patience: Duration,
}

enum Arrival {
    Response { exchange: ExchangeId, message: Vec<u8> },
    Ended { exchange: ExchangeId, failure: Failure },
}

impl Operator {
    /// An operator with this identity, who knows those on `roster`, which has been verified.
    #[must_use]
    pub fn new(identity: Identity, roster: Vec<u8>) -> Self {
        let (mut seed, mut key) = ([0; 16], [0; 16]);
        OsRng.fill_bytes(&mut seed);
        OsRng.fill_bytes(&mut key);
        let sessions =
            Sessions::new(Instant::ZERO, Config::for_host(), identity, Members(roster), OsRng);
        let endpoint = Endpoint::new(endpoint::Config::default(), sessions, seed);
        // Whoever is adopted fetches a roster, and nobody else knows its name.
        let rate = Rate { interval: Duration::from_millis(1), burst: 256 };
        Self {
            link: Box::new(SecureEndpoint::new(endpoint)),
            server: Server::new(ServerConfig::default(), EchoKey::new(key)),
            serve: Serve::new(rate),
            offers: Offers::default(),
            sockets: [None, None],
            started: std::time::Instant::now(),
            arrivals: VecDeque::new(),
            patience: Duration::from_secs(30),
        }
    }

    /// Takes a newer roster of the site's, which has been verified.
    pub fn set_roster(&mut self, roster: Vec<u8>) {
        let now = self.now();
        let sessions = self.link.sessions_mut();
        sessions.roster_mut().0 = roster;
        sessions.revalidate(now);
    }

    /// Serves `bytes` as a blob to whoever asks for it, while this operator waits for something.
    ///
    /// # Errors
    /// If there are more bytes than a blob may have.
    pub fn offer(&mut self, bytes: &[u8]) -> io::Result<BlobRef> {
        self.offers.add(bytes, 10)
    }

    /// The node with this id, which is at `address`.
    ///
    /// # Errors
    /// If it is not on the roster.
    pub fn member(&mut self, id: NodeId, address: SocketAddr) -> Result<Peer> {
        let now = self.now();
        self.link
            .sessions_mut()
            .introduce(now, id, address)
            .with_context(|| format!("node {id} at {address}"))
    }

    /// Asks `to`, and waits for the whole answer.
    ///
    /// # Errors
    /// If none comes in time, the handshake fails, or a body cannot be sent or fetched.
    pub fn ask(&mut self, to: Peer, request: &Request<'_>) -> Result<Response> {
        let mut tag = [0; 4];
        OsRng.fill_bytes(&mut tag);
        let mut upload = Upload::of(request.body, BlockSize::MAX);
        if let Some(tag) = RequestTag::new(&tag)
            && request.body.len() > BlockSize::MAX.bytes() as usize
        {
            upload = upload.with_request_tag(tag);
        }
        let mut transfer = Transfer::new(upload, Download::new(MAX_BODY, BlockSize::MAX));
        let mut body = Vec::new();
        loop {
            let exchange = self.send(to, request, &mut |writer| {
                request.write(writer)?;
                transfer.write(writer, request.body)
            })?;
            let deadline = self.now() + self.patience;
            let bytes = self.response(to, exchange, deadline)?;
            let message = Message::parse(&bytes).map_err(|error| anyhow!("{error}"))?;
            match transfer.handle(&message) {
                TransferStep::Next => {}
                TransferStep::Part { payload, more, .. } => {
                    body.extend_from_slice(payload);
                    if !more {
                        return Ok(Response { code: message.code(), body });
                    }
                }
                TransferStep::Refused(code) => {
                    return Ok(Response { code, body: message.payload().to_vec() });
                }
                TransferStep::UploadFailed(error) => return Err(error.into()),
                TransferStep::DownloadFailed(error) => return Err(error.into()),
            }
        }
    }

    /// Asks `to` for the present state of a resource and for those to come.
    ///
    /// # Errors
    /// As [`Operator::ask`].
    pub fn observe(&mut self, to: Peer, path: &str) -> Result<(Response, Observation)> {
        let request = Request::new(Code::GET, path);
        let exchange = self.send(to, &request, &mut |writer| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            request.write(writer)
        })?;
        let deadline = self.now() + self.patience;
        let observation = Observation { exchange };
        let first = self.state(to, &observation, path, deadline)?;
        Ok((first, observation))
    }

    /// Waits for the next state of what is observed; `None` if none came within `wait`.
    ///
    /// # Errors
    /// If there will be none any more.
    pub fn next(
        &mut self,
        to: Peer,
        observation: &Observation,
        path: &str,
        wait: Duration,
    ) -> Result<Option<Response>> {
        let deadline = self.now() + wait;
        match self.state(to, observation, path, deadline) {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.is::<Silence>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Serves what is offered for so long.
    ///
    /// # Errors
    /// If a socket fails.
    pub fn serve_for(&mut self, wait: Duration) -> Result<()> {
        let deadline = self.now() + wait;
        while self.now() < deadline {
            self.turn(deadline)?;
        }
        Ok(())
    }

    /// A state of what is observed, whole: the notification brings its first block.
    fn state(
        &mut self,
        to: Peer,
        observation: &Observation,
        path: &str,
        deadline: Instant,
    ) -> Result<Response> {
        let first = self.response(to, observation.exchange, deadline)?;
        let code = Message::parse(&first).map_err(|error| anyhow!("{error}"))?.code();
        let mut download = Download::new(MAX_BODY, BlockSize::MAX);
        let (mut part, mut body) = (first, Vec::new());
        loop {
            let message = Message::parse(&part).map_err(|error| anyhow!("{error}"))?;
            match download.handle(&message) {
                DownloadStep::Part { payload, more, .. } => {
                    body.extend_from_slice(payload);
                    if !more {
                        return Ok(Response { code, body });
                    }
                }
                DownloadStep::Restart => body.clear(),
                DownloadStep::Refused(code) => {
                    return Ok(Response { code, body: message.payload().to_vec() });
                }
                DownloadStep::Failed(error) => return Err(error.into()),
            }
            let request = Request::new(Code::GET, path);
            let exchange = self.send(to, &request, &mut |writer| {
                request.write(writer)?;
                download.write(writer)
            })?;
            let deadline = self.now() + self.patience;
            part = self.response(to, exchange, deadline)?;
        }
    }

    fn send(&mut self, to: Peer, request: &Request<'_>, build: Build<'_>) -> Result<ExchangeId> {
        let now = self.now();
        self.link
            .request(now, to, Reliability::Confirmable, request.code, build)
            .with_context(|| format!("{} is not sent", request.path))
    }

    /// Waits for the next response to one request.
    fn response(&mut self, to: Peer, wanted: ExchangeId, deadline: Instant) -> Result<Vec<u8>> {
        loop {
            let is_wanted = |arrival: &Arrival| match arrival {
                Arrival::Response { exchange, .. } | Arrival::Ended { exchange, .. } => {
                    *exchange == wanted
                }
            };
            let at = self.arrivals.iter().position(is_wanted);
            match at.and_then(|at| self.arrivals.remove(at)) {
                Some(Arrival::Response { message, .. }) => return Ok(message),
                Some(Arrival::Ended { failure, .. }) => return Err(self.explain(to, failure)),
                None if self.now() >= deadline => return Err(Silence.into()),
                None => self.turn(deadline)?,
            }
        }
    }

    /// Says more of a failure, where the sessions know more.
    fn explain(&self, to: Peer, failure: Failure) -> anyhow::Error {
        let id = to.member().map(|member| member.id);
        match id.and_then(|id| self.link.sessions().last_failure(id)) {
            Some(reason) => anyhow!("no session with the node: {reason}"),
            None => anyhow!("no answer: {failure}"),
        }
    }

    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Sends what is to be sent, then handles datagrams, or waits for one until `until` at the latest.
    fn turn(&mut self, until: Instant) -> Result<()> {
        self.drain()?;
        if !self.receive()? {
            self.wait(until)?;
            self.receive()?;
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        let (now, mut buf) = (self.now(), [0; MTU]);
        while let Some(output) = self.link.poll(now, &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    let datagram = buf.get(..len).unwrap_or_default();
                    let socket = socket(&mut self.sockets, to)?;
                    // A datagram that is not sent is a datagram lost, which the endpoint expects.
                    match socket.send_to(datagram, to) {
                        Err(error) if is_fatal(&error) => return Err(error.into()),
                        _ => {}
                    }
                }
                Output::Outcome(Outcome::Failed { exchange, reason }) => {
                    self.arrivals.push_back(Arrival::Ended { exchange, failure: reason });
                }
                Output::Outcome(Outcome::Finished { exchange }) => {
                    let failure = Failure::NoResponse;
                    self.arrivals.push_back(Arrival::Ended { exchange, failure });
                }
                Output::Outcome(Outcome::ObservationEnded { .. }) => {}
            }
        }
        Ok(())
    }

    /// Handles the datagrams that have come. Says whether there were any.
    fn receive(&mut self) -> Result<bool> {
        let now = self.now();
        let (mut datagram, mut scratch, mut any) = ([0; MTU], [0; MTU], false);
        for socket in self.sockets.iter().flatten() {
            loop {
                let (len, from) = match socket.recv_from(&mut datagram) {
                    Ok(received) => received,
                    Err(error) if is_fatal(&error) => return Err(error.into()),
                    Err(_) => break,
                };
                any = true;
                let datagram = datagram.get(..len).unwrap_or_default();
                let event = self.link.handle(now, from, Via::Unicast, datagram, &mut scratch);
                let Some(event) = event else { continue };
                let mut blobs = BlobResource::new(&mut self.serve, &self.offers, |_| Ok(()));
                let mut routes = [Route::below(PREFIX, &mut blobs)];
                let mut reply = [0; MTU];
                let event =
                    self.server.handle(now, &mut *self.link, &mut routes, event, &mut reply);
                if let Some(Event::Response { exchange, message, .. }) = event {
                    let message = message.as_bytes().to_vec();
                    self.arrivals.push_back(Arrival::Response { exchange, message });
                }
            }
        }
        Ok(any)
    }

    /// Sleeps until a datagram comes or something is due.
    fn wait(&self, until: Instant) -> Result<()> {
        let wake = self.link.poll_timeout().map_or(until, |at| at.min(until));
        // A clock of microseconds, rounded up: not to wake too early and find nothing due.
        let timeout = wake.saturating_since(self.now()) + Duration::from_micros(1);
        let timeout = Timespec::try_from(timeout)?;
        let mut polled: Vec<_> =
            self.sockets.iter().flatten().map(|s| PollFd::new(s, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Nothing came in time.
#[derive(Debug)]
pub(crate) struct Silence;

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer in time; is the node running, and is its address right?")
    }
}

impl std::error::Error for Silence {}

/// The socket for destinations like `to`.
fn socket(sockets: &mut [Option<UdpSocket>; 2], to: SocketAddr) -> io::Result<&UdpSocket> {
    let [v4, v6] = sockets;
    let (place, any): (_, SocketAddr) = match to {
        SocketAddr::V4(_) => (v4, (Ipv4Addr::UNSPECIFIED, 0).into()),
        SocketAddr::V6(_) => (v6, (Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    if place.is_none() {
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        *place = Some(socket);
    }
    place.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Whether a socket error is more than a lost datagram. An ICMP message about an earlier datagram
/// comes back as an error of whatever is called next.
fn is_fatal(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
