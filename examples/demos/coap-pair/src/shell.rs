//! Moves bytes and time between a UDP socket and an endpoint, and nothing else.
//!
//! The endpoint is a state machine without a socket or a clock. All that it needs from the outside
//! is in [`Shell::turn`]: datagrams in, datagrams out, and the present time.

use capmesh_coap::Security;
use capmesh_coap::endpoint::{Config, Endpoint, Event, Outcome, Output, Via};
use capmesh_wire::Instant;
use rand_core::{OsRng, RngCore};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// The longest datagram: a block of 1,024 bytes with options and protection fits.
pub const MTU: usize = 1280;

/// The endpoint of this demonstration: 64 exchanges, 64 requests unanswered, 64 observers, and a
/// memory for 1,024 messages to find duplicates.
pub type PairEndpoint<S> = Endpoint<S, MTU, 64, 64, 64, 1024, 131_072>;

/// What an application does with what its endpoint tells it.
pub trait Application<S: Security> {
    /// A request or a response came.
    fn event(&mut self, endpoint: &mut PairEndpoint<S>, now: Instant, event: Event<'_, S::Peer>);

    /// Something came to an end that no message brought.
    fn outcome(&mut self, endpoint: &mut PairEndpoint<S>, now: Instant, outcome: Outcome);

    /// When [`Application::tick`] is to be called next.
    fn timeout(&self) -> Option<Instant>;

    /// The time that [`Application::timeout`] said has come.
    fn tick(&mut self, endpoint: &mut PairEndpoint<S>, now: Instant);
}

/// An endpoint on a socket.
pub struct Shell<S: Security> {
    socket: UdpSocket,
    /// Boxed: it holds all its tables.
    endpoint: Box<PairEndpoint<S>>,
    started: std::time::Instant,
    datagram: Box<[u8; MTU]>,
    scratch: Box<[u8; MTU]>,
}

impl<S: Security> Shell<S> {
    /// Binds a socket to `address` and makes an endpoint for it.
    ///
    /// # Errors
    /// If the address is taken or not of this machine.
    pub fn bind(address: SocketAddr, config: Config, security: S) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let mut seed = [0; 16];
        OsRng.fill_bytes(&mut seed);
        Ok(Self {
            socket,
            endpoint: Box::new(Endpoint::new(config, security, seed)),
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

    /// The endpoint.
    pub fn endpoint(&mut self) -> &mut PairEndpoint<S> {
        &mut self.endpoint
    }

    /// Sends what is to be sent, then handles the next datagram, or what is due if none comes. It
    /// returns at `until` at the latest.
    ///
    /// # Errors
    /// If the socket fails for good.
    pub fn turn<A: Application<S>>(
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
        let Self { endpoint, datagram, scratch, .. } = self;
        let datagram = datagram.get(..len).unwrap_or_default();
        if let Some(event) = endpoint.handle(now, from, Via::Unicast, datagram, &mut scratch[..]) {
            application.event(endpoint, now, event);
        }
        self.drain(application)
    }

    /// Sends all that the endpoint has to send.
    fn drain<A: Application<S>>(&mut self, application: &mut A) -> io::Result<()> {
        let now = self.now();
        while let Some(output) = self.endpoint.poll(now, &mut self.scratch[..]) {
            match output {
                Output::Transmit { to, len } => {
                    let datagram = self.scratch.get(..len).unwrap_or_default();
                    // A datagram that is not sent is a datagram lost, which the endpoint expects.
                    match self.socket.send_to(datagram, to) {
                        Err(error) if is_fatal(&error) => return Err(error),
                        _ => {}
                    }
                }
                Output::Outcome(outcome) => application.outcome(&mut self.endpoint, now, outcome),
            }
        }
        Ok(())
    }

    fn due<A: Application<S>>(&mut self, application: &mut A) -> io::Result<()> {
        let now = self.now();
        if application.timeout().is_some_and(|at| at <= now) {
            application.tick(&mut self.endpoint, now);
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
    fn wait<A: Application<S>>(&self, application: &A, until: Option<Instant>) -> io::Result<()> {
        let now = self.now();
        let wake = [self.endpoint.poll_timeout(), application.timeout(), until];
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
