//! How the state is found again in whatever flash holds.

use super::super::config::Config;
use super::drive::Job;
use super::format::{self, Found, Frames, Opening};
use super::index::Index;
use super::queue::Queue;
use super::{Head, Log, Plan, Sector, State};
use crate::flash::Stats;
use alloc::vec::Vec;

impl Log {
    /// Reads the log. Every byte of it is read twice at most; nothing is written.
    pub(in crate::flash) fn mount(flash: &[u8], config: Config) -> Self {
        let sector = Sector { state: State::Dirty, erases: 0, faults: 0 };
        let mut log = Self {
            config,
            sectors: alloc::vec![sector; usize::from(config.log_sectors)],
            index: Index::new(config.max_records),
            queue: Queue::new(config.queue),
            head: None,
            next_seq: 0,
            compaction: None,
            job: Job::Idle,
            window: Vec::with_capacity(config.geometry.page as usize),
            live: 0,
            plan: Plan { live: 0, records: 0 },
            given: 0,
            durable: 0,
            turns: 0,
            faults: 0,
            failed: false,
            stats: Stats::default(),
        };
        log.scan(flash);
        log.plan = Plan { live: log.live, records: super::super::narrow(log.index.len()) };
        log
    }

    /// Makes of flash what can be made of it: after a power cut, and after a fault.
    pub(super) fn scan(&mut self, flash: &[u8]) {
        self.job = Job::Idle;
        self.compaction = None;
        self.read_states(flash);
        while let Some(copies) = self.replay(flash) {
            // A compaction that was cut off has taken the last erased sector. What it was copying is
            // still there, and it begins anew: what was torn might be missing for its end. Nothing
            // else may be written behind copies, as they are dropped again by whoever finds them.
            // Below it there may be another such sector, which could not be erased. This ends, since
            // each round leaves one sector less in use.
            self.set_state(copies, State::Dirty);
        }
    }

    fn read_states(&mut self, flash: &[u8]) {
        let geometry = self.config.geometry;
        let mut most = 0;
        for (number, sector) in (0..).zip(&mut self.sectors) {
            let bytes = super::drive::sector_bytes(&self.config, flash, number);
            let label = format::read_label(&geometry, bytes);
            if let Some(erases) = label {
                sector.erases = erases;
                most = most.max(erases);
            }
            let rest = bytes.get(format::opening_at(&geometry) as usize..).unwrap_or_default();
            sector.state = match (label, format::read_opening(&geometry, bytes)) {
                _ if sector.state == State::Bad => State::Bad,
                (Some(_), Some(opening)) => State::Used(opening),
                (Some(_), None) if format::is_blank(rest) => State::Erased,
                _ => State::Dirty,
            };
        }
        // An erase that was cut off takes its count with it: assume the worst of the others.
        for sector in &mut self.sectors {
            if sector.state == State::Dirty {
                sector.erases = sector.erases.max(most);
            }
        }
    }

    /// The sectors in use with their numbers, oldest first; of two with the same number, which only
    /// foreign content can bring, the second is of no use.
    fn by_age(&mut self) -> Vec<(u16, Opening)> {
        let used = (0_u16..).zip(&self.sectors).filter_map(|(number, sector)| match sector.state {
            State::Used(opening) => Some((number, opening)),
            _ => None,
        });
        let mut order: Vec<_> = used.collect();
        order.sort_unstable_by_key(|(number, opening)| (opening.seq, *number));
        let mut last = None;
        order.retain(|(number, opening)| {
            let is_new = last.replace(opening.seq) != Some(opening.seq);
            if !is_new && let Some(twin) = self.sectors.get_mut(usize::from(*number)) {
                twin.state = State::Dirty;
            }
            is_new
        });
        order
    }

    /// Takes every frame into the index, oldest first. Names the newest sector if it has nothing but
    /// copies.
    fn replay(&mut self, flash: &[u8]) -> Option<u16> {
        self.index.clear();
        self.live = 0;
        self.head = None;
        let data_at = format::data_at(&self.config.geometry);
        let mut only_copies = None;
        for (number, Opening { seq, copies }) in self.by_age() {
            only_copies = copies.then_some(number);
            let bytes = super::drive::sector_bytes(&self.config, flash, number);
            let mut frames = Frames::new(self.config.geometry, bytes, seq, data_at);
            for found in &mut frames {
                match found {
                    Found::Data(records) => {
                        self.apply(records.from(super::drive::base(&self.config, number)));
                    }
                    Found::Floor(floor) if floor <= seq => {
                        only_copies = None;
                        self.bury(floor);
                    }
                    Found::Floor(_) | Found::Spoilt => {
                        self.stats.spoilt = self.stats.spoilt.saturating_add(1);
                    }
                }
            }
            self.head = frames.end().map(|at| Head { sector: number, seq, at });
            self.next_seq = self.next_seq.max(seq + 1);
        }
        only_copies
    }

    /// Declares sectors with numbers below `floor` dead, and what they hold. Says of how many
    /// records nothing else is left.
    pub(super) fn bury(&mut self, floor: u32) -> usize {
        for sector in &mut self.sectors {
            if matches!(sector.state, State::Used(opening) if opening.seq < floor) {
                sector.state = State::Dirty;
            }
        }
        let (sectors, size) = (&self.sectors, self.config.geometry.sector);
        let gone = self.index.retain(|entry| {
            let sector = sectors.get((entry.at / size) as usize);
            sector.is_some_and(|sector| matches!(sector.state, State::Used(_)))
        });
        if gone > 0 {
            self.live = self.index.iter().map(|entry| self.config.cost(entry.len)).sum();
        }
        gone
    }

    pub(super) fn set_state(&mut self, number: u16, state: State) {
        if let Some(sector) = self.sectors.get_mut(usize::from(number)) {
            sector.state = state;
        }
    }
}
