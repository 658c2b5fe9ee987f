//! The nodes of the site: where they are, what they have, how they are, and whether they are there.

mod watch;

pub(crate) use watch::{Heard, Watch};

use crate::io::Token;
use crate::store::{Key, Store, Table};
use capmesh_coap::endpoint::ExchangeId;
use capmesh_session::{Link, Peer};
use capmesh_wire::control::Moment;
use capmesh_wire::inventory::{InstanceStatus, Inventory, Status};
use capmesh_wire::{Digest, ErrorCode, InstanceId, Instant, NodeId, Revision, cbor, paths};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of a site.
pub const NODES: usize = 1_024;

/// Refusals that are remembered of a node. What it refuses beyond them is asked of it again, later and later.
const REFUSALS: usize = 32;

/// How it is found out whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// After how much silence a node is asked how it is. 2 s.
    pub probe: Duration,
    /// How often it is asked then, as long as it does not count as lost. 0.5 s.
    pub again: Duration,
    /// After how much silence it counts as lost. 6 s: eight questions, of which one is answered at a loss
    /// of 10 % each way but for two nodes in a million.
    pub lost: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        let [probe, again, lost] = [2_000, 500, 6_000].map(Duration::from_millis);
        Self { probe, again, lost }
    }
}

/// How old a status may be before it is asked for: a node that is heard may have lost its observer.
const STALE: Duration = Duration::from_secs(10);

impl Liveness {
    fn next_probe(&self, node: &Node) -> Instant {
        let silent = match node.probed {
            None => node.heard + self.probe,
            Some(at) if node.presence == Presence::Up => at + self.again,
            Some(at) => at + self.probe,
        };
        silent.min(node.told + STALE)
    }
}

/// What is kept of a node that was adopted.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Record {
    /// What it is called.
    #[n(0)]
    pub name: String,
    /// Where it was last, as `address:port`.
    #[n(1)]
    pub address: Option<String>,
    /// Words that its owner has given it.
    #[n(2)]
    pub labels: Vec<String>,
    /// Whether it is to lose what it runs and take nothing new.
    #[n(3)]
    pub draining: bool,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has not been heard since the gateway started.
    Unknown,
    /// It is there.
    Up,
    /// It has been silent for too long, or never was heard for as long.
    Lost,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What is kept of it.
    pub record: Record,
    /// Whether it is there.
    pub presence: Presence,
    /// When it was heard last, or the gateway began to listen for it.
    pub heard: Instant,
    /// Since when it is what `presence` says.
    pub since: Instant,
    /// Its inventory, as it came.
    inventory: Vec<u8>,
    /// Its status, as it came.
    status: Vec<u8>,
    pub(crate) watches: [Watch; 3],
    /// When it has last said how it is, or was asked.
    told: Instant,
    /// When what it said was news last.
    shown: Instant,
    /// What it has last said of its own time, and when: leases count from there.
    pub(crate) moment: Option<(Moment, Instant)>,
    /// The capsules that it has refused since what it holds has changed last, and why: at most
    /// [`REFUSALS`].
    pub(crate) refuses: BTreeMap<Digest, ErrorCode>,
    /// When a probe was sent that is not answered.
    pub(crate) probed: Option<Instant>,
    /// The number of the last line of its log that was seen, and its start that this was in.
    pub(crate) lines: Option<(u32, u32)>,
    /// When to look after it.
    due: Instant,
    pub(crate) duties: crate::reconcile::Duties,
}

/// The order of [`Node::watches`].
pub(crate) const STATUS: usize = 0;
pub(crate) const INVENTORY: usize = 1;
pub(crate) const LOG: usize = 2;

impl Node {
    fn new(now: Instant, id: NodeId, record: Record) -> Self {
        Self {
            id,
            record,
            presence: Presence::Unknown,
            heard: now,
            since: now,
            inventory: Vec::new(),
            status: Vec::new(),
            watches: [paths::STATUS, paths::INVENTORY, paths::LOG].map(Watch::new),
            told: now,
            shown: now,
            moment: None,
            refuses: BTreeMap::new(),
            probed: None,
            lines: None,
            due: now,
            duties: crate::reconcile::Duties::default(),
        }
    }

    /// What it has; `None` if it has not said.
    #[must_use]
    pub fn inventory(&self) -> Option<Inventory<'_>> {
        cbor::decode(&self.inventory).ok()
    }

    /// Whether it has said what it has.
    #[must_use]
    pub const fn has_inventory(&self) -> bool {
        // Nothing else than an inventory is kept.
        !self.inventory.is_empty()
    }

    /// How it is; `None` if it has not said.
    #[must_use]
    pub fn status(&self) -> Option<Status<'_>> {
        cbor::decode(&self.status).ok()
    }

    /// How one of its instances is.
    #[must_use]
    pub fn instance(&self, instance: InstanceId) -> Option<InstanceStatus> {
        self.status()?.instances.iter().find(|row| row.instance == instance)
    }

    /// Whether it holds a capsule, as far as it has said.
    #[must_use]
    pub fn holds(&self, capsule: &Digest) -> bool {
        let prefix = capsule.prefix();
        self.inventory().is_some_and(|inventory| inventory.capsules.iter().any(|c| c == prefix))
    }

    /// Where it is, as far as is known.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.record.address.as_ref()?.parse().ok()
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.presence == Presence::Up
    }

    /// The roster and the plan that it has, as far as it has said or taken them.
    #[must_use]
    pub fn revisions(&self) -> Option<(Revision, Revision)> {
        let (roster, plan) = (self.duties.roster, self.duties.plan);
        self.status().map(|status| (status.roster.max(roster), status.plan.max(plan)))
    }

    /// It has refused a capsule. Says whether that is remembered: it is if it does not depend on anything
    /// but the capsule and what the node holds.
    pub(crate) fn note_refusal(&mut self, capsule: Digest, why: ErrorCode) -> bool {
        let is_lasting = matches!(
            why,
            ErrorCode::RolledBack | ErrorCode::InvalidModule | ErrorCode::BadSignature
        );
        let has_room = self.refuses.len() < REFUSALS || self.refuses.contains_key(&capsule);
        if is_lasting && has_room {
            self.refuses.insert(capsule, why);
        }
        is_lasting && has_room
    }

    /// It has said what time it is by its own clock. What was said earlier may come later.
    pub(crate) fn note_moment(&mut self, now: Instant, moment: Moment) {
        let of = |moment: Moment| (moment.boots, moment.uptime_ms);
        if self.moment.is_none_or(|(known, _)| of(known) < of(moment)) {
            self.moment = Some((moment, now));
        }
    }

    /// Bytes of memory that it takes here beside its places in the endpoint's tables.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.inventory.capacity()
            + self.status.capacity()
            + self.record.name.capacity()
            + self.duties.memory()
    }
}

/// What has become known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It is there (again).
    Came,
    /// It is lost.
    Lost,
    /// What it has is not what it was.
    Inventory,
    /// How it is, is not as it was.
    Status,
    /// Its clock goes on, and nothing else has changed. Now and then that counts as [`News::Status`].
    Time,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// In boxes, since a map has half as many places again as it needs.
    nodes: BTreeMap<NodeId, Box<Node>>,
    /// When each of them is to be looked after.
    agenda: BTreeSet<(Instant, NodeId)>,
    liveness: Liveness,
}

impl Nodes {
    pub(crate) const fn new(liveness: Liveness) -> Self {
        Self { nodes: BTreeMap::new(), agenda: BTreeSet::new(), liveness }
    }

    /// Takes up what was kept of a node: its record, or what it has.
    pub(crate) fn resume(&mut self, now: Instant, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, rest) = key.split_first_chunk::<{ NodeId::LEN }>()?;
        let id = NodeId::from_bytes(*id);
        if rest.is_empty() {
            let record = minicbor::decode(value).ok()?;
            if self.nodes.len() < NODES {
                self.insert(now, id, record);
            }
        } else if let Some(node) = self.nodes.get_mut(&id) {
            cbor::decode::<Inventory<'_>>(value).ok()?;
            node.inventory = value.to_vec();
        }
        Some(())
    }

    fn insert(&mut self, now: Instant, id: NodeId, record: Record) {
        if let Some(old) = self.nodes.insert(id, Box::new(Node::new(now, id, record))) {
            self.agenda.remove(&(old.due, id));
        }
        self.agenda.insert((now, id));
    }

    /// Keeps a node, or changes what is kept of it. `None` if there is no room.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        store: &mut Store,
        id: NodeId,
        record: Record,
    ) -> Option<Token> {
        if self.nodes.len() >= NODES && !self.nodes.contains_key(&id) {
            return None;
        }
        let bytes = minicbor::to_vec(&record).ok()?;
        match self.nodes.get_mut(&id) {
            Some(node) => node.record = record,
            None => self.insert(now, id, record),
        }
        self.touch(now, id);
        Some(store.put(Key::new(Table::Nodes, id.as_bytes()), bytes))
    }

    /// Forgets a node.
    pub(crate) fn remove(
        &mut self,
        now: Instant,
        store: &mut Store,
        link: &mut dyn Link,
        id: NodeId,
    ) -> Option<Node> {
        let mut node = self.nodes.remove(&id)?;
        self.agenda.remove(&(node.due, id));
        node.watches.iter_mut().for_each(|watch| watch.stop(now, link));
        store.delete(Key::new(Table::Nodes, id.as_bytes()));
        store.delete(inventory_key(id));
        Some(*node)
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(Box::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node with this name or id.
    pub(crate) fn named(&self, name: &str) -> Option<&Node> {
        let by_id = name.parse().ok().and_then(|id| self.get(id));
        by_id.or_else(|| self.iter().find(|node| node.record.name == name))
    }

    /// What people call a node.
    pub(crate) fn name(&self, id: NodeId) -> String {
        self.get(id).map_or_else(|| id.to_string(), |node| node.record.name.clone())
    }

    /// What nodes have refused may be wanted otherwise now.
    pub(crate) fn forget_refusals(&mut self) {
        self.nodes.values_mut().for_each(|node| node.refuses.clear());
    }

    /// Has a node looked after at once.
    pub(crate) fn touch(&mut self, now: Instant, id: NodeId) {
        self.look_at(now, id);
    }

    /// Has all nodes looked after at once.
    pub(crate) fn touch_all(&mut self, now: Instant) {
        self.agenda = self.nodes.keys().map(|id| (now, *id)).collect();
        self.nodes.values_mut().for_each(|node| node.due = now);
    }

    fn look_at(&mut self, at: Instant, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        self.agenda.remove(&(node.due, id));
        node.due = at;
        self.agenda.insert((at, id));
    }

    /// A node that is to be looked after now. It is not due again before [`Nodes::later`] or
    /// [`Nodes::touch`] says so.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<NodeId> {
        let (at, id) = *self.agenda.first()?;
        if at > now {
            return None;
        }
        self.agenda.pop_first();
        Some(id)
    }

    /// When the next one is to be looked after.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// An exchange has ended without a response: it may have been an observation's.
    pub(crate) fn ended(&mut self, now: Instant, exchange: ExchangeId) {
        let found = self.nodes.values_mut().find_map(|node| {
            node.watches.iter_mut().any(|watch| watch.ended(now, exchange)).then_some(node.id)
        });
        if let Some(id) = found {
            self.touch(now, id);
        }
    }

    /// After a node was looked after: when next. `duty` is when there is something to do for it.
    pub(crate) fn later(&mut self, id: NodeId, duty: Option<Instant>) {
        let Some(node) = self.nodes.get(&id) else { return };
        if self.agenda.contains(&(node.due, id)) {
            return;
        }
        let silence = node.heard + self.liveness.lost;
        let probe = self.liveness.next_probe(node);
        let alive = if node.presence == Presence::Lost { probe } else { silence.min(probe) };
        let watches = node.watches.iter().filter_map(Watch::due);
        let next = watches.filter(|_| node.is_up()).chain(duty).chain([alive]).min();
        self.look_at(next.unwrap_or(alive), id);
    }

    /// A node was heard, authentically.
    pub(crate) fn heard(&mut self, now: Instant, id: NodeId) -> Option<News> {
        let node = self.nodes.get_mut(&id)?;
        node.heard = now;
        node.probed = None;
        if node.presence == Presence::Up {
            return None;
        }
        (node.presence, node.since) = (Presence::Up, now);
        self.touch(now, id);
        Some(News::Came)
    }

    /// Whether a node has to be asked how it is, or counts as lost now.
    pub(crate) fn check(&mut self, now: Instant, id: NodeId) -> (bool, Option<News>) {
        let Some(node) = self.nodes.get_mut(&id) else { return (false, None) };
        let silent = now.saturating_since(node.heard);
        let mut news = None;
        if silent >= self.liveness.lost && node.presence != Presence::Lost {
            (node.presence, node.since) = (Presence::Lost, now);
            news = Some(News::Lost);
        }
        let probe = node.presence == Presence::Unknown && node.probed.is_none()
            || now >= self.liveness.next_probe(node);
        if probe {
            (node.probed, node.told) = (Some(now), now);
        }
        (probe, news)
    }

    /// A node has said how it is. Says what is new about it; observations begin anew if it has started
    /// since.
    pub(crate) fn status(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        id: NodeId,
        bytes: Vec<u8>,
    ) -> Option<News> {
        let status = cbor::decode::<Status<'_>>(&bytes).ok()?;
        let (boots, uptime_ms) = (status.boots, status.uptime_ms);
        let node = self.nodes.get_mut(&id)?;
        node.note_moment(now, Moment { boots, uptime_ms });
        node.told = now;
        let before = node.status().map(|status| status.boots);
        if node.status == bytes {
            return None;
        }
        let is_same = node.status().is_some_and(|before| is_same_but_for_time(&before, &status))
            && now < node.shown + STALE;
        node.status = bytes;
        if !is_same {
            node.shown = now;
        }
        node.status.shrink_to_fit();
        if before.is_some_and(|before| before != boots) {
            for watch in &mut node.watches {
                watch.restart(now, link);
            }
            node.duties.forget();
        }
        self.touch(now, id);
        Some(if is_same { News::Time } else { News::Status })
    }

    /// A node has said what it has.
    /// It is kept: a gateway that starts anew knows what there is before it has heard anybody.
    pub(crate) fn inventory(
        &mut self,
        now: Instant,
        store: &mut Store,
        id: NodeId,
        bytes: Vec<u8>,
    ) -> Option<News> {
        cbor::decode::<Inventory<'_>>(&bytes).ok()?;
        let node = self.nodes.get_mut(&id)?;
        if node.inventory == bytes {
            return None;
        }
        let before = core::mem::replace(&mut node.inventory, bytes);
        node.inventory.shrink_to_fit();
        let held = |bytes| cbor::decode::<Inventory<'_>>(bytes).map(|has| has.capsules);
        if !node.refuses.is_empty() && held(&before).ok() != held(&node.inventory).ok() {
            node.refuses.clear();
        }
        store.put(inventory_key(id), node.inventory.clone());
        self.touch(now, id);
        Some(News::Inventory)
    }

    /// Whom to send to, with a place among the sessions.
    pub(crate) fn peer(&self, now: Instant, link: &mut dyn Link, id: NodeId) -> Option<Peer> {
        if let Some(peer) = link.peer(id) {
            return Some(peer);
        }
        let address = self.get(id)?.address()?;
        link.introduce(now, id, address).ok()
    }

    /// A hint where a node may be. It is taken if the node does not answer where it was.
    pub(crate) fn hint(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        store: &mut Store,
        id: NodeId,
        address: SocketAddr,
    ) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.is_up() || node.address() == Some(address) {
            return;
        }
        if !link.relocate(id, address) && link.introduce(now, id, address).is_err() {
            return;
        }
        let record = Record { address: Some(address.to_string()), ..node.record.clone() };
        self.keep(now, store, id, record);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.probed = None;
        }
    }

    /// Remembers where a node was heard, if that is not where it was.
    pub(crate) fn located(
        &mut self,
        now: Instant,
        store: &mut Store,
        id: NodeId,
        address: SocketAddr,
    ) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.address() != Some(address) {
            let record = Record { address: Some(address.to_string()), ..node.record.clone() };
            self.keep(now, store, id, record);
        }
    }
}

fn is_same_but_for_time<'s>(before: &Status<'s>, status: &Status<'s>) -> bool {
    *before == Status { uptime_ms: before.uptime_ms, clock: before.clock, ..*status }
}

/// What a node has is kept beside its record: behind it in the order of keys.
fn inventory_key(id: NodeId) -> Key {
    let mut key = id.as_bytes().to_vec();
    key.push(b'i');
    Key::new(Table::Nodes, key)
}
