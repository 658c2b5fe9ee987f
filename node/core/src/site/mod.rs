//! What a node knows of itself and of the site that it belongs to: its key, the roster, its plan.
//!
//! # Words
//! - *own*: the node's key, made from randomness at the first boot, and its claim ([`Own`]).
//! - *adopted*: the node has taken a site's key and roster ([`Site::adopt`]), which happens once.
//! - *intake*: a roster or plan that comes in parts, by PUT or because this node asked for it.
//!
//! # Which document wins
//! The newer version, if its signature is right: a roster's is the site's, a plan's that of a gateway
//! on the roster. It does not matter who brings it. It is verified as a whole before one group of
//! records makes it count, so that after a power cut there is the old one or the new one. A plan
//! whose gateway is no longer on the roster stands in nobody's way.
//!
//! # How a roster spreads
//! An announcement tells that a neighbour has a newer one ([`Site::heard`]); it is asked for what
//! changed (`r?v=` and the version that is held) and answers with a [`Delta`](capmesh_wire::roster::Delta)
//! if it keeps the one that leads there, else with the whole roster. So a revocation costs each node
//! one short request.
//!
//! # Bounds
//! One intake at a time: 2 KB of RAM. One adoption, once. What does not fit a record of the log goes
//! to an extent.

mod adopt;
mod documents;
mod identity;
mod intake;
mod members;
mod pull;
mod rebuild;
mod resources;
mod start;
#[cfg(test)]
mod tests;
mod tidings;

pub use identity::Own;
pub use members::Members;
pub use resources::{CredentialResource, PlanResource, RosterResource};

use crate::flash::{Done, Error, ExtentId, Store, Ticket, kinds};
use crate::problem::{self, Reason};
use adopt::Adoption;
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_coap::block::{BlockSize, BlockValue};
use capmesh_coap::endpoint::{ExchangeId, Outcome, Responder};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Handled, Outbox, Request, Unfinished};
use capmesh_coap::{Code, Message};
use capmesh_session::Peer;
use capmesh_wire::control::Adopt;
use capmesh_wire::plan::Plan;
use capmesh_wire::{
    Claim, ErrorCode, Instant, KeyId, Name, NodeId, PublicKey, Revision, Role, Roster,
};
use core::time::Duration;
use documents::{Kind, Known};
use intake::{Intake, Outcome as IntakeOutcome};
use pull::{Pull, Rested};

/// How long an intake waits for its next part before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client that was told to come back waits for.
const RETRY_MS: u32 = 2_000;

/// Extents that wait to be given back: those that a power cut has left, and one for each document.
const DISCARDED: usize = 4;

/// What a node has to know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// What people call the node, until its site has a name for it.
    pub subject: Name<'a>,
    /// The most that fits a response: the largest block where 1,024 bytes and 100 more fit a
    /// datagram.
    pub block: BlockSize,
}

/// Something that the node has to react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node belongs to a site now. [`Event::RosterChanged`] follows.
    Adopted,
    /// The adoption that had begun came to nothing.
    NotAdopted(Reason),
    /// Another roster counts: sessions are to be looked at anew ([`Link::set_roster`]), and so is
    /// what publishers have signed who may be gone.
    ///
    /// [`Link::set_roster`]: capmesh_session::Link::set_roster
    RosterChanged,
    /// Another plan counts.
    PlanChanged,
    /// A document that somebody brought was refused.
    Refused {
        /// Who brought it.
        peer: Peer,
        /// Why.
        reason: Reason,
    },
}

/// What the node knows of itself and its site. See the [module](self).
pub struct Site {
    own: Own,
    boots: u32,
    /// What must be durable before the node speaks.
    first: Option<Ticket>,
    block: BlockSize,
    seed: u32,
    unix: Option<u64>,
    adoption: Option<Box<Adoption>>,
    incoming: Option<Box<Incoming>>,
    rested: Rested,
    /// Extents that are to be given back.
    discarded: heapless::Vec<ExtentId, DISCARDED>,
    /// What leads to the roster that counts, to be kept. Empty: that of the last one is to go.
    delta: Option<Vec<u8>>,
    cut_short: Option<Unfinished<Peer>>,
    events: heapless::Deque<Event, 4>,
}

/// A document on its way, and who brings it.
struct Incoming {
    intake: Intake,
    source: Source,
    until: Instant,
}

enum Source {
    Put {
        peer: Peer,
        taken: u32,
        waiting: Option<Waiting>,
    },
    /// Somebody has said it to all: it is verified already.
    Heard {
        from: Peer,
    },
    Pull(Pull),
}

/// A request that is answered when its part has been dealt with.
struct Waiting {
    responder: Responder,
    block: Option<BlockValue>,
    body: Option<Unfinished<Peer>>,
}

impl Site {
    /// Reads what is in flash, and counts this boot. `random` makes the node's key if it has none.
    ///
    /// # Errors
    /// If the store cannot keep it. [`Error::Failed`] also if there is no randomness in `random`.
    pub fn mount(
        flash: &[u8],
        store: &mut Store,
        config: &Config<'_>,
        random: [u8; 32],
    ) -> Result<Self, Error> {
        let own = match store.get(flash, kinds::IDENTITY, 0).and_then(Own::read) {
            Some(own) => own,
            None => {
                let (own, record) = Own::make(config.subject, random).ok_or(Error::Failed)?;
                store.put(kinds::IDENTITY, 0, &record)?;
                own
            }
        };
        let boots = store.get(flash, kinds::BOOTS, 0).and_then(|count| count.try_into().ok());
        let boots = boots.map_or(1, |count| u32::from_le_bytes(count).saturating_add(1));
        let first = store.put(kinds::BOOTS, 0, &boots.to_le_bytes())?;
        let [a, b, c, d, ..] = *own.id().as_bytes();
        Ok(Self {
            seed: u32::from_le_bytes([a, b, c, d]),
            own,
            boots,
            first: Some(first),
            block: config.block,
            unix: None,
            adoption: None,
            incoming: None,
            rested: Rested::new(),
            discarded: adopt::leftovers(flash, store).into_iter().take(DISCARDED).collect(),
            delta: None,
            cut_short: None,
            events: heapless::Deque::new(),
        })
    }

    /// Whether the node may speak: its key and the count of its boots survive a power cut.
    pub fn is_ready(&mut self, store: &Store) -> bool {
        self.first = self.first.filter(|first| !store.is_durable(*first));
        self.first.is_none()
    }

    /// The node's key and credential.
    #[must_use]
    pub const fn own(&self) -> &Own {
        &self.own
    }

    /// How often the node has started, this time included.
    #[must_use]
    pub const fn boots(&self) -> u32 {
        self.boots
    }

    /// Says what time it is, in seconds since 1970: what has expired is not believed from then on.
    pub const fn set_unix_time(&mut self, unix: u64) {
        self.unix = Some(unix);
    }

    /// Whether the node belongs to a site.
    #[must_use]
    pub fn is_adopted(&self, store: &Store) -> bool {
        store.contains(kinds::SITE, 0)
    }

    /// The roster, if the node belongs to a site. It is a look-up for sessions, too.
    #[must_use]
    pub fn roster<'f>(&self, flash: &'f [u8], store: &Store) -> Option<Roster<'f>> {
        Roster::from_trusted(Kind::Roster.read(flash, store)?).ok()
    }

    /// The node's plan, if it has one.
    #[must_use]
    pub fn plan<'f>(&self, flash: &'f [u8], store: &Store) -> Option<Plan<'f>> {
        Plan::from_trusted(Kind::Plan.read(flash, store)?).ok()
    }

    /// The versions of roster and plan, for announcements.
    #[must_use]
    pub fn versions(&self, flash: &[u8], store: &Store) -> (Option<Revision>, Option<Revision>) {
        let roster = self.roster(flash, store).map(|roster| roster.head().version);
        (roster, self.plan(flash, store).map(|plan| plan.revision))
    }

    /// The key of somebody who has this role and has not expired.
    ///
    /// # Errors
    /// [`ErrorCode::Untrusted`], with words.
    pub fn member(
        &self,
        flash: &[u8],
        store: &Store,
        id: KeyId,
        role: Role,
    ) -> Result<PublicKey, Reason> {
        let roster = self.roster(flash, store).ok_or_else(no_site)?;
        documents::member(&roster, id, role, self.unix)
    }

    /// Somebody on the roster as a peer, to be asked for what is signed or has a digest, and how far
    /// away that is: neighbours are asked first.
    #[must_use]
    pub fn source(&self, flash: &[u8], store: &Store, id: NodeId) -> Option<(Peer, u8)> {
        let entry = self.roster(flash, store)?.find(id)?;
        let rank = match entry.role {
            Role::Node => 0,
            Role::Gateway | Role::Registry | Role::Operator => 1,
            Role::Publisher | Role::Unknown(_) => return None,
        };
        Some((Peer::Member(capmesh_session::Member { id, role: entry.role }), rank))
    }

    /// Takes the command to belong to a site. The roster is fetched from `peer`, who need not have
    /// proved who they are: the claim shows that the node was given to them, and the roster that
    /// comes has to be signed by the site and to list this node. Repeated, it changes nothing.
    ///
    /// # Errors
    /// [`ErrorCode::WrongState`] if the node belongs to a site, [`ErrorCode::Untrusted`] without the
    /// claim, [`ErrorCode::Busy`] while it is being adopted by somebody else. Who adopts it may begin
    /// anew, with another roster.
    pub fn adopt(&mut self, store: &Store, peer: Peer, adopt: &Adopt<'_>) -> Result<(), Reason> {
        if self.is_adopted(store) {
            return Err(Reason::new(ErrorCode::WrongState).because("it belongs to a site already"));
        }
        match &self.adoption {
            Some(adoption) if adoption.is(peer, adopt) => return Ok(()),
            Some(adoption) if !adoption.gives_way_to(peer) => {
                return Err(Reason::retry(ErrorCode::Busy, RETRY_MS));
            }
            _ => {}
        }
        let next = Adoption::begin(&self.own, peer, adopt)?;
        if let Some(before) = self.adoption.replace(Box::new(next)) {
            self.discard(before.leftover());
        }
        Ok(())
    }

    /// Takes a response if it is to a request of this machine's. Says whether it was.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        if let Some(download) = self.adoption.as_mut().and_then(|adoption| adoption.download())
            && download.response(now, exchange, message)
        {
            return true;
        }
        let Some(incoming) = &mut self.incoming else { return false };
        let Source::Pull(pull) = &mut incoming.source else { return false };
        if !pull.is(exchange) {
            return false;
        }
        incoming.until = now + PATIENCE;
        pull.response(&message, &mut incoming.intake);
        true
    }

    /// Takes an outcome if it ends a request of this machine's. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        let download = self.adoption.as_mut().and_then(|adoption| adoption.download());
        if download.is_some_and(|download| download.outcome(now, outcome)) {
            return true;
        }
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        let Some(incoming) = &mut self.incoming else { return false };
        match &mut incoming.source {
            Source::Pull(pull) if pull.is(*exchange) => {
                pull.fail();
                incoming.intake.give_up(Reason::new(ErrorCode::Unreachable));
                true
            }
            _ => false,
        }
    }

    /// Takes what the store has done.
    pub fn flashed(&mut self, now: Instant, done: &Done) {
        if let Some(adoption) = &mut self.adoption {
            adoption.flashed(now, done);
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.intake.flashed(done);
        }
    }

    /// Goes on with whatever is under way; to be called until there is nothing. The work of a call is
    /// bounded by two signatures and a digest over a roster.
    pub fn poll(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
    ) -> Option<Event> {
        self.give_back(flash, store);
        self.keep_delta(store);
        self.advance_adoption(now, flash, store, out);
        self.advance_incoming(now, flash, store, out);
        self.events.pop_front()
    }

    /// When to poll again although nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let adoption = self.adoption.as_ref().and_then(|adoption| adoption.poll_timeout());
        let incoming = self.incoming.as_ref().map(|incoming| incoming.until);
        adoption.into_iter().chain(incoming).min()
    }

    /// Takes a part of a document that somebody brings.
    fn put(
        &mut self,
        kind: Kind,
        request: &Request<'_, Peer>,
        flash: &[u8],
        store: &mut Store,
    ) -> Result<Handled, Reason> {
        let known = Known::read(flash, store, self.own.id(), self.unix).ok_or_else(no_site)?;
        let (part, body, peer) = (request.part(), request.body(), request.peer());
        if part.offset == 0 {
            self.make_room(peer)?;
            let source = Source::Put { peer, taken: 0, waiting: None };
            let intake = Intake::new(kind);
            let until = request.now() + PATIENCE;
            self.incoming = Some(Box::new(Incoming { intake, source, until }));
        }
        let incomplete = Ok(Err(Code::REQUEST_ENTITY_INCOMPLETE.into()));
        let Some(incoming) = &mut self.incoming else { return incomplete };
        let Source::Put { peer: from, taken, waiting } = &mut incoming.source else {
            return incomplete;
        };
        if *from != peer || incoming.intake.kind() != kind || *taken != part.offset {
            return incomplete;
        }
        incoming.until = request.now() + PATIENCE;
        *taken = taken.saturating_add(u32::try_from(body.len()).unwrap_or(u32::MAX));
        incoming.intake.push(body, !part.more);
        incoming.intake.advance(flash, store, &known);
        if incoming.intake.result().is_none() && !incoming.intake.wants_part() {
            let Some(responder) = request.responder() else { return incomplete };
            let body = request.unfinished();
            *waiting = Some(Waiting { responder, block: part.answer, body });
            return Ok(Ok(capmesh_coap::server::Done::Later));
        }
        match incoming.intake.result() {
            Some(Err(reason)) => {
                let reason = reason.clone();
                self.end_incoming(request.now());
                Err(reason)
            }
            Some(Ok(_)) => {
                self.end_incoming(request.now());
                Ok(Ok(capmesh_coap::server::Done::Changed))
            }
            None => Ok(Ok(capmesh_coap::server::Done::Changed)),
        }
    }

    /// Gives up the document that is on its way, if the one who brings another matters more or is the
    /// same.
    fn make_room(&mut self, peer: Peer) -> Result<(), Reason> {
        let Some(incoming) = &self.incoming else { return Ok(()) };
        let gives_way = match &incoming.source {
            Source::Pull(_) => true,
            Source::Heard { .. } => false,
            Source::Put { peer: from, .. } => *from == peer || weight(*from) < weight(peer),
        };
        if !gives_way || incoming.intake.is_being_kept() {
            return Err(Reason::retry(ErrorCode::Busy, RETRY_MS));
        }
        if let Some(incoming) = self.incoming.take() {
            self.discard(incoming.intake.take_leftovers().0);
        }
        Ok(())
    }

    fn advance_adoption(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
    ) {
        let Some(adoption) = &mut self.adoption else { return };
        adoption.advance(now, flash, store, out, (&self.own, self.block, self.seed));
        let Some((result, leftover)) = adoption.result() else { return };
        self.adoption = None;
        self.discard(leftover);
        match result {
            Ok(()) => {
                self.tell(Event::Adopted);
                self.tell(Event::RosterChanged);
            }
            Err(reason) => self.tell(Event::NotAdopted(reason)),
        }
    }

    fn advance_incoming(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
    ) {
        let Some(incoming) = &mut self.incoming else { return };
        let Some(known) = Known::read(flash, store, self.own.id(), self.unix) else { return };
        incoming.intake.advance(flash, store, &known);
        match &mut incoming.source {
            Source::Put { waiting, .. } => {
                if let Some(answer) = answer(&incoming.intake)
                    && let Some(waiting) = waiting.take()
                {
                    self.cut_short = waiting.body.filter(|_| answer.is_err());
                    reply(now, out, &waiting, answer);
                }
            }
            Source::Heard { .. } => {}
            Source::Pull(pull) => pull.advance(now, out, &mut incoming.intake),
        }
        if incoming.intake.result().is_some() {
            self.end_incoming(now);
        } else if now >= incoming.until && !incoming.intake.is_being_kept() {
            if let Source::Pull(pull) = &mut incoming.source {
                pull.cancel(now, out);
            }
            incoming.intake.give_up(Reason::new(ErrorCode::Timeout));
            self.end_incoming(now);
        }
    }

    /// The document on its way has become what it could.
    fn end_incoming(&mut self, now: Instant) {
        let Some(incoming) = self.incoming.take() else { return };
        let kind = incoming.intake.kind();
        let result = incoming.intake.result().cloned();
        let peer = match &incoming.source {
            Source::Put { peer, .. } | Source::Heard { from: peer } => *peer,
            Source::Pull(pull) => {
                self.rested.ended(now, pull, result.as_ref());
                pull.peer()
            }
        };
        let (leftover, delta) = incoming.intake.take_leftovers();
        self.discard(leftover);
        match (result, kind) {
            (Some(Ok(IntakeOutcome::Changed)), Kind::Roster) => {
                self.delta = Some(delta);
                self.tell(Event::RosterChanged);
            }
            (Some(Ok(IntakeOutcome::Changed)), Kind::Plan) => self.tell(Event::PlanChanged),
            (Some(Err(reason)), _) => self.tell(Event::Refused { peer, reason }),
            (Some(Ok(IntakeOutcome::Same)) | None, _) => {}
        }
    }

    /// Tells the node. A refusal that finds no room is not told; changes always find some, as the
    /// node has polled all events before it lends the next call.
    fn tell(&mut self, event: Event) {
        if let Err(event) = self.events.push_back(event)
            && !matches!(event, Event::Refused { .. })
        {
            self.events.pop_front();
            let _ = self.events.push_back(event);
        }
    }

    fn discard(&mut self, extent: Option<ExtentId>) {
        if let Some(id) = extent {
            // What finds no room is found again after the next restart.
            let _ = self.discarded.push(id);
        }
    }

    fn give_back(&mut self, flash: &[u8], store: &mut Store) {
        while let Some(id) = self.discarded.first().copied() {
            let mut group = store.group();
            match group.remove_extent(flash, id).and_then(|()| group.submit()) {
                Err(Error::Busy) => return,
                _ => self.discarded.remove(0),
            };
        }
    }

    fn keep_delta(&mut self, store: &mut Store) {
        let Some(delta) = &self.delta else { return };
        let kept = if delta.is_empty() {
            store.delete(kinds::ROSTER_DELTA, 0)
        } else {
            store.put(kinds::ROSTER_DELTA, 0, delta)
        };
        if kept != Err(Error::Busy) {
            self.delta = None;
        }
    }

    /// The node's claim, if it is what a client says.
    fn shows_claim(&self, text: &str) -> bool {
        text.parse::<Claim>().is_ok_and(|claim| claim == self.own.claim())
    }
}

/// Who gives way to whom when two bring a document at the same time.
fn weight(peer: Peer) -> u8 {
    match peer.member().map(|member| member.role) {
        Some(Role::Gateway | Role::Operator) => 2,
        Some(_) => 1,
        None => 0,
    }
}

fn no_site() -> Reason {
    Reason::new(ErrorCode::WrongState).because("the node belongs to no site")
}

/// What is to be said to the one who brings a document, if there is something.
fn answer(intake: &Intake) -> Option<Result<Code, &Reason>> {
    match intake.result() {
        Some(Ok(_)) => Some(Ok(Code::CHANGED)),
        Some(Err(reason)) => Some(Err(reason)),
        None => intake.wants_part().then_some(Ok(Code::CONTINUE)),
    }
}

fn reply(
    now: Instant,
    out: &mut dyn Outbox<Peer>,
    waiting: &Waiting,
    answer: Result<Code, &Reason>,
) {
    match answer {
        Ok(code) => {
            let sent =
                out.respond(now, waiting.responder, code, &mut |writer| match waiting.block {
                    Some(block) => block.write(OptionNumber::BLOCK1, writer),
                    None => Ok(()),
                });
            if sent.is_err() {
                out.ignore(now, waiting.responder);
            }
        }
        Err(reason) => {
            let problem = reason.problem();
            problem::refuse_later(now, out, waiting.responder, waiting.block, &problem);
        }
    }
}
