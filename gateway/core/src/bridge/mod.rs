//! Streams between the mesh and MQTT, and what the broker's clients see of the site.
//!
//! # Vocabulary
//! - A *tap* ([`Outgoing`]) is a wire that leaves the mesh here: nodes send its messages as batches to an
//!   instance that only the gateway has, and they are published as JSON ([`json`]).
//! - A *feed* ([`Incoming`]) is a wire that begins here: what arrives on its MQTT topics becomes the
//!   messages of a stream of the gateway's own, which nodes get as batches.
//!
//! # From the mesh to the broker
//! `every`: a batch is acknowledged once one commit has made durable both its publications (in the shell's
//! outbox) and the cursor that says they are there. Many batches share a commit. So neither a crash here
//! nor one at the node loses or doubles a message on its way to the outbox; from there to the broker it
//! goes with QoS 1. When [`OUTBOX`] publications wait, when the transaction that is open is full, or when
//! [`Config::held`] batches wait for theirs, a batch is refused with 5.03 and a time to try again: without a broker
//! the messages of `every` wires stay where they are produced.
//!
//! `latest`: a message is published at once. One that cannot be (no connection, or the shell takes none)
//! waits for the next of its topic, which takes its place and is counted as having superseded it.
//!
//! # From the broker to the mesh
//! What fits the schema gets a number, is made durable, and goes to each consumer until that one has
//! acknowledged it. [`FEED`] messages wait at most; what comes then is refused and counted, since MQTT has
//! no way to say "later". If the numbers were lost with the gateway's state, the first acknowledgement
//! shows it: it names messages that were never sent. Then the stream goes on from there, with a new epoch.
//! On `latest` wires only the newest message is kept, and sent once.
//!
//! # What is retained
//! Status and state of nodes, the topology, and Home Assistant's discovery follow [`Bridge::set_node`].
//! They are published again whenever the broker is connected, and each at most once in [`PACE`]. The
//! topics of a node that is revoked are emptied, durably, so that no ghost of it stays.
//!
//! # Deliberately absent
//! Who may publish what is the broker's business: everybody who may publish to
//! `capmesh/<site>/bridge/request/#` may do what the API can do.

mod cursor;
mod feed;
mod home_assistant;
mod inbox;
pub mod json;
mod requests;
mod retained;
mod tap;
mod topics;

pub use inbox::InboxResource;
pub use requests::{Arrival, Ticket};
pub use topics::Place;

use crate::api::{LogLine, MqttView, TopicView, ValueView};
use crate::io::Publication;
use crate::store::{Key, Store};
use capmesh_coap::server::Outbox;
use capmesh_wire::message::Stream;
use capmesh_wire::plan::Delivery;
use capmesh_wire::{InstanceId, Instant, NodeId};
use core::time::Duration;
use feed::Feeds;
use requests::Requests;
use retained::Retained;
use std::collections::{BTreeMap, VecDeque};
use tap::Taps;
use topics::{Meant, Topics};

/// Publications that may wait in the shell's durable outbox before producers are told to hold: half a
/// second of all that a gateway is made for. More would only make what waits older.
pub const OUTBOX: u64 = 16_384;

/// Messages of a feed that are not acknowledged.
pub const FEED: usize = 256;

/// Requests over MQTT that are not answered.
pub const REQUESTS: usize = 64;

/// Lines of the log that wait to be published. What comes then is not published.
pub const LOG: usize = 256;

/// How long a request over MQTT may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Batches that are acknowledged in one call: an endpoint has room for eight replies that nobody has
/// taken from it, and there may be some already.
pub const ACKNOWLEDGED: usize = 4;

/// How often what is retained may change, and a value be shown to watchers.
pub const PACE: Duration = Duration::from_millis(100);

/// After what time a batch that was refused may come again.
const RETRY: Duration = Duration::from_millis(200);

/// What a bridge is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The site's name.
    pub site: String,
    /// What the gateway is called.
    pub gateway: String,
    /// The version of its program.
    pub version: String,
    /// Where people find its page, for links in Home Assistant.
    pub url: Option<String>,
    /// Bytes of a batch: what fits a datagram beside CoAP's and OSCORE's heads.
    pub batch_bytes: u16,
    /// Batches that may wait for their commit ([`Size::held`](crate::endpoint::Size::held)).
    pub held: usize,
}

/// A wire that leaves the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The instance that the producer's node sends to: the gateway's own.
    pub consumer: InstanceId,
    /// The output that it begins at.
    pub stream: Stream,
    /// The node that hosts the producer.
    pub node: NodeId,
    /// Where the producer is.
    pub place: Place,
    /// What the output is called.
    pub output: String,
    /// The encoded schema of its messages.
    pub schema: Vec<u8>,
    /// What it promises.
    pub delivery: Delivery,
}

/// A wire that enters the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The stream: the gateway's own instance, and a number for each of its topics.
    pub stream: Stream,
    /// The MQTT topic that its messages come from, beside those that end in `/set`.
    pub topic: String,
    /// The encoded schema of its messages.
    pub schema: Vec<u8>,
    /// What it promises.
    pub delivery: Delivery,
    /// Where it ends: one for each replica.
    pub consumers: Vec<Consumer>,
}

/// The end of a wire that enters the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The instance.
    pub instance: InstanceId,
    /// The node that hosts it.
    pub node: NodeId,
    /// Where it is.
    pub place: Place,
    /// What its input is called.
    pub input: String,
}

/// What whoever drives a bridge is to do.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// Publish this now, and forget it if that is not possible.
    Publish(Publication),
    /// Have these topic filters subscribed, and no others.
    Subscribe(Vec<String>),
    /// Somebody requests this over MQTT; to be answered with [`Bridge::answered`].
    Request(Ticket, crate::api::Request),
    /// The newest value of a topic, for those who watch.
    Value(ValueView),
}

/// The bridge between mesh and broker: a sub-machine of the gateway. See the [module](self).
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    topics: Topics,
    up: bool,
    /// Whether the shell takes publications that are not durable.
    takes: bool,
    /// Whether somebody wants [`Notice::Value`].
    watched: bool,
    /// Whether the filters are to be given.
    subscribe: bool,
    counters: MqttView,
    taps: Taps,
    feeds: Feeds,
    requests: Requests,
    retained: Retained,
    log: VecDeque<Publication>,
}

impl Bridge {
    /// A bridge that goes on from what was durable.
    #[must_use]
    pub fn new(config: Config, state: &BTreeMap<Key, Vec<u8>>) -> Self {
        let topics = Topics::new(&config.site, &config.gateway);
        let counters = MqttView { most: OUTBOX, ..MqttView::default() };
        Self {
            topics,
            up: false,
            takes: true,
            watched: false,
            subscribe: false,
            counters,
            taps: Taps::new(state, config.held),
            feeds: Feeds::new(state),
            requests: Requests::default(),
            retained: Retained::default(),
            log: VecDeque::new(),
            config,
        }
    }

    /// What the broker is to publish when it loses the gateway, with retain.
    #[must_use]
    pub fn will(&self) -> Publication {
        retained::gateway_status(&self.topics, false)
    }

    /// Other wires count from now on: all that there are, also after a start. What is known of streams
    /// that are not among them is forgotten, durably. The work is one pass over all wires.
    pub fn set_wires(
        &mut self,
        now: Instant,
        outgoing: Vec<Outgoing>,
        incoming: Vec<Incoming>,
        store: &mut Store,
    ) {
        let nodes = self.taps.set(outgoing, &self.topics, store);
        self.feeds.set(incoming, &self.topics, self.config.batch_bytes, store);
        self.subscribe = true;
        for node in nodes {
            self.retained.values_changed(now, &node);
        }
    }

    /// There is a connection to the broker, or there is none any more. Everything that is retained is
    /// published to a new one: it may have forgotten.
    pub fn mqtt_up(&mut self, now: Instant, up: bool) {
        self.up = up;
        self.counters.connected = up;
        if up {
            self.subscribe = true;
            self.retained.all_changed(now);
        } else {
            self.taps.disconnected(&mut self.counters);
            self.log.clear();
        }
    }

    /// How many publications wait in the shell's durable outbox, and whether it takes others now.
    pub fn outbox(&mut self, waiting: u64, takes: bool) {
        self.counters.waiting = waiting;
        self.takes = takes;
    }

    /// Whether anybody wants [`Notice::Value`]. Nobody does at the start.
    pub fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    pub(crate) const fn is_watched(&self) -> bool {
        self.watched
    }

    /// A message has come from the broker.
    pub fn mqtt(
        &mut self,
        now: Instant,
        wall: Option<u64>,
        arrival: &Arrival<'_>,
        store: &mut Store,
    ) {
        match self.topics.meant(arrival.topic) {
            Meant::HomeAssistant => {
                if arrival.payload == b"online" {
                    self.retained.devices_changed(now);
                }
            }
            Meant::Request(op) => self.requests.request(now, wall, op, arrival, &self.topics),
            Meant::Command(node) => {
                self.requests.command(now, wall, node, arrival, &self.topics);
            }
            Meant::Value => self.feeds.arrive(wall, arrival, &mut self.counters, store),
        }
    }

    /// A line of the log, for the broker's clients.
    pub fn log(&mut self, line: &LogLine) {
        if !self.up || self.log.len() >= LOG {
            return;
        }
        self.log.push_back(Publication {
            topic: match &line.node {
                Some(node) => self.topics.node(node, "log"),
                None => self.topics.gateway_log(),
            },
            payload: serde_json::to_vec(line).unwrap_or_default(),
            ..Publication::default()
        });
    }

    /// Acknowledges batches whose commit is durable: at most [`ACKNOWLEDGED`], for which the endpoint has
    /// room. To be called again once the endpoint has given out everything, as long as
    /// [`Bridge::poll_timeout`] says so.
    pub fn acknowledge<P>(&mut self, now: Instant, store: &Store, link: &mut dyn Outbox<P>) {
        self.taps.answer_held(now, store, link, &mut self.counters);
    }

    /// What is to be done; to be called until there is nothing. `peer` says who is behind a node's id.
    /// The work is bounded by what has come due since the last call.
    pub fn poll<P: Copy>(
        &mut self,
        now: Instant,
        store: &mut Store,
        link: &mut dyn Outbox<P>,
        peer: &dyn Fn(NodeId) -> Option<P>,
    ) -> Option<Notice> {
        self.feeds.send(now, store, link, peer);
        self.requests.expire(now);
        if let Some((ticket, request)) = self.requests.next() {
            return Some(Notice::Request(ticket, request));
        }
        if self.subscribe && self.up {
            self.subscribe = false;
            let fixed = self.topics.filters().into_iter();
            return Some(Notice::Subscribe(fixed.chain(self.feeds.filters()).collect()));
        }
        if self.up && self.takes {
            let next = self.requests.response().or_else(|| self.retain(now));
            if let Some(publication) = next.or_else(|| self.log.pop_front()) {
                return Some(Notice::Publish(publication));
            }
            if let Some(publication) = self.taps.publish(&mut self.counters) {
                return Some(Notice::Publish(publication));
            }
        }
        if self.watched { self.taps.value(now).map(Notice::Value) } else { None }
    }

    fn retain(&mut self, now: Instant) -> Option<Publication> {
        let Self { config, topics, taps, retained, .. } = self;
        retained.poll(now, config, topics, taps)
    }

    /// When there is something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connected = self.up && self.takes;
        let at_once = (self.subscribe && self.up)
            || self.requests.is_ready(connected)
            || self.taps.may_answer()
            || connected && (!self.log.is_empty() || self.taps.is_unsent());
        if at_once {
            return Some(Instant::ZERO);
        }
        let retained = self.retained.poll_timeout().filter(|_| connected);
        let shown = self.taps.shown_timeout().filter(|_| self.watched);
        let others = [self.feeds.poll_timeout(), self.requests.poll_timeout(), retained, shown];
        others.into_iter().flatten().min()
    }

    /// The topics that pass here, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicView> {
        let mut topics: Vec<_> = self.taps.views().chain(self.feeds.views(&self.topics)).collect();
        topics.sort_by(|a, b| (&a.topic, a.instance).cmp(&(&b.topic, b.instance)));
        topics
    }

    /// The way to the broker and back.
    #[must_use]
    pub const fn counters(&self) -> MqttView {
        self.counters
    }
}

/// Milliseconds, for what is told to peers.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
