//! Deciding what runs where, and writing it down for nodes.

use super::Gateway;
use super::registry::REGISTRIES;
use super::sheets::Sheets;
use crate::api;
use crate::bridge::{self, Place};
use crate::io::Token;
use crate::migrate::Migration;
use crate::nodes::Presence;
use crate::pipeline::Pipeline;
use crate::plan::{
    self, Availability, Current, Decision, Egress, Ends, Ingress, InstanceName, Reason, Refusal,
    Site,
};
use crate::reconcile::{self, Around, Relays};
use crate::rows::Row;
use crate::store::{Key, Store, Table};
use capmesh_wire::message::Stream;
use capmesh_wire::plan::Failover;
use capmesh_wire::{Digest, InstanceId, Instant, NodeId, Revision};
use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// How long changes are gathered before it is decided anew.
const GATHER: Duration = Duration::from_millis(100);

/// What the counter begins with that says when a pipeline was deployed.
const DEPLOYED: &str = "deployed/";

/// How long what is left of a lease is given beyond its end, beside 3 % of it: clocks differ.
const MARGIN: Duration = Duration::from_secs(1);

/// What was decided last, and what nodes are told of it.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// The newest revision that was given to a plan.
    pub(super) revision: Revision,
    /// The commit that has to be durable before nodes are told.
    token: Token,
    /// Whether nodes are to be told as soon as that is durable.
    untold: bool,
    sheets: Sheets,
    relays: Relays,
    pairs: BTreeSet<(NodeId, NodeId)>,
    /// Whether the plans may say something else by now.
    stale: bool,
    /// When to decide anew.
    decide_at: Option<Instant>,
    memory: RefCell<plan::Memory>,
    /// When nodes last came or went.
    unrest: Option<Instant>,
    /// Owners of rows that are not of the site any more, and since when that is known: nobody has renewed
    /// their leases since. They are owners, so there are no more of them than rows.
    departed: BTreeMap<NodeId, Instant>,
    pub(super) reasons: BTreeMap<InstanceId, Reason>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) cost: u64,
    pub(super) optimal: bool,
    /// Streams that leave the mesh here and that enter it; `None` until the first decision, since the bridge
    /// forgets durably what is known of streams that it is not told.
    streams: Option<(Vec<Egress>, Vec<Ingress>)>,
}

impl Planned {
    pub(super) fn is_durable(&self, store: &Store) -> bool {
        !self.stale && store.is_durable(self.token)
    }

    /// The revision of the plan that a node is to have.
    pub(super) fn revision_of(&self, node: NodeId) -> Option<Revision> {
        self.sheets.revision_of(node)
    }
}

/// What a decision is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody wants it.
    Wanted,
    /// Something has changed.
    Changed,
}

/// Names, labels and availability of nodes, to lend them to a [`Site`].
struct Facts {
    labels: BTreeMap<NodeId, BTreeSet<String>>,
}

impl Gateway {
    /// Takes up what was durable.
    pub(super) fn take_up(&mut self, now: Instant, state: &BTreeMap<Key, Vec<u8>>) {
        let mut migrations = Vec::new();
        for (key, value) in state {
            let bytes = key.bytes.as_slice();
            match key.table {
                Table::Nodes => {
                    self.nodes.resume(now, bytes, value);
                }
                Table::Plan => self.take_up_row(bytes, value),
                Table::Pipelines => {
                    let name = String::from_utf8_lossy(bytes).into_owned();
                    let text = core::str::from_utf8(value).unwrap_or_default();
                    if let Ok(pipeline) = Pipeline::parse(&name, text) {
                        self.pipelines.insert(name, pipeline);
                    }
                }
                Table::Manifests => {
                    let _ = self.catalog.insert(value);
                }
                Table::References => {
                    let text = core::str::from_utf8(bytes).unwrap_or_default();
                    if let Ok(digest) = <[u8; Digest::LEN]>::try_from(value.as_slice()) {
                        let _ = self.catalog.refer(text, Digest::from_bytes(digest));
                    }
                }
                Table::Counters => self.take_up_counter(bytes, value),
                Table::Checkpoints => {
                    self.checkpoints.resume(bytes, value);
                }
                Table::Migrations => migrations.extend(Migration::resume(now, bytes, value)),
                Table::Sheets => {
                    self.planned.sheets.resume(bytes, value);
                }
                Table::Roster | Table::Cursors | Table::Streams => {}
            }
        }
        self.migrations = migrations;
        self.planned.stale = true;
        self.plan_soon(now);
    }

    fn take_up_row(&mut self, key: &[u8], value: &[u8]) {
        let Some((number, rest)) = key.split_first_chunk::<4>() else { return };
        let instance = InstanceId(u32::from_be_bytes(*number));
        if !rest.is_empty() {
            self.ends.restore(instance, value);
        } else if let Some(row) = Row::decode(value) {
            self.rows.0.insert(instance, row);
        }
    }

    fn take_up_counter(&mut self, key: &[u8], value: &[u8]) {
        let number = value.try_into().map(u32::from_be_bytes);
        match (key, number) {
            (b"revision", Ok(number)) => {
                self.planned.revision = Revision(number);
            }
            (b"next", Ok(number)) => self.next = InstanceId(number),
            _ if key.starts_with(DEPLOYED.as_bytes()) => {
                let name = core::str::from_utf8(key).ok().and_then(|k| k.strip_prefix(DEPLOYED));
                let at = value.try_into().map(u64::from_be_bytes);
                self.deployed.extend(name.map(str::to_owned).zip(at.ok()));
            }
            _ => {
                let name =
                    key.strip_prefix(b"pin/").and_then(|name| core::str::from_utf8(name).ok());
                let node = <[u8; NodeId::LEN]>::try_from(value).map(NodeId::from_bytes);
                if let (Some(Ok(name)), Ok(node)) = (name.map(str::parse), node) {
                    self.pins.insert(name, node);
                }
            }
        }
    }

    /// Something has changed that may lead to other decisions.
    pub(super) fn plan_soon(&mut self, now: Instant) {
        self.planned.unrest = Some(now);
        self.decide_at(now + GATHER);
    }

    pub(super) fn decide_at(&mut self, at: Instant) {
        self.planned.decide_at = Some(self.planned.decide_at.map_or(at, |known| known.min(at)));
    }

    /// The plans of nodes may say something else.
    pub(super) fn plan_again(&mut self) {
        self.planned.stale = true;
    }

    pub(super) fn planned_timeout(&self) -> Option<Instant> {
        if self.planned.stale { Some(Instant::ZERO) } else { self.planned.decide_at }
    }

    pub(super) fn advance_plan(&mut self, now: Instant) {
        if self.planned.decide_at.is_some_and(|at| at <= now) {
            self.planned.decide_at = None;
            let decision = self.decide(&self.pipelines, &self.pins);
            self.apply(now, decision, Why::Changed);
        }
        if self.planned.stale {
            self.write(now);
        }
        if self.planned.untold && self.planned.is_durable(&self.store) {
            self.planned.untold = false;
            self.nodes.touch_all(now);
        }
    }

    /// What should be, with these pipelines and pins. What was asked for the last decision, whoever wanted to
    /// know that, is not computed again.
    pub(super) fn decide(
        &self,
        pipelines: &BTreeMap<String, Pipeline>,
        pinned: &BTreeMap<InstanceName, NodeId>,
    ) -> Decision {
        let mut memory = self.planned.memory.take();
        let current = self.current();
        let decision = self
            .with_site(pipelines, pinned, |site| plan::decide_again(site, current, &mut memory));
        self.planned.memory.replace(memory);
        decision
    }

    const fn current(&self) -> Current<'_> {
        Current { rows: &self.rows, ends: &self.ends, next: self.next }
    }

    /// The site, as it is.
    pub(super) fn with_site<T>(
        &self,
        pipelines: &BTreeMap<String, Pipeline>,
        pinned: &BTreeMap<InstanceName, NodeId>,
        with: impl FnOnce(&Site<'_>) -> T,
    ) -> T {
        let labels = self.nodes.iter().map(|node| {
            (node.id, node.record.labels.iter().cloned().collect::<BTreeSet<String>>())
        });
        let facts = Facts { labels: labels.collect() };
        let none = BTreeSet::new();
        let nodes = self
            .nodes
            .iter()
            .map(|node| {
                let availability = match node.presence {
                    Presence::Lost => Availability::Lost,
                    _ if node.record.draining => Availability::Draining,
                    _ => Availability::Ready,
                };
                let known = plan::Node {
                    name: &node.record.name,
                    inventory: node.inventory(),
                    labels: facts.labels.get(&node.id).unwrap_or(&none),
                    availability,
                    refuses: &node.refuses,
                };
                (node.id, known)
            })
            .collect();
        with(&Site {
            pipelines,
            catalog: &self.catalog,
            nodes: &nodes,
            pinned,
            weights: self.config.weights,
        })
    }

    /// Makes rows what they should be; what runs elsewhere than it should begins to move.
    pub(super) fn apply(&mut self, now: Instant, decision: Decision, why: Why) {
        let gone: Vec<InstanceId> = self.rows.0.keys().copied().collect();
        let gone = gone.into_iter().filter(|id| decision.rows.get(*id).is_none());
        for id in gone.collect::<Vec<_>>() {
            self.end(now, id);
        }
        let mut moves = Vec::new();
        for (id, wanted) in decision.rows.0 {
            let mut row = wanted.clone();
            if let Some(known) = self.rows.get(id) {
                if known.node != row.node {
                    moves.push((id, wanted.node));
                    row.node = known.node;
                }
                if known.epoch != row.epoch {
                    self.undo_of(now, id, "the instance changes");
                }
            }
            if self.rows.get(id).is_none_or(|known| *known != row) {
                self.put_row(row);
            }
        }
        if self.ends != decision.ends {
            self.put_ends(decision.ends);
        }
        if self.next != decision.next {
            self.next = decision.next;
            self.put_counter("next", self.next.0);
        }
        self.planned.reasons = decision.reasons;
        self.planned.refusals = decision.refusals;
        (self.planned.cost, self.planned.optimal) = (decision.cost.total(), decision.optimal);
        self.planned.streams = Some((decision.egress, decision.ingress));
        for (id, to) in moves {
            self.wants_move(now, id, to, why);
        }
        let rows = &self.rows;
        let owners: BTreeSet<NodeId> = rows.iter().map(|row| row.node).collect();
        self.planned.departed.retain(|node, _| owners.contains(node));
        self.checkpoints.retain(&mut self.store, |id| rows.get(id).is_some());
        self.planned.stale = true;
    }

    /// An instance should be elsewhere.
    fn wants_move(&mut self, now: Instant, id: InstanceId, to: NodeId, why: Why) {
        let Some(row) = self.rows.get(id).cloned() else { return };
        if self.migrations.iter().any(|m| m.instance == id && m.is_in_the_way()) {
            return;
        }
        if let Some((calm, _)) = self.calm.get(&id).filter(|(calm, _)| *calm > now) {
            let calm = *calm;
            self.decide_at(calm);
            return;
        }
        let node = self.nodes.get(row.node);
        let is_lost = node.is_none_or(|node| node.presence == Presence::Lost);
        if is_lost {
            self.fail_over(now, row, to);
            return;
        }
        let must = why == Why::Wanted || node.is_some_and(|node| node.record.draining);
        let calm = self.planned.unrest.map_or(now, |unrest| unrest + self.config.calm);
        if !must && calm > now {
            self.decide_at(calm);
            return;
        }
        // It is decided anew when a move is over, when something ends, and when a node has more to give.
        if !must && !self.has_room(to, &row.capsule) {
            return;
        }
        let cause = match (why, node.is_some_and(|node| node.record.draining)) {
            (_, true) => format!("{} is being emptied", self.nodes.name(row.node)),
            (Why::Wanted, _) => "somebody wants it there".to_owned(),
            (Why::Changed, _) => "it is better off there".to_owned(),
        };
        self.begin_move(now, id, Some(row.node), to, cause);
    }

    /// Whether a node has room for a capsule beside all that is or is to be there. What placement says may only
    /// be so once others have left: if each waits for the place of another, none ever gets it.
    fn has_room(&self, id: NodeId, capsule: &Digest) -> bool {
        let Some(has) = self.nodes.get(id).and_then(|node| node.inventory()) else { return false };
        let comes = |m: &&Migration| m.to == id && m.is_in_the_way();
        let coming = self.migrations.iter().filter(comes).filter_map(|m| self.rows.get(m.instance));
        let there = self.rows.of(id).chain(coming.filter(|row| row.node != id));
        let all = there.map(|row| &row.capsule).chain([capsule]);
        let all = all.filter_map(|capsule| self.catalog.manifest(capsule));
        let (mut ram, mut fuel, mut instances) = (0_u64, 0_u64, 0_u32);
        for needs in all.map(|manifest| manifest.capsule.needs) {
            ram += u64::from(needs.ram);
            fuel += u64::from(needs.fuel_per_second);
            instances += 1;
        }
        let (has_ram, has_fuel) = (u64::from(has.ram.total), u64::from(has.fuel.total));
        ram <= has_ram && fuel <= has_fuel && instances <= has.instances.total
    }

    /// The node of an instance is lost: the instance goes on elsewhere, if it may.
    fn fail_over(&mut self, now: Instant, mut row: Row, to: NodeId) {
        if let Some(lease) = row.lease_ms {
            // Until its lease has run out, it may run where it was: also on a node that was revoked, which
            // nobody can tell to stop.
            let heard = self.nodes.get(row.node).map(|node| node.heard);
            let heard =
                heard.unwrap_or_else(|| *self.planned.departed.entry(row.node).or_insert(now));
            let lease = Duration::from_millis(u64::from(lease));
            let over = heard + lease + lease * 3 / 100 + MARGIN;
            if over > now {
                self.decide_at(over);
                return;
            }
        }
        let checkpoint = self.checkpoints.get(row.instance);
        let fits = checkpoint.is_some_and(|kept| kept.capsule == row.capsule);
        if row.failover == Failover::Checkpoint && fits {
            let cause = format!("{} is lost", self.nodes.name(row.node));
            self.begin_move(now, row.instance, None, to, cause);
            return;
        }
        row.node = to;
        self.begin_afresh(row);
    }

    /// An instance begins without its state: what was kept of it, for its node to be lost, is not to come
    /// back either.
    pub(super) fn begin_afresh(&mut self, mut row: Row) {
        row.epoch = row.fence.next();
        row.fence = row.epoch;
        self.checkpoints.forget(&mut self.store, row.instance);
        self.put_row(row);
    }

    /// An instance ends.
    fn end(&mut self, now: Instant, id: InstanceId) {
        self.undo_of(now, id, "the instance ends");
        if let Some(row) = self.rows.0.remove(&id) {
            self.pins.remove(&InstanceName::of(&row));
        }
        // Its node is not told before: a gateway that is killed now would have it run again.
        self.planned.token = self.store.delete(row_key(id));
        self.event(api::Event::Gone(api::Gone::Instance(id.0)));
    }

    /// Keeps a row, and has nodes told once that is durable.
    pub(super) fn put_row(&mut self, row: Row) {
        if let Some(bytes) = row.encode() {
            self.planned.token = self.store.put(row_key(row.instance), bytes);
            self.rows.0.insert(row.instance, row);
            self.planned.stale = true;
        }
    }

    fn put_ends(&mut self, ends: Ends) {
        let key = |id: InstanceId| {
            let mut key = id.0.to_be_bytes().to_vec();
            key.push(b'e');
            Key::new(Table::Plan, key)
        };
        for (id, _) in self.ends.records() {
            if !ends.0.values().any(|end| *end == id) {
                self.planned.token = self.store.delete(key(id));
            }
        }
        for (id, record) in ends.records() {
            if !self.ends.0.values().any(|end| *end == id) {
                self.planned.token = self.store.put(key(id), record);
            }
        }
        self.ends = ends;
    }

    fn put_counter(&mut self, name: &str, number: u32) {
        let bytes = number.to_be_bytes().to_vec();
        self.planned.token = self.store.put(Key::new(Table::Counters, name), bytes);
    }

    /// A pipeline is deployed now, or none any more.
    pub(super) fn note_deployed(&mut self, now: Instant, name: &str, is_there: bool) {
        let key = Key::new(Table::Counters, format!("{DEPLOYED}{name}"));
        match self.unix_millis(now).filter(|_| is_there) {
            Some(at) => {
                self.deployed.insert(name.to_owned(), at);
                self.store.put(key, at.to_be_bytes().to_vec());
            }
            None if self.deployed.remove(name).is_some() => {
                self.store.delete(key);
            }
            None => {}
        }
    }

    /// Pins an instance to a node, or to none.
    pub(super) fn pin(&mut self, name: &InstanceName, node: Option<NodeId>) {
        let key = Key::new(Table::Counters, format!("pin/{name}"));
        match node {
            Some(node) => {
                self.pins.insert(name.clone(), node);
                self.store.put(key, node.as_bytes().to_vec());
            }
            None => {
                self.pins.remove(name);
                self.store.delete(key);
            }
        }
    }

    /// A node has a newer plan than the one that it is to have: this gateway's state is older than what it
    /// has told. It goes on from there, and the node gets its plan anew.
    pub(super) fn skip_revisions(&mut self, node: NodeId, seen: Revision) {
        self.planned.revision = self.planned.revision.max(seen);
        self.planned.sheets.forget(node);
        self.planned.stale = true;
    }

    /// Writes the plans of all nodes anew, and gives a new revision to those that say something else. The
    /// work is that of all rows, for each node.
    fn write(&mut self, now: Instant) {
        self.planned.stale = false;
        self.planned.pairs = self
            .migrations
            .iter()
            .filter(|m| m.is_in_the_way())
            .filter_map(|m| Some((m.from?.min(m.to), m.from?.max(m.to))))
            .collect();
        self.planned.relays =
            reconcile::relays(&self.rows, self.id, &self.nodes, &self.planned.pairs);
        let services = self.services();
        let next = self.planned.revision.next();
        let mut changed = Vec::new();
        for node in self.nodes.iter().map(|node| node.id) {
            let says = reconcile::says(&self.rows, node, &self.around(&services));
            if let Some(says) = says.filter(|says| !self.planned.sheets.says(node, says)) {
                changed.push((node, says));
            }
        }
        if !changed.is_empty() {
            self.planned.revision = next;
            self.put_counter("revision", next.0);
        }
        for (node, says) in changed {
            self.planned.token = self.planned.sheets.put(&mut self.store, node, next, says);
        }
        let Self { nodes, planned, store, .. } = self;
        planned.sheets.retain(store, |node| nodes.get(node).is_some());
        planned.untold = true;
        self.rewire(now);
    }

    /// The plan of a node, signed, if that is its revision.
    pub(super) fn plan_of(&self, node: NodeId, revision: Revision) -> Option<Vec<u8>> {
        let services = self.services();
        let around = self.around(&services);
        let known = self.planned.revision_of(node) == Some(revision);
        known.then(|| reconcile::signed(&self.rows, node, &around, revision, &self.key)).flatten()
    }

    fn around<'a>(&'a self, services: &'a [(NodeId, Vec<SocketAddr>)]) -> Around<'a> {
        Around {
            site: &self.config.site,
            gateway: self.id,
            services,
            nodes: &self.nodes,
            relays: &self.planned.relays,
            pairs: &self.planned.pairs,
        }
    }

    fn services(&self) -> Vec<(NodeId, Vec<SocketAddr>)> {
        let mut services = vec![(self.id, self.config.addresses.clone())];
        let registries = self.registries().into_iter().take(REGISTRIES);
        services.extend(registries.map(|(id, address)| (id, vec![address])));
        services
    }

    /// Tells the bridge which streams there are, if that is known.
    fn rewire(&mut self, now: Instant) {
        let Some((egress, ingress)) = &self.planned.streams else { return };
        let place = |row: &Row| Place {
            node: self.nodes.name(row.node),
            pipeline: row.pipeline.clone(),
            name: row.name.clone(),
            replica: row.replica,
        };
        let outgoing = egress.iter().filter_map(|stream| {
            let row = self.rows.get(stream.producer)?;
            Some(bridge::Outgoing {
                consumer: stream.end,
                stream: Stream { instance: stream.producer, output: stream.number },
                node: row.node,
                place: place(row),
                output: stream.output.clone(),
                schema: stream.schema.clone(),
                delivery: stream.delivery,
            })
        });
        let incoming = ingress.iter().map(|stream| bridge::Incoming {
            stream: Stream { instance: stream.end, output: 0 },
            topic: stream.topic.clone(),
            schema: stream.schema.clone(),
            delivery: stream.delivery,
            consumers: stream
                .consumers
                .iter()
                .filter_map(|consumer| {
                    let row = self.rows.get(consumer.instance)?;
                    Some(bridge::Consumer {
                        instance: consumer.instance,
                        node: row.node,
                        place: place(row),
                        input: consumer.input.clone(),
                    })
                })
                .collect(),
        });
        let (outgoing, incoming) = (outgoing.collect(), incoming.collect());
        self.bridge.set_wires(now, outgoing, incoming, &mut self.store);
    }
}

fn row_key(id: InstanceId) -> Key {
    Key::new(Table::Plan, id.0.to_be_bytes())
}
