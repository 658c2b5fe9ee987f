//! One capsule on its own: the real runtime, a clock that is turned by hand, and nobody else.
//!
//! Measuring a capsule and trying it out are the same thing with other events, so that both use this.

use crate::codec;
use crate::meter;
use crate::module::{Packed, generous_limits};
use capmesh_description::{Description, Value};
use capmesh_runtime::{
    Admitted, Effect, Event, Instance, Limits, Progress, Refusal, Runtime, Surroundings, Trap,
};
use std::collections::BTreeMap;
use std::fmt;

/// When every rehearsal begins: 2026-01-01T00:00:00Z, in microseconds since 1970.
pub const BEGIN: u64 = 1_767_225_600_000_000;

/// How well the time is known, in microseconds.
const UNCERTAINTY: u64 = 1_000;

/// Fuel of a slice: what a node gives a handler before others have their turn.
const SLICE: u64 = 10_000;

/// Random numbers begin here, so that a rehearsal repeats.
const SEED: u64 = 1;

/// A handler that ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trapped {
    /// The handler's name.
    pub handler: &'static str,
    /// Why.
    pub trap: Trap,
    /// Microseconds since [`BEGIN`].
    pub at: u64,
    /// What it had logged.
    pub log: Vec<String>,
}

impl fmt::Display for Trapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler `{}` {}", self.handler, self.trap)?;
        for line in &self.log {
            write!(f, "\n  it had logged: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trapped {}

/// What has been seen of a capsule so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Handlers that ran.
    pub handlers: u64,
    /// Fuel of all of them.
    pub fuel: u64,
    /// Fuel of the one that took most.
    pub most_fuel: u64,
    /// Bytes that one handler left in the outbox, at most.
    pub outbox_bytes: u32,
    /// Entries that one handler left in the outbox, at most.
    pub outbox_entries: u16,
    /// Messages that it published.
    pub published: u64,
}

/// Bytes of RAM on this machine, counted by [`meter`]; all zero if nothing counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ram {
    /// The translated module.
    pub module: usize,
    /// The module and a fresh instance of it.
    pub fresh: usize,
    /// The most that was taken at any moment.
    pub peak: usize,
    /// What is taken now.
    pub now: usize,
}

/// Counts only while the runtime works, and not what is done around it.
#[derive(Debug, Default)]
struct Gauge {
    now: isize,
    peak: isize,
}

impl Gauge {
    fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = meter::live();
        meter::restart_peak();
        let result = work();
        self.peak = self.peak.max(self.now + meter::peak() - before);
        self.now += meter::live() - before;
        result
    }

    fn now(&self) -> usize {
        usize::try_from(self.now).unwrap_or(0)
    }
}

/// A capsule that runs on its own.
#[derive(Debug)]
pub struct Rehearsal {
    instance: Instance,
    admitted: Admitted,
    /// Microseconds since [`BEGIN`].
    now: u64,
    /// When each timer runs out.
    timers: BTreeMap<u32, u64>,
    seen: Seen,
    gauge: Gauge,
    ram: Ram,
}

impl Rehearsal {
    /// Admits and instantiates a packed module with the values that a pipeline would configure; what
    /// is not among them is left to the capsule's own default.
    ///
    /// # Errors
    /// If the runtime refuses it.
    pub fn new(
        runtime: &Runtime,
        packed: &Packed,
        description: &Description,
        config: &BTreeMap<String, Value>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let surroundings = surroundings(description, config);
        let mut gauge = Gauge::default();
        let admitted = gauge.during(|| runtime.admit(&packed.wasm, limits))?;
        let module = gauge.now();
        // What is allocated while a module is translated is given back before it runs.
        gauge.peak = gauge.now;
        let instance = gauge.during(|| {
            // The instance owns a copy of what surrounds it.
            runtime.instantiate(&admitted, limits, surroundings.clone(), SEED)
        })?;
        let ram = Ram { module, fresh: gauge.now(), ..Ram::default() };
        let (timers, seen) = (BTreeMap::new(), Seen::default());
        Ok(Self { instance, admitted, now: 0, timers, seen, gauge, ram })
    }

    /// As [`Rehearsal::new`], with limits that refuse nothing and a runtime of its own.
    ///
    /// # Errors
    /// If the runtime refuses the module.
    pub fn alone(
        packed: &Packed,
        description: &Description,
        config: &BTreeMap<String, Value>,
    ) -> Result<Self, Refusal> {
        Self::new(&Runtime::new(), packed, description, config, &limits(description))
    }

    /// Microseconds since [`BEGIN`].
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// What has been seen so far.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// What it has taken so far.
    #[must_use]
    pub fn ram(&self) -> Ram {
        let peak = usize::try_from(self.gauge.peak).unwrap_or(0);
        Ram { peak, now: self.gauge.now(), ..self.ram }
    }

    /// Whether the capsule has a handler of this name.
    #[must_use]
    pub fn handles(&self, handler: &str) -> bool {
        self.admitted.handles(handler)
    }

    /// Gives a sensor's next sample.
    pub fn sample(&mut self, sensor: u32, record: &[u8]) {
        let instance = &mut self.instance;
        // No handler is in progress between two events.
        let _ = self.gauge.during(|| instance.set_sample(sensor, record));
    }

    /// Has the capsule handle an event now, and gives each of its effects to `sink`. An event for
    /// which it has no handler is passed over.
    ///
    /// # Errors
    /// If the handler ends badly. The capsule can then do nothing more.
    pub fn handle(
        &mut self,
        event: &Event<'_>,
        sink: &mut dyn FnMut(u64, Effect<'_>),
    ) -> Result<(), Trapped> {
        let (instance, now) = (&mut self.instance, self.now);
        let fuel_before = instance.fuel_used();
        let begun = self.gauge.during(|| instance.begin(event, BEGIN + now, Some(UNCERTAINTY)));
        if begun != Ok(true) {
            return Ok(());
        }
        let progress = self.gauge.during(|| {
            loop {
                let progress = instance.run(SLICE);
                if progress != Progress::Suspended {
                    break progress;
                }
            }
        });
        let effects = self.instance.effects();
        if let Progress::Trapped(trap) = progress {
            let log = effects.filter_map(|effect| match effect {
                Effect::Log { text, .. } => Some(String::from_utf8_lossy(text).into_owned()),
                _ => None,
            });
            return Err(Trapped { handler: handler(event), trap, at: now, log: log.collect() });
        }
        let (mut bytes, mut entries) = (0, 0);
        for effect in effects {
            entries += 1;
            bytes += length(&effect);
            match effect {
                Effect::SetTimer { timer, micros } => {
                    self.timers.insert(timer, now.saturating_add(micros));
                }
                Effect::CancelTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Effect::Publish { .. } => self.seen.published += 1,
                _ => {}
            }
            sink(now, effect);
        }
        let fuel = self.instance.fuel_used() - fuel_before;
        self.seen.handlers += 1;
        self.seen.fuel += fuel;
        self.seen.most_fuel = self.seen.most_fuel.max(fuel);
        self.seen.outbox_bytes = self.seen.outbox_bytes.max(bytes);
        self.seen.outbox_entries = self.seen.outbox_entries.max(entries);
        Ok(())
    }

    /// Lets the time pass until `then`, in microseconds since [`BEGIN`], with every timer that runs
    /// out on the way, but no more than `most` of them. Returns how many ran out.
    ///
    /// # Errors
    /// If a handler ends badly.
    pub fn pass(
        &mut self,
        then: u64,
        most: usize,
        sink: &mut dyn FnMut(u64, Effect<'_>),
    ) -> Result<usize, Trapped> {
        let mut count = 0;
        while count < most {
            let next = self.timers.iter().min_by_key(|(_, due)| **due);
            let Some((timer, due)) = next.map(|(timer, due)| (*timer, *due)) else { break };
            if due > then {
                break;
            }
            self.timers.remove(&timer);
            self.now = self.now.max(due);
            self.handle(&Event::Timer { timer }, sink)?;
            count += 1;
        }
        self.now = self.now.max(then);
        Ok(count)
    }

    /// When the next timer runs out.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        self.timers.values().min().copied()
    }
}

/// What a described capsule may take before anything has been measured.
#[must_use]
pub fn limits(description: &Description) -> Limits {
    let needs = &description.needs;
    let generous = generous_limits();
    Limits {
        timers: u16::try_from(description.timers.len()).unwrap_or(u16::MAX),
        handler_fuel: needs.fuel_per_handler.map_or(generous.handler_fuel, u64::from),
        outbox_bytes: needs.outbox_bytes.map_or(generous.outbox_bytes, u32::from),
        outbox_entries: needs.outbox_entries.map_or(generous.outbox_entries, u16::from),
        ..generous
    }
}

fn surroundings(description: &Description, config: &BTreeMap<String, Value>) -> Surroundings {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let record = |schema: usize| {
        let len = description.schemas.get(schema).map_or(0, codec::record_len);
        (count(len), count(len))
    };
    Surroundings {
        outputs: description.outputs.iter().map(|output| record(output.schema)).collect(),
        peers: count(description.peers.len()),
        actuators: count(description.actuators.len()),
        config: description
            .config
            .iter()
            .map(|key| config.get(&key.field.name).map(codec::config_bytes))
            .collect(),
        sensors: count(description.sensors.len()),
    }
}

fn length(effect: &Effect<'_>) -> u32 {
    let bytes = match effect {
        Effect::Publish { record, .. }
        | Effect::Request { record, .. }
        | Effect::Respond { record, .. } => record,
        Effect::Log { text, .. } => text,
        Effect::SetTimer { .. } | Effect::CancelTimer { .. } | Effect::Actuate { .. } => return 0,
    };
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The name of the handler of an event.
#[must_use]
pub const fn handler(event: &Event<'_>) -> &'static str {
    match event {
        Event::Start => "start",
        Event::Message { .. } => "message",
        Event::Timer { .. } => "timer",
        Event::Digital { .. } => "event",
        Event::Request { .. } => "request",
        Event::Reply { .. } => "reply",
        Event::Run { .. } => "run",
    }
}
