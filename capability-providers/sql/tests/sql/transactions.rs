//! All or nothing, in one call and over several.

use std::time::Duration;

use trellis_interfaces::sql::{Error, Mismatch};

use crate::actor::{Actor, int, step};
use crate::backend::{Backend, on_both};

on_both!(
    steps_happen_together_or_not_at_all,
    a_step_that_affects_another_number_undoes_all,
    an_error_names_its_step,
    transfers_at_once_keep_the_sum,
    an_open_transaction_is_seen_by_others_when_it_is_committed,
    an_open_transaction_that_fails_is_undone,
    an_open_transaction_that_is_idle_is_undone,
    a_caller_that_leaves_undoes_its_open_transaction,
    transactions_belong_to_their_link,
    a_link_that_goes_down_undoes_what_is_open,
    only_so_many_transactions_are_open,
);

const ADD: &str = "update account set balance = balance + $1 where id = $2";
const TAKE: &str = "update account set balance = balance - $1 where id = $2 and balance >= $1";

async fn bank(backend: &Backend, name: &str, pairs: &[(&str, &str)]) -> Actor {
    let pairs: Vec<_> = [("access", "schema")].into_iter().chain(pairs.iter().copied()).collect();
    let actor = backend.link(name, &backend.database(), &pairs).await;
    actor.execute("create table account (id integer primary key, balance integer not null)", &[]).await.unwrap();
    actor.execute("insert into account values (1, 100), (2, 100), (3, 100), (4, 100)", &[]).await.unwrap();
    actor
}

async fn balances(actor: &Actor) -> Vec<i64> {
    let rows = actor.query("select balance from account order by id", &[]).await.unwrap().rows;
    let number = |value: &trellis_interfaces::sql::Value| match value {
        trellis_interfaces::sql::Value::Int64(number) => *number,
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| number(&row[0])).collect()
}

async fn transfer(actor: &Actor, from: i64, to: i64, amount: i64) -> Result<(), Error> {
    let steps = [step(TAKE, &[int(amount), int(from)], Some(1)), step(ADD, &[int(amount), int(to)], Some(1))];
    actor.transaction(&steps).await.map(drop)
}

async fn steps_happen_together_or_not_at_all(backend: &Backend) {
    let actor = bank(backend, "together", &[]).await;
    assert_eq!(transfer(&actor, 1, 2, 30).await, Ok(()));
    assert_eq!(balances(&actor).await, [70, 130, 100, 100]);
    let steps = [
        step(ADD, &[int(1), int(1)], Some(1)),
        step("insert into account values (1, 0)", &[], None),
        step(ADD, &[int(1), int(2)], Some(1)),
    ];
    assert!(matches!(actor.transaction(&steps).await, Err(Error::Constraint(_))));
    assert_eq!(balances(&actor).await, [70, 130, 100, 100]);
    let outcomes = actor.transaction(&[step("select balance from account where id = 1", &[], Some(1))]).await.unwrap();
    assert_eq!((outcomes[0].affected, &outcomes[0].returned.rows), (1, &vec![vec![int(70)]]));
    assert_eq!(actor.transaction(&[]).await, Ok(vec![]));
}

async fn a_step_that_affects_another_number_undoes_all(backend: &Backend) {
    let actor = bank(backend, "expect", &[]).await;
    let refused = transfer(&actor, 1, 2, 101).await;
    assert_eq!(refused, Err(Error::Unexpected(Mismatch { step: 0, expected: 1, affected: 0 })));
    let refused = transfer(&actor, 1, 99, 10).await;
    assert_eq!(refused, Err(Error::Unexpected(Mismatch { step: 1, expected: 1, affected: 0 })));
    assert_eq!(balances(&actor).await, [100; 4]);
}

async fn an_error_names_its_step(backend: &Backend) {
    let actor = bank(backend, "step", &[]).await;
    for (statement, params) in [("update nowhere set a = 1", vec![]), (ADD, vec![int(1)])] {
        match actor.transaction(&[step(ADD, &[int(1), int(1)], None), step(statement, &params, None)]).await {
            Err(Error::Invalid(fault)) => assert_eq!(fault.step, Some(1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(balances(&actor).await, [100; 4]);
}

async fn transfers_at_once_keep_the_sum(backend: &Backend) {
    let actor = bank(backend, "sum", &[("isolation", "serializable"), ("retries", "10")]).await;
    let workers = (0..8_i64).map(|worker| {
        let actor = actor.clone();
        tokio::spawn(async move {
            let mut done = 0;
            for round in 0..15 {
                let (from, to) = (worker % 4 + 1, (worker + round) % 4 + 1);
                match transfer(&actor, from, to, 7).await {
                    Ok(()) => done += 1,
                    Err(Error::Unexpected(_) | Error::Conflict(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            done
        })
    });
    let mut done = 0;
    for worker in workers.collect::<Vec<_>>() {
        done += worker.await.unwrap();
    }
    let balances = balances(&actor).await;
    assert_eq!(balances.iter().sum::<i64>(), 400, "{balances:?}");
    assert!(done > 20 && balances.iter().all(|balance| *balance >= 0), "{done} transfers, {balances:?}");
}

async fn an_open_transaction_is_seen_by_others_when_it_is_committed(backend: &Backend) {
    let actor = bank(backend, "open", &[]).await;
    let tx = actor.begin(None).await.unwrap();
    assert_eq!(actor.execute_in(&tx, ADD, &[int(5), int(1)]).await, Ok(1));
    let inside = actor.query_in(&tx, "select balance from account where id = 1", &[]).await.unwrap();
    assert_eq!(inside.rows, [[int(105)]]);
    assert_eq!(balances(&actor).await[0], 100);
    actor.commit(&tx).await.unwrap();
    assert_eq!(balances(&actor).await[0], 105);
    assert_eq!(actor.commit(&tx).await, Err(Error::NoTransaction));
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, ADD, &[int(5), int(1)]).await.unwrap();
    actor.rollback(&tx).await.unwrap();
    assert_eq!(balances(&actor).await[0], 105);
    assert_eq!(actor.rollback(&tx).await, Err(Error::NoTransaction));
    assert_eq!(actor.query_in("guessed", "select 1", &[]).await, Err(Error::NoTransaction));
}

async fn an_open_transaction_that_fails_is_undone(backend: &Backend) {
    let actor = bank(backend, "fails", &[]).await;
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, ADD, &[int(5), int(1)]).await.unwrap();
    assert!(matches!(actor.execute_in(&tx, "update nowhere set a = 1", &[]).await, Err(Error::Invalid(_))));
    assert_eq!(actor.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(balances(&actor).await, [100; 4]);
}

/// Waits until others can write, which they can when nothing is open any more.
async fn until_writable(actor: &Actor) {
    actor.execute(ADD, &[int(0), int(1)]).await.unwrap();
}

async fn an_open_transaction_that_is_idle_is_undone(backend: &Backend) {
    let actor = bank(backend, "idle", &[("idle-timeout", "200ms")]).await;
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, ADD, &[int(5), int(1)]).await.unwrap();
    until_writable(&actor).await;
    assert_eq!(actor.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(balances(&actor).await, [100; 4]);
}

async fn a_caller_that_leaves_undoes_its_open_transaction(backend: &Backend) {
    let actor = bank(backend, "leaves", &[("idle-timeout", "1h")]).await;
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, ADD, &[int(5), int(1)]).await.unwrap();
    let call = actor.query_in(&tx, backend.endless(), &[]);
    tokio::time::timeout(Duration::from_millis(200), call).await.unwrap_err();
    until_writable(&actor).await;
    assert_eq!(actor.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(balances(&actor).await, [100; 4]);
}

async fn transactions_belong_to_their_link(backend: &Backend) {
    let actor = bank(backend, "owner", &[]).await;
    let thief = backend.actor("thief").await;
    let tx = actor.begin(None).await.unwrap();
    assert_eq!(thief.query_in(&tx, "select * from account", &[]).await, Err(Error::NoTransaction));
    assert_eq!(thief.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(actor.execute_in(&tx, ADD, &[int(5), int(1)]).await, Ok(1));
    actor.commit(&tx).await.unwrap();
}

async fn a_link_that_goes_down_undoes_what_is_open(backend: &Backend) {
    let database = backend.database();
    let pairs = [("access", "schema"), ("idle-timeout", "1h")];
    let actor = backend.link("down", &database, &pairs).await;
    actor.execute("create table account (id integer primary key, balance integer not null)", &[]).await.unwrap();
    actor.execute("insert into account values (1, 100)", &[]).await.unwrap();
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, ADD, &[int(5), int(1)]).await.unwrap();
    actor.provider.link_down(&trellis_provider_sdk::testing::as_target(actor.link.clone(), &[])).await;
    assert!(actor.call("commit", &trellis_interfaces::sql::Commit { tx: tx.clone() }).await.is_err());
    let again = backend.link("down", &database, &pairs).await;
    until_writable(&again).await;
    assert_eq!(again.commit(&tx).await, Err(Error::NoTransaction));
    assert_eq!(balances(&again).await, [100]);
}

async fn only_so_many_transactions_are_open(backend: &Backend) {
    let actor = bank(backend, "most", &[("max-transactions", "1")]).await;
    let tx = actor.begin(None).await.unwrap();
    match actor.begin(None).await {
        Err(Error::Limit(text)) => assert!(text.contains("max-transactions"), "{text}"),
        other => panic!("{other:?}"),
    }
    actor.rollback(&tx).await.unwrap();
    let tx = actor.begin(None).await.unwrap();
    actor.rollback(&tx).await.unwrap();
}
