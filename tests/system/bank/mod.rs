//! The bank of `examples/bank` under load, while what it runs on is killed: its books stay straight, each payment that was
//! answered is in them once, and everybody is told.
//!
//! [`stage`] deploys it, [`client`] asks it, [`load`] pays and notes what was answered, [`books`] holds that against the
//! ledger. [`rules`] has no load: limits, statements of past months, and what timers finish. Whom the bank refuses is
//! tried by `cargo xtask demo bank --check`.

mod books;
mod client;
mod load;
mod rules;
mod stage;

use load::Load;
use stage::{KINDS, Stage};

/// Payments that are to be answered before something is killed, and after each time that it is back.
const MORE: usize = 25;
/// Payments that are to be answered or refused while NATS is away: they take some seconds.
const MANY: usize = 300;

#[test]
fn one_box_that_is_killed_under_load_keeps_its_books() {
    let mut stage = Stage::one_box();
    let load = Load::start(&stage);
    for round in 1..=3 {
        load.until_more(MORE);
        stage.kill_box();
        println!("killed the box for the {round}. time, {}", load.shown());
        stage.start_box();
        load.until_more(MORE);
    }
    let done = load.stop(3);
    books::check(&stage, &done);
}

#[test]
fn three_hosts_keep_their_books_while_hosts_and_providers_are_killed() {
    let mut stage = Stage::three_hosts();
    let load = Load::start(&stage);
    load.until_more(MORE);
    for host in ["b", "a"] {
        stage.lattice.kill(host);
        println!("killed host {host}, {}", load.shown());
        // The others go on meanwhile.
        load.until_more(MORE);
        stage.start_host(host);
        stage.lattice.until_deployed(stage::APP);
    }
    for kind in KINDS {
        stage.kill_provider("c", kind);
        println!("killed the provider {kind} of host c, {}", load.shown());
        load.until_more(MORE);
    }
    let done = load.stop(2 + KINDS.len());
    stage.lattice.until_deployed(stage::APP);
    books::check(&stage, &done);
    let kept = stage.s3().named("statements/ada/");
    assert_eq!(kept.len(), 1, "the statement of this month is on the S3 server: {kept:?}");
}

#[test]
fn three_hosts_keep_their_books_while_backends_and_nats_are_away() {
    let mut stage = Stage::three_hosts();
    let load = Load::start(&stage);
    load.until_more(MORE);

    load.until_failed(|| stage.postgres().stop());
    println!("killed PostgreSQL, {}", load.shown());
    stage.postgres().start_again();
    load.until_more(MORE);

    load.until_failed(|| stage.redis().stop());
    println!("killed redis-server, {}", load.shown());
    stage.redis().start_again();
    load.until_more(MORE);

    stage.lattice.nats().stop();
    stage.lattice.kill_wadm();
    println!("killed nats-server and wadm, {}", load.shown());
    load.until_heard(MANY);
    println!("starting them again, {}", load.shown());
    stage.lattice.nats().start_again();
    stage.lattice.start_wadm();
    load.until_more(MORE);

    let done = load.stop(3);
    stage.lattice.until_deployed(stage::APP);
    books::check(&stage, &done);
    stage.s3().stop();
    let ada = stage.login("ada");
    let refused = ada.look("/accounts/ada/statement");
    assert!(refused.status == 503 && refused.retry_after.is_some(), "{refused:?}");
    let order = serde_json::json!({ "from": "ada", "to": "bob", "amount": 1 });
    assert_eq!(ada.pay("after-s3", &order).status, 201, "payments do not need it");
}
