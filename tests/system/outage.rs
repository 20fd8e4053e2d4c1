//! nats-server is killed in the middle of a deploy and started again on its store: the deploy ends as deployed, what
//! ran goes on, and nothing that was acknowledged is lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::{process, starts, wait};

/// Actors of the application that is being deployed when nats-server is killed: enough for there to be a middle.
const ACTORS: usize = 12;

/// After how many of them it is killed: right after the deploy was acknowledged, at the beginning, near the end.
const KILLED_AFTER: [usize; 3] = [0, 2, 8];

/// How many deploys are to be acknowledged before nats-server is killed, and each time it is back; and how many there
/// are at most, because many are refused while it is away.
const MORE: usize = 3;
const MOST_APPS: usize = 300;

/// Three hosts and a wadm, with an application that counts requests.
fn lattice_with_counter() -> Lattice {
    let mut lattice = Lattice::without_hosts();
    for name in ["a", "b", "c"] {
        lattice.start_host_with(name, &["--label", &format!("name={name}")]);
    }
    lattice.wait_for_hosts(3);
    lattice.start_wadm();
    // On one host: what calls over nats-server waits for it.
    let manifest = App::example(&lattice, "counter", &["wasi:keyvalue/*"])
        .with_providers_at("name: a")
        .with("instances: 100", "instances: 100\n            spread: [ { name: one, requirements: { name: a } } ]")
        .write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert!(lattice.until_ok("/x").contains('1'));
    lattice.signed("hello", &[]);
    lattice
}

#[test]
fn a_deploy_survives_the_kill_of_nats_server() {
    let mut lattice = lattice_with_counter();
    for (round, killed_after) in KILLED_AFTER.into_iter().enumerate() {
        let name = format!("many{round}");
        let manifest = App::many(&lattice, &name, ACTORS).write();
        let before = starts::all(&lattice);
        lattice.run(&["app", "deploy", path(&manifest)]);
        starts::until(&lattice, &name, killed_after);
        lattice.nats().stop();
        println!("killed when {} of {} actors were started", starts::of_app(&lattice, &name), 3 * ACTORS);
        assert_eq!(lattice.get("/x").0, 200, "what ran answers meanwhile");
        lattice.nats().start_again();
        lattice.until_deployed(&name);
        lattice.until_deployed("counter");
        let after = starts::all(&lattice);
        for (thing, times) in &before {
            assert_eq!(after.get(thing), Some(times), "{thing} ran and was not to be started again");
        }
        starts::none_twice(&lattice);
        lattice.wait_for_hosts(3);
    }
}

/// Deploys one application after the other while nats-server is killed and started again; those that were acknowledged.
fn deploy_meanwhile(lattice: &mut Lattice) -> Vec<String> {
    let (url, data) = (lattice.nats_url(), lattice.data().to_owned());
    let (acknowledged, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let known = || acknowledged.lock().expect("no panic").len();
    let until_more = || {
        let enough = known() + MORE;
        wait::until("more deploys", || if known() < enough { Err(known().to_string()) } else { Ok(()) });
    };
    let manifest = |number| {
        let name = format!("one{number}");
        let manifest = App::many(lattice, &name, 1).write_as(&name);
        (name, manifest)
    };
    let manifests: Vec<_> = (0..MOST_APPS).map(manifest).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (name, manifest) in manifests.iter().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let deployed = process::run(&data, &["app", "deploy", path(manifest), "--nats-url", &url]);
                if deployed.status.success() {
                    acknowledged.lock().expect("no panic").push(name.clone());
                }
            }
        });
        until_more();
        for _ in 0..2 {
            lattice.nats().stop();
            lattice.nats().start_again();
            until_more();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    acknowledged.into_inner().expect("no panic")
}

#[test]
fn no_acknowledged_deploy_is_lost_with_nats_server() {
    let mut lattice = lattice_with_counter();
    let before = starts::all(&lattice);
    for name in deploy_meanwhile(&mut lattice) {
        lattice.until_deployed(&name);
    }
    let after = starts::all(&lattice);
    assert!(before.iter().all(|(thing, times)| after.get(thing) == Some(times)), "{before:?} became {after:?}");
}
