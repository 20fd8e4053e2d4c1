//! Rows, bytes and time have limits, and what goes over them changes nothing.

use std::time::{Duration, Instant};

use trellis_interfaces::sql::{Error, Value};

use crate::actor::{int, text};
use crate::backend::{Backend, on_both};

on_both!(
    a_result_over_a_limit_is_refused_and_undone,
    a_statement_ends_by_the_deadline_of_its_call,
    a_change_that_ran_out_of_time_is_undone,
    a_caller_that_leaves_ends_its_statement,
    the_link_limits_time_too,
    a_link_that_reads_changes_nothing,
    a_link_that_writes_changes_no_tables,
);

async fn a_result_over_a_limit_is_refused_and_undone(backend: &Backend) {
    let pairs = [("access", "schema"), ("max-rows", "3"), ("max-bytes", "1KiB")];
    let actor = backend.link("limits", &backend.database(), &pairs).await;
    actor.execute("create table t (a integer, b text)", &[]).await.unwrap();
    let insert = "insert into t values (1, $1), (2, $1), (3, $1), (4, $1)";
    assert!(matches!(actor.query(&format!("{insert} returning a"), &[text("x")]).await, Err(Error::Limit(_))));
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(0));
    assert_eq!(actor.execute(&format!("{insert} returning a"), &[text("x")]).await, Ok(4), "nothing is returned");
    assert!(matches!(actor.query("select a from t", &[]).await, Err(Error::Limit(_))));
    assert_eq!(actor.query("select a from t limit 3", &[]).await.unwrap().rows.len(), 3);
    actor.execute("update t set b = $1", &[text(&"x".repeat(500))]).await.unwrap();
    assert!(matches!(actor.query("select b from t limit 3", &[]).await, Err(Error::Limit(_))));
    let tx = actor.begin(None).await.unwrap();
    assert!(matches!(actor.query_in(&tx, "update t set a = 0 returning a", &[]).await, Err(Error::Limit(_))));
    assert_eq!(actor.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(actor.one("select min(a) from t", &[]).await, int(1));
}

async fn a_statement_ends_by_the_deadline_of_its_call(backend: &Backend) {
    let (actor, other) = (backend.actor("slow").await, backend.actor("quick").await);
    let start = Instant::now();
    // Enough for a machine that is busy.
    let budget = Duration::from_secs(5);
    let slow = actor.within(budget);
    let endless = [slow.query(backend.endless(), &[]), slow.query(backend.endless(), &[])];
    let quick = async {
        for _ in 0..20 {
            assert_eq!(other.one("select cast(1 as integer)", &[]).await, int(1));
        }
        assert!(start.elapsed() < budget, "the other link goes on meanwhile");
    };
    let (ended, ()) = futures::future::join(futures::future::join_all(endless), quick).await;
    for result in ended {
        assert!(matches!(result, Err(Error::Timeout(_))), "{result:?}");
    }
    let took = start.elapsed();
    assert!(took > budget / 2 && took < budget, "{took:?}");
    assert_eq!(actor.one("select cast(1 as integer)", &[]).await, int(1));
}

async fn a_change_that_ran_out_of_time_is_undone(backend: &Backend) {
    let actor = backend.actor("undone").await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let change = if backend.is_sqlite() {
        "insert into t with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    } else {
        "insert into t select 1 from pg_sleep(600)"
    };
    for call in [
        actor.within(Duration::from_secs(1)).execute(change, &[]).await.map(drop),
        actor.within(Duration::from_secs(1)).transaction(&[crate::actor::step(change, &[], None)]).await.map(drop),
    ] {
        assert!(matches!(call, Err(Error::Timeout(_))), "{call:?}");
    }
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(0));
}

async fn a_caller_that_leaves_ends_its_statement(backend: &Backend) {
    let database = backend.database();
    let actor = backend.link("leaver", &database, &[("access", "schema"), ("max-connections", "1")]).await;
    let long = actor.within(Duration::from_secs(60));
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_millis(100), long.query(backend.endless(), &[])).await.unwrap_err();
    }
    // The only connection is free again, long before the deadline of those that left.
    let start = Instant::now();
    assert_eq!(actor.one("select cast(1 as integer)", &[]).await, int(1));
    assert!(start.elapsed() < Duration::from_secs(8));
}

async fn the_link_limits_time_too(backend: &Backend) {
    let actor = backend.link("timed", &backend.database(), &[("timeout", "500ms")]).await;
    let start = Instant::now();
    assert!(matches!(actor.query(backend.endless(), &[]).await, Err(Error::Timeout(_))));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

async fn a_link_that_reads_changes_nothing(backend: &Backend) {
    let database = backend.database();
    let owner = backend.link("owner-of-rows", &database, &[("access", "schema")]).await;
    owner.execute("create table t (a integer)", &[]).await.unwrap();
    owner.execute("insert into t values (1)", &[]).await.unwrap();
    let reader = backend.link("reader-of-rows", &database, &[("access", "read")]).await;
    assert_eq!(reader.one("select a from t", &[]).await, int(1));
    assert_eq!(reader.one("with b as (select a from t) select a from b", &[]).await, int(1));
    let mut attacks = vec!["insert into t values (2)", "update t set a = 2", "delete from t", "drop table t"];
    if !backend.is_sqlite() {
        attacks.push("with b as (insert into t values (2) returning a) select a from b");
        attacks.push("select a from t for update");
    }
    for attack in attacks {
        let results = [
            reader.execute(attack, &[]).await.map(drop),
            reader.query(attack, &[]).await.map(drop),
            reader.transaction(&[crate::actor::step(attack, &[], None)]).await.map(drop),
        ];
        for result in results {
            assert!(matches!(result, Err(Error::Denied(_))), "{attack}: {result:?}");
        }
        let tx = reader.begin(None).await.unwrap();
        assert!(matches!(reader.execute_in(&tx, attack, &[]).await, Err(Error::Denied(_))), "{attack}");
    }
    assert_eq!(owner.query("select a from t", &[]).await.unwrap().rows, [[int(1)]]);
}

async fn a_link_that_writes_changes_no_tables(backend: &Backend) {
    let database = backend.database();
    let owner = backend.link("owner-of-tables", &database, &[("access", "schema")]).await;
    owner.execute("create table t (a integer)", &[]).await.unwrap();
    let writer = backend.link("writer", &database, &[]).await;
    assert_eq!(writer.execute("insert into t values ($1)", &[int(1)]).await, Ok(1));
    for attack in ["drop table t", "create table u (a integer)", "alter table t add column b text"] {
        assert!(matches!(writer.execute(attack, &[]).await, Err(Error::Denied(_))), "{attack}");
    }
    assert_eq!(owner.one("select a from t", &[]).await, Value::Int64(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_keeps_the_statements_that_were_used_last() {
    let backend = Backend::postgres();
    let actor = backend.link("prepares", &backend.database(), &[("max-connections", "1")]).await;
    for n in 0..200 {
        for statement in [format!("select {n}"), "select 'often'".to_owned()] {
            actor.query(&statement, &[]).await.unwrap();
        }
    }
    assert_eq!(actor.one("select count(*) from pg_prepared_statements", &[]).await, int(128));
    let kept = "select count(*) from pg_prepared_statements where statement = $1";
    for (statement, expected) in [("select 'often'", 1), ("select 199", 1), ("select 0", 0)] {
        assert_eq!(actor.one(kept, &[text(statement)]).await, int(expected), "{statement}");
    }
}
