//! An actor that writes and reads a value of wasi:blobstore, against a provider that keeps what it is sent.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use trellis_interfaces::blobstore::{ContainerMetadata, Data, GetData, WriteData, function};
use trellis_lattice::message::invocation::Answer;
use trellis_provider_sdk::{self as sdk, Body};

use super::*;
use crate::links::tests::link;
use crate::router::Target;

/// Exports `test:blob/blob` with `store` and `abandon`. Both open a container and write what they are given to the object
/// of that name. `store` finishes the value and answers with what the object then holds, or with the first error.
#[expect(clippy::too_many_lines, reason = "the text of one guest")]
fn writer() -> String {
    let imports = r#"
      (import "wasi:io/error@0.2.2" (instance $errors (export "error" (type (sub resource)))))
      (alias export $errors "error" (type $error))
      (import "wasi:io/streams@0.2.2" (instance $streams
        (alias outer $guest $error (type $outer))
        (export "error" (type $error (eq $outer)))
        (type $variant (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $variant)))
        (export "output-stream" (type $output (sub resource)))
        (export "[method]output-stream.blocking-write-and-flush" (func
          (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
      (alias export $streams "output-stream" (type $output))
      (import "wasi:blobstore/types@0.2.0-draft" (instance $types
        (alias outer $guest $output (type $outer))
        (export "output-stream" (type $output (eq $outer)))
        (export "outgoing-value" (type $outgoing (sub resource)))
        (export "incoming-value" (type $incoming (sub resource)))
        (export "[static]outgoing-value.new-outgoing-value" (func (result (own $outgoing))))
        (export "[method]outgoing-value.outgoing-value-write-body" (func
          (param "self" (borrow $outgoing)) (result (result (own $output)))))
        (export "[static]outgoing-value.finish" (func
          (param "this" (own $outgoing)) (result (result (error string)))))
        (export "[static]incoming-value.incoming-value-consume-sync" (func
          (param "this" (own $incoming)) (result (result (list u8) (error string)))))))
      (alias export $types "outgoing-value" (type $outgoing))
      (alias export $types "incoming-value" (type $incoming))
      (import "wasi:blobstore/container@0.2.0-draft" (instance $containers
        (alias outer $guest $outgoing (type $outer-outgoing))
        (alias outer $guest $incoming (type $outer-incoming))
        (export "outgoing-value" (type $outgoing (eq $outer-outgoing)))
        (export "incoming-value" (type $incoming (eq $outer-incoming)))
        (export "container" (type $container (sub resource)))
        (export "[method]container.write-data" (func (param "self" (borrow $container))
          (param "name" string) (param "data" (borrow $outgoing)) (result (result (error string)))))
        (export "[method]container.get-data" (func (param "self" (borrow $container))
          (param "name" string) (param "start" u64) (param "end" u64) (result (result (own $incoming) (error string)))))))
      (alias export $containers "container" (type $container))
      (import "wasi:blobstore/blobstore@0.2.0-draft" (instance $store
        (alias outer $guest $container (type $outer))
        (export "container" (type $container (eq $outer)))
        (export "create-container" (func (param "name" string) (result (result (own $container) (error string)))))))"#;
    let lowered = [
        ("write", "streams", "[method]output-stream.blocking-write-and-flush", "i32 i32 i32 i32", ""),
        ("new", "types", "[static]outgoing-value.new-outgoing-value", "", "(result i32)"),
        ("body", "types", "[method]outgoing-value.outgoing-value-write-body", "i32 i32", ""),
        ("finish", "types", "[static]outgoing-value.finish", "i32 i32", ""),
        ("consume", "types", "[static]incoming-value.incoming-value-consume-sync", "i32 i32", ""),
        ("send", "containers", "[method]container.write-data", "i32 i32 i32 i32 i32", ""),
        ("get", "containers", "[method]container.get-data", "i32 i32 i32 i64 i64 i32", ""),
        ("create", "store", "create-container", "i32 i32 i32", ""),
    ];
    let lower = |(name, instance, function, ..): (&str, &str, &str, &str, &str)| {
        format!("(core func ${name} (canon lower (func ${instance} \"{function}\") {MEMORY}))\n")
    };
    let import = |(name, _, _, params, result): (&str, &str, &str, &str, &str)| {
        format!("(import \"in\" \"{name}\" (func ${name} (param {params}) {result}))\n")
    };
    let export = |(name, ..): (&str, &str, &str, &str, &str)| format!("(export \"{name}\" (func ${name}))");
    let (lowerings, core_imports, core_exports) =
        (lowered.map(lower).concat(), lowered.map(import).concat(), lowered.map(export).concat());
    format!(
        r#"(component $guest {imports} {LIBC} {lowerings}
          (core func $drop-value (canon resource.drop $outgoing))
          (core func $drop-stream (canon resource.drop $output))
          (core module $m
            (import "libc" "memory" (memory 1))
            {core_imports}
            (import "in" "drop-value" (func $drop-value (param i32)))
            (import "in" "drop-stream" (func $drop-stream (param i32)))
            (data (i32.const 16) "c")
            ;; Writes the text to the object of that name: the container, the value, and whether it failed.
            (func $begin (param i32 i32) (result i32 i32 i32)
              (local $container i32) (local $value i32) (local $stream i32)
              (call $create (i32.const 16) (i32.const 1) (i32.const 64))
              (local.set $container (i32.load (i32.const 68)))
              (local.set $value (call $new))
              (call $body (local.get $value) (i32.const 64))
              (local.set $stream (i32.load (i32.const 68)))
              (call $send (local.get $container) (local.get 0) (local.get 1) (local.get $value) (i32.const 64))
              (if (i32.load8_u (i32.const 64))
                (then (return (local.get $container) (local.get $value) (i32.const 1))))
              (call $write (local.get $stream) (local.get 0) (local.get 1) (i32.const 64))
              (call $drop-stream (local.get $stream))
              (local.get $container) (local.get $value) (i32.const 0))
            (func (export "store") (param i32 i32) (result i32)
              (local $container i32) (local $value i32) (local $failed i32)
              (call $begin (local.get 0) (local.get 1))
              (local.set $failed) (local.set $value) (local.set $container)
              (if (local.get $failed) (then (return (i32.const 68))))
              (call $finish (local.get $value) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then (return (i32.const 68))))
              (call $get (local.get $container) (local.get 0) (local.get 1) (i64.const 0) (i64.const -1) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then (return (i32.const 68))))
              (call $consume (i32.load (i32.const 68)) (i32.const 64))
              (i32.const 68))
            (func (export "abandon") (param i32 i32) (result i32)
              (call $begin (local.get 0) (local.get 1))
              (drop) (call $drop-value) (drop)
              (i32.store (i32.const 68) (local.get 0))
              (i32.store (i32.const 72) (local.get 1))
              (i32.const 68)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "in" (instance {core_exports}
              (export "drop-value" (func $drop-value)) (export "drop-stream" (func $drop-stream))))))
          (func $store-out (param "text" string) (result string) (canon lift (core func $i "store") {MEMORY}))
          (func $abandon-out (param "text" string) (result string) (canon lift (core func $i "abandon") {MEMORY}))
          (instance $out (export "store" (func $store-out)) (export "abandon" (func $abandon-out)))
          (export "test:blob/blob" (instance $out)))"#
    )
}

/// Keeps the last object that came whole.
#[derive(Default)]
struct Kept {
    object: Mutex<(String, Bytes)>,
    /// Writes that are over, however they ended.
    over: Arc<AtomicUsize>,
}

/// Counts an end.
struct Over(Arc<AtomicUsize>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn answer<T: serde::Serialize>(value: Result<T, String>, body: Body) -> Result<Answer<sdk::Args>, CallError> {
    Ok(Answer { value: sdk::wire::encode(&value)?, body })
}

#[async_trait]
impl sdk::Provider for Kept {
    fn description(&self) -> sdk::Description {
        sdk::Description { name: "kept".into(), serves: Vec::new(), calls: Vec::new() }
    }

    async fn link_up(&self, _: &sdk::ActiveLink) -> Result<(), sdk::LinkError> {
        Ok(())
    }

    async fn link_down(&self, _: &sdk::ActiveLink) {}

    async fn call(&self, invocation: Invocation<sdk::Args>) -> Result<Answer<sdk::Args>, CallError> {
        let Invocation { head, args, body } = invocation;
        assert_eq!(head.interface.without_version(), "wasi:blobstore/blobstore");
        match &*head.function {
            function::CREATE_CONTAINER => {
                answer(Ok(ContainerMetadata { name: "c".into(), created_at: 0 }), Body::Empty)
            }
            function::WRITE_DATA => {
                let _over = Over(Arc::clone(&self.over));
                let WriteData { object, .. } = sdk::wire::decode(&args)?;
                if object == "refused" {
                    return answer(Err::<(), _>("no room".to_owned()), Body::Empty);
                }
                let bytes = body.collect(1 << 20).await?;
                *self.object.lock().expect("no holder panics") = (object, bytes);
                answer(Ok(()), Body::Empty)
            }
            function::GET_DATA => {
                let GetData { object, start, end, .. } = sdk::wire::decode(&args)?;
                assert_eq!((start, end), (0, u64::MAX));
                let (name, bytes) = self.object.lock().expect("no holder panics").clone();
                assert_eq!(object, name);
                answer(Ok(Data { size: bytes.len() as u64 }), bytes.into())
            }
            other => Err(CallError::contract(other)),
        }
    }

    async fn drain(&self, _: Duration) {}
}

#[tokio::test]
async fn a_value_is_stored_when_it_is_finished_and_only_then() {
    let runtime = runtime();
    let router = Router::of_links(&[link("callee", "default", "wasi:blobstore/blobstore", "blobs")]);
    let kept = Arc::new(Kept::default());
    let target = Target::Provider(Arc::clone(&kept) as Arc<dyn sdk::Provider>, Arc::default());
    router.set_targets(HashMap::from([("blobs".parse().expect("valid"), target)]));
    let actor = start_with(&runtime, &writer(), Limits::default(), Arc::clone(&router)).await;
    let ask = async |function: &str, text: &str| {
        wave(&actor, "test:blob/blob", function, &format!("({text:?})")).await.expect("answers")
    };
    assert_eq!(ask("store", "hello").await, "\"hello\"");
    assert_eq!(ask("store", "refused").await, "\"no room\"");
    assert_eq!(ask("abandon", "half").await, "\"half\"");
    let all_are_over = async {
        while kept.over.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_are_over).await.expect("no call goes on");
    assert_eq!(kept.object.lock().expect("no holder panics").0, "hello", "what is not finished is not stored");
    router.clear();
}
