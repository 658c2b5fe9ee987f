//! Replies and empty messages on their way to `poll`.

use super::dedup::Stored;
use crate::message::Kind;
use core::net::SocketAddr;
use heapless::Deque;

/// Replies that can wait for `poll` at once. One call leaves at most two.
const WAITING: usize = 8;

/// What is to be sent and not to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// An empty acknowledgement or reset of the message with this id.
    Empty(Kind, u16),
    /// A whole message.
    Stored(Stored),
}

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Deque<(SocketAddr, Reply), WAITING>,
}

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { waiting: Deque::new() }
    }

    /// Returns whether there was room.
    pub(super) fn push(&mut self, to: SocketAddr, reply: Reply) -> bool {
        self.waiting.push_back((to, reply)).is_ok()
    }

    pub(super) fn pop(&mut self) -> Option<(SocketAddr, Reply)> {
        self.waiting.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
