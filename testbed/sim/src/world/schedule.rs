//! What happens next.

use crate::Host;
use crate::net::Datagram;
use capmesh_wire::Instant;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Something that happens at its time, whatever hosts do.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram arrives.
    Arrival(Datagram),
    /// Flash is done with the operation of this number.
    Flashed(Host, u64),
    /// The gateway's database is done with the commit of this number.
    Committed(u64),
    /// A host that was killed for a while starts again, if this is still the time for it.
    Starts(Host),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    seq: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Events by `(at, seq)`, hosts by when they want to be polled, and hosts that are to be polled now. Each
/// operation takes O(log n).
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    events: BinaryHeap<Reverse<Entry>>,
    seq: u64,
    timeouts: BTreeSet<(Instant, Host)>,
    of: BTreeMap<Host, Instant>,
    touched: BTreeSet<Host>,
}

impl Schedule {
    pub(crate) fn add(&mut self, at: Instant, happening: Happening) {
        self.seq += 1;
        self.events.push(Reverse(Entry { at, seq: self.seq, happening }));
    }

    /// When something is to be done next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let event = self.events.peek().map(|entry| entry.0.at);
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        event.into_iter().chain(timeout).min()
    }

    /// The next event that is due, in order.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Happening> {
        if self.events.peek()?.0.at > now {
            return None;
        }
        self.events.pop().map(|entry| entry.0.happening)
    }

    /// Has hosts polled whose time has come.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some((at, host)) = self.timeouts.first().copied()
            && at <= now
        {
            self.timeouts.pop_first();
            self.of.remove(&host);
            self.touched.insert(host);
        }
    }

    /// Has a host polled.
    pub(crate) fn touch(&mut self, host: Host) {
        self.touched.insert(host);
    }

    /// A host that is to be polled now.
    pub(crate) fn touched(&mut self) -> Option<Host> {
        self.touched.pop_first()
    }

    /// When a host is to be polled if nothing happens before.
    pub(crate) fn set_timeout(&mut self, host: Host, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.of.insert(host, at),
            None => self.of.remove(&host),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.timeouts.remove(&(old, host));
        }
        if let Some(at) = at {
            self.timeouts.insert((at, host));
        }
    }
}
