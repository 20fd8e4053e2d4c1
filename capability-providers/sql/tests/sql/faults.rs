//! What calls are told while a database is away, and that it is used again when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::timeout;
use trellis_interfaces::sql::{Error, Value};
use trellis_provider_sdk::testing::{Mode, NOISE, Proxy, SmallDisk, as_target, with_secrets};

use crate::actor::{Actor, int};
use crate::backend::Backend;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);

async fn until_it_works(actor: &Actor) {
    let start = Instant::now();
    loop {
        match actor.query("select cast(1 as integer)", &[]).await {
            Ok(rows) => return assert_eq!(rows.rows, [[int(1)]]),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn linked(backend: &Backend, server: &Server, user: &str) -> Actor {
    server.add_user(user);
    let url = server.url(user);
    let pairs = [("backend", "postgres"), ("url", url.as_str()), ("access", "schema")];
    Actor::try_linked(&backend.provider, user, &pairs).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashed_is_used_again_and_what_was_committed_is_there() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    let actor = linked(&backend, &server, "crash").await;
    actor.execute("create table t (a integer primary key)", &[]).await.unwrap();
    actor.execute("insert into t values (1)", &[]).await.unwrap();
    let stopped = server.stop();
    let short = actor.within(Duration::from_secs(1));
    for _ in 0..3 {
        let start = Instant::now();
        assert!(matches!(short.query("select a from t", &[]).await, Err(Error::Unavailable(_))));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let server = stopped.start_again();
    until_it_works(&actor).await;
    assert_eq!(actor.query("select a from t", &[]).await.unwrap().rows, [[int(1)]]);
    let server = server.crash();
    until_it_works(&actor).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_its_calls_their_time_and_others_nothing() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    let actor = linked(&backend, &server, "hang").await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let other = backend.actor("file").await;
    server.signal(Signal::STOP);
    let short = actor.within(Duration::from_secs(1));
    let start = Instant::now();
    assert!(matches!(short.query("select a from t", &[]).await, Err(Error::Timeout(_) | Error::Unavailable(_))));
    let change = short.execute("insert into t values (1)", &[]).await;
    // A change that was sent may happen; one that found no connection did not.
    assert!(matches!(change, Err(Error::UnknownOutcome(_) | Error::Unavailable(_))), "{change:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(other.one("select 1", &[]).await, int(1));
    server.signal(Signal::CONT);
    until_it_works(&actor).await;
}

/// Inserts until `until`, each time within its budget; how many were committed, and how many may have been.
async fn insert(actor: Actor, until: Arc<AtomicBool>) -> (i64, i64) {
    let (mut committed, mut unknown) = (0, 0);
    while !until.load(Ordering::SeqCst) {
        let inserted = timeout(PATIENCE, actor.execute("insert into t values (1)", &[])).await;
        match inserted.expect("by its deadline") {
            Ok(_) => committed += 1,
            Err(Error::UnknownOutcome(_)) => unknown += 1,
            Err(Error::Unavailable(_) | Error::Timeout(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
    (committed, unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing_and_other_links_go_on() {
    let (backend, mut server) = (Backend::sqlite(), Server::start());
    let actor = linked(&backend, &server, "load").await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let other = backend.actor("file").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let budget = Duration::from_secs(2);
    let load: Vec<_> = (0..4).map(|_| tokio::spawn(insert(actor.within(budget), is_over.clone()))).collect();
    for _ in 0..2 {
        until_it_works(&actor).await;
        let stopped = server.stop();
        let start = Instant::now();
        while actor.within(budget).query("select a from t limit 1", &[]).await.is_ok() {
            assert!(start.elapsed() < PATIENCE, "nobody notices");
        }
        assert_eq!(other.one("select 1", &[]).await, int(1));
        server = stopped.start_again();
    }
    until_it_works(&actor).await;
    is_over.store(true, Ordering::SeqCst);
    let (mut committed, mut unknown) = (0, 0);
    for task in load {
        let counted = task.await.unwrap();
        (committed, unknown) = (committed + counted.0, unknown + counted.1);
    }
    let Value::Int64(there) = actor.one("select count(*) from t", &[]).await else { panic!("a number") };
    assert!(committed > 0 && (committed..=committed + unknown).contains(&there), "{committed} {unknown} {there}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_garbage_fails_links_and_calls_and_is_used_again_afterwards() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    let proxy = Proxy::to(server.port).await;
    let other = backend.actor("file").await;
    server.add_user("noise");
    let url = format!("postgres://noise:pw-noise@{}/noise", proxy.address());
    let pairs = [("backend", "postgres"), ("url", url.as_str()), ("access", "schema")];
    proxy.set(Mode::Say(NOISE));
    let refused = timeout(PATIENCE, Actor::try_linked(&backend.provider, "noise", &pairs)).await;
    let refused = refused.expect("links have their time too").err().expect("noise is no answer").to_string();
    assert!(!refused.contains("pw-noise"), "{refused}");
    proxy.set(Mode::Pass);
    let actor = Actor::try_linked(&backend.provider, "noise", &pairs).await.unwrap();
    until_it_works(&actor).await;
    proxy.set(Mode::Say(NOISE));
    let short = actor.within(Duration::from_secs(2));
    for _ in 0..3 {
        let query = timeout(PATIENCE, short.query("select cast(1 as integer)", &[])).await.expect("by its deadline");
        assert!(matches!(query, Err(Error::Unavailable(_) | Error::Timeout(_))), "{query:?}");
        assert_eq!(other.one("select 1", &[]).await, int(1));
    }
    proxy.set(Mode::Pass);
    until_it_works(&actor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_free_connection_is_unavailable_until_there_is_one() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    let actor = linked(&backend, &server, "crowd").await;
    until_it_works(&actor).await;
    server.admin("postgres", "alter role crowd connection limit 0");
    server.admin("postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'crowd'");
    let start = Instant::now();
    loop {
        match actor.within(Duration::from_secs(2)).query("select cast(1 as integer)", &[]).await {
            Err(Error::Unavailable(reason)) if reason.contains("too many connections") => break,
            other => assert!(start.elapsed() < PATIENCE, "{other:?}"),
        }
    }
    server.admin("postgres", "alter role crowd connection limit -1");
    until_it_works(&actor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_change_and_is_used_again_when_there_is_room() {
    let backend = Backend::sqlite();
    let disk = SmallDisk::mount(backend.data.path(), 4);
    // Of another, who makes room later.
    let ballast = backend.data.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let actor = backend.actor("file").await;
    actor.execute("create table t (a blob)", &[]).await.unwrap();
    let piece = Value::Blob(vec![7; 256 << 10].into());
    let mut written = 0;
    let refused = loop {
        match actor.execute("insert into t values ($1)", std::slice::from_ref(&piece)).await {
            Ok(_) => written += 1,
            Err(error) => break format!("{error:?}"),
        }
        assert!(written < 100, "it is never full");
    };
    assert!(refused.contains("full"), "{refused}");
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(written));
    std::fs::remove_file(ballast).unwrap();
    actor.execute("delete from t", &[]).await.unwrap();
    actor.execute("insert into t values ($1)", &[piece]).await.unwrap();
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(1));
    drop((backend.provider, disk));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_refuses_the_change_and_is_used_again_when_there_is_room() {
    let backend = Backend::sqlite();
    let (server, disk) = Server::start_on_small_disk(64);
    let actor = linked(&backend, &server, "crammed").await;
    let other = backend.actor("file").await;
    actor.execute("create table t (a bytea)", &[]).await.unwrap();
    // Otherwise what is all the same would take no room.
    actor.execute("alter table t alter column a set storage external", &[]).await.unwrap();
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    let piece = Value::Blob(vec![7; 256 << 10].into());
    let mut written = 0;
    let refused = loop {
        match actor.execute("insert into t values ($1)", std::slice::from_ref(&piece)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "it is never full");
    };
    assert!(matches!(&refused, Error::Other(fault) if fault.code.as_deref() == Some("53100")), "{refused:?}");
    assert_eq!(actor.one("select count(*) from t", &[]).await, Value::Int64(written), "what is there can be read");
    assert_eq!(other.one("select 1", &[]).await, int(1));
    std::fs::remove_file(ballast).unwrap();
    actor.execute("insert into t values ($1)", &[piece]).await.unwrap();
    assert_eq!(actor.one("select count(*) from t", &[]).await, Value::Int64(written + 1));
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_ended_is_replaced() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    let actor = linked(&backend, &server, "ended").await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, "insert into t values (1)", &[]).await.unwrap();
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'ended'";
    assert_ne!(server.admin("postgres", end), "0");
    let lost = actor.commit(&tx).await;
    assert!(matches!(lost, Err(Error::UnknownOutcome(_))), "{lost:?}");
    until_it_works(&actor).await;
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_the_link_and_are_not_shown() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    server.add_user("carol");
    let url = format!("postgres://carol@127.0.0.1:{}/carol", server.port);
    let pairs = |password| [("backend", "postgres"), ("url", url.as_str()), ("password", password)];
    let error = Actor::try_linked(&backend.provider, "carol", &pairs("hunter2")).await.err().unwrap().to_string();
    assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    let actor = Actor::try_linked(&backend.provider, "carol", &pairs("pw-carol")).await.unwrap();
    assert_eq!(actor.one("select cast(1 as integer)", &[]).await, Value::Int64(1));
    let nowhere = [("backend", "postgres"), ("url", "postgres://carol@127.0.0.1:1/carol")];
    let error = Actor::try_linked(&backend.provider, "dave", &nowhere).await.err().unwrap().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_connection_is_to_the_server_that_is_meant() {
    let (backend, (server, certificate)) = (Backend::sqlite(), Server::start_with_tls());
    server.add_user("erin");
    let url = format!("postgres://erin:pw-erin@localhost:{}/erin?sslmode=require", server.port);
    let pairs = [("backend", "postgres"), ("url", url.as_str()), ("tls-ca", certificate.to_str().unwrap())];
    let actor = Actor::try_linked(&backend.provider, "erin", &pairs).await.unwrap();
    let is_encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(actor.one(is_encrypted, &[]).await, Value::Boolean(true));
    let error = Actor::try_linked(&backend.provider, "unknown", &pairs[..2]).await.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
    let plain = Server::start();
    plain.add_user("erin");
    let url = format!("postgres://erin:pw-erin@localhost:{}/erin?sslmode=require", plain.port);
    let pairs = [pairs[0], ("url", url.as_str()), pairs[2]];
    let error = Actor::try_linked(&backend.provider, "plain", &pairs).await.err().unwrap().to_string();
    assert!(error.contains("TLS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_a_secret_and_a_new_one_is_used() {
    let (backend, server) = (Backend::sqlite(), Server::start());
    server.add_user("frank");
    let url = format!("postgres://frank@127.0.0.1:{}/frank", server.port);
    let link = trellis_provider_sdk::testing::link("frank", "sql", &["trellis:sql/database"]);
    let with = |password| {
        let active = as_target(link.clone(), &[("backend", "postgres"), ("url", url.as_str())]);
        with_secrets(active, &[("password", password)])
    };
    let error = backend.provider.link_up(&with("guessed")).await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("guessed"), "{error}");
    backend.provider.link_up(&with("pw-frank")).await.unwrap();
    server.admin("postgres", "alter role frank password 'changed'");
    backend.provider.link_up(&with("changed")).await.unwrap();
    let actor = Actor::of(&backend.provider, link.clone());
    assert_eq!(actor.one("select cast(1 as integer)", &[]).await, int(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_fails_its_link_only() {
    let backend = Backend::sqlite();
    std::fs::write(
        backend.data.path().join("broken.sqlite3"),
        "this is text, and long enough to be looked at".repeat(50),
    )
    .unwrap();
    let broken = [("database", "broken")];
    let error = Actor::try_linked(&backend.provider, "broken", &broken).await.err().unwrap().to_string();
    assert!(error.contains("not a database"), "{error}");
    let other = backend.actor("whole").await;
    assert_eq!(other.one("select 1", &[]).await, int(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_restart() {
    let backend = Backend::sqlite();
    let actor = backend.link("kept", &backend.database(), &[("access", "schema")]).await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    actor.execute("insert into t values (1)", &[]).await.unwrap();
    backend.provider.drain(Duration::from_secs(5)).await;
    let query = trellis_interfaces::sql::Query { statement: "select 1".into(), params: vec![] };
    assert!(actor.call("query", &query).await.is_err(), "it is closed");
    let directory = backend.data.path();
    let environment =
        trellis_provider_sdk::testing::environment("sql", directory, trellis_provider_sdk::testing::nobody());
    let provider = trellis_provider_sql::factory()(environment).unwrap();
    let actor = Actor::try_linked(&provider, "kept", &[("database", "db0")]).await.unwrap();
    assert_eq!(actor.one("select a from t", &[]).await, int(1));
}
