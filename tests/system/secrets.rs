//! Secrets from the command line to the actor, and that their values are found nowhere on the way.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ::http::Request;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::Full;

use crate::support::app::App;
use crate::support::http;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::postgres::Postgres;
use crate::support::wait;

const IMPORTS: &[&str] = &["wasmcloud:secrets/*", "wasi:config/*", "wasi:logging/*"];

/// Values that stand nowhere but where they were put.
const CANARIES: [&str; 5] = [
    "canary-one-7f3a91c05e",
    "canary-two-b86d24f7aa",
    "canary-three-05c9e1d3b2",
    "canary-four-e4a07c6b19",
    Postgres::PASSWORD,
];

/// What the example actor answers when it reads `value`.
fn summary(kind: &str, value: &[u8]) -> String {
    let hash = value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{kind} of {} bytes, hash {hash:016x}\n", value.len())
}

/// Asks for `path` until the answer is `expected`.
fn until(lattice: &Lattice, path: &str, expected: &(u16, String)) {
    wait::until(&format!("{expected:?} from {path}"), || {
        match lattice.runtime.block_on(http::get(lattice.address, path)) {
            Ok(answer) if answer == *expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn an_actor_reads_a_secret_and_sees_it_rotated_and_revoked() {
    let lattice = Lattice::one_box(&[]);
    let vault = lattice.signed("vault", IMPORTS);
    let put = ["secret", "put", "db-password", "--for", "vault"];
    let said = lattice.run_with_input(&put, b"hunter2\n");
    assert!(said.contains("version 1") && !said.contains("hunter2"), "{said}");
    let start = ["start", "actor", "vault", path(&vault), "--secret", "db-password"];
    lattice.run(&start);
    lattice.serve_http(None, &[("/", "vault")]);
    lattice.until_ok("/secret/db-password");
    assert_eq!(lattice.get("/secret/db-password"), (200, summary("text", b"hunter2")));
    assert_eq!(
        lattice.get("/config/db-password"),
        (200, summary("config", b"hunter2")),
        "a guest of wasi:config has it"
    );
    assert_eq!(lattice.get("/secret/other").0, 404);

    lattice.run_with_input(&["secret", "rotate", "db-password"], b"correct horse");
    assert_eq!(lattice.get("/secret/db-password"), (200, summary("text", b"correct horse")), "the next call sees it");
    lattice.run_with_input(&["secret", "put", "db-password", "--bytes"], &[0, 255]);
    assert_eq!(lattice.get("/secret/db-password"), (200, summary("bytes", &[0, 255])));
    let listed = lattice.run(&["secret", "list"]);
    assert!(listed.contains("db-password") && listed.contains("vault") && listed.contains('3'), "{listed}");

    lattice.run(&["secret", "revoke", "db-password", "--for", "vault"]);
    let (status, error) = lattice.get("/secret/db-password");
    assert!(status == 403 && error.contains("not granted to vault"), "{status} {error}");
    let error = lattice.try_run(&[&start[..], &["--host", "local", "--max", "3"]].concat()).refused();
    assert!(error.contains("trellis secret grant db-password --for vault"), "{error}");
    lattice.run(&["secret", "grant", "db-password", "--for", "vault"]);
    assert_eq!(lattice.get("/secret/db-password").0, 200);
    lattice.run(&["secret", "del", "db-password"]);
    assert_eq!(lattice.get("/secret/db-password").0, 404);
}

#[test]
fn an_actor_sees_a_changed_config_at_its_next_call() {
    let lattice = Lattice::one_box(&[]);
    let vault = lattice.signed("vault", IMPORTS);
    lattice.run(&["config", "put", "settings", "greeting=first"]);
    lattice.run(&["start", "actor", "vault", path(&vault), "--config", "settings"]);
    lattice.serve_http(None, &[("/", "vault")]);
    lattice.until_ok("/config/greeting");
    for value in ["second", "third"] {
        lattice.run(&["config", "put", "settings", &format!("greeting={value}")]);
        assert_eq!(lattice.get("/config/greeting"), (200, summary("config", value.as_bytes())));
    }
}

#[test]
fn a_manifest_names_a_secret_and_does_not_hold_it() {
    let lattice = Lattice::one_box(&[]);
    lattice.run_with_input(&["secret", "put", "db-password", "--for", "vault-vault"], b"hunter2");
    let manifest = App::example(&lattice, "vault", IMPORTS).write();
    lattice.run(&["app", "deploy", path(&manifest)]);
    lattice.until_deployed("vault");
    until(&lattice, "/secret/password", &(200, summary("text", b"hunter2")));
    lattice.run_with_input(&["secret", "rotate", "db-password"], b"hunter3");
    assert_eq!(lattice.get("/secret/password"), (200, summary("text", b"hunter3")));
}

/// All that goes over the bus, as bytes.
fn tap(lattice: &Lattice) -> Arc<Mutex<Vec<u8>>> {
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let (url, into) = (lattice.nats_url(), Arc::clone(&heard));
    let mut messages = lattice.runtime.block_on(async move {
        let client = async_nats::connect(url).await.expect("connects");
        let messages = client.subscribe(">").await.expect("subscribed");
        client.flush().await.expect("flushed");
        messages
    });
    lattice.runtime.spawn(async move {
        while let Some(message) = messages.next().await {
            let mut heard = into.lock().expect("no writer panics");
            heard.extend_from_slice(message.subject.as_bytes());
            heard.extend_from_slice(&message.payload);
            heard.push(b'\n');
        }
    });
    heard
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// The canaries in `bytes`, as they are, in base64 at any offset, or in hex.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    // Whatever is no text stays apart from the canaries, which are.
    let text = String::from_utf8_lossy(bytes);
    let is_found = |canary: &&&str| {
        let plain = canary.as_bytes();
        let in_base64 = (0..3).any(|offset| {
            let whole = base64(&[&b"\0\0"[..offset], plain].concat());
            text.contains(&whole[4..whole.len() - 4])
        });
        let hex: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
        text.contains(**canary) || in_base64 || text.contains(&hex)
    };
    CANARIES.iter().filter(is_found).copied().collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        (0..4).map(move |i| char::from(DIGITS[(bits >> (18 - 6 * i) & 63) as usize]))
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn canaries_are_found_where_they_are() {
    let canary = CANARIES[2].as_bytes();
    for prefix in [&b""[..], b"x", b"xy"] {
        let around = [prefix, canary, b"tail"].concat();
        assert_eq!(found(&around), [CANARIES[2]]);
        assert_eq!(found(base64(&around).as_bytes()), [CANARIES[2]], "{prefix:?}");
    }
    assert!(found(b"nothing of the kind").is_empty());
}

#[test]
fn no_value_is_found_in_logs_files_store_or_on_the_bus() {
    let mut lattice = Lattice::without_hosts();
    for name in ["a", "b"] {
        lattice.start_host_with(name, &["--log", "trace"]);
    }
    lattice.wait_for_hosts(2);
    lattice.start_wadm();
    let heard = tap(&lattice);
    let mut said = Vec::new();
    let mut put = |arguments: &[&str], value: &str| {
        said.push(lattice.run_with_input(&[&["secret"], arguments].concat(), value.as_bytes()));
    };
    put(&["put", "one", "--for", "vault", "--host", "a"], CANARIES[0]);
    put(&["rotate", "one"], CANARIES[1]);
    put(&["put", "db-password", "--for", "vault-vault", "--all-hosts", "--bytes"], CANARIES[2]);
    put(&["put", "filed", "--for", "vault", "--file", "a"], CANARIES[3]);
    let vault = lattice.signed("vault", IMPORTS);
    let start = ["start", "actor", "vault", path(&vault), "--secret", "one", "--secret", "filed"];
    wait::until("the secret in the file", || {
        let outcome = lattice.try_run(&[&start[..], &["--host", "a"]].concat());
        if outcome.status.success() { Ok(()) } else { Err(outcome.stderr) }
    });
    let error = lattice.try_run(&[&start[..], &["--host", "b"]].concat()).refused();
    assert!(error.contains("not sealed to this host"), "b was never given it: {error}");
    lattice.serve_http(Some("b"), &[("/", "vault")]);
    until(&lattice, "/secret/one", &(200, summary("text", CANARIES[1].as_bytes())));
    until(&lattice, "/secret/filed", &(200, summary("text", CANARIES[3].as_bytes())));
    until(&lattice, "/config/one", &(200, summary("config", CANARIES[1].as_bytes())));
    let elsewhere = format!("127.0.0.1:{}", free_port());
    let manifest = App::example(&lattice, "vault", IMPORTS).with(&lattice.address.to_string(), &elsewhere).write();
    said.push(lattice.run(&["app", "deploy", path(&manifest)]));
    lattice.until_deployed("vault");
    let address = elsewhere.parse().expect("valid");
    assert_eq!(http::until_ok(&lattice.runtime, address, "/secret/password"), summary("bytes", CANARIES[2].as_bytes()));
    for query in [&["secret", "list"][..], &["get", "inventory"], &["get", "links"], &["config", "get", "SECRET_one"]] {
        said.push(format!("{:?}", lattice.try_run(query)));
    }

    found_nowhere(&mut lattice, &said, &heard);
    let all = files(lattice.data());
    assert!(all.iter().any(|file| file.ends_with("secrets/filed.json")), "the file of host a was looked at");
}

/// No canary is in what commands said, in logs, in what was heard on the bus, or in files of hosts and store.
fn found_nowhere(lattice: &mut Lattice, said: &[String], heard: &Mutex<Vec<u8>>) {
    for text in said {
        assert!(found(text.as_bytes()).is_empty(), "{text}");
    }
    for server in &lattice.servers {
        let output = server.output();
        assert!(output.contains("TRACE"), "it logs all that there is");
        assert!(found(output.as_bytes()).is_empty(), "in the log of process {}", server.id());
    }
    let traffic = heard.lock().expect("no writer panics").clone();
    assert!(traffic.len() > 10_000, "the tap hears the bus");
    assert!(found(&traffic).is_empty(), "on the bus");
    let (data, store) = (lattice.data().to_owned(), lattice.nats().store().to_owned());
    let all: Vec<_> = [data, store].iter().flat_map(|folder| files(folder)).collect();
    for file in all {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(found(&bytes).is_empty(), "in {}", file.display());
    }
}

/// The password of a database, for a provider that is built in and for one that is a process.
#[test]
fn no_secret_of_a_link_to_a_provider_is_found_in_logs_files_store_or_on_the_bus() {
    const TABLE: &str = "migration.1=create table todo (id integer generated always as identity primary key, \
                         title text not null, done boolean not null default false)";
    let mut lattice = Lattice::without_hosts();
    lattice.start_host_with("a", &["--log", "trace"]);
    lattice.wait_for_hosts(1);
    let (heard, postgres) = (tap(&lattice), Postgres::start());
    let put = ["secret", "put", "password", "--for", "sql-builtin,sql-process", "--all-hosts"];
    let mut said = vec![lattice.run_with_input(&put, Postgres::PASSWORD.as_bytes())];
    let url = format!("url={}", postgres.url());
    said.push(lattice.run(&["config", "put", "database", "backend=postgres", &url, TABLE]));
    let todo = lattice.signed("todo", &["trellis:sql/*"]);
    lattice.serve_http(None, &[]);
    for kind in ["builtin", "process"] {
        let (provider, actor, reference) = (format!("sql-{kind}"), format!("todo-{kind}"), format!("{kind}:sql"));
        said.push(lattice.run(&["start", "provider", &provider, &reference]));
        let link = ["link", "put", &actor, &provider, "trellis:sql/database", "--target-config", "database"];
        said.push(lattice.run(&[&link[..], &["--target-secret", "password"]].concat()));
        said.push(lattice.run(&["start", "actor", &actor, path(&todo)]));
        lattice.route_with(&actor, "wasi:http/incoming-handler", &[&format!("host={kind}.example")]);
        wait::until("the password to be used", || {
            let request = Request::post("/").header("host", format!("{kind}.example"));
            let request = request.body(Full::new(Bytes::from_static(b"buy milk"))).expect("valid");
            match lattice.runtime.block_on(http::send(lattice.address, request)) {
                Ok(response) if response.status() == 201 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    // Another password, which the server refuses: what it says of that is told everywhere.
    said.push(lattice.run_with_input(&["secret", "rotate", "password"], CANARIES[0].as_bytes()));
    wait::until("the wrong password to be refused", || {
        let links = lattice.run(&["get", "inventory", "--output", "json"]);
        said.push(links.clone());
        if links.matches("password authentication failed").count() >= 2 { Ok(()) } else { Err(links) }
    });
    for query in
        [&["secret", "list"][..], &["get", "inventory"], &["get", "links"], &["config", "get", "SECRET_password"]]
    {
        said.push(format!("{:?}", lattice.try_run(query)));
    }
    found_nowhere(&mut lattice, &said, &heard);
}
