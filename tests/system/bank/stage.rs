//! The bank deployed: on one box with what is built in, or on three hosts with servers of PostgreSQL, Redis, S3 and NATS. The
//! manifest is the same; the configs of its backends differ.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::json;

use super::client::Client;
use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::registry::Registry;
use crate::support::s3::S3;
use crate::support::{guests, process, wait};

/// The application.
pub(crate) const APP: &str = "bank";

/// Who pays, each with an account of that name.
pub(crate) const CUSTOMERS: [&str; 4] = ["ada", "bob", "eve", "max"];

/// What each has at first, in cents.
pub(crate) const SEED: i64 = 100_000;

/// What everybody's password is.
pub(crate) const PASSWORD: &str = "known to nobody else";

const ACTORS: [&str; 7] = ["gateway", "accounts", "ledger", "payments", "fraud", "statements", "notifications"];
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// What runs as a process of its own on three hosts: each kind of provider that the bank has.
pub(crate) const KINDS: [&str; 6] = ["sql", "keyvalue", "blobstore", "messaging", "timer", "http-server"];

/// A text of the manifest, and what stands there instead.
pub(crate) type Edit<'a> = (&'a str, &'a str);

/// A bank, and what it runs on.
pub(crate) struct Stage {
    pub(crate) lattice: Lattice,
    /// Where it answers.
    pub(crate) fronts: Vec<SocketAddr>,
    servers: Servers,
    /// The manifest that is deployed, and its version.
    manifest: (String, usize),
}

/// Where its data is, if not on its host, and its images.
#[derive(Default)]
struct Servers {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    s3: Option<S3>,
    registry: Option<Registry>,
}

impl Stage {
    /// On one host with everything in it.
    pub(crate) fn one_box() -> Self {
        Self::one_box_with(&[NO_LIMITS])
    }

    /// The same with another manifest.
    pub(crate) fn one_box_with(edits: &[Edit<'_>]) -> Self {
        Self::on_one_box(&["backend=embedded"], Servers::default(), edits)
    }

    /// The same with a redis-server for a key-value store.
    pub(crate) fn one_box_on_redis(edits: &[Edit<'_>]) -> Self {
        let redis = Redis::start();
        let store = format!("url={}", redis.url());
        Self::on_one_box(&["backend=redis", &store], Servers { redis: Some(redis), ..Servers::default() }, edits)
    }

    fn on_one_box(store: &[&str], servers: Servers, edits: &[Edit<'_>]) -> Self {
        let lattice = Lattice::one_box(&[]);
        put_secrets(&lattice, ["none", "none"], &[]);
        let address = format!("address={}", lattice.address);
        let configs: [(&str, &[&str]); 5] = [
            ("bank-http", &[&address]),
            ("bank-sql", &["backend=sqlite"]),
            ("bank-keyvalue", store),
            ("bank-blobs", &["backend=fs"]),
            ("bank-messaging", &["backend=embedded"]),
        ];
        for (config, settings) in configs {
            lattice.run(&[&["config", "put", config], settings].concat());
        }
        let text = edited(&manifest(), edits);
        let stage = Self { fronts: vec![lattice.address], lattice, servers, manifest: (text, 1) };
        stage.sign();
        stage.open();
        stage
    }

    /// On three hosts, each of which answers at an address of its own, since all are on this machine. As README.md of
    /// the bank says it, with each provider in a process of its own.
    pub(crate) fn three_hosts() -> Self {
        let (postgres, redis, s3, registry) = (Postgres::start(), Redis::start(), S3::start(), Registry::start());
        let mut lattice = Lattice::without_hosts();
        for host in HOSTS {
            lattice.start_host_with(host, &["--label", &format!("name={host}")]);
        }
        lattice.wait_for_hosts(HOSTS.len());
        lattice.start_wadm();
        put_secrets(&lattice, [Postgres::PASSWORD, S3::SECRET], &["--all-hosts"]);
        lattice.run(&["config", "put", "bank-sql", "backend=postgres", &format!("url={}", postgres.url())]);
        lattice.run(&["config", "put", "bank-keyvalue", "backend=redis", &format!("url={}", redis.url())]);
        let (endpoint, bucket) = (format!("endpoint={}", s3.url()), format!("bucket={}", S3::BUCKET));
        let key = format!("access_key_id={}", S3::KEY);
        lattice.run(&["config", "put", "bank-blobs", "backend=s3", &endpoint, &bucket, &key]);
        let uris = format!("cluster_uris={}", lattice.nats_url());
        let subjects = "stream_subjects=bank.notices.*";
        lattice.run(&["config", "put", "bank-messaging", "backend=jetstream", &uris, subjects]);
        let fronts: Vec<SocketAddr> = HOSTS.map(|_| (Ipv4Addr::LOCALHOST, free_port()).into()).to_vec();
        let text = with_fronts(&edited(&manifest(), &[NO_LIMITS]), &fronts).replace("builtin:", "process:");
        let text = ACTORS.iter().fold(text, |text, actor| {
            let (file, image) = (format!("file://bank-{actor}.signed.wasm"), image(&registry, actor));
            edited(&text, &[(&file, &image)])
        });
        let servers = Servers { postgres: Some(postgres), redis: Some(redis), s3: Some(s3), registry: Some(registry) };
        let stage = Self { lattice, fronts, servers, manifest: (text, 1) };
        stage.sign();
        stage.push();
        stage.open();
        stage
    }

    /// Deploys another version of the manifest.
    pub(crate) fn redeploy(&mut self, edits: &[Edit<'_>]) {
        let (text, version) = &self.manifest;
        let next = version + 1;
        let numbered = edited(text, &[(&format!("version: v{version}\n"), &format!("version: v{next}\n"))]);
        self.manifest = (edited(&numbered, edits), next);
        self.deploy();
    }

    fn deploy(&self) {
        let manifest = App::text(&self.lattice, &self.manifest.0).write_as(APP);
        // Seven actors are compiled now: on a slow machine longer than one command waits for an answer.
        self.lattice.run(&["app", "deploy", path(&manifest)]);
        self.lattice.until_deployed(APP);
    }

    /// Deploys the manifest and opens accounts with money in them.
    fn open(&self) {
        self.deploy();
        let teller = self.login("teller");
        for name in CUSTOMERS {
            teller.until_ok("PUT", &format!("/users/{name}"), &json!({ "password": PASSWORD }));
            teller.until_ok("PUT", &format!("/accounts/{name}"), &json!({ "owner": name }));
            let order = json!({ "from": "bank", "to": name, "amount": SEED, "reference": "paid in" });
            let answer = teller.pay(&format!("seed-{name}"), &order);
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    fn sign(&self) {
        for actor in ACTORS {
            let source = guests::path(&format!("bank-{actor}"));
            let signed = self.signed(actor);
            process::run(self.lattice.data(), &["sign", path(&source), "--import-all", "--out", path(&signed)]).ok();
        }
    }

    /// Puts the actors where each host finds them.
    fn push(&self) {
        let registry = self.servers.registry.as_ref().expect("it is on three hosts");
        for actor in ACTORS {
            self.lattice.run(&["push", &image(registry, actor), path(&self.signed(actor))]);
        }
    }

    fn signed(&self, actor: &str) -> PathBuf {
        self.lattice.data().join(format!("bank-{actor}.signed.wasm"))
    }

    /// Somebody who has logged in.
    pub(crate) fn login(&self, user: &str) -> Client {
        Client::login(self.lattice.runtime.handle(), &self.fronts, user)
    }

    /// Ends the process of the one box without a word.
    pub(crate) fn kill_box(&mut self) {
        self.lattice.servers.clear();
    }

    /// Starts it with what it kept.
    pub(crate) fn start_box(&mut self) {
        let server = self.lattice.up(&[]);
        server.wait_for("is up");
        self.lattice.servers.push(server);
    }

    /// Starts the host `name` with what it kept.
    pub(crate) fn start_host(&mut self, name: &str) {
        self.lattice.start_host_with(name, &["--label", &format!("name={name}")]);
        self.lattice.wait_for_hosts(HOSTS.len());
    }

    /// Ends the process of that kind of provider on the host `name` without a word, and waits until another one runs.
    pub(crate) fn kill_provider(&self, name: &str, kind: &str) {
        let host = self.lattice.process_of(name);
        let killed = process::provider_of(host, kind);
        process::signal(killed, "KILL");
        wait::until("another process", || match process::provider_of(host, kind) {
            same if same == killed => Err(format!("{kind} is process {same}")),
            _ => Ok(()),
        });
    }

    pub(crate) fn postgres(&mut self) -> &mut Postgres {
        self.servers.postgres.as_mut().expect("it is on three hosts")
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        self.servers.redis.as_mut().expect("it has one")
    }

    pub(crate) fn s3(&mut self) -> &mut S3 {
        self.servers.s3.as_mut().expect("it is on three hosts")
    }
}

/// How the limits of the manifest are written.
pub(crate) const LIMITS: &str = r#"sum: "5000000", payments: "100", window_seconds: "60""#;

/// Limits that nobody reaches.
const NO_LIMITS: Edit<'_> = (LIMITS, r#"sum: "1000000000000", payments: "1000000", window_seconds: "60""#);

fn manifest() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bank/bank.yaml");
    std::fs::read_to_string(file).expect("the manifest is there")
}

fn edited(text: &str, edits: &[Edit<'_>]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the manifest any more");
        text.replace(from, to)
    })
}

/// Where the image of an actor is.
fn image(registry: &Registry, actor: &str) -> String {
    format!("{}/bank-{actor}:v1", registry.host())
}

/// The manifest with an HTTP server for each host in the place of the one that is on every host, which comes last.
fn with_fronts(text: &str, fronts: &[SocketAddr]) -> String {
    let (others, front) = text.split_once("    - name: http\n").expect("the HTTP server comes last");
    let of_host = |(host, address): (&str, &SocketAddr)| {
        let scaler = "daemonscaler\n          properties: { instances: 1 }";
        let one = format!(
            "spreadscaler\n          properties: {{ instances: 1, spread: [ {{ name: {host}, requirements: {{ name: \
             {host} }} }} ] }}"
        );
        let config = "config: [ { name: bank-http } ]";
        assert!(front.contains(scaler) && front.contains(config), "the HTTP server of the manifest is another now");
        let listens = format!("config: [ {{ name: http-{host}, properties: {{ address: \"{address}\" }} }} ]");
        format!("    - name: http-{host}\n{}", front.replace(scaler, &one).replace(config, &listens))
    };
    HOSTS.into_iter().zip(fronts).map(of_host).fold(others.to_owned(), |text, front| text + &front)
}

fn put_secrets(lattice: &Lattice, [database, blobs]: [&str; 2], hosts: &[&str]) {
    for (name, reader, value) in [
        ("bank-token-key", "bank-gateway", "0123456789abcdef0123456789abcdef"),
        ("bank-teller-password", "bank-accounts", PASSWORD),
        ("bank-auditor-password", "bank-accounts", PASSWORD),
        ("bank-database-password", "bank-sql", database),
        ("bank-blobs-key", "bank-blobs", blobs),
    ] {
        let put = [&["secret", "put", name, "--for", reader], hosts].concat();
        lattice.run_with_input(&put, value.as_bytes());
    }
}
