//! What is done next: one operation at a time.

use super::super::config::Config;
use super::format::{self, FRAME, Found, Frames, Opening, Records, Tag};
use super::{Compaction, Head, Log, State};
use crate::flash::{Fault, Op, Ticket, narrow};

/// How often a sector may refuse to be erased and made ready before it is left out.
const MAX_SECTOR_FAULTS: u8 = 3;

/// How many faults in a row end the attempt to write a frame, and with it the store.
const MAX_FAULTS: u8 = 8;

/// The longest of what goes before the parts: a sector's label.
const HEADER: usize = 12;

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    Idle,
    /// The sector is erased, then labelled.
    Erase {
        sector: u16,
        asked: bool,
    },
    Write(Write),
}

/// Bytes on their way to flash, page by page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    purpose: Purpose,
    /// Where in flash.
    at: u32,
    header: [u8; HEADER],
    header_len: u8,
    source: Source,
    /// Bytes in all, whole units.
    total: u32,
    /// Bytes that are written.
    done: u32,
    /// Bytes that are being written.
    asked: u32,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Label { sector: u16 },
    Opening { sector: u16, opening: Opening },
    Frame,
}

/// Where a payload comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Nothing,
    /// The frame that has waited for longest.
    Queue,
    /// What is live in a frame that is being compacted: its payload in flash.
    Copy {
        at: u32,
        len: u32,
    },
    /// Sectors below this number are dead.
    Floor(u32),
}

/// Where a sector begins.
pub(super) fn base(config: &Config, number: u16) -> u32 {
    u32::from(number) * config.geometry.sector
}

pub(super) fn sector_bytes<'f>(config: &Config, flash: &'f [u8], number: u16) -> &'f [u8] {
    format::slice(flash, base(config, number), config.geometry.sector)
}

impl Log {
    /// The next operation, unless one is under way. The work is bounded by a pass over a sector and
    /// one over a page, unless flash has changed by itself.
    pub(in crate::flash) fn poll<'a>(&'a mut self, flash: &[u8]) -> Option<Op<'a>> {
        self.prepare(flash);
        match self.job {
            Job::Idle => None,
            Job::Erase { asked: true, .. } => None,
            Job::Erase { sector, .. } => {
                self.job = Job::Erase { sector, asked: true };
                Some(Op::Erase { at: base(&self.config, sector) })
            }
            Job::Write(write) if write.asked > 0 => None,
            Job::Write(mut write) => {
                let at = write.at + write.done;
                let page = self.config.geometry.page;
                write.asked = (write.total - write.done).min(page - at % page);
                self.job = Job::Write(write);
                self.fill(flash, &write);
                Some(Op::Program { at, bytes: &self.window })
            }
        }
    }

    /// Chooses what to do if nothing is being done. Where it is to be written flash must be erased: a
    /// place that is not (any more) counts as a fault. This ends, as that is tried elsewhere and only
    /// so often.
    fn prepare(&mut self, flash: &[u8]) {
        loop {
            if matches!(self.job, Job::Idle) {
                self.begin(flash);
            }
            let Job::Write(write) = self.job else { return };
            let place = format::slice(flash, write.at + write.done, write.total - write.done);
            if write.asked > 0 || format::is_blank(place) {
                return;
            }
            self.fault(flash, self.job);
        }
    }

    /// Whether there is something to do.
    pub(in crate::flash) fn is_idle(&self) -> bool {
        let has_dirty = || self.sectors.iter().any(|sector| sector.state == State::Dirty);
        let rests = matches!(self.job, Job::Idle) && self.compaction.is_none();
        self.failed || rests && self.queue.is_empty() && !has_dirty()
    }

    /// Takes what became of the operation. Says whether a frame has become durable.
    pub(in crate::flash) fn flashed(
        &mut self,
        flash: &[u8],
        result: Result<(), Fault>,
    ) -> Option<Ticket> {
        let good = result.is_ok() && self.took_effect(flash);
        match self.job {
            Job::Idle => None,
            Job::Erase { sector, .. } if good => {
                self.label(sector);
                None
            }
            Job::Write(mut write) if good => {
                write.done += write.asked;
                write.asked = 0;
                self.job = Job::Write(write);
                if write.done < write.total { None } else { self.written(flash, &write) }
            }
            job => {
                self.fault(flash, job);
                None
            }
        }
    }

    /// Whether flash is now what it was to be: chips do not notice everything.
    fn took_effect(&self, flash: &[u8]) -> bool {
        match &self.job {
            Job::Idle => true,
            Job::Erase { sector, .. } => {
                format::is_blank(sector_bytes(&self.config, flash, *sector))
            }
            Job::Write(write) => {
                format::slice(flash, write.at + write.done, write.asked) == self.window
            }
        }
    }

    fn label(&mut self, number: u16) {
        let Some(sector) = self.sectors.get_mut(usize::from(number)) else { return };
        sector.erases = sector.erases.saturating_add(1);
        self.stats.erases = self.stats.erases.wrapping_add(1);
        let label = format::label(&self.config.geometry, sector.erases);
        let at = base(&self.config, number);
        self.write(Purpose::Label { sector: number }, at, &label, Source::Nothing, 0);
    }

    /// Takes the next erased sector after the head as the new head.
    fn open(&mut self) {
        let after = self.head.map_or(0, |head| usize::from(head.sector) + 1);
        let numbers = (0_u16..).zip(&self.sectors).map(|(number, sector)| (number, sector.state));
        let mut ring = numbers.clone().skip(after).chain(numbers);
        let erased = ring.find(|(_, state)| *state == State::Erased);
        let Some((sector, _)) = erased.filter(|_| self.next_seq <= format::MAX_SEQ) else {
            self.failed = true;
            return;
        };
        let opening = Opening { seq: self.next_seq, copies: self.erased() == 1 };
        // Even if this fails the number may stand there, and is not used again.
        self.next_seq += 1;
        let at = base(&self.config, sector) + format::opening_at(&self.config.geometry);
        let bytes = format::opening(opening);
        self.write(Purpose::Opening { sector, opening }, at, &bytes, Source::Nothing, 0);
    }

    fn write(&mut self, purpose: Purpose, at: u32, head: &[u8], source: Source, payload: u32) {
        let mut header = [0; HEADER];
        for (to, from) in header.iter_mut().zip(head) {
            *to = *from;
        }
        let header_len = u8::try_from(head.len()).unwrap_or_default();
        let total = self.config.geometry.align(u32::from(header_len) + payload);
        self.job =
            Job::Write(Write { purpose, at, header, header_len, source, total, done: 0, asked: 0 });
    }

    /// Chooses what to do: finish a compaction, write what waits, make room for it, tidy up.
    fn begin(&mut self, flash: &[u8]) {
        if self.failed {
            return;
        }
        if self.compaction.is_some() {
            return self.compact(flash);
        }
        let dirty = self.sectors.iter().position(|sector| sector.state == State::Dirty);
        let dirty = dirty.and_then(|number| u16::try_from(number).ok());
        if let Some(payload) = self.queue.front() {
            let len = narrow(payload.len());
            if self.fits(len, self.config.floor_frame()) {
                return self.frame(flash, Tag::Data, Source::Queue, len);
            }
            if self.erased() > 1 {
                return self.open();
            }
            if dirty.is_none() {
                self.choose_oldest();
                return self.compact(flash);
            }
        }
        if let Some(sector) = dirty {
            self.job = Job::Erase { sector, asked: false };
        }
    }

    /// Whether a payload of `len` bytes can be appended so that `reserve` bytes are left.
    fn fits(&self, len: u32, reserve: u32) -> bool {
        let whole = self.config.geometry.align(FRAME + len) + reserve;
        self.head.is_some_and(|head| head.at + whole <= self.config.geometry.sector)
    }

    fn frame(&mut self, flash: &[u8], tag: Tag, source: Source, len: u32) {
        let Some(head) = self.head else { return };
        let payload = u16::try_from(len).unwrap_or_default();
        let header = format::frame_header(head.seq, head.at, tag, payload, |sink| {
            self.each_part(flash, source, sink);
        });
        let at = base(&self.config, head.sector) + head.at;
        self.write(Purpose::Frame, at, &header, source, len);
    }

    fn choose_oldest(&mut self) {
        let used = (0_u16..).zip(&self.sectors).filter_map(|(number, sector)| match sector.state {
            State::Used(opening) => Some((number, opening.seq)),
            _ => None,
        });
        let oldest = used.min_by_key(|(_, seq)| *seq);
        let oldest =
            oldest.filter(|(number, _)| self.head.is_none_or(|head| head.sector != *number));
        self.turns += 1;
        match oldest {
            // Each sector once, and the one that was the head when it began.
            Some((sector, seq)) if self.turns <= self.config.log_sectors + 1 => {
                let at = format::data_at(&self.config.geometry);
                self.compaction = Some(Compaction { sector, seq, at });
                self.stats.compactions = self.stats.compactions.wrapping_add(1);
            }
            _ => self.failed = true,
        }
    }

    /// Copies the next frame in which something lives, or declares the sector dead.
    fn compact(&mut self, flash: &[u8]) {
        let Some(Compaction { sector, seq, at }) = self.compaction else { return };
        let bytes = sector_bytes(&self.config, flash, sector);
        let mut frames = Frames::new(self.config.geometry, bytes, seq, at);
        loop {
            let at = frames.at();
            self.compaction = Some(Compaction { sector, seq, at });
            match frames.next() {
                None => return self.declare_dead(flash, seq),
                Some(Found::Data(records)) => {
                    let records = records.from(base(&self.config, sector));
                    let len = records
                        .filter(|record| self.is_live(record))
                        .map(|record| narrow(record.bytes.len()))
                        .sum();
                    if len == 0 {
                        continue;
                    }
                    if !self.fits(len, self.config.floor_frame()) {
                        return self.open();
                    }
                    let at = base(&self.config, sector) + at + FRAME;
                    let whole = records.fold(0, |sum, record| sum + narrow(record.bytes.len()));
                    self.stats.copied_bytes = self.stats.copied_bytes.wrapping_add(len);
                    return self.frame(flash, Tag::Data, Source::Copy { at, len: whole }, len);
                }
                Some(Found::Floor(_) | Found::Spoilt) => {}
            }
        }
    }

    fn declare_dead(&mut self, flash: &[u8], seq: u32) {
        if self.fits(4, 0) {
            self.frame(flash, Tag::Floor, Source::Floor(seq + 1), 4);
        } else {
            self.open();
        }
    }

    fn is_live(&self, record: &format::Record<'_>) -> bool {
        self.index.get(record.kind, record.id).is_some_and(|entry| entry.at == record.at)
    }

    /// What a payload consists of.
    fn each_part(&self, flash: &[u8], source: Source, sink: &mut dyn FnMut(&[u8])) {
        match source {
            Source::Nothing => {}
            Source::Queue => sink(self.queue.front().unwrap_or_default()),
            Source::Floor(floor) => sink(&floor.to_le_bytes()),
            Source::Copy { at, len } => {
                let records = Records::new(format::slice(flash, at, len), at);
                records.filter(|record| self.is_live(record)).for_each(|record| sink(record.bytes));
            }
        }
    }

    /// Puts together the page that is to be programmed.
    fn fill(&mut self, flash: &[u8], write: &Write) {
        let mut window = core::mem::take(&mut self.window);
        window.clear();
        let (start, want) = (write.done as usize, write.asked as usize);
        let mut passed = 0_usize;
        let mut sink = |part: &[u8]| {
            let skip = start.saturating_sub(passed).min(part.len());
            passed += part.len();
            let part = part.get(skip..).unwrap_or_default();
            window.extend_from_slice(part.get(..want - window.len()).unwrap_or(part));
        };
        sink(write.header.get(..usize::from(write.header_len)).unwrap_or_default());
        self.each_part(flash, write.source, &mut sink);
        window.resize(want, 0xff);
        self.window = window;
    }

    fn written(&mut self, flash: &[u8], write: &Write) -> Option<Ticket> {
        self.job = Job::Idle;
        self.stats.programs = self.stats.programs.wrapping_add(1);
        self.stats.programmed_bytes = self.stats.programmed_bytes.wrapping_add(write.total);
        match write.purpose {
            Purpose::Label { sector } => self.set_state(sector, State::Erased),
            Purpose::Opening { sector, opening } => {
                let (seq, at) = (opening.seq, format::data_at(&self.config.geometry));
                self.set_state(sector, State::Used(opening));
                if let Some(sector) = self.sectors.get_mut(usize::from(sector)) {
                    sector.faults = 0;
                }
                self.head = Some(Head { sector, seq, at });
            }
            Purpose::Frame => return self.frame_written(flash, write),
        }
        None
    }

    fn frame_written(&mut self, flash: &[u8], write: &Write) -> Option<Ticket> {
        if let Some(head) = &mut self.head {
            head.at += write.total;
        }
        let place = write.at + FRAME;
        match write.source {
            Source::Nothing => {}
            Source::Floor(floor) => {
                self.compaction = None;
                let before = self.live;
                let lost = narrow(self.bury(floor));
                // What had rotted since it was written.
                self.stats.lost = self.stats.lost.saturating_add(lost);
                self.plan.live = self.plan.live.saturating_sub(before - self.live);
                self.plan.records = self.plan.records.saturating_sub(lost);
            }
            Source::Copy { len, .. } => {
                // Some of it may be padding, which is no record.
                let payload = format::slice(flash, place, write.total - FRAME);
                self.apply(Records::new(payload, place));
                if let Some(compaction) = &mut self.compaction {
                    compaction.at += self.config.geometry.align(FRAME + len);
                }
            }
            Source::Queue => {
                let len = self.queue.front().map_or(0, |payload| narrow(payload.len()));
                self.apply(Records::new(format::slice(flash, place, len), place));
                self.queue.pop();
                (self.turns, self.faults) = (0, 0);
                self.durable += 1;
                return Some(Ticket(self.durable));
            }
        }
        None
    }

    /// Something did not take effect: what flash holds now decides, as after a power cut.
    fn fault(&mut self, flash: &[u8], job: Job) {
        self.stats.faults = self.stats.faults.saturating_add(1);
        let spare = match job {
            Job::Erase { sector, .. } => Some(sector),
            Job::Write(Write { purpose: Purpose::Label { sector }, .. }) => Some(sector),
            Job::Write(Write { purpose: Purpose::Opening { sector, .. }, .. }) => Some(sector),
            Job::Write(_) | Job::Idle => None,
        };
        if let Some(sector) = spare.and_then(|number| self.sectors.get_mut(usize::from(number))) {
            sector.faults += 1;
            if sector.faults >= MAX_SECTOR_FAULTS {
                sector.state = State::Bad;
            }
        } else {
            self.faults += 1;
            self.failed |= self.faults >= MAX_FAULTS;
        }
        self.scan(flash);
    }
}
