//! What a guest may not do, use or leave behind, however it tries.

use std::time::Duration;

use trellis_lattice::error::CallErrorKind;
use trellis_lattice::message::invocation::{Encoding, Invocation};

use super::{echo, head, nowhere, run, runner, runtime, start, start_with, wave};
use crate::runtime::value::Args;
use crate::runtime::{Limits, Runtime, Settings};

/// An actor that traps when a byte of its memory is not as its module says, and leaves those at every `step` from `first` on
/// changed: in 1 MiB to begin with, and a page that it asks for.
fn scanner(word: &[u8; 4], first: u32, step: u32) -> String {
    let (text, number) = (word.escape_ascii(), u32::from_le_bytes(*word));
    let body = format!(
        r#"(local $at i32)
        (loop $scan
          (if (i32.ne
              (i32.load (local.get $at))
              (select (i32.const {number}) (i32.const 0) (i32.eq (local.get $at) (i32.const 70000))))
            (then unreachable))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br_if $scan (i32.lt_u (local.get $at) (i32.const 0x100000))))
        (local.set $at (i32.const {first}))
        (loop $change
          (i32.store (local.get $at) (i32.const -1))
          (local.set $at (i32.add (local.get $at) (i32.const {step})))
          (br_if $change (i32.lt_u (local.get $at) (i32.const 0x100000))))
        (drop (memory.grow (i32.const 1)))
        (if (i32.load (i32.const 0x100000)) (then unreachable))
        (i32.store (i32.const 0x100000) (i32.const -1))"#
    );
    runner(&body, "")
        .replace(r#"(memory (export "memory") 1)"#, &format!(r#"(memory 16) (data (i32.const 70000) "{text}")"#))
}

#[tokio::test]
async fn what_a_guest_does_ends_with_its_call() {
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    for (wat, kind, message) in [
        (runner("(loop (br 0))", ""), CallErrorKind::Deadline, "in time"),
        (runner("", "(func $s (loop (br 0))) (start $s)"), CallErrorKind::Deadline, "in time"),
        (runner("unreachable", ""), CallErrorKind::Trap, "unreachable"),
        (runner("(drop (i32.div_u (i32.const 1) (i32.const 0)))", ""), CallErrorKind::Trap, "divide by zero"),
        (runner("(call $run)", ""), CallErrorKind::Trap, "call stack exhausted"),
        (runner(grow, ""), CallErrorKind::Trap, "unreachable"),
    ] {
        let (_runtime, actor) = start(&wat).await;
        let error = run(&actor, Duration::from_millis(60)).await.expect_err(message);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message) && error.message.contains("callee"), "{error}");
    }
}

#[tokio::test]
async fn a_guest_that_misbehaves_does_not_disturb_the_next_call() {
    let runtime = runtime();
    let busy = start_with(&runtime, &runner("(loop (br 0))", ""), Limits::default(), nowhere()).await;
    let echo = start_with(&runtime, &echo(), Limits::default(), nowhere()).await;
    let endless = tokio::spawn(async move { run(&busy, Duration::from_millis(200)).await });
    for _ in 0..20 {
        assert_eq!(wave(&echo, "test:echo/echo", "text", "(\"hi\")").await.expect("answers"), "\"hi\"");
    }
    assert_eq!(endless.await.expect("ends").expect_err("is endless").kind, CallErrorKind::Deadline);
}

/// Of pages that were kept and of those that were not, written by the same actor and by another.
#[tokio::test]
async fn an_instance_finds_nothing_of_the_one_before() {
    let runtime = Runtime::new(Settings { cache_dir: None, max_instances: 16 }).expect("builds");
    let mut actors = Vec::new();
    for wat in [scanner(b"full", 0, 4), scanner(b"some", 0xe0000, 4096), scanner(b"same", 70_000, 0x100000)] {
        actors.push(start_with(&runtime, &wat, Limits::default(), nowhere()).await);
    }
    for actor in actors.iter().flat_map(|actor| [actor, actor]).cycle().take(60) {
        run(actor, Duration::from_secs(20)).await.expect("its memory is new");
    }
}

#[tokio::test]
async fn an_actor_has_limits_of_its_own() {
    let runtime = runtime();
    let limits = Limits { execution_time: Duration::from_millis(30), ..Limits::default() };
    let actor = start_with(&runtime, &runner("(loop (br 0))", ""), limits, nowhere()).await;
    let error = run(&actor, Duration::from_secs(3_600)).await.expect_err("is endless");
    assert_eq!(error.kind, CallErrorKind::Deadline);

    let mut deep = head("test:run/run", "run", Encoding::Wave, Duration::from_secs(20));
    deep.context.depth = 9;
    let args = Args::Wave("()".into());
    let error = actor.invoke(Invocation { head: deep, args, body: Default::default() }).await.expect_err("too deep");
    assert_eq!(error.kind, CallErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn more_calls_than_the_pool_holds_are_overloaded() {
    let runtime = Runtime::new(Settings { cache_dir: None, max_instances: 16 }).expect("builds");
    let limits = Limits { max_instances: 40, ..Limits::default() };
    let actor = start_with(&runtime, &runner("(loop (br 0))", ""), limits, nowhere()).await;
    let calls = (0..20).map(|_| run(&actor, Duration::from_millis(300)));
    let errors = futures::future::join_all(calls).await;
    let kinds: Vec<_> = errors.into_iter().map(|error| error.expect_err("is endless").kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == CallErrorKind::Overloaded).count(), 4, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == CallErrorKind::Deadline).count(), 16, "{kinds:?}");
}
