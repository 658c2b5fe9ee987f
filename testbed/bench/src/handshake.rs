//! How long a handshake takes: both sides in one thread, datagrams passed by hand.

use capmesh_coap::Code;
use capmesh_coap::endpoint::{Config, Endpoint, Event, Output, Reliability, Via};
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_session::{Entry, Member, Peer, Rate, Roster, SecureEndpoint, Sessions};
use capmesh_wire::{Instant, NodeId, Role};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::time::{self, Duration};

type Failed = Box<dyn std::error::Error>;

const MTU: usize = 1280;
const ROUNDS: usize = 200;

struct Members(Vec<Entry>);

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0.find(kid)
    }
}

type Node =
    SecureEndpoint<Sessions<Members, OsRng, 4, 4>, MTU, 4, { 4 * (MTU + 4) }, 4, 4, 64, 8192>;

/// The time of whole handshakes, each with the first request and its response.
pub(crate) struct Handshake {
    sorted: Vec<Duration>,
}

impl Handshake {
    fn at(&self, quantile: usize) -> f64 {
        let at = (self.sorted.len() * quantile / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "ms": { "p50": self.at(50), "p90": self.at(90), "p99": self.at(99) } })
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} ms (p90 {:.2}, p99 {:.2}; {} times)",
            self.at(50),
            self.at(90),
            self.at(99),
            self.sorted.len()
        )
    }
}

/// Runs handshakes between nodes that have never met.
pub(crate) fn measure() -> Result<Handshake, Failed> {
    let mut sorted = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        sorted.push(Pair::new()?.first_request()?);
    }
    sorted.sort_unstable();
    Ok(Handshake { sorted })
}

struct Pair {
    client: Box<Node>,
    server: Box<Node>,
    server_id: NodeId,
    addresses: [SocketAddr; 2],
}

impl Pair {
    fn new() -> Result<Self, Failed> {
        let [client, server] = [identity()?, identity()?];
        let known = |identity: &Identity| Members(vec![entry(identity)]);
        let (of_client, of_server) = (known(&server), known(&client));
        let server_id = NodeId::of_key(server.credential().public_key());
        Ok(Self {
            client: node(client, of_client),
            server: node(server, of_server),
            server_id,
            addresses: [
                SocketAddr::from(([127, 0, 0, 1], 1)),
                SocketAddr::from(([127, 0, 0, 1], 2)),
            ],
        })
    }

    /// From the request to its response, over all that is between.
    fn first_request(&mut self) -> Result<Duration, Failed> {
        let now = Instant::ZERO;
        let [client, server] = self.addresses;
        let start = time::Instant::now();
        let to = self.client.sessions_mut().introduce(now, self.server_id, server)?;
        let get = |message: &mut capmesh_coap::MessageWriter<'_>| message.path("hello").map(drop);
        self.client.request(now, to, Reliability::Confirmable, Code::GET, get)?;
        let (mut datagram, mut scratch) = ([0; MTU], [0; MTU]);
        for _ in 0..16 {
            while let Some(output) = self.client.poll(now, &mut datagram) {
                let Output::Transmit { len, .. } = output else { continue };
                let bytes = datagram.get(..len).unwrap_or_default();
                let event = self.server.handle(now, client, Via::Unicast, bytes, &mut scratch);
                if let Some(Event::Request { responder, peer, .. }) = event {
                    if !matches!(peer, Peer::Member(Member { .. })) {
                        return Err("the request was not protected".into());
                    }
                    let hello = |message: &mut capmesh_coap::MessageWriter<'_>| {
                        message.payload(b"hello").map(drop)
                    };
                    self.server.respond(now, responder, Code::CONTENT, hello)?;
                }
            }
            while let Some(output) = self.server.poll(now, &mut datagram) {
                let Output::Transmit { len, .. } = output else { continue };
                let bytes = datagram.get(..len).unwrap_or_default();
                let event = self.client.handle(now, server, Via::Unicast, bytes, &mut scratch);
                if let Some(Event::Response { message, .. }) = event {
                    return match message.code() {
                        Code::CONTENT => Ok(start.elapsed()),
                        code => Err(format!("the handshake ended with {code}").into()),
                    };
                }
            }
        }
        Err("the handshake did not end".into())
    }
}

fn node(identity: Identity, known: Members) -> Box<Node> {
    let mut seed = [0; 16];
    OsRng.fill_bytes(&mut seed);
    let responses = Rate { burst: 4, interval: Duration::from_millis(1) };
    let config = capmesh_session::Config { responses, ..capmesh_session::Config::default() };
    let sessions = Sessions::new(Instant::ZERO, config, identity, known, OsRng);
    Box::new(SecureEndpoint::new(Endpoint::new(Config::default(), sessions, seed)))
}

/// A party with a key of its own.
fn identity() -> Result<Identity, Failed> {
    let mut key = [0; 32];
    loop {
        OsRng.fill_bytes(&mut key);
        let Ok((x, y)) = Identity::public_point_of(&key) else { continue };
        let mut buf = [0; capmesh_wire::limits::CREDENTIAL];
        let public = capmesh_wire::PublicKey { x, y };
        let name = capmesh_wire::Name::new("bench")?;
        let len = capmesh_wire::Credential::encode(name, &public, &mut buf)?;
        let credential = Credential::parse(buf.get(..len).unwrap_or_default())?;
        return Ok(Identity::new(&key, credential)?);
    }
}

fn entry(identity: &Identity) -> Entry {
    let credential = identity.credential().clone();
    let id = NodeId::of_key(credential.public_key());
    Entry { id, credential, role: Role::Node, expires: u64::MAX }
}
