//! Moves bytes and time between a UDP socket and an endpoint, and nothing else.
//!
//! The endpoint is a state machine without a socket or a clock. All that it needs from the outside
//! is in [`Shell::turn`]: datagrams in, datagrams out, and the present time.

use crate::resources::Asker;
use capmesh_coap::Security;
use capmesh_coap::endpoint::{
    Config, Endpoint, Event, ExchangeId, Outcome, Output, RequestError, Via,
};
use capmesh_coap::server::Outbox;
use capmesh_session::{Handshakes, SecureEndpoint};
use capmesh_wire::Instant;
use rand_core::{OsRng, RngCore};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// The longest datagram: a block of 1,024 bytes with options and protection fits.
pub const MTU: usize = 1280;

/// The endpoint of this demonstration: 16 exchanges, 16 requests unanswered, 64 observers, and a
/// memory for 1,024 messages to find duplicates.
pub type PairEndpoint<S> = Endpoint<S, MTU, 16, { 16 * (MTU + 4) }, 16, 64, 1024, 65_536>;

/// The same with handshakes.
pub type PairSecureEndpoint<S> =
    SecureEndpoint<S, MTU, 16, { 16 * (MTU + 4) }, 16, 64, 1024, 65_536>;

/// What a shell drives: an endpoint, with or without handshakes.
pub trait Core: Outbox<<Self as Core>::Peer> {
    /// Who is at the other end.
    type Peer: Asker;

    /// [`Endpoint::handle`].
    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, <Self as Core>::Peer>>;

    /// [`Endpoint::poll`].
    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output>;

    /// [`Endpoint::poll_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;

    /// [`Endpoint::ping`].
    ///
    /// # Errors
    /// As there.
    fn ping(&mut self, now: Instant, to: SocketAddr) -> Result<ExchangeId, RequestError>;

    /// [`Endpoint::deregister`].
    fn deregister(&mut self, now: Instant, exchange: ExchangeId) -> bool;

    /// Why a peer could not be reached, if this side knows more than the outcome says.
    fn explain(&self, _peer: <Self as Core>::Peer) -> Option<String> {
        None
    }
}

macro_rules! verbs {
    () => {
        fn handle<'b>(
            &mut self,
            now: Instant,
            from: SocketAddr,
            datagram: &'b [u8],
            scratch: &'b mut [u8],
        ) -> Option<Event<'b, S::Peer>> {
            self.handle(now, from, Via::Unicast, datagram, scratch)
        }

        fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
            self.poll(now, buf)
        }

        fn poll_timeout(&self) -> Option<Instant> {
            self.poll_timeout()
        }

        fn ping(&mut self, now: Instant, to: SocketAddr) -> Result<ExchangeId, RequestError> {
            Endpoint::ping(self, now, to)
        }

        fn deregister(&mut self, now: Instant, exchange: ExchangeId) -> bool {
            Endpoint::deregister(self, now, exchange)
        }
    };
}

impl<S: Security<Peer: Asker>> Core for PairEndpoint<S> {
    type Peer = S::Peer;

    verbs!();
}

impl<S: Handshakes<Peer: Asker> + Explain> Core for PairSecureEndpoint<S> {
    type Peer = S::Peer;

    verbs!();

    fn explain(&self, peer: S::Peer) -> Option<String> {
        self.security().explain(peer)
    }
}

/// Says why a handshake failed.
pub trait Explain: Security {
    /// Why the last handshake with `peer` failed, if it did.
    fn explain(&self, peer: Self::Peer) -> Option<String>;
}

/// What an application does with what its endpoint tells it.
pub trait Application<C: Core> {
    /// A request or a response came.
    fn event(&mut self, core: &mut C, now: Instant, event: Event<'_, <C as Core>::Peer>);

    /// Something came to an end that no message brought.
    fn outcome(&mut self, core: &mut C, now: Instant, outcome: Outcome);

    /// When [`Application::tick`] is to be called next.
    fn timeout(&self) -> Option<Instant>;

    /// The time that [`Application::timeout`] said has come.
    fn tick(&mut self, core: &mut C, now: Instant);
}

/// A core on a socket.
pub struct Shell<C> {
    socket: UdpSocket,
    core: Box<C>,
    started: std::time::Instant,
    datagram: Box<[u8; MTU]>,
    scratch: Box<[u8; MTU]>,
}

impl<C: Core> Shell<C> {
    /// Binds a socket to `address` for `core`, whose time begins now.
    ///
    /// # Errors
    /// If the address is taken or not of this machine.
    pub fn bind(address: SocketAddr, core: Box<C>) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            core,
            started: std::time::Instant::now(),
            datagram: Box::new([0; MTU]),
            scratch: Box::new([0; MTU]),
        })
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Time as the endpoint counts it: since the start, on a clock that never goes back.
    #[must_use]
    pub fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The core.
    pub fn core(&mut self) -> &mut C {
        &mut self.core
    }

    /// Sends what is to be sent, then handles the next datagram, or what is due if none comes. It
    /// returns at `until` at the latest.
    ///
    /// # Errors
    /// If the socket fails for good.
    pub fn turn<A: Application<C>>(
        &mut self,
        application: &mut A,
        until: Option<Instant>,
    ) -> io::Result<()> {
        self.drain(application)?;
        let (len, from) = match self.receive()? {
            Some(received) => received,
            None => {
                self.wait(application, until)?;
                match self.receive()? {
                    Some(received) => received,
                    None => return self.due(application),
                }
            }
        };
        let now = self.now();
        let Self { core, datagram, scratch, .. } = self;
        let datagram = datagram.get(..len).unwrap_or_default();
        if let Some(event) = core.handle(now, from, datagram, &mut scratch[..]) {
            application.event(core, now, event);
        }
        self.drain(application)
    }

    /// Sends all that the endpoint has to send.
    fn drain<A: Application<C>>(&mut self, application: &mut A) -> io::Result<()> {
        let now = self.now();
        while let Some(output) = self.core.poll(now, &mut self.scratch[..]) {
            match output {
                Output::Transmit { to, len } => {
                    let datagram = self.scratch.get(..len).unwrap_or_default();
                    // A datagram that is not sent is a datagram lost, which the endpoint expects.
                    match self.socket.send_to(datagram, to) {
                        Err(error) if is_fatal(&error) => return Err(error),
                        _ => {}
                    }
                }
                Output::Outcome(outcome) => application.outcome(&mut self.core, now, outcome),
            }
        }
        Ok(())
    }

    fn due<A: Application<C>>(&mut self, application: &mut A) -> io::Result<()> {
        let now = self.now();
        if application.timeout().is_some_and(|at| at <= now) {
            application.tick(&mut self.core, now);
        }
        self.drain(application)
    }

    fn receive(&mut self) -> io::Result<Option<(usize, SocketAddr)>> {
        match self.socket.recv_from(&mut self.datagram[..]) {
            Ok(received) => Ok(Some(received)),
            Err(error) if is_fatal(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Sleeps until a datagram comes or something is due.
    fn wait<A: Application<C>>(&self, application: &A, until: Option<Instant>) -> io::Result<()> {
        let now = self.now();
        let wake = [self.core.poll_timeout(), application.timeout(), until];
        let timeout = wake.into_iter().flatten().min().map(|at| at.saturating_since(now));
        // A clock of microseconds, rounded up: not to wake too early and find nothing due.
        let timeout = timeout.map(|timeout| timeout + Duration::from_micros(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An endpoint with a seed of its own, in a box: it holds all its tables.
pub fn endpoint<S: Security>(config: Config, security: S) -> Box<PairEndpoint<S>> {
    let mut seed = [0; 16];
    OsRng.fill_bytes(&mut seed);
    Box::new(Endpoint::new(config, security, seed))
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
