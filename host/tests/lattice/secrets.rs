//! Secrets: who reads them, on which hosts, and that nobody else sees them. Configs: what the next call sees.

use std::sync::LazyLock;
use std::time::Duration;

use trellis_host::host::Host;
use trellis_lattice::id::SecretName;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::ScaleComponent;
use trellis_lattice::secret::SecretValue;
use trellis_lattice::secrets::{Backend, HostGrant, Recipient, Reference, SecretRecord, Terms};
use trellis_lattice::store::Expect;

use crate::cluster::{Cluster, eventually, link, now, provider, scale};
use crate::guests;

/// One time for all drafts: the clock goes on while a test makes them.
static BEGAN: LazyLock<u64> = LazyLock::new(now);
const CANARY: &str = "canary-4c1d-a-value-that-is-nowhere-else";

fn name() -> SecretName {
    "db-password".parse().expect("valid")
}

/// What a test says of a secret.
struct Draft<'a> {
    version: u64,
    readers: &'a [&'a str],
    hosts: Vec<HostGrant>,
    value: &'a str,
    sealed_to: Vec<&'a Key>,
}

impl Draft<'_> {
    fn signed(&self, signer: &Key) -> SecretRecord {
        let readers = self.readers.iter().map(|reader| reader.parse().expect("valid")).collect();
        let terms = Terms { readers, hosts: self.hosts.iter().cloned().collect() };
        let recipients: Vec<_> = self.sealed_to.iter().map(|key| Recipient::of(key)).collect();
        // A version is signed a second after the one before.
        let when = (self.version, (*BEGAN + self.version) * 1_000);
        SecretRecord::seal(
            (&Cluster::lattice(), &name()),
            when,
            terms,
            &SecretValue::text(self.value),
            (signer, &recipients),
        )
        .expect("sealed")
    }

    async fn put(&self, cluster: &Cluster) {
        let record = self.signed(&cluster.authority);
        cluster.client().put_secret(&name(), record.sealed()).await.expect("taken");
    }
}

async fn put_reference(cluster: &Cluster, backend: Backend) {
    let config = Reference::config_name(&name()).expect("valid");
    let record = Reference::plain(&name(), backend).to_record();
    cluster.client().put_config(&config, &record).await.expect("put");
}

/// An order for the actor `vault`, which reads the secret.
fn order(cluster: &Cluster, host: &Host) -> ScaleComponent {
    let imports = ["wasmcloud:secrets/*", "wasi:config/*"];
    let file = cluster.actor("vault", &guests::secret_reader(), Some(&imports));
    ScaleComponent {
        config: vec![Reference::config_name(&name()).expect("valid")],
        ..scale(host.id(), "vault", &file, 2)
    }
}

/// Lets the probe call the actor `vault`.
async fn linked(cluster: &Cluster, host: &Host) {
    cluster.client().start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
    cluster.client().put_link(&link("probe", "test:echo/echo", "vault")).await.expect("put");
}

async fn ask(cluster: &Cluster) -> String {
    cluster.call("probe", "test:echo/echo", name().as_str()).await.expect("answers")
}

async fn host(cluster: &Cluster, name: &str) -> (Host, Key) {
    let key = Key::generate(KeyKind::Host);
    (cluster.host_with(cluster.config(name), key.clone()).await, key)
}

#[tokio::test]
async fn an_actor_reads_what_it_was_granted_as_it_is_now() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    let put = async |version, value, reader: &str| {
        let hosts = vec![HostGrant::All];
        Draft { version, readers: &[reader], hosts, value, sealed_to: vec![&key] }.put(&cluster).await;
    };
    put(1, CANARY, "vault").await;
    put_reference(&cluster, Backend::Lattice).await;
    cluster.client().scale(&order(&cluster, &host)).await.expect("starts");
    linked(&cluster, &host).await;
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
    assert_eq!(ask(&cluster).await, CANARY);
    assert_eq!(cluster.call("probe", "test:echo/echo", "other").await.expect("answers"), "not-found");
    put(2, "rotated", "vault").await;
    assert_eq!(ask(&cluster).await, "rotated", "the next call sees it");
    put(3, "rotated", "somebody").await;
    assert!(ask(&cluster).await.contains("not granted to vault"), "it was taken from it");
    cluster.client().delete_secret(&name()).await.expect("deleted");
    assert_eq!(ask(&cluster).await, "not-found");
}

#[tokio::test]
async fn what_is_kept_does_not_hold_the_value() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    let draft =
        Draft { version: 1, readers: &["vault"], hosts: vec![HostGrant::All], value: CANARY, sealed_to: vec![&key] };
    draft.put(&cluster).await;
    put_reference(&cluster, Backend::Lattice).await;
    cluster.client().scale(&order(&cluster, &host)).await.expect("starts");
    let mut kept = 0;
    for record in cluster.store.list("").await.expect("listed") {
        kept += 1;
        assert!(!String::from_utf8_lossy(&record.value).contains(CANARY), "{:?}", record.key);
    }
    assert!(kept >= 3, "the secret, the reference and the claims are there");
    host.stop(Duration::ZERO).await;
    let mut folders = vec![cluster.dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let bytes = std::fs::read(&entry).expect("readable");
                assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{}", entry.display());
            }
        }
    }
}

#[tokio::test]
async fn an_actor_whose_secret_it_may_not_have_is_not_started() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    put_reference(&cluster, Backend::Lattice).await;
    let refused = async || cluster.client().scale(&order(&cluster, &host)).await.expect_err("refused").to_string();
    let error = refused().await;
    assert!(error.contains("no secret db-password") && error.contains("trellis secret put"), "{error}");
    let draft =
        Draft { version: 1, readers: &["other"], hosts: vec![HostGrant::All], value: CANARY, sealed_to: vec![&key] };
    draft.put(&cluster).await;
    let error = refused().await;
    assert!(error.contains("not granted to vault") && error.contains("trellis secret grant"), "{error}");
    Draft { version: 2, readers: &["vault"], hosts: Vec::new(), sealed_to: Vec::new(), ..draft }.put(&cluster).await;
    let error = refused().await;
    assert!(error.contains("not sealed to this host") && error.contains(host.id().as_str()), "{error}");
}

#[tokio::test]
async fn a_secret_is_sealed_to_hosts_that_come_later_if_they_are_meant() {
    let cluster = Cluster::new();
    let (_a, key_a) = host(&cluster, "a").await;
    let key_b = Key::generate(KeyKind::Host);
    let b = key_b.public().parse().expect("a host");
    let hosts = vec![HostGrant::Host(key_a.public().parse().expect("a host")), HostGrant::Host(b)];
    Draft { version: 1, readers: &["vault"], hosts, value: CANARY, sealed_to: vec![&key_a] }.put(&cluster).await;
    put_reference(&cluster, Backend::Lattice).await;
    let (stranger, key_c) = host(&cluster, "c").await;
    let b = cluster.host_with(cluster.config("b"), key_b.clone()).await;
    eventually(|| async {
        let secret = cluster.client().secret(&name()).await.expect("answered").expect("there");
        let record = secret.verify(&Cluster::lattice(), &name(), &cluster.authority.public()).expect("holds");
        assert!(!record.is_sealed_to(&key_c.public()), "nobody meant it");
        if record.is_sealed_to(&key_b.public()) { Ok(()) } else { Err(format!("{record:?}")) }
    })
    .await;
    eventually(|| async { cluster.client().scale(&order(&cluster, &b)).await.map_err(|error| error.to_string()) })
        .await;
    linked(&cluster, &b).await;
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
    assert_eq!(ask(&cluster).await, CANARY);
    let error = cluster.client().scale(&order(&cluster, &stranger)).await.expect_err("refused").to_string();
    assert!(error.contains("not sealed to this host"), "{error}");
}

#[tokio::test]
async fn what_the_authority_did_not_sign_or_signed_earlier_changes_nothing() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    let draft = |version, value| Draft {
        version,
        readers: &["vault"],
        hosts: vec![HostGrant::All],
        value,
        sealed_to: vec![&key],
    };
    draft(2, CANARY).put(&cluster).await;
    put_reference(&cluster, Backend::Lattice).await;
    cluster.client().scale(&order(&cluster, &host)).await.expect("starts");
    linked(&cluster, &host).await;
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
    let thief = Key::generate(KeyKind::Account);
    let (forged, older) = (draft(3, "forged").signed(&thief), draft(1, "older").signed(&cluster.authority));
    for record in [&forged, &older] {
        let error = cluster.client().put_secret(&name(), record.sealed()).await.expect_err("refused").to_string();
        assert!(error.contains("db-password"), "{error}");
        // Whoever can write to the store by another way changes nothing either.
        let key = trellis_lattice::store::Key::parse("secret.db-password").expect("valid");
        let bytes = serde_json::to_vec(record.sealed()).expect("JSON");
        cluster.store.put(&key, bytes.into(), Expect::Any).await.expect("written");
        put_reference(&cluster, Backend::Lattice).await;
        assert_eq!(ask(&cluster).await, CANARY);
    }
    draft(4, "new").put(&cluster).await;
    assert_eq!(ask(&cluster).await, "new", "what is signed later counts");
}

#[tokio::test]
async fn a_provider_gets_its_link_again_when_a_secret_has_another_value() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    let draft = |version, value| Draft {
        version,
        readers: &["echo"],
        hosts: vec![HostGrant::All],
        value,
        sealed_to: vec![&key],
    };
    draft(1, "one ").put(&cluster).await;
    let config = "SECRET_greeting".parse().expect("valid");
    let reference = Reference { name: "greeting".to_owned(), ..Reference::plain(&name(), Backend::Lattice) };
    cluster.client().put_config(&config, &reference.to_record()).await.expect("put");
    for (id, builtin) in [("echo", "echo"), ("probe", "probe")] {
        cluster.client().start_provider(&provider(host.id(), id, builtin)).await.expect("starts");
    }
    let mut linked = link("probe", "test:echo/echo", "echo");
    linked.target_config = vec![config];
    cluster.client().put_link(&linked).await.expect("put");
    let greets = async |greeting: &str| {
        let is_so = |outcome: &Result<String, _>| outcome.as_ref().is_ok_and(|text| text.starts_with(greeting));
        cluster.call_until(("probe", "test:echo/echo"), is_so).await.expect("answers")
    };
    greets("one ").await;
    draft(2, "two ").put(&cluster).await;
    greets("two ").await;
}

#[tokio::test]
async fn a_host_reads_secrets_in_its_own_files() {
    let cluster = Cluster::new();
    let (host, key) = host(&cluster, "a").await;
    let folder = cluster.dir.path().join("a/secrets");
    std::fs::create_dir(&folder).expect("made");
    let write = |version, value, signer: &Key| {
        let draft = Draft { version, readers: &["vault"], hosts: Vec::new(), value, sealed_to: vec![&key] };
        let text = serde_json::to_vec(draft.signed(signer).sealed()).expect("JSON");
        std::fs::write(folder.join("new"), text).expect("written");
        std::fs::rename(folder.join("new"), folder.join("db-password.json")).expect("renamed");
    };
    write(1, CANARY, &key);
    put_reference(&cluster, Backend::File).await;
    eventually(|| async { cluster.client().scale(&order(&cluster, &host)).await.map_err(|error| error.to_string()) })
        .await;
    linked(&cluster, &host).await;
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
    assert_eq!(ask(&cluster).await, CANARY);
    write(2, "a rotated value", &key);
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
    eventually(|| async {
        let now = ask(&cluster).await;
        if now == "a rotated value" { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test]
async fn a_config_that_was_put_is_seen_by_the_next_call() {
    let cluster = Cluster::new();
    let (host, _) = host(&cluster, "a").await;
    let config = "settings".parse().expect("valid");
    let content = |value: &str| [("greeting".to_owned(), value.to_owned())].into();
    cluster.client().put_config(&config, &content("first")).await.expect("put");
    cluster.client().start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
    cluster.client().put_link(&link("probe", "test:echo/echo", "reader")).await.expect("put");
    for import in [
        "wasi:config/store@0.2.0-draft",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:config/runtime@0.2.0-draft",
        "wasi:config/runtime",
    ] {
        let file = cluster.actor(
            &import.replace(['/', ':', '@'], "-"),
            &guests::config_reader(import),
            Some(&["wasi:config/*"]),
        );
        let order =
            ScaleComponent { config: vec![config.clone()], allow_update: true, ..scale(host.id(), "reader", &file, 1) };
        cluster.client().scale(&order).await.expect("starts");
        cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");
        for round in 0..20 {
            let value = format!("{import} {round}");
            cluster.client().put_config(&config, &content(&value)).await.expect("put");
            let seen = cluster.call("probe", "test:echo/echo", "greeting").await.expect("answers");
            assert_eq!(seen, value);
        }
    }
}
