//! Actors on the key-value store: those that are told of changes, and those that compare and swap.

use std::collections::HashMap;

use trellis_interfaces::keyvalue::{Get, OnDelete, OnSet, Set, Value};
use trellis_provider_keyvalue::factory;
use trellis_provider_sdk::Provider;
use trellis_provider_sdk::testing::{as_target, environment, invocation, link, nobody, value};

use super::*;
use crate::router::Target;

/// The import of `store` in one version, with what `functions` names.
fn store(version: &str, functions: &str) -> String {
    format!(
        r#"(import "wasi:keyvalue/store@{version}" (instance $store
            (export "bucket" (type $bucket (sub resource)))
            (type $variant (variant (case "no-such-store") (case "access-denied") (case "other" string)))
            (export "error" (type $error (eq $variant)))
            {functions}))
          (alias export $store "bucket" (type $bucket))
          (alias export $store "error" (type $error))"#
    )
}

/// Exports the watcher of one version: what was set goes to the key `seen` of the bucket that it is given, and
/// `gone` when a key was deleted.
fn watcher(version: &str) -> String {
    let set = r#"(export "[method]bucket.set" (func (param "self" (borrow $bucket)) (param "key" string)
        (param "value" (list u8)) (result (result (error $error)))))"#;
    let store = store(version, set);
    format!(
        r#"(component {store} {LIBC}
          (core func $set (canon lower (func $store "[method]bucket.set") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "in" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
            (data (i32.const 16) "seengone")
            (func (export "on-set") (param i32 i32 i32 i32 i32)
              (call $set (local.get 0) (i32.const 16) (i32.const 4) (local.get 3) (local.get 4) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then unreachable)))
            (func (export "on-delete") (param i32 i32 i32)
              (call $set (local.get 0) (i32.const 16) (i32.const 4) (i32.const 20) (i32.const 4) (i32.const 64))
              (if (i32.load8_u (i32.const 64)) (then unreachable))))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) (with "in" (instance (export "set" (func $set))))))
          (func $on-set (param "bucket" (own $bucket)) (param "key" string) (param "value" (list u8))
            (canon lift (core func $i "on-set") {MEMORY}))
          (func $on-delete (param "bucket" (own $bucket)) (param "key" string)
            (canon lift (core func $i "on-delete") {MEMORY}))
          (component $wrap
            (import "bucket" (type $bucket (sub resource)))
            (import "on-set" (func $on-set (param "bucket" (own $bucket)) (param "key" string) (param "value" (list u8))))
            (import "on-delete" (func $on-delete (param "bucket" (own $bucket)) (param "key" string)))
            (export "on-set" (func $on-set))
            (export "on-delete" (func $on-delete)))
          (instance $out (instantiate $wrap
            (with "bucket" (type $bucket)) (with "on-set" (func $on-set)) (with "on-delete" (func $on-delete))))
          (export "wasi:keyvalue/watcher@{version}" (instance $out)))"#
    )
}

/// Exports `test:probe/probe` with `swap`, which looks at the key `k`, then writes `first`, then swaps for what it is
/// given on what it saw: 0 when that was made. When it was not, it tries again on what it is told: 1 when that was made.
fn swapper() -> String {
    let functions = r#"
        (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
        (export "[method]bucket.set" (func (param "self" (borrow $bucket)) (param "key" string)
          (param "value" (list u8)) (result (result (error $error)))))"#;
    let store = store("0.2.0-draft2", functions);
    format!(
        r#"(component {store}
          (import "wasi:keyvalue/atomics@0.2.0-draft2" (instance $atomics
            (alias outer 1 $bucket (type $outer-bucket))
            (export "bucket" (type $bucket (eq $outer-bucket)))
            (alias outer 1 $error (type $outer-error))
            (export "error" (type $error (eq $outer-error)))
            (export "cas" (type $cas (sub resource)))
            (type $variant (variant (case "store-error" $error) (case "cas-failed" (own $cas))))
            (export "cas-error" (type $cas-error (eq $variant)))
            (export "[static]cas.new" (func (param "bucket" (borrow $bucket)) (param "key" string)
              (result (result (own $cas) (error $error)))))
            (export "swap" (func (param "cas" (own $cas)) (param "value" (list u8))
              (result (result (error $cas-error)))))))
          {LIBC}
          (core func $open (canon lower (func $store "open") {MEMORY}))
          (core func $set (canon lower (func $store "[method]bucket.set") {MEMORY}))
          (core func $new (canon lower (func $atomics "[static]cas.new") {MEMORY}))
          (core func $swap (canon lower (func $atomics "swap") {MEMORY}))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "in" "open" (func $open (param i32 i32 i32)))
            (import "in" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
            (import "in" "new" (func $new (param i32 i32 i32 i32)))
            (import "in" "swap" (func $swap (param i32 i32 i32 i32)))
            (data (i32.const 16) "bkfirst")
            (func $sound (if (i32.load8_u (i32.const 64)) (then unreachable)))
            (func (export "swap") (param i32 i32 i32) (result i32)
              (local $bucket i32)
              (call $open (i32.const 16) (i32.const 1) (i32.const 64)) (call $sound)
              (local.set $bucket (i32.load (i32.const 68)))
              (call $new (local.get $bucket) (i32.const 17) (i32.const 1) (i32.const 64)) (call $sound)
              (if (local.get 0) (then
                (i32.store (i32.const 128) (i32.load (i32.const 68)))
                (call $set (local.get $bucket) (i32.const 17) (i32.const 1) (i32.const 18) (i32.const 5) (i32.const 64))
                (call $sound)
                (i32.store (i32.const 68) (i32.load (i32.const 128)))))
              (call $swap (i32.load (i32.const 68)) (local.get 1) (local.get 2) (i32.const 64))
              (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (i32.const 0))))
              (if (i32.eqz (i32.load8_u (i32.const 68))) (then unreachable))
              (call $swap (i32.load (i32.const 72)) (local.get 1) (local.get 2) (i32.const 64)) (call $sound)
              (i32.const 1)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "in" (instance (export "open" (func $open)) (export "set" (func $set))
              (export "new" (func $new)) (export "swap" (func $swap))))))
          (func $probe (param "disturbed" bool) (param "value" string) (result u32)
            (canon lift (core func $i "swap") {MEMORY}))
          (instance $out (export "swap" (func $probe)))
          (export "test:probe/probe" (instance $out)))"#
    )
}

/// An actor named `callee` with a link to a store of its own.
struct Stored {
    actor: Arc<Actor>,
    provider: Arc<dyn Provider>,
    link: trellis_lattice::message::link::Link,
    router: Arc<Router>,
    _directory: tempfile::TempDir,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.router.clear();
    }
}

async fn stored(wat: &str) -> Stored {
    let directory = tempfile::tempdir().expect("a directory");
    let provider = factory()(environment("kv", directory.path(), nobody())).expect("starts");
    let link = link("callee", "kv", &["wasi:keyvalue/store", "wasi:keyvalue/atomics"]);
    provider.link_up(&as_target(link.clone(), &[("fsync", "never")])).await.expect("is up");
    let router = Router::of_links(std::slice::from_ref(&link));
    router.set_targets(HashMap::from([(
        "kv".parse().expect("valid"),
        Target::Provider(Arc::clone(&provider), Arc::default()),
    )]));
    let actor = start_with(&runtime(), wat, Limits::default(), Arc::clone(&router)).await;
    Stored { actor, provider, link, router, _directory: directory }
}

impl Stored {
    async fn get(&self, key: &str) -> Option<Value> {
        let get = Get { bucket: "b", key };
        let call = invocation(&self.link, "wasi:keyvalue/store@0.2.0-draft", "get", &get);
        let answer = self.provider.call(call).await.expect("answers");
        value::<Result<_, trellis_interfaces::keyvalue::Error>>(&answer).expect("decodes").expect("is there")
    }

    async fn set(&self, key: &str, text: &'static str) {
        let set = Set { bucket: "b".into(), key: key.into(), value: Value::from_static(text.as_bytes()) };
        self.provider
            .call(invocation(&self.link, "wasi:keyvalue/store@0.2.0-draft", "set", &set))
            .await
            .expect("is set");
    }

    async fn tell(&self, function: &str, args: &impl serde::Serialize) -> Result<(), CallError> {
        let args = Args::Wire(rmp_serde::to_vec(args).expect("encodes").into());
        call(&self.actor, "wasi:keyvalue/watcher", function, args).await.map(drop)
    }
}

#[tokio::test]
async fn an_actor_is_told_of_changes_with_the_bucket_open() {
    for version in ["0.2.0-draft", "0.2.0-draft2"] {
        let stored = stored(&watcher(version)).await;
        let set = OnSet { bucket: "b".into(), key: "k".into(), value: Value::from_static(b"news") };
        stored.tell("on-set", &set).await.expect(version);
        assert_eq!(stored.get("seen").await, Some(Value::from_static(b"news")), "{version}");
        stored.tell("on-delete", &OnDelete { bucket: "b".into(), key: "k".into() }).await.expect(version);
        assert_eq!(stored.get("seen").await, Some(Value::from_static(b"gone")), "{version}");
        let unknown = stored.tell("on-expire", &("b", "k")).await.expect_err("there is no such function");
        assert_eq!(unknown.kind, CallErrorKind::Contract, "{unknown}");
        let malformed = stored.tell("on-set", &("b", 7)).await.expect_err("no key");
        assert_eq!(malformed.kind, CallErrorKind::Contract, "{malformed}");
    }
}

#[tokio::test]
async fn an_actor_swaps_only_what_it_saw() {
    let stored = stored(&swapper()).await;
    let swap = async |args: &str| wave(&stored.actor, "test:probe/probe", "swap", args).await.expect("answers");
    assert_eq!(swap("(false, \"one\")").await, "0", "nothing was there");
    assert_eq!(stored.get("k").await, Some(Value::from_static(b"one")));
    assert_eq!(swap("(false, \"two\")").await, "0");
    assert_eq!(swap("(true, \"three\")").await, "1", "it was written meanwhile, and the new handle is for that");
    assert_eq!(stored.get("k").await, Some(Value::from_static(b"three")));
    stored.set("k", "other").await;
    assert_eq!(swap("(false, \"four\")").await, "0");
}
