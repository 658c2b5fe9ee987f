//! What a handler sees and what becomes of what it asks for.

mod common;

use capmesh_runtime::{Busy, Effect, Event, Limits, Progress, Trap};
use common::{COUNTER, instance, instance_of, run, run_sliced, send, wasm};

#[test]
fn a_message_is_read_and_a_record_published() {
    let mut counter = instance(COUNTER);
    assert_eq!(run(&mut counter, &Event::Start), Progress::Idle);
    assert_eq!(
        send(&mut counter, 5)[..16],
        [1_i64.to_le_bytes(), 1_005_i64.to_le_bytes()].concat()
    );
    assert_eq!(send(&mut counter, -6)[..16], [2_i64.to_le_bytes(), 999_i64.to_le_bytes()].concat());
}

#[test]
fn a_handler_that_is_not_there_is_not_run() {
    let mut counter = instance(COUNTER);
    assert_eq!(counter.begin(&Event::Timer { timer: 0 }, 0, None), Ok(false));
    assert!(counter.is_quiescent());
}

/// Calls every import once with plausible arguments and stores the results from 256 on.
const ALL_IMPORTS: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "request" (func $request (param i32 i32 i32 i32) (result i32)))
    (import "capmesh1" "respond" (func $respond (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (import "capmesh1" "cancel_timer" (func $cancel_timer (param i32) (result i32)))
    (import "capmesh1" "sensor" (func $sensor (param i32 i32 i32) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (import "capmesh1" "config" (func $config (param i32 i32 i32) (result i32)))
    (import "capmesh1" "time" (func $time (result i64)))
    (import "capmesh1" "time_uncertainty" (func $uncertainty (result i64)))
    (import "capmesh1" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 512 (pagesize 1))
    (data (i32.const 0) "hello")
    (func (export "request") (param $resource i32) (param $method i32) (param $len i32)
        (i32.store (i32.const 256) (call $read (i32.const 1) (i32.const 64) (i32.const 16)))
        (i32.store (i32.const 260) (call $publish (i32.const 0) (i32.const 0) (i32.const 5)))
        (i32.store (i32.const 264) (call $request (i32.const 1) (i32.const 3) (i32.const 0) (i32.const 2)))
        (i32.store (i32.const 268) (call $respond (i32.const 69) (i32.const 0) (i32.const 1)))
        (i32.store (i32.const 268) (call $respond (i32.const 69) (i32.const 64) (i32.const 2)))
        (i32.store (i32.const 272) (call $set_timer (i32.const 7) (i64.const 1500)))
        (i32.store (i32.const 276) (call $cancel_timer (i32.const 1)))
        (i32.store (i32.const 280) (call $sensor (i32.const 1) (i32.const 96) (i32.const 8)))
        (i32.store (i32.const 284) (call $actuate (i32.const 0) (f64.const 0.5)))
        (i32.store (i32.const 288) (call $config (i32.const 0) (i32.const 128) (i32.const 8)))
        (i64.store (i32.const 296) (call $time))
        (i64.store (i32.const 304) (call $uncertainty))
        (call $log (i32.const 9) (i32.const 0) (i32.const 5))
        ;; Everything that the manifest does not give.
        (i32.store (i32.const 320) (call $publish (i32.const 1) (i32.const 0) (i32.const 5)))
        (i32.store (i32.const 324) (call $publish (i32.const 0) (i32.const 0) (i32.const 65)))
        (i32.store (i32.const 328) (call $request (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 332) (call $set_timer (i32.const 8) (i64.const 0)))
        (i32.store (i32.const 336) (call $sensor (i32.const 0) (i32.const 0) (i32.const 8)))
        (i32.store (i32.const 340) (call $sensor (i32.const -1) (i32.const 0) (i32.const 8)))
        (i32.store (i32.const 344) (call $sensor (i32.const 1) (i32.const 0) (i32.const 3)))
        (i32.store (i32.const 348) (call $actuate (i32.const 1) (f64.const 0)))
        (i32.store (i32.const 352) (call $config (i32.const 1) (i32.const 0) (i32.const 8)))
        (i32.store (i32.const 356) (call $config (i32.const 2) (i32.const 0) (i32.const 8)))
        (call $log (i32.const 2) (i32.const 256) (i32.const 104)))
    (func (export "timer") (param i32)
        (i32.store (i32.const 0) (call $respond (i32.const 69) (i32.const 0) (i32.const 0)))
        (call $log (i32.const 0) (i32.const 0) (i32.const 4))))"#;

#[test]
fn every_import_does_what_the_contract_says() {
    let mut capsule = instance(ALL_IMPORTS);
    capsule.set_sample(1, &[9, 8, 7, 6]).unwrap();
    capsule.set_sample(5, &[1]).unwrap();
    let event = Event::Request { resource: 0, method: 1, payload: b"abc" };
    assert_eq!(run(&mut capsule, &event), Progress::Idle);
    let effects: Vec<_> = capsule.effects().collect();
    let (results, effects) = effects.split_last().unwrap();
    assert_eq!(
        effects,
        [
            Effect::Publish { output: 0, record: b"hello" },
            Effect::Request { peer: 1, resource: 3, number: 0, record: b"he" },
            Effect::Respond { status: 69, record: b"bc" },
            Effect::SetTimer { timer: 7, micros: 1_500 },
            Effect::CancelTimer { timer: 1 },
            Effect::Actuate { actuator: 0, value: 0.5 },
            Effect::Log { level: 3, text: b"hello" },
        ]
    );
    let Effect::Log { level: 2, text } = results else { panic!("{results:?}") };
    let int = |at: usize| i32::from_le_bytes(text[at - 256..at - 252].try_into().unwrap());
    let results: Vec<_> = (256..292).step_by(4).map(int).collect();
    assert_eq!(results, [2, 0, 0, 0, 0, 0, 4, 0, 8]);
    assert_eq!((int(296), int(304)), (1_000_000, 5));
    let refused: Vec<_> = (320..360).step_by(4).map(int).collect();
    assert_eq!(refused, [-1, -2, -1, -1, -4, -1, -5, -1, -4, -1]);
}

#[test]
fn an_answer_where_nothing_was_asked_is_refused() {
    let mut capsule = instance(ALL_IMPORTS);
    assert_eq!(run(&mut capsule, &Event::Timer { timer: 0 }), Progress::Idle);
    let effects: Vec<_> = capsule.effects().collect();
    assert_eq!(effects, [Effect::Log { level: 0, text: &(-6_i32).to_le_bytes() }]);
}

/// Adds up a million numbers in a loop, then publishes the sum.
const LONG: &str = r#"(module
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 64 (pagesize 1))
    (func (export "message") (param i32 i32) (local $i i64) (local $sum i64)
        (loop $again
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (local.get $i)))
            (br_if $again (i64.lt_u (local.get $i) (i64.const 100000))))
        (i64.store (i32.const 0) (local.get $sum))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#;

#[test]
fn a_long_handler_gives_the_same_result_however_it_is_sliced() {
    let event = Event::Message { input: 0, record: &[] };
    let mut whole = instance(LONG);
    assert_eq!(run_sliced(&mut whole, &event, u64::MAX), (Progress::Idle, 1));
    let expected: Vec<_> = whole.effects().collect();
    for fuel in [1, 1_000, 1_001, 7_777, 500_000] {
        let mut sliced = instance(LONG);
        let (end, slices) = run_sliced(&mut sliced, &event, fuel);
        assert_eq!(end, Progress::Idle);
        assert!(fuel > 100_000 || slices > 10, "{fuel} of fuel took {slices} slices");
        assert_eq!(sliced.effects().collect::<Vec<_>>(), expected);
        assert_eq!(sliced.fuel_used(), whole.fuel_used());
    }
}

#[test]
fn nothing_else_is_begun_or_changed_while_a_handler_is_suspended() {
    let mut capsule = instance(LONG);
    let event = Event::Message { input: 0, record: &[] };
    capsule.begin(&event, 0, None).unwrap();
    assert_eq!(capsule.run(1_000), Progress::Suspended);
    assert!(!capsule.is_quiescent());
    assert_eq!(capsule.begin(&event, 0, None), Err(Busy));
    assert_eq!(capsule.set_sample(0, &[1]), Err(Busy));
    assert!(capsule.snapshot(&wasm(LONG), &mut Vec::new(), 1_000).is_err());
}

#[test]
fn an_event_longer_than_its_limit_is_cut_to_it() {
    let limits = Limits { event: 4, ..Limits::default() };
    let mut counter = instance_of(&wasm(COUNTER), &limits);
    let record = i64::MAX.to_le_bytes();
    assert_eq!(run(&mut counter, &Event::Message { input: 0, record: &record }), Progress::Idle);
    let Some(Effect::Publish { record, .. }) = counter.effects().next() else { panic!() };
    assert_eq!(record[8..16], 0xffff_ffff_i64.to_le_bytes());
}

#[test]
fn a_full_outbox_says_so_and_keeps_what_is_in_it() {
    let limits = Limits { outbox_bytes: 23, ..Limits::default() };
    let mut counter = instance_of(&wasm(COUNTER), &limits);
    let event = Event::Message { input: 0, record: &[] };
    assert_eq!(run(&mut counter, &event), Progress::Idle);
    assert_eq!(counter.effects().count(), 0);
}

#[test]
fn a_dead_instance_stays_dead() {
    let text = r#"(module (memory (export "memory") 1 (pagesize 1))
        (func (export "timer") (param i32) unreachable))"#;
    let mut capsule = instance(text);
    let trapped = Progress::Trapped(Trap::Unreachable);
    assert_eq!(run(&mut capsule, &Event::Timer { timer: 0 }), trapped);
    assert_eq!(capsule.run(1_000), trapped);
    assert_eq!(capsule.begin(&Event::Timer { timer: 0 }, 0, None), Err(Busy));
}
