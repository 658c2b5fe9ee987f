//! What running a capsule costs on the host: a handler from message in to record out, a snapshot
//! and its restore, and fuel metering against the same interpreter without it.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use capmesh_runtime::{Event, Instance, Limits, Progress, Runtime, Surroundings};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Reads a record, adds it to 8 KB of state, publishes the sum.
const CAPSULE: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 8192 8192 (pagesize 1))
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.load (i32.const 0))))
        (drop (call $publish (i32.const 0) (i32.const 8) (i32.const 8))))
    (func (export "timer") (param $i i32)
        (loop $again
            (i32.store (local.get $i) (i32.mul (local.get $i) (i32.const 0x9e3779b1)))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4)))
                (i32.const 8192))))))"#;

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

fn handler(c: &mut Criterion) {
    let (_, mut instance) = instantiate(CAPSULE);
    let event = Event::Message { input: 0, record: &[1; 8] };
    c.bench_function("message in to record out", |b| {
        b.iter(|| {
            run(&mut instance, black_box(&event));
            black_box(instance.effects().count())
        });
    });
}

fn snapshots(c: &mut Criterion) {
    let (module, mut instance) = instantiate(CAPSULE);
    run(&mut instance, &Event::Timer { timer: 0 });
    let mut state = Vec::new();
    c.bench_function("snapshot 8 KB, all of it changed", |b| {
        b.iter(|| {
            state.clear();
            instance.snapshot(&module, &mut state, 1 << 20).expect("quiescent");
        });
    });
    let (_, mut target) = instantiate(CAPSULE);
    c.bench_function("restore 8 KB, all of it changed", |b| {
        b.iter(|| target.restore(black_box(&state)).expect("the same module"));
    });
}

fn metering(c: &mut Criterion) {
    let (module, mut instance) = instantiate(LOOP);
    let mut group = c.benchmark_group("100,000 rounds of a loop");
    group.bench_function("metered", |b| b.iter(|| run(&mut instance, &Event::Timer { timer: 0 })));
    let engine = wasmi::Engine::default();
    #[expect(unsafe_code, reason = "the interpreter is built without a validator of its own")]
    // SAFETY: the runtime has admitted the module above.
    let module = unsafe { wasmi::Module::new_unchecked(&engine, &module) };
    let module = module.expect("the module is valid");
    let mut store = wasmi::Store::new(&engine, ());
    let linker = wasmi::Linker::new(&engine);
    let unmetered = linker.instantiate_and_start(&mut store, &module).expect("it fits");
    let timer = unmetered.get_typed_func::<i32, ()>(&store, "timer").expect("it is exported");
    group.bench_function("unmetered", |b| {
        b.iter(|| timer.call(&mut store, black_box(0)).expect("no trap"));
    });
    group.finish();
}

criterion_group!(benches, handler, snapshots, metering);
criterion_main!(benches);
