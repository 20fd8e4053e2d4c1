//! What statements do, whatever the backend is.

use trellis_interfaces::sql::{ConstraintKind, Error, Value};

use crate::actor::{int, text};
use crate::backend::{Backend, on_both};

on_both!(
    values_come_back_as_they_were_given,
    null_is_a_value_of_every_type,
    values_have_one_form_whatever_they_were_given_as,
    parameters_go_by_their_number,
    a_value_never_becomes_sql,
    several_statements_in_one_text_are_refused,
    a_wrong_statement_says_what_is_wrong,
    a_constraint_is_told_by_its_kind,
    affected_rows_are_counted,
    the_same_text_works_after_its_table_has_changed,
    what_is_about_the_session_is_denied,
);

const TYPES: &[(&str, &str, &str)] = &[
    ("boolean", "boolean", "a"),
    ("integer", "bigint", "b"),
    ("real", "double precision", "c"),
    ("text", "text", "d"),
    ("blob", "bytea", "e"),
    ("decimal text", "numeric(40, 20)", "f"),
    ("timestamp", "timestamptz", "g"),
    ("timestamp", "timestamp", "h"),
    ("date", "date", "i"),
    ("uuid", "uuid", "j"),
    ("json", "json", "k"),
];

fn table(backend: &Backend) -> String {
    let of = |(sqlite, postgres, name): &(&str, &str, &str)| {
        format!("{name} {}", if backend.is_sqlite() { sqlite } else { postgres })
    };
    format!("create table t ({})", TYPES.iter().map(of).collect::<Vec<_>>().join(", "))
}

const INSERT: &str = "insert into t values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

async fn values_come_back_as_they_were_given(backend: &Backend) {
    let actor = backend.actor("values").await;
    actor.execute(&table(backend), &[]).await.unwrap();
    let values = vec![
        Value::Boolean(true),
        int(i64::MIN),
        Value::Float64(0.1),
        text("größer als 'x' und \u{1f980}"),
        Value::Blob(vec![0, 255, 39].into()),
        Value::Numeric("-12345678901234567890.01234567890123456789".into()),
        Value::Timestamp("2026-01-31T08:15:00.25Z".into()),
        Value::Timestamp("2026-01-31T08:15:00".into()),
        Value::Date("2026-01-31".into()),
        Value::Uuid("67e55044-10b1-426f-9247-bb680e5fe0c8".into()),
        Value::Json(r#"{"a":[1,null]}"#.into()),
    ];
    assert_eq!(actor.execute(INSERT, &values).await, Ok(1));
    let rows = actor.query("select * from t", &[]).await.unwrap();
    assert_eq!(rows.columns, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]);
    assert_eq!(rows.rows, [values]);
}

/// There is nothing to call for it: a text is prepared once for each connection, and used as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_prepared_once_on_its_connection_by_postgres() {
    // What this connection has prepared, and how often it was used since.
    const KEPT: &str = "select count(*) from pg_prepared_statements where statement like 'insert into t%'";
    const USED: &str = "select coalesce(sum(generic_plans + custom_plans), 0)::bigint from pg_prepared_statements \
                        where statement = 'insert into t values ($1)'";
    let backend = Backend::postgres();
    let database = backend.database();
    let actor = backend.link("prepares", &database, &[("access", "schema"), ("max-connections", "1")]).await;
    actor.execute("create table t (n bigint)", &[]).await.unwrap();
    for n in 0..50 {
        assert_eq!(actor.execute("insert into t values ($1)", &[int(n)]).await, Ok(1));
    }
    let tx = actor.begin(None).await.unwrap();
    actor.execute_in(&tx, "insert into t values ($1)", &[int(50)]).await.unwrap();
    actor.commit(&tx).await.unwrap();
    assert_eq!(actor.one(USED, &[]).await, int(51));
    assert_eq!(actor.one(KEPT, &[]).await, int(1));
    actor.execute("insert into t values ($1 + 1)", &[int(1)]).await.unwrap();
    assert_eq!(actor.one(KEPT, &[]).await, int(2), "another text is another statement");
    for n in 0..200 {
        actor.query(&format!("select {n}::bigint"), &[]).await.unwrap();
    }
    let all = actor.one("select count(*) from pg_prepared_statements", &[]).await;
    assert!(matches!(all, Value::Int64(count) if (100..=130).contains(&count)), "those used last are kept: {all:?}");
}

async fn null_is_a_value_of_every_type(backend: &Backend) {
    let actor = backend.actor("nulls").await;
    actor.execute(&table(backend), &[]).await.unwrap();
    let nulls = vec![Value::Null; TYPES.len()];
    assert_eq!(actor.execute(INSERT, &nulls).await, Ok(1));
    assert_eq!(actor.query("select * from t", &[]).await.unwrap().rows, [nulls]);
}

async fn values_have_one_form_whatever_they_were_given_as(backend: &Backend) {
    let actor = backend.actor("forms").await;
    actor.execute(&table(backend), &[]).await.unwrap();
    let moment = Value::Timestamp("2026-01-31T10:15:00.250+02:00".into());
    let uuid = Value::Uuid("67E55044-10B1-426F-9247-BB680E5FE0C8".into());
    actor.execute("insert into t (g, j) values ($1, $2)", &[moment, uuid]).await.unwrap();
    assert_eq!(actor.one("select g from t", &[]).await, Value::Timestamp("2026-01-31T08:15:00.25Z".into()));
    assert_eq!(actor.one("select j from t", &[]).await, Value::Uuid("67e55044-10b1-426f-9247-bb680e5fe0c8".into()));
    for wrong in [
        Value::Timestamp("now".into()),
        Value::Date("infinity".into()),
        Value::Uuid("x".into()),
        Value::Numeric("1e9".into()),
    ] {
        let refused = actor.execute("insert into t (d) values ($1)", std::slice::from_ref(&wrong)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{wrong:?}: {refused:?}");
    }
}

async fn parameters_go_by_their_number(backend: &Backend) {
    let actor = backend.actor("numbers").await;
    let statement = "select cast($2 as text), cast($1 as text), cast($2 as text)";
    let rows = actor.query(statement, &[text("a"), text("b")]).await.unwrap();
    assert_eq!(rows.rows, [[text("b"), text("a"), text("b")]]);
    for (statement, params) in [
        ("select cast($1 as text)", vec![]),
        ("select cast($1 as text)", vec![text("a"), text("b")]),
        ("select ?", vec![text("a")]),
        ("select :a", vec![text("a")]),
    ] {
        let refused = actor.query(statement, &params).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{statement}: {refused:?}");
    }
}

async fn a_value_never_becomes_sql(backend: &Backend) {
    let actor = backend.actor("injection").await;
    actor.execute("create table t (a text)", &[]).await.unwrap();
    for attack in [
        "'); drop table t; --",
        "' or '1'='1",
        "\\'; drop table t; --",
        "$1",
        "$$; drop table t; $$",
        "\u{02bc}; drop table t",
        "a\"; drop table t; --",
        "/* */; drop table t",
    ] {
        assert_eq!(actor.execute("insert into t values ($1)", &[text(attack)]).await, Ok(1), "{attack}");
        let found = actor.query("select a from t where a = $1", &[text(attack)]).await.unwrap();
        assert_eq!(found.rows, [[text(attack)]]);
    }
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(8));
}

async fn several_statements_in_one_text_are_refused(backend: &Backend) {
    let actor = backend.actor("several").await;
    actor.execute("create table t (a text)", &[]).await.unwrap();
    for statement in [
        "insert into t values ('x'); drop table t",
        "select 1; select 2",
        "select 1;; insert into t values ('x')",
        "insert into t values ('x');commit",
    ] {
        for refused in [actor.execute(statement, &[]).await.map(drop), actor.query(statement, &[]).await.map(drop)] {
            assert!(matches!(refused, Err(Error::Invalid(_))), "{statement}: {refused:?}");
        }
    }
    assert_eq!(actor.execute("insert into t values ('y');", &[]).await, Ok(1), "one may end with a semicolon");
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(1));
}

async fn a_wrong_statement_says_what_is_wrong(backend: &Backend) {
    let actor = backend.actor("wrong").await;
    for (statement, part) in [("select * from nowhere", "nowhere"), ("selec 1", "selec"), ("insert into", "")] {
        match actor.query(statement, &[]).await {
            Err(Error::Invalid(fault)) => {
                assert!(fault.message.contains(part), "{}", fault.message);
                assert_eq!(fault.code.map(|code| code.len()), Some(5));
            }
            Err(Error::Denied(text)) => assert!(text.contains(part), "{text}"),
            other => panic!("{statement}: {other:?}"),
        }
    }
}

async fn a_constraint_is_told_by_its_kind(backend: &Backend) {
    let actor = backend.actor("constraints").await;
    actor.execute("create table parent (id integer primary key)", &[]).await.unwrap();
    let table = "create table child (id integer unique, parent integer references parent (id), a text not null,
                 n integer, constraint positive check (n > 0))";
    actor.execute(table, &[]).await.unwrap();
    actor.execute("insert into child values (1, null, 'a', 1)", &[]).await.unwrap();
    for (values, kind, code, name) in [
        ("(1, null, 'a', 1)", ConstraintKind::Unique, "23505", "child"),
        ("(2, 7, 'a', 1)", ConstraintKind::ForeignKey, "23503", ""),
        ("(2, null, null, 1)", ConstraintKind::NotNull, "23502", "a"),
        ("(2, null, 'a', 0)", ConstraintKind::Check, "23514", "positive"),
    ] {
        match actor.execute(&format!("insert into child values {values}"), &[]).await {
            Err(Error::Constraint(violation)) => {
                assert_eq!((violation.kind, violation.fault.code.as_deref()), (kind, Some(code)));
                assert!(violation.name.unwrap_or_default().contains(name));
            }
            other => panic!("{values}: {other:?}"),
        }
    }
    assert_eq!(actor.one("select count(*) from child", &[]).await, int(1));
}

async fn affected_rows_are_counted(backend: &Backend) {
    let actor = backend.actor("counts").await;
    assert_eq!(actor.execute("create table t (a integer primary key)", &[]).await, Ok(0));
    assert_eq!(actor.execute("insert into t values (1), (2), (3)", &[]).await, Ok(3));
    assert_eq!(actor.execute("create table u (a integer)", &[]).await, Ok(0), "not the number of the one before");
    assert_eq!(actor.execute("update t set a = a + 10 where a > 1", &[]).await, Ok(2));
    assert_eq!(actor.execute("update t set a = a where a = 99", &[]).await, Ok(0));
    assert_eq!(actor.execute("insert into t values (1) on conflict do nothing", &[]).await, Ok(0));
    assert_eq!(actor.execute("select * from t", &[]).await, Ok(3));
    let rows = actor.query("delete from t where a = 1 returning a", &[]).await.unwrap();
    assert_eq!((rows.columns, rows.rows), (vec!["a".to_owned()], vec![vec![int(1)]]));
    let none = actor.query("select a from t where a = 1", &[]).await.unwrap();
    assert_eq!((none.columns, none.rows), (vec!["a".to_owned()], vec![]));
}

async fn the_same_text_works_after_its_table_has_changed(backend: &Backend) {
    let database = backend.database();
    let actor = backend.link("reader", &database, &[("access", "schema"), ("max-connections", "1")]).await;
    let other = backend.link("changer", &database, &[("access", "schema")]).await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    actor.execute("insert into t values (1)", &[]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(actor.query("select * from t", &[]).await.unwrap().columns, ["a"]);
    }
    other.execute("alter table t add column b text", &[]).await.unwrap();
    assert_eq!(actor.query("select * from t", &[]).await.unwrap().rows, [[int(1), Value::Null]]);
}

async fn what_is_about_the_session_is_denied(backend: &Backend) {
    let actor = backend.actor("session").await;
    actor.execute("create table t (a integer)", &[]).await.unwrap();
    for statement in
        ["begin", "/* */ commit", "rollback", "savepoint a", "set search_path to x", "pragma foreign_keys = 0"]
    {
        assert!(matches!(actor.execute(statement, &[]).await, Err(Error::Denied(_))), "{statement}");
        let tx = actor.begin(None).await.unwrap();
        assert!(matches!(actor.execute_in(&tx, statement, &[]).await, Err(Error::Denied(_))), "{statement}");
        assert_eq!(actor.execute_in(&tx, "insert into t values (1)", &[]).await, Err(Error::NoTransaction));
    }
}
