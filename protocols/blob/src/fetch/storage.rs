//! The side of a transfer that faces flash: pieces on their way to it, and what is read back.

use crate::geometry::ENTRY;
use capmesh_wire::Digest;

/// A place for one piece.
pub struct Buffer<const CHUNK: usize> {
    pub(super) state: BufferState,
    pub(super) bytes: [u8; CHUNK],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BufferState {
    Free,
    /// Parts of a piece are being collected by the request slot that refers to this buffer.
    Filling,
    /// A verified piece that is to be written.
    Verified {
        piece: u16,
        len: u16,
    },
    /// The caller is writing it.
    Writing {
        piece: u16,
        len: u16,
    },
}

impl BufferState {
    /// The verified piece that is here.
    pub(super) fn piece(self) -> Option<u16> {
        match self {
            Self::Verified { piece, .. } | Self::Writing { piece, .. } => Some(piece),
            Self::Free | Self::Filling => None,
        }
    }
}

impl<const CHUNK: usize> Buffer<CHUNK> {
    /// A place with nothing in it.
    pub const EMPTY: Self = Self { state: BufferState::Free, bytes: [0; CHUNK] };
}

/// Where buffers are: in the machine itself as an array, or elsewhere, so that the machine can be moved
/// without them.
pub trait Buffers<const CHUNK: usize> {
    /// So many empty ones.
    fn new(count: usize) -> Self;

    /// All of them.
    fn all(&self) -> &[Buffer<CHUNK>];

    /// All of them, to be written.
    fn all_mut(&mut self) -> &mut [Buffer<CHUNK>];
}

impl<const CHUNK: usize, const BUFFERS: usize> Buffers<CHUNK> for [Buffer<CHUNK>; BUFFERS] {
    fn new(_: usize) -> Self {
        [const { Buffer::EMPTY }; BUFFERS]
    }

    fn all(&self) -> &[Buffer<CHUNK>] {
        self
    }

    fn all_mut(&mut self) -> &mut [Buffer<CHUNK>] {
        self
    }
}

/// One buffer after the other.
pub(super) struct Storage<const CHUNK: usize, B> {
    buffers: B,
}

impl<const CHUNK: usize, B: Buffers<CHUNK>> Storage<CHUNK, B> {
    pub(super) fn new(count: usize) -> Self {
        Self { buffers: B::new(count) }
    }

    pub(super) fn get(&self, index: u8) -> Option<&Buffer<CHUNK>> {
        self.buffers.all().get(usize::from(index))
    }

    pub(super) fn get_mut(&mut self, index: u8) -> Option<&mut Buffer<CHUNK>> {
        self.buffers.all_mut().get_mut(usize::from(index))
    }

    pub(super) fn find(&self, matches: impl Fn(BufferState) -> bool) -> Option<u8> {
        (0..)
            .zip(self.buffers.all())
            .find(|(_, buffer)| matches(buffer.state))
            .map(|(index, _)| index)
    }

    pub(super) fn free(&self) -> Option<u8> {
        self.find(|state| state == BufferState::Free)
    }

    pub(super) fn count_free(&self) -> usize {
        self.buffers.all().iter().filter(|buffer| buffer.state == BufferState::Free).count()
    }

    pub(super) fn set(&mut self, index: u8, state: BufferState) {
        if let Some(buffer) = self.get_mut(index) {
            buffer.state = state;
        }
    }

    /// The verified pieces that are not yet written.
    pub(super) fn pieces(&self) -> impl Iterator<Item = u16> {
        self.buffers.all().iter().filter_map(|buffer| buffer.state.piece())
    }
}

/// The one read that is under way.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) offset: u32,
    pub(super) len: u16,
    pub(super) purpose: Purpose,
    /// Whether the caller has been asked.
    pub(super) asked: bool,
}

impl Reading {
    pub(super) const fn new(offset: u32, len: u16, purpose: Purpose) -> Self {
        Self { offset, len, purpose, asked: false }
    }

    /// Whether the caller has been asked to read there.
    pub(super) fn is_asked_at(&self, offset: u32) -> bool {
        self.asked && self.offset == offset
    }

    /// Reads a page's entry.
    pub(super) const fn entry(offset: u32, purpose: Purpose) -> Self {
        Self::new(offset, ENTRY, purpose)
    }
}

#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The digest of a piece that is to be asked for.
    Request { piece: u16 },
    /// The digest of a stored piece that is to be verified.
    Expect { piece: u16 },
    /// A stored piece that is to be verified.
    Verify { piece: u16, digest: Digest },
    /// A chunk, for the digest of the whole.
    Whole,
}
