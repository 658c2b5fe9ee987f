//! Modules in text form, and what every test does with them.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use capmesh_runtime::{Effect, Event, Instance, Limits, Progress, Refusal, Runtime, Surroundings};

/// Counts messages and their sum, publishes both on output 0, and keeps the stack pointer that
/// compilers use, exported as the packer does.
pub(crate) const COUNTER: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "random" (func $random (result i64)))
    (memory (export "memory") 600 600 (pagesize 1))
    (global $stack (mut i32) (i32.const 512))
    (export "$g0" (global $stack))
    (data (i32.const 560) "\01\02\03\04")
    (func (export "start") (i64.store (i32.const 520) (i64.const 1000)))
    (func (export "message") (param $input i32) (param $len i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (i64.store (i32.const 512) (i64.add (i64.load (i32.const 512)) (i64.const 1)))
        (i64.store (i32.const 520)
            (i64.add (i64.load (i32.const 520)) (i64.load (i32.const 0))))
        (i64.store (i32.const 528) (call $random))
        (drop (call $publish (i32.const 0) (i32.const 512) (i32.const 24)))))"#;

pub(crate) fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is valid text")
}

/// One output of up to 64 bytes, two peers, one actuator, two sensors, two keys.
pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        outputs: vec![(0, 64)],
        peers: 2,
        actuators: 1,
        config: vec![Some(2.5_f64.to_le_bytes().into()), None],
        sensors: 2,
    }
}

pub(crate) fn admit(text: &str, limits: &Limits) -> Result<(), Refusal> {
    Runtime::new().admit(&wasm(text), limits).map(|_| ())
}

pub(crate) fn instance_of(module: &[u8], limits: &Limits) -> Instance {
    let runtime = Runtime::new();
    let admitted = runtime.admit(module, limits).expect("the test's module keeps the rules");
    runtime.instantiate(&admitted, limits, surroundings(), 7).expect("it fits")
}

pub(crate) fn instance(text: &str) -> Instance {
    instance_of(&wasm(text), &Limits::default())
}

/// Runs a handler to its end in slices of `fuel`; returns how many it took.
pub(crate) fn run_sliced(
    instance: &mut Instance,
    event: &Event<'_>,
    fuel: u64,
) -> (Progress, usize) {
    assert!(instance.begin(event, 1_000_000, Some(5)).expect("quiescent"), "it has that handler");
    let mut slices = 0;
    loop {
        slices += 1;
        match instance.run(fuel) {
            Progress::Suspended => {}
            end => return (end, slices),
        }
    }
}

pub(crate) fn run(instance: &mut Instance, event: &Event<'_>) -> Progress {
    run_sliced(instance, event, u64::MAX).0
}

pub(crate) fn send(instance: &mut Instance, value: i64) -> Vec<u8> {
    let event = Event::Message { input: 0, record: &value.to_le_bytes() };
    assert_eq!(run(instance, &event), Progress::Idle);
    match instance.effects().collect::<Vec<_>>().as_slice() {
        [Effect::Publish { output: 0, record }] => record.to_vec(),
        other => panic!("one record was to be published, not {other:?}"),
    }
}
