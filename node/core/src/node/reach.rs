//! Who is where: the peers that this node has reason to talk to.

use super::Node;
use crate::host::CapsuleHost;
use crate::link::Link;
use alloc::vec::Vec;
use capmesh_session::{Member, Peer};
use capmesh_wire::plan::{Assignment, Plan};
use capmesh_wire::{Instant, NodeId, Role, limits};
use core::net::SocketAddr;

/// Peers that a node may have reason to talk to at one time.
const REACHED: usize = limits::ROUTES;

/// Somebody to talk to.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    id: NodeId,
    role: Role,
    /// Where they may be found, best first; none if only their own requests tell.
    addresses: Vec<SocketAddr>,
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Introduces those that the plan's rows name, at the addresses that its routes give.
    pub(super) fn reach_plan(&mut self, now: Instant, flash: &[u8], plan: &Plan<'_>) {
        for route in plan.routes.iter() {
            let addresses = route.addresses.iter().map(|address| address.0).collect();
            self.note(flash, route.node, addresses);
        }
        for row in plan.assignments.iter() {
            self.reach(now, flash, others_of(&row));
        }
    }

    /// Introduces peers that are to be talked to, as far as it is known where they are.
    pub(super) fn reach(&mut self, now: Instant, flash: &[u8], ids: impl Iterator<Item = NodeId>) {
        for id in ids {
            if !self.reached.iter().any(|reached| reached.id == id) {
                self.note(flash, id, Vec::new());
            }
            self.introduce(now, id);
        }
    }

    /// Somebody has said that a member of the site is at an address: a hint, which a handshake proves
    /// or disproves.
    pub fn found(&mut self, now: Instant, flash: &[u8], id: NodeId, address: SocketAddr) {
        let known = self.reached.iter_mut().find(|reached| reached.id == id);
        match known {
            Some(known) if !known.addresses.contains(&address) => {
                known.addresses.truncate(limits::ADDRESSES - 1);
                known.addresses.push(address);
                self.introduce(now, id);
            }
            Some(_) => {}
            None => self.note(flash, id, [address].into()),
        }
    }

    /// Introduces again those whose place among the sessions was taken by others.
    pub(super) fn keep_reached(&mut self, now: Instant) {
        for at in 0..self.reached.len() {
            let Some(reached) = self.reached.get(at) else { return };
            if self.wanted.contains(&reached.id) && self.link.peer(reached.id).is_none() {
                self.introduce(now, reached.id);
            }
        }
    }

    fn introduce(&mut self, now: Instant, id: NodeId) {
        if !self.wanted.contains(&id) && self.wanted.len() < REACHED {
            self.wanted.push(id);
        }
        let Some(known) = self.reached.iter().find(|reached| reached.id == id) else { return };
        if let (None, Some(address)) = (self.link.peer(id), known.addresses.first()) {
            // Who is not on the roster any more is not introduced; nothing is sent to them then.
            let _ = self.link.introduce(now, id, *address);
        }
    }

    fn note(&mut self, flash: &[u8], id: NodeId, addresses: Vec<SocketAddr>) {
        let roster = self.site.roster(flash, &self.store);
        let Some(role) = roster.and_then(|roster| roster.find(id)).map(|entry| entry.role) else {
            return;
        };
        let has_room = self.reached.len() < REACHED;
        match self.reached.iter_mut().find(|reached| reached.id == id) {
            Some(known) if addresses.is_empty() => known.role = role,
            Some(known) => (known.role, known.addresses) = (role, addresses),
            None if has_room => self.reached.push(Reached { id, role, addresses }),
            None => {}
        }
    }
}

/// Who is behind an id, among those that were noted.
pub(super) fn peer_of(reached: &[Reached], id: NodeId) -> Option<Peer> {
    let known = reached.iter().find(|reached| reached.id == id)?;
    Some(Peer::Member(Member { id, role: known.role }))
}

/// The nodes that a row names.
pub(super) fn others_of<'a>(row: &Assignment<'a>) -> impl Iterator<Item = NodeId> + use<'a> {
    let inbound = row.inbound.iter().map(|wire| wire.node);
    let outbound = row.outbound.iter().map(|wire| wire.node);
    inbound.chain(outbound).chain(row.peers.iter().map(|peer| peer.node))
}
