(module
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (memory (export "memory") 64 64 (pagesize 1))
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const 5000))))
    (func (export "timer") (param i32)
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $set_timer (i32.const 0) (i64.const 5000)))))
