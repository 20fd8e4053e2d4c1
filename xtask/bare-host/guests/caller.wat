;; Calls `bench:calls/echo` in a loop and answers the sum of the lengths that came back.
(component
  (import "bench:calls/echo" (instance $echo
    (export "text" (func (param "text" string) (result string)))
    (export "bytes" (func (param "bytes" (list u8)) (result (list u8))))))
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "forget") (global.set $next (i32.const 65536)))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $text (canon lower (func $echo "text") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $bytes (canon lower (func $echo "bytes") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "libc" "forget" (func $forget))
    (import "echo" "text" (func $text (param i32 i32 i32)))
    (import "echo" "bytes" (func $bytes (param i32 i32 i32)))
    (func (export "string64") (param $count i32) (result i32)
      (local $sum i32)
      (loop $again
        (call $forget)
        (call $text (i32.const 8192) (i32.const 64) (i32.const 16))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 20))))
        (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      (local.get $sum))
    (func (export "bytes4k") (param $count i32) (result i32)
      (local $sum i32)
      (loop $again
        (call $forget)
        (call $bytes (i32.const 8192) (i32.const 4096) (i32.const 16))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 20))))
        (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
      (local.get $sum)))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "echo" (instance (export "text" (func $text)) (export "bytes" (func $bytes))))))
  (func $string64 (param "count" u32) (result u32) (canon lift (core func $i "string64")))
  (func $bytes4k (param "count" u32) (result u32) (canon lift (core func $i "bytes4k")))
  (instance $driver (export "string64" (func $string64)) (export "bytes4k" (func $bytes4k)))
  (export "bench:calls/driver" (instance $driver)))
