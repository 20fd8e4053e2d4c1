//! What one line of a case file says: of a thing that runs, of a link, of how a link stands.

use std::sync::Arc;

use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::link::Link;
use trellis_wadm::observe::{Actor, Health, Limits, LinkKey, LinkStanding, Owner, Readiness};

use super::{app_name, config};

/// The words of one thing that runs.
pub(super) struct Words {
    pub(super) id: EntityId,
    pub(super) reference: Arc<str>,
    pub(super) digest: Option<Arc<str>>,
    pub(super) count: u32,
    pub(super) owner: Option<Arc<Owner>>,
    pub(super) readiness: Readiness,
    pub(super) limits: Option<Limits>,
}

pub(super) fn words(text: &str) -> Words {
    let mut parts = text.split(' ');
    let id = EntityId::parse(parts.next().expect("an id")).expect("an id");
    let reference = parts.next().expect("a reference").into();
    let mut words =
        Words { id, reference, digest: None, count: 1, owner: None, readiness: Readiness::Ready, limits: None };
    while let Some(part) = parts.next() {
        match part {
            "of" => {
                let whose = parts.next().expect("an application after `of`");
                let (app, spread) = whose.split_once('/').unwrap_or((whose, "default"));
                let owner =
                    Owner { app: app_name(app), scaler: "s".to_owned(), spread: spread.to_owned(), generation: 1 };
                words.owner = Some(Arc::new(owner));
            }
            "limits" => {
                let memory = parts.next().and_then(|size| size.strip_suffix("Mi")).and_then(|size| size.parse().ok());
                let memory: u64 = memory.expect("memory in Mi after `limits`");
                words.limits = Some(Limits { memory_bytes: Some(memory << 20), execution_ms: None });
            }
            "pinned" => words.digest = parts.next().map(Arc::from),
            "starting" => words.readiness = Readiness::Starting,
            "failing:" => {
                let reason = parts.by_ref().collect::<Vec<_>>().join(" ");
                words.readiness = Readiness::Failing { reason };
            }
            count => words.count = count.strip_prefix('x').and_then(|n| n.parse().ok()).expect("x<count>"),
        }
    }
    words
}

pub(super) fn actor(text: &str) -> (EntityId, Actor) {
    let Words { id, reference, digest, count: max_instances, owner, readiness, limits } = words(text);
    (
        id,
        Actor {
            reference,
            digest,
            max_instances,
            owner,
            limits,
            config: None,
            readiness_rule: None,
            readiness,
            exports: None,
        },
    )
}

/// `<source> -> <target> <namespace>:<package>/<interface> [once] up|pending|failed: <reason>`.
pub(super) fn standing(text: &str) -> (LinkKey, LinkStanding) {
    let (words, reason) = text.split_once(": ").unwrap_or((text, ""));
    let (link_text, state) = words.rsplit_once(' ').expect("a state after the link");
    let health = match state {
        "up" => Health::Established,
        "pending" => Health::Pending,
        "failed" => Health::Failed { reason: reason.to_owned() },
        other => panic!("{other} is no state of a link"),
    };
    let link_now = link_text.trim_end_matches(" once");
    let fingerprint = (link_now != link_text).then(|| "of another content".to_owned());
    (LinkKey::of(&link(link_now)), LinkStanding { health, fingerprint })
}

/// `<source> -> <target> <namespace>:<package>/<interface> [as <name>] [with <config>,…]`.
pub(super) fn link(text: &str) -> Link {
    let parts: Vec<&str> = text.split(' ').collect();
    let (package, interface) = parts[3].split_once('/').expect("namespace:package/interface");
    let (namespace, package) = package.split_once(':').expect("namespace:package/interface");
    let after = |word: &str| parts.iter().position(|part| *part == word).map(|at| parts[at + 1]);
    Link {
        source_id: EntityId::parse(parts[0]).expect("an id"),
        target: EntityId::parse(parts[2]).expect("an id"),
        name: after("as").map_or_else(LinkName::default, |name| LinkName::parse(name).expect("a name")),
        wit_namespace: namespace.to_owned(),
        wit_package: package.to_owned(),
        interfaces: vec![interface.to_owned()],
        source_config: after("with").into_iter().flat_map(|names| names.split(',')).map(config).collect(),
        target_config: Vec::new(),
    }
}
