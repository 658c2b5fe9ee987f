//! One capsule on its way into flash: its manifest, a record of it, an extent, the pieces of its
//! module, admission.

use super::Board;
use super::examine::Examiner;
use super::listen::{Company, Listener};
use super::slots::{Slot, SlotState, Slots, owner};
use super::upload::Upload;
use super::wanted::Wanted;
use crate::download::{Download, Step};
use crate::flash::{Done, Error, ExtentId, ExtentState, Store, Ticket, kinds};
use crate::problem::Reason;
use crate::site::Site;
use alloc::vec::Vec;
use capmesh_blob::fetch::{self, Failure};
use capmesh_coap::block::BlockSize;
use capmesh_coap::server::Outbox;
use capmesh_session::Peer;
use capmesh_wire::{Digest, ErrorCode, Hasher, Instant, Manifest, Role};
use core::time::Duration;

/// How long a capsule may go without a piece before another one has its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that one call hashes at most, of a module that was uploaded.
const HASHED: usize = 8 * 1_024;

/// What a capsule on its way may look at and change.
pub(super) struct Tools<'a> {
    pub(super) now: Instant,
    pub(super) flash: &'a [u8],
    pub(super) store: &'a mut Store,
    pub(super) site: &'a Site,
    pub(super) board: &'a dyn Board,
    pub(super) slots: &'a mut Slots,
    /// What else is wanted.
    pub(super) queue: &'a [Wanted],
    pub(super) block: BlockSize,
    pub(super) seed: u32,
    /// The group that blobs may be said to, and who else wants them.
    pub(super) company: Option<(Peer, Company)>,
    /// Whether this node was the first to ask for the blob before.
    pub(super) is_first: &'a mut bool,
}

impl Tools<'_> {
    fn examiner(&self) -> Examiner<'_> {
        Examiner {
            flash: self.flash,
            store: self.store,
            site: self.site,
            slots: self.slots,
            board: self.board,
        }
    }
}

/// A capsule on its way.
pub(super) struct Work {
    /// The digest of its manifest; [`UNKNOWN`] while that is being brought.
    pub(super) digest: Digest,
    pub(super) feed: Feed,
    stage: Stage,
}

/// What nothing has as its digest.
pub(super) const UNKNOWN: Digest = Digest::from_bytes([0; Digest::LEN]);

/// Where its bytes come from.
pub(super) enum Feed {
    /// Peers are asked for them.
    Fetch(Wanted),
    /// Somebody brings them.
    Upload(Upload),
}

enum Stage {
    /// The manifest is to be had.
    Manifest(Option<Download>),
    /// The manifest was verified, and is to become a record.
    Record(Vec<u8>),
    Recording(Ticket),
    /// The module needs an extent.
    Allocate,
    Allocating(ExtentId),
    /// The module's pieces are on their way.
    Pieces {
        id: ExtentId,
        download: Option<Download>,
    },
    /// Every piece is right; now for the whole.
    Hash {
        id: ExtentId,
        hasher: Hasher,
        at: usize,
    },
    /// The module is right, and the host has to admit it.
    Admit(ExtentId),
    /// It is held already: what is brought is not looked at.
    Drain,
    Committing(Ticket),
}

/// What has become of a capsule on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is held.
    Held,
    /// It cannot be here.
    Refused(Reason),
    /// It cannot be had now; what is there of it is kept.
    Later(Reason),
}

impl Work {
    pub(super) const fn new(digest: Digest, feed: Feed) -> Self {
        Self { digest, feed, stage: Stage::Manifest(None) }
    }

    /// The transfer that is under way.
    pub(super) const fn download(&mut self) -> Option<&mut Download> {
        match &mut self.stage {
            Stage::Manifest(Some(download)) | Stage::Pieces { download: Some(download), .. } => {
                Some(download)
            }
            _ => None,
        }
    }

    /// Asks for what is lacking of what is said to all, as [`Download::say`] has it.
    pub(super) fn say(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Peer>,
        id: u16,
        buf: &mut [u8],
    ) -> Option<usize> {
        let Self { feed: Feed::Fetch(wanted), stage, .. } = self else { return None };
        let download = match stage {
            Stage::Manifest(Some(download)) | Stage::Pieces { download: Some(download), .. } => {
                download
            }
            _ => return None,
        };
        // Nodes hear what is said to all: who is asked in a session is somebody else, if there is one.
        let of_rank =
            |is_node| wanted.sources.iter().filter(move |peer| (rank(**peer) == 0) == is_node);
        let source = |turn: usize| {
            let is_node = of_rank(false).next().is_none();
            let known = of_rank(is_node).count();
            of_rank(is_node).nth(turn.checked_rem(known)?).copied()
        };
        download.say(now, out, &source, id, buf)
    }

    /// How many pieces of the module are missing, if that is known.
    pub(super) fn missing(&self) -> Option<u16> {
        match &self.stage {
            Stage::Pieces { download: Some(download), .. } => Some(download.missing()),
            _ => None,
        }
    }

    pub(super) fn poll_timeout(&self, last: Instant) -> Option<Instant> {
        let download = match &self.stage {
            Stage::Manifest(download) | Stage::Pieces { download, .. } => {
                download.as_ref().and_then(Download::poll_timeout)
            }
            // There is more to do at once.
            Stage::Hash { .. } => Some(last),
            _ => None,
        };
        let upload = match &self.feed {
            Feed::Upload(upload) => Some(upload.until()),
            Feed::Fetch(_) => None,
        };
        download.into_iter().chain(upload).min()
    }

    /// Whether the module is only waiting for a group to be durable.
    pub(super) const fn is_committing(&self) -> bool {
        matches!(self.stage, Stage::Committing(_))
    }

    /// Takes what the store has done.
    pub(super) fn flashed(&mut self, now: Instant, done: &Done) -> Option<End> {
        if let Some(download) = self.download() {
            download.flashed(now, done);
        }
        if let Feed::Upload(upload) = &mut self.feed
            && let Stage::Pieces { id, .. } = &self.stage
            && !upload.flashed(*id, done)
        {
            return Some(End::Later(Reason::new(ErrorCode::Flash)));
        }
        match (&self.stage, done) {
            (Stage::Allocating(id), Done::Ready(ready)) if id == ready => {
                self.stage = Stage::Pieces { id: *id, download: None };
                None
            }
            (Stage::Allocating(id), Done::AllocateFailed(failed)) if id == failed => {
                Some(End::Later(Reason::new(ErrorCode::Flash)))
            }
            _ => None,
        }
    }

    /// Goes on as far as it can. The work is bounded by one signature, a digest over a few pieces,
    /// or an admission.
    pub(super) fn advance(
        &mut self,
        tools: &mut Tools<'_>,
        out: &mut dyn Outbox<Peer>,
    ) -> Option<End> {
        loop {
            match self.step(tools, out) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(end) => return Some(end),
            }
        }
    }

    /// Takes one step. Says whether there may be another at once.
    fn step(&mut self, tools: &mut Tools<'_>, out: &mut dyn Outbox<Peer>) -> Result<bool, End> {
        match &mut self.stage {
            Stage::Manifest(_) => self.manifest(tools, out),
            Stage::Record(envelope) => {
                let id = tools.slots.free_id();
                if tools.slots.is_full() {
                    return wait_for_room(tools, &self.digest, Reason::new(ErrorCode::Full));
                }
                match tools.store.put(kinds::CAPSULE, id, envelope) {
                    Ok(ticket) => {
                        let (digest, since) = (self.digest, tools.now);
                        let state = SlotState::Half;
                        tools.slots.insert(Slot { id, digest, state, since });
                        self.stage = Stage::Recording(ticket);
                        Ok(true)
                    }
                    Err(error) => full(error, tools, &self.digest),
                }
            }
            Stage::Recording(ticket) => {
                let is_durable = tools.store.is_durable(*ticket);
                if is_durable {
                    self.stage = Stage::Allocate;
                } else if tools.store.has_failed() {
                    return Err(End::Later(Reason::new(ErrorCode::Flash)));
                }
                Ok(is_durable)
            }
            Stage::Allocate => self.allocate(tools),
            Stage::Pieces { .. } => self.pieces(tools, out),
            Stage::Hash { .. } => self.hash(tools),
            Stage::Admit(id) => {
                let id = *id;
                self.admit(tools, id)
            }
            Stage::Drain => {
                let is_end = match &mut self.feed {
                    Feed::Upload(upload) => upload.drain(),
                    Feed::Fetch(_) => true,
                };
                if is_end { Err(End::Held) } else { Ok(false) }
            }
            Stage::Committing(ticket) if tools.store.is_durable(*ticket) => {
                if let Some(slot) = tools.slots.find_mut(&self.digest) {
                    slot.state = SlotState::Held;
                }
                Err(End::Held)
            }
            Stage::Committing(_) if tools.store.has_failed() => {
                Err(End::Later(Reason::new(ErrorCode::Flash)))
            }
            Stage::Allocating(_) | Stage::Committing(_) => Ok(false),
        }
    }

    /// Gets hold of a verified manifest: from flash, from a peer, or out of an upload.
    fn manifest(&mut self, tools: &mut Tools<'_>, out: &mut dyn Outbox<Peer>) -> Result<bool, End> {
        if let Feed::Upload(upload) = &mut self.feed {
            match upload.read_manifest().map_err(End::Refused)? {
                Some(envelope) => self.digest = Manifest::digest(envelope),
                None => return Ok(false),
            }
        }
        if let Some(slot) = tools.slots.find(&self.digest) {
            if slot.state == SlotState::Held {
                self.stage = Stage::Drain;
                return Ok(true);
            }
            // It was verified when it was kept; who signed it may have gone since.
            let envelope = slot.envelope(tools.flash, tools.store).unwrap_or_default();
            tools.examiner().examine(envelope).map_err(End::Refused)?;
            self.stage = Stage::Allocate;
            return Ok(true);
        }
        let Stage::Manifest(download) = &mut self.stage else { return Ok(false) };
        let envelope = match &mut self.feed {
            Feed::Upload(upload) => upload.take_manifest(),
            Feed::Fetch(wanted) => {
                let download = match download {
                    Some(download) => download,
                    None => download.insert(fetch_manifest(wanted, tools)?),
                };
                match download.poll(tools.now, tools.flash, tools.store, out) {
                    None => return Ok(false),
                    Some(Step::Stalled) => return give_way(tools),
                    Some(Step::Dropped { .. }) => return Ok(true),
                    Some(Step::Unsaid) => {
                        ask(download, wanted, tools.now);
                        return Ok(true);
                    }
                    Some(Step::Ended(Err(failure))) => return Err(end_of(failure)),
                    Some(Step::Ended(Ok(()))) => {}
                }
                *tools.is_first = download.listener().is_some_and(|it| it.is_first());
                let Stage::Manifest(download) =
                    core::mem::replace(&mut self.stage, Stage::Manifest(None))
                else {
                    return Ok(false);
                };
                download.map(Download::into_document).unwrap_or_default()
            }
        };
        tools.examiner().examine(&envelope).map_err(End::Refused)?;
        self.stage = Stage::Record(envelope);
        Ok(true)
    }

    /// Finds the place of the module: an extent that holds a part of it, or a new one.
    fn allocate(&mut self, tools: &mut Tools<'_>) -> Result<bool, End> {
        let gone = || End::Later(Reason::new(ErrorCode::Internal));
        let slot = tools.slots.find(&self.digest).ok_or_else(gone)?;
        let blob = slot.manifest(tools.flash, tools.store).ok_or_else(gone)?.module();
        if let Feed::Upload(upload) = &mut self.feed {
            upload.describe(&blob).map_err(End::Refused)?;
        }
        let known = slot.extent(tools.flash, tools.store);
        if let Some((id, _)) = known.filter(|(_, extent)| extent.state == ExtentState::Partial) {
            self.stage = Stage::Pieces { id, download: None };
            return Ok(true);
        }
        match tools.store.allocate(tools.flash, &blob, owner(slot.id)) {
            Ok(id) => {
                self.stage = Stage::Allocating(id);
                Ok(false)
            }
            Err(error) => full(error, tools, &self.digest),
        }
    }

    fn pieces(&mut self, tools: &mut Tools<'_>, out: &mut dyn Outbox<Peer>) -> Result<bool, End> {
        let Stage::Pieces { id, download } = &mut self.stage else { return Ok(false) };
        let id = *id;
        let wanted = match &mut self.feed {
            Feed::Fetch(wanted) => wanted,
            Feed::Upload(upload) => {
                if upload.pump(tools.flash, tools.store, id).map_err(End::Refused)? {
                    self.stage = Stage::Hash { id, hasher: Hasher::new(), at: 0 };
                    return Ok(true);
                }
                return Ok(false);
            }
        };
        let download = match download {
            Some(download) => download,
            None => {
                let slot = tools.slots.find(&self.digest);
                let manifest = slot.and_then(|slot| slot.manifest(tools.flash, tools.store));
                download.insert(fetch_module(wanted, tools, id, manifest)?)
            }
        };
        match download.poll(tools.now, tools.flash, tools.store, out) {
            None => Ok(false),
            Some(Step::Stalled) => give_way(tools),
            Some(Step::Dropped { .. }) => Ok(true),
            Some(Step::Unsaid) => {
                ask(download, wanted, tools.now);
                Ok(true)
            }
            Some(Step::Ended(Err(failure))) => Err(end_of(failure)),
            Some(Step::Ended(Ok(()))) => {
                self.stage = Stage::Admit(id);
                Ok(true)
            }
        }
    }

    /// The digest of the whole of a module that was uploaded, a stretch at a time.
    fn hash(&mut self, tools: &mut Tools<'_>) -> Result<bool, End> {
        let Stage::Hash { id, hasher, at } = &mut self.stage else { return Ok(false) };
        let id = *id;
        let module = tools.store.bytes(tools.flash, id).unwrap_or_default();
        let rest = module.get(*at..).unwrap_or_default();
        let stretch = rest.get(..HASHED).unwrap_or(rest);
        hasher.update(stretch);
        *at += stretch.len();
        if stretch.len() < rest.len() {
            return Ok(false);
        }
        let slot = tools.slots.find(&self.digest);
        let manifest = slot.and_then(|slot| slot.manifest(tools.flash, tools.store));
        if manifest.map(|manifest| manifest.module_digest) != Some(hasher.clone().finish()) {
            return Err(end_of(Failure::WrongDigest));
        }
        self.stage = Stage::Admit(id);
        Ok(true)
    }

    fn admit(&mut self, tools: &mut Tools<'_>, id: ExtentId) -> Result<bool, End> {
        let gone = || End::Later(Reason::new(ErrorCode::Internal));
        let slot = tools.slots.find(&self.digest).ok_or_else(gone)?;
        // It took a while: who signed it may have gone, and something newer may have come.
        let envelope = slot.envelope(tools.flash, tools.store).ok_or_else(gone)?;
        let manifest = tools.examiner().examine(envelope).map_err(End::Refused)?;
        let module = tools.store.bytes(tools.flash, id).ok_or_else(gone)?;
        tools.board.admit(&manifest, module).map_err(End::Refused)?;
        let mut group = tools.store.group();
        match group.commit_extent(tools.flash, id).and_then(|()| group.submit()) {
            Ok(ticket) => {
                self.stage = Stage::Committing(ticket);
                Ok(true)
            }
            Err(Error::Busy) => Ok(false),
            Err(error) => Err(End::Later(Reason::new(ErrorCode::Flash).because(error))),
        }
    }
}

fn config() -> fetch::Config {
    fetch::Config { give_up: PATIENCE, ..fetch::Config::default() }
}

fn fetch_manifest(wanted: &Wanted, tools: &Tools<'_>) -> Result<Download, End> {
    let Tools { now, block, seed, .. } = *tools;
    let download = Download::document(now, config(), wanted.digest, block, seed);
    let mut download = download.map_err(too_large)?;
    begin(&mut download, wanted, tools, (&wanted.digest, &wanted.digest));
    Ok(download)
}

fn fetch_module(
    wanted: &Wanted,
    tools: &Tools<'_>,
    id: ExtentId,
    manifest: Option<Manifest<'_>>,
) -> Result<Download, End> {
    let gone = || End::Later(Reason::new(ErrorCode::Internal));
    let blob = manifest.ok_or_else(gone)?.module();
    let Tools { now, flash, block, seed, .. } = *tools;
    let from = (flash, &*tools.store);
    let download = Download::blob(now, config(), &blob, from, id, true, (block, seed));
    let mut download = download.map_err(too_large)?;
    begin(&mut download, wanted, tools, (&blob.digest, &blob.root));
    Ok(download)
}

/// Listens, if there are others that may want the same, or asks.
fn begin(
    download: &mut Download,
    wanted: &Wanted,
    tools: &Tools<'_>,
    (digest, root): (&Digest, &Digest),
) {
    match tools.company {
        Some((group, company)) => {
            let company = Company { is_first: *tools.is_first, ..company };
            let seed = seed_of(tools, digest);
            let listener =
                Listener::new(tools.now, (digest, root, download.chunks()), company, seed);
            download.listen(tools.now, group, listener);
        }
        None => ask(download, wanted, tools.now),
    }
}

/// What a listener draws its numbers from: the node's id is in it, since nodes may have started with the same
/// seed, and it tells nothing of the node's own.
fn seed_of(tools: &Tools<'_>, blob: &Digest) -> u64 {
    let mut hasher = Hasher::new();
    hasher.update(tools.site.own().id().as_bytes());
    hasher.update(&tools.seed.to_be_bytes());
    hasher.update(&tools.now.as_micros().to_be_bytes());
    hasher.update(blob.as_bytes());
    let digest = hasher.finish();
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn ask(download: &mut Download, wanted: &Wanted, now: Instant) {
    for peer in &wanted.sources {
        download.add(now, *peer, rank(*peer));
    }
}

/// Nobody who is known has what is missing: the next one has its turn, if there is one.
fn give_way(tools: &Tools<'_>) -> Result<bool, End> {
    if tools.queue.iter().any(|wanted| wanted.not_before <= tools.now) {
        let reason = Reason::new(ErrorCode::UnknownBlob).because("nobody who is known has it");
        return Err(End::Later(reason));
    }
    Ok(true)
}

/// Neighbours are asked before those whose link everybody shares.
pub(super) fn rank(peer: Peer) -> u8 {
    match peer.member().map(|member| member.role) {
        Some(Role::Node) => 0,
        _ => 1,
    }
}

fn too_large(error: fetch::StartError) -> End {
    End::Refused(Reason::new(ErrorCode::TooLarge).because(error))
}

fn end_of(failure: Failure) -> End {
    match failure {
        Failure::NoProgress => End::Later(Reason::new(ErrorCode::Unreachable).because(failure)),
        Failure::Storage => End::Later(Reason::new(ErrorCode::Flash).because(failure)),
        Failure::WrongDigest => {
            End::Refused(Reason::new(ErrorCode::DigestMismatch).because(failure))
        }
    }
}

/// The store has no room: capsules that nobody wants or uses make some, or it is the end.
fn full(error: Error, tools: &mut Tools<'_>, digest: &Digest) -> Result<bool, End> {
    match error {
        Error::Busy => Ok(false),
        Error::Full | Error::Fragmented | Error::TooMany => {
            wait_for_room(tools, digest, Reason::new(ErrorCode::NoFlash).because(error))
        }
        error => Err(End::Refused(Reason::new(ErrorCode::Flash).because(error))),
    }
}

fn wait_for_room(tools: &mut Tools<'_>, digest: &Digest, reason: Reason) -> Result<bool, End> {
    let is_wanted = |other: &Digest| {
        other == digest || tools.queue.iter().any(|wanted| wanted.digest == *other)
    };
    let slots = &mut *tools.slots;
    if slots.is_making_room()
        || slots.collect(tools.now, Duration::ZERO, is_wanted)
        || slots.evict(|other| is_wanted(other) || tools.board.uses(other))
    {
        return Ok(false);
    }
    Err(End::Refused(reason))
}
