//! What the broker keeps of nodes: their status and state, the topology, Home Assistant's devices.

use super::home_assistant::{self, Shown};
use super::tap::Taps;
use super::topics::Topics;
use super::{Bridge, Config, PACE};
use crate::api::{NodeState, NodeView};
use crate::io::Publication;
use crate::store::Store;
use capmesh_wire::Instant;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Something that is published with retain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    GatewayStatus,
    GatewayDevice,
    Status(String),
    State(String),
    Device(String),
    Topology,
}

/// What is known of a publication.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    /// When to look at it again, if something has changed.
    due: Option<Instant>,
    /// When it may be published again.
    from: Instant,
    /// The hash of what was published; `None` if nothing was to this broker.
    hash: Option<u64>,
}

#[derive(Debug)]
struct Node {
    view: NodeView,
    shown: Shown,
}

/// What the broker is to keep.
#[derive(Debug, Default)]
pub(super) struct Retained {
    nodes: BTreeMap<String, Box<Node>>,
    schedules: BTreeMap<Subject, Schedule>,
    due: BTreeSet<(Instant, Subject)>,
}

impl Bridge {
    /// A node has come, or is not as it was.
    pub fn set_node(&mut self, now: Instant, view: &NodeView) {
        self.retained.set_node(now, view);
    }

    /// A node is no more of the site: what the broker keeps of it is emptied, durably.
    pub fn remove_node(&mut self, now: Instant, name: &str, store: &mut Store) {
        self.retained.remove_node(now, name);
        let topics = &self.topics;
        let device = Topics::discovery(&topics.device(name));
        for topic in [topics.node(name, "status"), topics.node(name, "state"), device] {
            store.publish(Publication { topic, retain: true, qos: 1, ..Publication::default() });
        }
    }
}

impl Retained {
    fn set_node(&mut self, now: Instant, view: &NodeView) {
        let name = &view.name;
        let (before, shown) = match self.nodes.remove(name).map(|node| *node) {
            Some(Node { view, shown }) => (Some(view), shown),
            None => (None, Shown::default()),
        };
        // A view comes with each sign of life of a node, and seldom says anything new.
        let is_other = |differs: fn(&NodeView, &NodeView) -> bool| {
            before.as_ref().is_none_or(|before| differs(before, view))
        };
        if is_other(|a, b| a.state != b.state || a.links != b.links || a.board != b.board) {
            self.changed(now, Subject::Topology);
        }
        if is_other(|a, b| is_there(a) != is_there(b)) {
            self.changed(now, Subject::Status(name.clone()));
        }
        if is_other(|a, b| state_of(a) != state_of(b)) {
            self.changed(now, Subject::State(name.clone()));
        }
        if is_other(|a, b| a.board != b.board || a.firmware != b.firmware) {
            self.changed(now, Subject::Device(name.clone()));
        }
        self.nodes.insert(name.clone(), Box::new(Node { view: view.clone(), shown }));
    }

    fn remove_node(&mut self, now: Instant, name: &str) {
        self.nodes.remove(name);
        for subject in [Subject::Status, Subject::State, Subject::Device] {
            let subject = subject(name.to_owned());
            if let Some(due) = self.schedules.remove(&subject).and_then(|schedule| schedule.due) {
                self.due.remove(&(due, subject));
            }
        }
        self.changed(now, Subject::Topology);
    }

    /// Other values come from a node.
    pub(super) fn values_changed(&mut self, now: Instant, node: &str) {
        if self.nodes.contains_key(node) {
            self.changed(now, Subject::Device(node.to_owned()));
        }
    }

    /// Home Assistant has forgotten its devices.
    pub(super) fn devices_changed(&mut self, now: Instant) {
        let devices: Vec<_> = self.nodes.keys().cloned().map(Subject::Device).collect();
        for device in devices.into_iter().chain([Subject::GatewayDevice]) {
            self.renew(now, device);
        }
    }

    /// The broker may have forgotten everything.
    pub(super) fn all_changed(&mut self, now: Instant) {
        self.renew(now, Subject::GatewayStatus);
        self.renew(now, Subject::Topology);
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for name in names {
            self.renew(now, Subject::Status(name.clone()));
            self.renew(now, Subject::State(name));
        }
        self.devices_changed(now);
    }

    fn renew(&mut self, now: Instant, subject: Subject) {
        self.schedules.entry(subject.clone()).or_default().hash = None;
        self.changed(now, subject);
    }

    fn changed(&mut self, now: Instant, subject: Subject) {
        let schedule = self.schedules.entry(subject.clone()).or_default();
        if schedule.due.is_none() {
            let due = schedule.from.max(now);
            schedule.due = Some(due);
            self.due.insert((due, subject));
        }
    }

    /// The next publication that has come due. The work is bounded by those that have and turn out to be
    /// as they were.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        config: &Config,
        topics: &Topics,
        taps: &Taps,
    ) -> Option<Publication> {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, subject)) = self.due.pop_first() else { break };
            if let Some(schedule) = self.schedules.get_mut(&subject) {
                schedule.due = None;
            }
            let Some(publication) = self.publication(&subject, config, topics, taps) else {
                continue;
            };
            let mut hasher = DefaultHasher::new();
            publication.payload.hash(&mut hasher);
            let hash = Some(hasher.finish());
            let Some(schedule) = self.schedules.get_mut(&subject) else { continue };
            if schedule.hash != hash {
                (schedule.hash, schedule.from) = (hash, now + PACE);
                return Some(publication);
            }
        }
        None
    }

    fn publication(
        &mut self,
        subject: &Subject,
        config: &Config,
        topics: &Topics,
        taps: &Taps,
    ) -> Option<Publication> {
        let retained = |topic, value: &Value| Publication {
            topic,
            payload: value.to_string().into_bytes(),
            retain: true,
            qos: 1,
            ..Publication::default()
        };
        Some(match subject {
            Subject::GatewayStatus => gateway_status(topics, true),
            Subject::GatewayDevice => {
                let topic = Topics::discovery(&topics.gateway_device());
                retained(topic, &home_assistant::gateway(config, topics))
            }
            Subject::Status(name) => {
                let node = self.nodes.get(name)?;
                status(topics.node(name, "status"), is_there(&node.view))
            }
            Subject::State(name) => {
                let node = self.nodes.get(name)?;
                retained(topics.node(name, "state"), &json!(state_of(&node.view)))
            }
            Subject::Device(name) => {
                let node = self.nodes.get_mut(name)?;
                let device =
                    home_assistant::node(config, topics, &node.view, taps, &mut node.shown);
                retained(Topics::discovery(&topics.device(name)), &device)
            }
            Subject::Topology => Publication {
                topic: topics.topology(),
                payload: serde_json::to_vec(&self.topology()).unwrap_or_default(),
                retain: true,
                qos: 1,
                ..Publication::default()
            },
        })
    }

    fn topology(&self) -> Topology<'_> {
        let views = || self.nodes.values().map(|node| &node.view);
        let nodes =
            views().map(|view| Place { board: &view.board, name: &view.name, state: view.state });
        let heard = views().flat_map(|view| view.links.iter().map(move |link| (view, link)));
        // What a node hears comes from the neighbour.
        let links = heard.map(|(view, link)| Edge {
            from: &link.to,
            kind: link.kind.name(),
            mtu: link.mtu,
            quality: link.quality,
            to: &view.name,
        });
        Topology { links: links.collect(), nodes: nodes.collect() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// Whether a node is taken to be there: as long as nobody says otherwise.
const fn is_there(view: &NodeView) -> bool {
    matches!(view.state, NodeState::Online | NodeState::Suspect)
}

fn status(topic: String, online: bool) -> Publication {
    let payload = if online { "online" } else { "offline" }.into();
    Publication { topic, payload, retain: true, qos: 1, ..Publication::default() }
}

/// Whether the gateway is there; also its will.
pub(super) fn gateway_status(topics: &Topics, online: bool) -> Publication {
    status(topics.gateway_status(), online)
}

/// Who hears whom. It grows with the site, and is written each time that a node comes or goes.
#[derive(Serialize)]
struct Topology<'a> {
    links: Vec<Edge<'a>>,
    nodes: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    board: &'a str,
    name: &'a str,
    state: NodeState,
}

#[derive(Serialize)]
struct Edge<'a> {
    from: &'a str,
    kind: &'a str,
    mtu: u16,
    quality: u8,
    to: &'a str,
}

/// What changes when something happens, and not with every second that passes.
#[derive(PartialEq, Serialize)]
struct State<'a> {
    state: NodeState,
    draining: bool,
    flash_free: u32,
    flash_total: u32,
    ram_free: u32,
    ram_total: u32,
    fuel_free: u32,
    fuel_total: u32,
    instances: usize,
    firmware: &'a str,
    board: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    boots: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roster: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<u32>,
}

fn state_of(view: &NodeView) -> State<'_> {
    State {
        state: view.state,
        draining: view.draining,
        flash_free: view.flash.free,
        flash_total: view.flash.total,
        ram_free: view.ram.free,
        ram_total: view.ram.total,
        fuel_free: view.fuel.free,
        fuel_total: view.fuel.total,
        instances: view.instances.len(),
        firmware: &view.firmware,
        board: &view.board,
        boots: view.boots,
        roster: view.roster,
        plan: view.plan,
    }
}
