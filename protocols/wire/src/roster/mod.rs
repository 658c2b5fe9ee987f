//! Who belongs to a site.
//!
//! ```text
//! roster = [COSE_Sign1 over head, bstr: entry, entry, ...]
//! head   = {0: format, 1: site, 2: version, 3: issued, 4: count, 5: digest of the entries}
//! entry  = [role, expires, bstr: CCS credential]
//! ```
//!
//! The entries stand in the order of their ids, each once. Who is not among them is not of the
//! site: that is how a key is revoked. A newer version replaces an older one as a whole; what
//! travels may be a [`Delta`], which carries the new head and only the entries that changed, so that
//! a revocation fits one datagram.
//!
//! Size: an entry takes [`limits::ROSTER_ENTRY`] bytes at most and 105 with a name of 5; a roster of
//! 200 nodes is 21 KB.

mod delta;

pub use delta::{Delta, Merge};

use crate::cbor::macros::{codes, record, tuple};
use crate::cbor::{Decode, DecodeError, Encode, Reader, Writer};
use crate::cose::Sign1;
use crate::credential::Credential;
use crate::digest::Digest;
use crate::format;
use crate::id::{NodeId, Revision};
use crate::limits;
use crate::text::{Bytes, Name};
use core::fmt;

codes! {
    /// What somebody on the roster may do. A role that this version does not know may do nothing.
    pub enum Role {
        /// Hosts instances; exchanges chunks with other nodes and messages as the plan routes them.
        Node = 0, "node";
        /// Decides what runs where; signs plans.
        Gateway = 1, "gateway";
        /// Serves blobs.
        Registry = 2, "registry";
        /// A person: installs, starts, stops and reads by hand.
        Operator = 3, "operator";
        /// Signs manifests; never a peer.
        Publisher = 4, "publisher";
    }
}

record! {
    /// What the site signs.
    pub struct Head<'a> check check_head {
        /// [`format::ROSTER`].
        0 => format: u8,
        /// The site's name.
        1 => site: Name<'a>,
        /// Which of two rosters is newer.
        2 => version: Revision,
        /// When it was signed, in seconds since 1970.
        3 => issued: u64,
        /// How many entries there are.
        4 => count: u16,
        /// The digest of the encoded entries.
        5 => entries: Digest,
    }
}

fn check_head(head: &Head<'_>) -> Result<(), DecodeError> {
    if head.format != format::ROSTER {
        return Err(DecodeError::Version);
    }
    if usize::from(head.count) > limits::ROSTER_ENTRIES {
        return Err(DecodeError::Bound);
    }
    Ok(())
}

tuple! {
    /// An entry as it stands in the encoding.
    struct RawEntry<'a> {
        role: Role,
        expires: u64,
        credential: Bytes<'a, { limits::CREDENTIAL }>,
    }
}

/// Somebody on the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What they may do.
    pub role: Role,
    /// Until when, in seconds since 1970. It is for those who know the time; who must not wait for
    /// it takes the entry off the roster.
    pub expires: u64,
    /// Their key, its id and their name.
    pub credential: Credential<'a>,
}

impl<'a> Entry<'a> {
    /// The id of their key.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.credential.id()
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let raw = RawEntry::read(reader);
        reader.status()?;
        let credential = Credential::parse_unbound(raw.credential.as_slice())?;
        Ok(Self { role: raw.role, expires: raw.expires, credential })
    }
}

impl Encode for Entry<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        // A credential keeps its bound.
        if let Some(credential) = Bytes::new(self.credential.as_bytes()) {
            RawEntry { role: self.role, expires: self.expires, credential }.write(writer);
        }
    }
}

/// A roster that was parsed and not verified: good for nothing but being verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnverifiedRoster<'a> {
    bytes: &'a [u8],
    sign1: Sign1<'a>,
    head: Head<'a>,
    entries: &'a [u8],
}

/// A roster that the site has signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Roster<'a> {
    bytes: &'a [u8],
    sign1: Sign1<'a>,
    head: Head<'a>,
    entries: &'a [u8],
}

impl<'a> UnverifiedRoster<'a> {
    /// Takes `bytes` apart without looking at the entries.
    ///
    /// # Errors
    /// If they are not a roster.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.literal(START);
        let (sign1, head) = parse_head(&mut reader)?;
        let entries = reader.bytes();
        reader.finish()?;
        Ok(Self { bytes, sign1, head, entries })
    }

    /// Which version it claims to be, to see whether verifying it is worth the while.
    #[must_use]
    pub const fn version(&self) -> Revision {
        self.head.version
    }

    /// Checks everything but the signature: that the entries are those which the head names, in
    /// order, with kids that are their keys'. The work is a pass over the entries with two hashes.
    ///
    /// # Errors
    /// What is wrong.
    #[cfg(feature = "es256")]
    fn check_entries(&self) -> Result<(), DecodeError> {
        if Digest::of(self.entries) != self.head.entries {
            return Err(DecodeError::Value);
        }
        let mut reader = Reader::new(self.entries);
        let mut last = None;
        for _ in 0..self.head.count {
            let entry = Entry::parse(&mut reader)?;
            if Some(entry.id()) <= last
                || NodeId::of_key(&entry.credential.public_key().x) != entry.id()
            {
                return Err(DecodeError::Value);
            }
            last = Some(entry.id());
        }
        reader.finish()
    }

    /// Verifies that the site with this key has signed the roster, and checks all of it.
    ///
    /// # Errors
    /// [`Untrusted`], with the reason.
    #[cfg(feature = "es256")]
    pub fn verify(self, site: &crate::PublicKey) -> Result<Roster<'a>, Untrusted> {
        self.check_entries().map_err(Untrusted::Malformed)?;
        self.sign1.verify(site, &[]).map_err(|_| Untrusted::Signature)?;
        Ok(Roster { bytes: self.bytes, sign1: self.sign1, head: self.head, entries: self.entries })
    }
}

/// Why a signed document is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It contradicts itself or breaks a bound.
    Malformed(DecodeError),
    /// Its signature is not valid, or is not that of the key it should be.
    Signature,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Signature => f.write_str("the signature is not valid"),
        }
    }
}

impl core::error::Error for Untrusted {}

impl<'a> Roster<'a> {
    /// Takes bytes that were verified before and have since been where nobody else writes, such as
    /// the node's own flash.
    ///
    /// # Errors
    /// If they are not a roster.
    pub fn from_trusted(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let UnverifiedRoster { bytes, sign1, head, entries } = UnverifiedRoster::parse(bytes)?;
        Ok(Self { bytes, sign1, head, entries })
    }

    /// The encoded roster, to keep and to pass on.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Site, version, time of signing and count.
    #[must_use]
    pub const fn head(&self) -> Head<'a> {
        self.head
    }

    /// Everybody, in the order of their ids.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries(Reader::new(self.entries))
    }

    /// Who has this id. The work grows with the number of entries: about 200 steps of 15 tokens each
    /// for 200 nodes, a hundredth of what the handshake costs that asks.
    #[must_use]
    pub fn find(&self, id: NodeId) -> Option<Entry<'a>> {
        self.entries().take_while(|entry| entry.id() <= id).find(|entry| entry.id() == id)
    }
}

impl fmt::Debug for Roster<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({} {:?}, {} entries)", self.head.site, self.head.version, self.head.count)
    }
}

/// Iterates over the entries of a [`Roster`].
#[derive(Clone, Debug)]
pub struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.0.is_at_end() { None } else { Entry::parse(&mut self.0).ok() }
    }
}

/// An array of two.
const START: &[u8] = b"\x82";

fn parse_head<'a>(reader: &mut Reader<'a>) -> Result<(Sign1<'a>, Head<'a>), DecodeError> {
    let sign1 = Sign1::read(reader);
    reader.status()?;
    let head = crate::cbor::decode(sign1.payload().ok_or(DecodeError::Missing)?)?;
    Ok((sign1, head))
}

/// Signs rosters and their deltas: the site's side.
#[cfg(feature = "es256")]
mod signing {
    use super::{Digest, Encode, Entry, Head, Name, NodeId, Revision, START, Writer};
    use crate::cbor::Overflow;
    use crate::cose::{SigningKey, sign};
    use crate::{format, limits};
    use core::fmt;

    /// Writes the entries of a roster, in the order of their ids.
    #[derive(Debug)]
    pub struct EntriesWriter<'b> {
        writer: Writer<'b>,
        count: u16,
        last: Option<NodeId>,
    }

    /// Why an entry was not written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RosterError {
        /// The buffer is too small.
        Overflow,
        /// An id is not greater than the one before it.
        Order,
        /// There are [`limits::ROSTER_ENTRIES`] already.
        Full,
    }

    impl fmt::Display for RosterError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Overflow => "the roster does not fit its buffer",
                Self::Order => "an entry's id is not greater than the one before it",
                Self::Full => "the roster has as many entries as it may have",
            })
        }
    }

    impl core::error::Error for RosterError {}

    impl From<Overflow> for RosterError {
        fn from(_: Overflow) -> Self {
            Self::Overflow
        }
    }

    impl<'b> EntriesWriter<'b> {
        /// Writes to the start of `buf`.
        #[must_use]
        pub fn new(buf: &'b mut [u8]) -> Self {
            Self { writer: Writer::new(buf), count: 0, last: None }
        }

        /// Appends an entry.
        ///
        /// # Errors
        /// If it does not fit, or its place is before the last one.
        pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), RosterError> {
            if usize::from(self.count) >= limits::ROSTER_ENTRIES {
                return Err(RosterError::Full);
            }
            if Some(entry.id()) <= self.last {
                return Err(RosterError::Order);
            }
            entry.write(&mut self.writer);
            self.writer.status()?;
            self.count += 1;
            self.last = Some(entry.id());
            Ok(())
        }

        /// The encoded entries.
        #[must_use]
        pub fn written(&self) -> &[u8] {
            self.writer.written()
        }

        /// The head that names these entries.
        #[must_use]
        pub fn head<'a>(&self, site: Name<'a>, version: Revision, issued: u64) -> Head<'a> {
            let entries = Digest::of(self.written());
            Head { format: format::ROSTER, site, version, issued, count: self.count, entries }
        }

        /// Writes the signed roster to the start of `buf` and returns its length.
        ///
        /// # Errors
        /// If it does not fit.
        pub fn sign(
            &self,
            head: &Head<'_>,
            key: &SigningKey,
            buf: &mut [u8],
        ) -> Result<usize, Overflow> {
            let mut writer = Writer::new(buf);
            writer.raw(START);
            sign_head(head, key, &mut writer)?;
            writer.bytes(self.written()).finish()
        }
    }

    pub(super) fn sign_head(
        head: &Head<'_>,
        key: &SigningKey,
        writer: &mut Writer<'_>,
    ) -> Result<(), Overflow> {
        let mut encoded = [0; limits::ROSTER_HEAD];
        let len = crate::cbor::encode(head, &mut encoded)?;
        sign(key, encoded.get(..len).unwrap_or_default(), writer);
        Ok(())
    }
}

#[cfg(feature = "es256")]
pub use signing::{EntriesWriter, RosterError};

#[cfg(test)]
#[cfg(feature = "es256")]
mod tests;
