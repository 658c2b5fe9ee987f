//! What an instance of a capsule will need, found out by running it.
//!
//! The capsule runs in the real runtime under a load ([`load`](crate::load), or samples that its
//! author gives), then for ten minutes of silence, in virtual time, and is watched:
//!
//! | need | how it is found |
//! |---|---|
//! | `memory` | what the packed module declares at most |
//! | `ram` | the most that module and instance had allocated while handlers ran, beyond what the runtime has anyway; needs a program that counts ([`meter`]) |
//! | `fuel_per_second` | the fuel under the load by its virtual seconds |
//! | `fuel_per_handler` | four times that of the dearest handler, at least 10,000: past it, a handler has gone wrong |
//! | `outbox_bytes`, `outbox_entries` | the most that a handler left there, or one record on each output if that is more, and room for two lines of log |
//! | `timers` | how many are described |
//! | `table_elements` | what the module declares |
//!
//! What `capsule.toml` states under `[needs]` stands, and the run is held to it. Fuel and memory are
//! the same on every machine. RAM is counted on the machine that packs: with 64-bit pointers and the
//! host's interpreter it is an upper bound for a 32-bit board, whose translated code is smaller.

use crate::load::{self, Happening, Schedule};
use crate::meter;
use crate::module::Packed;
use crate::rehearsal::{self, Ram, Rehearsal, Seen, Trapped};
use capmesh_description::{Description, Value};
use capmesh_runtime::{Effect, Event, Refusal, Runtime};
use capmesh_wire::limits::LOG_LINE;
use capmesh_wire::manifest::Needs;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What goes into the manifest.
    pub needs: Needs,
    /// What was seen; the fuel is that of the load alone.
    pub seen: Seen,
    /// RAM on this machine.
    pub ram: Ram,
    /// How long the run was, in virtual microseconds.
    pub micros: u64,
    /// Handlers that the load did not reach.
    pub unreached: Vec<&'static str>,
}

/// Why nothing could be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The runtime refuses the module.
    Refused(Refusal),
    /// A handler ended badly.
    Trapped(Trapped),
    /// The program's allocator does not count.
    Uncounted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "a node refuses the module: {refusal}"),
            Self::Trapped(trapped) => {
                let seconds = trapped.at / 1_000_000;
                write!(f, "after {seconds} s of the measuring run, {trapped}")
            }
            Self::Uncounted => f.write_str(
                "this program does not count what it allocates; make `capmesh_capsule::meter::Meter` \
                 its allocator",
            ),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Trapped> for Failure {
    fn from(trapped: Trapped) -> Self {
        Self::Trapped(trapped)
    }
}

/// The most timers that run out between two events of the load: one that sets itself to nothing
/// would go on for ever.
const MOST_TIMERS: usize = 10_000;

/// Requests that are answered in one virtual moment.
const MOST_REPLIES: usize = 64;

/// Microseconds without a message behind the load.
const QUIET: u64 = 600_000_000;

/// Microseconds until a request is answered.
const REPLY_AFTER: u64 = 10_000;

/// 2.05 Content, as the byte on the wire.
const CONTENT: u8 = 0x45;

/// The least fuel after which a handler may be ended.
const LEAST_HANDLER: u64 = 10_000;

/// Lines of log that an outbox has room for beside what was seen.
const LOG_LINES: usize = 2;

/// Runs a packed capsule under the load of its description.
///
/// # Errors
/// If a node refuses it, a handler ends badly, or nothing counts.
pub fn measure(packed: &Packed, description: &Description) -> Result<Forecast, Failure> {
    let (schedule, end) = load::generate(description);
    measure_under(packed, description, &BTreeMap::new(), &schedule, end)
}

/// Runs a packed capsule under a given load, which ends at `end` microseconds.
///
/// # Errors
/// As [`measure`].
pub fn measure_under(
    packed: &Packed,
    description: &Description,
    config: &BTreeMap<String, Value>,
    schedule: &Schedule,
    end: u64,
) -> Result<Forecast, Failure> {
    if !meter::is_installed() {
        return Err(Failure::Uncounted);
    }
    let config = &with_required(description, config);
    let limits = rehearsal::limits(description);
    let runtime = Runtime::new();
    // The runtime keeps what it needs to translate and to call; that is the node's, once, and not
    // each capsule's.
    let mut first = Rehearsal::new(&runtime, packed, description, config, &limits)?;
    play(&mut first, description, schedule.get(..schedule.len().min(64)).unwrap_or_default(), 0)?;
    drop(first);

    let mut rehearsal = Rehearsal::new(&runtime, packed, description, config, &limits)?;
    let mut reached = play(&mut rehearsal, description, schedule, end)?;
    let loaded = rehearsal.seen();
    // Some things happen only when nothing does.
    let quiet = end.saturating_add(QUIET);
    settle(&mut rehearsal, description, quiet, &mut reached, &mut VecDeque::new())?;
    let (seen, ram) = (Seen { fuel: loaded.fuel, ..rehearsal.seen() }, rehearsal.ram());
    let unreached = packed
        .handlers
        .iter()
        .copied()
        .filter(|name| *name != "state_version" && !reached.contains(name))
        .collect();
    let micros = end.max(1);
    Ok(Forecast {
        needs: needs(packed, description, &seen, &ram, micros),
        seen,
        ram,
        micros,
        unreached,
    })
}

/// The values of those configuration keys that every pipeline must set, if nobody says which: one,
/// `true`, a letter.
fn with_required(
    description: &Description,
    config: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    use capmesh_wire::schema::FieldType;
    let mut config = config.clone();
    for key in description.config.iter().filter(|key| key.default.is_none()) {
        config.entry(key.field.name.clone()).or_insert_with(|| match key.field.ty {
            FieldType::Bool => Value::Bool(true),
            FieldType::Text(_) | FieldType::Bytes(_) => Value::Text("a".into()),
            _ => Value::Number(1.0),
        });
    }
    config
}

/// A request of the capsule's: when it is answered, its number, the peer and the resource.
type Asked = (u64, u32, u32, u32);

/// Lets a capsule start and handle a load; returns the handlers that ran.
///
/// # Errors
/// If a handler ends badly.
pub fn play(
    rehearsal: &mut Rehearsal,
    description: &Description,
    schedule: &[(u64, Happening)],
    end: u64,
) -> Result<Vec<&'static str>, Trapped> {
    let mut reached = Vec::new();
    let mut asked: VecDeque<Asked> = VecDeque::new();
    let happen = |rehearsal: &mut Rehearsal,
                  event: &Event<'_>,
                  reached: &mut Vec<&'static str>,
                  asked: &mut VecDeque<Asked>| {
        let name = rehearsal::handler(event);
        if rehearsal.handles(name) && !reached.contains(&name) {
            reached.push(name);
        }
        rehearsal.handle(event, &mut |now, effect| note(asked, now, &effect))
    };
    happen(rehearsal, &Event::Start, &mut reached, &mut asked)?;
    for (at, happening) in schedule {
        settle(rehearsal, description, *at, &mut reached, &mut asked)?;
        match (happening, happening.event()) {
            (Happening::Sample(sensor, record), _) => rehearsal.sample(*sensor, record),
            (_, Some(event)) => happen(rehearsal, &event, &mut reached, &mut asked)?,
            (_, None) => {}
        }
    }
    settle(rehearsal, description, end, &mut reached, &mut asked)?;
    Ok(reached)
}

fn note(asked: &mut VecDeque<Asked>, now: u64, effect: &Effect<'_>) {
    if let Effect::Request { peer, resource, number, .. } = effect
        && asked.len() < MOST_REPLIES
    {
        asked.push_back((now + REPLY_AFTER, *number, *peer, *resource));
    }
}

/// Lets timers run out and requests be answered, until `then`.
fn settle(
    rehearsal: &mut Rehearsal,
    description: &Description,
    then: u64,
    reached: &mut Vec<&'static str>,
    asked: &mut VecDeque<Asked>,
) -> Result<(), Trapped> {
    let mut left = MOST_TIMERS;
    loop {
        let answer = asked.front().map(|(at, ..)| *at).filter(|at| *at <= then);
        let ran = rehearsal
            .pass(answer.unwrap_or(then), left, &mut |now, effect| note(asked, now, &effect))?;
        left -= ran;
        if ran > 0 && !reached.contains(&"timer") {
            reached.push("timer");
        }
        let Some((_, number, peer, resource)) = answer.and_then(|_| asked.pop_front()) else {
            return Ok(());
        };
        let payload = load::reply(description, peer, resource, rehearsal.now());
        let event = Event::Reply { number, status: CONTENT, payload: &payload };
        if rehearsal.handles("reply") && !reached.contains(&"reply") {
            reached.push("reply");
        }
        rehearsal.handle(&event, &mut |now, effect| note(asked, now, &effect))?;
        left = left.saturating_sub(1);
    }
}

fn needs(packed: &Packed, description: &Description, seen: &Seen, ram: &Ram, micros: u64) -> Needs {
    let stated = &description.needs;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let records = description
        .outputs
        .iter()
        .map(|output| description.schemas.get(output.schema).map_or(0, crate::codec::record_len));
    let records: usize = records.sum();
    let bytes = records.max(usize::try_from(seen.outbox_bytes).unwrap_or(usize::MAX));
    let bytes = bytes.saturating_add(LOG_LINES * LOG_LINE);
    let entries = description.outputs.len().max(usize::from(seen.outbox_entries)) + LOG_LINES;
    let per_second = seen.fuel.saturating_mul(1_000_000).div_ceil(micros);
    let per_handler = round_up(seen.most_fuel.saturating_mul(4).max(LEAST_HANDLER));
    Needs {
        memory: packed.max_memory,
        ram: u32::try_from(ram.peak).unwrap_or(u32::MAX),
        fuel_per_second: stated.fuel_per_second.unwrap_or_else(|| small(per_second)),
        fuel_per_handler: stated.fuel_per_handler.unwrap_or_else(|| small(per_handler)),
        outbox_bytes: stated
            .outbox_bytes
            .unwrap_or_else(|| u16::try_from(bytes).unwrap_or(u16::MAX)),
        outbox_entries: stated
            .outbox_entries
            .unwrap_or_else(|| u8::try_from(entries).unwrap_or(u8::MAX)),
        timers: u8::try_from(description.timers.len()).unwrap_or(u8::MAX),
        table_elements: packed.table_elements,
    }
}

/// Up to two digits that count: a limit need not be more exact, and stays the same when the code
/// changes a little.
fn round_up(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10().saturating_sub(1));
    number.div_ceil(unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_two_digits() {
        assert_eq!([0, 9, 10, 99, 101, 12_345].map(round_up), [0, 9, 10, 99, 110, 13_000]);
    }
}
