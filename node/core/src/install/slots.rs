//! The capsules that flash holds: a manifest as a record, its module as an extent of the same owner.
//!
//! A capsule is *held* once its extent is whole: one group of records says so after everything has
//! been verified and admitted. Until then it is *half fetched*, and what is there of it is worth
//! going on with.

use crate::flash::{Error, Extent, ExtentId, ExtentState, Owner, Store, Ticket, kinds};
use alloc::vec::Vec;
use capmesh_wire::{Digest, DigestPrefix, Hasher, Instant, Manifest, limits};
use core::time::Duration;

/// A capsule that flash holds, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The id of its record.
    pub(super) id: u32,
    /// The digest of its manifest.
    pub(super) digest: Digest,
    pub(super) state: SlotState,
    /// Since when nobody has worked on it.
    pub(super) since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Its module is not whole.
    Half,
    /// It is whole, verified and admitted.
    Held,
    /// It is to go.
    Leaving,
    /// It is gone once this is durable.
    Left(Ticket),
}

impl Slot {
    pub(super) const fn owner(&self) -> Owner {
        owner(self.id)
    }

    /// The manifest, which was verified before it became a record.
    pub(super) fn manifest<'f>(&self, flash: &'f [u8], store: &Store) -> Option<Manifest<'f>> {
        Manifest::from_trusted(self.envelope(flash, store)?).ok()
    }

    pub(super) fn envelope<'f>(&self, flash: &'f [u8], store: &Store) -> Option<&'f [u8]> {
        store.get(flash, kinds::CAPSULE, self.id)
    }

    /// The extent of the module, if there is one.
    pub(super) fn extent(&self, flash: &[u8], store: &Store) -> Option<(ExtentId, Extent)> {
        let mut extents = store.extents(flash);
        extents
            .find(|(_, extent)| extent.owner == self.owner() && extent.state != ExtentState::Gone)
    }
}

pub(super) const fn owner(id: u32) -> Owner {
    Owner { kind: kinds::CAPSULE, id }
}

/// At most [`limits::HELD`] of them, in the order of their digests.
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// What is in flash. The work is a digest over each manifest.
    pub(super) fn mount(now: Instant, flash: &[u8], store: &Store) -> Self {
        let mut slots = Self(Vec::new());
        for (id, envelope) in store.iter(flash, kinds::CAPSULE).take(limits::HELD) {
            let digest = Manifest::digest(envelope);
            let mut slot = Slot { id, digest, state: SlotState::Half, since: now };
            if Manifest::from_trusted(envelope).is_err() || slots.find(&digest).is_some() {
                // Nothing that this version wrote; a digest that is nobody's lets it be collected.
                slot.state = SlotState::Leaving;
            } else if let Some((_, extent)) = slot.extent(flash, store)
                && extent.state == ExtentState::Whole
            {
                slot.state = SlotState::Held;
            }
            slots.insert(slot);
        }
        slots
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.digest == *digest && slot.is_there())
    }

    pub(super) fn find_mut(&mut self, digest: &Digest) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.digest == *digest && slot.is_there())
    }

    pub(super) fn is_held(&self, digest: &Digest) -> bool {
        self.find(digest).is_some_and(|slot| slot.state == SlotState::Held)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= limits::HELD
    }

    /// A number that no record has.
    pub(super) fn free_id(&self) -> u32 {
        let taken = |id: &u32| self.0.iter().any(|slot| slot.id == *id);
        // One more than there are slots, so that one is free.
        (0..=u32::try_from(limits::HELD).unwrap_or(u32::MAX)).find(|id| !taken(id)).unwrap_or(0)
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        let at = self.0.partition_point(|other| other.digest <= slot.digest);
        self.0.insert(at, slot);
    }

    /// Takes out those that are gone, and lets the store forget those that are to go. Returns one
    /// that has gone.
    pub(super) fn sweep(&mut self, flash: &[u8], store: &mut Store) -> Option<Digest> {
        let is_gone =
            |slot: &Slot| matches!(slot.state, SlotState::Left(at) if store.is_durable(at));
        if let Some(at) = self.0.iter().position(is_gone) {
            return Some(self.0.remove(at).digest);
        }
        for slot in self.0.iter_mut().filter(|slot| slot.state == SlotState::Leaving) {
            match forget(slot, flash, store) {
                Ok(ticket) => slot.state = SlotState::Left(ticket),
                // Later, or after the next restart.
                Err(_) => break,
            }
        }
        None
    }

    /// Begins to forget the half-fetched ones that `is_wanted` does not want and that nobody has
    /// worked on for so long. Returns whether there was one.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        age: Duration,
        is_wanted: impl Fn(&Digest) -> bool,
    ) -> bool {
        let mut found = false;
        for slot in self.0.iter_mut().filter(|slot| slot.state == SlotState::Half) {
            if now.saturating_since(slot.since) >= age && !is_wanted(&slot.digest) {
                slot.state = SlotState::Leaving;
                found = true;
            }
        }
        found
    }

    /// Begins to forget the one that has been held longest of those that are not needed. Returns whether
    /// there was one.
    pub(super) fn evict(&mut self, is_needed: impl Fn(&Digest) -> bool) -> bool {
        let held = self.0.iter_mut().filter(|slot| slot.state == SlotState::Held);
        let oldest = held.filter(|slot| !is_needed(&slot.digest)).min_by_key(|slot| slot.since);
        oldest.is_some_and(|slot| {
            slot.state = SlotState::Leaving;
            true
        })
    }

    /// Whether some are on their way out, so that there will be more room.
    pub(super) fn is_making_room(&self) -> bool {
        self.0.iter().any(|slot| !slot.is_there())
    }

    /// Since when each of the half-fetched ones has been left alone.
    pub(super) fn half_since(&self) -> impl Iterator<Item = Instant> {
        let half = self.0.iter().filter(|slot| slot.state == SlotState::Half);
        half.map(|slot| slot.since)
    }

    /// The start of the digest over the sorted digests of what is held.
    pub(super) fn summary(&self) -> Option<DigestPrefix> {
        let mut held = self.0.iter().filter(|slot| slot.state == SlotState::Held).peekable();
        held.peek()?;
        let mut hasher = Hasher::new();
        for slot in held {
            hasher.update(slot.digest.as_bytes());
        }
        Some(hasher.finish().prefix())
    }
}

impl Slot {
    const fn is_there(&self) -> bool {
        matches!(self.state, SlotState::Half | SlotState::Held)
    }
}

/// Record and extent go together.
fn forget(slot: &Slot, flash: &[u8], store: &mut Store) -> Result<Ticket, Error> {
    let extent = slot.extent(flash, store);
    let mut group = store.group();
    group.delete(kinds::CAPSULE, slot.id)?;
    match extent {
        // Peers are told that it was here and will not come back.
        Some((id, extent)) if extent.state == ExtentState::Whole => {
            group.retire_extent(flash, id)?;
        }
        Some((id, _)) => group.remove_extent(flash, id)?,
        None => {}
    }
    group.submit()
}
