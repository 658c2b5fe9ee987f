//! Finding neighbours, and noticing who has newer documents.
//!
//! A node announces itself to all CoAP nodes on its link, at the pace of Trickle (RFC 6206): often
//! when something is new, hardly ever when all say the same. What it hears of others are *hints*:
//! nothing in an announcement is authenticated. A hint leads to an [`Event`], and that to a handshake,
//! which proves who somebody is, or to a request for a document, which is signed.
//!
//! A roster travels from neighbour to neighbour this way: who hears of a newer one asks for it, and
//! who hears of an older one speaks up. A plan is for one node, so that a newer one at a neighbour says
//! only that the gateway may have a newer one for this node, too.
//!
//! # What strangers can do
//! They can make a node announce itself, no oftener than [`Config::calls`] allows; and they can take
//! the places of neighbours that were not heard for longer, [`NEIGHBOURS`] at most. Events come no
//! oftener than [`Config::hints`] allows.

mod resource;
mod tidings;
mod trickle;

pub use resource::AnnounceResource;
pub use tidings::Tidings;
pub use trickle::Pace;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{Reliability, Responder};
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_session::Rate;
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::discovery::Announce;
use capmesh_wire::{DigestPrefix, Instant, List, NodeId, Revision, Role, VERSION};
use capmesh_wire::{content_format, paths};
use core::net::SocketAddr;
use core::time::Duration;
use trickle::Trickle;

/// Neighbours that are remembered. One more takes the place of the one that was not heard for the
/// longest time.
pub const NEIGHBOURS: usize = 32;

/// Events that wait: the oldest makes room.
const EVENTS: usize = 8;

/// Requests that are to be left unanswered, until the endpoint is told.
const IGNORED: usize = 4;

/// An encoded announcement without addresses: a map of six.
const ANNOUNCE: usize = 48;

/// No-Response (RFC 7967): no response of any class is wanted.
const NO_RESPONSE: u32 = 26;

/// How a node announces itself.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// When.
    pub pace: Pace,
    /// How often others can make it begin anew with the shortest interval.
    pub calls: Rate,
    /// How often they can make it look into something.
    pub hints: Rate,
}

impl Default for Config {
    /// Intervals from 2 s to 17 minutes, 4 who say the same, and every fourth time in any case; 4 calls
    /// at once and one each 30 s; 16 hints at once and one each second.
    fn default() -> Self {
        let pace = Pace { least: Duration::from_secs(2), doublings: 9, redundancy: 4, silences: 3 };
        Self {
            pace,
            calls: Rate { burst: 4, interval: Duration::from_secs(30) },
            hints: Rate { burst: 16, interval: Duration::from_secs(1) },
        }
    }
}

/// What a node has to announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mine {
    /// The roster that it holds.
    pub roster: Option<Revision>,
    /// The plan that it holds.
    pub plan: Option<Revision>,
    /// The start of the digest over what capsules it holds.
    pub holds: Option<DigestPrefix>,
}

/// A neighbour, as its last announcement has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who it says it is.
    pub node: NodeId,
    /// What it says it is.
    pub role: Role,
    /// Where its announcement came from.
    pub address: SocketAddr,
    /// The roster that it says it holds.
    pub roster: Option<Revision>,
    /// The plan that it says it holds.
    pub plan: Option<Revision>,
    /// What it says of the capsules that it holds.
    pub holds: Option<DigestPrefix>,
    /// When it was last heard.
    pub heard: Instant,
}

/// Something to look into. It may be a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour is new, or at another address.
    Neighbour {
        /// Who.
        node: NodeId,
        /// What it says it is.
        role: Role,
        /// Where.
        address: SocketAddr,
    },
    /// A neighbour has a newer roster.
    Roster {
        /// Who.
        node: NodeId,
        /// Which.
        revision: Revision,
    },
    /// A neighbour has an older roster.
    Behind,
    /// A neighbour has a newer plan: so may the gateway for this node.
    Plan {
        /// Who.
        node: NodeId,
        /// Which.
        revision: Revision,
    },
    /// A neighbour holds other capsules than before.
    Holds {
        /// Who.
        node: NodeId,
    },
}

/// The announcements of one node and its neighbours. See the [module](self).
#[derive(Debug)]
pub struct Discovery {
    own: NodeId,
    role: Role,
    trickle: Trickle,
    calls: Bucket,
    hints: Bucket,
    neighbours: Vec<Neighbour>,
    events: VecDeque<Event>,
    ignored: Vec<Responder>,
}

impl Discovery {
    /// For the node `own`, which announces itself as `role`. `seed` makes it differ from others.
    #[must_use]
    pub const fn new(config: Config, own: NodeId, role: Role, seed: u64) -> Self {
        Self {
            own,
            role,
            trickle: Trickle::new(config.pace, seed),
            calls: Bucket::new(config.calls),
            hints: Bucket::new(config.hints),
            neighbours: Vec::new(),
            events: VecDeque::new(),
            ignored: Vec::new(),
        }
    }

    /// Whether something that was heard, and that nobody vouches for, may be looked into now.
    pub fn may_look(&mut self, now: Instant) -> bool {
        self.hints.take(now)
    }

    /// Those that were heard.
    #[must_use]
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// What this node has to announce has changed.
    pub fn changed(&mut self, now: Instant) {
        self.trickle.changed(now);
    }

    /// Takes an announcement that came from `from`. The work is a search among the neighbours.
    pub fn heard(&mut self, now: Instant, from: SocketAddr, mine: &Mine, payload: &[u8]) {
        let Ok(said) = decode::<Announce<'_>>(payload) else { return };
        if said.node == self.own || matches!(said.role, Role::Unknown(_)) {
            return;
        }
        let neighbour = Neighbour {
            node: said.node,
            role: said.role,
            address: from,
            roster: said.roster,
            plan: said.plan,
            holds: said.holds,
            heard: now,
        };
        let before = self.remember(neighbour);
        let (node, role, address) = (said.node, said.role, from);
        let is_known = before.is_some_and(|before| before.address == from);
        if !is_known {
            self.tell(now, Event::Neighbour { node, role, address });
        }
        if said.roster > mine.roster {
            self.tell_revision(now, said.roster, |revision| Event::Roster { node, revision });
        }
        if said.roster < mine.roster && said.roster.is_some() {
            self.tell(now, Event::Behind);
        }
        if said.plan > mine.plan {
            self.tell_revision(now, said.plan, |revision| Event::Plan { node, revision });
        }
        if before.map(|before| before.holds) != Some(said.holds) && said.holds.is_some() {
            self.tell(now, Event::Holds { node });
        }
        let agrees = is_known && said.roster == mine.roster && said.plan == mine.plan;
        if agrees {
            self.trickle.consistent();
        } else if self.calls.take(now) {
            self.trickle.inconsistent(now);
        }
    }

    /// Announces this node to `group` if it is time to, and tells what was heard; to be called until
    /// there is nothing.
    pub fn poll<P>(
        &mut self,
        now: Instant,
        mine: &Mine,
        out: &mut dyn Outbox<P>,
        group: P,
    ) -> Option<Event> {
        for responder in self.ignored.drain(..) {
            out.ignore(now, responder);
        }
        if self.trickle.poll(now) {
            self.announce(now, mine, out, group);
        }
        self.events.pop_front()
    }

    /// When to poll again although nothing was heard.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = !self.events.is_empty() || !self.ignored.is_empty();
        Some(if waits { Instant::ZERO } else { self.trickle.poll_timeout() })
    }

    /// An announcement that cannot be sent is made the next time.
    fn announce<P>(&self, now: Instant, mine: &Mine, out: &mut dyn Outbox<P>, group: P) {
        let announce = Announce {
            wire: VERSION,
            node: self.own,
            role: self.role,
            roster: mine.roster,
            plan: mine.plan,
            holds: mine.holds,
            addresses: List::EMPTY,
        };
        let mut buf = [0; ANNOUNCE];
        let Ok(len) = encode(&announce, &mut buf) else { return };
        let payload = buf.get(..len).unwrap_or_default();
        let once = Reliability::NonConfirmable;
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.path(paths::ANNOUNCE)?;
            writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::ANNOUNCE.into())?;
            writer.option_uint(OptionNumber::NO_RESPONSE, NO_RESPONSE)?;
            writer.payload(payload)?;
            Ok(())
        };
        let _ = out.request(now, group, once, Code::POST, &mut build);
    }

    /// Remembers a neighbour and gives what was known of it.
    fn remember(&mut self, neighbour: Neighbour) -> Option<Neighbour> {
        if let Some(known) = self.neighbours.iter_mut().find(|n| n.node == neighbour.node) {
            return Some(core::mem::replace(known, neighbour));
        }
        if self.neighbours.len() >= NEIGHBOURS {
            let oldest = self.neighbours.iter_mut().min_by_key(|neighbour| neighbour.heard);
            if let Some(oldest) = oldest {
                *oldest = neighbour;
            }
        } else {
            self.neighbours.push(neighbour);
        }
        None
    }

    fn tell_revision(
        &mut self,
        now: Instant,
        revision: Option<Revision>,
        event: impl FnOnce(Revision) -> Event,
    ) {
        if let Some(revision) = revision {
            self.tell(now, event(revision));
        }
    }

    fn tell(&mut self, now: Instant, event: Event) {
        if self.events.contains(&event) || !self.hints.take(now) {
            return;
        }
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// A request that is to be left unanswered.
    pub(crate) fn ignore(&mut self, responder: Responder) {
        if self.ignored.len() < IGNORED {
            self.ignored.push(responder);
        }
    }
}

/// So many at once, and one more each interval.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    left: u8,
    since: Instant,
}

impl Bucket {
    const fn new(rate: Rate) -> Self {
        Self { rate, left: rate.burst, since: Instant::ZERO }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.left < self.rate.burst && self.since + self.rate.interval <= now {
            self.left += 1;
            self.since += self.rate.interval;
        }
        if self.left >= self.rate.burst {
            self.since = now;
        }
        let has = self.left > 0;
        self.left -= u8::from(has);
        has
    }
}

#[cfg(test)]
mod tests;
