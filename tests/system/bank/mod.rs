//! The bank of `examples/bank` under load, while what it runs on is killed: its books stay straight, each payment that was
//! answered is in them once, and everybody is told.
//!
//! [`stage`] deploys it, [`client`] asks it, [`load`] pays and notes what was answered, [`books`] holds that against the
//! ledger.

mod books;
mod client;
mod load;
mod stage;

use load::Load;
use stage::Stage;

/// Payments that are to be answered before something is killed, and after each time that it is back.
const MORE: usize = 25;

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
    let done = load.stop();
    books::check(&stage, &done);
}

#[test]
fn three_hosts_keep_their_books_while_hosts_providers_and_backends_are_killed() {
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
    stage.kill_provider("c");
    println!("killed the key-value provider of host c, {}", load.shown());
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
    stage.lattice.nats().start_again();
    stage.lattice.start_wadm();
    load.until_more(MORE);

    let done = load.stop();
    stage.lattice.until_deployed(stage::APP);
    books::check(&stage, &done);
}
