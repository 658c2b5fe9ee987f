//! What changed between two rosters.

use super::{Entry, Head, Roster, parse_head};
use crate::cbor::{Decode, DecodeError, Encode, List, Overflow, Reader, Writer};
use crate::cose::Sign1;
use crate::id::{NodeId, Revision};
use crate::limits;
use core::iter::Peekable;

/// Turns the roster of one version into that of a later one:
///
/// ```text
/// delta = [COSE_Sign1 over the new head, base version, [removed id, ...], bstr: entry, entry, ...]
/// ```
///
/// It is not signed itself: the new head is, and names the digest of the entries that must come out.
/// So whoever holds both rosters can make it, and who applies it verifies what came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta<'a> {
    sign1: Sign1<'a>,
    head: Head<'a>,
    base: Revision,
    removed: List<'a, NodeId, { limits::ROSTER_REMOVALS }>,
    /// New and changed entries, in the order of their ids.
    entries: &'a [u8],
}

impl<'a> Delta<'a> {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If they are not a delta.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.literal(START);
        let (sign1, head) = parse_head(&mut reader)?;
        let base = Revision::read(&mut reader);
        let removed = List::read(&mut reader);
        let entries = reader.bytes();
        reader.finish()?;
        Ok(Self { sign1, head, base, removed, entries })
    }

    /// Writes the delta from `old` to `new` to the start of `buf` and returns its length. The work
    /// is a pass over both.
    ///
    /// # Errors
    /// If it does not fit, or if more than [`limits::ROSTER_REMOVALS`] entries were removed: then the
    /// new roster is sent as a whole.
    pub fn between(old: &Roster<'_>, new: &Roster<'_>, buf: &mut [u8]) -> Result<usize, Overflow> {
        let mut removed = [NodeId::from_bytes([0; NodeId::LEN]); limits::ROSTER_REMOVALS];
        let mut removals = 0;
        let mut in_new = RawEntries::of(new).peekable();
        for (id, _) in RawEntries::of(old) {
            while in_new.next_if(|(other, _)| *other < id).is_some() {}
            if in_new.peek().is_none_or(|(other, _)| *other != id) {
                *removed.get_mut(removals).ok_or(Overflow)? = id;
                removals += 1;
            }
        }
        let removed = removed.get(..removals).unwrap_or_default();
        let changed = || {
            let mut in_old = RawEntries::of(old).peekable();
            RawEntries::of(new).filter(move |(id, entry)| {
                while in_old.next_if(|(other, _)| other < id).is_some() {}
                in_old.peek().is_none_or(|(other, was)| other != id || was != entry)
            })
        };
        let mut writer = Writer::new(buf);
        writer.raw(START);
        new.sign1.write(&mut writer);
        old.head.version.write(&mut writer);
        List::<_, { limits::ROSTER_REMOVALS }>::new(removed)
            .map_err(|_| Overflow)?
            .write(&mut writer);
        writer.bytes_head(changed().map(|(_, entry)| entry.len()).sum());
        for (_, entry) in changed() {
            writer.raw(entry);
        }
        writer.finish()
    }

    /// The version that it starts from.
    #[must_use]
    pub const fn base(&self) -> Revision {
        self.base
    }

    /// The head of the roster that comes out.
    #[must_use]
    pub const fn head(&self) -> Head<'a> {
        self.head
    }

    /// Whether `site` has signed the roster that it leads to from `base`, if it is taken apart: nothing but
    /// the base itself is believed. The work is a pass over `base`, then a signature.
    #[cfg(feature = "es256")]
    #[must_use]
    pub fn is_genuine(&self, base: &Roster<'_>, site: &crate::PublicKey) -> bool {
        if self.base != base.head.version || self.head.site != base.head.site {
            return false;
        }
        let mut hasher = crate::Hasher::new();
        let mut count = 0_u32;
        for entry in self.merge(base) {
            hasher.update(entry);
            count = count.saturating_add(1);
        }
        hasher.finish() == self.head.entries
            && count == u32::from(self.head.count)
            && self.sign1.verify(site, &[]).is_ok()
    }

    /// The encoded entries of the roster that comes out, in order. The work is a pass over `base`.
    #[must_use]
    pub fn merge<'r>(&'r self, base: &'r Roster<'r>) -> Merge<'r> {
        Merge {
            old: RawEntries::of(base).peekable(),
            new: RawEntries(Reader::new(self.entries)).peekable(),
            removed: self.removed,
        }
    }

    /// Writes the roster that comes out to the start of `buf` and returns its length. It is to be
    /// verified like any other. The work is two passes over `base`.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn apply(&self, base: &Roster<'_>, buf: &mut [u8]) -> Result<usize, Overflow> {
        let mut writer = Writer::new(buf);
        writer.raw(super::START);
        self.sign1.write(&mut writer);
        writer.bytes_head(self.merge(base).map(<[u8]>::len).sum());
        for entry in self.merge(base) {
            writer.raw(entry);
        }
        writer.finish()
    }
}

/// An array of four.
const START: &[u8] = b"\x84";

/// Iterates over encoded entries with their ids.
#[derive(Clone, Debug)]
struct RawEntries<'a>(Reader<'a>);

impl<'a> RawEntries<'a> {
    fn of(roster: &Roster<'a>) -> Self {
        Self(Reader::new(roster.entries))
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = (NodeId, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_at_end() {
            return None;
        }
        let start = self.0.position();
        let entry = Entry::parse(&mut self.0).ok()?;
        Some((entry.id(), self.0.since(start)))
    }
}

/// Iterates over the encoded entries that a [`Delta`] leads to.
#[derive(Clone, Debug)]
pub struct Merge<'a> {
    old: Peekable<RawEntries<'a>>,
    new: Peekable<RawEntries<'a>>,
    removed: List<'a, NodeId, { limits::ROSTER_REMOVALS }>,
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let Some((id, old)) = self.old.peek().copied() else {
                return self.new.next().map(|(_, entry)| entry);
            };
            if let Some((new, entry)) = self.new.next_if(|(new, _)| *new <= id) {
                if new == id {
                    self.old.next();
                }
                return Some(entry);
            }
            self.old.next();
            if !self.removed.iter().any(|removed| removed == id) {
                return Some(old);
            }
        }
    }
}
