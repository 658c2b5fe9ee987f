//! What running a capsule costs on the host: a handler from message in to record out, a snapshot
//! and its restore, and fuel metering against the same interpreter without it. After criterion's
//! figures come those that have goals, beside them.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use capmesh_runtime::{Event, Instance, Limits, Progress, Runtime, Surroundings};
use criterion::{Criterion, criterion_group};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Reads a record, adds it to 8 KB of state, publishes the sum. The timer changes all 8 KB, to other
/// values with each number.
const CAPSULE: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 8192 8192 (pagesize 1))
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.load (i32.const 0))))
        (drop (call $publish (i32.const 0) (i32.const 8) (i32.const 8))))
    (func (export "timer") (param $n i32) (local $i i32)
        (loop $again
            (i32.store (local.get $i) (i32.mul (i32.add (local.get $i) (local.get $n))
                (i32.const 0x9e3779b1)))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4)))
                (i32.const 8192))))))"#;

/// The mean of the last sixteen samples, as small as usual capsules are; a stack of 1 KB lies below
/// its state.
const AVERAGE: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1376 1376 (pagesize 1))
    (global $stack (mut i32) (i32.const 1024))
    (export "$g0" (global $stack))
    (func (export "message") (param i32 i32) (local $slot i32)
        (drop (call $read (i32.const 0) (i32.const 1000) (i32.const 8)))
        (local.set $slot (i32.add (i32.const 1056) (i32.load (i32.const 1024))))
        (f64.store (i32.const 1032) (f64.add
            (f64.sub (f64.load (i32.const 1032)) (f64.load (local.get $slot)))
            (f64.load (i32.const 1000))))
        (f64.store (local.get $slot) (f64.load (i32.const 1000)))
        (i32.store (i32.const 1024)
            (i32.and (i32.add (i32.load (i32.const 1024)) (i32.const 8)) (i32.const 127)))
        (f64.store (i32.const 1000) (f64.mul (f64.load (i32.const 1032)) (f64.const 0.0625)))
        (drop (call $publish (i32.const 0) (i32.const 1000) (i32.const 8)))))"#;

/// A loop of arithmetic, for what metering costs.
const LOOP: &str = r#"(module (memory (export "memory") 1 (pagesize 1))
    (func (export "timer") (param i32) (local $i i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $again (i64.lt_u (local.get $i) (i64.const 100000))))))"#;

fn instantiate(text: &str) -> (Vec<u8>, Instance) {
    let module = wat::parse_str(text).expect("valid text");
    let (runtime, limits) = (Runtime::new(), Limits::default());
    let admitted = runtime.admit(&module, &limits).expect("it keeps the rules");
    let surroundings = Surroundings { outputs: vec![(8, 8)], ..Surroundings::default() };
    let instance = runtime.instantiate(&admitted, &limits, surroundings, 1).expect("it fits");
    (module, instance)
}

fn run(instance: &mut Instance, event: &Event<'_>) {
    assert_eq!(instance.begin(event, 0, None), Ok(true));
    assert_eq!(instance.run(u64::MAX), Progress::Idle);
}

/// A message goes in, and the record that came out is looked at.
fn message() -> impl FnMut() {
    let (_, mut instance) = instantiate(CAPSULE);
    let event = Event::Message { input: 0, record: &[1; 8] };
    move || {
        run(&mut instance, black_box(&event));
        assert_eq!(black_box(instance.effects().count()), 1);
    }
}

/// The state of an instance whose 8 KB are all other than at its start.
fn changed() -> (Vec<u8>, Instance, Vec<u8>) {
    let (module, mut instance) = instantiate(CAPSULE);
    run(&mut instance, &Event::Timer { timer: 7 });
    let mut state = Vec::new();
    instance.snapshot(&module, &mut state, 1 << 20).expect("quiescent");
    (module, instance, state)
}

fn snapshot() -> impl FnMut() {
    let (module, instance, mut state) = changed();
    move || {
        state.clear();
        instance.snapshot(&module, black_box(&mut state), 1 << 20).expect("quiescent");
    }
}

fn restore() -> impl FnMut() {
    let (.., state) = changed();
    let (_, mut target) = instantiate(CAPSULE);
    move || target.restore(black_box(&state)).expect("the same module")
}

fn metered() -> impl FnMut() {
    let (_, mut instance) = instantiate(LOOP);
    move || run(&mut instance, &Event::Timer { timer: 0 })
}

fn unmetered() -> impl FnMut() {
    let module = wat::parse_str(LOOP).expect("valid text");
    assert!(Runtime::new().admit(&module, &Limits::default()).is_ok());
    let engine = wasmi::Engine::default();
    #[expect(unsafe_code, reason = "the interpreter is built without a validator of its own")]
    // SAFETY: the runtime has admitted the module above.
    let module = unsafe { wasmi::Module::new_unchecked(&engine, &module) };
    let module = module.expect("the module is valid");
    let mut store = wasmi::Store::new(&engine, ());
    let linker = wasmi::Linker::new(&engine);
    let unmetered = linker.instantiate_and_start(&mut store, &module).expect("it fits");
    let timer = unmetered.get_typed_func::<i32, ()>(&store, "timer").expect("it is exported");
    move || timer.call(&mut store, black_box(0)).expect("no trap")
}

fn admission() -> impl FnMut() {
    let module = wat::parse_str(AVERAGE).expect("valid text");
    let (runtime, limits) = (Runtime::new(), Limits::default());
    move || assert!(runtime.admit(black_box(&module), &limits).is_ok())
}

fn capsules(c: &mut Criterion) {
    c.bench_function("message in to record out", |b| b.iter(message()));
    c.bench_function("snapshot 8 KB, all of it changed", |b| b.iter(snapshot()));
    c.bench_function("restore 8 KB, all of it changed", |b| b.iter(restore()));
    c.bench_function("admit a capsule of 0.3 KB", |b| b.iter(admission()));
    let mut group = c.benchmark_group("100,000 rounds of a loop");
    group.bench_function("metered", |b| b.iter(metered()));
    group.bench_function("unmetered", |b| b.iter(unmetered()));
    group.finish();
}

criterion_group!(benches, capsules);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    goals();
}

/// The most that the issue of the node's runtime allows.
const HANDLER: Duration = Duration::from_micros(2);
const SNAPSHOT: Duration = Duration::from_micros(200);
const TYPICAL_SNAPSHOT: usize = 200;
const METERING: f64 = 15.0;

fn goals() {
    let verdict = |reached| if reached { "reached" } else { "NOT REACHED" };
    println!("\nGoals (medians of {SAMPLES})");
    for (name, most, time) in [
        ("message in to record out", HANDLER, median(message())),
        ("snapshot 8 KB", SNAPSHOT, median(snapshot())),
        ("restore 8 KB", SNAPSHOT, median(restore())),
    ] {
        let reached = verdict(time <= most);
        println!("  {name:<28} {time:>10.2?}  of {most:>8.2?}  {reached}");
    }
    let (module, mut average) = instantiate(AVERAGE);
    for sample in 0..1000 {
        let record = f64::from(sample % 37).to_le_bytes();
        run(&mut average, &Event::Message { input: 0, record: &record });
    }
    let mut state = Vec::new();
    average.snapshot(&module, &mut state, 1 << 20).expect("quiescent");
    let (bytes, reached) = (state.len(), verdict(state.len() <= TYPICAL_SNAPSHOT));
    println!(
        "  {:<28} {bytes:>9}B  of {TYPICAL_SNAPSHOT:>7}B  {reached}",
        "snapshot, moving average"
    );
    let percent = (ratio(metered(), unmetered()) - 1.0) * 100.0;
    let reached = verdict(percent <= METERING);
    println!("  {:<28} {percent:>9.1}%  of {METERING:>7.1}%  {reached}", "fuel metering");
}

const SAMPLES: usize = 101;

/// The median time of a call, over samples of at least a millisecond.
fn median(mut call: impl FnMut()) -> Duration {
    let calls = calls_in_a_sample(&mut call);
    let mut samples: Vec<_> = (0..SAMPLES).map(|_| sample(&mut call, calls)).collect();
    samples.sort_unstable();
    samples.get(SAMPLES / 2).copied().unwrap_or_default()
}

/// How many times as long as the second the first call takes: the median over samples taken in turn,
/// so that what else the machine does falls on both.
fn ratio(mut first: impl FnMut(), mut second: impl FnMut()) -> f64 {
    let calls = calls_in_a_sample(&mut first);
    let mut pair =
        || sample(&mut first, calls).as_secs_f64() / sample(&mut second, calls).as_secs_f64();
    let mut ratios: Vec<_> = (0..SAMPLES).map(|_| pair()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios.get(SAMPLES / 2).copied().unwrap_or_default()
}

fn sample(call: &mut impl FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed() / calls
}

fn calls_in_a_sample(call: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while sample(call, calls) * calls < Duration::from_millis(1) {
        calls *= 2;
    }
    calls
}
