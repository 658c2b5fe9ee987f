;; The state begins at 64 and ends at 8,256: 1,024 words, each mixed from its number and the last count that
;; fell to it, so that there are no runs that a snapshot could leave out.
(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (memory (export "memory") 8256 8256 (pagesize 1))
    (func $mix (param $word i32) (param $count i64)
        (i64.store
            (i32.add (i32.const 64) (i32.mul (local.get $word) (i32.const 8)))
            (i64.mul
                (i64.add (i64.extend_i32_u (local.get $word)) (i64.add (local.get $count) (i64.const 1)))
                (i64.const 0x9e3779b97f4a7c15))))
    (func (export "start") (local $word i32)
        (loop $next
            (call $mix (local.get $word) (i64.const 1))
            (local.set $word (i32.add (local.get $word) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $word) (i32.const 1024)))))
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (call $mix
            (i32.wrap_i64 (i64.and (i64.load (i32.const 0)) (i64.const 1023)))
            (i64.load (i32.const 0)))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))
