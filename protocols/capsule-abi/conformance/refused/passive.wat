;; Written by hand: copies a passive segment, of which no snapshot can tell whether it was dropped.
(module
    (memory (export "memory") 1)
    (data $text "hello")
    (func (export "message") (param i32 i32)
        (memory.init $text (i32.const 0) (i32.const 0) (i32.const 5))
        (data.drop $text)))
