//! Requests in flight.

use super::io::HOLDINGS;
use capmesh_wire::{Digest, Instant};

pub(super) struct Slot<P> {
    pub(super) peer: P,
    /// What is asked for, or [`HOLDINGS`].
    pub(super) piece: u16,
    /// How much of it has arrived.
    pub(super) filled: u16,
    /// Where its parts are collected.
    pub(super) buffer: Option<u8>,
    pub(super) state: SlotState,
    /// When the whole piece must be there, however many parts it comes in.
    pub(super) limit: Instant,
    /// What the piece must hash to.
    pub(super) digest: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// The digest is to be read first.
    Lookup,
    /// The request is to be sent.
    Ready,
    /// The answer is waited for until then.
    Asked { until: Instant },
    /// The caller is to be told that the answer is not waited for.
    Cancelled,
}

impl<P> Slot<P> {
    pub(super) fn is_live(&self) -> bool {
        self.state != SlotState::Cancelled
    }
}

pub(super) struct Slots<P, const WINDOW: usize> {
    table: [Option<Slot<P>>; WINDOW],
}

impl<P: Copy + Eq, const WINDOW: usize> Slots<P, WINDOW> {
    pub(super) const fn new() -> Self {
        Self { table: [const { None }; WINDOW] }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Slot<P>)> {
        (0..).zip(&self.table).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    pub(super) fn get_mut(&mut self, index: u8) -> Option<&mut Slot<P>> {
        self.table.get_mut(usize::from(index))?.as_mut()
    }

    pub(super) fn find(&self, matches: impl Fn(&Slot<P>) -> bool) -> Option<u8> {
        self.iter().find(|(_, slot)| matches(slot)).map(|(index, _)| index)
    }

    /// How many requests are prepared or waiting for their answer.
    pub(super) fn live(&self) -> usize {
        self.iter().filter(|(_, slot)| slot.is_live()).count()
    }

    /// The pieces that are being asked for.
    pub(super) fn pieces(&self) -> impl Iterator<Item = u16> {
        self.iter().filter(|(_, s)| s.is_live() && s.piece != HOLDINGS).map(|(_, s)| s.piece)
    }

    /// How many peers are being asked for what they have.
    pub(super) fn questions(&self) -> usize {
        self.iter().filter(|(_, slot)| slot.is_live() && slot.piece == HOLDINGS).count()
    }

    /// How many pieces are being asked for and have no buffer yet.
    pub(super) fn without_buffer(&self) -> usize {
        let waits = |slot: &Slot<P>| slot.is_live() && slot.piece != HOLDINGS;
        self.iter().filter(|(_, slot)| waits(slot) && slot.buffer.is_none()).count()
    }

    /// Takes a place. Says whether there was one.
    pub(super) fn insert(&mut self, slot: Slot<P>) -> bool {
        match self.table.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(slot);
                true
            }
            None => false,
        }
    }

    pub(super) fn remove(&mut self, index: u8) -> Option<Slot<P>> {
        self.table.get_mut(usize::from(index))?.take()
    }
}
