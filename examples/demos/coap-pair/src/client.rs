//! A client that waits for what it asked for: one request after the other, bodies of any length,
//! observation.

use crate::contexts::{Contexts, Identity};
use crate::members::{Secured, introduce, secured};
use crate::shell::{Application, Core, PairEndpoint, Shell, endpoint};
use crate::store::Store;
use crate::uri::Uri;
use capmesh_coap::block::{
    BlockSize, Download, DownloadStep, RequestTag, Transfer, TransferStep, Upload,
};
use capmesh_coap::endpoint::{
    Config, Event, ExchangeId, Failure as Reason, Outcome, Reliability, RequestError,
};
use capmesh_coap::message::{MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{Plain, SealError};
use capmesh_coap::server::Build;
use capmesh_coap::{Code, Message};
use capmesh_oscore::Context;
use capmesh_session::{Peer, Workflow};
use capmesh_wire::Instant;
use rand_core::{OsRng, RngCore};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The longest body that the client takes, in bytes.
pub const MAX_BODY: u32 = 16 << 20;

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub code: Code,
    /// Of what.
    pub uri: Uri,
    /// Further options.
    pub options: Vec<(OptionNumber, Vec<u8>)>,
    /// The body, sent in blocks if it is longer than one.
    pub body: Vec<u8>,
    /// Whether to insist on an acknowledgement.
    pub reliability: Reliability,
    /// The largest block to send or ask for.
    pub block: BlockSize,
}

impl Request {
    /// A confirmable request without a body, for blocks of 1,024 bytes.
    #[must_use]
    pub const fn new(code: Code, uri: Uri) -> Self {
        Self {
            code,
            uri,
            options: Vec::new(),
            body: Vec::new(),
            reliability: Reliability::Confirmable,
            block: BlockSize::MAX,
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, number: OptionNumber, value: &[u8]) -> Self {
        self.options.push((number, value.to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        self.uri.write(writer)?;
        for (number, value) in &self.options {
            writer.option(*number, value)?;
        }
        Ok(())
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response<P> {
    /// Who vouches for it.
    pub peer: P,
    /// Its code.
    pub code: Code,
    /// Its options without Block1 and Block2, in the order of their numbers.
    pub options: Vec<(OptionNumber, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl<P> Response<P> {
    /// The first value of an option.
    #[must_use]
    pub fn option(&self, number: OptionNumber) -> Option<&[u8]> {
        self.options.iter().find(|(n, _)| *n == number).map(|(_, value)| value.as_slice())
    }
}

/// Why there is no response.
#[derive(Debug)]
pub enum Failure {
    /// The endpoint did not take the request.
    Request(RequestError),
    /// The request came to an end without one.
    Exchange(Reason),
    /// The handshake failed.
    Handshake(String),
    /// The body could not be sent or fetched.
    Body(String),
    /// The time to wait is over.
    Patience,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => write!(f, "the request was not sent: {error}"),
            Self::Exchange(reason) => reason.fmt(f),
            Self::Handshake(reason) => f.write_str(reason),
            Self::Body(reason) => f.write_str(reason),
            Self::Patience => f.write_str("nothing came in time"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A client on a socket of its own.
pub struct Client<C: Core> {
    shell: Shell<C>,
    inbox: Inbox<C::Peer>,
}

/// An observation under way.
#[derive(Debug)]
pub struct Observation {
    exchange: ExchangeId,
    request: Request,
    over: bool,
}

/// What the endpoint said and nobody has looked at yet.
struct Inbox<P> {
    arrivals: VecDeque<Arrival<P>>,
}

enum Arrival<P> {
    Response { exchange: ExchangeId, peer: P, message: Vec<u8>, last: bool },
    Failed { exchange: ExchangeId, reason: Reason },
    Finished { exchange: ExchangeId },
}

impl Client<PairEndpoint<Plain>> {
    /// A client of the server at `address`, without security.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn plain(address: SocketAddr, config: Config) -> io::Result<Self> {
        Ok(Self::new(Shell::bind(any_like(address), endpoint(config, Plain))?))
    }
}

impl Client<PairEndpoint<Contexts>> {
    /// A client of the server at `address` that shares `context` with it, and what the server is
    /// called.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn oscore(
        address: SocketAddr,
        config: Config,
        context: Context,
        store: Option<Store>,
    ) -> io::Result<(Self, Identity)> {
        let mut contexts = Contexts::default();
        let server = contexts.add(context, store, Some(address));
        Ok((Self::new(Shell::bind(any_like(address), endpoint(config, contexts))?), server))
    }
}

impl Client<Secured> {
    /// A client of the server at `address` that runs EDHOC with the keys in `directory`, and what the
    /// server is called.
    ///
    /// # Errors
    /// If the keys are not as they should be, or there is no socket to be had.
    pub fn edhoc(
        address: SocketAddr,
        config: Config,
        directory: &Path,
        workflow: Workflow,
    ) -> io::Result<(Self, Peer)> {
        let (core, id) = secured(directory, "client", "server", workflow, config)?;
        let mut shell = Shell::bind(any_like(address), core)?;
        let now = shell.now();
        let server = introduce(shell.core(), now, id, address)?;
        Ok((Self::new(shell), server))
    }
}

impl<C: Core> Client<C> {
    /// A client that talks through `shell`.
    #[must_use]
    pub const fn new(shell: Shell<C>) -> Self {
        Self { shell, inbox: Inbox { arrivals: VecDeque::new() } }
    }

    /// The socket and the core.
    pub const fn shell(&mut self) -> &mut Shell<C> {
        &mut self.shell
    }

    /// Asks `to`, and waits for the whole response.
    ///
    /// # Errors
    /// If there is none.
    pub fn request(
        &mut self,
        to: C::Peer,
        request: &Request,
    ) -> Result<Response<C::Peer>, Failure> {
        let mut tag = [0; 4];
        OsRng.fill_bytes(&mut tag);
        let upload = Upload::of(&request.body, request.block);
        let upload = match RequestTag::new(&tag) {
            Some(tag) if request.body.len() > request.block.bytes() as usize => {
                upload.with_request_tag(tag)
            }
            _ => upload,
        };
        let mut transfer = Transfer::new(upload, Download::new(MAX_BODY, request.block));
        let mut body = Vec::new();
        loop {
            let exchange = self.send(to, request, &mut |writer| {
                request.write(writer)?;
                transfer.write(writer, &request.body)
            })?;
            let (peer, bytes, _) = match self.response(exchange, None) {
                Err(failure) => return Err(self.explain(to, failure)),
                Ok(response) => response,
            };
            let message = parse(&bytes)?;
            match transfer.handle(&message) {
                TransferStep::Next => {}
                TransferStep::Part { payload, more, .. } => {
                    body.extend_from_slice(payload);
                    if !more {
                        return Ok(response(peer, &message, body));
                    }
                }
                TransferStep::Refused(_) => {
                    return Ok(response(peer, &message, message.payload().to_vec()));
                }
                TransferStep::UploadFailed(error) => return Err(Failure::Body(error.to_string())),
                TransferStep::DownloadFailed(error) => {
                    return Err(Failure::Body(error.to_string()));
                }
            }
        }
    }

    /// Asks `to` for the present state of a resource and for all its states to come.
    ///
    /// # Errors
    /// If there is no response. One without an Observe option means that there will be no others.
    pub fn observe(
        &mut self,
        to: C::Peer,
        request: Request,
    ) -> Result<(Response<C::Peer>, Observation), Failure> {
        let exchange = self.send(to, &request, &mut |writer| {
            request.write(writer)?;
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            Ok(())
        })?;
        let mut observation = Observation { exchange, request, over: false };
        let first = self.notification(to, &mut observation, None)?;
        Ok((first, observation))
    }

    /// Waits for the next state, no longer than until `deadline`.
    ///
    /// # Errors
    /// If none comes. [`Failure::Patience`] leaves the observation as it is.
    pub fn notification(
        &mut self,
        to: C::Peer,
        observation: &mut Observation,
        deadline: Option<Instant>,
    ) -> Result<Response<C::Peer>, Failure> {
        let (peer, bytes, last) = match self.response(observation.exchange, deadline) {
            Err(failure) => return Err(self.explain(to, failure)),
            Ok(response) => response,
        };
        observation.over = last;
        let message = parse(&bytes)?;
        let mut download = Download::new(MAX_BODY, observation.request.block);
        let mut body = Vec::new();
        let mut part = bytes.clone();
        // The first block is in the notification; the others are fetched.
        loop {
            match download.handle(&parse(&part)?) {
                DownloadStep::Part { payload, more, .. } => {
                    body.extend_from_slice(payload);
                    if !more {
                        return Ok(response(peer, &message, body));
                    }
                }
                DownloadStep::Restart => body.clear(),
                DownloadStep::Refused(_) => {
                    return Ok(response(peer, &message, message.payload().to_vec()));
                }
                DownloadStep::Failed(error) => return Err(Failure::Body(error.to_string())),
            }
            let request = &observation.request;
            let exchange = self.send(to, request, &mut |writer| {
                request.write(writer)?;
                download.write(writer)
            })?;
            (_, part, _) = self.response(exchange, deadline)?;
        }
    }

    /// Tells `to` that an observation is over, and waits for its answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn deregister(&mut self, observation: &Observation) -> Result<(), Failure> {
        let now = self.shell.now();
        if self.shell.core().deregister(now, observation.exchange) {
            loop {
                let (_, _, last) = self.response(observation.exchange, None)?;
                if last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends an empty confirmable message, and waits for the Reset that answers it.
    ///
    /// # Errors
    /// If none comes.
    pub fn ping(&mut self, to: SocketAddr) -> Result<(), Failure> {
        let now = self.shell.now();
        let exchange = self.shell.core().ping(now, to).map_err(Failure::Request)?;
        loop {
            let found = self.inbox.take(|arrival| {
                matches!(arrival, Arrival::Finished { exchange: e } | Arrival::Failed { exchange: e, .. } if *e == exchange)
            });
            match found {
                Some(Arrival::Failed { reason, .. }) => return Err(Failure::Exchange(reason)),
                Some(_) => return Ok(()),
                None => self.shell.turn(&mut self.inbox, None)?,
            }
        }
    }

    fn send(
        &mut self,
        to: C::Peer,
        request: &Request,
        build: Build<'_>,
    ) -> Result<ExchangeId, Failure> {
        let now = self.shell.now();
        self.shell
            .core()
            .request(now, to, request.reliability, request.code, build)
            .map_err(Failure::Request)
    }

    /// Says more of a failure if the core knows more.
    fn explain(&mut self, to: C::Peer, failure: Failure) -> Failure {
        let Failure::Exchange(Reason::Security(error)) = failure else { return failure };
        let is_handshake = matches!(error, SealError::HandshakeFailed | SealError::NotReady);
        match self.shell.core().explain(to) {
            Some(reason) if is_handshake => Failure::Handshake(reason),
            None if error == SealError::NotReady => {
                Failure::Handshake("the handshake is not answered".into())
            }
            _ => failure,
        }
    }

    /// Waits for the next response to one request.
    fn response(
        &mut self,
        wanted: ExchangeId,
        deadline: Option<Instant>,
    ) -> Result<(C::Peer, Vec<u8>, bool), Failure> {
        loop {
            let found = self.inbox.take(|arrival| match arrival {
                Arrival::Response { exchange, .. }
                | Arrival::Failed { exchange, .. }
                | Arrival::Finished { exchange } => *exchange == wanted,
            });
            match found {
                Some(Arrival::Response { peer, message, last, .. }) => {
                    return Ok((peer, message, last));
                }
                Some(Arrival::Failed { reason, .. }) => return Err(Failure::Exchange(reason)),
                Some(Arrival::Finished { .. }) => return Err(Failure::Patience),
                None => {}
            }
            if deadline.is_some_and(|at| at <= self.shell.now()) {
                return Err(Failure::Patience);
            }
            self.shell.turn(&mut self.inbox, deadline)?;
        }
    }
}

impl Observation {
    /// Whether there will be no more notifications.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }
}

impl<P> Inbox<P> {
    fn take(&mut self, is_wanted: impl Fn(&Arrival<P>) -> bool) -> Option<Arrival<P>> {
        let at = self.arrivals.iter().position(is_wanted)?;
        self.arrivals.remove(at)
    }
}

impl<C: Core> Application<C> for Inbox<C::Peer> {
    fn event(&mut self, core: &mut C, now: Instant, event: Event<'_, C::Peer>) {
        match event {
            Event::Response { exchange, peer, message, last } => {
                let message = message.as_bytes().to_vec();
                self.arrivals.push_back(Arrival::Response { exchange, peer, message, last });
            }
            // A client has nothing to offer.
            Event::Request { responder, .. } => {
                let _ = core.respond(now, responder, Code::NOT_FOUND, &mut |_| Ok(()));
            }
        }
    }

    fn outcome(&mut self, _: &mut C, _: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Failed { exchange, reason } => {
                self.arrivals.push_back(Arrival::Failed { exchange, reason });
            }
            Outcome::Finished { exchange } => {
                self.arrivals.push_back(Arrival::Finished { exchange });
            }
            Outcome::ObservationEnded { .. } => {}
        }
    }

    fn timeout(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: &mut C, _: Instant) {}
}

/// Any port of any address of the same family.
const fn any_like(address: SocketAddr) -> SocketAddr {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, 0)
}

fn parse(bytes: &[u8]) -> Result<Message<'_>, Failure> {
    Message::parse(bytes).map_err(|error| Failure::Body(error.to_string()))
}

fn response<P>(peer: P, message: &Message<'_>, body: Vec<u8>) -> Response<P> {
    let is_block = |number| number == OptionNumber::BLOCK1 || number == OptionNumber::BLOCK2;
    let options = message.options().filter(|(number, _)| !is_block(*number));
    let options = options.map(|(number, value)| (number, value.to_vec())).collect();
    Response { peer, code: message.code(), options, body }
}
