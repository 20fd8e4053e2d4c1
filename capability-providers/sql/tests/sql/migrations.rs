//! Migrations run once, in order, and are not changed afterwards.

use trellis_interfaces::sql::Error;

use crate::actor::int;
use crate::backend::{Backend, on_both};

on_both!(
    migrations_run_once_in_the_order_of_their_names,
    a_migration_that_was_changed_fails_the_link,
    a_migration_that_fails_is_undone_and_named,
    links_at_once_run_each_migration_once,
    actors_cannot_rewrite_what_was_migrated,
);

const FIRST: (&str, &str) =
    ("migration.001-table", "create table t (a integer primary key); insert into t values (1);");
const SECOND: (&str, &str) = ("migration.002-column", "alter table t add column b integer;\n-- the end\n");

async fn migrations_run_once_in_the_order_of_their_names(backend: &Backend) {
    let database = backend.database();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("003-more.sql"), "insert into t (a, b) values (2, 3);").unwrap();
    let path = folder.path().to_str().unwrap();
    let actor = backend.link("migrated", &database, &[SECOND, FIRST]).await;
    assert_eq!(actor.one("select count(*) from t", &[]).await, int(1));
    for actor in ["migrated", "another"] {
        let actor = backend.link(actor, &database, &[SECOND, FIRST, ("migrations", path)]).await;
        assert_eq!(actor.one("select sum(a + coalesce(b, 0)) from t where a = 2", &[]).await, int(5));
        assert_eq!(actor.one("select count(*) from t", &[]).await, int(2));
    }
}

async fn a_migration_that_was_changed_fails_the_link(backend: &Backend) {
    let database = backend.database();
    backend.link("before", &database, &[FIRST]).await;
    let changed = (FIRST.0, "create table t (a text)");
    let error = backend.try_link("after", &database, &[changed]).await.err().unwrap().to_string();
    assert!(error.contains("001-table") && error.contains("changed"), "{error}");
}

async fn a_migration_that_fails_is_undone_and_named(backend: &Backend) {
    let database = backend.database();
    let wrong = ("migration.002-wrong", "insert into t values (2); insert into nowhere values (1)");
    let error = backend.try_link("failing", &database, &[FIRST, wrong]).await.err().unwrap().to_string();
    assert!(error.contains("002-wrong") && error.contains("nowhere"), "{error}");
    let actor = backend.link("failing", &database, &[FIRST]).await;
    assert_eq!(actor.query("select a from t", &[]).await.unwrap().rows, [[int(1)]]);
}

async fn links_at_once_run_each_migration_once(backend: &Backend) {
    let database = backend.database();
    let names: Vec<_> = (0..5).map(|number| format!("at-once-{number}")).collect();
    let linked = names.iter().map(|name| backend.link(name, &database, &[FIRST, SECOND]));
    let actors = futures::future::join_all(linked).await;
    assert_eq!(actors[0].one("select count(*) from t", &[]).await, int(1));
}

async fn actors_cannot_rewrite_what_was_migrated(backend: &Backend) {
    let database = backend.database();
    let actor = backend.link("rewriter", &database, &[FIRST]).await;
    assert_eq!(actor.one("select count(*) from trellis_migrations", &[]).await, int(1));
    if backend.is_sqlite() {
        for attack in ["delete from trellis_migrations", "update Trellis_Migrations set name = 'x'"] {
            assert!(matches!(actor.execute(attack, &[]).await, Err(Error::Denied(_))), "{attack}");
        }
    }
}
