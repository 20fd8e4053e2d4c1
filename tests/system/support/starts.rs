//! How often things were started, as the logs of the hosts have it.

use std::collections::BTreeMap;

use super::lattice::Lattice;
use super::wait;

/// By host and id.
pub(crate) fn all(lattice: &Lattice) -> BTreeMap<String, usize> {
    let mut starts = BTreeMap::new();
    for (number, server) in lattice.servers.iter().enumerate() {
        for line in server.output().lines().filter(|line| line.contains(" started ") && !line.contains(" not started "))
        {
            let id = line.split_whitespace().find(|word| word.contains("_id=")).expect("what started has an id");
            *starts.entry(format!("host {number} {id}")).or_default() += 1;
        }
    }
    starts
}

/// How many actors of the application `app` were started.
pub(crate) fn of_app(lattice: &Lattice, app: &str) -> usize {
    let is_of_app = |(thing, _): &(&String, &usize)| thing.contains(&format!("actor_id={app}-"));
    all(lattice).iter().filter(is_of_app).map(|(_, times)| times).sum()
}

/// Waits until so many actors of the application `app` were started.
pub(crate) fn until(lattice: &Lattice, app: &str, count: usize) {
    wait::until(&format!("{count} actors of {app}"), || match of_app(lattice, app) {
        few if few < count => Err(format!("{few} actors")),
        _ => Ok(()),
    });
}

/// Fails when a host started something twice.
pub(crate) fn none_twice(lattice: &Lattice) {
    let again: Vec<_> = all(lattice).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(again.is_empty(), "started more than once: {again:?}");
}
