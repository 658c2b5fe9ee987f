//! The capsule runtime alone: a capsule of the usual size, from admission to a snapshot, and the
//! interpreter's speed on SHA-256.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{vec, vec::Vec};
use capmesh_runtime::{Admitted, Effect, Event, Instance, Limits, Progress, Runtime, Surroundings};
use cortex_m_rt::entry;
use footprint::{exit, measure, must, report, report_cost};
use node_footprint::{init, live, reached, report_part, step};

static AVERAGE: &[u8] = include_bytes!("../../../bench/wasm/modules/small/average.wasm");
static SHA256: &[u8] = include_bytes!("../../../bench/wasm/modules/small/sha256.wasm");

#[entry]
fn main() -> ! {
    init();
    capsules();
    interpreter();
    report(b"heap.reached", reached() as u32);
    exit()
}

/// RAM of the first capsule and of further ones, and what each step costs.
fn capsules() {
    let runtime = step(b"runtime", Runtime::new);
    let admitted = step(b"admit", || admit(&runtime, AVERAGE));
    let mut first = step(b"instantiate", || instantiate(&runtime, &admitted));
    step(b"first_message", || message(&mut first, 1.0));
    report_part(b"first_capsule", b".heap", live());

    let before = live();
    let mut second = instantiate(&runtime, &admitted);
    message(&mut second, 1.0);
    report_part(b"further_instance", b".heap", live() - before);

    let before = live();
    let other = admit(&runtime, AVERAGE);
    let mut third = instantiate(&runtime, &other);
    message(&mut third, 1.0);
    report_part(b"further_capsule", b".heap", live() - before);
    drop(third);
    drop(other);

    step(b"message", || message(&mut first, 2.0));
    let mut state = Vec::with_capacity(256);
    step(b"snapshot", || must(first.snapshot(AVERAGE, &mut state, 256).ok(), b"snapshot"));
    report_part(b"snapshot", b".bytes", state.len());
    drop(second);
    let mut copy = instantiate(&runtime, &admitted);
    step(b"restore", || must(copy.restore(&state).ok(), b"restore"));
    let (here, there) = (message(&mut first, 3.0), message(&mut copy, 3.0));
    if here != there || here != 2.0 {
        footprint::fail(b"the copy goes on otherwise");
    }
}

/// Instructions of SHA-256 of a kilobyte.
fn interpreter() {
    let runtime = Runtime::new();
    let admitted = step(b"admit_sha256", || admit(&runtime, SHA256));
    let mut instance = instantiate(&runtime, &admitted);
    rounds(&mut instance, 1);
    let before = instance.fuel_used();
    let ((), cost) = measure(|| rounds(&mut instance, 1));
    report_cost(b"sha256", cost);
    // An operation takes one unit of fuel.
    let operations = (instance.fuel_used() - before) as usize;
    report_part(b"sha256", b".operations", operations);
    let hundredths = cost.instructions as usize * 100 / operations;
    report_part(b"sha256", b".hundredths_per_operation", hundredths);
}

#[inline(never)]
fn admit(runtime: &Runtime, module: &[u8]) -> Admitted {
    must(runtime.admit(module, &Limits::default()).ok(), b"admission")
}

#[inline(never)]
fn instantiate(runtime: &Runtime, admitted: &Admitted) -> Instance {
    let surroundings =
        Surroundings { outputs: vec![(4, 4)], actuators: 1, ..Surroundings::default() };
    let instance = runtime.instantiate(admitted, &Limits::default(), surroundings, 1);
    must(instance.ok(), b"instance")
}

/// A sample in, a mean out.
#[inline(never)]
fn message(instance: &mut Instance, sample: f32) -> f32 {
    run(instance, &Event::Message { input: 0, record: &sample.to_le_bytes() });
    let record = match instance.effects().next() {
        Some(Effect::Publish { output: 0, record }) => record.try_into().ok(),
        _ => None,
    };
    f32::from_le_bytes(must(record, b"a record"))
}

fn rounds(instance: &mut Instance, count: u32) {
    run(instance, &Event::Timer { timer: count });
}

fn run(instance: &mut Instance, event: &Event<'_>) {
    if instance.begin(event, 0, None) != Ok(true) || instance.run(u64::MAX) != Progress::Idle {
        footprint::fail(b"handler");
    }
}
