//! Actors that other tools built answer as well. `cargo xtask test` builds them (`cargo xtask guests --foreign`).

use crate::support::lattice::path;
use crate::support::nats::free_port;
use crate::support::process::Server;
use crate::support::{guests, http};

#[test]
fn an_actor_in_javascript_answers() {
    check("foreign-javascript", "hello from JavaScript, you asked for /x");
}

#[test]
fn an_actor_in_python_answers() {
    check("foreign-python", "hello from Python, you asked for /x");
}

fn check(guest: &str, expected: &str) {
    let data = tempfile::tempdir().expect("a temporary directory");
    let address = format!("127.0.0.1:{}", free_port());
    let _server = Server::start(data.path(), &["up", path(&guests::path(guest)), "--http", &address]);
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    let body = http::until_ok(&runtime, address.parse().expect("valid"), "/x");
    assert_eq!(body.trim_end(), expected);
}
