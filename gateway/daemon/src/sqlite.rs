//! Databases: opening them, and bringing those of older versions up to date.

use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long the reader and the writer wait for each other; WAL lets them wait for checkpoints only.
const BUSY: Duration = Duration::from_secs(10);

/// How sure a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synchronous {
    /// It survives a power cut.
    Full,
    /// It survives the end of the process; a power cut may take the last ones, but breaks nothing.
    #[cfg(feature = "broker")]
    Normal,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub enum SchemaError {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// A newer version of this program has written it.
    Newer {
        /// The version of the database.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It has a value in a table that this program does not know.
    Table(i64),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => write!(f, "{error}"),
            Self::Newer { found, known } => write!(
                f,
                "written by a newer version of this program (schema {found}, this one knows {known}); \
                 use that version or another state directory"
            ),
            Self::Table(number) => {
                write!(f, "holds table {number}, which this version does not know")
            }
        }
    }
}

impl std::error::Error for SchemaError {}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Opens the connection that writes, and brings the tables up to date.
pub(crate) fn open(
    file: &Path,
    synchronous: Synchronous,
    migrations: &[&str],
) -> Result<Connection, SchemaError> {
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        #[cfg(feature = "broker")]
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    migrate(&mut connection, migrations)?;
    Ok(connection)
}

/// Opens a connection that reads beside it.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, SchemaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Runs the migrations that a database has not had, each in a transaction with its version.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), SchemaError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(SchemaError::Newer { found, known });
    }
    for (version, migration) in (0..).zip(migrations) {
        if version >= found {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version + 1)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_database_grows_by_the_migrations_that_it_has_not_had() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
        connection.execute("INSERT INTO a VALUES (7)", []).unwrap();
        let both = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 1"];
        migrate(&mut connection, &both).unwrap();
        migrate(&mut connection, &both).unwrap();
        assert_eq!(version(&connection), 2);
        let row =
            connection.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row.unwrap(), (7, 1));
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = ["CREATE TABLE a (x); CREATE TABLE a (x);"];
        assert!(matches!(migrate(&mut connection, &broken), Err(SchemaError::Sqlite(_))));
        assert_eq!(version(&connection), 0);
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        let error = migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap_err();
        assert!(matches!(error, SchemaError::Newer { found: 2, known: 1 }), "{error}");
    }
}
