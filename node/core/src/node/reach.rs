//! Who is where: the peers that this node has reason to talk to.

use super::Node;
use crate::discovery::{self, Mine, Neighbour};
use crate::host::CapsuleHost;
use alloc::vec::Vec;
use capmesh_coap::Code;
use capmesh_coap::endpoint::Reliability;
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_session::{Link, Member, Peer};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::digest::Hasher;
use capmesh_wire::inventory::{self as wire, LinkKind};
use capmesh_wire::plan::{Address, Assignment, Plan};
use capmesh_wire::roster::Delta;
use capmesh_wire::{Instant, NodeId, Role, content_format, limits, paths};
use core::net::SocketAddr;
use core::time::Duration;

/// Peers that a node may have reason to talk to at one time.
const REACHED: usize = limits::ROUTES;

/// How often it is looked whether those who are talked to have a place among the sessions.
const REACH_AGAIN: Duration = Duration::from_secs(1);

/// How long after its last announcement somebody counts as a neighbour: somewhat more than the longest
/// silence of one who is there, with the default [`Pace`](crate::discovery::Pace).
const NEIGHBOURLY: Duration = Duration::from_secs(75 * 60);

/// How long a newer roster may take to come by itself before a neighbour is asked for it.
const PULL_AFTER: Duration = Duration::from_secs(4);

/// No-Response (RFC 7967): no response of any class is wanted.
const NO_RESPONSE: u32 = 26;

/// The quality of a link on which somebody has proved to be there in both directions.
const TALKED: u8 = u8::MAX;

/// The quality of one on which somebody was heard, and nothing is known of what they hear.
const HEARD: u8 = u8::MAX / 2;

/// Somebody to talk to.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    id: NodeId,
    role: Role,
    /// Where they may be found, best first; none if only their own requests tell.
    addresses: Vec<SocketAddr>,
    /// Who relays to them, if they cannot be reached directly.
    relay: Option<NodeId>,
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Introduces those that the plan's rows name, at the addresses that its routes give or by way of
    /// the relays that they name.
    ///
    /// This node relays between all those that its plan has direct routes to: who is to relay between
    /// two others has routes to both.
    pub(super) fn reach_plan(&mut self, now: Instant, flash: &[u8], plan: &Plan<'_>) {
        self.link.forbid_all();
        for route in plan.routes.iter() {
            let addresses = route.addresses.iter().map(|address| address.0).collect();
            self.note(flash, route.node, addresses);
            self.note_relay(route.node, route.relay);
            if route.relay.is_some() {
                continue;
            }
            let known = self.reached.iter().find(|reached| reached.id == route.node);
            for address in known.iter().flat_map(|known| &known.addresses) {
                self.link.allow(route.node, *address);
            }
        }
        for row in plan.assignments.iter() {
            self.reach(now, flash, others_of(&row));
        }
    }

    /// Notes that somebody is behind a relay, or not any more.
    fn note_relay(&mut self, id: NodeId, relay: Option<NodeId>) {
        let Some(known) = self.reached.iter_mut().find(|reached| reached.id == id) else { return };
        let before = core::mem::replace(&mut known.relay, relay);
        if before.is_some() && relay.is_none() {
            self.link.end_detour(id);
            if let Some(address) = known.addresses.first() {
                self.link.relocate(id, *address);
            }
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
                // Others may be on their way to or from there.
                self.reconcile = true;
            }
            Some(_) => {}
            None => self.note(flash, id, [address].into()),
        }
    }

    /// What this node announces.
    pub(super) fn mine(&self, flash: &[u8]) -> Mine {
        let (roster, plan) = self.site.versions(flash, &self.store);
        Mine { roster, plan, holds: self.install.summary() }
    }

    /// Announces this node, and looks into what others announce.
    pub(super) fn advance_neighbours(&mut self, now: Instant, flash: &[u8]) {
        let Some(group) = self.config.group else { return };
        self.advance_tidings(now, flash, group);
        if self.discovery.poll_timeout().is_some_and(|at| at > now) {
            return;
        }
        let mine = self.mine(flash);
        let group = Peer::Anonymous(group);
        while let Some(event) = self.discovery.poll(now, &mine, &mut self.link, group) {
            match event {
                discovery::Event::Neighbour { node, role, address } => {
                    self.meet(now, flash, node, role, address);
                }
                discovery::Event::Roster { node, revision } => {
                    // It may come by itself soon.
                    let wait = PULL_AFTER + Duration::from_millis(self.next_seed() % 2_048);
                    self.behind.get_or_insert((now + wait, node, revision));
                }
                discovery::Event::Behind => self.tidings.missed(now),
                // The gateway brings plans; who holds what is asked when something is wanted.
                discovery::Event::Plan { .. } | discovery::Event::Holds { .. } => {}
            }
        }
    }

    /// Says what leads to the newest roster to all on the link when it is time to, and asks a neighbour for
    /// one that has not come so.
    fn advance_tidings(&mut self, now: Instant, flash: &[u8], group: SocketAddr) {
        if let Some(delta) = self.tidings.poll(now) {
            let mut build = |writer: &mut MessageWriter<'_>| {
                writer.path(paths::ROSTER)?;
                writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::ROSTER.into())?;
                writer.option_uint(OptionNumber::NO_RESPONSE, NO_RESPONSE)?;
                writer.payload(delta)?;
                Ok(())
            };
            let (group, once) = (Peer::Anonymous(group), Reliability::NonConfirmable);
            // What finds no room is said the next time.
            let _ = self.link.request(now, group, once, Code::POST, &mut build);
        }
        let Some((_, node, revision)) = self.behind.take_if(|(at, ..)| *at <= now) else { return };
        let held = self.site.versions(flash, &self.store).0;
        if held.is_some_and(|held| held < revision) {
            self.introduce(now, node);
            if let Some(peer) = peer_of(&self.reached, node) {
                self.site.heard(now, flash, &self.store, peer, revision);
            }
        }
    }

    /// Somebody has said something to all that leads to another roster.
    pub(super) fn tidings_heard(&mut self, now: Instant, flash: &[u8], from: Peer, delta: &[u8]) {
        let Ok(parsed) = Delta::parse(delta) else { return };
        let new = parsed.head().version;
        let held = self.site.versions(flash, &self.store).0;
        self.tidings.heard(new);
        if held.is_none_or(|held| new <= held || parsed.base() != held)
            || self.tidings.knows(new)
            || !self.discovery.may_look(now)
        {
            return;
        }
        if let Some(new) = self.site.overheard(now, flash, &mut self.store, from, delta) {
            self.tidings.learn(now, new, delta);
        }
    }

    /// Another roster is held: neighbours are to hear of it.
    pub(super) fn pass_on(&mut self, now: Instant, flash: &[u8]) {
        self.discovery.changed(now);
        if let Some((revision, delta)) = self.site.tidings(flash, &self.store) {
            self.tidings.learn(now, revision, delta);
        }
    }

    /// When what leads to the newest roster is to be said, or a newer one asked for.
    pub(super) fn tidings_timeout(&self) -> Option<Instant> {
        let pull = self.behind.map(|(at, ..)| at);
        self.tidings.poll_timeout().into_iter().chain(pull).min()
    }

    /// Somebody is near who says that they are this.
    fn meet(&mut self, now: Instant, flash: &[u8], id: NodeId, role: Role, address: SocketAddr) {
        self.found(now, flash, id, address);
        if role == Role::Node {
            self.introduce(now, id);
            if let Some(peer) = peer_of(&self.reached, id) {
                self.install.neighbour(now, peer);
            }
        }
    }

    /// There is another roster: those who were heard before it named them are neighbours now.
    pub(super) fn greet(&mut self, now: Instant, flash: &[u8]) {
        for at in 0..self.discovery.neighbours().len() {
            let Some(&Neighbour { node, role, address, .. }) = self.discovery.neighbours().get(at)
            else {
                return;
            };
            if !self.reached.iter().any(|reached| reached.id == node) {
                self.meet(now, flash, node, role, address);
            }
        }
    }

    /// Asks the gateways of the site for the time, now and then.
    pub(super) fn advance_clock(&mut self, now: Instant) {
        if self.timekeeper.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let is_gateway = |reached: &&Reached| reached.role == Role::Gateway;
        let gateways: Vec<_> = self.reached.iter().filter(is_gateway).collect();
        let gateway = |turn: usize| {
            let reached = gateways.get(turn.checked_rem(gateways.len())?)?;
            Some(Peer::Member(Member { id: reached.id, role: reached.role }))
        };
        self.timekeeper.poll(now, &mut self.link, &gateway);
        if let Timestamp { micros, uncertainty: Some(_) } = self.time(now) {
            self.link.set_unix_time(now, micros / 1_000_000);
            self.site.set_unix_time(micros / 1_000_000);
        }
    }

    /// The members of the site that can be reached from here: those with whom there is a session, and
    /// those who have announced themselves lately. Losses are not counted: the quality says which of
    /// the two it is.
    pub(super) fn links(&self, now: Instant) -> Vec<wire::Link> {
        let link = |reached: &Reached| {
            let id = reached.id;
            let heard = self.discovery.neighbours().iter().find(|neighbour| neighbour.node == id);
            let heard = heard.filter(|neighbour| neighbour.heard + NEIGHBOURLY > now);
            let peer = self.link.peer(id).filter(|_| self.link.serial(id).is_some());
            let (address, quality) = match (peer, heard) {
                (Some(peer), _) => (self.link.address(peer)?, TALKED),
                (None, Some(neighbour)) => (neighbour.address, HEARD),
                (None, None) => return None,
            };
            let kind = if reached.relay.is_some() { LinkKind::Relay } else { self.config.link };
            let mtu = u16::try_from(self.link.mtu()).unwrap_or(u16::MAX);
            Some(wire::Link { node: id, address: Address(address), kind, quality, mtu })
        };
        self.reached.iter().filter_map(link).take(limits::LINKS).collect()
    }

    /// Looks whether others can be reached than before.
    fn note_links(&mut self, now: Instant) {
        let mut sum = Hasher::new();
        for link in self.links(now) {
            sum.update(link.node.as_bytes());
            sum.update(&[link.quality]);
        }
        let links = Some(sum.finish());
        if core::mem::replace(&mut self.linked, links) != links {
            self.changed.inventory = true;
        }
    }

    /// Introduces again those whose place among the sessions was taken by others, and sees to it that
    /// what goes to those behind relays takes its detour.
    pub(super) fn keep_reached(&mut self, now: Instant) {
        if now < self.reach_at {
            return;
        }
        self.reach_at = now + REACH_AGAIN;
        self.note_links(now);
        for at in 0..self.reached.len() {
            let Some(reached) = self.reached.get(at) else { return };
            let is_lost = reached.relay.is_some() || self.link.peer(reached.id).is_none();
            if is_lost && self.wanted.contains(&reached.id) {
                self.introduce(now, reached.id);
            }
        }
    }

    fn introduce(&mut self, now: Instant, id: NodeId) {
        if !self.wanted.contains(&id) && self.wanted.len() < REACHED {
            self.wanted.push(id);
        }
        let Some(known) = self.reached.iter().find(|reached| reached.id == id) else { return };
        if let Some(relay) = known.relay {
            let relay = self.reached.iter().find(|reached| reached.id == relay);
            let at = relay.and_then(|relay| relay.addresses.first());
            if at.is_some_and(|at| self.link.detour(now, id, *at)) {
                return;
            }
        }
        if let (None, Some(address)) = (self.link.peer(id), known.addresses.first()) {
            // Who is not on the roster any more is not introduced; nothing is sent to them then.
            let _ = self.link.introduce(now, id, *address);
        }
    }

    /// Notes somebody of the site's, and where they may be found if that is known.
    pub(super) fn note(&mut self, flash: &[u8], id: NodeId, addresses: Vec<SocketAddr>) {
        let roster = self.site.roster(flash, &self.store);
        let Some(role) = roster.and_then(|roster| roster.find(id)).map(|entry| entry.role) else {
            return;
        };
        let has_room = self.reached.len() < REACHED;
        match self.reached.iter_mut().find(|reached| reached.id == id) {
            Some(known) if addresses.is_empty() => known.role = role,
            Some(known) => (known.role, known.addresses) = (role, addresses),
            None if has_room => self.reached.push(Reached { id, role, addresses, relay: None }),
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
