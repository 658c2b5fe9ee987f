//! What the plans of nodes say.

use crate::io::Token;
use crate::store::{Key, Store, Table};
use capmesh_wire::{Digest, NodeId, Revision};
use std::collections::BTreeMap;

/// The plan of each node: its revision, and what it says beside that, as a digest. A node is told only what is
/// durable here, so that one whose plan still says the same when the gateway has started anew keeps it: a new
/// one would cost a signature, datagrams and a write of flash.
#[derive(Debug, Default)]
pub(super) struct Sheets(BTreeMap<NodeId, (Revision, Digest)>);

impl Sheets {
    /// Takes up what was durable.
    pub(super) fn resume(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let node = NodeId::from_bytes(key.try_into().ok()?);
        let (revision, says) = value.split_first_chunk::<4>()?;
        let revision = Revision(u32::from_be_bytes(*revision));
        self.0.insert(node, (revision, Digest::from_bytes(says.try_into().ok()?)));
        Some(())
    }

    pub(super) fn revision_of(&self, node: NodeId) -> Option<Revision> {
        self.0.get(&node).map(|(revision, _)| *revision)
    }

    /// Whether the plan of a node says this already.
    pub(super) fn says(&self, node: NodeId, says: &Digest) -> bool {
        self.0.get(&node).is_some_and(|(_, known)| known == says)
    }

    /// The plan of a node says something else from this revision on. Nobody may be told before that is
    /// durable.
    pub(super) fn put(
        &mut self,
        store: &mut Store,
        node: NodeId,
        revision: Revision,
        says: Digest,
    ) -> Token {
        self.0.insert(node, (revision, says));
        let value = [&revision.0.to_be_bytes()[..], says.as_bytes()].concat();
        store.put(key(node), value)
    }

    /// Nobody knows what the plan of a node says.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// Forgets nodes that are gone.
    pub(super) fn retain(&mut self, store: &mut Store, is_there: impl Fn(NodeId) -> bool) {
        self.0.retain(|node, _| {
            let stays = is_there(*node);
            if !stays {
                store.delete(key(*node));
            }
            stays
        });
    }
}

fn key(node: NodeId) -> Key {
    Key::new(Table::Sheets, node.as_bytes())
}
