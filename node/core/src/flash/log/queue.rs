//! Frames that wait to be written, as they will stand in flash, in memory that is taken once.

use super::format::{Action, RECORD, Record, Records, record_header};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub(super) struct Queue {
    bytes: Vec<u8>,
    bound: usize,
    /// The length of each frame's payload.
    frames: VecDeque<u16>,
}

impl Queue {
    pub(super) fn new(bound: u16) -> Self {
        let bound = usize::from(bound);
        // No frame is shorter than one record.
        let frames = VecDeque::with_capacity(bound / RECORD as usize);
        Self { bytes: Vec::with_capacity(bound), bound, frames }
    }

    /// Bytes that the next frame may have.
    pub(super) fn room(&self) -> usize {
        self.bound.saturating_sub(self.bytes.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Where the next frame begins.
    pub(super) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a record to the frame in the making; the caller has seen to it that there is room.
    pub(super) fn push(&mut self, kind: u8, action: Action, id: u32, len: u16, parts: &[&[u8]]) {
        self.bytes.extend_from_slice(&record_header(kind, action, len, id));
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        debug_assert!(self.bytes.len() <= self.bound);
    }

    /// Makes a frame of what was appended since `mark`.
    pub(super) fn close(&mut self, mark: usize) {
        if let Ok(len) = u16::try_from(self.bytes.len().saturating_sub(mark)) {
            self.frames.push_back(len);
        }
    }

    /// Forgets what was appended since `mark`.
    pub(super) fn undo(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// The payload that is next.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(*self.frames.front()?))
    }

    pub(super) fn pop(&mut self) {
        if let Some(len) = self.frames.pop_front() {
            self.bytes.drain(..usize::from(len).min(self.bytes.len()));
        }
    }

    /// The last record about a key. The work is bounded by the bytes that wait.
    pub(super) fn last(&self, kind: u8, id: u32) -> Option<Record<'_>> {
        // Frames lie one behind the other, and what is in the making behind them.
        Records::new(&self.bytes, 0).filter(|record| record.kind == kind && record.id == id).last()
    }
}
