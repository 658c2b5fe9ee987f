//! What a module has to go through, and what must hold meanwhile.

use crate::dice::Dice;
use crate::heap::peak;
use capmesh_runtime::{
    Admitted, Effect, Event, Instance, Limits, Progress, Runtime, Surroundings, Trap, bounds,
};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Refused,
    /// Admitted, and its segments do not fit.
    NotSetUp,
    /// All its handlers came to their end.
    Ran,
    /// One has trapped.
    Trapped,
    /// One used up its fuel.
    OutOfFuel,
}

fn limits() -> Limits {
    Limits { handler_fuel: 30_000, timers: 4, ..Limits::default() }
}

fn surroundings() -> Surroundings {
    Surroundings {
        outputs: vec![(0, 64), (8, 8)],
        peers: 1,
        actuators: 1,
        config: vec![Some(2.5_f64.to_le_bytes().into()), None],
        sensors: 1,
    }
}

/// What admission may take of memory: a fixed part, and so much for each byte of a module.
pub(crate) const HEAP: usize = 96 << 10;
pub(crate) const HEAP_PER_BYTE: usize = 16;

/// What an instance may take beside its linear memory: the interpreter's stack, the outbox, tables.
const INSTANCE: usize = 48 << 10;

/// Has `module` admitted, run and moved, twice and in other slices.
pub(crate) fn undergo(module: &[u8], seed: u64) -> Outcome {
    let (runtime, limits) = (Runtime::new(), limits());
    let (admitted, heap) = peak(|| runtime.admit(module, &limits));
    let most = HEAP + HEAP_PER_BYTE * module.len();
    assert!(heap <= most, "admission took {heap} bytes for a module of {}", module.len());
    let Ok(admitted) = admitted else { return Outcome::Refused };
    let (made, heap) = peak(|| runtime.instantiate(&admitted, &limits, surroundings(), seed));
    assert!(heap <= INSTANCE + limits.memory as usize, "an instance took {heap} bytes");
    let Ok(mut instance) = made else { return Outcome::NotSetUp };
    let other = runtime.instantiate(&admitted, &limits, surroundings(), seed);
    let mut other = other.expect("it fitted before");
    let mut dice = Dice::new(seed);
    let (mut outcome, mut record) = (Outcome::Ran, Vec::new());
    for _ in 0..2 {
        for event in events() {
            let (end, heap) = peak(|| handle(&mut instance, event, &limits, &mut dice));
            assert!(heap <= INSTANCE + limits.memory as usize, "a handler took {heap} bytes");
            let in_one = handle_at_once(&mut other, event);
            let Some(end) = end else { continue };
            if let Progress::Trapped(trap) = end {
                assert_ne!(trap, Trap::Internal, "{event:?}");
                let out_of_fuel = trap == Trap::FuelBudget;
                outcome = if out_of_fuel { Outcome::OutOfFuel } else { Outcome::Trapped };
                // Where the fuel of a handler ends, slices differ: a call of the node's forfeits what
                // is left of one.
                assert!(in_one == Some(end) || out_of_fuel, "{event:?}: {end:?}, {in_one:?}");
                instance = fresh(&runtime, &admitted, &limits, seed);
                other = fresh(&runtime, &admitted, &limits, seed);
                continue;
            }
            if in_one == Some(Progress::Trapped(Trap::FuelBudget)) {
                other = fresh(&runtime, &admitted, &limits, seed);
                instance = fresh(&runtime, &admitted, &limits, seed);
                continue;
            }
            assert_eq!(in_one, Some(end), "{event:?}");
            let effects: Vec<_> = instance.effects().map(|e| format!("{e:?}")).collect();
            let expected: Vec<_> = other.effects().map(|e| format!("{e:?}")).collect();
            assert_eq!(effects, expected, "{event:?}");
            move_on(&mut instance, &mut other, module, &mut record);
        }
        // And once more with a state that has been elsewhere.
        let mut moved = fresh(&runtime, &admitted, &limits, 0);
        if instance.snapshot(module, &mut record, 1 << 16).is_ok() {
            moved.restore(&record).expect("it is this module's");
            instance = moved;
        }
        record.clear();
    }
    garble(&runtime, &admitted, &limits, &mut dice, module, &instance);
    outcome
}

fn fresh(runtime: &Runtime, admitted: &Admitted, limits: &Limits, seed: u64) -> Instance {
    runtime.instantiate(admitted, limits, surroundings(), seed).expect("it fitted before")
}

/// Every handler of the contract, with what fits no schema too.
fn events() -> [Event<'static>; 9] {
    [
        Event::Start,
        Event::Message { input: 0, record: &[0x5a; 64] },
        Event::Message { input: u32::MAX, record: &[] },
        Event::Message { input: 1, record: &[0xff; 4_096] },
        Event::Timer { timer: 0 },
        Event::Digital { source: 0, value: f64::NAN },
        Event::Request { resource: 0, method: 255, payload: &[1, 2, 3] },
        Event::Reply { number: 0x7fff_ffff, status: 0, payload: b"x" },
        Event::Run { arguments: &[7; 100] },
    ]
}

/// Runs one handler in slices of any length. `None` if there is none for this event.
fn handle(
    instance: &mut Instance,
    event: Event<'_>,
    limits: &Limits,
    dice: &mut Dice,
) -> Option<Progress> {
    if !instance.begin(&event, 1_000_000, Some(5)).expect("it is quiescent") {
        return None;
    }
    let began = instance.fuel_used();
    let end = loop {
        let slice = 1 << dice.below(14);
        let before = instance.fuel_used();
        let progress = instance.run(slice);
        let used = instance.fuel_used() - before;
        let most = slice.max(Instance::MIN_SLICE).max(u64::from(bounds::STRETCH.most) + 1);
        assert!(used <= most, "a slice of {slice} took {used}");
        if progress != Progress::Suspended {
            break progress;
        }
        // Nothing gets at it while its handler runs.
        assert!(!instance.is_quiescent());
        assert!(instance.begin(&Event::Start, 0, None).is_err());
        assert!(instance.snapshot(&[], &mut Vec::new(), 0).is_err());
    };
    assert!(instance.fuel_used() - began <= limits.handler_fuel);
    check(instance, limits, matches!(end, Progress::Trapped(_)));
    Some(end)
}

fn handle_at_once(instance: &mut Instance, event: Event<'_>) -> Option<Progress> {
    let begun = instance.begin(&event, 1_000_000, Some(5)).expect("it is quiescent");
    begun.then(|| instance.run(u64::MAX))
}

/// What a handler leaves is within what it was given.
fn check(instance: &Instance, limits: &Limits, has_trapped: bool) {
    assert!(instance.memory_size() <= limits.memory as usize);
    assert!(instance.effects().count() <= usize::from(limits.outbox_entries));
    let mut bytes = 0;
    for effect in instance.effects() {
        assert!(!has_trapped || matches!(effect, Effect::Log { .. }), "{effect:?}");
        bytes += match effect {
            Effect::Publish { output, record } => {
                assert!(output == 0 && record.len() <= 64 || output == 1 && record.len() == 8);
                record.len()
            }
            Effect::Request { peer, record, .. } => {
                assert_eq!(peer, 0);
                record.len()
            }
            Effect::Respond { record, .. } => record.len(),
            Effect::Log { level, text } => {
                assert!(level <= 3);
                text.len()
            }
            Effect::SetTimer { timer, .. } | Effect::CancelTimer { timer } => {
                assert!(timer < u32::from(limits.timers));
                0
            }
            Effect::Actuate { actuator, .. } => {
                assert_eq!(actuator, 0);
                0
            }
        };
    }
    assert!(bytes <= limits.outbox_bytes as usize, "{bytes} bytes in the outbox");
}

/// Both have the same state.
fn move_on(instance: &mut Instance, other: &mut Instance, module: &[u8], record: &mut Vec<u8>) {
    record.clear();
    let mut expected = Vec::new();
    let taken = instance.snapshot(module, record, 1 << 16);
    assert_eq!(taken, other.snapshot(module, &mut expected, 1 << 16));
    if taken.is_ok() {
        assert_eq!(*record, expected, "the state depends on how it was sliced");
    }
    record.clear();
}

/// A state with bytes changed is refused or taken, and what took it still runs within its limits.
fn garble(
    runtime: &Runtime,
    admitted: &Admitted,
    limits: &Limits,
    dice: &mut Dice,
    module: &[u8],
    instance: &Instance,
) {
    let mut state = Vec::new();
    if instance.snapshot(module, &mut state, 1 << 16).is_err() || state.is_empty() {
        return;
    }
    for _ in 0..=dice.below(4) {
        let at = dice.below(state.len());
        state[at] = dice.roll() as u8;
    }
    let mut garbled = fresh(runtime, admitted, limits, 0);
    let (_, heap) = peak(|| garbled.restore(&state));
    assert!(heap <= INSTANCE + limits.memory as usize, "a state took {heap} bytes");
    if garbled.is_quiescent() {
        let _ = handle(&mut garbled, Event::Timer { timer: 0 }, limits, dice);
    }
}
