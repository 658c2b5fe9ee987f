//! The log: a ring of sectors into which records are appended, newest value wins.
//!
//! The sector that is written to is the **head**. When it is full, the next erased one becomes the
//! head. When no more than one erased sector is left, the oldest is **compacted**: what is live in it
//! is appended at the head, a **floor** is written that declares it dead, and it is erased. So one
//! sector is always erased or about to be, and every sector is erased once a round: wear differs by
//! one. Deletions are not copied, as nothing older than the oldest sector can come back: the floor
//! says so even when an erase is torn.
//!
//! [`format`] has the bytes, [`mount`] how the state is found again, [`drive`] what is done next.

mod drive;
pub(super) mod format;
mod index;
mod mount;
mod queue;

use super::config::Config;
use super::{Error, Stats, Ticket};
use alloc::vec::Vec;
use drive::Job;
use format::{Action, Opening, RECORD, Records};
use index::Index;
use queue::Queue;

/// What a sector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It must be erased before it is used.
    Dirty,
    /// Erased, with its label.
    Erased,
    /// In use.
    Used(Opening),
    /// It could not be made ready, repeatedly, since the store was mounted.
    Bad,
}

#[derive(Clone, Copy, Debug)]
struct Sector {
    state: State,
    erases: u32,
    /// How often in a row it could not be made ready.
    faults: u8,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug)]
struct Head {
    sector: u16,
    seq: u32,
    /// Bytes from the start of the sector.
    at: u32,
}

/// How far the oldest sector has been compacted.
#[derive(Clone, Copy, Debug)]
struct Compaction {
    sector: u16,
    seq: u32,
    /// The next frame in it.
    at: u32,
}

/// Bytes and records, as they will be when all that waits is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    live: u32,
    records: u32,
}

pub(super) struct Log {
    config: Config,
    sectors: Vec<Sector>,
    index: Index,
    queue: Queue,
    head: Option<Head>,
    next_seq: u32,
    compaction: Option<Compaction>,
    job: Job,
    /// What is being programmed.
    window: Vec<u8>,
    /// What the live records take ([`Config::cost`]).
    live: u32,
    plan: Plan,
    /// Tickets given, and those whose frames are durable.
    given: u64,
    durable: u64,
    /// Compactions since the last frame.
    turns: u16,
    /// Faults since the last frame.
    faults: u8,
    failed: bool,
    stats: Stats,
}

impl Log {
    /// The bytes of the value, in flash.
    pub(super) fn get<'f>(&self, flash: &'f [u8], kind: u8, id: u32) -> Option<&'f [u8]> {
        let entry = self.index.get(kind, id)?;
        Some(format::slice(flash, entry.at + RECORD, u32::from(entry.len)))
    }

    pub(super) fn contains(&self, kind: u8, id: u32) -> bool {
        self.index.get(kind, id).is_some()
    }

    pub(super) fn iter<'a>(
        &'a self,
        flash: &'a [u8],
        kind: u8,
    ) -> impl DoubleEndedIterator<Item = (u32, &'a [u8])> + 'a {
        let value = |entry: &index::Entry| {
            (entry.id(), format::slice(flash, entry.at + RECORD, u32::from(entry.len)))
        };
        self.index.of_kind(kind).iter().map(value)
    }

    pub(super) fn group(&mut self) -> Group<'_> {
        let (mark, plan) = (self.queue.mark(), self.plan);
        Group { mark, plan, error: None, log: self }
    }

    pub(super) const fn durable(&self) -> Ticket {
        Ticket(self.durable)
    }

    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn records(&self) -> usize {
        self.index.len()
    }

    pub(super) fn stats(&self) -> Stats {
        let erases = || self.sectors.iter().map(|sector| sector.erases);
        Stats {
            least_erased: erases().min().unwrap_or_default(),
            most_erased: erases().max().unwrap_or_default(),
            bad: self.sectors.iter().filter(|sector| sector.state == State::Bad).count(),
            ..self.stats
        }
    }

    /// Sets room aside for one record of a new key, so that it cannot be refused for lack of it.
    pub(super) fn reserve(&mut self, len: u16) -> Result<(), Error> {
        let plan =
            Plan { live: self.plan.live + self.config.cost(len), records: self.plan.records + 1 };
        self.check_plan(plan)?;
        self.plan = plan;
        Ok(())
    }

    /// Gives back what [`Log::reserve`] set aside.
    pub(super) fn release(&mut self, len: u16) {
        self.plan.live = self.plan.live.saturating_sub(self.config.cost(len));
        self.plan.records = self.plan.records.saturating_sub(1);
    }

    fn check_plan(&self, plan: Plan) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        // What takes no more than before is always allowed, else a log mounted with smaller bounds
        // could not be emptied.
        if plan.live > self.capacity().max(self.plan.live) {
            return Err(Error::Full);
        }
        if plan.records > u32::from(self.config.max_records).max(self.plan.records) {
            return Err(Error::TooMany);
        }
        Ok(())
    }

    /// What may be live with the sectors that can be used.
    pub(super) fn capacity(&self) -> u32 {
        let bad = self.sectors.iter().filter(|sector| sector.state == State::Bad).count();
        let bad = u16::try_from(bad).unwrap_or(u16::MAX);
        let log_sectors = self.config.log_sectors.saturating_sub(bad);
        if log_sectors < 3 { 0 } else { Config { log_sectors, ..self.config }.capacity() }
    }

    /// Bytes of a key's value when all that waits is written.
    fn planned(&self, kind: u8, id: u32) -> Option<u16> {
        match self.queue.last(kind, id) {
            Some(record) => (record.action == Action::Put).then_some(record.len),
            None => self.index.get(kind, id).map(|entry| entry.len),
        }
    }

    /// Takes the records of a durable frame into the index.
    fn apply(&mut self, records: Records<'_>) {
        // Deletions go first, so that a group may exchange a key for another in a full index.
        for record in records.filter(|record| record.action == Action::Delete) {
            self.unset(record.kind, record.id);
        }
        let mut start = None;
        for record in records {
            let start = *start.get_or_insert(record.at);
            if record.action == Action::Put {
                self.set(record.kind, record.id, record.at, record.len);
            } else if self.index.get(record.kind, record.id).is_some_and(|put| put.at >= start) {
                // Put and deleted by the same group.
                self.unset(record.kind, record.id);
            }
        }
    }

    fn set(&mut self, kind: u8, id: u32, at: u32, len: u16) {
        let old = self.index.get(kind, id).map_or(0, |old| self.config.cost(old.len));
        match self.index.insert(kind, id, at, len) {
            Ok(()) => self.live = self.live.saturating_sub(old) + self.config.cost(len),
            Err(index::Full) => self.stats.lost = self.stats.lost.saturating_add(1),
        }
    }

    fn unset(&mut self, kind: u8, id: u32) {
        if let Some(old) = self.index.get(kind, id) {
            self.live = self.live.saturating_sub(self.config.cost(old.len));
            self.index.remove(kind, id);
        }
    }

    fn erased(&self) -> usize {
        self.sectors.iter().filter(|sector| sector.state == State::Erased).count()
    }
}

/// Records that become durable together.
pub(super) struct Group<'a> {
    log: &'a mut Log,
    /// Where the queue ended before.
    mark: usize,
    /// What was planned before.
    plan: Plan,
    error: Option<Error>,
}

impl Group<'_> {
    pub(super) const fn log(&self) -> &Log {
        self.log
    }

    pub(super) fn put(&mut self, kind: u8, id: u32, parts: &[&[u8]]) -> Result<(), Error> {
        let len = parts.iter().map(|part| part.len()).sum();
        let result = self.push(kind, id, Action::Put, len, parts);
        self.keep(result)
    }

    pub(super) fn delete(&mut self, kind: u8, id: u32) -> Result<(), Error> {
        if self.log.planned(kind, id).is_none() {
            return Ok(());
        }
        let result = self.push(kind, id, Action::Delete, 0, &[]);
        self.keep(result)
    }

    /// Ends the group; without it nothing happens.
    pub(super) fn submit(mut self) -> Result<Ticket, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let (planned, before) = (self.log.plan, self.plan);
        self.log.plan = before;
        self.log.check_plan(planned)?;
        // From here on there is nothing to undo.
        self.plan = planned;
        self.log.plan = planned;
        if self.log.queue.mark() == self.mark {
            return Ok(Ticket(self.log.given));
        }
        self.log.queue.close(self.mark);
        self.mark = self.log.queue.mark();
        self.log.given += 1;
        Ok(Ticket(self.log.given))
    }

    fn push(
        &mut self,
        kind: u8,
        id: u32,
        action: Action,
        len: usize,
        parts: &[&[u8]],
    ) -> Result<(), Error> {
        let taken = self.log.queue.mark() - self.mark;
        let longest = usize::from(self.log.config.max_group);
        let whole = len.saturating_add(RECORD as usize);
        let len = u16::try_from(len).map_err(|_| Error::TooLarge)?;
        if taken.saturating_add(whole) > longest {
            return Err(Error::TooLarge);
        }
        if self.log.failed {
            return Err(Error::Failed);
        }
        if whole > self.log.queue.room() {
            return Err(Error::Busy);
        }
        let config = &self.log.config;
        if let Some(old) = self.log.planned(kind, id) {
            self.log.plan.live = self.log.plan.live.saturating_sub(config.cost(old));
            self.log.plan.records = self.log.plan.records.saturating_sub(1);
        }
        if action == Action::Put {
            self.log.plan.live = self.log.plan.live.saturating_add(config.cost(len));
            self.log.plan.records += 1;
            self.log.stats.value_bytes = self.log.stats.value_bytes.wrapping_add(u32::from(len));
        }
        self.log.queue.push(kind, action, id, len, parts);
        Ok(())
    }

    /// An error ends the group, also for callers that overlook it.
    fn keep(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
        result
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.log.queue.undo(self.mark);
        self.log.plan = self.plan;
    }
}
