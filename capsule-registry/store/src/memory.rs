//! Records in memory: for tests, and for a mesh that is gone when its process is.

use crate::backend::{Backend, Change, Fault, Record, Table};
use std::collections::BTreeMap;

/// Records in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Memory {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }
}

impl Backend for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn read(&self, table: Table, key: &[u8], offset: u32, buf: &mut [u8]) -> Result<bool, Fault> {
        let value = self.0.get(&(table, key.to_vec()));
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = value.and_then(|value| value.get(start..)?.get(..buf.len()));
        if let Some(bytes) = bytes {
            buf.copy_from_slice(bytes);
        }
        Ok(bytes.is_some())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        let from = self.0.range((table, prefix.to_vec())..);
        let found = from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn count(&self, table: Table) -> Result<usize, Fault> {
        Ok(self.0.keys().filter(|(t, _)| *t == table).count())
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Fault> {
        for change in changes {
            match change {
                Change::Put(table, key, value) => drop(self.0.insert((table, key), value)),
                Change::Delete(table, key) => drop(self.0.remove(&(table, key))),
            }
        }
        Ok(())
    }
}
