//! Actors that call actors.

use std::collections::HashMap;

use super::*;
use crate::links::tests::link;
use crate::router::Target;

/// An actor that exports `test:front/front` and calls `test:echo/echo` with whatever it is given.
fn front(function: &str, ty: &str) -> String {
    let func = format!(r#"(param "{function}" {ty}) (result {ty})"#);
    format!(
        r#"(component
          (import "test:echo/echo@1.1.0" (instance $echo (export "{function}" (func {func}))))
          {LIBC}
          (core func $call (canon lower (func $echo "{function}") {MEMORY}))
          (core module $m
            (import "echo" "call" (func $call (param i32 i32 i32)))
            (func (export "front") (param i32 i32) (result i32)
              (call $call (local.get 0) (local.get 1) (i32.const 64))
              (i32.const 64)))
          (core instance $i (instantiate $m (with "echo" (instance (export "call" (func $call))))))
          (func $front {func} (canon lift (core func $i "front") {MEMORY}))
          (instance $out (export "{function}" (func $front)))
          (export "test:front/front" (instance $out)))"#
    )
}

/// As [`front`], by async functions at both its ends.
fn async_front(function: &str, ty: &str) -> String {
    let func = format!(r#"async (param "{function}" {ty}) (result {ty})"#);
    format!(
        r#"(component
          (import "test:echo/echo@1.1.0" (instance $echo (export "{function}" (func {func}))))
          {LIBC}
          (core func $call (canon lower (func $echo "{function}") {MEMORY}))
          (core func $return (canon task.return (result {ty}) (memory (core memory $libc "memory"))))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "echo" "call" (func $call (param i32 i32 i32)))
            (import "echo" "return" (func $return (param i32 i32)))
            (func (export "front") (param i32 i32) (result i32)
              (call $call (local.get 0) (local.get 1) (i32.const 64))
              (call $return (i32.load (i32.const 64)) (i32.load (i32.const 68)))
              (i32.const 0))
            (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "echo" (instance (export "call" (func $call)) (export "return" (func $return))))))
          (func $front {func}
            (canon lift (core func $i "front") async {MEMORY} (callback (core func $i "callback"))))
          (instance $out (export "{function}" (func $front)))
          (export "test:front/front" (instance $out)))"#
    )
}

struct Pair {
    front: Arc<Actor>,
    router: Arc<Router>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.router.clear();
    }
}

/// `front` with a link to `echo`; both run.
async fn pair(front: &str, echo: &str) -> Pair {
    let runtime = runtime();
    let router = Router::of_links(&[link("front", "default", "test:echo/echo", "echo")]);
    let start = async |id: &str, wat: &str| {
        let component = runtime.load(wat::parse_str(wat).expect("is text").into()).await.expect("loads");
        let id = id.parse().expect("valid");
        let spec = Spec { id, component, limits: Limits::default(), setup: Default::default() };
        Actor::start(&runtime, spec, Arc::clone(&router)).expect("starts")
    };
    let (front, echo) = (start("front", front).await, start("echo", echo).await);
    let targets = [(echo.id().clone(), Target::Actor(echo))];
    router.set_targets(HashMap::from(targets));
    Pair { front, router }
}

#[tokio::test]
async fn actors_call_each_other_by_functions_of_either_kind() {
    for echo in [echo(), async_echo()] {
        for make in [front, async_front] {
            let pair = pair(&make("text", "string"), &echo).await;
            let answer = wave(&pair.front, "test:front/front", "text", "(\"hi\")").await.expect("answers");
            assert_eq!(answer, "\"hi\"");
            let pair = self::pair(&make("bytes", "(list u8)"), &echo).await;
            let long = vec![7_u8; 20_000];
            let args = Args::Wire(rmp_serde::to_vec(&(serde_bytes::Bytes::new(&long),)).expect("encodes").into());
            let wire = call(&pair.front, "test:front/front", "bytes", args).await.and_then(Args::into_wire);
            let bytes: serde_bytes::ByteBuf = rmp_serde::from_slice(&wire.expect("answers")).expect("are bytes");
            assert_eq!(bytes, long);
        }
    }
}

#[tokio::test]
async fn a_caller_learns_what_became_of_the_inner_call() {
    let broken = |body: &str| echo().replace("(i32.store (i32.const 16) (local.get 0))", body);
    let text = front("text", "string");
    for (echo, kind, message) in [
        (broken("unreachable"), CallErrorKind::Trap, "echo trapped"),
        (echo_of("string"), CallErrorKind::Contract, "has no function \"text\""),
        (echo().replace("1.2.0", "3.0.0"), CallErrorKind::Contract, "test:echo/echo@3.0.0"),
        (echo().replace("param \"text\"", "param \"words\""), CallErrorKind::Contract, "has another type in front"),
    ] {
        let pair = pair(&text, &echo).await;
        let error = wave(&pair.front, "test:front/front", "text", "(\"hi\")").await.expect_err(message);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(error.message.starts_with("a call of front failed"), "{error}");
    }
    let pair = pair(&text, &echo()).await;
    pair.router.set_targets(HashMap::new());
    let error = wave(&pair.front, "test:front/front", "text", "(\"hi\")").await.expect_err("nobody is there");
    // The outer actor ran: that nothing happened, as `NoTarget` says, would be wrong.
    assert_eq!(error.kind, CallErrorKind::Provider, "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn calls_in_a_circle_end() {
    let circle = front("text", "string").replace("\"test:front/front\"", "\"test:echo/echo@1.1.0\"");
    let runtime = runtime();
    let router = Router::of_links(&[link("round", "default", "test:echo/echo", "round")]);
    let component = runtime.load(wat::parse_str(&circle).expect("is text").into()).await.expect("loads");
    let id = "round".parse().expect("valid");
    let spec = Spec { id, component, limits: Limits::default(), setup: Default::default() };
    let round = Actor::start(&runtime, spec, Arc::clone(&router)).expect("starts");
    router.set_targets(HashMap::from([(round.id().clone(), Target::Actor(Arc::clone(&round)))]));
    let error = wave(&round, "test:echo/echo", "text", "(\"hi\")").await.expect_err("has no end");
    assert_eq!(error.kind, CallErrorKind::Denied, "{error}");
    router.clear();
}
