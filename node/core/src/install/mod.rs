//! Capsules come, are held, are given to others, and go.
//!
//! # The way of a capsule
//! wanted -> its manifest, by its digest, from peers -> signature of a publisher on the roster,
//! sequence, budget -> a record of the manifest -> an extent for the module -> its pieces, each
//! verified before it is written -> the digest of the whole -> admission by the host -> held.
//!
//! After a power cut it goes on with the piece that it had reached. A bundle that an operator brings
//! ([`CapsulesResource`]) goes the same way, with another beginning.
//!
//! # Who is asked
//! Those whom [`Install::want`] names and neighbours ([`Install::neighbour`]) before gateways and
//! registries. Everything is verified, so that it does not matter who it is.
//!
//! # Bounds
//! One capsule at a time is on its way, [`QUEUE`] wait, [`limits::HELD`](capmesh_wire::limits::HELD) are held. A transfer takes up
//! to 7 KB of RAM. What cannot be had now is tried again, later each time; what is refused is
//! remembered with its reason until it is wanted again, [`REFUSED`] at most.
//!
//! # What is thrown away
//! Half-fetched capsules that nobody has wanted for [`LEFTOVER_AGE`], or when room is needed; then also what
//! is held and not used ([`Board::uses`]), one after the other, what was here first. Else what is held goes
//! only when somebody says so ([`Install::remove`]).

mod blobs;
mod company;
mod examine;
pub(crate) mod listen;
mod resource;
mod slots;
#[cfg(test)]
mod tests;
mod upload;
mod wanted;
mod work;

pub use blobs::Blobs;
pub use resource::CapsulesResource;

use crate::flash::{Done, Store};
use crate::problem::Reason;
use crate::site::Site;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use capmesh_coap::Message;
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::{ExchangeId, Outcome};
use capmesh_coap::server::{Outbox, Unfinished};
use capmesh_session::Peer;
use capmesh_wire::inventory::{CapsuleState, CapsuleStatus};
use capmesh_wire::{Digest, DigestPrefix, ErrorCode, Instant, Manifest, Role, UnverifiedManifest};
use core::time::Duration;
use listen::Company;
use slots::{SlotState, Slots};
use upload::Upload;
use wanted::Wanted;
use work::{End, Feed, Tools, Work, rank};

/// Capsules that wait for their turn.
pub const QUEUE: usize = 16;

/// Refusals that are remembered.
pub const REFUSED: usize = 8;

/// Neighbours that are asked for whatever is wanted.
pub const NEIGHBOURS: usize = 4;

/// How long a half-fetched capsule that nobody wants is kept.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(600);

/// What decides whether a capsule can be on this machine, apart from who has signed it.
pub trait Board {
    /// Whether the node has what the capsule needs: the version of the contract, RAM, fuel, sensors,
    /// actuators. It is asked before a byte of the module is.
    ///
    /// # Errors
    /// What is missing.
    fn fits(&self, manifest: &Manifest<'_>) -> Result<(), Reason>;

    /// Whether the host admits the module ([`CapsuleHost::admit`]). Its digest is right.
    ///
    /// # Errors
    /// The rule that it breaks, in words.
    ///
    /// [`CapsuleHost::admit`]: crate::host::CapsuleHost::admit
    fn admit(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), Reason>;

    /// Whether an instance is of this capsule. One that nothing uses goes when room is needed.
    fn uses(&self, digest: &Digest) -> bool;
}

/// Something that the node has to react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A capsule is here now.
    Held(Digest),
    /// A wanted capsule cannot be here, and is not tried again by itself.
    Refused {
        /// The digest of its manifest.
        digest: Digest,
        /// Why.
        reason: Reason,
    },
    /// A capsule that somebody has brought is not taken.
    NotTaken {
        /// The digest of its manifest.
        digest: Digest,
        /// Why.
        reason: Reason,
    },
    /// A wanted capsule could not be had, and is tried again.
    Delayed {
        /// The digest of its manifest.
        digest: Digest,
        /// Why.
        reason: Reason,
    },
    /// A capsule has gone.
    Removed(Digest),
}

/// A capsule that is held, as it lies in flash.
#[derive(Clone, Copy, Debug)]
pub struct Held<'f> {
    /// What its publisher has signed.
    pub manifest: Manifest<'f>,
    /// The module.
    pub module: &'f [u8],
}

/// What is on its way, held and refused. See the [module](self).
pub struct Install {
    slots: Slots,
    /// At most [`QUEUE`].
    queue: Vec<Wanted>,
    work: Option<Box<Work>>,
    /// What had to give way, and is to take back its requests.
    displaced: Option<Box<Work>>,
    /// An upload that was answered before its end.
    cut_short: Option<Unfinished<Peer>>,
    /// At most [`REFUSED`].
    refused: VecDeque<(Digest, Reason)>,
    neighbours: heapless::Vec<Peer, NEIGHBOURS>,
    /// The group that blobs may be said to, and who else is there.
    company: Option<(Peer, Company)>,
    /// Whether this node was the first to ask for what came last.
    is_first: bool,
    block: BlockSize,
    seed: u32,
    last: Instant,
}

impl Install {
    /// Reads what is in flash. `block` is the most that fits a response; `seed` should differ between
    /// nodes. The work is a digest over each manifest that is held.
    #[must_use]
    pub fn mount(now: Instant, flash: &[u8], store: &Store, block: BlockSize, seed: u32) -> Self {
        Self {
            slots: Slots::mount(now, flash, store),
            queue: Vec::new(),
            work: None,
            displaced: None,
            cut_short: None,
            refused: VecDeque::new(),
            neighbours: heapless::Vec::new(),
            company: None,
            is_first: false,
            block,
            seed,
            last: now,
        }
    }

    /// A capsule that is held.
    #[must_use]
    pub fn held<'f>(&self, flash: &'f [u8], store: &Store, digest: &Digest) -> Option<Held<'f>> {
        let slot = self.slots.find(digest).filter(|slot| slot.state == SlotState::Held)?;
        let (id, _) = slot.extent(flash, store)?;
        let manifest = slot.manifest(flash, store)?;
        Some(Held { manifest, module: store.bytes(flash, id)? })
    }

    /// The envelope of a capsule that is known.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn envelope<'f>(
        &self,
        flash: &'f [u8],
        store: &Store,
        digest: &Digest,
    ) -> Option<&'f [u8]> {
        self.slots.find(digest)?.envelope(flash, store)
    }

    /// What is held, in the order of the digests.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let held = self.slots.iter().filter(|slot| slot.state == SlotState::Held);
        held.map(|slot| slot.digest)
    }

    /// What announcements say of what is held.
    #[must_use]
    pub fn summary(&self) -> Option<DigestPrefix> {
        self.slots.summary()
    }

    /// What is held and was signed by somebody who is not trusted any more: to be asked when the
    /// roster has changed. The work is a look-up for each capsule.
    pub fn untrusted<'a>(
        &'a self,
        flash: &'a [u8],
        store: &'a Store,
        site: &'a Site,
    ) -> impl Iterator<Item = Digest> + 'a {
        let held = self.slots.iter().filter(|slot| slot.state == SlotState::Held);
        let is_untrusted = move |slot: &&slots::Slot| {
            let envelope = slot.envelope(flash, store).unwrap_or_default();
            let publisher =
                UnverifiedManifest::parse(envelope).map(|manifest| manifest.publisher());
            !publisher.is_ok_and(|id| site.member(flash, store, id, Role::Publisher).is_ok())
        };
        held.filter(is_untrusted).map(|slot| slot.digest)
    }

    /// A capsule is to be here; `sources` are asked for it, besides neighbours. Repeated, it adds
    /// sources, and tries at once what was put off or refused.
    ///
    /// # Errors
    /// [`ErrorCode::Full`] if [`QUEUE`] capsules wait.
    pub fn want(&mut self, now: Instant, digest: &Digest, sources: &[Peer]) -> Result<(), Reason> {
        if self.slots.is_held(digest) {
            return Ok(());
        }
        self.refused.retain(|(refused, _)| refused != digest);
        if let Some(work) = self.work.as_mut().filter(|work| work.digest == *digest) {
            if let Feed::Fetch(wanted) = &mut work.feed {
                wanted.add(sources);
            }
            if let Some(download) = work.download() {
                for peer in sources {
                    download.add(now, *peer, rank(*peer));
                }
            }
            return Ok(());
        }
        if let Some(wanted) = self.queue.iter_mut().find(|wanted| wanted.digest == *digest) {
            wanted.add(sources);
            wanted.not_before = now;
            return Ok(());
        }
        let mut wanted = Wanted::new(*digest, now);
        wanted.add(sources);
        if self.enqueue(wanted) {
            return Ok(());
        }
        Err(Reason::new(ErrorCode::Full).because("too many capsules are wanted already"))
    }

    /// Has a capsule wait for its turn, if there is room for one more.
    fn enqueue(&mut self, wanted: Wanted) -> bool {
        let has_room = !self.is_queue_full();
        if has_room {
            self.queue.push(wanted);
        }
        has_room
    }

    fn is_queue_full(&self) -> bool {
        self.queue.len() >= QUEUE
    }

    /// A capsule need not be here any more. What is there of it is thrown away after a while, unless
    /// it is held.
    pub fn unwant(&mut self, now: Instant, digest: &Digest, out: &mut dyn Outbox<Peer>) {
        self.queue.retain(|wanted| wanted.digest != *digest);
        let is_it = |work: &Work| {
            work.digest == *digest && matches!(work.feed, Feed::Fetch(_)) && !work.is_committing()
        };
        if self.work.as_deref().is_some_and(is_it)
            && let Some(mut work) = self.work.take()
        {
            if let Some(download) = work.download() {
                download.cancel(now, out);
            }
            self.leave(now, digest);
        }
    }

    /// Forgets a capsule that no instance uses: the caller knows.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownCapsule`]; [`ErrorCode::Busy`] while it is being committed.
    pub fn remove(&mut self, digest: &Digest) -> Result<(), Reason> {
        self.refused.retain(|(refused, _)| refused != digest);
        let waited = self.queue.len();
        self.queue.retain(|wanted| wanted.digest != *digest);
        if self.work.as_ref().is_some_and(|work| work.digest == *digest) {
            return Err(Reason::retry(ErrorCode::Busy, 2_000).because("it is on its way"));
        }
        match self.slots.find_mut(digest) {
            Some(slot) => slot.state = SlotState::Leaving,
            None if self.queue.len() < waited => {}
            None => return Err(Reason::new(ErrorCode::UnknownCapsule)),
        }
        Ok(())
    }

    /// How a capsule fares, if it is held, wanted, or was refused lately.
    #[must_use]
    pub fn state(&self, digest: &Digest) -> Option<(CapsuleState, Option<ErrorCode>)> {
        if self.slots.is_held(digest) {
            return Some((CapsuleState::Held, None));
        }
        if self.work.as_ref().is_some_and(|work| work.digest == *digest) {
            return Some((CapsuleState::Fetching, None));
        }
        if let Some(wanted) = self.queue.iter().find(|wanted| wanted.digest == *digest) {
            return Some((CapsuleState::Wanted, wanted.reason));
        }
        let refused = self.refused.iter().find(|(refused, _)| refused == digest);
        refused.map(|(_, reason)| (CapsuleState::Refused, Some(reason.code)))
    }

    /// Everything that there is to be said about capsules: what is held or half fetched, what is
    /// wanted, what was refused.
    pub fn statuses<'a>(
        &'a self,
        flash: &'a [u8],
        store: &'a Store,
    ) -> impl Iterator<Item = CapsuleStatus<'a>> + 'a {
        let slots = self.slots.iter().map(move |slot| self.describe(flash, store, slot));
        let is_elsewhere = |digest: &Digest| self.slots.find(digest).is_some();
        let work =
            self.work.iter().map(|work| work.digest).filter(|digest| *digest != work::UNKNOWN);
        let queue = self.queue.iter().map(|wanted| wanted.digest);
        let refused = self.refused.iter().map(|(digest, _)| *digest);
        let bare = work.chain(queue).chain(refused).filter(move |digest| !is_elsewhere(digest));
        slots.chain(bare.map(|digest| self.bare(digest)))
    }

    fn describe<'a>(
        &self,
        flash: &'a [u8],
        store: &Store,
        slot: &slots::Slot,
    ) -> CapsuleStatus<'a> {
        let mut status = self.bare(slot.digest);
        if status.state != CapsuleState::Held {
            let work = self.work.as_ref().filter(|work| work.digest == slot.digest);
            status.missing = work.and_then(|work| work.missing());
        }
        let Some(envelope) = slot.envelope(flash, store) else { return status };
        let Ok(unverified) = UnverifiedManifest::parse(envelope) else { return status };
        // It was verified before it was kept.
        let manifest = unverified.claims();
        status.name = Some(manifest.name);
        status.version = Some(manifest.capsule.version);
        status.sequence = Some(manifest.sequence);
        status.publisher = Some(unverified.publisher());
        status.size = Some(manifest.module_size);
        status
    }

    fn bare(&self, capsule: Digest) -> CapsuleStatus<'static> {
        let (state, reason) = self.state(&capsule).unwrap_or((CapsuleState::Wanted, None));
        CapsuleStatus {
            capsule,
            state,
            name: None,
            version: None,
            sequence: None,
            publisher: None,
            size: None,
            missing: None,
            reason,
        }
    }

    /// Takes a response if it is to a request of this machine's. Says whether it was.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        let download = self.work.as_mut().and_then(|work| work.download());
        download.is_some_and(|download| download.response(now, exchange, message))
    }

    /// Takes an outcome if it ends a request of this machine's. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        let download = self.work.as_mut().and_then(|work| work.download());
        download.is_some_and(|download| download.outcome(now, outcome))
    }

    /// Takes what the store has done.
    pub fn flashed(
        &mut self,
        now: Instant,
        done: &Done,
        out: &mut dyn Outbox<Peer>,
    ) -> Option<Event> {
        let end = self.work.as_mut()?.flashed(now, done)?;
        self.end(now, end, out)
    }

    /// Goes on with whatever is under way; to be called until there is nothing. The work of a call is
    /// bounded by one signature, a digest over a few pieces, or an admission.
    pub fn poll(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
        site: &Site,
        board: &dyn Board,
    ) -> Option<Event> {
        self.last = now;
        if let Some(gone) = self.slots.sweep(flash, store) {
            return Some(Event::Removed(gone));
        }
        self.put_back(now, out);
        self.collect(now);
        self.take_up(now);
        let event = self.advance(now, flash, store, out, site, board);
        self.answer(now, out);
        if event.is_some() {
            return event;
        }
        let is_late = |work: &Work| {
            matches!(&work.feed, Feed::Upload(upload) if now >= upload.until())
                && !work.is_committing()
        };
        if self.work.as_deref().is_some_and(is_late) {
            return self.end(now, End::Later(Reason::new(ErrorCode::Timeout)), out);
        }
        None
    }

    /// When to poll again although nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let work = match &self.work {
            Some(work) => work.poll_timeout(self.last),
            None => self.queue.iter().map(|wanted| wanted.not_before).min(),
        };
        // One that is wanted outlives its time.
        let leftovers = self.slots.half_since().map(|since| since + LEFTOVER_AGE);
        work.into_iter().chain(leftovers.filter(|at| *at > self.last)).min()
    }

    fn advance(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
        site: &Site,
        board: &dyn Board,
    ) -> Option<Event> {
        let work = self.work.as_mut()?;
        let mut tools = Tools {
            now,
            flash,
            store,
            site,
            board,
            slots: &mut self.slots,
            queue: &self.queue,
            block: self.block,
            seed: self.seed,
            company: self.company,
            is_first: &mut self.is_first,
        };
        let end = work.advance(&mut tools, out)?;
        self.end(now, end, out)
    }

    /// The first capsule whose time has come is worked on.
    fn take_up(&mut self, now: Instant) {
        if self.work.is_some() {
            return;
        }
        let Some(at) = self.queue.iter().position(|wanted| wanted.not_before <= now) else {
            return;
        };
        let mut wanted = self.queue.remove(at);
        wanted.add(&self.neighbours);
        self.work = Some(Box::new(Work::new(wanted.digest, Feed::Fetch(wanted))));
    }

    /// Throws away what was left half-fetched for too long.
    fn collect(&mut self, now: Instant) {
        let (queue, work) = (&self.queue, &self.work);
        self.slots.collect(now, LEFTOVER_AGE, |digest| {
            queue.iter().any(|wanted| wanted.digest == *digest)
                || work.as_ref().is_some_and(|work| work.digest == *digest)
        });
    }

    /// The capsule on its way has become what it could.
    fn end(&mut self, now: Instant, end: End, out: &mut dyn Outbox<Peer>) -> Option<Event> {
        let mut work = self.work.take()?;
        if let Some(download) = work.download() {
            download.cancel(now, out);
        }
        let digest = work.digest;
        self.leave(now, &digest);
        if let Feed::Upload(upload) = &mut work.feed {
            self.cut_short = resource::finish(now, out, upload, &digest, &end);
        }
        match (end, work.feed) {
            (End::Held, _) => {
                self.queue.retain(|wanted| wanted.digest != digest);
                Some(Event::Held(digest))
            }
            (End::Refused(reason), feed) => {
                if let Some(slot) = self.slots.find_mut(&digest) {
                    slot.state = SlotState::Leaving;
                }
                if matches!(feed, Feed::Upload(_)) {
                    return Some(Event::NotTaken { digest, reason });
                }
                if self.refused.len() >= REFUSED {
                    self.refused.pop_front();
                }
                self.refused.push_back((digest, reason.clone()));
                Some(Event::Refused { digest, reason })
            }
            (End::Later(reason), Feed::Fetch(mut wanted)) => {
                wanted.put_off(now, reason.code);
                // It was taken out of the queue, where others may have come since: the one that
                // finds no room is told so.
                if !self.enqueue(wanted) {
                    return Some(Event::Refused { digest, reason });
                }
                Some(Event::Delayed { digest, reason })
            }
            (End::Later(_), Feed::Upload(_)) => None,
        }
    }

    /// A half-fetched capsule is left alone from now on.
    fn leave(&mut self, now: Instant, digest: &Digest) {
        if let Some(slot) = self.slots.find_mut(digest) {
            slot.since = now;
        }
    }

    /// An operator waits for nobody: what is being fetched has its turn afterwards.
    fn make_room(&mut self, now: Instant, peer: Peer) -> Result<(), Reason> {
        let busy = Reason::retry(ErrorCode::Busy, 2_000).because("another capsule is on its way");
        let Some(work) = self.work.take() else { return Ok(()) };
        let may_go = match &work.feed {
            Feed::Fetch(_) => {
                !work.is_committing() && !self.is_queue_full() && self.displaced.is_none()
            }
            Feed::Upload(upload) => upload.peer() == peer && !work.is_committing(),
        };
        if !may_go {
            self.work = Some(work);
            return Err(busy);
        }
        self.leave(now, &work.digest);
        if matches!(work.feed, Feed::Fetch(_)) {
            self.displaced = Some(work);
        }
        Ok(())
    }

    /// The bundle that somebody brings.
    fn upload(&mut self) -> Option<&mut Upload> {
        match &mut self.work.as_mut()?.feed {
            Feed::Upload(upload) => Some(upload),
            Feed::Fetch(_) => None,
        }
    }

    /// What had to give way to an operator waits again.
    fn put_back(&mut self, now: Instant, out: &mut dyn Outbox<Peer>) {
        let Some(mut work) = self.displaced.take() else { return };
        if let Some(download) = work.download() {
            download.cancel(now, out);
        }
        if let Feed::Fetch(wanted) = work.feed {
            // There was room when it was taken off.
            self.enqueue(wanted);
        }
    }

    /// Tells the one who brings a bundle that the next part may come.
    fn answer(&mut self, now: Instant, out: &mut dyn Outbox<Peer>) {
        if let Some(work) = &mut self.work
            && let Feed::Upload(upload) = &mut work.feed
            && upload.wants_part()
            && let Some(waiting) = upload.take_waiting()
        {
            resource::go_on(now, out, waiting);
        }
    }
}
