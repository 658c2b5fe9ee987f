//! Where the signed documents lie in flash, and when one may take another's place.
//!
//! A short document is one record of the log, a long one is an extent: which of the two, the latest
//! group of records says, so that after a power cut there is the old one or the new one.

use crate::flash::{Error, Extent, ExtentId, ExtentState, Owner, Store, Ticket, kinds};
use crate::problem::Reason;
use capmesh_wire::plan::{Plan, UnverifiedPlan};
use capmesh_wire::roster::{Role, Untrusted, UnverifiedRoster};
use capmesh_wire::{
    BlobRef, Credential, ErrorCode, KeyId, Name, NodeId, PublicKey, Revision, Roster, limits,
};

/// A kind of signed document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Roster,
    Plan,
}

impl Kind {
    /// Whose records and extents are its.
    pub(super) const fn owner(self) -> Owner {
        let kind = match self {
            Self::Roster => kinds::ROSTER,
            Self::Plan => kinds::PLAN,
        };
        Owner { kind, id: 0 }
    }

    /// The document that is held, if there is one.
    pub(super) fn read<'f>(self, flash: &'f [u8], store: &Store) -> Option<&'f [u8]> {
        let Owner { kind, id } = self.owner();
        store.get(flash, kind, id).or_else(|| store.bytes(flash, self.extent(flash, store)?))
    }

    /// The extent of the document that is held, if it is in one.
    fn extent(self, flash: &[u8], store: &Store) -> Option<ExtentId> {
        let mut extents = store.extents(flash);
        let is_held =
            |extent: &Extent| extent.owner == self.owner() && extent.state == ExtentState::Whole;
        extents.find(|(_, extent)| is_held(extent)).map(|(id, _)| id)
    }

    /// Takes a verified document that is short in place of the one that is held.
    pub(super) fn keep(
        self,
        flash: &[u8],
        store: &mut Store,
        bytes: &[u8],
    ) -> Result<Ticket, Error> {
        let old = self.extent(flash, store);
        let Owner { kind, id } = self.owner();
        let mut group = store.group();
        group.put(kind, id, bytes)?;
        if let Some(old) = old {
            group.remove_extent(flash, old)?;
        }
        group.submit()
    }

    /// Takes a verified document that lies in an extent in place of the one that is held.
    pub(super) fn keep_extent(
        self,
        flash: &[u8],
        store: &mut Store,
        new: ExtentId,
    ) -> Result<Ticket, Error> {
        let old = self.extent(flash, store);
        let Owner { kind, id } = self.owner();
        let is_record = store.contains(kind, id);
        let mut group = store.group();
        group.commit_extent(flash, new)?;
        if let Some(old) = old {
            group.remove_extent(flash, old)?;
        }
        if is_record {
            group.delete(kind, id)?;
        }
        group.submit()
    }
}

/// What the node knows when a document comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'f> {
    /// This node.
    pub(super) own: NodeId,
    /// The site's key.
    pub(super) site: PublicKey,
    pub(super) roster: Roster<'f>,
    /// The plan that is in flash.
    pub(super) plan: Option<&'f [u8]>,
    /// Seconds since 1970, if the time is known.
    pub(super) unix: Option<u64>,
}

impl<'f> Known<'f> {
    /// What is in flash. `None` if the node belongs to no site. This is done with each step of a document
    /// that comes: nothing here grows with the roster.
    pub(super) fn read(
        flash: &'f [u8],
        store: &Store,
        own: NodeId,
        unix: Option<u64>,
    ) -> Option<Self> {
        let site = store.get(flash, kinds::SITE, 0)?;
        let site = Credential::parse(site).ok()?.public_key();
        let roster = Roster::from_trusted(Kind::Roster.read(flash, store)?).ok()?;
        Some(Self { own, site, roster, plan: Kind::Plan.read(flash, store), unix })
    }

    /// The revision of the plan that counts. One whose gateway has been taken off the roster does not
    /// stand in a newer one's way. The work is a pass over the roster.
    fn plan(&self) -> Option<Revision> {
        let plan = UnverifiedPlan::parse(self.plan?).ok()?;
        let is_member = self.member(plan.gateway(), Role::Gateway).is_ok();
        is_member.then(|| plan.claims().revision)
    }

    /// The key of somebody on the roster with this role, unless it has expired.
    pub(super) fn member(&self, id: KeyId, role: Role) -> Result<PublicKey, Reason> {
        member(&self.roster, id, role, self.unix)
    }

    /// Which version of a document there is.
    pub(super) fn version(&self, kind: Kind) -> Option<Revision> {
        match kind {
            Kind::Roster => Some(self.roster.head().version),
            Kind::Plan => self.plan(),
        }
    }

    /// Whether the claims of a plan, or of the beginning of one, are worth a verification. Returns
    /// the key that must have signed it; `None` if it is the plan that is held.
    pub(super) fn check_plan(
        &self,
        gateway: KeyId,
        site: Name<'_>,
        node: NodeId,
        revision: Revision,
    ) -> Result<Option<PublicKey>, Reason> {
        if site != self.roster.head().site {
            return Err(Reason::new(ErrorCode::Untrusted).because("it is another site's"));
        }
        if node != self.own {
            return Err(Reason::new(ErrorCode::Malformed).because("it is another node's plan"));
        }
        let key = self.member(gateway, Role::Gateway)?;
        match self.plan() {
            Some(held) if revision < held => Err(stale(held)),
            Some(held) if revision == held => Ok(None),
            _ => Ok(Some(key)),
        }
    }

    /// Verifies a whole plan.
    pub(super) fn verify_plan<'p>(&self, bytes: &'p [u8]) -> Result<Plan<'p>, Reason> {
        let plan = UnverifiedPlan::parse(bytes).map_err(malformed)?;
        let Plan { site, node, revision, .. } = *plan.claims();
        let key = self.check_plan(plan.gateway(), site, node, revision)?;
        let key = key.ok_or_else(|| stale(revision))?;
        plan.verify(&key).map_err(|_| Reason::new(ErrorCode::BadSignature))
    }
}

/// The key of somebody on a roster with this role, unless it has expired at this time, in seconds
/// since 1970.
pub(super) fn member(
    roster: &Roster<'_>,
    id: KeyId,
    role: Role,
    unix: Option<u64>,
) -> Result<PublicKey, Reason> {
    let untrusted = Reason::new(ErrorCode::Untrusted);
    match roster.find(id) {
        None => Err(untrusted.because(format_args!("{id} is not on the roster"))),
        Some(entry) if entry.role != role => {
            Err(untrusted.because(format_args!("{id} is a {}, not a {role}", entry.role)))
        }
        Some(entry) if unix.is_some_and(|unix| unix >= entry.expires) => {
            Err(untrusted.because(format_args!("{id} has expired")))
        }
        Some(entry) => Ok(entry.credential.public_key()),
    }
}

/// Verifies a whole roster of the site with this key.
pub(super) fn verify_roster<'r>(bytes: &'r [u8], site: &PublicKey) -> Result<Roster<'r>, Reason> {
    let roster = UnverifiedRoster::parse(bytes).map_err(malformed)?;
    roster.verify(site).map_err(|error| match error {
        Untrusted::Malformed(error) => malformed(error),
        Untrusted::Signature => Reason::new(ErrorCode::BadSignature),
    })
}

pub(super) fn malformed(error: capmesh_wire::DecodeError) -> Reason {
    Reason::new(ErrorCode::Malformed).because(error)
}

/// Refuses a document because of the version that is held.
pub(super) fn stale(held: Revision) -> Reason {
    Reason::new(ErrorCode::StaleRevision).because(format_args!("version {held} is held"))
}

/// What the extent of a document of so many bytes is called: it is never fetched by this name.
pub(super) fn place_of(len: u32, digest: capmesh_wire::Digest) -> BlobRef {
    BlobRef { digest, size: len, chunk_log2: limits::CHUNK_LOG2_MAX, root: digest }
}
