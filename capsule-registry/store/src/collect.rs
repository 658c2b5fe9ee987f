//! Garbage collection.

use crate::backend::{Backend, Change, Fault, Table};
use crate::records::{self, Document, Info};
use crate::store::Store;
use capmesh_wire::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// What was collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs, documents among them.
    pub blobs: usize,
    /// Bytes of blobs and their pages.
    pub bytes: u64,
    /// Leases that had run out.
    pub leases: usize,
}

impl<B: Backend> Store<B> {
    /// Throws away what no tag and no lease refers to and what came more than `grace` seconds ago. The
    /// greatest sequence number of each name stays.
    ///
    /// The work is a pass over all records but the bytes of blobs.
    ///
    /// # Errors
    /// [`Fault`]; then nothing has changed.
    pub fn collect(&mut self, now: u64, grace: u64) -> Result<Collected, Fault> {
        let mut changes = Vec::new();
        let mut collected = Collected::default();
        let mut roots = BTreeSet::new();
        for (key, value) in self.backend().scan(Table::Lease, &[])? {
            match (records::read::<u64>(&value)? > now, key.first_chunk::<{ Digest::LEN }>()) {
                (true, Some(capsule)) => drop(roots.insert(*capsule)),
                _ => {
                    collected.leases += 1;
                    changes.push(Change::Delete(Table::Lease, key));
                }
            }
        }
        let mut old = BTreeMap::new();
        for (key, value) in self.backend().scan(Table::Info, &[])? {
            let info: Info = records::read(&value)?;
            if info.added.saturating_add(grace) <= now {
                old.insert(key, info);
            }
        }
        let kept = self.mark(&roots, &old)?;
        for (key, info) in old.into_iter().filter(|(key, _)| !kept.contains(key)) {
            collected.blobs += 1;
            collected.bytes += info.used();
            for table in [Table::Info, Table::Bytes, Table::Pages, Table::Capsule, Table::Document]
            {
                changes.push(Change::Delete(table, key.clone()));
            }
        }
        if !changes.is_empty() {
            self.commit(changes)?;
        }
        self.give_back(collected.bytes);
        Ok(collected)
    }

    /// What the tags, these capsules and what is not old need.
    fn mark(
        &self,
        leased: &BTreeSet<[u8; Digest::LEN]>,
        old: &BTreeMap<Vec<u8>, Info>,
    ) -> Result<BTreeSet<Vec<u8>>, Fault> {
        let mut tagged = BTreeSet::new();
        for (_, value) in self.backend().scan(Table::Tag, &[])? {
            let tag: records::Tagged = records::read(&value)?;
            if !tag.gone {
                tagged.insert(tag.document);
            }
        }
        let mut kept = BTreeSet::new();
        for (key, value) in self.backend().scan(Table::Document, &[])? {
            let document: Document = records::read(&value)?;
            let is_tagged = key.first_chunk().is_some_and(|key| tagged.contains(key));
            if is_tagged || leased.contains(&document.capsule) || !old.contains_key(&key) {
                kept.extend(document.refers.iter().map(|digest| digest.to_vec()));
                kept.insert(key);
            }
        }
        Ok(kept)
    }
}
