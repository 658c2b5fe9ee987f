use super::*;

/// A capsule with everything that a compiler leaves behind.
const UNTIDY: &str = r#"(module
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (table 1 1 funcref)
    (memory (export "memory") 2)
    (global $stack (mut i32) (i32.const 1024))
    (global $base i32 (i32.const 1100))
    (export "__heap_base" (global $base))
    (export "stack_pointer" (global $stack))
    (data (i32.const 1024) "hello")
    (func (export "message") (param i32 i32)
        (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
        (drop (call $publish (i32.const 0) (i32.const 1024) (i32.const 5))))
    (func (export "state_version") (result i32) (i32.const 3))
    (func (export "helper"))
    (@custom "producers" "a compiler"))"#;

fn packed(text: &str, hints: Hints) -> Packed {
    pack(text.as_bytes(), hints).unwrap()
}

fn names(wasm: &[u8]) -> Vec<String> {
    let survey = Survey::of(wasm).unwrap();
    survey.exports.iter().map(|export| export.name.clone()).collect()
}

#[test]
fn what_a_node_does_not_need_is_gone() {
    let packed = packed(UNTIDY, Hints::default());
    assert_eq!(names(&packed.wasm), ["memory", "message", "state_version", "$g0"]);
    assert_eq!(packed.handlers, ["message", "state_version"]);
    assert_eq!(packed.state_version, Some(3));
    assert_eq!(packed.table_elements, 0, "nothing is called through the table");
    assert_eq!(custom_bytes(&packed.wasm), Ok(0));
    assert!(custom_bytes(&wat::parse_str(UNTIDY).unwrap()).unwrap() >= 10);
    assert_eq!(packed.notes, [Note::UselessExports(vec!["helper".into()])]);
}

#[test]
fn packing_twice_changes_nothing() {
    let once = packed(UNTIDY, Hints::default());
    let twice = pack(&once.wasm, Hints::default()).unwrap();
    assert_eq!(once.wasm, twice.wasm);
    assert_eq!(twice.notes, []);
}

#[test]
fn memory_ends_where_data_and_stack_do() {
    let packed = packed(UNTIDY, Hints::default());
    assert_eq!((packed.memory, packed.max_memory), (1104, 1104));
}

#[test]
fn memory_that_may_grow_or_has_no_known_end_stays() {
    let growing =
        UNTIDY.replace("(func (export \"helper\"))", "(func (drop (memory.grow (i32.const 1))))");
    let packed = packed(&growing, Hints::default());
    assert_eq!(packed.memory, 128 << 10);
    assert!(matches!(packed.notes[..], [Note::LargePages(131_072, why)] if why.contains("grows")));
    let endless = UNTIDY.replace("__heap_base", "__heap_bass");
    let packed = pack(endless.as_bytes(), Hints::default()).unwrap();
    assert!(
        matches!(packed.notes[0], Note::LargePages(131_072, why) if why.contains("__heap_base"))
    );
    let hints = Hints { heap_base: Some(1_100), ..Hints::default() };
    assert_eq!(pack(endless.as_bytes(), hints).unwrap().memory, 1104);
}

#[test]
fn an_author_may_fix_the_memory_of_what_grows() {
    use capmesh_runtime::{Effect, Event, Progress, Surroundings};
    // Publishes what `memory.size` and `memory.grow` give.
    let text = r#"(module
        (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "timer") (param i32)
            (i32.store (i32.const 0) (memory.size))
            (i32.store (i32.const 4) (memory.grow (i32.const 1)))
            (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#;
    let packed = packed(text, Hints { memory: Some(2_000), ..Hints::default() });
    assert_eq!((packed.memory, packed.max_memory), (2_000, 2_000));
    let limits = generous_limits();
    let runtime = Runtime::new();
    let admitted = runtime.admit(&packed.wasm, &limits).unwrap();
    let surroundings = Surroundings { outputs: vec![(8, 8)], ..Surroundings::default() };
    let mut instance = runtime.instantiate(&admitted, &limits, surroundings, 0).unwrap();
    assert_eq!(instance.memory_size(), 2_000);
    assert_eq!(instance.begin(&Event::Timer { timer: 0 }, 0, None), Ok(true));
    assert_eq!(instance.run(100_000), Progress::Idle);
    let effects: Vec<_> = instance.effects().collect();
    assert_eq!(effects, [Effect::Publish { output: 0, record: &[1, 0, 0, 0, 255, 255, 255, 255] }]);
}

#[test]
fn memory_that_is_too_small_is_refused_or_pointed_out() {
    let hints = |memory| Hints { memory: Some(memory), ..Hints::default() };
    let fault = pack(UNTIDY.as_bytes(), hints(1_028)).unwrap_err();
    assert_eq!(fault, Fault::Data { memory: 1_028, data_end: 1_029 });
    let cramped = packed(UNTIDY, hints(1_029));
    assert!(cramped.notes.contains(&Note::Cramped { given: 1_029, needed: 1_100 }));
    let text = r#"(module (memory (export "memory") 100 (pagesize 1)) (func (export "timer") (param i32)))"#;
    assert_eq!(packed(text, hints(4_000)).max_memory, 100, "it cannot grow");
}

#[test]
fn a_memory_with_another_name_or_none_is_exported() {
    let text = r#"(module (memory 100 (pagesize 1)) (func (export "timer") (param i32)))"#;
    assert_eq!(names(&packed(text, Hints::default()).wasm), ["timer", "memory"]);
    let text =
        r#"(module (memory (export "mem") 100 (pagesize 1)) (func (export "timer") (param i32)))"#;
    assert_eq!(names(&packed(text, Hints::default()).wasm), ["timer", "memory"]);
}

#[test]
fn tables_that_are_called_through_stay() {
    let text = r#"(module (memory (export "memory") 1 (pagesize 1))
        (type $f (func (param i32))) (table 2 funcref) (elem (i32.const 1) $go)
        (func $go (export "timer") (param i32)
            (call_indirect (type $f) (local.get 0) (i32.const 1))))"#;
    assert_eq!(packed(text, Hints::default()).table_elements, 2);
}

#[test]
fn exports_can_be_kept_for_others_than_nodes() {
    let hints = Hints { keep_exports: true, ..Hints::default() };
    let (wasm, notes) = prepare(UNTIDY.as_bytes(), hints).unwrap();
    assert!(names(&wasm).contains(&"helper".to_owned()));
    assert_eq!(notes, []);
}

/// What a node refuses is refused here, in its words.
#[test]
fn refusals_are_the_runtimes() {
    let handler = r#"(func (export "timer") (param i32))"#;
    let memory = r#"(memory (export "memory") 1 (pagesize 1))"#;
    for (text, words) in [
        (format!("(module {handler})"), "exports no memory"),
        (format!("(module {memory} (func (export \"x\")))"), "exports none of `message`"),
        (format!("(module {memory} (func (export \"timer\")))"), "`timer` has another type"),
        (format!("(module {memory} (global (export \"timer\") i32 (i32.const 0)))"), "`timer`"),
        (
            format!("(module (import \"env\" \"abort\" (func)) {memory} {handler})"),
            "`env.abort` is not part of the contract",
        ),
        (
            format!("(module (import \"capmesh1\" \"time\" (func)) {memory} {handler})"),
            "`capmesh1.time` has another type",
        ),
        (format!("(module {memory} {handler} (func $s) (start $s))"), "start function"),
        (format!("(module {memory} {handler} (data \"x\"))"), "passive"),
        (format!("(module {memory} {handler} (func (v128.const i64x2 0 0) drop))"), "not valid"),
        (format!("(module {memory} (memory 1) {handler})"), "not valid"),
        (format!("(module (memory (export \"memory\") 100) {handler})"), "6553600 bytes of memory"),
    ] {
        let fault = pack(text.as_bytes(), Hints::default()).unwrap_err();
        assert!(matches!(fault, Fault::Refused(_)), "{text}: {fault}");
        assert!(fault.to_string().contains(words), "{text}: {fault}");
    }
}

#[test]
fn what_is_no_module_is_refused_with_its_place() {
    assert!(
        matches!(pack(b"(module (memroy 1))", Hints::default()), Err(Fault::Text(why)) if why.contains("memroy"))
    );
    assert!(matches!(pack(b"\0asm\x01\0\0\0\x01\xff", Hints::default()), Err(Fault::Malformed(_))));
    assert_eq!(pack(b"(module)", Hints::default()), Err(Fault::Exports));
}

#[test]
fn the_heaps_beginning_is_found_by_name_too() {
    let text = r#"(module (global $~lib/memory/__heap_base i32 (i32.const 77)))"#;
    assert_eq!(heap_base(&wat::parse_str(text).unwrap()), Ok(Some(77)));
    assert_eq!(
        heap_base(&wat::parse_str("(module (global i32 (i32.const 77)))").unwrap()),
        Ok(None)
    );
}
