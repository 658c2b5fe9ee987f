//! What instances have published, as far as it still counts.
//!
//! A *line* is a history of an instance in which everything is exact: restarts and moves go on with it. A
//! line ends where an instance begins afresh or goes on from a checkpoint, because its node was lost: what
//! it did after that may have been seen by others, and the next line has other messages.
//!
//! Lines are in the order of the epochs that they began in, whenever that is seen: a node that has not heard
//! anything for a while may begin in an epoch long after a later one has begun elsewhere.

use super::super::Violation;
use super::saved::Cursor;
use crate::checkers::Verdict;
use capmesh_node::trace::Promise;
use capmesh_wire::message::Stream;
use capmesh_wire::{Epoch, Instant};
use std::collections::{HashMap, VecDeque};

/// Messages of a stream that are remembered. Of older ones only the numbers are checked.
const REMEMBERED: usize = 4_096;

/// Lines of an instance whose messages are remembered.
const LINES: usize = 8;

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Lines {
    streams: HashMap<Stream, History>,
}

/// Which of an instance's lines; later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    /// How many instances had its number before it.
    pub(super) life: u32,
    /// In which epoch it began.
    pub(super) epoch: Epoch,
}

/// The lines of a stream.
#[derive(Debug, Default)]
struct History {
    /// By their numbers.
    lines: VecDeque<Line>,
    /// The last one that is remembered no more.
    gone: Option<Number>,
}

/// What an instance has published on an output in one of its lines.
#[derive(Debug)]
struct Line {
    number: Number,
    promise: Promise,
    messages: VecDeque<Message>,
    /// Nothing is known of messages below.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) seq: u64,
    pub(super) print: u64,
    pub(super) at: Instant,
    /// Whether a consumer has handled it.
    seen: bool,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was published in this line.
    In(Number),
    /// Another one has that number, or none.
    Wrong,
    /// It is too old, or its producer is none that is watched.
    Nothing,
}

impl Lines {
    /// Takes in that a message was published.
    pub(super) fn publish(
        &mut self,
        at: Instant,
        stream: Stream,
        line: Number,
        promise: Promise,
        (seq, print): (u64, u64),
    ) -> Verdict {
        let Some(found) = self.streams.entry(stream).or_default().line(line, promise) else {
            return Ok(());
        };
        found.promise = promise;
        if let Some(last) = found.messages.back().filter(|last| last.seq >= seq) {
            let seen = format!("{} is published after {}", said(stream, seq), last.seq);
            return Err(Violation::new("delivery", at, seen).should("numbers rise"));
        }
        found.messages.push_back(Message { seq, print, at, seen: false });
        if found.messages.len() > REMEMBERED {
            found.messages.pop_front();
            found.forgotten = found.messages.front().map_or(seq, |first| first.seq);
        }
        Ok(())
    }

    /// An instance goes on from where `next` was the number of its next message.
    pub(super) fn roll_back(
        &mut self,
        at: Instant,
        stream: Stream,
        line: Number,
        next: u64,
    ) -> Verdict {
        let history = self.streams.get_mut(&stream);
        let mut lines = history.into_iter().flat_map(|history| &mut history.lines);
        let Some(found) = lines.find(|of| of.number == line) else { return Ok(()) };
        while let Some(void) = found.messages.pop_back_if(|last| last.seq >= next) {
            if void.seen && found.promise != Promise::Latest {
                let seen = format!("{} was handled and is no more", said(stream, void.seq));
                let should = "nothing is sent on an `every` wire before a commit covers it";
                return Err(Violation::new("delivery", at, seen)
                    .should(should)
                    .of(stream.instance.0));
            }
        }
        Ok(())
    }

    /// Takes in that a consumer handles a message that it is at `cursor` of, and says what is known of it:
    /// in that line or a later one. If it has had that number in its line, a later line goes first.
    pub(super) fn handled(
        &mut self,
        stream: Stream,
        cursor: Cursor,
        seq: u64,
        print: u64,
    ) -> Known {
        let Some(history) = self.streams.get_mut(&stream) else { return Known::Nothing };
        let mut forgotten = history.gone.is_some_and(|gone| gone >= cursor.line);
        let mut known = Known::Wrong;
        for line in history.lines.iter_mut().filter(|line| line.number >= cursor.line) {
            let place = line.messages.partition_point(|message| message.seq < seq);
            match line.messages.get_mut(place).filter(|m| m.seq == seq && m.print == print) {
                Some(message) => {
                    message.seen = true;
                    known = Known::In(line.number);
                    if line.number > cursor.line || seq >= cursor.next {
                        return known;
                    }
                }
                None => forgotten |= seq < line.forgotten,
            }
        }
        if known == Known::Wrong && forgotten { Known::Nothing } else { known }
    }

    /// The first message of a line that should have come before `seq`, and has not since `next`.
    pub(super) fn missed(
        &self,
        stream: Stream,
        line: Number,
        next: u64,
        seq: u64,
        mut is_excused: impl FnMut(u64) -> bool,
    ) -> Option<Message> {
        let history = self.streams.get(&stream)?;
        let line = history.lines.iter().find(|of| of.number == line)?;
        if line.promise != Promise::Every {
            return None;
        }
        let first = line.messages.partition_point(|message| message.seq < next);
        let missed = line.messages.range(first..).take_while(|message| message.seq < seq);
        missed.copied().find(|message| !is_excused(message.seq))
    }
}

impl History {
    /// One of the lines, with what its wires promise by now. `None` if it is too old to be remembered.
    fn line(&mut self, number: Number, promise: Promise) -> Option<&mut Line> {
        if self.gone.is_some_and(|gone| gone >= number) {
            return None;
        }
        let place = self.lines.partition_point(|line| line.number < number);
        if self.lines.get(place).is_none_or(|line| line.number != number) {
            let line = Line { number, promise, messages: VecDeque::new(), forgotten: 0 };
            self.lines.insert(place, line);
        }
        if self.lines.len() > LINES {
            self.gone = self.lines.pop_front().map(|line| line.number);
        }
        self.lines.iter_mut().find(|line| line.number == number)
    }
}

/// A message, for people.
pub(super) fn said(stream: Stream, seq: u64) -> String {
    format!("message {}/{}#{seq}", stream.instance, stream.output)
}
