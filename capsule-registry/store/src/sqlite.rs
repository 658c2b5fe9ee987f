//! Records in an SQLite file.

use crate::backend::{Backend, Change, Fault, Record, Table};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// What [`Sqlite`] writes into the file's header, so that another program's file is not taken for
/// one of its own: "CMrs".
const APPLICATION: i32 = 0x434d_7273;

/// The version of the tables.
const VERSION: i32 = 1;

/// Records in an SQLite file. The write-ahead log is synced at each commit.
#[derive(Debug)]
pub struct Sqlite(Connection);

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl Sqlite {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If it cannot be opened, or is no file of this crate's.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::prepare(Connection::open(path)?)
    }

    fn prepare(connection: Connection) -> Result<Self, Fault> {
        // Modules are read a kilobyte at a time out of chains of pages: large pages make short chains.
        connection.execute_batch(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
        )?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (0, 0) => connection.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS record (
                     kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                     PRIMARY KEY (kind, key)
                 );
                 PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {VERSION};
                 COMMIT;"
            ))?,
            (APPLICATION, VERSION) => {}
            (APPLICATION, version) => {
                return Err(Fault(format!("the file has version {version}, not {VERSION}")));
            }
            _ => return Err(Fault("the file is another program's".into())),
        }
        Ok(Self(connection))
    }
}

/// The first key behind all that begin with `prefix`, if there is one.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

impl Backend for Sqlite {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut query =
            self.0.prepare_cached("SELECT value FROM record WHERE kind = ?1 AND key = ?2")?;
        Ok(query.query_row(params![table as u8, key], |row| row.get(0)).optional()?)
    }

    fn read(&self, table: Table, key: &[u8], offset: u32, buf: &mut [u8]) -> Result<bool, Fault> {
        let mut query = self.0.prepare_cached(
            "SELECT substr(value, ?3, ?4) FROM record WHERE kind = ?1 AND key = ?2",
        )?;
        let len = i64::try_from(buf.len()).unwrap_or(i64::MAX);
        let key = params![table as u8, key, i64::from(offset) + 1, len];
        let bytes: Option<Vec<u8>> = query.query_row(key, |row| row.get(0)).optional()?;
        let bytes = bytes.filter(|bytes| bytes.len() == buf.len());
        if let Some(bytes) = &bytes {
            buf.copy_from_slice(bytes);
        }
        Ok(bytes.is_some())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        let mut query = self.0.prepare_cached(
            "SELECT key, value FROM record
             WHERE kind = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) ORDER BY key",
        )?;
        let rows = query.query_map(params![table as u8, prefix, behind(prefix)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn count(&self, table: Table) -> Result<usize, Fault> {
        let mut query = self.0.prepare_cached("SELECT count(*) FROM record WHERE kind = ?1")?;
        let count: i64 = query.query_row(params![table as u8], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Fault> {
        let transaction = self.0.transaction()?;
        for change in changes {
            match change {
                Change::Put(table, key, value) => transaction
                    .prepare_cached(
                        "INSERT INTO record (kind, key, value) VALUES (?1, ?2, ?3)
                         ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                    )?
                    .execute(params![table as u8, key, value])?,
                Change::Delete(table, key) => transaction
                    .prepare_cached("DELETE FROM record WHERE kind = ?1 AND key = ?2")?
                    .execute(params![table as u8, key])?,
            };
        }
        Ok(transaction.commit()?)
    }
}
