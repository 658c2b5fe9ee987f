//! Looking after one node: whether it is there, and what it is to be told.

use super::registry::REGISTRIES;
use super::{Gateway, Purpose};
use crate::api;
use crate::asks::Request;
use crate::nodes::{News, Presence};
use crate::reconcile::{Duty, of_others, of_row};
use crate::rows::Row;
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::cbor::List;
use capmesh_wire::control::{Command, Install, Release, Renew, Start, Target};
use capmesh_wire::log::Level;
use capmesh_wire::{Digest, InstanceId, Instant, NodeId, cbor, content_format, limits, paths};

/// Bytes of a command: its row is the longest part.
const COMMAND: usize = 8_192;

impl Gateway {
    /// Looks after a node. The work is a pass over its rows.
    pub(super) fn attend(&mut self, now: Instant, id: NodeId) {
        let (probe, news) = self.nodes.check(now, id);
        if news == Some(News::Lost) {
            self.note(now, Level::Warning, format!("{} is lost", self.nodes.name(id)));
            self.node_changed(now, id);
            self.plan_soon(now);
        }
        let is_told = self.roster_told.is_some();
        let peer = if is_told { self.nodes.peer(now, &mut *self.link, id) } else { None };
        let mut next = None;
        if let Some(peer) = peer {
            if probe {
                self.probe(now, id, peer);
            }
            if self.nodes.get(id).is_some_and(|node| node.presence == Presence::Up) {
                let link = &mut *self.link;
                if let Some(node) = self.nodes.get_mut(id) {
                    node.watches.iter_mut().for_each(|watch| watch.poll(now, link, peer));
                }
                next = self.tell(now, id, peer);
            }
        }
        self.nodes.later(id, next);
    }

    fn probe(&mut self, now: Instant, id: NodeId, peer: Peer) {
        let before = Purpose::Probe(id);
        self.asks.cancel(now, &mut *self.link, |purpose| *purpose == before);
        let request = Request::get(paths::STATUS);
        // If there is no room, the next probe is soon enough.
        let _ = self.asks.send(now, &mut *self.link, peer, request, before);
    }

    /// Tells a node what it is still to be told. Returns when there is more.
    fn tell(&mut self, now: Instant, id: NodeId, peer: Peer) -> Option<Instant> {
        let duties = self.duties(now, id);
        let node = self.nodes.get_mut(id)?;
        node.duties.keep(|duty| duties.iter().any(|(wanted, _)| wanted == duty));
        let later = duties.iter().map(|(_, at)| *at).filter(|at| *at > now).min();
        for (duty, _) in duties.iter().filter(|(_, at)| *at <= now) {
            let may = self.nodes.get(id).is_some_and(|node| node.duties.may(now, *duty));
            if let Some(request) = may.then(|| self.request_of(id, *duty)).flatten() {
                let purpose = Purpose::Duty(id, *duty);
                let sent = self.asks.send(now, &mut *self.link, peer, request, purpose);
                let random = self.random();
                let duties = &mut self.nodes.get_mut(id)?.duties;
                duties.begin(*duty);
                if sent.is_err() {
                    duties.fail(now, *duty, None, None, random);
                }
            }
        }
        let waiting = self.nodes.get(id)?.duties.poll_timeout(now);
        [later, waiting].into_iter().flatten().min()
    }

    /// What a node is to be told, and from when on.
    fn duties(&mut self, now: Instant, id: NodeId) -> Vec<(Duty, Instant)> {
        let mut duties = Vec::new();
        let Some(node) = self.nodes.get(id) else { return duties };
        let Some((roster, plan)) = node.revisions() else { return duties };
        if let Some(told) = self.roster_told.filter(|told| *told > roster) {
            duties.push((Duty::Roster(told), now));
            // Without it the node may not know those that its plan names.
            return duties;
        }
        if !self.planned.is_durable(&self.store) {
            return duties;
        }
        let Some(wanted) = self.planned.revision_of(id) else { return duties };
        let has_plan = plan >= wanted;
        if !has_plan {
            duties.push((Duty::Plan(wanted), now));
        }
        for row in self.rows.of(id) {
            let of_row = of_row(now, node, row, has_plan);
            let migration =
                self.migrations.iter().find(|m| m.instance == row.instance && m.is_in_the_way());
            // As long as it runs where it was, it needs its lease there.
            let may = |duty: &Duty| match migration {
                Some(migration) => migration.old == row.epoch && matches!(duty, Duty::Renew(_)),
                None => true,
            };
            duties.extend(of_row.into_iter().filter(|(duty, _)| may(duty)));
        }
        let in_the_way = |instance: InstanceId| {
            self.migrations.iter().any(|m| m.instance == instance && m.is_in_the_way())
        };
        let knows_plan = node.status().is_some_and(|status| status.plan >= wanted);
        let owned = |instance, epoch| {
            let row = self.rows.get(instance);
            in_the_way(instance) || row.is_some_and(|row| row.node == id && row.epoch <= epoch)
        };
        let elsewhere = |instance| self.rows.get(instance).is_none_or(|row| row.node != id);
        duties.extend(of_others(now, node, knows_plan, owned, elsewhere));
        if plan > wanted {
            self.skip_revisions(id, plan);
        }
        duties
    }

    fn request_of(&self, id: NodeId, duty: Duty) -> Option<Request> {
        let instance = |instance: InstanceId| -> Option<(Row, Target)> {
            let row = self.row_of(id, instance)?;
            let target = Target { instance, epoch: row.epoch };
            Some((row, target))
        };
        match duty {
            Duty::Roster(_) => {
                let (held, _) = self.nodes.get(id)?.revisions()?;
                let roster = self.members.since(held).to_vec();
                Some(Request::with(Code::PUT, paths::ROSTER, content_format::ROSTER, roster))
            }
            Duty::Plan(revision) => {
                let plan = self.plan_of(id, revision)?;
                Some(Request::with(Code::PUT, paths::PLAN, content_format::PLAN, plan))
            }
            Duty::Install(capsule) => {
                let capsule = Digest::from_bytes(capsule);
                let sources = self.sources(&capsule, id);
                let sources = List::new(&sources).ok()?;
                command(&Command::Install(Install { capsule, sources }))
            }
            Duty::Start(number) => {
                let (row, target) = instance(number)?;
                let sources = self.sources(&row.capsule, id);
                let sources = List::new(&sources).ok()?;
                let assignment = Some(row.assignment()?);
                command(&Command::Start(Start { target, assignment, sources }))
            }
            Duty::Renew(number) => {
                let (row, target) = instance(number)?;
                let lease_ms = row.lease_ms?;
                let (since, _) = self.nodes.get(id)?.moment?;
                command(&Command::Renew(Renew { target, lease_ms, since: Some(since) }))
            }
            Duty::Checkpoint(instance, epoch) => {
                command(&Command::Checkpoint(Target { instance, epoch }))
            }
            Duty::Resume(instance, epoch) => command(&Command::Resume(Target { instance, epoch })),
            Duty::Stop(instance, epoch) => command(&Command::Stop(Target { instance, epoch })),
            Duty::Release(instance, epoch) => {
                let to = self.rows.get(instance).map_or(self.id, |row| row.node);
                command(&Command::Release(Release { target: Target { instance, epoch }, to }))
            }
        }
    }

    /// The row of an instance that a node owns, with where the others are.
    pub(super) fn row_of(&self, node: NodeId, instance: InstanceId) -> Option<Row> {
        self.rows.bound(instance, self.id).filter(|row| row.node == node)
    }

    /// Whom to ask for a capsule: nodes that have it, then registries.
    pub(super) fn sources(&self, capsule: &Digest, except: NodeId) -> Vec<NodeId> {
        let registries = self.members.registries().iter().copied().take(REGISTRIES);
        let most = limits::SOURCES - registries.len();
        let holders = self.nodes.iter().filter(|node| node.is_up() && node.id != except);
        let holders = holders.filter(|node| node.holds(capsule)).map(|node| node.id);
        holders.take(most).chain(registries).collect()
    }

    /// A node is there (again).
    pub(super) fn came(&mut self, now: Instant, id: NodeId) {
        self.note(now, Level::Info, format!("{} is there", self.nodes.name(id)));
        self.node_changed(now, id);
        self.plan_soon(now);
    }

    /// Shows a node as it is now.
    pub(super) fn node_changed(&mut self, now: Instant, id: NodeId) {
        let Some(view) = self.node_view(now, id) else { return };
        self.bridge.set_node(now, &view);
        self.event(api::Event::Node(Box::new(view)));
    }
}

/// A command as a request.
pub(super) fn command(command: &Command<'_>) -> Option<Request> {
    let mut body = vec![0; COMMAND];
    let len = cbor::encode(command, &mut body).ok()?;
    body.truncate(len);
    Some(Request::with(Code::POST, paths::CONTROL, content_format::CONTROL, body))
}
