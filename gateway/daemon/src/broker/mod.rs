//! An MQTT broker inside, for sites that have none: MQTT 3.1.1 and 5 on one port, and both over
//! WebSocket.
//!
//! It is rmqtt. What is retained survives a restart; sessions do not. Without credentials it
//! lets everybody in, so the [configuration](crate::config) asks for them where it does not listen to
//! this machine only.

mod credentials;
mod retain;

pub use retain::RetainError;

use credentials::Credentials;
use retain::Retained;
use rmqtt::context::ServerContext;
use rmqtt::hook::Type;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use tokio::task::JoinHandle;

/// The file in the state directory.
const FILE: &str = "broker.db";

/// The bounds, with their reasons.
pub mod limits {
    /// The longest packet, in bytes: as much as the gateway takes.
    pub const PACKET: u32 = crate::mqtt::limits::PACKET;

    /// Messages to a client that it has not acknowledged.
    pub const INFLIGHT: u16 = 1_024;

    /// Messages that wait for a client; the oldest go first.
    pub const QUEUE: usize = 10_000;

    /// Clients, connected or expected back.
    pub const SESSIONS: isize = 1_000;

    /// Topics with a retained message. More are passed on without being kept, and the log says so.
    pub const RETAINED: usize = 65_536;
}

/// How the broker is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it listens for WebSockets, if it does.
    pub websocket: Option<SocketAddr>,
    /// User and password that are asked for, if any.
    pub credentials: Option<(String, crate::config::Secret)>,
    /// Where it keeps what is retained.
    pub state: PathBuf,
}

/// A broker that runs. It ends when it is dropped.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    websocket: Option<SocketAddr>,
    task: JoinHandle<()>,
}

/// Why there is no broker.
#[derive(Debug)]
pub enum BrokerError {
    /// It cannot listen there.
    Listen(SocketAddr, io::Error),
    /// Retained messages cannot be kept.
    Retain(PathBuf, RetainError),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::Retain(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for BrokerError {}

impl Broker {
    /// Starts a broker.
    ///
    /// # Errors
    /// If an address is taken or the state cannot be used.
    pub async fn start(settings: &Settings) -> Result<Self, BrokerError> {
        let plain = bind(settings, "mqtt", settings.listen, Listener::tcp)?;
        let websocket = settings.websocket.map(|at| bind(settings, "websocket", at, Listener::ws));
        let websocket = websocket.transpose()?;
        let context = ServerContext::new().mqtt_max_sessions(limits::SESSIONS).build().await;
        let file = settings.state.join(FILE);
        let retained = Retained::open(&file).await;
        let retained = retained.map_err(|error| BrokerError::Retain(file, error))?;
        *context.extends.retain_mut().await = Box::new(retained);
        if let Some((user, password)) = &settings.credentials {
            let register = context.extends.hook_mgr().register();
            let credentials = Credentials::new(user, password);
            register.add(Type::ClientAuthenticate, Box::new(credentials)).await;
            register.start().await;
        }
        let address = |listener: &Listener, asked| listener.local_addr().unwrap_or(asked);
        let mut broker = Self {
            address: address(&plain, settings.listen),
            websocket: None,
            task: tokio::spawn(async {}),
        };
        // Listeners are told apart by a number that is their port otherwise.
        let mut server = MqttServer::new(context).listener_by_id(plain, 1);
        if let (Some(listener), Some(asked)) = (websocket, settings.websocket) {
            broker.websocket = Some(address(&listener, asked));
            server = server.listener_by_id(listener, 2);
        }
        let server = server.build();
        broker.task = tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "the MQTT broker has ended");
            }
        });
        Ok(broker)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for WebSockets.
    #[must_use]
    pub const fn websocket(&self) -> Option<SocketAddr> {
        self.websocket
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bind(
    settings: &Settings,
    name: &str,
    at: SocketAddr,
    make: fn(Listener) -> rmqtt::net::Result<Listener>,
) -> Result<Listener, BrokerError> {
    let listener = Builder::new()
        .name(name)
        .laddr(at)
        .reuseaddr(Some(true))
        .nodelay(true)
        .allow_anonymous(settings.credentials.is_none())
        .max_packet_size(limits::PACKET)
        .max_inflight(NonZeroU16::new(limits::INFLIGHT).unwrap_or(NonZeroU16::MAX))
        .max_mqueue_len(limits::QUEUE)
        .bind()
        .and_then(make);
    listener.map_err(|error| {
        let error = error.downcast().unwrap_or_else(io::Error::other);
        BrokerError::Listen(at, error)
    })
}
