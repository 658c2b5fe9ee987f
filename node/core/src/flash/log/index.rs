//! Where the newest value of each key is.

use alloc::vec::Vec;

/// A record's place: 12 bytes of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    id: u32,
    /// Where the record is in flash.
    pub(super) at: u32,
    /// Bytes of its value.
    pub(super) len: u16,
    kind: u8,
}

impl Entry {
    const fn key(&self) -> (u8, u32) {
        (self.kind, self.id)
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }
}

/// There is no room for one more key.
pub(super) struct Full;

/// Entries in the order of their keys, in memory that is taken once.
pub(super) struct Index {
    entries: Vec<Entry>,
    bound: usize,
}

impl Index {
    pub(super) fn new(bound: u16) -> Self {
        let bound = usize::from(bound);
        Self { entries: Vec::with_capacity(bound), bound }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, kind: u8, id: u32) -> Option<&Entry> {
        let at = self.find(kind, id).ok()?;
        self.entries.get(at)
    }

    /// Puts `kind`, `id` at `at`. The work is bounded by the number of entries.
    pub(super) fn insert(&mut self, kind: u8, id: u32, at: u32, len: u16) -> Result<(), Full> {
        let entry = Entry { id, at, len, kind };
        match self.find(kind, id) {
            Ok(found) => {
                if let Some(place) = self.entries.get_mut(found) {
                    *place = entry;
                }
            }
            Err(_) if self.entries.len() >= self.bound => return Err(Full),
            Err(place) => self.entries.insert(place, entry),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, kind: u8, id: u32) {
        if let Ok(found) = self.find(kind, id) {
            self.entries.remove(found);
        }
    }

    /// Keeps those for which `keep` says so, and says how many went.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(keep);
        before - self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those of one kind in the order of their ids.
    pub(super) fn of_kind(&self, kind: u8) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.kind < kind);
        let rest = self.entries.get(start..).unwrap_or_default();
        let len = rest.partition_point(|entry| entry.kind == kind);
        rest.get(..len).unwrap_or_default()
    }

    fn find(&self, kind: u8, id: u32) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&(kind, id), Entry::key)
    }
}
