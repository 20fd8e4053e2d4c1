//! What the bank has to answer, and what has to be true of its books after it was killed.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::client::{Client, until};
use super::intruders;
use super::load::{self, Load};
use super::{AUDITOR, CUSTOMERS, SEED};
use crate::demo::http::Response;
use crate::demo::lattice::Lattice;
use crate::demo::table;

/// Makes logins and payments, tries what is not allowed, kills the bank in the middle of more of them, and looks at the ledger.
pub(in crate::demo) fn check(lattice: &mut Lattice, address: SocketAddr) -> Result<ExitCode> {
    let mut said = Said::default();
    let outcome = logins(&mut said, address)
        .and_then(|ada| payments(&mut said, &ada, address))
        .and_then(|()| intruders::roles(&mut said, address))
        .and_then(|()| intruders::tokens(&mut said, lattice, address))
        .and_then(|()| load::run(lattice, address))
        .and_then(|load| books(&mut said, address, &load));
    match outcome {
        Ok(()) if said.failures == 0 => {
            println!("\nthe bank works: {} answers as they should be, and its books are straight", said.count);
            Ok(ExitCode::SUCCESS)
        }
        outcome => {
            let reason = outcome.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            println!("\nthe bank does not work{reason}; the log of the lattice:\n{}", lattice.log());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What stands before a line that is not as it should be.
const FAIL: &str = "FAIL";

/// What was said about answers.
#[derive(Default)]
pub(super) struct Said {
    count: usize,
    failures: usize,
}

impl Said {
    /// Says whether `what` was answered with this status and text.
    pub(super) fn answer(&mut self, what: &str, response: &Response, status: u16, text: &str) {
        let came = format!("{} {}", response.status, response.body.trim_end().replace('\n', " / "));
        let is_right = response.status == status && response.body.contains(text);
        self.line(if is_right { "ok  " } else { FAIL }, what, &came);
    }

    /// Says whether a number is the one that it should be.
    fn number(&mut self, what: &str, came: &Value, expected: u64) {
        self.line(if *came == expected { "ok  " } else { FAIL }, what, &came.to_string());
    }

    fn line(&mut self, mark: &str, what: &str, came: &str) {
        self.count += 1;
        self.failures += usize::from(mark == FAIL);
        let came: String = came.chars().take(140).collect();
        println!("{mark}  {what}  {came}");
    }
}

/// Logins that are to work and one that is not; ada, who pays from now on.
fn logins(said: &mut Said, address: SocketAddr) -> Result<Client> {
    let stranger = Client::stranger(address);
    for (name, password, status) in
        [("ada", "not her password", 401), ("nobody", "any password", 401), ("ada", CUSTOMERS[0].1, 200)]
    {
        let response = stranger.post("/login", &json!({ "user": name, "password": password }))?;
        let shown = Response { body: if status == 200 { "a token".to_owned() } else { response.body }, ..response };
        said.answer(&format!("{name} logs in with {password:?}"), &shown, status, "");
    }
    said.answer("without a token", &stranger.get("/accounts")?, 401, "not-logged-in");
    Client::login(address, CUSTOMERS[0])
}

/// Payments that are made, made again, and refused.
fn payments(said: &mut Said, ada: &Client, address: SocketAddr) -> Result<()> {
    let rent = json!({ "from": "ada", "to": "bob", "amount": 2_500, "reference": "rent" });
    let paid = ada.pay("rent-1", &rent)?;
    said.answer("ada pays bob", &paid, 201, "posted");
    said.answer("the same again", &ada.pay("rent-1", &rent)?, 201, paid.body.trim_end());
    let more = json!({ "from": "ada", "to": "bob", "amount": 2_600, "reference": "rent" });
    said.answer("another amount under that key", &ada.pay("rent-1", &more)?, 409, "key-reused");
    said.answer("no key", &ada.post("/payments", &rent)?, 400, "no-key");
    for (what, from, to, amount, status, error) in [
        ("more than there is", "ada", "bob", 900_000, 422, "insufficient-funds"),
        ("more than the limit", "ada", "bob", 2_000_000, 422, "limit-exceeded"),
        ("from somebody else's account", "bob", "ada", 1, 403, "not-yours"),
        ("from the bank's own account", "bank", "ada", 1, 403, "not-yours"),
        ("to an account that is not there", "ada", "zoe", 1, 422, "unknown-account"),
    ] {
        let order = json!({ "from": from, "to": to, "amount": amount });
        said.answer(what, &ada.pay(what.replace(' ', "-").as_str(), &order)?, status, error);
    }
    let fraction = json!({ "from": "ada", "to": "bob", "amount": 10.5 });
    said.answer("a part of a cent", &ada.pay("part", &fraction)?, 400, "invalid");
    said.answer("ada looks at bob's account", &ada.get("/accounts/bob")?, 404, "unknown-account");
    said.answer("ada checks the ledger", &ada.get("/ledger/check")?, 403, "forbidden");
    said.answer("ada's balance", &ada.get("/accounts/ada")?, 200, &(SEED - 2_500).to_string());
    let id = id(&paid)?;
    said.answer("ada's statement", &statement(ada, "ada")?, 200, &id);
    let bob = Client::login(address, CUSTOMERS[1])?;
    let notice = until("a notice for bob", || {
        let response = bob.get("/notices")?;
        ensure!(response.body.contains(&id), "{response:?}");
        Ok(response)
    })?;
    said.answer("bob is told", &notice, 200, "2500 came from ada");
    Ok(())
}

/// The id of a payment that was made.
fn id(paid: &Response) -> Result<String> {
    let paid: Value = serde_json::from_str(&paid.body).context("the answer to a payment is no JSON")?;
    Ok(paid["id"].as_str().context("the payment has no id")?.to_owned())
}

/// The statement of an account for this month.
fn statement(client: &Client, account: &str) -> Result<Response> {
    client.get(&format!("/accounts/{account}/statement"))
}

/// The check of the ledger, and each payment of the load in the statements of both sides.
fn books(said: &mut Said, address: SocketAddr, load: &Load) -> Result<()> {
    let auditor = until("a login of the auditor", || Client::login(address, AUDITOR))?;
    let report = auditor.get_json("/ledger/check")?;
    let rows: Vec<_> =
        report.as_object().into_iter().flatten().map(|(name, value)| [name.clone(), value.to_string()]).collect();
    table::print(["THE LEDGER'S CHECK", ""], &rows);
    let seeds = CUSTOMERS.len();
    // One payment was made before the load.
    let transfers = u64::try_from(seeds + 1 + load.ids.len())?;
    said.number("no money was made or lost: the sum of all postings", &report["sum_of_postings"], 0);
    said.number("what customers have is what they paid in", &report["deposits"], SEED * u64::try_from(seeds)?);
    said.number("each payment is there once: transfers", &report["transfers"], transfers);
    said.number("each has two postings", &report["postings"], 2 * transfers);
    for name in ["sum_of_balances", "wrong_balances", "wrong_transfers", "overdrawn"] {
        said.number(&format!("{name} is nothing"), &report[name], 0);
    }
    let mut statements = String::new();
    for (name, _) in CUSTOMERS {
        statements += &statement(&auditor, name)?.body;
    }
    let right = load.ids.iter().filter(|id| statements.matches(id.as_str()).count() == 2).count();
    said.number("each payment of the load is in two statements", &json!(right), u64::try_from(load.ids.len())?);
    Ok(())
}
