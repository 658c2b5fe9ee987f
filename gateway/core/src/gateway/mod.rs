//! The gateway: all of it together.

mod adopt;
mod answered;
mod attend;
mod decide;
mod deploy;
mod moves;
mod notes;
mod registry;
mod requests;
mod serve;
mod sheets;
mod views;

use crate::api;
use crate::asks::Asks;
use crate::bridge::{self, Arrival, Bridge, Notice, Ticket};
use crate::catalog::Catalog;
use crate::checkpoints::Checkpoints;
use crate::io::{Input, Output, RequestId, Token};
use crate::members::{Adoption, Members};
use crate::migrate::Migration;
use crate::nodes::{Liveness, Nodes};
use crate::offers::Offers;
use crate::pipeline::Pipeline;
use crate::plan::{Ends, InstanceName};
use crate::reconcile::Duty;
use crate::rows::Rows;
use crate::store::{Key, Store, Table};
use capmesh_blob::Serve;
use capmesh_blob::serve::Rate;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Event, Output as LinkOutput, Via};
use capmesh_coap::server::{Server, ServerConfig};
use capmesh_placement::Weights;
use capmesh_session::{Link, Member, Peer};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::{Digest, Epoch, InstanceId, Instant, NodeId, Revision, Role};
use core::net::SocketAddr;
use core::time::Duration;
use deploy::Deploying;
use registry::Registry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Migrations that are over and are remembered.
const OVER: usize = 50;

/// Nodes that are looked after in one call.
const ATTENDED: usize = 32;

/// Requests of people and programs, however they came, that are not answered. What comes then is refused
/// with a time to try again.
pub const REQUESTS: usize = 1_024;

/// Outputs that wait for the shell. Answers beyond are not given: the shell does not poll, and whoever
/// waits there is told that it took too long.
pub const OUTPUTS: usize = 2_048;

/// Events among them. Further ones are left out, and [`Output::Missed`] follows.
pub const EVENTS: usize = 512;

/// What a gateway is told about itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The site's name.
    pub site: String,
    /// What this gateway is called.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// Where people find its page.
    pub url: Option<String>,
    /// Where nodes reach it.
    pub addresses: Vec<SocketAddr>,
    /// Where the registry is, if there is one.
    pub registry: Option<SocketAddr>,
    /// Where registries are that are elsewhere, by their names on the roster.
    pub registries: BTreeMap<String, SocketAddr>,
    /// The site's roster, as it is known outside of the gateway's own state.
    pub roster: Option<Vec<u8>>,
    /// How it is found out whether a node is there.
    pub liveness: Liveness,
    /// How long the site has to be calm before instances move only because they would be better off
    /// elsewhere. 30 s.
    pub calm: Duration,
    /// What counts how much when it is decided what runs where.
    pub weights: Weights,
    /// Batches that may wait for their commit: what the endpoint has room for
    /// ([`Size::held`](crate::endpoint::Size::held)). A small one's.
    pub held: usize,
}

impl Config {
    /// The gateway called `name` of the site `site`.
    #[must_use]
    pub fn new(site: &str, name: &str) -> Self {
        Self {
            site: site.to_owned(),
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: None,
            addresses: Vec::new(),
            registry: None,
            registries: BTreeMap::new(),
            roster: None,
            liveness: Liveness::default(),
            calm: Duration::from_secs(30),
            weights: Weights::default(),
            held: crate::endpoint::Size::Small.held(),
        }
    }
}

/// What a gateway signs with.
#[derive(Debug)]
pub struct Keys {
    /// Its own key: plans.
    pub gateway: SigningKey,
    /// The site's key, if it is here: rosters.
    pub site: Option<SigningKey>,
}

/// What a request of the gateway's is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Whether the node is there, and how it is.
    Probe(NodeId),
    Duty(NodeId, Duty),
    /// The credential of a node that is adopted.
    Claim(NodeId),
    /// The node is told that it is adopted.
    Tell(NodeId),
    /// A step of a migration, by its name, at its source or target.
    Step(InstanceId, Epoch, usize, &'static str),
    /// What a reference stands for.
    Resolve(String),
    Manifest(Digest),
    /// A command that somebody waits for.
    Order(RequestId, NodeId, &'static str),
    /// The roster, for the registry.
    Registry(Revision),
    /// A capsule that the registry is to keep.
    Renew(Digest),
}

/// A gateway. See the [crate](crate).
pub struct Gateway {
    config: Config,
    key: SigningKey,
    id: NodeId,
    link: Box<dyn Link>,
    server: Box<Server<Peer, 4, 4, 4_096>>,
    serve: Serve<Peer, 64>,
    store: Store,
    members: Members,
    /// The roster that sessions know: the newest that is durable.
    roster_told: Option<Revision>,
    nodes: Nodes,
    pipelines: BTreeMap<String, Pipeline>,
    /// When each was deployed, in milliseconds since 1970, if the time was known.
    deployed: BTreeMap<String, u64>,
    catalog: Catalog,
    /// What runs where: the owners of instances.
    rows: Rows,
    /// The gateway's own ends of streams.
    ends: Ends,
    /// The number of the next instance.
    next: InstanceId,
    pins: BTreeMap<InstanceName, NodeId>,
    planned: decide::Planned,
    migrations: Vec<Migration>,
    /// Those that are over, newest first.
    over: VecDeque<api::MigrationView>,
    /// Instances whose last migration was undone: when another may begin, and how many were.
    calm: BTreeMap<InstanceId, (Instant, u8)>,
    checkpoints: Checkpoints,
    adoptions: Vec<Adoption>,
    deploys: Vec<Deploying>,
    asks: Asks<Purpose>,
    offers: Offers,
    bridge: Bridge,
    log: VecDeque<api::LogLine>,
    notes: notes::Notes,
    /// Answers that wait for a commit.
    promised: Vec<(Token, RequestId, api::Answer)>,
    outputs: VecDeque<Output<'static>>,
    /// How many of them are events, and whether some were left out.
    events: usize,
    missed: bool,
    /// Requests that are not answered.
    requests: BTreeSet<RequestId>,
    /// Those of them that came over MQTT.
    tickets: BTreeMap<RequestId, Ticket>,
    ticket: u64,
    random: u64,
    begun: Instant,
    wall: Option<(Instant, u64)>,
    registry: Registry,
    canvas: Vec<u8>,
}

impl Gateway {
    /// A gateway that goes on from `state`: all that commits have made durable. `link` is its endpoint,
    /// with the identity that `keys.gateway` has. `seed` is fresh at every start.
    #[must_use]
    pub fn new(
        now: Instant,
        config: Config,
        link: Box<dyn Link>,
        keys: Keys,
        seed: [u8; 32],
        mut state: BTreeMap<Key, Vec<u8>>,
    ) -> Self {
        let mut store = Store::new();
        let kept = state.remove(&Key::new(Table::Roster, []));
        let given = config.roster.clone();
        let members = Members::new(&config.site, keys.site, kept, given, &mut store);
        let bridge = Bridge::new(bridge_config(&config), &state);
        let (echo, rest) = seed.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        let number = |at: usize| -> u64 {
            let bytes = rest.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(1, u64::from_le_bytes)
        };
        let (id, mtu) = (link.own_id(), link.mtu());
        let mut gateway = Self {
            key: keys.gateway,
            id,
            link,
            server: Box::new(Server::new(ServerConfig::default(), EchoKey::new(*echo))),
            serve: Serve::new(Rate::default()),
            store,
            members,
            roster_told: None,
            nodes: Nodes::new(config.liveness),
            pipelines: BTreeMap::new(),
            deployed: BTreeMap::new(),
            catalog: Catalog::new(),
            rows: Rows::default(),
            ends: Ends::default(),
            next: InstanceId(1),
            pins: BTreeMap::new(),
            planned: decide::Planned::default(),
            migrations: Vec::new(),
            over: VecDeque::new(),
            calm: BTreeMap::new(),
            checkpoints: Checkpoints::default(),
            adoptions: Vec::new(),
            deploys: Vec::new(),
            asks: Asks::new(u32::try_from(number(8) >> 32).unwrap_or_default()),
            offers: Offers::default(),
            bridge,
            log: VecDeque::new(),
            notes: notes::Notes::default(),
            promised: Vec::new(),
            outputs: VecDeque::new(),
            events: 0,
            missed: false,
            requests: BTreeSet::new(),
            tickets: BTreeMap::new(),
            ticket: 0,
            random: number(0) | 1,
            begun: now,
            wall: None,
            registry: Registry::new(now),
            canvas: vec![0; mtu.max(2_048)],
            config,
        };
        gateway.take_up(now, &state);
        gateway
    }

    /// Something has happened. The work is bounded by what one input can lead to: at most one operation
    /// of the security layer for a datagram, a placement for a request.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => self.datagram(now, from, via, bytes),
            Input::Mqtt { topic, payload, response_topic, correlation, retain } => {
                let arrival = Arrival { topic, payload, response_topic, correlation, retain };
                let wall = self.unix_micros(now);
                self.bridge.mqtt(now, wall, &arrival, &mut self.store);
            }
            Input::MqttUp(up) => self.bridge.mqtt_up(now, up),
            Input::Committed { token, result } => self.store.committed(now, token, result),
            Input::Wall(micros) => {
                self.wall = Some((now, micros));
                self.link.set_unix_time(now, micros / 1_000_000);
            }
            Input::Request { id, request } => self.request(now, id, request),
            Input::Outbox { waiting, takes } => self.bridge.outbox(waiting, takes),
            Input::Watched(watched) => self.bridge.watch(watched),
        }
    }

    /// What is to be done next; `None` if there is nothing before [`Gateway::poll_timeout`]. `buf` has to
    /// be as long as a datagram ([`endpoint::MTU`](crate::endpoint::MTU)).
    pub fn poll<'b>(&mut self, now: Instant, buf: &'b mut [u8]) -> Option<Output<'b>> {
        loop {
            if let Some(output) = self.next_output() {
                return Some(output);
            }
            match self.link.poll(now, buf) {
                Some(LinkOutput::Transmit { to, len }) => {
                    let bytes = buf.get(..len).unwrap_or_default();
                    return Some(Output::Transmit { to, bytes });
                }
                Some(LinkOutput::Outcome(outcome)) => {
                    self.outcome(now, &outcome);
                    continue;
                }
                None => {}
            }
            // Only now: the endpoint has room for a few replies only, and has given all of them out.
            self.advance(now);
            let is_due = self.link.poll_timeout().is_some_and(|at| at <= now);
            if is_due || !self.outputs.is_empty() {
                continue;
            }
            if let Some(commit) = self.store.poll(now) {
                return Some(Output::Commit(commit));
            }
            if self.poll_timeout().is_none_or(|at| at > now) {
                return None;
            }
        }
    }

    /// When there is something to do next, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.outputs.is_empty() || self.missed {
            return Some(Instant::ZERO);
        }
        [
            self.link.poll_timeout(),
            self.store.poll_timeout(),
            self.nodes.poll_timeout(),
            self.bridge.poll_timeout(),
            self.checkpoints.poll_timeout(),
            self.moves_timeout(),
            self.planned_timeout(),
            self.adoptions_timeout(),
            self.deploys_timeout(),
            self.registry_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The signed roster, for those that keep it elsewhere too.
    #[must_use]
    pub fn roster(&self) -> &[u8] {
        self.members.bytes()
    }

    /// What the broker is to publish when it loses the gateway.
    #[must_use]
    pub fn will(&self) -> crate::io::Publication {
        self.bridge.will()
    }

    /// Bytes of memory that each node takes beside its places in the endpoint's tables: the most of all.
    #[must_use]
    pub fn memory_per_node(&self) -> usize {
        self.nodes.iter().map(crate::nodes::Node::memory).max().unwrap_or_default()
    }

    /// Does what is due and needs no input. The work is bounded by [`ATTENDED`] nodes and what is under
    /// way.
    fn advance(&mut self, now: Instant) {
        self.advance_roster(now);
        self.keep_promises();
        self.advance_adoptions(now);
        self.advance_deploys(now);
        self.advance_moves(now);
        self.advance_plan(now);
        self.checkpoints.poll(now, &mut *self.link, &mut self.store);
        for _ in 0..ATTENDED {
            let Some(id) = self.nodes.take_due(now) else { break };
            self.attend(now, id);
        }
        self.advance_registry(now);
        self.advance_strangers(now);
        self.advance_bridge(now);
    }

    fn advance_bridge(&mut self, now: Instant) {
        self.bridge.acknowledge::<Peer>(now, &self.store, &mut *self.link);
        // What has no room stays in the bridge, which has bounds of its own.
        while self.outputs.len() < OUTPUTS {
            let Self { bridge, store, link, nodes, .. } = self;
            let peer = |id: NodeId| {
                let node = nodes.get(id).filter(|node| node.is_up())?;
                Some(Peer::Member(Member { id: node.id, role: Role::Node }))
            };
            let Some(notice) = bridge.poll(now, store, &mut **link, &peer) else { return };
            match notice {
                Notice::Publish(publication) => {
                    self.outputs.push_back(Output::Publish(publication));
                }
                Notice::Subscribe(filters) => self.outputs.push_back(Output::Subscribe(filters)),
                Notice::Value(value) => self.event(api::Event::Value(value)),
                Notice::Request(ticket, request) => {
                    self.ticket = self.ticket.wrapping_add(1) & !MQTT_REQUESTS;
                    let id = RequestId(MQTT_REQUESTS | self.ticket);
                    self.tickets.insert(id, ticket);
                    self.request(now, id, &request);
                }
            }
        }
    }

    /// Tells sessions of a roster once it is durable.
    fn advance_roster(&mut self, now: Instant) {
        let version = self.members.version();
        if self.roster_told == Some(version) || !self.store.is_durable(self.members.token()) {
            return;
        }
        if let Some(roster) = self.members.roster() {
            self.link.set_roster(now, &roster);
        }
        self.roster_told = Some(version);
        self.nodes.touch_all(now);
        self.registry.has_news(now);
        self.plan_soon(now);
    }

    /// Answers those whose wishes are durable.
    fn keep_promises(&mut self) {
        let mut at = 0;
        while let Some((token, ..)) = self.promised.get(at) {
            if self.store.is_durable(*token) {
                let (_, id, answer) = self.promised.remove(at);
                self.answer(id, Ok(answer));
            } else {
                at += 1;
            }
        }
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, via: Via, bytes: &[u8]) {
        let mut scratch = vec![0; self.link.mtu()];
        // The event lends from the scratch, which is why that is not a field.
        let Some(event) = self.link.handle(now, from, via, bytes, &mut scratch) else { return };
        let (Event::Request { peer, .. } | Event::Response { peer, .. }) = event;
        if let Some(member) = peer.member() {
            self.heard(now, member.id, from);
        }
        match event {
            Event::Request { .. } => self.serve(now, event),
            Event::Response { exchange, peer, message, last } => {
                self.response(now, exchange, peer, &message, last);
            }
        }
    }

    fn heard(&mut self, now: Instant, id: NodeId, from: SocketAddr) {
        if self.nodes.get(id).is_some_and(|node| node.probed.is_some()) {
            let is_lease =
                |of: &Purpose| matches!(of, Purpose::Duty(to, Duty::Renew(_)) if *to == id);
            self.asks.cancel(now, &mut *self.link, is_lease);
            if let Some(node) = self.nodes.get_mut(id) {
                node.duties.renew_again();
            }
            self.nodes.touch(now, id);
        }
        let news = self.nodes.heard(now, id);
        if news.is_some() {
            self.nodes.located(now, &mut self.store, id, from);
            self.came(now, id);
        }
    }

    fn answer(&mut self, id: RequestId, result: Result<api::Answer, api::Refusal>) {
        self.requests.remove(&id);
        match self.tickets.remove(&id) {
            Some(ticket) => self.bridge.answered(ticket, &result),
            None if self.outputs.len() < OUTPUTS => {
                self.outputs.push_back(Output::Answer { id, result });
            }
            None => {}
        }
    }

    fn event(&mut self, event: api::Event) {
        if self.events >= EVENTS || self.outputs.len() >= OUTPUTS {
            self.missed = true;
            return;
        }
        self.events += 1;
        self.outputs.push_back(Output::Event(event));
    }

    fn next_output(&mut self) -> Option<Output<'static>> {
        let output = self.outputs.pop_front();
        if matches!(output, Some(Output::Event(_))) {
            self.events -= 1;
        }
        if output.is_none() && core::mem::take(&mut self.missed) {
            return Some(Output::Missed);
        }
        output
    }

    /// A number that nobody can foresee who does not know the seed; for jitter.
    fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(z >> 32).unwrap_or_default()
    }

    /// Microseconds since 1970, if the time of day is known.
    fn unix_micros(&self, now: Instant) -> Option<u64> {
        let (at, micros) = self.wall?;
        let since = now.saturating_since(at).as_micros();
        Some(micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    fn unix_millis(&self, now: Instant) -> Option<u64> {
        self.unix_micros(now).map(|micros| micros / 1_000)
    }
}

/// Requests over MQTT are told from those of the shell by this bit.
const MQTT_REQUESTS: u64 = 1 << 63;

impl core::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gateway")
            .field("id", &self.id)
            .field("nodes", &self.nodes.len())
            .field("migrations", &self.migrations.len())
            .finish_non_exhaustive()
    }
}

/// What the bridge is told of the gateway.
fn bridge_config(config: &Config) -> bridge::Config {
    bridge::Config {
        site: config.site.clone(),
        gateway: config.name.clone(),
        version: config.version.clone(),
        url: config.url.clone(),
        batch_bytes: 900,
        held: config.held,
    }
}
