//! Modules with as much of something as there may be, and with one more.

use crate::heap::peak;
use crate::ordeal::{HEAP, HEAP_PER_BYTE};
use capmesh_runtime::bounds::{self, Bound};
use capmesh_runtime::{Event, Instance, Limits, Progress, Refusal, Runtime, Surroundings, Trap};

/// A capsule with these fields and this body, whose length is nothing to stop at.
fn capsule(fields: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (type $timer (func (param i32))) {fields}
            (memory (export "memory") 64 (pagesize 1))
            (func $f (export "timer") (type $timer) {body}))"#
    );
    wat::parse_str(text).expect("valid text")
}

/// A module that has `count` of what `bound` counts.
fn with(bound: Bound, count: u32) -> Vec<u8> {
    let times = |count: u32, text: &str| text.repeat(count as usize);
    match bound {
        bounds::TYPES => {
            let params = times(bounds::VALUES.most, "i64 ");
            let other = format!("(type (func (param {params}) (result {params})))");
            capsule(&times(count - 1, &other), "")
        }
        bounds::VALUES => capsule(&format!("(type (func (param {})))", times(count, "i64 ")), ""),
        bounds::IMPORTS => {
            capsule(&times(count, r#"(import "capmesh1" "time" (func (result i64)))"#), "")
        }
        bounds::FUNCTIONS => capsule(&times(count - 1, "(func)"), ""),
        bounds::GLOBALS => capsule(&times(count, "(global i64 (i64.const 1))"), ""),
        bounds::EXPORTS => {
            let names = 2..count;
            let exports = names.map(|n| format!(r#"(export "a rather long name {n}" (func $f))"#));
            capsule(&exports.collect::<String>(), "")
        }
        bounds::DATA => capsule(&times(count, r#"(data (i32.const 0) "")"#), ""),
        bounds::ELEMENTS => {
            let segments = times(count, "(elem (i32.const 0) func $f)");
            capsule(&format!("(table 1 funcref) {segments}"), "")
        }
        bounds::LOCALS => capsule("", &times(count - 1, "(local i64)")),
        bounds::NESTING => {
            capsule("", &format!("{}{}", times(count - 1, "(block "), times(count - 1, ")")))
        }
        bounds::TARGETS => {
            capsule("", &format!("(br_table {} 0 (local.get 0))", times(count, "0 ")))
        }
        bounds::STRETCH => capsule("", &times(count - 1, "nop ")),
        other => unreachable!("{other:?}"),
    }
}

const ALL: [Bound; 12] = [
    bounds::TYPES,
    bounds::VALUES,
    bounds::IMPORTS,
    bounds::FUNCTIONS,
    bounds::GLOBALS,
    bounds::EXPORTS,
    bounds::DATA,
    bounds::ELEMENTS,
    bounds::LOCALS,
    bounds::NESTING,
    bounds::TARGETS,
    bounds::STRETCH,
];

#[test]
fn each_bound_is_reached_and_not_passed() {
    for bound in ALL {
        let (runtime, limits) = (Runtime::new(), Limits::default());
        let module = with(bound, bound.most);
        let (admitted, heap) = peak(|| runtime.admit(&module, &limits));
        println!("{:>6} bytes, {heap:>6} of heap: {} {}", module.len(), bound.most, bound.what);
        assert!(heap <= HEAP + HEAP_PER_BYTE * module.len(), "{heap} bytes for {}", bound.what);
        assert!(admitted.is_ok(), "{:?}", admitted.err());
        let refused = runtime.admit(&with(bound, bound.most + 1), &limits).err();
        assert_eq!(refused, Some(Refusal::TooMany { bound, count: bound.most + 1 }));
    }
}

/// The most fuel that a slice of so much has had.
fn longest_slice(body: &str, slice: u64) -> (u64, Progress) {
    let module = capsule("", body);
    let (runtime, limits) = (Runtime::new(), Limits::default());
    let admitted = runtime.admit(&module, &limits).expect("within the bounds");
    let instance = runtime.instantiate(&admitted, &limits, Surroundings::default(), 1);
    let mut instance = instance.expect("it fits");
    instance.begin(&Event::Timer { timer: 0 }, 0, None).expect("quiescent");
    let mut longest = 0;
    loop {
        let before = instance.fuel_used();
        let progress = instance.run(slice);
        longest = longest.max(instance.fuel_used() - before);
        if progress != Progress::Suspended {
            return (longest, progress);
        }
    }
}

const ADD: &str = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))";

#[test]
fn no_slice_is_longer_than_the_longest_stretch() {
    let most = bounds::STRETCH.most / 4;
    // Where a condition is constant, the interpreter takes what is inside for part of what is around.
    let nested = format!("(if (i32.const 1) (then {ADD}))");
    for (part, times) in [(ADD, most - 2), (&nested, most / 2 - 2)] {
        let body = format!("(loop $l {} (br $l))", part.repeat(times as usize));
        let (longest, end) = longest_slice(&body, 1);
        assert!(longest <= u64::from(bounds::STRETCH.most) + 1, "{longest}");
        assert_eq!(end, Progress::Trapped(Trap::FuelBudget));
    }
    let fill = "(loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 64)) (br $l))";
    assert!(longest_slice(fill, 1).0 <= Instance::MIN_SLICE);
}

/// The interpreter counts loops that never run for what is around them, so that admission's count is
/// not the last word.
#[test]
fn a_stretch_that_grows_by_loops_that_never_run_is_not_run() {
    let dead = format!("(if (i32.const 0) (then (loop {})))", ADD.repeat(500));
    let (longest, end) = longest_slice(&dead, 1);
    assert!(longest <= u64::from(bounds::STRETCH.most) + 1, "{longest}");
    assert_eq!(end, Progress::Idle);
    let (longest, end) = longest_slice(&dead.repeat(10), u64::MAX);
    assert!(longest > 10 * 4 * 500, "{longest}");
    assert_eq!(end, Progress::Idle, "nobody waits for it");
    let (longest, end) = longest_slice(&dead.repeat(10), 10_000);
    assert!(longest <= 10_000, "{longest}");
    assert_eq!(end, Progress::Trapped(Trap::FuelBudget));
}
