//! Puts a gateway together and takes it apart.

#[cfg(feature = "broker")]
use crate::broker::{self, Broker};
use crate::calls::{Call, Calls};
use crate::config::Config;
use crate::config::Target;
use crate::engine::{Engine, Sources, Told};
use crate::events::Events;
use crate::failure::{Failure, What};
use crate::http::{self, Parts};
use crate::mqtt::{self, Backoff, Client, Ears, Incoming, Mqtt, Server, Settings};
use crate::site::Site;
use crate::socket::{self, Bound};
use crate::storage::{Closing, Opened, Outbox, Storage};
use capmesh_gateway::endpoint::{self, Size};
use capmesh_gateway::{Failed, Gateway, Keys, Publication, Token};
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::Instant;
use rand_core::{OsRng, RngCore};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Messages from the broker that wait for the gateway; the broker holds the others.
const INCOMING: usize = 256;

/// The stack of the gateway's thread, which is only taken as far as it is used: making a large endpoint
/// takes 128 MB of it in a build without optimisation.
const STACK: usize = 256 << 20;

/// Waits between attempts to reach the broker.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// Where a gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// By nodes (CoAP over UDP).
    pub mesh: SocketAddr,
    /// The page and the API.
    pub http: SocketAddr,
    /// The broker inside, if there is one.
    pub mqtt: Option<SocketAddr>,
    /// The same over WebSocket.
    pub websocket: Option<SocketAddr>,
}

/// A gateway that runs. To end it without loss call [`Handle::shutdown`].
#[derive(Debug)]
pub struct Handle {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    http: http::Server,
    pump: Option<(Mqtt, JoinHandle<()>)>,
    closing: Closing,
    events: JoinHandle<()>,
    #[cfg(feature = "broker")]
    broker: Option<Broker>,
}

/// Starts a gateway. It works in threads of its own and on the runtime that this is called on.
///
/// # Errors
/// If the configuration, the site or the state cannot be used, or an address is taken;
/// [`Failure::help`] says what to do.
pub async fn start(config: Config) -> Result<Handle, Failure> {
    config.check()?;
    #[cfg(not(feature = "broker"))]
    if config.mqtt.broker == Target::Embedded {
        let help =
            "this program was built without a broker inside: name one in `mqtt.broker`, or `none`";
        return Err(Failure::Config(crate::config::ConfigError::Contradiction(help)));
    }
    let site = Site::read(&config.site, &config.name)?;
    site.check_registries(&config)?;
    let listen = |what, address| move |error| Failure::Listen { what, address, error };
    let socket = Bound::open(config.listen).map_err(listen(What::Nodes, config.listen))?;
    let mesh = socket.address().map_err(Failure::Machine)?;
    let external = Server::external(&config.mqtt)?;
    let Opened { storage, state, outbox, committed, closing } = Storage::open(&config.state())?;
    #[cfg(feature = "broker")]
    let broker = embedded(&config).await?;
    #[cfg(feature = "broker")]
    let server = external.or_else(|| broker.as_ref().map(|broker| beside(&config, broker)));
    #[cfg(not(feature = "broker"))]
    let server = external;
    let (calls, received) = Calls::new();
    let events = Events::new();
    let parts = Parts {
        calls,
        events: events.clone(),
        outbox: outbox.clone(),
        token: config.http.token.clone(),
        has_broker: server.is_some(),
    };
    let http = http::Server::start(config.http.listen, parts).await;
    let http = http.map_err(listen(What::Http, config.http.listen))?;
    let client = format!("capmesh-{}-{}", site.name, config.name);
    let (mqtt, ears) = Mqtt::new();
    let (stop, stopped) = watch::channel(false);
    let begin = Begin {
        mqtt: server.is_some().then(|| mqtt.clone()),
        config: &config,
        http: http.address(),
        mesh,
    };
    let wires = Wires { calls: received, committed, stop: stopped };
    let (engine, sources, incoming, up) =
        begin.engine(&site, wires, storage.clone(), outbox.clone(), events.clone());
    let (will, ended) = begin.gateway(site, state, socket, engine, sources).await?;
    let pump = server.map(|server| {
        let dial = Client::new(&server, &client, &will, incoming);
        (mqtt, pump(dial, will, ears, storage, outbox, up))
    });
    #[cfg(feature = "broker")]
    let (mqtt, websocket) =
        (broker.as_ref().map(Broker::address), broker.as_ref().and_then(Broker::websocket));
    #[cfg(not(feature = "broker"))]
    let (mqtt, websocket) = (None, None);
    let addresses = Addresses { mesh, http: http.address(), mqtt, websocket };
    Ok(Handle {
        addresses,
        stop,
        ended,
        http,
        pump,
        closing,
        events: tokio::spawn(events.run()),
        #[cfg(feature = "broker")]
        broker,
    })
}

fn pump(
    dial: Client,
    offline: Publication,
    ears: Ears,
    storage: Storage,
    outbox: Outbox,
    up: mpsc::UnboundedSender<bool>,
) -> JoinHandle<()> {
    let settings = Settings { offline, backoff: BACKOFF };
    tokio::spawn(mqtt::run(dial, settings, ears, storage, outbox, up))
}

/// What the gateway is made of.
struct Begin<'a> {
    config: &'a Config,
    mqtt: Option<Mqtt>,
    http: SocketAddr,
    mesh: SocketAddr,
}

/// The ends that others hold the other side of.
struct Wires {
    calls: mpsc::Receiver<Call>,
    committed: mpsc::UnboundedReceiver<(Token, Result<(), Failed>)>,
    stop: watch::Receiver<bool>,
}

type Ends = (Engine, Sources, mpsc::Sender<Incoming>, mpsc::UnboundedSender<bool>);

impl Begin<'_> {
    fn engine(
        &self,
        site: &Site,
        wires: Wires,
        storage: Storage,
        outbox: Outbox,
        events: Events,
    ) -> Ends {
        let (incoming, received) = mpsc::channel(INCOMING);
        let (up, is_up) = mpsc::unbounded_channel();
        let Wires { calls, committed, stop } = wires;
        let sources = Sources { calls, incoming: received, up: is_up, committed, stop };
        let engine = Engine {
            started: std::time::Instant::now(),
            storage,
            outbox,
            mqtt: self.mqtt.clone(),
            events,
            site: self.config.site.clone(),
            told: Told::new(site.roster.clone()),
        };
        (engine, sources, incoming, up)
    }

    /// Starts the gateway's thread; gives its will, and what tells of its end.
    async fn gateway(
        &self,
        site: Site,
        state: std::collections::BTreeMap<capmesh_gateway::Key, Vec<u8>>,
        socket: Bound,
        mut engine: Engine,
        sources: Sources,
    ) -> Result<(Publication, watch::Receiver<bool>), Failure> {
        let key = |error: &dyn std::fmt::Display| Failure::Key(error.to_string());
        let credential = site.key.credential(&self.config.name).map_err(|error| key(&error))?;
        let credential = Credential::parse(&credential).map_err(|error| key(&error))?;
        let identity =
            Identity::new(&site.key.scalar(), credential).map_err(|error| key(&error))?;
        let keys = Keys {
            gateway: site.key.signing(),
            site: site.site_key.as_ref().map(capmesh_keyfile::Key::signing),
        };
        let mut about = capmesh_gateway::Config::new(&site.name, &self.config.name);
        about.url = Some(format!("http://{}", self.http));
        about.addresses = vec![socket::reached_at(self.mesh)];
        about.registry = self.config.registry;
        about.registries = self.config.registries.clone();
        about.roster = Some(site.roster);
        let size = if self.config.members > 100 { Size::Large } else { Size::Small };
        about.held = size.held();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::Machine)?;
        let (begun, has_begun) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        let work = move || {
            let mut seed = [0; 32];
            OsRng.fill_bytes(&mut seed);
            let now = Instant::ZERO;
            let link = endpoint::make(now, identity, OsRng, size);
            let mut gateway = Gateway::new(now, about, link, keys, seed, state);
            engine.tell_wall(&mut gateway);
            // Who started it has gone: then there is nobody to stop it either.
            if begun.send(gateway.will()).is_ok() {
                runtime.block_on(async {
                    match socket.attach() {
                        Ok(socket) => engine.run(socket, gateway, sources).await,
                        Err(error) => tracing::error!(%error, "cannot read from the socket"),
                    }
                });
            }
            end.send_replace(true);
        };
        let thread = std::thread::Builder::new().name("gateway".to_owned()).stack_size(STACK);
        thread.spawn(work).map_err(Failure::Machine)?;
        let will = has_begun.await;
        let panicked =
            |_| Failure::Machine(std::io::Error::other("the gateway's thread has ended"));
        Ok((will.map_err(panicked)?, ended))
    }
}

#[cfg(feature = "broker")]
async fn embedded(config: &Config) -> Result<Option<Broker>, Failure> {
    if config.mqtt.broker != Target::Embedded {
        return Ok(None);
    }
    let settings = broker::Settings {
        listen: config.broker.listen,
        websocket: config.broker.websocket,
        credentials: config.broker.credentials(),
        state: config.state(),
    };
    Ok(Some(Broker::start(&settings).await?))
}

/// The way to the broker inside.
#[cfg(feature = "broker")]
fn beside(config: &Config, broker: &Broker) -> Server {
    let mut address = broker.address();
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv6() {
            std::net::Ipv6Addr::LOCALHOST.into()
        } else {
            std::net::Ipv4Addr::LOCALHOST.into()
        });
    }
    let host = match address.ip() {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let credentials = config.broker.credentials();
    let credentials = credentials.map(|(user, secret)| (user, secret.expose().to_owned()));
    Server { host, port: address.port(), credentials, tls: None }
}

impl Handle {
    /// Where it is reached.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until the gateway has ended by itself, which is a fault.
    pub async fn ended(&mut self) {
        // The other end is gone where the thread has panicked.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Ends it: what was begun becomes durable, the broker hears that it goes offline.
    pub async fn shutdown(mut self) {
        self.http.close().await;
        self.stop.send_replace(true);
        let _ = self.ended.wait_for(|ended| *ended).await;
        if let Some((mqtt, pump)) = self.pump {
            mqtt.close();
            if pump.await.is_err() {
                tracing::warn!("the way to the MQTT broker had broken down");
            }
        }
        self.events.abort();
        // It writes what waits; the threads of the runtime are not for that.
        let closed = tokio::task::spawn_blocking(move || self.closing.close()).await;
        if closed.is_err() {
            tracing::warn!("the storage had broken down");
        }
        #[cfg(feature = "broker")]
        drop(self.broker);
    }
}
