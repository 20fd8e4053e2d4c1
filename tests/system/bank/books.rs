//! What was answered, held against what the bank has in its books, and against what people were told.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Paid;
use super::stage::{CUSTOMERS, SEED, Stage};
use crate::support::wait;

/// Checks the ledger, balances, statements and notices.
pub(crate) fn check(stage: &Stage, answered: &[Paid]) {
    let posted: Vec<&Paid> = answered.iter().filter(|paid| paid.is_posted).collect();
    println!("{} payments were made, {} were refused", posted.len(), answered.len() - posted.len());
    check_ledger(stage, posted.len());
    check_balances(stage, &posted);
    check_statements(stage, &posted);
    check_notices(stage, answered);
}

/// The ledger's own check, printed. Nothing is in it but what was answered, and the money that was paid in at first.
fn check_ledger(stage: &Stage, posted: usize) {
    let report = stage.login("auditor").get("/ledger/check").json();
    println!("the ledger's check: {report:#}");
    let transfers = posted + CUSTOMERS.len();
    assert_eq!(report["is_straight"], true, "{report}");
    assert_eq!(report["transfers"], transfers, "each payment that was answered is there once, and no other");
    assert_eq!(report["postings"], 2 * transfers, "{report}");
    assert_eq!(report["deposits"], SEED * i64::try_from(CUSTOMERS.len()).expect("few"), "no money was made or lost");
    for zero in ["sum_of_postings", "sum_of_balances", "wrong_balances", "wrong_transfers", "overdrawn"] {
        assert_eq!(report[zero], 0, "{zero}: {report}");
    }
}

/// Each balance is what was paid in, less what was paid, with what came.
fn check_balances(stage: &Stage, posted: &[&Paid]) {
    let mut expected: BTreeMap<&str, i64> = CUSTOMERS.iter().map(|name| (*name, SEED)).collect();
    for paid in posted {
        *expected.get_mut(paid.from).expect("a customer") -= paid.amount;
        *expected.get_mut(paid.to).expect("a customer") += paid.amount;
    }
    let accounts = stage.login("auditor").get("/accounts").json();
    let accounts = accounts["accounts"].as_array().expect("a list");
    let balance = |account: &serde_json::Value| account["balance"].as_i64().expect("a number");
    let found = accounts.iter().map(|account| (account["id"].as_str().expect("a text"), balance(account)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
}

/// Each payment is once in the statement of either side.
fn check_statements(stage: &Stage, posted: &[&Paid]) {
    let auditor = stage.login("auditor");
    for name in CUSTOMERS {
        let statement = auditor.get(&format!("/accounts/{name}/statement")).body;
        let mut lines: Vec<&str> = statement.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        lines.retain(|word| word.len() == 32);
        lines.sort_unstable();
        let concerned = posted.iter().filter(|paid| paid.from == name || paid.to == name);
        let mut expected: Vec<&str> = concerned.map(|paid| paid.id.as_str()).collect();
        expected.sort_unstable();
        let seeds = lines.len() - expected.len();
        let missing: Vec<_> = expected.iter().filter(|id| lines.binary_search(id).is_err()).collect();
        assert!(missing.is_empty(), "{missing:?} are not in the statement of {name}");
        let known: BTreeSet<_> = lines.iter().collect();
        assert_eq!((known.len(), seeds), (lines.len(), 1), "each is once in the statement of {name}");
    }
}

/// Everybody is told of each payment, sooner or later, and of nothing else.
fn check_notices(stage: &Stage, answered: &[Paid]) {
    for name in CUSTOMERS {
        let client = stage.login(name);
        let mut expected = BTreeSet::new();
        for paid in answered {
            expected.extend((paid.from == name).then(|| format!("{}-payer", paid.id)));
            expected.extend((paid.to == name && paid.is_posted).then(|| format!("{}-payee", paid.id)));
        }
        let count = expected.len();
        let found = wait::until(&format!("{count} notices for {name}"), || {
            let notices = client.get("/notices").json();
            let notices = notices["notices"].as_array().expect("a list").iter();
            let ids: Vec<_> = notices.map(|notice| notice["id"].as_str().expect("a text").to_owned()).collect();
            // One more is of the money that was paid in.
            if ids.len() > count { Ok(ids) } else { Err(format!("{} of {count}", ids.len())) }
        });
        let known: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!((known.len(), found.len()), (count + 1, count + 1), "{name} is told each thing once");
        assert!(known.is_superset(&expected), "{name} was not told of {:?}", expected.difference(&known));
        println!("{name} was told of {count} payments, each once");
    }
}
