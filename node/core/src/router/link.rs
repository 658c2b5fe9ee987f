//! The sending end of wires.

use super::Config;
use alloc::vec::Vec;
use capmesh_coap::endpoint::ExchangeId;
use capmesh_wire::plan::Outbound;
use capmesh_wire::{InstanceId, Instant, NodeId, Seq};
use core::time::Duration;

/// The least wait that one may be asked for: when something is about to change.
pub(super) const SOON: Duration = Duration::from_millis(20);

/// All wires from one output to one instance. What one of them promises, all do.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) output: u8,
    /// The instance that the wires end at.
    pub(super) consumer: InstanceId,
    /// The node that hosts it.
    pub(super) node: NodeId,
    pub(super) every: bool,
    /// The first message that is still needed: not acknowledged, or (`latest`) not sent.
    pub(super) next: Seq,
    /// Whether the other side has to be told that there is nothing before `next`.
    pub(super) skip: bool,
    /// How many messages the other side had room for.
    pub(super) room: u16,
    /// Requests that are out.
    pub(super) flights: Vec<Flight>,
    /// Attempts since something went well.
    pub(super) failures: u8,
    /// When to try again.
    pub(super) retry_at: Option<Instant>,
    /// Whether that is because nobody knew where the node is.
    pub(super) lost: bool,
    /// Bytes of a batch.
    pub(super) batch_bytes: u16,
    pub(super) pace: Pace,
}

/// A request that waits for its answer: messages from `first` to below `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) exchange: ExchangeId,
    pub(super) first: Seq,
    pub(super) end: Seq,
    pub(super) sent: Instant,
}

impl Flight {
    /// Whether it says that there is nothing before `first`, and brings nothing.
    pub(super) fn is_skip(&self) -> bool {
        self.first == self.end
    }
}

impl Link {
    pub(super) fn new(config: &Config, wire: &Outbound, every: bool, next: Seq) -> Self {
        Self {
            output: wire.output,
            consumer: wire.instance,
            node: wire.node,
            every,
            next,
            skip: false,
            room: u16::MAX,
            flights: Vec::new(),
            failures: 0,
            retry_at: None,
            lost: false,
            batch_bytes: config.batch_bytes,
            pace: Pace { left: config.burst, since: Instant::ZERO },
        }
    }

    /// The next message that is not on its way, and the one before which to stop.
    pub(super) fn gap(&self, oldest: Seq) -> (Seq, Seq) {
        let mut start = self.next.max(oldest);
        // Each round passes at least one flight.
        for _ in 0..self.flights.len() {
            let over = self.flights.iter().find(|f| f.first <= start && start < f.end);
            let Some(over) = over else { break };
            start = over.end;
        }
        let later = self.flights.iter().map(|flight| flight.first).filter(|first| *first > start);
        (start, later.min().unwrap_or(Seq(u64::MAX)))
    }

    /// Waits before the next attempt: twice as long each time, unless the other side said how long (if that
    /// is short, it doubles too, up to the least that is waited otherwise); and somewhat longer, differently each time, so that those who were refused together do not come back
    /// together.
    pub(super) fn back_off(
        &mut self,
        now: Instant,
        said: Option<Duration>,
        least: Duration,
        most: Duration,
    ) {
        let doubled = |first: Duration| first.saturating_mul(1 << self.failures.min(16));
        let wait = match said {
            Some(said) if said < least => doubled(said.max(SOON)).min(least),
            Some(said) => said.min(most),
            None => doubled(least).min(most),
        };
        self.failures = self.failures.saturating_add(1);
        let mixed = now.as_micros() ^ u64::from(self.consumer.0) << 32 ^ u64::from(self.output);
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59;
        // A quarter more at the most.
        self.retry_at = Some(now + wait + wait / 128 * u32::try_from(spread).unwrap_or_default());
    }

    /// Says that all is well.
    pub(super) fn go_on(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Messages that may go at once.
    left: u8,
    /// Since when the next token grows.
    since: Instant,
}

impl Pace {
    /// Takes a token, or says when there will be one.
    pub(super) fn take(&mut self, now: Instant, burst: u8, every: Duration) -> Result<(), Instant> {
        while self.left < burst && self.since + every <= now {
            self.left += 1;
            self.since += every;
        }
        if self.left >= burst {
            self.since = now;
        }
        if self.left == 0 {
            return Err(self.since + every);
        }
        self.left -= 1;
        Ok(())
    }
}
