//! The state of a quiescent instance.
//!
//! ```text
//! snapshot = header, then the bytes of each section in the order in which the header lists them
//! ```

use crate::cbor::macros::{codes, record, tuple};
use crate::cbor::{Decode, DecodeError, Iter, List, Reader};
use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::id::{Epoch, InstanceId, Seq};
use crate::message::Stream;
use crate::{format, limits};

record! {
    /// What a snapshot starts with.
    pub struct Header<'a> check check_header {
        /// [`format::SNAPSHOT`].
        0 => format: u8,
        /// The instance.
        1 => instance: InstanceId,
        /// The epoch in which it was taken.
        2 => epoch: Epoch,
        /// The capsule: the digest of its manifest.
        3 => capsule: Digest,
        /// The layout of the capsule's state.
        4 => layout: u16,
        /// When it was taken.
        5 => taken: Timestamp,
        /// Where its streams go on.
        6 => outputs: List<'a, OutputCursor, { limits::PORTS }>,
        /// What it has had of other streams.
        7 => inputs: List<'a, InputCursor, { limits::WIRES }>,
        /// The timers that run.
        8 => timers: List<'a, Timer, { limits::TIMERS }>,
        /// What follows.
        9 => sections: List<'a, Section, { limits::SECTIONS }>,
    }
}

fn check_header(header: &Header<'_>) -> Result<(), DecodeError> {
    if header.format == format::SNAPSHOT { Ok(()) } else { Err(DecodeError::Version) }
}

tuple! {
    /// Where a stream of the instance goes on.
    pub struct OutputCursor {
        /// The number of the output.
        output: u8,
        /// The number of its next message.
        next: Seq,
    }
}

tuple! {
    /// What the instance has had of a stream.
    pub struct InputCursor {
        /// The stream.
        stream: Stream,
        /// The highest epoch seen.
        epoch: Epoch,
        /// The number of the first message that it has not had.
        next: Seq,
    }
}

tuple! {
    /// A timer that runs.
    pub struct Timer {
        /// Its number.
        number: u16,
        /// What is left of it, in microseconds.
        remaining: u64,
    }
}

tuple! {
    /// A part of a snapshot.
    pub struct Section {
        /// What it holds.
        kind: SectionKind,
        /// Its length in bytes.
        len: u32,
    }
}

codes! {
    /// What a section holds. One that this version does not know makes the snapshot useless to it:
    /// state must not be lost in silence.
    pub enum SectionKind {
        /// Memory, globals and generator, in the runtime's own versioned form.
        Runtime = 0, "runtime";
        /// Batches that were accepted and not handled.
        Inbox = 1, "inbox";
        /// Batches that were published and not acknowledged.
        Outbox = 2, "outbox";
    }
}

/// A whole snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    header: Header<'a>,
    content: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If they are not a snapshot, have a section that this version does not know, or do not end
    /// where their last section does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(&mut reader);
        reader.status()?;
        let content = reader.rest();
        let mut len = 0_usize;
        for section in header.sections {
            if matches!(section.kind, SectionKind::Unknown(_)) {
                return Err(DecodeError::Unknown);
            }
            let section = usize::try_from(section.len).map_err(|_| DecodeError::Bound)?;
            len = len.checked_add(section).ok_or(DecodeError::Bound)?;
        }
        match content.len().checked_sub(len) {
            Some(0) => Ok(Self { header, content }),
            Some(_) => Err(DecodeError::Trailing),
            None => Err(DecodeError::Truncated),
        }
    }

    /// What it starts with.
    #[must_use]
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The sections with their bytes.
    #[must_use]
    pub fn sections(&self) -> Sections<'a> {
        Sections { list: self.header.sections.iter(), rest: self.content }
    }

    /// The bytes of the first section of this kind.
    #[must_use]
    pub fn section(&self, kind: SectionKind) -> Option<&'a [u8]> {
        self.sections().find(|(found, _)| *found == kind).map(|(_, bytes)| bytes)
    }
}

/// Iterates over the sections of a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct Sections<'a> {
    list: Iter<'a, Section>,
    rest: &'a [u8],
}

impl<'a> Iterator for Sections<'a> {
    type Item = (SectionKind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.list.next()?;
        let len = usize::try_from(section.len).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some((section.kind, bytes))
    }
}
