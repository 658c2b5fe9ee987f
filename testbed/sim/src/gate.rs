//! The gateway, and what it has made durable.

use crate::Host;
use crate::clock::Clock;
use crate::event::Event as Told;
use crate::site::{Dice, GATEWAY, REGISTRY, SITE, address, identity, key, node_id, roster};
use crate::world::MTU;
use capmesh_gateway::api::{Answer, Event, MigrationView, NodeState, Refusal};
use capmesh_gateway::endpoint::{Size, make};
use capmesh_gateway::nodes::Record;
use capmesh_gateway::{
    Commit, Config, Gateway, Input, Key, Keys, Output, Publication, RequestId, Row, Table, Token,
};
use capmesh_node::trace::print;
use capmesh_wire::{Instant, NodeId};
use rand_core::RngCore;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// When the gateway is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// When it gives the commit of this number, counted over all its lives: before that is durable.
    Before(u64),
    /// As soon as that commit is durable, before the gateway hears so.
    After(u64),
}

/// The gateway, and what it has made durable.
pub struct Gate {
    /// The gateway, if it runs.
    pub gateway: Option<Box<Gateway>>,
    /// What a new gateway would find.
    pub durable: BTreeMap<Key, Vec<u8>>,
    /// What is in the durable outbox and has not come to the broker.
    pub outbox: VecDeque<Publication>,
    /// What was answered, by request.
    pub answers: BTreeMap<RequestId, Result<Answer, Refusal>>,
    /// Migrations as they were last shown, by instance and epoch.
    pub migrations: BTreeMap<(u32, u32), MigrationView>,
    /// How many commits there were.
    pub commits: u64,
    /// When it is killed next.
    pub doom: Option<Doom>,
    /// How often it was started.
    pub starts: u64,
    /// How it is configured.
    pub config: Config,
    /// Its clock, which begins anew at each start.
    pub clock: Clock,
    /// Whether there is a connection to the MQTT broker.
    pub(crate) is_connected: bool,
    /// The commit on its way to the disk, by its number.
    pub(crate) committing: Option<(u64, Arc<Commit>)>,
    /// Who has which id.
    pub(crate) ids: BTreeMap<NodeId, Host>,
    /// What has happened, for the world to tell.
    pub(crate) told: Vec<Told>,
    online: BTreeMap<Host, bool>,
    size: Size,
    ppm: i32,
    seed: u64,
}

/// How hard the gateway looks for better places, in prices computed.
const EFFORT: u64 = 20_000;

/// The most nodes for an endpoint of the small size.
const SMALL: Host = 96;

/// Unix time at the start of the world's clock, in microseconds.
const UNIX: u64 = 1_700_000_000_000_000;

impl Gate {
    pub(crate) fn new(seed: u64, nodes: Host) -> Self {
        let mut config = Config::new("site", "gate");
        config.addresses = vec![address(GATEWAY)];
        config.registry = Some(address(REGISTRY));
        config.roster = Some(roster(0));
        // Plans need not be the best that there are, and a mesh of hundreds of nodes is decided on often.
        config.weights.effort = EFFORT;
        Self {
            gateway: None,
            durable: BTreeMap::new(),
            outbox: VecDeque::new(),
            ids: BTreeMap::new(),
            told: Vec::new(),
            answers: BTreeMap::new(),
            migrations: BTreeMap::new(),
            commits: 0,
            doom: None,
            starts: 0,
            config,
            clock: Clock::new(Instant::ZERO, Instant::ZERO),
            is_connected: true,
            committing: None,
            online: BTreeMap::new(),
            size: if nodes > SMALL { Size::Large } else { Size::Small },
            ppm: 0,
            seed,
        }
    }

    /// Begins with a roster, and the nodes on it where they are, as if it had adopted them.
    pub(crate) fn know(&mut self, nodes: Host, roster: Vec<u8>) {
        self.config.roster = Some(roster);
        for n in 1..=nodes {
            let record = Record {
                name: format!("n{n}"),
                address: Some(address(n).to_string()),
                labels: Vec::new(),
                draining: false,
            };
            let key = Key::new(Table::Nodes, node_id(n).as_bytes());
            self.durable.insert(key, minicbor::to_vec(&record).unwrap());
        }
    }

    /// Starts with what is durable.
    pub(crate) fn start(&mut self, world: Instant) {
        self.starts += 1;
        let mut dice = Dice(self.seed).fork(self.starts);
        self.clock = Clock::new(world, Instant::from_micros(dice.below(1_000_000)));
        self.clock.drift(world, self.ppm);
        let now = self.clock.local(world);
        let mut seed = [0; 32];
        dice.fill_bytes(&mut seed);
        let link = make(now, identity(GATEWAY), dice, self.size);
        let keys = Keys { gateway: key(GATEWAY), site: Some(key(SITE)) };
        let state = self.durable.clone();
        let mut gateway = Gateway::new(now, self.config.clone(), link, keys, seed, state);
        gateway.handle(now, Input::Wall(UNIX + world.as_micros()));
        gateway.handle(now, Input::MqttUp(self.is_connected));
        self.gateway = Some(Box::new(gateway));
    }

    /// Is killed: what was not durable is lost.
    pub(crate) fn kill(&mut self) {
        self.gateway = None;
        self.committing = None;
    }

    /// Takes something that has happened, if it runs.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>) {
        if let Some(gateway) = &mut self.gateway {
            gateway.handle(self.clock.local(now), input);
        }
    }

    /// Its clock runs too fast by so many millionths.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i32) {
        self.ppm = ppm;
        self.clock.drift(now, ppm);
    }

    /// When it wants to be polled, in the world's time.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        Some(self.clock.world(self.gateway.as_ref()?.poll_timeout()?))
    }

    /// Makes a commit durable, if it is still on its way.
    pub(crate) fn settle(&mut self, now: Instant, number: u64) {
        let Some((_, commit)) = self.committing.take_if(|(of, _)| *of == number) else { return };
        self.told.push(Told::Committed {
            number,
            changes: commit.changes.len() as u32,
            publications: commit.publications.len() as u32,
            print: commit.changes.iter().fold(0, |all, change| {
                let value = change.value.as_deref().unwrap_or_default();
                all.rotate_left(7) ^ print(&change.key.bytes) ^ print(value)
            }),
        });
        for change in &commit.changes {
            let old = match &change.value {
                Some(value) => self.durable.insert(change.key.clone(), value.clone()),
                None => self.durable.remove(&change.key),
            };
            if change.key.table == Table::Plan {
                let row = |bytes: &Vec<u8>| Row::decode(bytes);
                let (old, new) = (old.as_ref().and_then(row), change.value.as_ref().and_then(row));
                self.tell_owner(old.as_ref(), new.as_ref());
            }
        }
        self.outbox.extend(commit.publications.iter().cloned());
        self.drain();
        if self.doom == Some(Doom::After(number)) {
            self.doom = None;
            self.kill();
        } else {
            self.handle(now, Input::Committed { token: commit.token, result: Ok(()) });
        }
    }

    fn tell_owner(&mut self, old: Option<&Row>, new: Option<&Row>) {
        let owner = |row: &Row| (row.node, row.epoch);
        let Some(row) = new.or(old).filter(|_| old.map(owner) != new.map(owner)) else { return };
        let by = new.and_then(|row| self.ids.get(&row.node).copied());
        let epoch = if new.is_some() { row.epoch } else { row.fence };
        let (instance, path) = (row.instance.0, path_of(row));
        self.told.push(Told::Owned { instance, path, epoch: epoch.0, by });
    }

    /// There is a connection to the broker from now on, or none any more.
    pub(crate) fn connect(&mut self, now: Instant, is_connected: bool) {
        self.is_connected = is_connected;
        self.handle(now, Input::MqttUp(is_connected));
        self.drain();
        let (waiting, takes) = (self.outbox.len() as u64, is_connected);
        self.handle(now, Input::Outbox { waiting, takes });
    }

    /// What is in the outbox comes to the broker, if there is a connection.
    fn drain(&mut self) {
        while self.is_connected
            && let Some(publication) = self.outbox.pop_front()
        {
            self.publish(publication, true);
        }
    }

    fn publish(&mut self, publication: Publication, durable: bool) {
        let Publication { topic, payload, retain, .. } = publication;
        let (topic, payload) = (topic.into(), payload.into());
        self.told.push(Told::Mqtt { topic, payload, retain, durable });
    }

    /// Lets the gateway do what is to be done now. Gives datagrams to `post`, and says which commit it
    /// has begun.
    pub(crate) fn flush(
        &mut self,
        world: Instant,
        mut post: impl FnMut(SocketAddr, &[u8]),
    ) -> Option<u64> {
        let now = self.clock.local(world);
        let (mut buf, mut begun) = ([0; MTU], None);
        for turn in 0.. {
            assert!(turn < 50_000, "the gateway does not come to rest: {:?}", self.gateway);
            let Some(gateway) = &mut self.gateway else { break };
            match gateway.poll(now, &mut buf) {
                None => break,
                Some(Output::Transmit { to, bytes }) => post(to, bytes),
                Some(Output::Commit(commit)) => {
                    self.commit(commit);
                    begun = Some(self.commits);
                }
                Some(Output::Answer { id, result }) => {
                    let (ok, what) =
                        (result.is_ok(), result.as_ref().err().map(ToString::to_string));
                    let what = what.unwrap_or_default().into();
                    self.told.push(Told::Answered { id: id.0, ok, what });
                    self.answers.insert(id, result);
                }
                Some(Output::Event(event)) => self.event(event),
                Some(Output::Publish(publication)) if self.is_connected => {
                    self.publish(publication, false);
                }
                Some(Output::Publish(_) | Output::Missed | Output::Subscribe(_)) => {}
            }
        }
        begun
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Migration(view) => {
                let (instance, epoch) = (view.instance, view.epoch);
                let step = view.steps.last().map_or_else(String::new, |step| step.step.to_string());
                let step = format!("{:?} {step}", view.state).into();
                self.told.push(Told::Moves { instance, epoch, step });
                self.migrations.insert((instance, epoch), *view);
            }
            Event::Node(view) => {
                let (online, host) = (view.state == NodeState::Online, self.ids.get(&view.id));
                if let Some(host) = host.copied()
                    && self.online.insert(host, online) != Some(online)
                {
                    self.told.push(Told::Reachable { host, online });
                }
            }
            _ => {}
        }
    }

    fn commit(&mut self, commit: Arc<Commit>) {
        assert!(commit.token > Token::default() && self.committing.is_none());
        self.commits += 1;
        if self.doom == Some(Doom::Before(self.commits)) {
            self.doom = None;
            self.kill();
            return;
        }
        self.committing = Some((self.commits, commit));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?}, {} commits, {} starts)", self.gateway, self.commits, self.starts)
    }
}

/// What MQTT topics call an instance.
fn path_of(row: &Row) -> Arc<str> {
    let (pipeline, name) = (&row.pipeline, &row.name);
    match row.replica {
        0 => format!("{pipeline}--{name}").into(),
        replica => format!("{pipeline}--{name}--{replica}").into(),
    }
}
