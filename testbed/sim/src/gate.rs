//! The gateway, and what it has made durable.

use crate::site::{Dice, GATEWAY, REGISTRY, SITE, address, identity, key, roster};
use crate::world::MTU;
use capmesh_gateway::api::{Answer, Event, MigrationView, Refusal};
use capmesh_gateway::endpoint::{Size, make};
use capmesh_gateway::{
    Commit, Config, Gateway, Input, Key, Keys, Output, Publication, RequestId, Token,
};
use capmesh_wire::Instant;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// What went to the durable outbox.
    pub outbox: Vec<Publication>,
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
    committing: Option<(Instant, Arc<Commit>)>,
    seed: u64,
}

/// Unix time at the start of the world's clock, in microseconds.
const UNIX: u64 = 1_700_000_000_000_000;

impl Gate {
    pub(crate) fn new(seed: u64) -> Self {
        let mut config = Config::new("site", "gate");
        config.addresses = vec![address(GATEWAY)];
        config.registry = Some(address(REGISTRY));
        config.roster = Some(roster());
        Self {
            gateway: None,
            durable: BTreeMap::new(),
            outbox: Vec::new(),
            answers: BTreeMap::new(),
            migrations: BTreeMap::new(),
            commits: 0,
            doom: None,
            starts: 0,
            config,
            committing: None,
            seed,
        }
    }

    /// Starts with what is durable.
    pub(crate) fn start(&mut self, now: Instant) {
        self.starts += 1;
        let mut dice = Dice(self.seed ^ self.starts << 32);
        let mut seed = [0; 32];
        seed.fill_with(|| dice.roll().to_be_bytes()[0]);
        let link = make(now, identity(GATEWAY), dice, Size::Small);
        let keys = Keys { gateway: key(GATEWAY), site: Some(key(SITE)) };
        let state = self.durable.clone();
        let mut gateway = Gateway::new(now, self.config.clone(), link, keys, seed, state);
        gateway.handle(now, Input::Wall(UNIX + now.as_micros()));
        gateway.handle(now, Input::MqttUp(true));
        self.gateway = Some(Box::new(gateway));
    }

    /// Is killed: what was not durable is lost.
    pub(crate) fn kill(&mut self) {
        self.gateway = None;
        self.committing = None;
    }

    pub(crate) fn next_event(&self) -> Option<Instant> {
        let gateway = self.gateway.as_ref().and_then(|gateway| gateway.poll_timeout());
        gateway.into_iter().chain(self.committing.as_ref().map(|(at, _)| *at)).min()
    }

    /// Makes durable what is to be by now.
    pub(crate) fn settle(&mut self, now: Instant) {
        let Some((_, commit)) = self.committing.take_if(|(at, _)| *at <= now) else { return };
        for change in &commit.changes {
            match &change.value {
                Some(value) => self.durable.insert(change.key.clone(), value.clone()),
                None => self.durable.remove(&change.key),
            };
        }
        self.outbox.extend(commit.publications.iter().cloned());
        let number = self.commits;
        if self.doom == Some(Doom::After(number)) {
            self.doom = None;
            self.kill();
        } else if let Some(gateway) = &mut self.gateway {
            gateway.handle(now, Input::Committed { token: commit.token, result: Ok(()) });
        }
    }

    /// Lets the gateway do what is to be done now. Gives datagrams to `post`.
    pub(crate) fn flush(
        &mut self,
        now: Instant,
        mut post: impl FnMut(std::net::SocketAddr, &[u8]),
    ) {
        let mut buf = vec![0; MTU];
        for turn in 0.. {
            assert!(turn < 50_000, "the gateway does not come to rest: {:?}", self.gateway);
            let Some(gateway) = &mut self.gateway else { return };
            match gateway.poll(now, &mut buf) {
                None => return,
                Some(Output::Transmit { to, bytes }) => post(to, bytes),
                Some(Output::Commit(commit)) => self.commit(now, commit),
                Some(Output::Answer { id, result }) => {
                    self.answers.insert(id, result);
                }
                Some(Output::Event(Event::Migration(view))) => {
                    self.migrations.insert((view.instance, view.epoch), *view);
                }
                Some(Output::Event(_) | Output::Publish(_) | Output::Subscribe(_)) => {}
            }
        }
    }

    fn commit(&mut self, now: Instant, commit: Arc<Commit>) {
        assert!(commit.token > Token::default() && self.committing.is_none());
        self.commits += 1;
        if self.doom == Some(Doom::Before(self.commits)) {
            self.doom = None;
            self.kill();
            return;
        }
        // As long as a disk takes.
        self.committing = Some((now + Duration::from_millis(2), commit));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?}, {} commits, {} starts)", self.gateway, self.commits, self.starts)
    }
}
