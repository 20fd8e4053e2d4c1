//! Actor A must not reach the database of link B, nor anything else of the host.

use trellis_interfaces::sql::{Error, Query};
use trellis_provider_sdk::testing::{as_source, as_target};
use trellis_provider_sdk::{CallErrorKind, LinkName};

use crate::actor::{Actor, int, text};
use crate::backend::{Backend, on_both};

on_both!(a_link_is_needed_and_gives_its_own_database, a_link_that_failed_says_why);

async fn a_link_is_needed_and_gives_its_own_database(backend: &Backend) {
    let (a, b) = (backend.actor("a").await, backend.actor("b").await);
    b.execute("create table secret (word text)", &[]).await.unwrap();
    b.execute("insert into secret values ('xyzzy')", &[]).await.unwrap();
    assert!(matches!(a.query("select * from secret", &[]).await, Err(Error::Invalid(_))));
    let query = Query { statement: "select * from secret".into(), params: vec![] };
    let stranger = {
        let mut link = b.link.clone();
        link.source_id = trellis_provider_sdk::testing::id("stranger");
        Actor { link, ..b.clone() }
    };
    assert_eq!(stranger.call("query", &query).await.unwrap_err().kind, CallErrorKind::NoTarget);
    let other_name = {
        let mut link = a.link.clone();
        link.name = LinkName::parse("other").unwrap();
        Actor { link, ..a.clone() }
    };
    assert_eq!(other_name.call("query", &query).await.unwrap_err().kind, CallErrorKind::NoTarget);
    assert_eq!(b.call("drop-all", &query).await.unwrap_err().kind, CallErrorKind::Contract);
    assert_eq!(b.call("query", &("select 1",)).await.unwrap_err().kind, CallErrorKind::Contract);
    b.provider.link_up(&as_source(b.link.clone(), &[])).await.unwrap_err();
    b.provider.link_down(&as_target(b.link.clone(), &[])).await;
    assert_eq!(b.call("query", &query).await.unwrap_err().kind, CallErrorKind::NoTarget);
}

async fn a_link_that_failed_says_why(backend: &Backend) {
    let database = backend.database();
    let actor = backend.link("failed", &database, &[]).await;
    let error = backend.try_link("failed", &database, &[("max-rows", "many")]).await.err().unwrap().to_string();
    assert!(error.contains("max-rows") && error.contains("10000"), "{error}");
    match actor.query("select 1", &[]).await {
        Err(Error::Unavailable(reason)) => assert!(reason.contains("max-rows"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_leads_to_no_other_file() {
    let backend = Backend::sqlite();
    let victim = backend.link("victim", &backend.database(), &[("access", "schema")]).await;
    victim.execute("create table secret (word text)", &[]).await.unwrap();
    let mut files = std::fs::read_dir(backend.data.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|end| end == "sqlite3")).unwrap();
    let file = file.to_str().unwrap();
    let attacker = backend.actor("attacker").await;
    for attack in [
        format!("attach '{file}' as b"),
        format!("/**/ attach database '{file}' as b"),
        format!("--\nattach '{file}' as b"),
        format!("/* /* */ attach '{file}' as b --*/ */ select 1"),
        format!("explain attach '{file}' as b"),
        format!("vacuum into '{file}.copy'"),
        "detach main".to_owned(),
        "pragma writable_schema = on".to_owned(),
        "select * from pragma_database_list".to_owned(),
        "select load_extension('/tmp/x.so')".to_owned(),
        format!("select readfile('{file}')"),
        format!("create virtual table x using csv(filename='{file}')"),
        "update sqlite_schema set sql = 'x'".to_owned(),
        "create trigger x after insert on t begin select load_extension('x'); end".to_owned(),
        format!("create table x as select * from '{file}'.secret"),
        "create temp table x (a integer)".to_owned(),
    ] {
        let result = attacker.query(&attack, &[]).await;
        assert!(matches!(result, Err(Error::Denied(_) | Error::Invalid(_))), "{attack}: {result:?}");
    }
    assert!(!std::path::Path::new(&format!("{file}.copy")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_without_a_database_in_their_config_have_one_each() {
    let backend = Backend::sqlite();
    let pairs = [("access", "schema")];
    let a = Actor::try_linked(&backend.provider, "a", &pairs).await.unwrap();
    let b = Actor::try_linked(&backend.provider, "b", &pairs).await.unwrap();
    // A database that happens to have the name of an actor is not the actor's.
    let named = Actor::try_linked(&backend.provider, "c", &[("database", "a"), ("access", "schema")]).await.unwrap();
    a.execute("create table t (a text)", &[]).await.unwrap();
    for other in [b, named] {
        assert!(matches!(other.query("select * from t", &[]).await, Err(Error::Invalid(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_a_server_stays_the_user() {
    let backend = Backend::postgres();
    let server = backend.server.as_ref().unwrap();
    server.add_user("alice");
    server.admin("alice", "create schema hidden; create table hidden.secret (word text)");
    let url = server.url("alice");
    let pairs = [("backend", "postgres"), ("url", url.as_str()), ("access", "schema")];
    let alice = Actor::try_linked(&backend.provider, "alice", &pairs).await.unwrap();
    for attack in [
        "set role admin",
        "set session authorization admin",
        "reset role",
        "select * from hidden.secret",
        "copy hidden.secret to program 'id'",
        "select pg_read_file('/etc/passwd')",
        "alter role alice superuser",
        "create role mallory",
        "do $$ begin perform 1; end $$",
    ] {
        let result = alice.execute(attack, &[]).await;
        assert!(matches!(result, Err(Error::Denied(_))), "{attack}: {result:?}");
    }
    // What a function changes in a session stays in the link: its connections are its own.
    server.add_user("bob");
    let url = server.url("bob");
    let bob = Actor::try_linked(&backend.provider, "bob", &[("backend", "postgres"), ("url", &url)]).await.unwrap();
    alice.query("select set_config('application_name', 'marked', false)", &[]).await.unwrap();
    assert_ne!(bob.one("select current_setting('application_name')", &[]).await, text("marked"));
    assert_eq!(bob.one("select cast(1 as integer)", &[]).await, int(1));
}
