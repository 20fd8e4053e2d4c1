//! Actors in text form.

const MEMORY: &str = r#"(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))"#;

const LIBC: &str = r#"
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))"#;

/// Exports `test:echo/echo`, whose function `text` gives back what it is given.
pub(crate) fn echo() -> String {
    format!(
        r#"(component {LIBC}
          (core module $m
            (import "libc" "memory" (memory 1))
            (func (export "echo") (param i32 i32) (result i32)
              (i32.store (i32.const 16) (local.get 0))
              (i32.store (i32.const 20) (local.get 1))
              (i32.const 16)))
          (core instance $i (instantiate $m (with "libc" (instance $libc))))
          (func $text (param "text" string) (result string) (canon lift (core func $i "echo") {MEMORY}))
          (instance $out (export "text" (func $text)))
          (export "test:echo/echo" (instance $out)))"#
    )
}

/// Exports `test:echo/echo`, whose function `text` gives back `answer` whatever it is given.
pub(crate) fn answering(answer: &str) -> String {
    let length = answer.len();
    format!(
        r#"(component {LIBC}
          (core module $m
            (import "libc" "memory" (memory 1))
            (data (i32.const 1024) "{answer}")
            (func (export "echo") (param i32 i32) (result i32)
              (i32.store (i32.const 16) (i32.const 1024))
              (i32.store (i32.const 20) (i32.const {length}))
              (i32.const 16)))
          (core instance $i (instantiate $m (with "libc" (instance $libc))))
          (func $text (param "text" string) (result string) (canon lift (core func $i "echo") {MEMORY}))
          (instance $out (export "text" (func $text)))
          (export "test:echo/echo" (instance $out)))"#
    )
}

/// As [`echo`], and as large as `code_bytes` of functions that nobody calls and `data_bytes` of data make it.
pub(crate) fn large(code_bytes: usize, data_bytes: usize) -> String {
    /// What one of the functions comes to.
    const FUNCTION_BYTES: usize = 60;
    let body = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 77)) (i32.xor (local.get 0) (i32.const 99))))";
    let function = format!("(func (param i32) (result i32) {} (local.get 0))\n", body.repeat(4));
    let functions = function.repeat(code_bytes / FUNCTION_BYTES);
    let data = "x".repeat(data_bytes);
    let pages = data_bytes.div_ceil(65_536) + 1;
    let unused = format!("(core module $unused (memory {pages}) (data (i32.const 0) \"{data}\") {functions})");
    echo().replacen("(component ", &format!("(component {unused} "), 1)
}

/// Exports `test:front/front`, whose function `text` gives back what `text` of the imported `test:echo/echo` gives.
pub(crate) fn front() -> String {
    format!(
        r#"(component
          (import "test:echo/echo" (instance $echo
            (export "text" (func (param "text" string) (result string)))))
          {LIBC}
          (core func $text (canon lower (func $echo "text") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "echo" "text" (func $text (param i32 i32 i32)))
            (func (export "text") (param i32 i32) (result i32)
              (call $text (local.get 0) (local.get 1) (i32.const 16))
              (i32.const 16)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "echo" (instance (export "text" (func $text))))))
          (func $out (param "text" string) (result string) (canon lift (core func $i "text") {MEMORY}))
          (instance $front (export "text" (func $out)))
          (export "test:front/front" (instance $front)))"#
    )
}

/// Exports nothing.
pub(crate) const EMPTY: &str = "(component)";

/// Exports `test:echo/echo`, whose function `text` gives back the secret of the name that it is given, or why not.
pub(crate) fn secret_reader() -> String {
    format!(
        r#"(component
          (import "wasmcloud:secrets/store@0.1.0-draft" (instance $store
            (type $error' (variant (case "upstream" string) (case "io" string) (case "not-found")))
            (export "secrets-error" (type $error (eq $error')))
            (type $value' (variant (case "string" string) (case "bytes" (list u8))))
            (export "secret-value" (type $value (eq $value')))
            (export "secret" (type $secret (sub resource)))
            (export "get" (func (param "key" string) (result (result (own $secret) (error $error)))))))
          (alias export $store "secret" (type $secret))
          (alias export $store "secret-value" (type $value))
          (import "wasmcloud:secrets/reveal@0.1.0-draft" (instance $reveal
            (export "secret" (type $s (eq $secret)))
            (export "secret-value" (type $v (eq $value)))
            (export "reveal" (func (param "s" (borrow $s)) (result $v)))))
          {LIBC}
          (core func $get (canon lower (func $store "get") {MEMORY}))
          (core func $reveal (canon lower (func $reveal "reveal") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "in" "get" (func $get (param i32 i32 i32)))
            (import "in" "reveal" (func $reveal (param i32 i32)))
            (data (i32.const 1024) "not-found")
            (func $answer (param i32 i32) (result i32)
              (i32.store (i32.const 16) (local.get 0))
              (i32.store (i32.const 20) (local.get 1))
              (i32.const 16))
            (func (export "text") (param i32 i32) (result i32)
              (call $get (local.get 0) (local.get 1) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then
                (if (i32.eq (i32.load8_u (i32.const 68)) (i32.const 2)) (then
                  (return (call $answer (i32.const 1024) (i32.const 9)))))
                (return (call $answer (i32.load (i32.const 72)) (i32.load (i32.const 76))))))
              (call $reveal (i32.load (i32.const 68)) (i32.const 96))
              (call $answer (i32.load (i32.const 100)) (i32.load (i32.const 104)))))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "in" (instance (export "get" (func $get)) (export "reveal" (func $reveal))))))
          (func $text (param "text" string) (result string) (canon lift (core func $i "text") {MEMORY}))
          (instance $out (export "text" (func $text)))
          (export "test:echo/echo" (instance $out)))"#
    )
}

/// Exports `test:echo/echo`, whose function `text` gives back what wasi:config, under the name `import`, has of the
/// key that it is given; nothing when it has none.
pub(crate) fn config_reader(import: &str) -> String {
    let error = if import.contains("runtime") { "config-error" } else { "error" };
    format!(
        r#"(component
          (import "{import}" (instance $config
            (type $variant (variant (case "upstream" string) (case "io" string)))
            (export "{error}" (type $error (eq $variant)))
            (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
          {LIBC}
          (core func $get (canon lower (func $config "get") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "config" "get" (func $get (param i32 i32 i32)))
            (func (export "text") (param i32 i32) (result i32)
              (call $get (local.get 0) (local.get 1) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then unreachable))
              (i64.store (i32.const 16) (i64.const 0))
              (if (i32.load8_u (i32.const 68)) (then (i64.store (i32.const 16) (i64.load (i32.const 72)))))
              (i32.const 16)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) (with "config" (instance (export "get" (func $get))))))
          (func $text (param "text" string) (result string) (canon lift (core func $i "text") {MEMORY}))
          (instance $out (export "text" (func $text)))
          (export "test:echo/echo" (instance $out)))"#
    )
}
