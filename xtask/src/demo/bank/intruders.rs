//! Those who may not: tokens that are forged, expired, unsigned or of before the key was changed, and people who ask for
//! what is not for their role.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::check::Said;
use super::client::{Client, until};
use super::token::{self, HS256};
use super::{AUDITOR, CUSTOMERS, TELLER};
use crate::demo::lattice::Lattice;

/// Changes the key that tokens are signed with, so that the one from before is known to be good for nothing, and then tries
/// tokens of all kinds that nobody was given.
pub(super) fn tokens(said: &mut Said, lattice: &Lattice, address: SocketAddr) -> Result<()> {
    let before = Client::login(address, CUSTOMERS[0])?;
    let key = new_key()?;
    lattice.show_with_input(&["secret", "rotate", "bank-token-key"], &key)?;
    let refused = until("the end of tokens of before", || {
        let response = before.get("/accounts")?;
        ensure!(response.status == 401, "{response:?}");
        Ok(response)
    })?;
    said.answer("a token of before the key was changed", &refused, 401, "not-logged-in");

    let ada = Client::login(address, CUSTOMERS[0])?;
    let claims = token::claims(ada.token().context("she has logged in")?)?;
    // What is wrong with the others is what they are named after, and not how they are made here.
    let own = Client::with(address, token::signed(HS256, &claims, &key));
    said.answer("a token made as the bank makes them", &own.get("/accounts/ada")?, 200, "ada");
    let as_auditor = with(&claims, "role", json!("auditor"));
    let honest = token::signed(HS256, &claims, &key);
    let signature = honest.rsplit('.').next().unwrap_or_default();
    for (what, token) in [
        ("signed with another key", token::signed(HS256, &claims, &new_key()?)),
        ("expired", token::signed(HS256, &with(&claims, "exp", claims["iat"].clone()), &key)),
        ("of another issuer", token::signed(HS256, &with(&claims, "iss", json!("a-bank")), &key)),
        ("alg: none", format!("{}.", token::unsigned(r#"{"alg":"none","typ":"JWT"}"#, &as_auditor))),
        ("alg: none, signed", token::signed(r#"{"alg":"none","typ":"JWT"}"#, &claims, &key)),
        ("another role under ada's signature", format!("{}.{signature}", token::unsigned(HS256, &as_auditor))),
        ("without its signature", token::unsigned(HS256, &claims)),
    ] {
        let response = Client::with(address, token).get("/accounts")?;
        said.answer(&format!("a token: {what}"), &response, 401, "not-logged-in");
    }
    Ok(())
}

/// Everybody asks for what is for others.
pub(super) fn roles(said: &mut Said, address: SocketAddr) -> Result<()> {
    let ada = Client::login(address, CUSTOMERS[0])?;
    let teller = Client::login(address, TELLER)?;
    let auditor = Client::login(address, AUDITOR)?;
    let order = json!({ "from": "ada", "to": "bob", "amount": 1 });
    said.answer("the auditor pays", &auditor.pay("audit-1", &order)?, 403, "forbidden");
    said.answer("the teller pays from ada's account", &teller.pay("till-1", &order)?, 403, "not-yours");
    said.answer("the teller checks the ledger", &teller.get("/ledger/check")?, 403, "forbidden");
    let (password, owner) = (json!({ "password": "long enough" }), json!({ "owner": "ada" }));
    for (who, client) in [("ada", &ada), ("the auditor", &auditor)] {
        said.answer(&format!("{who} enrolls somebody"), &client.put("/users/eva", &password)?, 403, "forbidden");
        said.answer(&format!("{who} opens an account"), &client.put("/accounts/ada-2", &owner)?, 403, "forbidden");
    }
    let enrolled = teller.put("/users/auditor", &password)?;
    said.answer("the teller enrolls an auditor", &enrolled, 400, "a name of the bank's own");
    said.answer("ada reads bob's statement", &ada.get("/accounts/bob/statement")?, 404, "unknown-account");
    Ok(())
}

/// The claims with another value of one of them.
fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// A key for tokens, as text.
pub(super) fn new_key() -> Result<String> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut key)).context("no random bytes")?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}
