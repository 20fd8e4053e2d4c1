//! The bank of `examples/bank` on one host. [`client`] is who asks it, [`check`] what it has to answer, [`intruders`] whom it has
//! to refuse, [`load`] many payments while the process is killed.

mod check;
mod client;
mod intruders;
mod load;
mod token;

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::json;

use super::lattice::Lattice;
use super::table;
use crate::workspace::Workspace;
use client::{Client, until};

pub(super) use check::check;

/// The host, as `trellis up --host` takes it.
pub(super) const HOSTS: &[&str] = &["bank"];

/// The actors, without the `bank-` before their names.
const ACTORS: [&str; 7] = ["gateway", "accounts", "ledger", "payments", "fraud", "statements", "notifications"];

/// Passwords are shown: everything here ends with the demo.
const TELLER: (&str, &str) = ("teller", "counts by hand");
const AUDITOR: (&str, &str) = ("auditor", "counts again");
/// Customers, each with an account named after them.
const CUSTOMERS: [(&str, &str); 4] =
    [("ada", "ada-s password"), ("bob", "bob-s password"), ("eve", "eve-s password"), ("max", "max-s password")];

/// What each customer pays in at first, in cents.
const SEED: u64 = 100_000;

/// Puts secrets and configs, signs the actors, deploys the manifest, and opens accounts with money in them.
pub(super) fn start(lattice: &Lattice, workspace: &Workspace, address: SocketAddr) -> Result<()> {
    put_secrets(lattice)?;
    for actor in ACTORS {
        let source = workspace.guests().join(format!("bank-{actor}.wasm"));
        let signed = format!("bank-{actor}.signed.wasm");
        let source = source.to_str().context("the path of the actors is no text")?;
        lattice.show(&["sign", source, "--import-all", "--out", &signed])?;
    }
    lattice.show(&["config", "put", "bank-http", &format!("address={address}")])?;
    for (config, backend) in
        [("bank-sql", "sqlite"), ("bank-keyvalue", "embedded"), ("bank-blobs", "fs"), ("bank-messaging", "embedded")]
    {
        lattice.show(&["config", "put", config, &format!("backend={backend}")])?;
    }
    // Images are named by their place beside the manifest.
    fs::copy(workspace.root().join("examples/bank/bank.yaml"), lattice.folder().join("bank.yaml"))?;
    lattice.show(&["app", "deploy", "bank.yaml", "--wait"])?;
    seed(address)?;
    show(address)
}

fn put_secrets(lattice: &Lattice) -> Result<()> {
    lattice.show_with_input(&["secret", "put", "bank-token-key", "--for", "bank-gateway"], &intruders::new_key()?)?;
    for (name, reader) in [("bank-database-password", "bank-sql"), ("bank-blobs-key", "bank-blobs")] {
        lattice.show_with_input(&["secret", "put", name, "--for", reader], "none")?;
    }
    for (user, password) in [TELLER, AUDITOR] {
        let name = format!("bank-{user}-password");
        lattice.show_with_input(&["secret", "put", &name, "--for", "bank-accounts"], password)?;
    }
    Ok(())
}

fn seed(address: SocketAddr) -> Result<()> {
    let teller = until("a login of the teller", || Client::login(address, TELLER))?;
    for (name, password) in CUSTOMERS {
        teller.expect(200, "PUT", &format!("/users/{name}"), &json!({ "password": password }))?;
        teller.expect(200, "PUT", &format!("/accounts/{name}"), &json!({ "owner": name }))?;
        let paid = json!({ "from": "bank", "to": name, "amount": SEED, "reference": "paid in" });
        let response = teller.pay(&format!("seed-{name}"), &paid)?;
        anyhow::ensure!(response.status == 201, "{name} cannot pay in: {response:?}");
    }
    Ok(())
}

/// Says what there is to look at.
fn show(address: SocketAddr) -> Result<()> {
    let routes = [
        ("/", "everybody", "a page to log in and pay"),
        ("POST /login", "everybody", "a token for a name and a password"),
        ("GET /accounts", "all", "accounts with balances"),
        ("GET /accounts/ada/statement", "all", "what this month came to, or with ?month=2026-01 another"),
        ("POST /payments", "customers, teller", "pay, with an Idempotency-Key"),
        ("GET /notices", "all", "what one was told"),
        ("PUT /users/ada, PUT /accounts/ada", "teller", "enroll somebody, open an account"),
        ("GET /ledger/check", "auditor", "whether the books are straight"),
    ];
    let rows = routes.map(|(path, who, shows)| [path, who, shows].map(str::to_owned));
    println!("\nThe bank is open at http://{address}/");
    table::print(["ROUTE", "FOR", "SHOWS"], &rows);
    let auditor = Client::login(address, AUDITOR)?;
    let accounts = auditor.get_json("/accounts")?;
    let account = |account: &serde_json::Value| {
        let owner = account["owner"].as_str().unwrap_or_default();
        let password = CUSTOMERS.iter().find(|(name, _)| *name == owner).map(|(_, password)| *password);
        [owner.to_owned(), password.unwrap_or_default().to_owned(), account["balance"].to_string()]
    };
    let mut rows: Vec<_> = accounts["accounts"].as_array().into_iter().flatten().map(account).collect();
    rows.extend([TELLER, AUDITOR].map(|(name, password)| [name.to_owned(), password.to_owned(), String::new()]));
    table::print(["USER", "PASSWORD", "CENTS"], &rows);
    Ok(())
}
