//! The tables `person` and `account`.

use crate::demo::bank::types::Fault;
use crate::exports::demo::bank::accounts::Account;
use crate::sql::{fault, text, unexpected};
use crate::trellis::sql::database::{self, Value};

/// The bank's own account, and who has it. The migration makes it.
pub(crate) const BANK: &str = "bank";

/// Adds a person; whether there was none of that name.
pub(crate) fn add_person(name: &str, hash: &str) -> Result<bool, Fault> {
    add("insert into person (name, password) values ($1, $2) on conflict (name) do nothing", [name, hash])
}

/// Adds an account; whether there was none of that id.
pub(crate) fn add_account(account: &Account) -> Result<bool, Fault> {
    let statement = "insert into account (id, owner) values ($1, $2) on conflict (id) do nothing";
    add(statement, [&account.id, &account.owner])
}

fn add(statement: &str, values: [&str; 2]) -> Result<bool, Fault> {
    database::execute(statement, &values.map(text)).map(|rows| rows > 0).map_err(fault)
}

/// The hash of a person's password.
pub(crate) fn hash_of(name: &str) -> Result<Option<String>, Fault> {
    let rows = database::query("select password from person where name = $1", &[text(name)]).map_err(fault)?.rows;
    match rows.first().map(Vec::as_slice) {
        None => Ok(None),
        Some([Value::Text(hash)]) => Ok(Some(hash.clone())),
        Some(other) => Err(unexpected(other)),
    }
}

pub(crate) fn find(id: &str) -> Result<Option<Account>, Fault> {
    let rows = database::query("select id, owner from account where id = $1", &[text(id)]).map_err(fault)?.rows;
    rows.first().map(|row| account(row)).transpose()
}

/// The accounts of a person, or all but the bank's own.
pub(crate) fn owned(owner: Option<&str>) -> Result<Vec<Account>, Fault> {
    let rows = match owner {
        Some(owner) => database::query("select id, owner from account where owner = $1 order by id", &[text(owner)]),
        None => database::query("select id, owner from account where id <> $1 order by id", &[text(BANK)]),
    };
    rows.map_err(fault)?.rows.iter().map(|row| account(row)).collect()
}

fn account(row: &[Value]) -> Result<Account, Fault> {
    match row {
        [Value::Text(id), Value::Text(owner)] => Ok(Account { id: id.clone(), owner: owner.clone() }),
        other => Err(unexpected(other)),
    }
}
