//! The tables.

use crate::sqlite::SchemaError;
use capmesh_gateway::{Key, Table};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// What makes a database of version `n` into one of version `n + 1`. Only grows.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE state (
        tab INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (tab, key)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        retain INTEGER NOT NULL,
        qos INTEGER NOT NULL,
        expires INTEGER,
        correlation BLOB
    );
"];

/// Every value of the state.
pub(super) fn state(connection: &mut Connection) -> Result<BTreeMap<Key, Vec<u8>>, SchemaError> {
    let mut statement = connection.prepare("SELECT tab, key, value FROM state")?;
    let mut rows = statement.query([])?;
    let mut state = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let table = u8::try_from(number).ok().and_then(Table::from_number);
        let table = table.ok_or(SchemaError::Table(number))?;
        let key: Vec<u8> = row.get(1)?;
        state.insert(Key::new(table, key), row.get(2)?);
    }
    Ok(state)
}
