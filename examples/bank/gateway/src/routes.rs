//! What there is to ask for, and who may.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::demo::bank::accounts::{self, Account};
use crate::demo::bank::types::{Fault, Identity, Role};
use crate::demo::bank::{books, notifications, payments, people, statements};
use crate::http::Request;
use crate::login;
use crate::reply::Reply;
use crate::wasi::http::types::Method;

/// Where accounts can be looked at by a person.
const PAGE: &str = include_str!("page.html");

/// The answer to a request; those that are refused are an `Err`.
pub(crate) fn answer(request: &Request) -> Result<Reply, Reply> {
    let words: Vec<&str> = request.path.split('/').filter(|word| !word.is_empty()).collect();
    match (&request.method, &words[..]) {
        (Method::Get, []) => return Ok(Reply::page(PAGE)),
        (Method::Post, ["login"]) => return login::login(request),
        _ => {}
    }
    let caller = login::caller(request)?;
    match (&request.method, &words[..]) {
        (Method::Put, ["users", name]) => enroll(&caller, name, request),
        (Method::Put, ["accounts", id]) => open(&caller, id, request),
        (Method::Get, ["accounts"]) => list(&caller),
        (Method::Get, ["accounts", id]) => show(&caller, id),
        (Method::Get, ["accounts", id, "statement"]) => statement(&caller, id, request),
        (Method::Post, ["payments"]) => pay(caller, request),
        (Method::Get, ["notices"]) => notices(&caller),
        (Method::Get, ["ledger", "check"]) => check(&caller),
        _ => Err(Reply::refused(404, "not-found", "there is nothing here")),
    }
}

fn only(caller: &Identity, role: Role) -> Result<(), Reply> {
    if caller.role == role { Ok(()) } else { Err(Reply::forbidden()) }
}

/// The body of a request as it has to be.
fn body<'a, T: Deserialize<'a>>(request: &'a Request) -> Result<T, Reply> {
    serde_json::from_slice(&request.body).map_err(|error| Reply::refused(400, "invalid", &format!("the body: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrollment {
    password: String,
}

fn enroll(caller: &Identity, name: &str, request: &Request) -> Result<Reply, Reply> {
    only(caller, Role::Teller)?;
    let Enrollment { password } = body(request)?;
    people::enroll(name, &password)?;
    Ok(Reply::json(200, &json!({ "user": name })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    owner: String,
}

fn open(caller: &Identity, id: &str, request: &Request) -> Result<Reply, Reply> {
    only(caller, Role::Teller)?;
    let Opening { owner } = body(request)?;
    let account = Account { id: id.to_owned(), owner };
    accounts::open(&account)?;
    with_balance(&account).map(|account| Reply::json(200, &account))
}

/// A customer's own accounts, and all accounts for those who work here.
fn list(caller: &Identity) -> Result<Reply, Reply> {
    let owner = (caller.role == Role::Customer).then_some(caller.user.as_str());
    let accounts: Vec<Value> = accounts::owned(owner)?.iter().map(with_balance).collect::<Result<_, _>>()?;
    Ok(Reply::json(200, &json!({ "accounts": accounts })))
}

fn show(caller: &Identity, id: &str) -> Result<Reply, Reply> {
    with_balance(&seen(caller, id)?).map(|account| Reply::json(200, &account))
}

/// The account, if the caller may see it. To customers those of others are not there.
fn seen(caller: &Identity, id: &str) -> Result<Account, Reply> {
    let account = accounts::find(id)?;
    let is_seen = |account: &Account| caller.role != Role::Customer || account.owner == caller.user;
    account.filter(is_seen).ok_or_else(Reply::unknown_account)
}

fn with_balance(account: &Account) -> Result<Value, Reply> {
    let balance = books::balance(&account.id)?.ok_or_else(Reply::unknown_account)?;
    Ok(json!({ "id": account.id, "owner": account.owner, "balance": balance }))
}

fn statement(caller: &Identity, id: &str, request: &Request) -> Result<Reply, Reply> {
    let account = seen(caller, id)?;
    Ok(Reply::text(statements::statement(&account.id, request.query_value("month"))?))
}

/// What is to be paid. An amount is a whole number: `10.50` is refused, not rounded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paid {
    from: String,
    to: String,
    amount: u64,
    #[serde(default)]
    reference: String,
}

fn pay(caller: Identity, request: &Request) -> Result<Reply, Reply> {
    if caller.role == Role::Auditor {
        return Err(Reply::forbidden());
    }
    let key = request
        .idempotency_key()
        .ok_or_else(|| Reply::refused(400, "no-key", "a payment has an Idempotency-Key, chosen by its payer"))?;
    let Paid { from, to, amount, reference } = body(request)?;
    let order = payments::Order { key: key.to_owned(), payer: caller, debit: from, credit: to, amount, reference };
    Ok(Reply::payment(payments::pay(&order)))
}

fn notices(caller: &Identity) -> Result<Reply, Reply> {
    let notices = notifications::notices(&caller.user)?;
    let notices: Vec<Value> =
        notices.into_iter().map(|notice| json!({ "id": notice.id, "text": notice.text })).collect();
    Ok(Reply::json(200, &json!({ "notices": notices })))
}

/// What is true of the ledger, and whether the books are straight.
fn check(caller: &Identity) -> Result<Reply, Reply> {
    only(caller, Role::Auditor)?;
    let report = books::check().map_err(|fault: Fault| Reply::from(fault))?;
    let is_straight = report.sum_of_postings == 0
        && report.sum_of_balances == 0
        && report.postings == 2 * report.transfers
        && (report.wrong_balances, report.wrong_transfers, report.overdrawn) == (0, 0, 0);
    let value = json!({
        "is_straight": is_straight,
        "accounts": report.accounts,
        "transfers": report.transfers,
        "postings": report.postings,
        "sum_of_postings": report.sum_of_postings,
        "sum_of_balances": report.sum_of_balances,
        "deposits": report.deposits,
        "wrong_balances": report.wrong_balances,
        "wrong_transfers": report.wrong_transfers,
        "overdrawn": report.overdrawn,
    });
    Ok(Reply::json(200, &value))
}
