//! What flash keeps of an instance beside its state: that the node has it, and what it is to do.
//!
//! ```text
//! version   1 byte, 1
//! phase     1 byte
//! flags     1 byte: 1 if it is a row of the node's plan
//! epoch     4 bytes, little-endian
//! moved to  8 bytes: the node, or zeros
//! row       the CBOR of its assignment, or nothing if the plan has it
//! ```

use capmesh_wire::plan::Assignment;
use capmesh_wire::{Epoch, NodeId, cbor};

const VERSION: u8 = 1;
const FROM_PLAN: u8 = 1;

/// Bytes before the assignment.
pub(crate) const HEAD: usize = 15;

/// What an instance is to do, as far as it has been decided durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Run.
    Run,
    /// Nothing: it was stopped. Its epoch is remembered.
    Stopped,
    /// Its place is reserved; its state will come from another node.
    Prepared,
    /// Its state was offered to another node; it waits for release or to go on.
    Quiesced,
    /// It has another node's state and waits for its start.
    Restored,
    /// Nothing: it runs elsewhere. Its epoch is remembered.
    Released,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Run, Self::Stopped, Self::Prepared, Self::Quiesced, Self::Restored, Self::Released];

    /// Whether the instance has nothing here any more but its epoch.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Released)
    }
}

/// A row as flash keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) phase: Phase,
    /// Whether the instance is there because of the plan: then it goes when the plan has it no more.
    pub(crate) from_plan: bool,
    pub(crate) epoch: Epoch,
    pub(crate) moved_to: Option<NodeId>,
    /// Its assignment's encoding, if it came with a command.
    pub(crate) assignment: &'a [u8],
}

impl<'a> Row<'a> {
    /// Takes `bytes` apart; `None` if this version has not written them.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, assignment) = bytes.split_first_chunk::<HEAD>()?;
        let [VERSION, phase, flags, e0, e1, e2, e3, to @ ..] = *head else { return None };
        let phase = *Phase::ALL.get(usize::from(phase))?;
        let moved_to = (to != [0; 8]).then_some(NodeId::from_bytes(to));
        let epoch = Epoch(u32::from_le_bytes([e0, e1, e2, e3]));
        Some(Self { phase, from_plan: flags & FROM_PLAN != 0, epoch, moved_to, assignment })
    }

    /// What goes before the assignment.
    pub(crate) fn head(&self) -> [u8; HEAD] {
        let phase = Phase::ALL.iter().position(|phase| *phase == self.phase);
        let phase = u8::try_from(phase.unwrap_or_default()).unwrap_or_default();
        let [e0, e1, e2, e3] = self.epoch.0.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = self.moved_to.map_or([0; 8], |node| *node.as_bytes());
        let flags = if self.from_plan { FROM_PLAN } else { 0 };
        [VERSION, phase, flags, e0, e1, e2, e3, a, b, c, d, e, f, g, h]
    }

    /// The assignment that came with a command.
    pub(crate) fn assignment(&self) -> Option<Assignment<'a>> {
        if self.assignment.is_empty() { None } else { cbor::decode(self.assignment).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for phase in Phase::ALL {
            for moved_to in [None, Some(NodeId::from_bytes([7; 8]))] {
                let row = Row {
                    phase,
                    from_plan: moved_to.is_some(),
                    epoch: Epoch(0x0102_0304),
                    moved_to,
                    assignment: b"rest",
                };
                let mut bytes = row.head().to_vec();
                bytes.extend_from_slice(row.assignment);
                assert_eq!(Row::parse(&bytes), Some(row));
            }
        }
    }

    proptest! {
        #[test]
        fn other_bytes_are_no_row_or_one_of_ours(bytes: [u8; 17]) {
            if let Some(row) = Row::parse(&bytes) {
                prop_assert_eq!(&row.head()[..2], &bytes[..2]);
                prop_assert_eq!(&row.head()[3..], &bytes[3..HEAD]);
            }
        }
    }
}
