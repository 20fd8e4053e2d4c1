//! The bank deployed: on one box with what is built in, or on three hosts with servers of PostgreSQL, Redis and NATS. The
//! manifest is the same; the configs of its backends differ.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::json;

use super::client::Client;
use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::{guests, process};

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

/// A bank, and what it runs on.
pub(crate) struct Stage {
    pub(crate) lattice: Lattice,
    /// Where it answers.
    pub(crate) fronts: Vec<SocketAddr>,
    servers: Option<(Postgres, Redis)>,
}

impl Stage {
    /// On one host with everything in it.
    pub(crate) fn one_box() -> Self {
        let lattice = Lattice::one_box(&[]);
        put_secrets(&lattice, "none", &[]);
        let address = format!("address={}", lattice.address);
        for (config, settings) in [
            ("bank-http", address.as_str()),
            ("bank-sql", "backend=sqlite"),
            ("bank-keyvalue", "backend=embedded"),
            ("bank-messaging", "backend=embedded"),
        ] {
            lattice.run(&["config", "put", config, settings]);
        }
        let stage = Self { fronts: vec![lattice.address], lattice, servers: None };
        stage.deploy(&manifest());
        stage
    }

    /// On three hosts, each of which answers at an address of its own, since all are on this machine.
    pub(crate) fn three_hosts() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let mut lattice = Lattice::without_hosts();
        for host in HOSTS {
            lattice.start_host_with(host, &["--label", &format!("name={host}")]);
        }
        lattice.wait_for_hosts(HOSTS.len());
        lattice.start_wadm();
        put_secrets(&lattice, Postgres::PASSWORD, &["--all-hosts"]);
        lattice.run(&["config", "put", "bank-sql", "backend=postgres", &format!("url={}", postgres.url())]);
        lattice.run(&["config", "put", "bank-keyvalue", "backend=redis", &format!("url={}", redis.url())]);
        let uris = format!("cluster_uris={}", lattice.nats_url());
        let subjects = "stream_subjects=bank.notices.*";
        lattice.run(&["config", "put", "bank-messaging", "backend=jetstream", &uris, subjects]);
        let fronts: Vec<SocketAddr> = HOSTS.map(|_| (Ipv4Addr::LOCALHOST, free_port()).into()).to_vec();
        let text = with_fronts(&manifest(), &fronts).replace("builtin:keyvalue", "process:keyvalue");
        let stage = Self { lattice, fronts, servers: Some((postgres, redis)) };
        stage.deploy(&text);
        stage
    }

    /// Deploys the manifest and opens accounts with money in them.
    fn deploy(&self, text: &str) {
        sign(self.lattice.data());
        let manifest = App::text(&self.lattice, text).write_as(APP);
        // Seven actors are compiled now: on a slow machine longer than one command waits for an answer.
        self.lattice.run(&["app", "deploy", path(&manifest)]);
        self.lattice.until_deployed(APP);
        let teller = self.login("teller");
        for name in CUSTOMERS {
            teller.until_ok("PUT", &format!("/users/{name}"), &json!({ "password": PASSWORD }));
            teller.until_ok("PUT", &format!("/accounts/{name}"), &json!({ "owner": name }));
            let order = json!({ "from": "bank", "to": name, "amount": SEED, "reference": "paid in" });
            let answer = teller.pay(&format!("seed-{name}"), &order);
            assert_eq!(answer.status, 201, "{answer:?}");
        }
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

    /// Ends the process of the key-value provider of the host `name` without a word.
    pub(crate) fn kill_provider(&self, name: &str) {
        let host = self.lattice.process_of(name);
        let provider = process::provider_of(host, "keyvalue");
        process::signal(provider, "KILL");
    }

    pub(crate) fn postgres(&mut self) -> &mut Postgres {
        &mut self.servers.as_mut().expect("it is on three hosts").0
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        &mut self.servers.as_mut().expect("it is on three hosts").1
    }
}

/// The manifest, with limits that nobody reaches.
fn manifest() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bank/bank.yaml");
    let text = std::fs::read_to_string(file).expect("the manifest is there");
    let limits = r#"sum: "5000000", payments: "100""#;
    assert!(text.contains(limits), "the limits of the manifest are others now");
    text.replace(limits, r#"sum: "1000000000000", payments: "1000000""#)
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

fn put_secrets(lattice: &Lattice, database_password: &str, hosts: &[&str]) {
    for (name, reader, value) in [
        ("bank-token-key", "bank-gateway", "0123456789abcdef0123456789abcdef"),
        ("bank-teller-password", "bank-accounts", PASSWORD),
        ("bank-auditor-password", "bank-accounts", PASSWORD),
        ("bank-database-password", "bank-sql", database_password),
    ] {
        let put = [&["secret", "put", name, "--for", reader], hosts].concat();
        lattice.run_with_input(&put, value.as_bytes());
    }
}

fn sign(data: &Path) {
    for actor in ACTORS {
        let source = guests::path(&format!("bank-{actor}"));
        let signed = data.join(format!("bank-{actor}.signed.wasm"));
        process::run(data, &["sign", path(&source), "--import-all", "--out", path(&signed)]).ok();
    }
}
