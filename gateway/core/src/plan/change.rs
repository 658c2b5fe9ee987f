//! What differs between two states of the plan.

use crate::rows::Rows;
use capmesh_wire::{Digest, InstanceId, NodeId};
use std::collections::BTreeMap;

/// What becomes of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It starts.
    Start {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// It ends.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// It goes elsewhere.
    Move {
        /// Which.
        instance: InstanceId,
        /// Where it was.
        from: NodeId,
        /// Where it is to be.
        to: NodeId,
    },
    /// Another capsule takes its place, or it gets other settings.
    Update {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// The capsule that it was.
        from: Digest,
        /// The capsule that it is to be; the same if only settings change.
        to: Digest,
    },
    /// Its wires, peers or terms change.
    Rewire {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
}

/// What becomes of the instances of `old` on the way to `new`, by number: one change for each that has
/// one. Where the others are does not count, so a move leaves those that are wired to it alone.
#[must_use]
pub fn changes(old: &Rows, new: &Rows) -> Vec<Change> {
    let mut all: BTreeMap<InstanceId, Change> = BTreeMap::new();
    for row in old.iter().filter(|row| new.get(row.instance).is_none()) {
        let (instance, node) = (row.instance, row.node);
        all.insert(instance, Change::Stop { instance, node });
    }
    for row in new.iter() {
        let (instance, node) = (row.instance, row.node);
        let change = match old.get(instance) {
            None => Change::Start { instance, node },
            Some(before) if before.node != node => {
                Change::Move { instance, from: before.node, to: node }
            }
            Some(before) if before.capsule != row.capsule || before.config != row.config => {
                Change::Update { instance, node, from: before.capsule, to: row.capsule }
            }
            Some(before) if !before.is_like(row) => Change::Rewire { instance, node },
            Some(_) => continue,
        };
        all.insert(instance, change);
    }
    all.into_values().collect()
}
