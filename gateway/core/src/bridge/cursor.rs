//! Where a stream stands, as it is kept.

use capmesh_wire::{Epoch, Seq};

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) epoch: Epoch,
    /// The number of the first message that is not here, or was not given one here.
    pub(super) next: Seq,
}

impl Cursor {
    pub(super) const START: Self = Self { epoch: Epoch(0), next: Seq(0) };

    /// Two numbers behind one another, big-endian.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (epoch, next) = (self.epoch.0.to_be_bytes(), self.next.0.to_be_bytes());
        epoch.into_iter().chain(next).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (epoch, next) = bytes.split_first_chunk()?;
        let next = next.try_into().ok()?;
        Some(Self { epoch: Epoch(u32::from_be_bytes(*epoch)), next: Seq(u64::from_be_bytes(next)) })
    }
}
