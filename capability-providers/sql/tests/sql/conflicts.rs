//! Transactions that are in each other's way.

use std::time::Duration;

use trellis_interfaces::sql::{Error, Isolation};

use crate::actor::int;
use crate::backend::Backend;

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_a_file_take_turns_and_readers_do_not_wait() {
    let backend = Backend::sqlite();
    let database = backend.database();
    let actor = backend.link("first", &database, &[("access", "schema"), ("idle-timeout", "1h")]).await;
    let other = backend.link("second", &database, &[]).await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, "insert into t values (1)", &[]).await.unwrap();
    let short = other.within(Duration::from_millis(300));
    let refused = short.execute("insert into t values (2)", &[]).await;
    assert!(matches!(&refused, Err(Error::Conflict(fault)) if fault.code.as_deref() == Some("40001")), "{refused:?}");
    assert_eq!(other.one("select count(*) from t", &[]).await, int(0));
    let waiting = tokio::spawn(async move { other.execute("insert into t values (2)", &[]).await });
    actor.commit(&tx).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(1));
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_cannot_both_be_are_told_so() {
    let backend = Backend::postgres();
    let actor = backend.actor("skew").await;
    actor.execute("create table t (id integer primary key, a integer)", &[]).await.unwrap();
    actor.execute("insert into t values (1, 1), (2, 1)", &[]).await.unwrap();
    let mut both = Vec::new();
    for id in [1, 2] {
        let tx = actor.begin(Some(Isolation::Serializable)).await.unwrap();
        assert_eq!(actor.query_in(&tx, "select sum(a) from t", &[]).await.unwrap().rows, [[int(2)]]);
        both.push((tx, id));
    }
    let mut results = Vec::new();
    for (tx, id) in &both {
        let update = actor.execute_in(tx, "update t set a = 0 where id = $1", &[int(*id)]).await;
        results.push(match update {
            Ok(_) => actor.commit(tx).await,
            Err(error) => Err(error),
        });
    }
    assert_eq!(results[0], Ok(()));
    assert!(matches!(results[1], Err(Error::Conflict(_))), "{results:?}");
    assert_eq!(actor.one("select sum(a) from t", &[]).await, int(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_locks_the_file_is_a_conflict() {
    let backend = Backend::sqlite();
    let actor = backend.link("locked", &backend.database(), &[("access", "schema")]).await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    let file = std::fs::read_dir(backend.data.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite3")).unwrap();
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let short = actor.within(Duration::from_millis(300));
    assert!(matches!(short.execute("insert into t values (1)", &[]).await, Err(Error::Conflict(_))));
    other.execute_batch("rollback").unwrap();
    assert_eq!(actor.execute("insert into t values (1)", &[]).await, Ok(1));
}
