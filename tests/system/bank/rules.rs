//! What the bank does by rules and timers: limits for a window of time, old counters swept, digests, statements of past months
//! kept and read from where they are kept, and payments that were left behind finished. Configs shorten the times.

use serde_json::{Value, json};

use super::client::Client;
use super::stage::{Edit, LIMITS, SEED, Stage};
use crate::support::{folder, wait};

/// Timers of the manifest that fire each second here.
const SWEEP: Edit<'_> = ("every: 5m", "every: 1s");
const RECOVER: Edit<'_> = ("every: 5s", "every: 1s");
const DIGEST: Edit<'_> = ("every: 1h", "every: 1s");
const MONTHLY: Edit<'_> = (r#"schedule: "5 0 1 * *""#, r#"schedule: "* * * * * *""#);

fn order(from: &str, to: &str, amount: i64) -> Value {
    json!({ "from": from, "to": to, "amount": amount, "reference": "by rule" })
}

/// The status of a payment and what it says of a refusal.
fn paid(client: &Client, key: &str, order: &Value) -> (u16, String) {
    let answer = client.pay(key, order);
    let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
    (answer.status, error)
}

fn balance(client: &Client, account: &str) -> i64 {
    client.get(&format!("/accounts/{account}")).json()["balance"].as_i64().expect("a number")
}

#[test]
fn limits_hold_for_a_payer_and_a_window_and_old_counters_are_swept() {
    // The first window of these ends in 2033.
    let first = r#"sum: "6000", payments: "4", window_seconds: "1000000000""#;
    let mut stage = Stage::one_box_on_redis(&[(LIMITS, first), SWEEP]);
    let (ada, bob) = (stage.login("ada"), stage.login("bob"));
    let (posted, fully) = ((201, String::new()), 2_000);
    for key in ["a", "b", "c"] {
        assert_eq!(paid(&ada, key, &order("ada", "bob", fully)), posted, "within both limits");
    }
    let refused = |error: &str| (422, error.to_owned());
    assert_eq!(paid(&ada, "d", &order("ada", "bob", 1)), refused("limit-exceeded"), "6,001 in one window");
    assert_eq!(paid(&ada, "e", &order("ada", "bob", 1)), refused("too-many"), "the fifth in one window");
    assert_eq!(paid(&ada, "a", &order("ada", "bob", fully)), posted, "what was posted stays so");
    assert_eq!(paid(&bob, "a", &order("bob", "ada", 1_000_001)), refused("limit-exceeded"), "more than any at once");
    assert_eq!(paid(&bob, "b", &order("bob", "ada", fully)), posted, "the limits are each payer's own");
    let counted = |stage: &mut Stage, key: &str| stage.redis().keys().iter().any(|name| name.contains(key));
    for key in ["count/1/ada", "sum/1/ada", "count/1/bob"] {
        assert!(counted(&mut stage, key), "{key} is not in {:?}", stage.redis().keys());
    }

    let second = first.replace("1000000000", "100000000");
    stage.redeploy(&[(first, &second)]);
    // Keys that the old window refuses are used up.
    let mut tries = 0;
    wait::until("a payment in another window", || {
        tries += 1;
        let paid = paid(&ada, &format!("again-{tries}"), &order("ada", "bob", fully));
        if paid == posted { Ok(()) } else { Err(format!("{paid:?}")) }
    });
    wait::until("the sweep of the old window", || {
        let mut names = stage.redis().keys();
        names.retain(|name| ["count/1/", "sum/1/", "verdict/1/"].iter().any(|old| name.contains(old)));
        if names.is_empty() { Ok(()) } else { Err(format!("{names:?}")) }
    });
    assert!(counted(&mut stage, "sum/") && counted(&mut stage, "/ada"), "what counts now is not swept");
}

#[test]
fn a_payment_that_was_left_behind_is_finished_though_nobody_asks_again() {
    let mut stage = Stage::one_box_on_redis(&[RECOVER]);
    let (ada, bob) = (stage.login("ada"), stage.login("bob"));
    let given = order("ada", "bob", 700);
    stage.redis().stop();
    let refused = ada.pay_once("rent", &given);
    assert!(refused.status == 503 && refused.retry_after.is_some(), "{refused:?}");
    assert_eq!(balance(&bob, "bob"), SEED, "no money moves before fraud has judged");
    stage.redis().start_again();
    wait::until("the payment to be finished", || match balance(&bob, "bob") {
        balance if balance == SEED + 700 => Ok(()),
        balance => Err(balance.to_string()),
    });
    let paid = ada.pay("rent", &given);
    assert_eq!(
        (paid.status, balance(&bob, "bob")),
        (201, SEED + 700),
        "whoever asks now is told, and it is one payment"
    );
    let notice = format!("{}-payee", paid.json()["id"].as_str().expect("an id"));
    wait::until("bob to be told", || {
        let notices = bob.get("/notices").body;
        if notices.matches(&notice).count() == 1 { Ok(()) } else { Err(notices) }
    });
}

#[test]
fn statements_of_a_past_month_are_kept_by_a_timer_and_people_get_digests() {
    let mut stage = Stage::one_box_with(&[DIGEST]);
    let ada = stage.login("ada");
    let paid = ada.pay("rent", &order("ada", "bob", 700)).json();
    let id = paid["id"].as_str().expect("an id");
    // One is of the rent, the other of what she paid in.
    stage.lattice.servers[0].wait_for("digest: ada has 2 notices");

    // The ledger as it will be next month.
    let inserted = "insert into balance (account, amount) values ('bank', 0);\n";
    let month_before = "strftime('%s', 'now', 'start of month', '-10 days')";
    let update = format!("update posting set at_ms = cast({month_before} as integer) * 1000");
    let aged = format!("{inserted}{:20}migration.ledger-2: {update}\n", "");
    stage.redeploy(&[(inserted, &aged)]);
    let now = wait::until("a month without entries", || {
        let statement = ada.get("/accounts/ada/statement").body;
        if statement.contains("\n0 entries") { Ok(statement) } else { Err(statement) }
    });
    let month = before(now.lines().next().and_then(|line| line.rsplit(' ').next()).expect("it begins with its month"));

    stage.redeploy(&[MONTHLY]);
    let name = format!("ada/{month}.txt");
    // Nobody has asked for it.
    let (file, kept) = wait::until("the statement in the blob store", || {
        let file = folder::files(stage.lattice.data()).into_iter().find(|file| file.ends_with(&name)).ok_or("none")?;
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        if text.contains("entries, together") { Ok((file, text)) } else { Err(text) }
    });
    assert!(kept.contains(id) && kept.contains("2 entries, together 993.00"), "{kept}");
    let question = format!("/accounts/ada/statement?month={month}");
    assert_eq!(ada.get(&question).body, kept);
    // It could be made anew from the ledger, and is not.
    std::fs::write(&file, format!("{kept}as it was kept\n")).expect("written");
    assert_eq!(ada.get(&question).body, format!("{kept}as it was kept\n"));
}

/// The month before one that is written as `2026-01`.
fn before(month: &str) -> String {
    let (year, month) = month.split_once('-').expect("a year and a month");
    let (year, month): (u32, u32) = (year.parse().expect("a number"), month.parse().expect("a number"));
    if month == 1 { format!("{}-12", year - 1) } else { format!("{year}-{:02}", month - 1) }
}
