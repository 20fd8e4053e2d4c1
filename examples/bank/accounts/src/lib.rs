//! People and their accounts. Customers are rows with a salted hash of their password; the two who work here, `teller` and
//! `auditor`, have secrets of the lattice for passwords, so that nobody can enroll one.

mod password;
mod rows;
#[path = "../../sql.rs"]
#[expect(dead_code, reason = "people and accounts have no numbers, and change one row at a time")]
mod sql;

use demo::bank::types::{Fault, Identity, Role};
use exports::demo::bank::accounts::Account;

wit_bindgen::generate!({
    world: "demo:bank-accounts/accounts",
    path: [
        "../../wit/wasi-0.2",
        "../../../interfaces/wit/sql",
        "../../../interfaces/wit/secrets",
        "../wit",
        "wit",
    ],
    generate_all,
});

/// The longest name and the longest id.
const MAX_NAME_BYTES: usize = 32;

struct Accounts;

impl exports::demo::bank::people::Guest for Accounts {
    fn authenticate(user: String, password: String) -> Result<Option<Identity>, Fault> {
        let (is_right, role) = match password::of_staff(&user)? {
            Some((role, secret)) => (password::is_secret(&secret, &password), role),
            None => (password::matches(&password, rows::hash_of(&user)?.as_deref())?, Role::Customer),
        };
        Ok(is_right.then_some(Identity { user, role }))
    }

    fn enroll(user: String, password: String) -> Result<(), Fault> {
        check_name(&user)?;
        if user == rows::BANK || password::of_staff(&user)?.is_some() {
            return Err(Fault::Invalid(format!("{user} is a name of the bank's own")));
        }
        let hash = password::hash(&password)?;
        if rows::add_person(&user, &hash)? || password::matches(&password, rows::hash_of(&user)?.as_deref())? {
            Ok(())
        } else {
            Err(Fault::Invalid(format!("{user} is enrolled already")))
        }
    }
}

impl exports::demo::bank::accounts::Guest for Accounts {
    fn open(account: Account) -> Result<(), Fault> {
        check_name(&account.id)?;
        if rows::hash_of(&account.owner)?.is_none() {
            return Err(Fault::Invalid(format!("nobody is enrolled as {}", account.owner)));
        }
        // First where it is empty and does no harm: an account that can be found has a place in the ledger.
        demo::bank::chart::open(&account.id)?;
        if rows::add_account(&account)? || rows::find(&account.id)?.is_some_and(|found| found.owner == account.owner) {
            Ok(())
        } else {
            Err(Fault::Invalid(format!("account {} is somebody else's", account.id)))
        }
    }

    fn find(id: String) -> Result<Option<Account>, Fault> {
        rows::find(&id)
    }

    fn owned(owner: Option<String>) -> Result<Vec<Account>, Fault> {
        rows::owned(owner.as_deref())
    }
}

/// Names and ids stand in paths, subjects and names of objects: they are of what is plain in all of them.
fn check_name(name: &str) -> Result<(), Fault> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(Fault::Invalid(format!("{name:?} is not 1 to {MAX_NAME_BYTES} of a-z, 0-9 and -")))
    }
}

export!(Accounts);
