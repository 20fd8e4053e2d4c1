//! Providers as deputies: each acts for whoever calls it over a link of theirs, and for nobody else.

use std::path::PathBuf;

use trellis_lattice::control::Client;
use trellis_lattice::id::HostId;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::StartProvider;
use trellis_lattice::message::link::Link;
use trellis_provider_sdk::{Args, Call};

use crate::cluster::{Cluster, call, eventually, link, provider};

const ECHO: &str = "test:echo/echo";
const COUNT: usize = 3;

/// The provider that the actor `actor` has over its link `name`: each has another one over each.
fn meant(actor: usize, name: usize) -> String {
    format!("deputy-{}", (actor + name) % COUNT)
}

fn of(actor: usize, name: usize) -> Link {
    Link {
        name: format!("link-{name}").parse().expect("valid"),
        ..link(&format!("actor-{actor}"), ECHO, &meant(actor, name))
    }
}

/// Three callers and three providers that are processes.
async fn start(client: &Client, host: &HostId) {
    for number in 0..COUNT {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_probe-provider"));
        let reference = format!("file://{}", program.display());
        let deputy = StartProvider { provider_ref: reference, ..provider(host, &format!("deputy-{number}"), "") };
        client.start_provider(&deputy).await.expect("starts");
        client.start_provider(&provider(host, &format!("actor-{number}"), "probe")).await.expect("starts");
    }
}

/// What the deputy says of itself that `caller` reaches with the link `name`, saying that it is `source`.
async fn ask(cluster: &Cluster, (caller, source): (usize, usize), name: &str) -> Result<String, String> {
    let asked = Call {
        link: name.parse().expect("valid"),
        function: "who".into(),
        // It names everybody else; who it is and what it may do is not taken from there.
        ..call(&format!("actor-{source}"), ECHO, "actor-0 actor-1 actor-2 link-0 link-1 link-2 ../deputy-0")
    };
    let answer = cluster.probe(&format!("actor-{caller}")).call(asked).await.map_err(|error| format!("{error:?}"))?;
    let Args::Wire(bytes) = answer.value else { panic!("values were expected") };
    Ok(rmp_serde::from_slice(&bytes).expect("a string"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_actors_links_and_providers_nine_cells_meet() {
    let cluster = Cluster::new();
    let mut config = cluster.config("a");
    config.native.executables = vec![PathBuf::from(env!("CARGO_BIN_EXE_probe-provider"))];
    let host = cluster.host_with(config, Key::generate(KeyKind::Host)).await;
    let client = cluster.client();
    start(&client, host.id()).await;
    for actor in 0..COUNT {
        for name in 0..COUNT {
            client.put_link(&of(actor, name)).await.expect("put");
        }
    }
    let mut met = 0;
    for caller in 0..COUNT {
        for source in 0..COUNT {
            for name in 0..COUNT {
                // Whoever it says that it is, it is itself.
                let expected = format!("{} for actor-{caller} over link-{name}", meant(caller, name));
                eventually(|| async {
                    match ask(&cluster, (caller, source), &format!("link-{name}")).await {
                        Ok(told) if told == expected => Ok(()),
                        Ok(told) => panic!("{told} instead of {expected}"),
                        // The link is put, and not up yet.
                        Err(error) => Err(error),
                    }
                })
                .await;
                met += usize::from(caller == source);
            }
        }
        let error = ask(&cluster, (caller, caller), "link-of-nobody").await.expect_err("it has no such link");
        assert!(error.contains("link-of-nobody"), "{error}");
    }
    assert_eq!(met, 9);
}
