//! Wrong input gets an error that names the thing and the way out, and what runs goes on.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;

use crate::support::guests;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::process;

/// Every text of `expected` is in `error`.
fn check(error: &str, expected: &[&str]) {
    for text in expected {
        assert!(error.to_lowercase().contains(&text.to_lowercase()), "{text:?} is not in: {error}");
    }
}

fn file(lattice: &Lattice, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lattice.data().join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("the directory is writable");
    path
}

#[test]
fn what_is_no_actor_is_refused_and_the_host_goes_on() {
    let lattice = Lattice::one_box(&[]);
    let good = lattice.signed("counter", &["wasi:keyvalue/*"]);
    let bytes = std::fs::read(&good).expect("was just written");
    let mut forged = bytes.clone();
    // In the claims' signature, which is at the end.
    let at = bytes.len() - 10;
    forged[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let core = wat::parse_str("(module)").expect("valid");
    let inert = wat::parse_str("(component)").expect("valid");
    let inert_signed = lattice.data().join("inert.signed.wasm");
    let plain = file(&lattice, "inert.wasm", &inert);
    lattice.run(&["sign", path(&plain), "--out", path(&inert_signed)]);
    let inert_signed = std::fs::read(inert_signed).expect("was just written");
    // Under an id that says nothing: the reason, the way out.
    let refusals: &[(&[u8], &str, &str)] = &[
        (b"this is no component", "magic header not detected", "build it for wasm32-wasip2"),
        (&core, "core module, not a component", "wasm-tools component new"),
        (&inert, "has no claims", "trellis sign"),
        (&inert_signed, "exports no interface", "let its world export one"),
        (&bytes[..bytes.len() / 2], "unexpected end", "copy it again"),
        (&forged, "signature is not that of A", "sign it again"),
    ];
    for (bytes, reason, way_out) in refusals {
        let component = file(&lattice, "x.wasm", bytes);
        check(&lattice.try_run(&["start", "actor", "x", path(&component)]).refused(), &[reason, way_out]);
    }
    let missing = lattice.data().join("nowhere.wasm");
    check(&lattice.try_run(&["start", "actor", "x", path(&missing)]).refused(), &["nowhere.wasm", "no such file"]);
    let unsigned = guests::path("hello");
    check(&lattice.try_run(&["start", "actor", "x", path(&unsigned)]).refused(), &["has no claims", "trellis sign"]);

    let hello = lattice.signed("hello", &[]);
    lattice.run(&["start", "actor", "hello", path(&hello)]);
    lattice.serve_http(None, &[("/", "hello")]);
    lattice.until_ok("/still-there");
}

#[test]
fn all_imports_that_are_not_granted_or_not_linked_are_listed() {
    let lattice = Lattice::one_box(&[]);
    let nothing_granted = lattice.signed("counter", &["demo:other/thing"]);
    let error = lattice.try_run(&["start", "actor", "counter", path(&nothing_granted)]).refused();
    check(&error, &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "grant"]);
    let not_linked = lattice.signed("counter", &["wasi:keyvalue/*"]);
    let error = lattice.try_run(&["start", "actor", "counter", path(&not_linked)]).refused();
    check(&error, &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "link"]);
}

#[test]
fn names_that_could_be_subjects_are_refused_wherever_one_is_given() {
    let lattice = Lattice::one_box(&[]);
    let hello = lattice.signed("hello", &[]);
    let long = "x".repeat(10_240);
    for name in ["a.b", "*", ">", "a b", "a\tb", "", long.as_str()] {
        for arguments in [
            &["start", "actor", name, path(&hello)][..],
            &["start", "provider", name, "builtin:keyvalue"],
            &["start", "provider", "kv", "builtin:keyvalue", "--config", name],
            &["stop", "provider", name],
            &["link", "put", name, "kv", "wasi:keyvalue/store"],
            &["link", "put", "app", name, "wasi:keyvalue/store"],
            &["link", "put", "app", "kv", "wasi:keyvalue/store", "--name", name],
            &["link", "put", "app", "kv", "wasi:keyvalue/store", "--source-config", name],
            &["link", "del", "app", "wasi:keyvalue", "--name", name],
            &["config", "put", name, "key=value"],
            &["config", "get", name],
            &["host", "--name", name],
            &["up", "--host", name],
        ] {
            let error = lattice.try_run(arguments).refused();
            check(&error, &["letters, digits"]);
            assert!(error.len() < 2_000, "the error must not repeat 10 KB");
        }
        let settings = file(&lattice, "host.toml", format!("name = {name:?}\n").as_bytes());
        let error = lattice.try_run(&["host", "--config", path(&settings)]).refused();
        check(&error, &["host.toml", "letters, digits"]);
        assert!(error.len() < 2_000, "the error must not repeat 10 KB");
    }
    assert!(lattice.run(&["get", "links", "--output", "json"]).trim() == "[]", "nothing was done");
    assert!(!lattice.run(&["get", "inventory"]).contains("builtin:"), "nothing was started");
}

#[test]
fn a_link_that_a_provider_cannot_read_is_refused_when_it_is_put() {
    let lattice = Lattice::one_box(&[]);
    for builtin in ["http-client", "keyvalue", "messaging", "blobstore", "sql", "http-server", "timer"] {
        lattice.run(&["start", "provider", builtin, &format!("builtin:{builtin}")]);
    }
    lattice.run(&["start", "provider", "apart", "process:keyvalue"]);
    // Provider, interface, what is wrong, the key, and an example of what is right.
    let targets = [
        ("http-client", "wasi:http/outgoing-handler", "redirects=none", "allow", "api.example.com"),
        ("http-client", "wasi:http/outgoing-handler", "allow=*:* max_requests=many", "max_requests", "256"),
        ("keyvalue", "wasi:keyvalue/store", "backend=mysql", "backend", "redis"),
        ("keyvalue", "wasi:keyvalue/store", "backend=redis ttl=soon", "ttl", "30s"),
        ("keyvalue", "wasi:keyvalue/store", "backend=redis ttll=30s", "ttll", "ttl"),
        ("keyvalue", "wasi:keyvalue/store", "retries=3", "retries", "source"),
        ("apart", "wasi:keyvalue/store", "fsink=never", "fsink", "fsync"),
        ("http-client", "wasi:http/outgoing-handler", "allow=*:* redirect=1", "redirect", "redirects"),
        ("messaging", "wasmcloud:messaging/consumer", "publsh=a", "publsh", "publish"),
        ("blobstore", "wasi:blobstore/blobstore", "read-onyl=true", "read-onyl", "read_only"),
        ("sql", "trellis:sql/database", "max_rows=5", "max_rows", "max-rows"),
        ("apart", "wasi:keyvalue/store", "backend=mysql", "backend", "redis"),
        ("messaging", "wasmcloud:messaging/consumer", "backend=jetstream", "cluster_uris", "nats://"),
        ("blobstore", "wasi:blobstore/blobstore", "backend=s3", "bucket", "trellis-blobs"),
        ("sql", "trellis:sql/database", "backend=postgres", "url", "postgres://"),
    ];
    let sources = [
        ("http-server", "wasi:http/incoming-handler", "address=everywhere", "address", "127.0.0.1:8080"),
        ("messaging", "wasmcloud:messaging/handler", "order_by=token:2", "subscriptions", "orders."),
        ("timer", "trellis:timer/handler", "attempts=3", "schedule", "0 9 * * MON-FRI"),
        ("http-server", "wasi:http/incoming-handler", "pth=/api", "pth", "path"),
        ("messaging", "wasmcloud:messaging/handler", "subscriptions=a max_inflight=2", "max_inflight", "max_in_flight"),
        ("timer", "trellis:timer/handler", "evry=5m", "evry", "every"),
    ];
    let put =
        |ends: [&str; 2], side: &str, (provider, interface, pairs, key, example): (&str, &str, &str, &str, &str)| {
            let pairs: Vec<&str> = pairs.split(' ').collect();
            lattice.run(&[&["config", "put", "wrong"], &pairs[..]].concat());
            let error = lattice.try_run(&["link", "put", ends[0], ends[1], interface, side, "wrong"]).refused();
            check(&error, &[&format!("provider {provider}"), &format!("{key:?}"), "expected", "e.g.", example]);
        };
    targets.into_iter().for_each(|case| put(["actor", case.0], "--target-config", case));
    sources.into_iter().for_each(|case| put([case.0, "actor"], "--source-config", case));
    assert!(!lattice.run(&["get", "links"]).contains("actor"), "none of them is there");
}

#[test]
fn a_config_that_a_link_could_not_be_read_with_is_refused_and_what_was_goes_on() {
    let lattice = Lattice::one_box(&[]);
    for (provider, reference) in [("inside", "builtin:keyvalue"), ("apart", "process:keyvalue")] {
        lattice.run(&["start", "provider", provider, reference]);
        lattice.run(&["config", "put", provider, "backend=embedded"]);
        lattice.run(&[
            "link",
            "put",
            "actor",
            provider,
            "wasi:keyvalue/store",
            "--name",
            provider,
            "--target-config",
            provider,
        ]);
        let error = lattice.try_run(&["config", "put", provider, "backend=mysql"]).refused();
        check(
            &error,
            &[&format!("config {provider}"), &format!("provider {provider}"), "\"backend\"", "expected", "redis"],
        );
        assert!(lattice.run(&["config", "get", provider]).contains("embedded"), "it is as it was");
    }
}

#[test]
fn a_config_of_a_provider_with_a_key_that_nobody_reads_is_refused_when_it_starts() {
    let lattice = Lattice::one_box(&[]);
    for (builtin, pair, key, known) in [
        ("http-server", "adress=127.0.0.1:0", "adress", "address"),
        ("keyvalue", "prefx=a", "prefx", "prefix"),
        ("messaging", "tranform=a -> b", "tranform", "transform"),
    ] {
        lattice.run(&["config", "put", builtin, pair]);
        for kind in ["builtin", "process"] {
            let reference = format!("{kind}:{builtin}");
            let start = ["start", "provider", "one", &reference, "--config", builtin];
            check(&lattice.try_run(&start).refused(), &[&format!("{key:?} is not known"), known, "README"]);
        }
    }
}

#[test]
fn one_config_may_be_for_both_ends_of_links_and_say_what_calls_are_like() {
    let lattice = Lattice::one_box(&[]);
    lattice.run(&["start", "provider", "messaging", "builtin:messaging"]);
    lattice.run(&["config", "put", "both", "subscriptions=a.*", "publish=b.*"]);
    lattice.run(&["link", "put", "actor", "messaging", "wasmcloud:messaging/consumer", "--target-config", "both"]);
    lattice.run(&["config", "put", "careful", "retries=2", "breaker_failures=5", "breaker_pause=1s"]);
    let link = ["link", "put", "messaging", "actor", "wasmcloud:messaging/handler", "--source-config", "both"];
    lattice.run(&[&link[..], &["--source-config", "careful"]].concat());
}

#[test]
fn a_port_in_use_is_named() {
    let lattice = Lattice::one_box(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let data = tempfile::tempdir().expect("a temporary directory");
    let hello = guests::path("hello");
    let error = process::run(data.path(), &["up", path(&hello), "--http", &address]).refused();
    check(&error, &[&address, "in use"]);
    drop(lattice);
}

#[test]
fn a_missing_nats_server_is_named() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let url = format!("nats://127.0.0.1:{}", free_port());
    for arguments in [&["get", "hosts", "--nats-url", &url][..], &["host", "--nats-url", &url]] {
        let error = process::run(data.path(), arguments).refused();
        check(&error, &[url.trim_start_matches("nats://"), "trellis up"]);
    }
}

#[test]
fn one_data_directory_has_one_box() {
    let lattice = Lattice::one_box(&[]);
    let error = process::run(lattice.data(), &["up", "--http", "127.0.0.1:0"]).refused();
    check(&error, &[path(lattice.data())]);
    lattice.wait_for_hosts(1);
}

#[test]
fn one_data_directory_has_one_host_of_a_name() {
    let lattice = Lattice::two_hosts();
    let error = lattice.try_run(&["host", "--name", "a"]).refused();
    check(&error, &[path(&lattice.data().join("hosts/a/lock")), "another process", "--name", "--data-dir"]);
    lattice.wait_for_hosts(2);
}

#[test]
fn one_data_directory_has_one_wadm() {
    let mut lattice = Lattice::two_hosts();
    lattice.start_wadm();
    let error = lattice.try_run(&["wadm"]).refused();
    check(&error, &["catalog.redb", path(lattice.data()), "another process", "--data-dir"]);
    assert!(lattice.run(&["app", "list", "--output", "json"]).starts_with('['), "the first one goes on");
}
