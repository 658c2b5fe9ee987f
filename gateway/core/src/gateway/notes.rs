//! The log, and the gateway's own lines in it.

use super::Gateway;
use crate::api::{Event, LogLine};
use capmesh_wire::Instant;
use capmesh_wire::log::Level;
use core::time::Duration;

/// Lines of the log that are kept.
const LINES: usize = 2_000;

/// The time between two lines about strangers: they are to have no way to fill the log.
const BETWEEN: Duration = Duration::from_secs(5);

/// What the gateway has said itself.
#[derive(Debug, Default)]
pub(super) struct Notes {
    number: u32,
    /// How many handshakes of strangers were told of, and when.
    strangers: (u32, Option<Instant>),
}

impl Gateway {
    /// Says something.
    pub(super) fn note(&mut self, now: Instant, level: Level, text: String) {
        self.notes.number = self.notes.number.wrapping_add(1);
        let (at, number) = (self.unix_millis(now), self.notes.number);
        self.keep_line(LogLine { at, node: None, number, instance: None, level, text });
    }

    /// Keeps a line, and shows it.
    pub(super) fn keep_line(&mut self, line: LogLine) {
        self.bridge.log(&line);
        if self.log.len() >= LINES {
            self.log.pop_front();
        }
        self.log.push_back(line.clone());
        self.event(Event::Log(line));
    }

    /// Says that there were handshakes of strangers.
    pub(super) fn advance_strangers(&mut self, now: Instant) {
        let stats = self.link.stats();
        let (count, from) = (stats.strangers, stats.stranger);
        let (told, at) = self.notes.strangers;
        let Some(from) = from.filter(|_| count != told) else { return };
        if at.is_none_or(|at| now >= at + BETWEEN) {
            self.notes.strangers = (count, Some(now));
            self.note(now, Level::Warning, format!("{from} is refused: not of this site"));
        }
    }
}
