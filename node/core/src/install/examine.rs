//! Whether a capsule may be here, before a byte of its module is.

use super::Board;
use super::slots::{Slot, SlotState, Slots};
use crate::download::CHUNK_LOG2;
use crate::flash::Store;
use crate::problem::Reason;
use crate::site::Site;
use capmesh_blob::Geometry;
use capmesh_blob::geometry::MIN_CHUNK_LOG2;
use capmesh_wire::roster::Untrusted;
use capmesh_wire::{Digest, ErrorCode, Manifest, Role, UnverifiedManifest};

/// What a manifest is examined against.
pub(super) struct Examiner<'a> {
    pub(super) flash: &'a [u8],
    pub(super) store: &'a Store,
    pub(super) site: &'a Site,
    pub(super) slots: &'a Slots,
    pub(super) board: &'a dyn Board,
}

impl Examiner<'_> {
    /// Verifies a manifest, and that what it describes fits here. The work is one signature and a
    /// look at each capsule that is held.
    pub(super) fn examine<'m>(&self, envelope: &'m [u8]) -> Result<Manifest<'m>, Reason> {
        let unverified = UnverifiedManifest::parse(envelope).map_err(malformed)?;
        let key =
            self.site.member(self.flash, self.store, unverified.publisher(), Role::Publisher)?;
        let manifest = unverified.verify(&key).map_err(|error| match error {
            Untrusted::Malformed(error) => malformed(error),
            Untrusted::Signature => Reason::new(ErrorCode::BadSignature),
        })?;
        self.check_sequence(&Manifest::digest(envelope), &manifest)?;
        self.check_module(&manifest)?;
        self.board.fits(&manifest)?;
        Ok(manifest)
    }

    /// A node does not go back behind what it holds, unless its signed plan says so.
    fn check_sequence(&self, digest: &Digest, manifest: &Manifest<'_>) -> Result<(), Reason> {
        let held = self.slots.iter().filter(|slot| slot.state == SlotState::Held);
        let newest = held
            .filter_map(|slot: &Slot| slot.manifest(self.flash, self.store))
            .filter(|held| held.name == manifest.name)
            .map(|held| held.sequence)
            .max();
        let Some(newest) = newest.filter(|newest| manifest.sequence < *newest) else {
            return Ok(());
        };
        let plan = self.site.plan(self.flash, self.store);
        let may = plan.is_some_and(|plan| {
            plan.assignments.iter().any(|row| row.capsule == *digest && row.rollback)
        });
        if may {
            return Ok(());
        }
        let words = format_args!("sequence {} is older than {newest}", manifest.sequence);
        Err(Reason::new(ErrorCode::RolledBack).because(words))
    }

    fn check_module(&self, manifest: &Manifest<'_>) -> Result<(), Reason> {
        let blob = manifest.module();
        let log2 = blob.chunk_log2;
        if blob.size == 0 {
            return Err(Reason::new(ErrorCode::InvalidModule).because("the module is empty"));
        }
        let largest = u32::from(self.store.config().write).min(1 << CHUNK_LOG2);
        if !(MIN_CHUNK_LOG2..=CHUNK_LOG2).contains(&log2) || blob.chunk_size() > largest {
            let words = format_args!("its pieces have {} bytes", blob.chunk_size());
            return Err(Reason::new(ErrorCode::TooLarge).because(words));
        }
        let geometry = Geometry::new(blob.size, log2);
        let geometry = geometry.map_err(|error| Reason::new(ErrorCode::TooLarge).because(error))?;
        let needed = geometry.stored_size();
        let config = self.store.config();
        let most = u32::from(config.extent_sectors).saturating_mul(config.geometry.sector);
        if needed > most {
            let words = format_args!("it takes {needed} of {most} bytes of flash");
            return Err(Reason::new(ErrorCode::NoFlash).because(words));
        }
        Ok(())
    }
}

fn malformed(error: capmesh_wire::DecodeError) -> Reason {
    Reason::new(ErrorCode::Malformed).because(error)
}
