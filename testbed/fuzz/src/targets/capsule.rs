//! Modules and snapshots: admission of anything, and whatever is admitted is run.

use crate::Feed;
use capmesh_runtime::{Event, Limits, Progress, Runtime, Surroundings};

/// Admits the input as a module; one that is admitted runs every handler it has, with little fuel,
/// and is snapshot and restored.
pub fn run(data: &[u8]) {
    let limits = Limits { handler_fuel: 20_000, ..Limits::default() };
    let runtime = Runtime::new();
    let mut feed = Feed::new(data);
    let snapshot = feed.bytes(256);
    let module = feed.rest();
    let Ok(admitted) = runtime.admit(module, &limits) else { return };
    let surroundings = Surroundings { outputs: vec![(0, 64)], ..Surroundings::default() };
    let make = || runtime.instantiate(&admitted, &limits, surroundings.clone(), 1);
    let Ok(mut instance) = make() else { return };
    for event in [
        Event::Start,
        Event::Message { input: 0, record: &[1, 2, 3] },
        Event::Timer { timer: 1 },
        Event::Request { resource: 0, method: 1, payload: b"x" },
        Event::Run { arguments: b"" },
    ] {
        if instance.begin(&event, 1, None) != Ok(true) {
            continue;
        }
        while instance.run(1_000) == Progress::Suspended {}
        let _ = instance.effects().count();
    }
    assert!(instance.memory_size() <= limits.memory as usize);
    let mut state = Vec::new();
    if instance.snapshot(module, &mut state, 1 << 16).is_ok() {
        let mut other = make().expect("it fitted before");
        other.restore(&state).expect("it is this module's");
        let mut again = Vec::new();
        other.snapshot(module, &mut again, 1 << 16).expect("it is quiescent");
        assert_eq!(state, again);
    }
    let _ = make().map(|mut other| other.restore(snapshot));
}
