//! Actors in text form against a real runtime: what comes back, and what ends them.

use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::invocation::{Context, Encoding, Head, Invocation};

mod blobs;
mod bounds;
mod builtin;
mod chain;
mod keyvalue;

use super::{Actor, Spec};
use crate::error::ErrorKind;
use crate::router::Router;
use crate::runtime::value::Args;
use crate::runtime::{Limits, Runtime, Settings};

/// A module with a memory and an allocator that only goes up.
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

const MEMORY: &str = r#"(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))"#;

/// Sixteen numbers: with them no parameter list fits registers, so parameters and a result of the same type have the
/// same form in memory, and a function that gives back what it is given is one for every type.
const PAD: &str = "(tuple u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64 u64)";

/// An actor that exports `test:echo/echo` with a function `echo` for `ty`.
fn echo_of(ty: &str) -> String {
    format!(
        r#"(component {LIBC}
          (core module $m (func (export "echo") (param i32) (result i32) (local.get 0)))
          (core instance $i (instantiate $m))
          (func $echo (param "value" {ty}) (param "pad" {PAD}) (result (tuple {ty} {PAD}))
            (canon lift (core func $i "echo") {MEMORY}))
          (instance $out (export "echo" (func $echo)))
          (export "test:echo/echo" (instance $out)))"#
    )
}

/// An actor that exports `test:echo/echo` with `text` and `bytes`, which give back what they are given.
fn echo() -> String {
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
          (func $bytes (param "bytes" (list u8)) (result (list u8)) (canon lift (core func $i "echo") {MEMORY}))
          (instance $out (export "text" (func $text)) (export "bytes" (func $bytes)))
          (export "test:echo/echo@1.2.0" (instance $out)))"#
    )
}

/// An actor with a function `run` without parameters, whose core function is `body`; `start` runs at instantiation.
fn runner(body: &str, start: &str) -> String {
    format!(
        r#"(component
          (core module $m (memory (export "memory") 1) (func $run (export "run") {body}) {start})
          (core instance $i (instantiate $m))
          (func $run (canon lift (core func $i "run")))
          (instance $out (export "run" (func $run)))
          (export "test:run/run" (instance $out)))"#
    )
}

fn runtime() -> Arc<Runtime> {
    Runtime::new(Settings { cache_dir: None, max_instances: 64 }).expect("builds")
}

fn nowhere() -> Arc<Router> {
    Router::of_links(&[])
}

async fn start_with(runtime: &Arc<Runtime>, wat: &str, limits: Limits, router: Arc<Router>) -> Arc<Actor> {
    let bytes = wat::parse_str(wat).expect("is text of a component");
    let component = runtime.load(bytes.into()).await.expect("loads");
    let id = "callee".parse().expect("valid");
    Actor::start(runtime, Spec { id, component, limits, setup: Default::default() }, router).expect("starts")
}

async fn start(wat: &str) -> (Arc<Runtime>, Arc<Actor>) {
    let runtime = runtime();
    let actor = start_with(&runtime, wat, Limits::default(), nowhere()).await;
    (runtime, actor)
}

async fn refused(wat: &str) -> (ErrorKind, String) {
    let runtime = runtime();
    let component = runtime.load(wat::parse_str(wat).expect("is text").into()).await.expect("loads");
    let id = "callee".parse().expect("valid");
    let spec = Spec { id, component, limits: Limits::default(), setup: Default::default() };
    match Actor::start(&runtime, spec, nowhere()) {
        Ok(_) => panic!("was started"),
        Err(error) => (error.kind(), error.to_string()),
    }
}

fn head(interface: &str, function: &str, encoding: Encoding, budget: Duration) -> Head {
    Head {
        id: uuid::Uuid::now_v7(),
        source: "caller".parse().expect("valid"),
        target: "callee".parse().expect("valid"),
        link: Default::default(),
        interface: Interface::parse(interface).expect("valid"),
        function: function.into(),
        signature: None,
        encoding,
        attempt: 1,
        grant_epoch: 0,
        context: Context::root(budget),
    }
}

async fn call(actor: &Arc<Actor>, interface: &str, function: &str, args: Args) -> Result<Args, CallError> {
    let encoding = if matches!(args, Args::Wave(_)) { Encoding::Wave } else { Encoding::Pack };
    let head = head(interface, function, encoding, Duration::from_secs(20));
    let answer = Arc::clone(actor).invoke(Invocation { head, args, body: Default::default() }).await;
    answer.map(|answer| answer.value)
}

async fn wave(actor: &Arc<Actor>, interface: &str, function: &str, args: &str) -> Result<String, CallError> {
    match call(actor, interface, function, Args::Wave(args.into())).await? {
        Args::Wave(text) => Ok(text),
        other => panic!("WAVE was asked for: {other:?}"),
    }
}

async fn run(actor: &Arc<Actor>, budget: Duration) -> Result<(), CallError> {
    let head = head("test:run/run", "run", Encoding::Pack, budget);
    let args = Args::Wire(rmp_serde::to_vec(&[(); 0]).expect("encodes").into());
    Arc::clone(actor).invoke(Invocation { head, args, body: Default::default() }).await.map(|_| ())
}

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_went() {
    let pad = "(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)";
    let record = r#"(type $ty (record (field "name" string) (field "age" (option u8))))"#;
    for (types, ty, values) in [
        ("", "string", &["\"Ada\"", "\"\""][..]),
        ("", "(list u8)", &["[1, 2, 255]", "[]"]),
        ("", "(list (tuple s16 char))", &["[(-3, 'ß'), (4, 'x')]"]),
        ("", "(option (option bool))", &["some(some(true))", "some(none)", "none"]),
        ("", "(result (list string) (error u64))", &["ok([\"a\", \"b\"])", "err(7)"]),
        ("", "(tuple f32 f64 s8 s64 u16)", &["(1.5, -0.25, -128, -9, 65535)"]),
        (record, "", &["{name: \"Ada\", age: some(36)}", "{name: \"Bob\", age: none}"]),
        (r#"(type $ty (flags "r" "w" "x"))"#, "", &["{r, x}", "{}"]),
        (r#"(type $ty (enum "on" "off"))"#, "", &["off"]),
        (r#"(type $ty (variant (case "point") (case "circle" f64)))"#, "", &["point", "circle(2.5)"]),
    ] {
        let wat = if types.is_empty() { echo_of(ty) } else { named_echo(types) };
        let (_runtime, actor) = start(&wat).await;
        for value in values {
            let args = format!("({value}, {pad})");
            let result = wave(&actor, "test:echo/echo", "echo", &args).await.expect(ty);
            // WAVE leaves out what is none at the end of a record.
            let value = value.replace(", age: none", "");
            assert_eq!(result.replace(", age: none", ""), format!("({value}, {pad})"), "{types}{ty}");
        }
    }
}

/// As [`echo_of`], for a type with names, which an instance can only export if it exports the type too.
fn named_echo(ty: &str) -> String {
    format!(
        r#"(component {LIBC}
          (core module $m (func (export "echo") (param i32) (result i32) (local.get 0)))
          (core instance $i (instantiate $m))
          {ty}
          (func $echo (param "value" $ty) (param "pad" {PAD}) (result (tuple $ty {PAD}))
            (canon lift (core func $i "echo") {MEMORY}))
          (component $wrap
            (import "in" (type $in (eq $ty)))
            (import "echo" (func $echo (param "value" $in) (param "pad" {PAD}) (result (tuple $in {PAD}))))
            (export $out "in" (type $in))
            (export "echo" (func $echo) (func (param "value" $out) (param "pad" {PAD}) (result (tuple $out {PAD})))))
          (instance $out (instantiate $wrap (with "in" (type $ty)) (with "echo" (func $echo))))
          (export "test:echo/echo" (instance $out)))"#
    )
}

#[tokio::test]
async fn byte_lists_and_texts_cross_by_every_encoding() {
    let (_runtime, actor) = start(&echo()).await;
    let interface = "test:echo/echo@1.2.0";
    let long = "x".repeat(40_000);
    for text in ["", "Ada", long.as_str()] {
        let result = wave(&actor, interface, "text", &format!("({text:?})")).await.expect("answers");
        assert_eq!(result, format!("{text:?}"));
        let args = Args::Wire(rmp_serde::to_vec(&(text,)).expect("encodes").into());
        let wire = call(&actor, interface, "text", args).await.and_then(Args::into_wire).expect("answers");
        assert_eq!(rmp_serde::from_slice::<String>(&wire).expect("is text"), text);
        let bytes = serde_bytes::Bytes::new(text.as_bytes());
        let args = Args::Wire(rmp_serde::to_vec(&(bytes,)).expect("encodes").into());
        let wire = call(&actor, interface, "bytes", args).await.and_then(Args::into_wire).expect("answers");
        assert_eq!(rmp_serde::from_slice::<serde_bytes::ByteBuf>(&wire).expect("are bytes"), text.as_bytes());
    }
    assert_eq!(wave(&actor, interface, "bytes", "([1, 2])").await.expect("answers"), "[1, 2]");
    assert_eq!(wave(&actor, "test:echo/echo", "text", "(\"any\")").await.expect("answers"), "\"any\"");
    assert_eq!(wave(&actor, "test:echo/echo@1.0.0", "text", "(\"old\")").await.expect("answers"), "\"old\"");
}

#[tokio::test]
async fn what_does_not_fit_the_export_is_a_contract_error() {
    let (_runtime, actor) = start(&echo()).await;
    let interface = "test:echo/echo@1.2.0";
    for (interface, function, args, expected) in [
        ("test:echo/other", "text", "(\"a\")", "does not export test:echo/other; it exports test:echo/echo@1.2.0"),
        ("test:echo/echo@2.0.0", "text", "(\"a\")", "does not export test:echo/echo@2.0.0"),
        (interface, "shout", "(\"a\")", "has no function \"shout\"; it has text, bytes"),
        (interface, "text", "(1)", "string"),
        (interface, "text", "\"a\"", "in parentheses"),
        (interface, "text", "(\"a\"", "do not fit"),
    ] {
        let error = wave(&actor, interface, function, args).await.expect_err(expected);
        assert_eq!(error.kind, CallErrorKind::Contract, "{error}");
        assert!(error.message.contains(expected), "{error}");
    }
    let wire = Args::Wire(rmp_serde::to_vec(&(7,)).expect("encodes").into());
    assert_eq!(call(&actor, interface, "text", wire).await.expect_err("a number").kind, CallErrorKind::Contract);

    let mut wrong = head(interface, "text", Encoding::Wave, Duration::from_secs(20));
    wrong.signature = Some(trellis_lattice::contract::Signature([7; 8]));
    let args = Args::Wave("(\"a\")".into());
    let error = actor.invoke(Invocation { head: wrong, args, body: Default::default() }).await.expect_err("differs");
    assert_eq!(error.kind, CallErrorKind::Contract);
    assert!(error.message.contains("0707070707070707") && error.message.contains("caller"), "{error}");
}

#[tokio::test]
async fn a_stopped_actor_ends_what_runs_and_takes_no_more() {
    let (_runtime, actor) = start(&runner("(loop (br 0))", "")).await;
    let running = tokio::spawn({
        let actor = Arc::clone(&actor);
        async move { run(&actor, Duration::from_secs(600)).await }
    });
    while !actor.room.is_busy() {
        tokio::task::yield_now().await;
    }
    actor.drain(Duration::from_millis(20)).await;
    assert_eq!(running.await.expect("ends").expect_err("was ended").kind, CallErrorKind::UnknownOutcome);
    assert_eq!(run(&actor, Duration::from_secs(1)).await.expect_err("is stopped").kind, CallErrorKind::NoTarget);
}

#[tokio::test]
async fn what_cannot_be_called_or_linked_is_refused_at_start() {
    let (kind, message) = refused(r#"(component (core module $m) (export "m" (core module $m)))"#).await;
    assert_eq!(kind, ErrorKind::Component);
    assert!(message.contains("exports nothing that can be called: it exports m"), "{message}");
    let export = r#"(core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f"))) (instance $o (export "f" (func $f)))
        (export "test:run/run" (instance $o))"#;
    let (kind, message) = refused(&format!(
        r#"(component
          (import "test:a/things" (instance (export "thing" (type (sub resource))) (export "f" (func))))
          (import "test:b/flow" (instance (export "g" (func (param "s" (stream u8))))))
          (import "bare" (func))
          {export})"#
    ))
    .await;
    assert_eq!(kind, ErrorKind::Refused);
    for part in ["callee", "test:a/things: resource thing", "test:b/flow: function g", "stream", "bare"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[tokio::test]
async fn async_exports_are_called_too() {
    let (_runtime, actor) = start(&async_echo()).await;
    assert_eq!(wave(&actor, "test:echo/echo", "text", "(\"hi\")").await.expect("answers"), "\"hi\"");
    let wire = Args::Wire(rmp_serde::to_vec(&(serde_bytes::Bytes::new(b"hi"),)).expect("encodes").into());
    let wire = call(&actor, "test:echo/echo", "bytes", wire).await.and_then(Args::into_wire).expect("answers");
    assert_eq!(rmp_serde::from_slice::<serde_bytes::ByteBuf>(&wire).expect("are bytes"), b"hi");
}

/// As [`echo`], with async functions.
fn async_echo() -> String {
    let lift = format!(r#"async {MEMORY} (callback (core func $i "callback"))"#);
    format!(
        r#"(component {LIBC}
          (core func $text-return (canon task.return (result string) (memory (core memory $libc "memory"))))
          (core func $bytes-return (canon task.return (result (list u8)) (memory (core memory $libc "memory"))))
          (core module $m
            (import "return" "text" (func $text (param i32 i32)))
            (import "return" "bytes" (func $bytes (param i32 i32)))
            (func (export "text") (param i32 i32) (result i32) (call $text (local.get 0) (local.get 1)) (i32.const 0))
            (func (export "bytes") (param i32 i32) (result i32) (call $bytes (local.get 0) (local.get 1)) (i32.const 0))
            (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
          (core instance $i (instantiate $m
            (with "return" (instance (export "text" (func $text-return)) (export "bytes" (func $bytes-return))))))
          (func $text async (param "text" string) (result string) (canon lift (core func $i "text") {lift}))
          (func $bytes async (param "bytes" (list u8)) (result (list u8)) (canon lift (core func $i "bytes") {lift}))
          (instance $out (export "text" (func $text)) (export "bytes" (func $bytes)))
          (export "test:echo/echo" (instance $out)))"#
    )
}
