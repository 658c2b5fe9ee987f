//! Where records lie.

use std::fmt;

/// What a record is about. Numbers are in files: they are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Digest of a blob -> its size, when it came, how it is cut.
    Info = 0,
    /// Digest of a blob -> its bytes.
    Bytes = 1,
    /// Digest of a blob -> what lies behind its bytes where it is cut: padding and digest pages.
    Pages = 2,
    /// Digest of a manifest -> the capsule.
    Capsule = 3,
    /// Digest of a document -> which capsule it describes and what it refers to.
    Document = 4,
    /// Name, NUL, tag -> what it stands for.
    Tag = 5,
    /// Name, NUL, tag, NUL, revision (big-endian) -> what it stood for.
    History = 6,
    /// Name -> the greatest sequence number that was admitted.
    Sequence = 7,
    /// Digest of a manifest, holder -> until when.
    Lease = 8,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Info,
        Self::Bytes,
        Self::Pages,
        Self::Capsule,
        Self::Document,
        Self::Tag,
        Self::History,
        Self::Sequence,
        Self::Lease,
    ];
}

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record is this from now on.
    Put(Table, Vec<u8>, Vec<u8>),
    /// There is no such record from now on.
    Delete(Table, Vec<u8>),
}

/// The place where records lie has failed: a disk that is full or broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store has failed: {}", self.0)
    }
}

impl std::error::Error for Fault {}

/// A record: its key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Where records lie: ordered keys with values, changed in transactions.
pub trait Backend: Send {
    /// A record.
    ///
    /// # Errors
    /// [`Fault`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Fills `buf` with what is `offset` bytes after the start of a record's value. Says whether
    /// there was as much.
    ///
    /// # Errors
    /// [`Fault`].
    fn read(&self, table: Table, key: &[u8], offset: u32, buf: &mut [u8]) -> Result<bool, Fault>;

    /// Keys and values of the records whose keys begin with `prefix`, in the order of the keys. It is
    /// not asked of tables with long values.
    ///
    /// # Errors
    /// [`Fault`].
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault>;

    /// How many records a table has.
    ///
    /// # Errors
    /// [`Fault`].
    fn count(&self, table: Table) -> Result<usize, Fault>;

    /// Makes all changes durable, or none.
    ///
    /// # Errors
    /// [`Fault`]; then there is none of them.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Fault>;
}
