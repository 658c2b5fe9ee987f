//! The log of a node and its capsules: a bounded number of lines, for people.

use crate::config;
use crate::instances::fuel::Allowance;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::log::{Level, LogLine};
use capmesh_wire::{InstanceId, Instant, Text, limits};
use core::fmt::{self, Write};

/// The last lines, numbered from the node's start.
#[derive(Debug)]
pub(crate) struct Log {
    config: config::Log,
    lines: VecDeque<Line>,
    next: u32,
}

#[derive(Debug)]
struct Line {
    at: Timestamp,
    instance: Option<InstanceId>,
    level: Level,
    text: Box<str>,
}

impl Log {
    /// An empty one. It never has more than [`config::Log::lines`] lines, of
    /// [`limits::LOG_LINE`] bytes each.
    pub(crate) const fn new(config: config::Log) -> Self {
        Self { config, lines: VecDeque::new(), next: 0 }
    }

    /// What one instance may write.
    pub(crate) fn allowance(&self, now: Instant) -> Allowance {
        let (rate, burst) = (self.config.rate, self.config.burst);
        Allowance::with_burst(now, u32::from(rate), u32::from(burst))
    }

    /// Appends a line of a capsule's. What is not UTF-8 in it is replaced; what is too long is cut.
    pub(crate) fn capsule(&mut self, at: Timestamp, instance: InstanceId, level: u32, text: &[u8]) {
        let level = Level::from_code(u8::try_from(level).unwrap_or(u8::MAX));
        let mut line = Cut::default();
        for chunk in text.get(..limits::LOG_LINE).unwrap_or(text).utf8_chunks() {
            let _ = line.write_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                let _ = line.write_char(char::REPLACEMENT_CHARACTER);
            }
        }
        self.push(at, Some(instance), level, line.as_str());
    }

    /// Appends a line of the node's own.
    pub(crate) fn node(
        &mut self,
        at: Timestamp,
        instance: Option<InstanceId>,
        level: Level,
        text: fmt::Arguments<'_>,
    ) {
        let mut line = Cut::default();
        let _ = line.write_fmt(text);
        self.push(at, instance, level, line.as_str());
    }

    /// The lines from number `from` on, the oldest first.
    pub(crate) fn since(&self, from: u32) -> impl Iterator<Item = LogLine<'_>> {
        let first = self.next.wrapping_sub(u32::try_from(self.lines.len()).unwrap_or_default());
        (first..).zip(&self.lines).filter(move |(number, _)| *number >= from).map(
            |(number, line)| LogLine {
                number,
                at: line.at,
                instance: line.instance,
                level: line.level,
                text: Text::cut(&line.text),
            },
        )
    }

    fn push(&mut self, at: Timestamp, instance: Option<InstanceId>, level: Level, text: &str) {
        if self.config.lines == 0 {
            return;
        }
        while self.lines.len() >= usize::from(self.config.lines) {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at, instance, level, text: text.into() });
        self.next = self.next.wrapping_add(1);
    }
}

/// Text of at most [`limits::LOG_LINE`] bytes; the rest is dropped.
#[derive(Default)]
struct Cut(heapless::String<{ limits::LOG_LINE }, u8>);

impl Cut {
    fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.push(character).is_err() {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const AT: Timestamp = Timestamp { micros: 7, uncertainty: None };

    fn log(lines: u8) -> Log {
        Log::new(config::Log { lines, rate: 1, burst: 2 })
    }

    #[test]
    fn the_oldest_lines_make_room_and_the_gap_shows() {
        let mut log = log(3);
        for n in 0..5 {
            log.node(AT, None, Level::Info, format_args!("line {n}"));
        }
        let lines: Vec<_> = log.since(0).map(|l| (l.number, l.text.as_str().to_owned())).collect();
        assert_eq!(lines, [2, 3, 4].map(|n| (n, std::format!("line {n}"))));
        assert_eq!(log.since(4).count(), 1);
        assert_eq!(log.since(5).count(), 0);
    }

    use std::borrow::ToOwned;

    #[test]
    fn what_a_capsule_writes_is_cut_and_made_text() {
        let mut log = log(2);
        log.capsule(AT, InstanceId(3), 9, b"a\xffb");
        log.capsule(AT, InstanceId(3), 0, &[b'x'; 1_000]);
        let lines: Vec<_> = log.since(0).collect();
        assert_eq!(lines[0].text.as_str(), "a\u{fffd}b");
        assert_eq!(lines[1].text.as_str().len(), limits::LOG_LINE);
        assert_eq!((lines[0].instance, lines[1].level), (Some(InstanceId(3)), Level::Error));
    }

    #[test]
    fn a_log_without_lines_keeps_none() {
        let mut log = log(0);
        log.node(AT, None, Level::Info, format_args!("nothing"));
        assert_eq!(log.since(0).count(), 0);
    }
}
