//! Capsules that are state machines in Rust: what they say goes through the same gates as what modules
//! say, and they cost next to nothing.
//!
//! A script's "module" is a line of text, with spaces behind it if it is to be longer:
//! ```text
//! script source 20000 150
//! script adder
//! script trap 7
//! ```

use capmesh_node::host::{
    Busy, Effect, Event, Limits, Progress, RestoreError, SnapshotError, Trap,
};
use std::fmt;

/// What a script begins with.
const MAGIC: &[u8] = b"script ";

/// What a capsule does. Messages are numbers of 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// Publishes the numbers from 1 to `count`, one every `micros`.
    Source {
        /// How far apart they are.
        micros: u64,
        /// How many there are.
        count: u64,
    },
    /// Publishes the sum of what it has had.
    Adder,
    /// Sets its first actuators, if it has any, to the number of its messages and to what they and their
    /// order give ([`hash`](capmesh_node::test_util::capsules::hash)).
    Sink,
    /// An adder that traps at messages that are multiples of this.
    Trap(u64),
    /// An adder that never ends at such messages.
    Loop(u64),
    /// An adder that takes all the memory it can get at such messages, and more.
    Hog(u64),
}

impl Script {
    /// Whether a module is a script.
    #[must_use]
    pub fn is_one(module: &[u8]) -> bool {
        module.starts_with(MAGIC)
    }

    /// Reads a script.
    #[must_use]
    pub fn parse(module: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(module.strip_prefix(MAGIC)?).ok()?;
        let words: Vec<_> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().ok();
        let nth = |word: &str| number(word).filter(|nth| *nth > 0);
        Some(match *words.as_slice() {
            ["source", micros, count] => {
                Self::Source { micros: number(micros)?, count: number(count)? }
            }
            ["adder"] => Self::Adder,
            ["sink"] => Self::Sink,
            ["trap", of] => Self::Trap(nth(of)?),
            ["loop", of] => Self::Loop(nth(of)?),
            ["hog", of] => Self::Hog(nth(of)?),
            _ => return None,
        })
    }
}

/// The script as a module.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { micros, count } => write!(f, "script source {micros} {count}"),
            Self::Adder => f.write_str("script adder"),
            Self::Sink => f.write_str("script sink"),
            Self::Trap(nth) => write!(f, "script trap {nth}"),
            Self::Loop(nth) => write!(f, "script loop {nth}"),
            Self::Hog(nth) => write!(f, "script hog {nth}"),
        }
    }
}

/// Fuel that a handler takes: as much as the same in WebAssembly, about.
const COST: u64 = 60;

/// What a snapshot begins with.
const VERSION: u8 = 0x73;

/// The modulus of a sink's hash.
const PRIME: u64 = 1_000_000_007;

/// A script that runs.
#[derive(Debug)]
pub struct Scripted {
    script: Script,
    actuators: u32,
    entries: usize,
    handler_fuel: u64,
    /// Numbers published or messages had, and their sum or hash.
    state: State,
    doing: Doing,
    effects: Vec<Asked>,
    fuel_used: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    count: u64,
    sum: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    /// A handler needs so much more fuel, and has had so much; then this comes of it.
    Handling {
        left: u64,
        had: u64,
        then: Then,
    },
    Dead(Trap),
}

/// How a handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Start,
    Timer,
    Message(u64),
    Trap(Trap),
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Publish([u8; 8]),
    Timer(u64),
    Actuate(u32, f64),
}

impl Scripted {
    pub(super) fn new(script: Script, limits: &Limits, actuators: u32) -> Self {
        Self {
            script,
            actuators,
            entries: limits.outbox_entries.into(),
            handler_fuel: limits.handler_fuel,
            state: State::default(),
            doing: Doing::Nothing,
            effects: Vec::new(),
            fuel_used: 0,
        }
    }

    pub(super) fn begin(&mut self, event: &Event<'_>) -> Result<bool, Busy> {
        if self.doing != Doing::Nothing {
            return Err(Busy);
        }
        self.effects.clear();
        let then = match (event, self.script) {
            (Event::Start, Script::Source { .. }) => Then::Start,
            (Event::Timer { .. }, Script::Source { .. }) => Then::Timer,
            (Event::Message { .. }, Script::Source { .. }) => return Ok(false),
            (Event::Message { record, .. }, script) => {
                let number = record.first_chunk().copied().map_or(0, u64::from_le_bytes);
                let comes = |nth: u64| number.is_multiple_of(nth);
                match script {
                    Script::Trap(nth) if comes(nth) => Then::Trap(Trap::Unreachable),
                    Script::Loop(nth) if comes(nth) => Then::Trap(Trap::FuelBudget),
                    Script::Hog(nth) if comes(nth) => Then::Trap(Trap::MemoryLimit),
                    _ => Then::Message(number),
                }
            }
            _ => return Ok(false),
        };
        let left = if then == Then::Trap(Trap::FuelBudget) { u64::MAX } else { COST };
        self.doing = Doing::Handling { left, had: 0, then };
        Ok(true)
    }

    pub(super) fn run(&mut self, fuel: u64) -> Progress {
        let (left, had, then) = match self.doing {
            Doing::Nothing => return Progress::Idle,
            Doing::Dead(trap) => return Progress::Trapped(trap),
            Doing::Handling { left, had, then } => (left, had, then),
        };
        let taken = left.min(fuel).min(self.handler_fuel.saturating_sub(had));
        let (left, had) = (left - taken, had + taken);
        self.fuel_used += taken;
        if left > 0 && had >= self.handler_fuel {
            return self.die(Trap::FuelBudget);
        }
        if left > 0 {
            self.doing = Doing::Handling { left, had, then };
            return Progress::Suspended;
        }
        self.doing = Doing::Nothing;
        match then {
            Then::Trap(trap) => return self.die(trap),
            Then::Start => self.set_timer(),
            Then::Timer => self.tick(),
            Then::Message(number) => self.take(number),
        }
        Progress::Idle
    }

    fn die(&mut self, trap: Trap) -> Progress {
        self.effects.clear();
        self.doing = Doing::Dead(trap);
        Progress::Trapped(trap)
    }

    /// Asks for something, if there is room.
    fn ask(&mut self, what: Asked) {
        if self.effects.len() < self.entries {
            self.effects.push(what);
        }
    }

    fn set_timer(&mut self) {
        if let Script::Source { micros, .. } = self.script {
            self.ask(Asked::Timer(micros));
        }
    }

    fn tick(&mut self) {
        if let Script::Source { count, .. } = self.script
            && self.state.count < count
        {
            self.state.count += 1;
            self.ask(Asked::Publish(self.state.count.to_le_bytes()));
            self.set_timer();
        }
    }

    fn take(&mut self, number: u64) {
        self.state.count += 1;
        if self.script == Script::Sink {
            self.state.sum = (self.state.sum.wrapping_mul(31).wrapping_add(number)) % PRIME;
            for (actuator, value) in [(0, self.state.count), (1, self.state.sum)] {
                if actuator < self.actuators {
                    self.ask(Asked::Actuate(actuator, value as f64));
                }
            }
        } else {
            self.state.sum = self.state.sum.wrapping_add(number);
            self.ask(Asked::Publish(self.state.sum.to_le_bytes()));
        }
    }

    pub(super) fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        self.effects.iter().map(|asked| match asked {
            Asked::Publish(record) => Effect::Publish { output: 0, record },
            Asked::Timer(micros) => Effect::SetTimer { timer: 0, micros: *micros },
            Asked::Actuate(actuator, value) => {
                Effect::Actuate { actuator: *actuator, value: *value }
            }
        })
    }

    /// Scripts read no sensors.
    pub(super) const fn set_sample(&self) -> Result<(), Busy> {
        if matches!(self.doing, Doing::Handling { .. }) { Err(Busy) } else { Ok(()) }
    }

    pub(super) fn is_quiescent(&self) -> bool {
        self.doing == Doing::Nothing
    }

    pub(super) const fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    pub(super) fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        if !self.is_quiescent() {
            return Err(SnapshotError::NotQuiescent);
        }
        if Script::parse(module) != Some(self.script) {
            return Err(SnapshotError::Module);
        }
        out.push(VERSION);
        out.extend_from_slice(&self.state.count.to_le_bytes());
        out.extend_from_slice(&self.state.sum.to_le_bytes());
        if out.len() > limit { Err(SnapshotError::TooLarge) } else { Ok(()) }
    }

    pub(super) fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        if !self.is_quiescent() {
            return Err(RestoreError::NotQuiescent);
        }
        let (version, state) = snapshot.split_first().ok_or(RestoreError::Malformed)?;
        if *version != VERSION {
            return Err(RestoreError::Version);
        }
        let (count, sum) = state.split_first_chunk().ok_or(RestoreError::Malformed)?;
        let sum = <[u8; 8]>::try_from(sum).map_err(|_| RestoreError::Malformed)?;
        self.state = State { count: u64::from_le_bytes(*count), sum: u64::from_le_bytes(sum) };
        Ok(())
    }
}
