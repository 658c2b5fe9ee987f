//! What checkers see of a world.

use super::{Checkers, Has, Life, Mesh, Planned, Verdict};
use crate::site::{GATEWAY, REGISTRY};
use crate::{Event, Host, Machine, World};
use capmesh_gateway::bridge;
use capmesh_gateway::rows::Row;
use capmesh_gateway::store::{Key, Table};
use capmesh_node::trace::Gauge;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{Digest, Epoch, ErrorCode, InstanceId, Roster};

impl World {
    /// Has the checkers look, if that is due.
    pub(crate) fn look(&mut self) {
        if self.checkers.is_due(self.now) {
            self.with_checkers(|checkers, world| checkers.look(world.now, world));
        }
    }

    /// Says that all is at rest: nothing has gone wrong for long, and nothing is under way.
    pub fn rest(&mut self) {
        self.with_checkers(|checkers, world| checkers.at_rest(world.now, world));
    }

    /// Says that all that went wrong is over, but for nodes that stay off or out of reach.
    pub fn healed(&mut self, without: &[Host]) {
        self.emit(Event::Healed { without: without.into() });
    }

    fn with_checkers(&mut self, ask: impl FnOnce(&mut Checkers, &Self) -> Verdict) {
        let mut checkers = std::mem::replace(&mut self.checkers, Checkers::none());
        let verdict = ask(&mut checkers, self);
        self.checkers = checkers;
        if let (None, Err(violation)) = (&self.violation, verdict) {
            self.violation = Some(violation);
        }
    }

    fn node_at(&self, host: Host) -> Option<&Machine> {
        self.machines.get(usize::from(host).checked_sub(1)?)
    }
}

impl Mesh for World {
    fn nodes(&self) -> Vec<Host> {
        self.machines.iter().map(|machine| machine.n).collect()
    }

    fn gauges(&self, host: Host) -> Vec<Gauge> {
        match host {
            GATEWAY => {
                let (has, most) = (self.gate.outbox.len() as u64, bridge::OUTBOX);
                vec![Gauge { name: "publications that wait for the broker", has, most }]
            }
            REGISTRY => Vec::new(),
            _ => self.node_at(host).and_then(Machine::gauges).unwrap_or_default(),
        }
    }

    fn held(&self, host: Host, capsule: &Digest) -> Option<(&[u8], &[u8])> {
        self.node_at(host)?.held(capsule)
    }

    fn instances(&self, host: Host) -> Option<Vec<Has>> {
        type Seen = (InstanceId, Epoch, InstanceState, Option<ErrorCode>);
        let has = |(instance, epoch, state, refused): Seen| {
            let life = match state {
                InstanceState::Running => Life::Runs,
                InstanceState::BackingOff | InstanceState::Failed => Life::Fails,
                // Nobody has said that an older version may be taken.
                _ if refused == Some(ErrorCode::RolledBack) => Life::Fails,
                _ => Life::Other,
            };
            Has { instance: instance.0, epoch: epoch.0, life }
        };
        Some(self.node_at(host)?.node.as_ref()?.instances().map(has).collect())
    }

    fn is_member(&self, host: Host) -> bool {
        let mut ids = self.gate.ids.iter().filter(|(_, other)| **other == host);
        let roster = self.gate.durable.get(&Key::new(Table::Roster, []));
        let roster = roster.and_then(|bytes| Roster::from_trusted(bytes).ok());
        ids.any(|(id, _)| roster.as_ref().is_some_and(|roster| roster.find(*id).is_some()))
    }

    fn plan(&self) -> Vec<Planned> {
        let rows = self.gate.durable.iter().filter(|(key, _)| key.table == Table::Plan);
        let rows = rows.filter_map(|(_, value)| Row::decode(value));
        rows.filter_map(|row| {
            let host = *self.gate.ids.get(&row.node)?;
            Some(Planned { instance: row.instance.0, epoch: row.epoch.0, host })
        })
        .collect()
    }
}
