//! Requests to an actor of wasi:http 0.2, through its admission.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::Instant;
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::invocation::{Answer, Context, Encoding, Head, Invocation};

use crate::actor::{Actor, Spec};
use crate::router::Router;
use crate::runtime::value::Args;
use crate::runtime::{Limits, Runtime, Settings};

const GUEST: &str = include_str!("guest.wat");

/// An actor whose `handle` is `handle`, in the words of `guest.wat`, with room for one instance; and its runtime, which
/// must live as long.
async fn actor(handle: &str) -> (Arc<Runtime>, Arc<Actor>) {
    let runtime = Runtime::new(Settings { cache_dir: None, max_instances: 4 }).expect("the engines are set up");
    let bytes = wat::parse_str(GUEST.replace("HANDLE", handle)).expect("the guest is well formed");
    let component = runtime.load(bytes.into()).await.expect("the guest is a component");
    let limits = Limits { max_instances: 1, ..Limits::default() };
    let spec = Spec { id: "actor".parse().expect("valid"), component, limits, setup: Default::default() };
    let actor = Actor::start(&runtime, spec, Arc::new(Router::new(Arc::default()))).expect("all imports are built in");
    (runtime, actor)
}

fn request() -> http::request::Builder {
    http::Request::get("/path").header("host", "localhost:8000")
}

async fn send(
    actor: &Arc<Actor>,
    request: http::request::Builder,
    budget: Duration,
) -> Result<Answer<Args>, CallError> {
    let (parts, ()) = request.body(()).expect("the request is well formed").into_parts();
    let head = Head {
        id: uuid::Uuid::nil(),
        source: "caller".parse().expect("valid"),
        target: actor.id().clone(),
        link: Default::default(),
        interface: Interface::parse("wasi:http/incoming-handler@0.2.0").expect("valid"),
        function: "handle".into(),
        signature: None,
        encoding: Encoding::Pack,
        attempt: 1,
        grant_epoch: 0,
        context: Context::root(budget),
    };
    Arc::clone(actor).invoke(Invocation { head, args: Args::Request(Box::new(parts)), body: Body::Empty }).await
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// The whole answer, or how it failed, with what came before that.
async fn read(answer: Result<Answer<Args>, CallError>) -> Result<String, (CallErrorKind, String)> {
    let answer = answer.map_err(|error| (error.kind, String::new()))?;
    assert!(matches!(&answer.value, Args::Response(parts) if parts.status == 200));
    let (mut body, mut text) = (answer.body, String::new());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text")),
            Err(error) => return Err((error.kind, text)),
        }
    }
    Ok(text)
}

async fn check(handle: &str, budget: Duration, expected: Result<&str, CallErrorKind>) {
    let (_runtime, actor) = actor(handle).await;
    for _ in 0..2 {
        let outcome = read(send(&actor, request(), budget).await).await;
        match expected {
            Ok(text) => assert_eq!(outcome, Ok(text.to_owned()), "{handle}"),
            Err(kind) => assert_eq!(outcome.expect_err(handle).0, kind, "{handle}"),
        }
    }
}

#[tokio::test]
async fn a_guest_answers() {
    check("(call $answer (local.get $outparam)) (call $piece) (call $finish)", LONG, Ok("piece\n")).await;
    let pieces =
        "(call $answer (local.get $outparam)) (call $piece) (call $wait (i64.const 1000)) (call $piece) (call $finish)";
    check(pieces, LONG, Ok("piece\npiece\n")).await;
    let after = "(call $answer (local.get $outparam)) (call $finish) (call $wait (i64.const 1000000))";
    check(after, LONG, Ok("")).await;
}

#[tokio::test]
async fn a_guest_that_traps_or_never_answers_is_a_trap() {
    check("unreachable", LONG, Err(CallErrorKind::Trap)).await;
    check("nop", LONG, Err(CallErrorKind::Trap)).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_off_never_looks_whole() {
    let begun = "(call $answer (local.get $outparam)) (call $piece)";
    check(&format!("{begun} unreachable"), LONG, Err(CallErrorKind::Trap)).await;
    check(&format!("{begun} (call $wait (i64.const 1000000)) unreachable"), LONG, Err(CallErrorKind::Trap)).await;
    check(&format!("{begun} (call $wait (i64.const 60000000000))"), SHORT, Err(CallErrorKind::Deadline)).await;
    check(&format!("{begun} (loop br 0)"), SHORT, Err(CallErrorKind::Deadline)).await;
}

#[tokio::test]
async fn a_guest_that_is_busy_or_waits_is_ended_at_the_deadline() {
    check("(loop br 0)", SHORT, Err(CallErrorKind::Deadline)).await;
    check("(call $wait (i64.const 60000000000))", SHORT, Err(CallErrorKind::Deadline)).await;
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_guest() {
    let (_runtime, actor) = actor("(call $answer (local.get $outparam)) (loop (call $piece) br 0)").await;
    for _ in 0..3 {
        let mut answer = send(&actor, request(), LONG).await.expect("it answers when there is room for it");
        let frame = answer.body.frame().await.expect("a frame").expect("data");
        assert!(frame.is_data());
    }
    let started = Instant::now();
    actor.drain(LONG).await;
    assert!(started.elapsed() < LONG, "the guest goes on without a reader");
}

#[tokio::test]
async fn a_request_without_a_host_is_the_callers_fault() {
    let (_runtime, actor) = actor("(call $answer (local.get $outparam)) (call $finish)").await;
    for request in [
        http::Request::get("/"),
        http::Request::get("/").header("host", "a b"),
        http::Request::get("/").header("host", ""),
        http::Request::get("/").header("host", "user@host"),
        http::Request::get("/").header("host", [0xff_u8].as_slice()),
    ] {
        let error = send(&actor, request, LONG).await.expect_err("there is no host");
        assert_eq!(error.kind, CallErrorKind::Contract, "{error}");
    }
    let authority = http::Request::get("http://example.com/");
    assert_eq!(read(send(&actor, authority, LONG).await).await, Ok(String::new()));
}

#[tokio::test]
async fn a_request_with_too_many_fields_is_too_large() {
    let (_runtime, actor) = actor("(call $answer (local.get $outparam)) (call $finish)").await;
    let with = |fields: usize| (1..fields).fold(request(), |request, n| request.header(format!("x-{n}"), "y"));
    assert_eq!(read(send(&actor, with(128), LONG).await).await, Ok(String::new()));
    let error = send(&actor, with(129), LONG).await.expect_err("one too many");
    assert_eq!(error.kind, CallErrorKind::TooLarge, "{error}");
    assert!(error.message.contains("129 HTTP header fields"), "{error}");
}
