//! Belonging to a site: once.

use super::documents::{Kind, verify_roster};
use super::identity::Own;
use crate::download::{Download, Step};
use crate::flash::{Done, Error, ExtentId, ExtentState, Store, Ticket, kinds};
use crate::problem::Reason;
use alloc::vec::Vec;
use capmesh_blob::fetch;
use capmesh_coap::block::BlockSize;
use capmesh_coap::server::Outbox;
use capmesh_session::Peer;
use capmesh_wire::control::Adopt;
use capmesh_wire::{BlobRef, Credential, ErrorCode, Instant, PublicKey, Role};
use core::time::Duration;

/// How long the one who adopts may take to hand out the roster.
const PATIENCE: Duration = Duration::from_secs(120);

/// An adoption that was accepted and is not yet durable.
pub(super) struct Adoption {
    peer: Peer,
    /// The site's credential.
    site: Vec<u8>,
    roster: BlobRef,
    stage: Stage,
}

enum Stage {
    Allocate,
    Fetch(Download),
    Keep(Place),
    Keeping { ticket: Ticket, place: Place },
    Over { result: Result<(), Reason>, leftover: Option<ExtentId> },
}

#[derive(Clone)]
enum Place {
    Ram(Vec<u8>),
    Extent(ExtentId),
}

impl Adoption {
    /// Begins to fetch the roster.
    pub(super) fn begin(own: &Own, peer: Peer, adopt: &Adopt<'_>) -> Result<Self, Reason> {
        if adopt.claim != Some(own.claim()) {
            return Err(Reason::new(ErrorCode::Untrusted).because("it does not say the claim"));
        }
        let site = adopt.site.as_slice();
        if Credential::parse(site).is_err() {
            return Err(Reason::new(ErrorCode::Malformed).because("the site has no credential"));
        }
        let (site, roster) = (site.to_vec(), adopt.roster);
        Ok(Self { peer, site, roster, stage: Stage::Allocate })
    }

    /// Whether it is the same once more.
    pub(super) fn is(&self, peer: Peer, adopt: &Adopt<'_>) -> bool {
        self.peer == peer && self.site == adopt.site.as_slice() && self.roster == adopt.roster
    }

    /// Whether it ends if this peer begins anew: with the roster of then, which the peer may not have any
    /// more, it would be in the way until it is given up.
    pub(super) fn gives_way_to(&self, peer: Peer) -> bool {
        self.peer == peer && !matches!(self.stage, Stage::Keeping { .. })
    }

    /// The extent that is to be given back if it ends here.
    pub(super) fn leftover(&self) -> Option<ExtentId> {
        match &self.stage {
            Stage::Allocate => None,
            Stage::Fetch(download) => download.extent(),
            Stage::Keep(place) | Stage::Keeping { place, .. } => place.extent(),
            Stage::Over { leftover, .. } => *leftover,
        }
    }

    pub(super) const fn download(&mut self) -> Option<&mut Download> {
        match &mut self.stage {
            Stage::Fetch(download) => Some(download),
            _ => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Fetch(download) => download.poll_timeout(),
            _ => None,
        }
    }

    /// Whether it is over, and how; with the extent that is to be given back.
    pub(super) fn result(&self) -> Option<(Result<(), Reason>, Option<ExtentId>)> {
        match &self.stage {
            Stage::Over { result, leftover } => Some((result.clone(), *leftover)),
            _ => None,
        }
    }

    pub(super) fn flashed(&mut self, now: Instant, done: &Done) {
        if let Stage::Fetch(download) = &mut self.stage {
            download.flashed(now, done);
            if let (Done::AllocateFailed(failed), Some(id)) = (done, download.extent())
                && *failed == id
            {
                let result = Err(Reason::new(ErrorCode::Flash));
                self.stage = Stage::Over { result, leftover: None };
            }
        }
    }

    /// Goes on as far as it can.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
        (own, block, seed): (&Own, BlockSize, u32),
    ) {
        loop {
            let next = match &mut self.stage {
                Stage::Allocate => self.allocate(now, flash, store, (block, seed)),
                Stage::Fetch(download) => match download.poll(now, flash, store, out) {
                    None => return,
                    Some(Step::Unsaid) => continue,
                    Some(Step::Stalled | Step::Dropped { .. }) => {
                        // Nobody else has it: who adopts begins anew, rather than wait in vain.
                        let leftover = download.extent();
                        Some(Stage::Over { result: Err(late()), leftover })
                    }
                    Some(Step::Ended(result)) => self.fetched(result, own, flash, store),
                },
                Stage::Keep(place) => {
                    let place = place.clone();
                    self.keep(flash, store, place)
                }
                Stage::Keeping { ticket, .. } if store.is_durable(*ticket) => {
                    Some(Stage::Over { result: Ok(()), leftover: None })
                }
                Stage::Keeping { place, .. } if store.has_failed() => {
                    let leftover = place.extent();
                    let result = Err(Reason::new(ErrorCode::Flash));
                    Some(Stage::Over { result, leftover })
                }
                Stage::Keeping { .. } | Stage::Over { .. } => return,
            };
            match next {
                Some(next) => self.stage = next,
                None => return,
            }
        }
    }

    /// A roster of one piece is a document and comes to RAM; a longer one needs an extent.
    fn allocate(
        &self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        (block, seed): (BlockSize, u32),
    ) -> Option<Stage> {
        let config = fetch::Config { give_up: PATIENCE, ..fetch::Config::default() };
        let blob = &self.roster;
        let longest = store.config().max_group - crate::flash::Config::RECORD;
        let download = if blob.chunks() == 1 && blob.size <= u32::from(longest) {
            Download::document(now, config, blob.digest, block, seed)
        } else {
            let id = match store.allocate(flash, blob, Kind::Roster.owner()) {
                Ok(id) => id,
                Err(Error::Busy) => return None,
                Err(error) => {
                    let result = Err(Reason::new(ErrorCode::NoFlash).because(error));
                    return Some(Stage::Over { result, leftover: None });
                }
            };
            Download::blob(now, config, blob, (flash, store), id, false, (block, seed))
        };
        Some(match download {
            Ok(mut download) => {
                download.add(now, self.peer, 0);
                Stage::Fetch(download)
            }
            Err(error) => {
                let result = Err(Reason::new(ErrorCode::TooLarge).because(error));
                Stage::Over { result, leftover: None }
            }
        })
    }

    fn fetched(
        &mut self,
        result: Result<(), fetch::Failure>,
        own: &Own,
        flash: &[u8],
        store: &Store,
    ) -> Option<Stage> {
        let Stage::Fetch(download) = core::mem::replace(&mut self.stage, Stage::Allocate) else {
            return None;
        };
        let place = match download.extent() {
            Some(id) => Place::Extent(id),
            None => Place::Ram(download.into_document()),
        };
        let bytes = match &place {
            Place::Ram(bytes) => bytes.as_slice(),
            Place::Extent(id) => store.bytes(flash, *id).unwrap_or_default(),
        };
        let verified = result.map_err(reason).and_then(|()| check(bytes, &self.site, own));
        Some(match verified {
            Ok(()) => Stage::Keep(place),
            Err(reason) => Stage::Over { result: Err(reason), leftover: place.extent() },
        })
    }

    /// Site and roster count together or not at all.
    fn keep(&self, flash: &[u8], store: &mut Store, place: Place) -> Option<Stage> {
        let owner = Kind::Roster.owner();
        let mut group = store.group();
        let submitted = group
            .put(kinds::SITE, 0, &self.site)
            .and_then(|()| match &place {
                Place::Ram(bytes) => group.put(owner.kind, owner.id, bytes),
                Place::Extent(id) => group.commit_extent(flash, *id),
            })
            .and_then(|()| group.submit());
        match submitted {
            Ok(ticket) => Some(Stage::Keeping { ticket, place }),
            Err(Error::Busy) => None,
            Err(error) => {
                let result = Err(Reason::new(ErrorCode::NoFlash).because(error));
                Some(Stage::Over { result, leftover: place.extent() })
            }
        }
    }
}

impl Place {
    const fn extent(&self) -> Option<ExtentId> {
        match self {
            Self::Ram(_) => None,
            Self::Extent(id) => Some(*id),
        }
    }
}

fn reason(failure: fetch::Failure) -> Reason {
    match failure {
        fetch::Failure::NoProgress => late(),
        fetch::Failure::Storage => ErrorCode::Flash.into(),
        fetch::Failure::WrongDigest => ErrorCode::DigestMismatch.into(),
    }
}

/// The roster was not handed out.
fn late() -> Reason {
    Reason::retry(ErrorCode::Timeout, super::RETRY_MS)
}

/// Whether the roster is the site's, and lists this node as it is.
fn check(bytes: &[u8], site: &[u8], own: &Own) -> Result<(), Reason> {
    let site: PublicKey = match Credential::parse(site) {
        Ok(site) => site.public_key(),
        Err(error) => return Err(super::documents::malformed(error)),
    };
    let roster = verify_roster(bytes, &site)?;
    let untrusted = Reason::new(ErrorCode::Untrusted);
    match roster.find(own.id()) {
        None => Err(untrusted.because("this node is not on the roster")),
        Some(entry) if entry.role != Role::Node => {
            Err(untrusted.because(format_args!("this node is on the roster as {}", entry.role)))
        }
        Some(entry) if entry.credential.as_bytes() != own.credential() => {
            Err(untrusted.because("the roster has another credential of this node"))
        }
        Some(_) => Ok(()),
    }
}

/// Extents of rosters and plans that were not finished when the power was cut.
pub(super) fn leftovers(flash: &[u8], store: &Store) -> Vec<ExtentId> {
    let ours = [Kind::Roster.owner(), Kind::Plan.owner()];
    store
        .extents(flash)
        .filter(|(_, extent)| ours.contains(&extent.owner) && extent.state != ExtentState::Whole)
        .map(|(id, _)| id)
        .collect()
}
