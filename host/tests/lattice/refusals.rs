//! What a host does not start, and that it says all that stands against it.

use trellis_host::config::Unsigned;
use trellis_lattice::identity::component::{self, Statement};
use trellis_lattice::identity::key::{Key, KeyKind};

use crate::cluster::{Cluster, link, now, scale};
use crate::guests;

/// The error of starting `file` on a fresh host.
async fn refusal(cluster: &Cluster, file: &std::path::Path) -> String {
    let host = cluster.host("a").await;
    let error = cluster.client().scale(&scale(host.id(), "actor", file, 1)).await.expect_err("refused").to_string();
    let inventory = cluster.client().inventory(host.id()).await.expect("the host goes on");
    assert!(inventory.components.is_empty(), "{inventory:?}");
    error
}

#[tokio::test]
async fn an_unsigned_component_runs_only_where_it_is_named() {
    let cluster = Cluster::new();
    let file = cluster.file("echo", &wat::parse_str(guests::echo()).expect("a component"));
    let error = refusal(&cluster, &file).await;
    assert!(error.contains("has no claims"), "{error}");
    let mut config = cluster.config("b");
    config.unsigned = vec![Unsigned::File(file.clone())];
    let host = cluster.host_with(config, Key::generate(KeyKind::Host)).await;
    cluster.client().scale(&scale(host.id(), "actor", &file, 1)).await.expect("it is named");
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_is_named() {
    let cluster = Cluster::new();
    let bytes = wat::parse_str(guests::echo()).expect("a component");
    let (stranger, actor) = (Key::generate(KeyKind::Account), Key::generate(KeyKind::Actor));
    let signed = component::sign(&bytes, &Statement::default(), &stranger, &actor, now()).expect("signed");
    let error = refusal(&cluster, &cluster.file("echo", &signed)).await;
    assert!(error.contains(&stranger.public()), "{error}");
}

#[tokio::test]
async fn all_that_stands_against_an_actor_is_in_one_error() {
    let cluster = Cluster::new();
    let file = cluster.actor("front", &guests::front(), Some(&["wasi:keyvalue/*"]));
    let error = refusal(&cluster, &file).await;
    assert!(error.contains("import test:echo/echo is not granted"), "{error}");
    assert!(error.contains("import test:echo/echo is linked to nothing"), "{error}");
}

#[tokio::test]
async fn a_link_that_comes_a_moment_later_is_waited_for() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let client = cluster.client();
    let file = cluster.actor("front", &guests::front(), Some(&["test:echo/echo"]));
    let start = scale(host.id(), "front", &file, 1);
    let needed = link("front", "test:echo/echo", "echo");
    let (started, put) = tokio::join!(client.scale(&start), client.put_link(&needed));
    put.expect("put");
    started.expect("started");
}

/// `bytes` with `to` where `from` stood: as long, and still a component.
fn forged(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("it is there");
    let mut forged = bytes.to_vec();
    forged[at..at + to.len()].copy_from_slice(to.as_bytes());
    forged
}

/// `bytes` with another last character of the claims' signature: one that stands for other bits.
fn with_other_signature(bytes: &[u8]) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    forged
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason_and_the_way_out() {
    let cluster = Cluster::new();
    let signed = std::fs::read(cluster.actor("echo", &guests::echo(), None)).expect("written");
    let module = wat::parse_str("(module)").expect("a module");
    let copy = "copy it again";
    let cases = [
        (cluster.file("text", b"not a component"), "magic header not detected", "build it for wasm32-wasip2"),
        (cluster.file("module", &module), "core module, not a component", "wasm-tools component new"),
        (cluster.file("cut", &signed[..signed.len() / 2]), "unexpected end", copy),
        (cluster.file("cut-in-claims", &signed[..signed.len() - 5]), "unexpected end", copy),
        (cluster.file("changed", &forged(&signed, "test:echo/echo", "test:echo/ecko")), "changed after it was", copy),
        (cluster.file("forged", &with_other_signature(&signed)), "signature is not that of A", "sign it again"),
        (cluster.file("nothing", b""), "is empty", copy),
        (cluster.actor("empty", guests::EMPTY, None), "exports no interface", "let its world export one"),
        (cluster.dir.path().join("absent.wasm"), "cannot read", "No such file"),
        ("acme/app:1".into(), "neither the path of a file", "registry.example"),
    ];
    let host = cluster.host("a").await;
    let client = cluster.client();
    for (file, reason, way_out) in cases {
        let error = client.scale(&scale(host.id(), "actor", &file, 1)).await.expect_err(&file.display().to_string());
        let error = error.to_string();
        assert!(error.contains(reason) && error.contains(way_out), "{}: {error}", file.display());
    }
    client.scale(&scale(host.id(), "actor", &cluster.file("whole", &signed), 1)).await.expect("the host goes on");
}
