//! An actor with an SQL database, on one box, and on hosts of which the database is on one.

use bytes::Bytes;
use http::Method;

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::{http as client, process::Server};

const IMPORTS: &[&str] = &["trellis:sql/*"];

fn ask(lattice: &Lattice, method: Method, path: &str, body: &str) -> (u16, String) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    lattice.runtime.block_on(client::request(lattice.address, method, path, body)).expect("an answer")
}

fn up(lattice: &Lattice, manifest: &std::path::Path) -> Server {
    let server = lattice.up(&["-f", path(manifest)]);
    server.wait_for("todo is deployed");
    server
}

#[test]
fn what_was_written_is_there_after_a_crash() {
    let lattice = Lattice::without_hosts();
    let manifest = App::example(&lattice, "todo", IMPORTS).write();
    let server = up(&lattice, &manifest);
    assert_eq!(lattice.until_ok("/"), "");
    let attack = "'); drop table todo; --";
    assert_eq!(ask(&lattice, Method::POST, "/", "buy milk"), (201, "1\n".to_owned()));
    assert_eq!(ask(&lattice, Method::POST, "/", attack), (201, "2\n".to_owned()));
    assert_eq!(ask(&lattice, Method::POST, "/", "").0, 400);
    assert_eq!(ask(&lattice, Method::POST, "/1/done", "").0, 200);
    assert_eq!(ask(&lattice, Method::POST, "/9/done", "").0, 404);
    let listed = format!("1 [x] buy milk\n2 [ ] {attack}\n");
    assert_eq!(ask(&lattice, Method::GET, "/", ""), (200, listed.clone()));
    drop(server);
    let _server = up(&lattice, &manifest);
    assert_eq!(lattice.until_ok("/"), listed);
    assert_eq!(ask(&lattice, Method::DELETE, "/1", "").0, 200);
    assert_eq!(lattice.until_ok("/"), format!("2 [ ] {attack}\n"));
}

#[test]
fn a_database_on_another_host_answers_as_one_here() {
    let lattice = Lattice::two_hosts();
    let actor = lattice.signed("todo", IMPORTS);
    lattice.run(&["start", "provider", "sql", "builtin:sql", "--host", "b"]);
    let table =
        "migration.1=create table todo (id integer primary key, title text not null, done boolean default false)";
    lattice.run(&["config", "put", "todo-database", table]);
    lattice.run(&["link", "put", "todo", "sql", "trellis:sql/database", "--target-config", "todo-database"]);
    lattice.run(&["start", "actor", "todo", path(&actor), "--host", "a"]);
    lattice.serve_http(Some("a"), &[("/", "todo")]);
    lattice.until_ok("/");
    // An answer that is larger than a frame of the lattice.
    let title = "x".repeat(990);
    for _ in 0..600 {
        assert_eq!(ask(&lattice, Method::POST, "/", &title).0, 201);
    }
    let listed = lattice.until_ok("/");
    assert_eq!((listed.lines().count(), listed.matches(&title).count()), (600, 600));
}

#[test]
fn an_actor_without_the_grant_is_refused() {
    let lattice = Lattice::one_box(&[]);
    let actor = lattice.signed("todo", &["wasi:keyvalue/*"]);
    let refused = lattice.try_run(&["start", "actor", "todo", path(&actor)]).refused();
    assert!(refused.contains("trellis:sql/database"), "{refused}");
}
