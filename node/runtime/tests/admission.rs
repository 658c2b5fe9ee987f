//! What is admitted, and what each rule says when it is broken.

mod common;

use capmesh_capsule_abi::{IMPORTS, Type};
use capmesh_runtime::{Limits, Refusal, Runtime};
use common::{COUNTER, admit, surroundings, wasm};

fn refusal(text: &str) -> String {
    admit(text, &Limits::default()).expect_err("it breaks a rule").to_string()
}

#[test]
fn a_capsule_that_keeps_the_contract_is_admitted_and_says_what_it_handles() {
    let admitted = Runtime::new().admit(&wasm(COUNTER), &Limits::default()).expect("admitted");
    assert!(admitted.handles("start") && admitted.handles("message"));
    assert!(!admitted.handles("timer") && !admitted.handles("memory"));
}

#[test]
fn a_module_that_ends_early_is_refused() {
    let runtime = Runtime::new();
    // Its code section is its last one, so that every shorter module is incomplete.
    let module = wasm(
        r#"(module (memory (export "memory") 1 (pagesize 1)) (func (export "timer") (param i32)))"#,
    );
    assert!(runtime.admit(&module, &Limits::default()).is_ok());
    for cut in 0..module.len() {
        assert!(runtime.admit(&module[..cut], &Limits::default()).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_never_panics() {
    let runtime = Runtime::new();
    let module = wasm(COUNTER);
    for bit in 0..module.len() * 8 {
        let mut module = module.clone();
        module[bit / 8] ^= 1 << (bit % 8);
        let _ = runtime.admit(&module, &Limits::default());
    }
}

#[test]
fn code_that_does_not_type_check_is_refused() {
    let text = r#"(module (memory (export "memory") 1 (pagesize 1))
        (func (export "timer") (param i32) (drop (i64.add (local.get 0) (i64.const 1)))))"#;
    let why = refusal(text);
    assert!(why.starts_with("the module is not valid: type mismatch"), "{why}");
}

#[test]
fn each_limit_is_named_with_what_it_would_take() {
    let limits = Limits { module: 40, ..Limits::default() };
    let size = wasm(COUNTER).len();
    assert_eq!(admit(COUNTER, &limits), Err(Refusal::TooLarge { size, limit: 40 }));
    let limits = Limits { memory: 599, ..Limits::default() };
    assert_eq!(admit(COUNTER, &limits), Err(Refusal::Memory { size: 600, limit: 599 }));
    let text = r#"(module (memory (export "memory") 1) (func (export "timer") (param i32)))"#;
    let size = 65_536;
    assert_eq!(admit(text, &Limits::default()), Err(Refusal::Memory { size, limit: 16_384 }));
}

#[test]
fn every_function_of_the_contract_can_be_imported() {
    let name = |ty: &Type| match ty {
        Type::I32 => "i32 ",
        Type::I64 => "i64 ",
        Type::F64 => "f64 ",
    };
    let imports = IMPORTS.iter().map(|function| {
        let params: String = function.params.iter().map(name).collect();
        let result: String = function.result.iter().map(name).collect();
        let name = function.name;
        format!(r#"(import "capmesh1" "{name}" (func (param {params}) (result {result})))"#)
    });
    let imports: String = imports.collect();
    let text = format!(
        r#"(module {imports} (memory (export "memory") 1 (pagesize 1))
        (func (export "timer") (param i32)))"#
    );
    let (runtime, limits) = (Runtime::new(), Limits::default());
    let admitted = runtime.admit(&wasm(&text), &limits).expect("admitted");
    assert!(runtime.instantiate(&admitted, &limits, surroundings(), 1).is_ok());
}

#[test]
fn imports_outside_the_contract_are_refused_by_name() {
    for (import, why) in [
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
            "the import `wasi_snapshot_preview1.fd_write` is not part of the contract `capmesh1`",
        ),
        (
            r#"(import "capmesh1" "socket" (func))"#,
            "the import `capmesh1.socket` is not part of the contract `capmesh1`",
        ),
        (
            r#"(import "capmesh1" "publish" (func (param i32) (result i32)))"#,
            "the import `capmesh1.publish` has another type than the contract gives it",
        ),
        (
            r#"(import "capmesh1" "time" (global i64))"#,
            "the import `capmesh1.time` has another type than the contract gives it",
        ),
    ] {
        let text = format!(
            r#"(module {import} (memory (export "memory") 1 (pagesize 1)) (func (export "timer") (param i32)))"#
        );
        assert_eq!(refusal(&text), why);
    }
}

#[test]
fn exports_must_have_the_types_of_the_contract() {
    let memory = r#"(memory (export "memory") 1 (pagesize 1))"#;
    for (body, why) in [
        (
            r#"(func (export "message") (param i32))"#,
            "the export `message` has another type than the contract gives it",
        ),
        (
            r#"(global (export "timer") i32 (i32.const 0))"#,
            "the export `timer` has another type than the contract gives it",
        ),
        (
            r#"(func (export "start"))"#,
            "the module exports none of `message`, `timer`, `event`, `request` and `run`: it would never do anything",
        ),
    ] {
        assert_eq!(refusal(&format!("(module {memory} {body})")), why);
    }
    let no_memory = r#"(module (func (export "timer") (param i32)))"#;
    assert_eq!(refusal(no_memory), "the module exports no memory named `memory`");
    let hidden = r#"(module (memory 1 (pagesize 1)) (func (export "timer") (param i32)))"#;
    assert_eq!(refusal(hidden), "the module exports no memory named `memory`");
}

#[test]
fn state_that_a_snapshot_could_not_hold_is_refused() {
    let wrap = |body: &str| {
        format!(
            r#"(module (memory (export "memory") 8 (pagesize 1)) (func (export "timer") (param i32)) {body})"#
        )
    };
    let hidden = wrap("(global (mut i32) (i32.const 0))");
    assert_eq!(
        refusal(&hidden),
        "the mutable global 0 is not exported as `$g0`; pack the module first"
    );
    let misnamed = wrap(r#"(global (mut i32) (i32.const 0)) (export "$g1" (global 0))"#);
    assert!(refusal(&misnamed).starts_with("the mutable global 0 is not exported"));
    let passive =
        "the module has a passive data or element segment; snapshots cannot hold its state";
    assert_eq!(refusal(&wrap(r#"(data "passive")"#)), passive);
    assert_eq!(refusal(&wrap("(func $f) (elem func $f)")), passive);
    let start = refusal(&wrap("(func $f) (start $f)"));
    assert_eq!(start, "the module is not valid: a start function; export `start` instead");
    let grow = refusal(&wrap(
        "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
    ));
    assert!(grow.starts_with("the module is not valid"), "{grow}");
}

#[test]
fn proposals_outside_the_accepted_webassembly_are_refused() {
    for body in [
        "(func (drop (v128.const i32x4 0 0 0 0)))",
        "(memory 1)",
        "(func $f (return_call $f))",
        "(func (param externref))",
        "(tag)",
    ] {
        let text = format!(
            r#"(module (memory (export "memory") 1 (pagesize 1)) (func (export "timer") (param i32)) {body})"#
        );
        assert!(refusal(&text).starts_with("the module is not valid"), "{body}");
    }
}
