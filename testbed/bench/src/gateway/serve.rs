//! The gateway's data path in a process of its own: UDP, sessions, the bridge, SQLite, MQTT. What a
//! gateway does beside (plans, status of nodes, the API) rests meanwhile.

use crate::site::{self, EVERY, Failed, LATEST, Members, TAP};
use capmesh_coap::Code;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Config as EndpointConfig, Endpoint, Event, Output, Via};
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_gateway::bridge::{Arrival, Bridge, Config, InboxResource, Notice, Outgoing, Place};
use capmesh_gateway::endpoint::Size;
use capmesh_gateway::store::Store;
use capmesh_gatewayd::mqtt::{self, Backoff, Client, Mqtt, Settings};
use capmesh_gatewayd::storage::{Opened, Outbox, Storage};
use capmesh_session::{Config as SessionConfig, Peer, SecureEndpoint, Sessions};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{Instant, NodeId, Role, paths};
use rand_core::{OsRng, RngCore};
use rustix::net::sockopt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

const MTU: usize = 1280;

/// Of the size that the gateway's own has for 1,000 nodes (`gateway/core/src/endpoint.rs`).
type Link = SecureEndpoint<
    Sessions<Members, OsRng, 1_024, 64>,
    MTU,
    4_096,
    524_288,
    2_560,
    16,
    8_192,
    262_144,
>;

/// Datagrams that are taken before anything else is done.
const AT_ONCE: usize = 64;

/// Bytes of datagrams that the kernel keeps for this process.
const SOCKET: usize = 8 << 20;

/// The stack that making an endpoint takes.
const STACK: usize = 256 << 20;

/// What a gateway is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Serve {
    /// How many nodes there are
    #[arg(long)]
    nodes: u32,
    /// The port of the broker
    #[arg(long)]
    broker: u16,
    /// Where the state is
    #[arg(long)]
    state: PathBuf,
}

/// Serves until it is killed.
pub(crate) fn run(serve: &Serve) -> Result<(), Failed> {
    let nodes = serve.nodes;
    let made = std::thread::Builder::new().stack_size(STACK).spawn(move || link(nodes))?;
    let link = made.join().map_err(|_| "the endpoint was not made")??;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(Gateway::serve(serve.clone(), link))
}

fn link(nodes: u32) -> Result<Box<Link>, Failed> {
    let mut seed = [0; 16];
    OsRng.fill_bytes(&mut seed);
    let identity = site::identity(site::GATEWAY)?;
    let (config, members) = (SessionConfig::for_host(), Members::new(nodes)?);
    let sessions = Sessions::new(Instant::ZERO, config, identity, members, OsRng);
    let config = EndpointConfig { nstart: 8, ..EndpointConfig::default() };
    Ok(Box::new(SecureEndpoint::new(Endpoint::new(config, sessions, seed))))
}

fn wires(nodes: u32) -> Result<Vec<Outgoing>, Failed> {
    let schema = site::encoded_schema()?;
    let mut wires = Vec::new();
    for number in 1..=nodes {
        for (output, name, delivery) in
            [(EVERY, "every", Delivery::Every), (LATEST, "latest", Delivery::Latest)]
        {
            wires.push(Outgoing {
                consumer: TAP,
                stream: site::stream(number, output),
                node: site::id(number)?,
                place: Place {
                    node: site::name(number),
                    pipeline: "bench".to_owned(),
                    name: "source".to_owned(),
                    replica: 0,
                },
                output: name.to_owned(),
                schema: schema.clone(),
                delivery,
            });
        }
    }
    Ok(wires)
}

struct Gateway {
    link: Box<Link>,
    server: Server<Peer, 1, 1, 64>,
    bridge: Bridge,
    store: Store,
    socket: UdpSocket,
    started: std::time::Instant,
    storage: Storage,
    outbox: Outbox,
    mqtt: Mqtt,
}

impl Gateway {
    async fn serve(serve: Serve, link: Box<Link>) -> Result<(), Failed> {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET)?;
        socket.set_nonblocking(true)?;
        let Opened { storage, state, outbox, mut committed, .. } = Storage::open(&serve.state)?;
        let config = Config {
            site: "bench".to_owned(),
            gateway: "gw".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: None,
            batch_bytes: 1_024,
            held: Size::Large.held(),
        };
        let bridge = Bridge::new(config, &state);
        let (mqtt, ears) = Mqtt::new();
        let (incoming, mut arrivals) = mpsc::channel(64);
        let (up, mut is_up) = mpsc::unbounded_channel();
        let server = mqtt::Server {
            host: "127.0.0.1".to_owned(),
            port: serve.broker,
            credentials: None,
            tls: None,
        };
        let dial = Client::new(&server, "capmesh-bench", &bridge.will(), incoming);
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let settings = Settings { offline: bridge.will(), backoff };
        let pump = mqtt::run(dial, settings, ears, storage.clone(), outbox.clone(), up);
        tokio::spawn(pump);
        let mut key = [0; 16];
        OsRng.fill_bytes(&mut key);
        let mut gateway = Self {
            link,
            server: Server::new(ServerConfig::default(), EchoKey::new(key)),
            bridge,
            store: Store::new(),
            socket: UdpSocket::from_std(socket)?,
            started: std::time::Instant::now(),
            storage,
            outbox,
            mqtt,
        };
        let now = gateway.now();
        gateway.bridge.set_wires(now, wires(serve.nodes)?, Vec::new(), &mut gateway.store);
        println!("serving at {}", gateway.socket.local_addr()?);
        let mut buf = [0; 2_048];
        loop {
            gateway.take(&mut buf);
            let timeout = gateway.turn();
            tokio::select! {
                readable = gateway.socket.readable() => readable?,
                Some((token, result)) = committed.recv() => {
                    let now = gateway.now();
                    gateway.store.committed(now, token, result);
                }
                Some(up) = is_up.recv() => {
                    let now = gateway.now();
                    gateway.bridge.mqtt_up(now, up);
                }
                Some(arrival) = arrivals.recv() => gateway.mqtt(&arrival),
                () = tokio::time::sleep(timeout) => {}
            }
        }
    }

    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn mqtt(&mut self, arrival: &mqtt::Incoming) {
        let arrival = Arrival {
            topic: &arrival.topic,
            payload: &arrival.payload,
            response_topic: arrival.response_topic.as_deref(),
            correlation: arrival.correlation.as_deref(),
            retain: arrival.retain,
        };
        let now = self.now();
        self.bridge.mqtt(now, None, &arrival, &mut self.store);
    }

    /// Takes datagrams that have come.
    fn take(&mut self, buf: &mut [u8]) {
        for _ in 0..AT_ONCE {
            let Ok((len, from)) = self.socket.try_recv_from(buf) else { return };
            let datagram = buf.get(..len).unwrap_or_default();
            self.handle(from, datagram);
            // The endpoint keeps few replies.
            self.send();
        }
    }

    fn handle(&mut self, from: SocketAddr, datagram: &[u8]) {
        let now = self.now();
        let (mut scratch, mut body) = ([0; MTU], [0; MTU]);
        let Some(event) = self.link.handle(now, from, Via::Unicast, datagram, &mut scratch) else {
            return;
        };
        if let Event::Response { exchange, message, .. } = event {
            self.bridge.response(now, exchange, &message, &mut self.store);
            return;
        }
        let Self { link, server, bridge, store, .. } = self;
        let mut inbox = InboxResource::new(bridge, store, sender);
        let mut routes = [Route::below(paths::INBOX, &mut inbox)];
        server.handle(now, &mut **link, &mut routes, event, &mut body);
    }

    fn send(&mut self) {
        let (now, mut buf) = (self.now(), [0; MTU]);
        let Self { link, bridge, store, .. } = self;
        while let Some(output) = link.poll(now, &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    // What does not go is lost, as datagrams are.
                    let _ = self.socket.try_send_to(buf.get(..len).unwrap_or_default(), to);
                }
                Output::Outcome(outcome) => drop(bridge.outcome(now, &outcome, store)),
            }
        }
    }

    /// Does what there is to do, and says how long there will be nothing.
    fn turn(&mut self) -> Duration {
        let now = self.now();
        self.bridge.outbox(self.outbox.waiting(), true);
        let Self { link, bridge, store, .. } = self;
        bridge.acknowledge::<Peer>(now, store, &mut **link);
        while let Some(notice) = bridge.poll::<Peer>(now, store, &mut **link, &|_| None) {
            match notice {
                Notice::Publish(publication) => self.mqtt.publish(publication),
                Notice::Subscribe(filters) => self.mqtt.subscribe(filters),
                Notice::Request(..) | Notice::Value(_) => {}
            }
        }
        if let Some(commit) = store.poll(now) {
            self.storage.commit(commit);
        }
        self.send();
        let Self { link, bridge, store, .. } = self;
        let due = [link.poll_timeout(), bridge.poll_timeout(), store.poll_timeout()];
        let due = due.into_iter().flatten().min().unwrap_or(Instant::MAX);
        due.saturating_since(now).min(Duration::from_secs(1))
    }
}

fn sender(peer: Peer) -> Result<NodeId, Code> {
    let member = peer.member().ok_or(Code::UNAUTHORIZED)?;
    if member.role == Role::Node { Ok(member.id) } else { Err(Code::FORBIDDEN) }
}
