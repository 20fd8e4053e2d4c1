//! Actors that import what every host has built in, by each of the names it goes by.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span;

use super::*;
use crate::links::tests::link;
use crate::router::Target;
use crate::setup::Setup;

/// Exports `test:probe/probe` with `get` and `all`, which ask wasi:config under the name `import`.
fn config_reader(import: &str) -> String {
    let error = if import.contains("runtime") { "config-error" } else { "error" };
    format!(
        r#"(component
          (import "{import}" (instance $config
            (type $variant (variant (case "upstream" string) (case "io" string)))
            (export "{error}" (type $error (eq $variant)))
            (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
            (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))))
          {LIBC}
          (core func $get (canon lower (func $config "get") {MEMORY}))
          (core func $all (canon lower (func $config "get-all") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "config" "get" (func $get (param i32 i32 i32)))
            (import "config" "all" (func $all (param i32)))
            (func $ok (result i32)
              (if (i32.load8_u (i32.const 64)) (then unreachable))
              (i32.const 68))
            (func (export "get") (param i32 i32) (result i32)
              (call $get (local.get 0) (local.get 1) (i32.const 64))
              (call $ok))
            (func (export "all") (result i32) (call $all (i32.const 64)) (call $ok)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "config" (instance (export "get" (func $get)) (export "all" (func $all))))))
          (func $get-out (param "key" string) (result (option string)) (canon lift (core func $i "get") {MEMORY}))
          (func $all-out (result (list (tuple string string))) (canon lift (core func $i "all") {MEMORY}))
          (instance $out (export "get" (func $get-out)) (export "all" (func $all-out)))
          (export "test:probe/probe" (instance $out)))"#
    )
}

#[tokio::test]
async fn an_actor_reads_its_config_by_every_name_and_as_it_is_now() {
    for import in [
        "wasi:config/store@0.2.0-draft",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:config/runtime@0.2.0-draft",
        "wasi:config/runtime",
    ] {
        let (_runtime, actor) = start(&config_reader(import)).await;
        let ask = async |function: &str, args: &str| {
            wave(&actor, "test:probe/probe", function, args).await.unwrap_or_else(|error| panic!("{import}: {error}"))
        };
        assert_eq!(ask("get", "(\"greeting\")").await, "none", "{import}");
        let config = [("greeting", "hello"), ("name", "Ada")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        actor.set_up(Setup::fixed(config.into()));
        assert_eq!(ask("get", "(\"greeting\")").await, "some(\"hello\")", "{import}");
        assert_eq!(ask("all", "()").await, "[(\"greeting\", \"hello\"), (\"name\", \"Ada\")]", "{import}");
    }
}

/// Exports `test:run/run`, which writes "kettle" about "tea" with the level of that number.
fn logger(import: &str, level: u32) -> String {
    let log = format!("(call $log (i32.const {level}) (i32.const 16) (i32.const 3) (i32.const 19) (i32.const 6))");
    writer(import, "teakettle", &log)
}

/// Exports `test:run/run`, which writes 1,000 messages of 8 KiB, each with a line break at its beginning.
fn flooder() -> String {
    let text = format!("\\n{}", "x".repeat(8 << 10));
    let log = "(call $log (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 16) (i32.const 8192))";
    let body = format!(
        "(local $left i32) (local.set $left (i32.const 1000))
         (loop $again {log} (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    );
    writer("wasi:logging/logging", &text, &body)
}

/// Exports `test:run/run`, whose core function is `body`, with `data` at 16 in its memory.
fn writer(import: &str, data: &str, body: &str) -> String {
    format!(
        r#"(component
          (import "{import}" (instance $logging
            (type $enum (enum "trace" "debug" "info" "warn" "error" "critical"))
            (export "level" (type $level (eq $enum)))
            (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
          {LIBC}
          (core func $log (canon lower (func $logging "log") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "logging" "log" (func $log (param i32 i32 i32 i32 i32)))
            (data (i32.const 16) "{data}")
            (func (export "run") {body}))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) (with "logging" (instance (export "log" (func $log))))))
          (func $run (canon lift (core func $i "run")))
          (instance $out (export "run" (func $run)))
          (export "test:run/run" (instance $out)))"#
    )
}

/// Keeps every event of the log as one line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("a string takes all");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} {}", event.metadata().target(), event.metadata().level()));
        event.record(&mut line);
        self.0.lock().expect("no writer panics").push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn an_actor_writes_to_the_log_by_every_name() {
    let log = Log::default();
    let _logs = tracing::subscriber::set_default(log.clone());
    for import in ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"] {
        for (number, level) in (0..).zip(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "ERROR"]) {
            let (_runtime, actor) = start(&logger(import, number)).await;
            log.0.lock().expect("no writer panics").clear();
            run(&actor, Duration::from_secs(20)).await.expect("logs");
            let lines = log.0.lock().expect("no writer panics").clone();
            let line = lines.iter().find(|line| line.starts_with("trellis::actor")).expect("a line of the actor");
            for part in [level, "actor_id=callee", "context=\"tea\"", "message=kettle"] {
                assert!(line.contains(part), "{part} is not in {line}");
            }
            assert_eq!(line.contains("critical=true"), number == 5, "{line}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_messages_is_cut_and_forges_no_lines() {
    let log = Log::default();
    let _logs = tracing::subscriber::set_default(log.clone());
    let (_runtime, actor) = start(&flooder()).await;
    let begun = std::time::Instant::now();
    run(&actor, Duration::from_secs(20)).await.expect("logs");
    let lines = log.0.lock().expect("no writer panics").clone();
    let lines: Vec<_> = lines.iter().filter(|line| line.starts_with("trellis::actor")).collect();
    // 256 KiB a second, in messages that are cut to 4 KiB.
    let most = 64 * (begun.elapsed().as_secs() as usize + 2);
    assert!((1..=most).contains(&lines.len()), "{} lines of 1,000, {most} at most", lines.len());
    for line in lines {
        assert!(line.len() < 5 << 10 && !line.contains('\n') && line.contains('…'), "{line:.100}");
    }
}

/// Exports `test:front/front` with `text`, which chooses the link `via` for test:echo/echo and then calls it with what
/// it is given. `set` are the type and the core call of `set-link-name` in one version of wasmcloud:bus.
fn chooser(import: &str, via: &str, result: &str, set: &str) -> String {
    let length = via.len();
    format!(
        r#"(component
          (import "{import}" (instance $bus
            (export "call-target-interface" (type $target (sub resource)))
            (export "[constructor]call-target-interface" (func
              (param "namespace" string) (param "package" string) (param "interface" string) (result (own $target))))
            (export "set-link-name" (func
              (param "name" string) (param "interfaces" (list (own $target))) {result}))))
          (import "test:echo/echo@1.1.0" (instance $echo
            (export "text" (func (param "text" string) (result string)))))
          {LIBC}
          (core func $make (canon lower (func $bus "[constructor]call-target-interface") {MEMORY}))
          (core func $set (canon lower (func $bus "set-link-name") {MEMORY}))
          (core func $call (canon lower (func $echo "text") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "in" "make" (func $make (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "in" "set" (func $set {set}))
            (import "in" "call" (func $call (param i32 i32 i32)))
            (data (i32.const 16) "testecho{via}")
            (func (export "text") (param i32 i32) (result i32)
              (i32.store (i32.const 256) (call $make
                (i32.const 16) (i32.const 4) (i32.const 20) (i32.const 4) (i32.const 20) (i32.const 4)))
              (i32.const 24) (i32.const {length}) (i32.const 256) (i32.const 1) SET
              (call $call (local.get 0) (local.get 1) (i32.const 128))
              (i32.const 128)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "in" (instance
              (export "make" (func $make)) (export "set" (func $set)) (export "call" (func $call))))))
          (func $text (param "text" string) (result string) (canon lift (core func $i "text") {MEMORY}))
          (instance $out (export "text" (func $text)))
          (export "test:front/front" (instance $out)))"#
    )
}

/// In this version a link that is not there ends the guest.
fn chooser_v1(via: &str) -> String {
    chooser("wasmcloud:bus/lattice@1.0.0", via, "", "(param i32 i32 i32 i32)").replace("SET", "(call $set)")
}

/// In this version the guest is told: it answers with what it was told.
fn chooser_v2(import: &str, via: &str) -> String {
    let told = "(i32.const 96) (call $set)
        (if (i32.load8_u (i32.const 96)) (then (return (i32.const 100))))";
    chooser(import, via, "(result (result (error string)))", "(param i32 i32 i32 i32 i32)").replace("SET", told)
}

/// Calls `front`, which has the links `default` to an actor that gives back what it is given, and `quiet` to one that
/// gives back nothing.
async fn choose(front: &str) -> Result<String, CallError> {
    let runtime = runtime();
    let interface = "test:echo/echo";
    let router =
        Router::of_links(&[link("front", "default", interface, "echo"), link("front", "quiet", interface, "quiet")]);
    let quiet = echo().replace("(i32.store (i32.const 20) (local.get 1))", "(i32.store (i32.const 20) (i32.const 0))");
    let start = async |id: &str, wat: &str| {
        let component = runtime.load(wat::parse_str(wat).expect("is text").into()).await.expect("loads");
        let id = id.parse().expect("valid");
        let spec = Spec { id, component, limits: Limits::default(), setup: Default::default() };
        Actor::start(&runtime, spec, Arc::clone(&router)).expect("starts")
    };
    let (front, echo, quiet) =
        (start("front", front).await, start("echo", &echo()).await, start("quiet", &quiet).await);
    let targets = [echo, quiet].map(|actor| (actor.id().clone(), Target::Actor(actor)));
    router.set_targets(HashMap::from(targets));
    let answer = wave(&front, "test:front/front", "text", "(\"hi\")").await;
    router.clear();
    answer
}

#[tokio::test]
async fn an_actor_chooses_over_which_of_its_links_a_call_goes() {
    assert_eq!(choose(&chooser_v1("default")).await.as_deref(), Ok("\"hi\""));
    assert_eq!(choose(&chooser_v1("quiet")).await.as_deref(), Ok("\"\""));
    for import in ["wasmcloud:bus/lattice@2.0.0", "wasmcloud:bus/lattice@2.0.1"] {
        assert_eq!(choose(&chooser_v2(import, "default")).await.as_deref(), Ok("\"hi\""));
        assert_eq!(choose(&chooser_v2(import, "quiet")).await.as_deref(), Ok("\"\""));
    }
}

#[tokio::test]
async fn a_link_that_is_not_there_cannot_be_chosen() {
    let error = choose(&chooser_v1("lost")).await.expect_err("there is no such link");
    assert_eq!(error.kind, CallErrorKind::Trap, "{error}");
    assert!(error.message.contains("there is no link lost for test:echo/echo"), "{error}");
    let told = choose(&chooser_v2("wasmcloud:bus/lattice@2.0.1", "lost")).await.expect("the guest is told");
    assert!(told.contains("there is no link lost for test:echo/echo"), "{told}");
}

const MESSAGING_TYPES: &str = r#"
  (import "wasmcloud:messaging/types@0.2.0" (instance $types
    (type $record (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
    (export "broker-message" (type (eq $record)))))
  (alias export $types "broker-message" (type $message))"#;

/// Exports wasmcloud:messaging/handler with the core function `body`, whose locals 0 to 6 are the message.
fn handler(imports: &str, module: &str, with: &str) -> String {
    format!(
        r#"(component {MESSAGING_TYPES} {LIBC} {imports}
          (core module $m (import "libc" "memory" (memory 1)) {module})
          (core instance $i (instantiate $m (with "libc" (instance $libc)) {with}))
          (func $handle (param "msg" $message) (result (result (error string)))
            (canon lift (core func $i "handle") {MEMORY}))
          (instance $out (export "handle-message" (func $handle)))
          (export "wasmcloud:messaging/handler@0.2.0" (instance $out)))"#
    )
}

async fn handle(actor: &Arc<Actor>, body: Vec<u8>) -> Result<Result<(), String>, CallError> {
    let message = trellis_interfaces::messaging::BrokerMessage {
        subject: "orders.new".into(),
        body: body.into(),
        reply_to: Some("inbox".into()),
    };
    let params = trellis_provider_sdk::wire::encode(&(message,)).expect("encodes");
    let answer = call(actor, "wasmcloud:messaging/handler@0.2.0", "handle-message", params.into()).await?;
    trellis_provider_sdk::wire::decode(&answer.into_provider()?)
}

#[tokio::test]
async fn a_handler_is_given_messages_with_bodies_as_large_as_they_come() {
    let error_with_body = r#"
      (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
        (i32.store (i32.const 16) (i32.const 1))
        (i32.store (i32.const 20) (local.get 2))
        (i32.store (i32.const 24) (local.get 3))
        (i32.const 16))"#;
    let bytes =
        handler("", error_with_body, "").replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 200)");
    let (_runtime, actor) = start(&bytes).await;
    for length in [0, 5, 8 << 20] {
        let answer = handle(&actor, vec![b'x'; length]).await.expect("is handled");
        assert_eq!(answer, Err("x".repeat(length)), "the body comes back as the reason");
    }
}

#[tokio::test]
async fn a_handler_publishes_over_its_link_and_hears_that_it_has_none() {
    let consumer = format!(
        r#"(import "wasmcloud:messaging/consumer@0.2.0" (instance $consumer
             (alias outer 1 $message (type $m))
             (export "broker-message" (type $message (eq $m)))
             (export "publish" (func (param "msg" $message) (result (result (error string)))))))
           (core func $publish (canon lower (func $consumer "publish") {MEMORY}))"#
    );
    let forward = r#"
      (import "consumer" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
        (call $publish (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
          (local.get 6) (i32.const 16))
        (i32.const 16))"#;
    let with = r#"(with "consumer" (instance (export "publish" (func $publish))))"#;
    let (_runtime, actor) = start(&handler(&consumer, forward, with)).await;
    let answer = handle(&actor, b"hello".to_vec()).await.expect("is handled");
    assert!(answer.as_ref().is_err_and(|reason| reason.contains("link")), "{answer:?}");
}
