//! Capsules that mean harm: each is contained, and says how it ended.

mod common;

use capmesh_capsule_abi::Errno;
use capmesh_runtime::{Effect, Event, Limits, Progress, Trap};
use common::{instance, instance_of, run, run_sliced, wasm};

const TIMER: Event<'static> = Event::Timer { timer: 0 };

fn capsule(imports: &str, body: &str) -> String {
    format!(
        r#"(module {imports} (memory (export "memory") 64 (pagesize 1))
            (func $timer (export "timer") (param i32) {body}))"#
    )
}

#[test]
fn an_infinite_loop_ends_at_its_budget_and_yields_on_the_way() {
    let limits = Limits { handler_fuel: 100_000, ..Limits::default() };
    let mut looping = instance_of(&wasm(&capsule("", "(loop $l (br $l))")), &limits);
    let (end, slices) = run_sliced(&mut looping, &TIMER, 1_000);
    assert_eq!(end, Progress::Trapped(Trap::FuelBudget));
    assert!((90..=110).contains(&slices), "{slices} slices");
    assert!(looping.fuel_used() <= 100_000);
}

#[test]
fn unbounded_recursion_is_a_stack_overflow() {
    let text = capsule("", "(call $timer (i32.const 0))");
    assert_eq!(run(&mut instance(&text), &TIMER), Progress::Trapped(Trap::StackOverflow));
}

#[test]
fn a_frame_larger_than_the_stack_is_a_stack_overflow() {
    let locals = "(local i64) ".repeat(250);
    let operands = "(local.get 0) ".repeat(2_000);
    let text = capsule("", &format!("{locals} {operands} unreachable"));
    assert_eq!(run(&mut instance(&text), &TIMER), Progress::Trapped(Trap::StackOverflow));
}

#[test]
fn memory_grows_to_its_limit_and_not_further() {
    let grow = |pages: u32| {
        format!("(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))")
    };
    let limits = Limits { memory: 1_064, ..Limits::default() };
    let mut within = instance_of(&wasm(&capsule("", &grow(1_000))), &limits);
    assert_eq!(run(&mut within, &TIMER), Progress::Idle);
    assert_eq!(within.memory_size(), 1_064);
    let mut beyond = instance_of(&wasm(&capsule("", &grow(1_001))), &limits);
    assert_eq!(run(&mut beyond, &TIMER), Progress::Trapped(Trap::Unreachable));
    assert_eq!(beyond.memory_size(), 64);
}

#[test]
fn a_flood_of_calls_is_paid_for_and_bounded() {
    let log = r#"(import "capmesh1" "log" (func $log (param i32 i32 i32)))"#;
    let text =
        capsule(log, "(loop $l (call $log (i32.const 0) (i32.const 0) (i32.const 64)) (br $l))");
    let limits = Limits { handler_fuel: 100_000, ..Limits::default() };
    let mut flooding = instance_of(&wasm(&text), &limits);
    assert_eq!(run(&mut flooding, &TIMER), Progress::Trapped(Trap::FuelBudget));
    assert_eq!(flooding.effects().count(), usize::from(limits.outbox_entries));
}

/// Publishes `len` bytes until it is told that it may not, which it says in its log.
fn publishing(len: u32) -> String {
    let imports = r#"(import "capmesh1" "log" (func $log (param i32 i32 i32)))
        (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))"#;
    format!(
        r#"(module {imports} (memory (export "memory") 4096 (pagesize 1))
            (func (export "timer") (param i32) (loop $again
                (i32.store (i32.const 0) (call $publish (i32.const 0) (i32.const 8) (i32.const {len})))
                (br_if $again (i32.eqz (i32.load (i32.const 0)))))
                (call $log (i32.const 0) (i32.const 0) (i32.const 4))))"#
    )
}

#[test]
fn huge_outputs_are_refused_and_many_end_where_the_outbox_does() {
    let limits = Limits { outbox_bytes: 260, outbox_entries: 100, ..Limits::default() };
    for (len, errno, count) in
        [(65, Errno::Schema, 0), (4_000, Errno::Schema, 0), (64, Errno::Full, 4)]
    {
        let mut capsule = instance_of(&wasm(&publishing(len)), &limits);
        assert_eq!(run(&mut capsule, &TIMER), Progress::Idle);
        let effects: Vec<_> = capsule.effects().collect();
        let said = Effect::Log { level: 0, text: &errno.code().to_le_bytes() };
        assert_eq!(effects.last(), Some(&said), "{len}");
        assert_eq!(effects.len(), count + 1, "{len}");
    }
}

#[test]
fn pointers_out_of_bounds_end_the_handler_in_every_call() {
    let pairs = [(60, 5), (65, 0), (-1, 1), (0, -1), (-1, -1), (i32::MAX, i32::MAX), (64, 1)];
    for (name, ty, before, after) in [
        ("read", "(param i32 i32 i32) (result i32)", "(i32.const 0)", "drop"),
        ("publish", "(param i32 i32 i32) (result i32)", "(i32.const 0)", "drop"),
        ("request", "(param i32 i32 i32 i32) (result i32)", "(i32.const 0) (i32.const 0)", "drop"),
        ("respond", "(param i32 i32 i32) (result i32)", "(i32.const 69)", "drop"),
        ("sensor", "(param i32 i32 i32) (result i32)", "(i32.const 0)", "drop"),
        ("config", "(param i32 i32 i32) (result i32)", "(i32.const 0)", "drop"),
        ("log", "(param i32 i32 i32)", "(i32.const 0)", "nop"),
    ] {
        for (at, len) in pairs {
            let import = format!(r#"(import "capmesh1" "{name}" (func $f {ty}))"#);
            let body = format!("{before} (i32.const {at}) (i32.const {len}) call $f {after}");
            let end = run(&mut instance(&capsule(&import, &body)), &TIMER);
            assert_eq!(end, Progress::Trapped(Trap::OutOfBounds), "{name}({at}, {len})");
        }
    }
}

#[test]
fn a_trap_takes_back_everything_but_the_log() {
    let imports = r#"(import "capmesh1" "log" (func $log (param i32 i32 i32)))
        (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))"#;
    let text = capsule(
        imports,
        "(call $log (i32.const 0) (i32.const 0) (i32.const 1))
         (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
         (drop (i32.div_u (i32.const 1) (i32.const 0)))",
    );
    let mut trapping = instance(&text);
    assert_eq!(run(&mut trapping, &TIMER), Progress::Trapped(Trap::Arithmetic));
    let effects: Vec<_> = trapping.effects().collect();
    assert_eq!(effects, [Effect::Log { level: 0, text: &[0] }]);
}

#[test]
fn each_way_to_trap_has_its_name() {
    for (body, trap) in [
        ("unreachable", Trap::Unreachable),
        ("(drop (i32.load (i32.const 61)))", Trap::OutOfBounds),
        ("(drop (i32.rem_s (i32.const 1) (i32.const 0)))", Trap::Arithmetic),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", Trap::Arithmetic),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", Trap::Arithmetic),
        ("(memory.fill (i32.const 60) (i32.const 0) (i32.const 5))", Trap::OutOfBounds),
    ] {
        assert_eq!(
            run(&mut instance(&capsule("", body)), &TIMER),
            Progress::Trapped(trap),
            "{body}"
        );
    }
    let table = "(type $f (func)) (table 2 funcref) (elem (i32.const 0) func $timer)";
    for (index, why) in [(0, "another type"), (1, "null"), (2, "out of bounds")] {
        let text = capsule(table, &format!("(call_indirect (type $f) (i32.const {index}))"));
        let end = run(&mut instance(&text), &TIMER);
        assert_eq!(end, Progress::Trapped(Trap::IndirectCall), "{why}");
    }
}

#[test]
fn a_trap_in_start_is_a_trap_like_any_other() {
    let text = r#"(module (memory (export "memory") 1 (pagesize 1))
        (func (export "start") unreachable) (func (export "timer") (param i32)))"#;
    assert_eq!(run(&mut instance(text), &Event::Start), Progress::Trapped(Trap::Unreachable));
}
