//! Which links a provider has, which it should have, and what is to be done about the difference. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::{ConfigName, EntityId, LinkName};
use trellis_lattice::message::inventory::{LinkState, ProviderLink};
use trellis_lattice::message::link::Link;
use trellis_provider_sdk::{ActiveLink, Role, SecretMap};

use crate::error::Result as HostResult;
use crate::links::Table;
use crate::records::{Configs, merge, merge_all};

/// The wait after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 500;
/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What tells two links of one provider apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkKey {
    source: EntityId,
    target: EntityId,
    name: LinkName,
    namespace: String,
    package: String,
    is_source: bool,
}

impl LinkKey {
    fn of(link: &Link, role: Role) -> Self {
        Self {
            source: link.source_id.clone(),
            target: link.target.clone(),
            name: link.name.clone(),
            namespace: link.wit_namespace.clone(),
            package: link.wit_package.clone(),
            is_source: role == Role::Source,
        }
    }
}

/// A link as the records have it: ready for the provider, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The link.
    pub(super) link: Link,
    /// With its configs merged and its secrets read; else what is missing.
    pub(super) ready: Result<ActiveLink, String>,
    /// What inventories tell of its content, unless a config is missing.
    fingerprint: Option<String>,
}

/// The links that `provider` is an end of; `secrets` reads those of the provider and of the configs of a link's end.
pub(super) fn wanted(
    provider: &EntityId,
    links: &Table,
    configs: &Configs,
    secrets: &dyn Fn(&[ConfigName]) -> HostResult<SecretMap>,
) -> BTreeMap<LinkKey, Wanted> {
    let mut wanted = BTreeMap::new();
    for entry in links.iter() {
        let link = &entry.link;
        for (end, role, names) in
            [(&link.source_id, Role::Source, &link.source_config), (&link.target, Role::Target, &link.target_config)]
        {
            if end == provider {
                let link = Link::clone(link);
                let ready = merge(configs, names)
                    .and_then(|config| Ok((config, secrets(names)?)))
                    .map(|(config, secrets)| ActiveLink { link: link.clone(), role, config, secrets })
                    .map_err(|error| error.to_string());
                let fingerprint = merge_all(configs, names).ok().map(|config| link.fingerprint(&config));
                wanted.insert(LinkKey::of(&link, role), Wanted { link, ready, fingerprint });
            }
        }
    }
    wanted
}

/// How a link of a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The provider has it, as it is here. Leads out: the records change, or the link goes.
    Up,
    /// The provider refused it, or a config is missing. Leads out: the records change, the time comes, the link goes.
    Failed { failures: u32, retry_at: Instant, reason: String },
}

#[derive(Debug, Clone)]
struct Entry {
    /// What was tried last.
    tried: Wanted,
    /// What the provider has, if it has any version of it.
    up: Option<ActiveLink>,
    state: State,
}

/// Something to do with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Give it to the provider.
    Up(LinkKey, Wanted),
    /// Take it from the provider.
    Down(LinkKey, ActiveLink),
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The provider has it.
    Established,
    /// It does not, for that reason.
    Failed(String),
}

/// All links of one provider.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    entries: BTreeMap<LinkKey, Entry>,
}

impl Delivery {
    /// What is to be done now so that the provider has what is wanted: first what goes, then what comes.
    pub(super) fn plan(&self, wanted: &BTreeMap<LinkKey, Wanted>, now: Instant) -> Vec<Action> {
        let gone = self.entries.iter().filter(|(key, _)| !wanted.contains_key(*key));
        let down = gone.filter_map(|(key, entry)| Some(Action::Down(key.clone(), entry.up.clone()?)));
        let due =
            wanted.iter().filter(|(key, wanted)| self.entries.get(*key).is_none_or(|entry| entry.is_due(wanted, now)));
        let up = due.map(|(key, wanted)| Action::Up(key.clone(), wanted.clone()));
        down.chain(up).collect()
    }

    /// Forgets what is neither wanted nor up.
    pub(super) fn forget(&mut self, wanted: &BTreeMap<LinkKey, Wanted>) {
        self.entries.retain(|key, entry| wanted.contains_key(key) || entry.up.is_some());
    }

    /// A link was taken from the provider.
    pub(super) fn removed(&mut self, key: &LinkKey) {
        self.entries.remove(key);
    }

    /// The provider may have lost any of its links: all are due.
    pub(super) fn lost(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            let reason = "the provider was started again".to_owned();
            entry.state = State::Failed { failures: 0, retry_at: now, reason };
        }
    }

    /// An attempt to give a link ended.
    pub(super) fn tried(&mut self, key: LinkKey, wanted: Wanted, outcome: Outcome, now: Instant) {
        let before = self.entries.remove(&key);
        let up_before = before.as_ref().and_then(|entry| entry.up.clone());
        let failures_before = match before {
            Some(Entry { state: State::Failed { failures, .. }, .. }) => failures,
            _ => 0,
        };
        let (state, up) = match outcome {
            Outcome::Established => (State::Up, wanted.ready.clone().ok()),
            Outcome::Failed(reason) => {
                let failures = failures_before + 1;
                let wait = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(6)).min(LAST_RETRY);
                let reason = reason.chars().take(MAX_REASON).collect();
                (State::Failed { failures, retry_at: now + wait, reason }, up_before)
            }
        };
        self.entries.insert(key, Entry { tried: wanted, up, state });
    }

    /// How a link that is wanted stands.
    pub(super) fn standing(&self, key: &LinkKey, wanted: &Wanted) -> ProviderLink {
        let tried = self.entries.get(key).filter(|entry| entry.tried == *wanted);
        let (state, reason) = match tried.map(|entry| &entry.state) {
            None => (LinkState::Pending, None),
            Some(State::Up) => (LinkState::Up, None),
            Some(State::Failed { reason, .. }) => (LinkState::Failed, Some(reason.clone())),
        };
        let link = &wanted.link;
        ProviderLink {
            source_id: link.source_id.clone(),
            target: link.target.clone(),
            name: link.name.clone(),
            wit_namespace: link.wit_namespace.clone(),
            wit_package: link.wit_package.clone(),
            fingerprint: wanted.fingerprint.clone(),
            state,
            reason,
        }
    }

    /// When a link that failed is to be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let retries = self.entries.values().filter_map(|entry| match entry.state {
            State::Failed { retry_at, .. } => Some(retry_at),
            State::Up => None,
        });
        retries.min()
    }

    /// What the provider has.
    pub(super) fn up(&self) -> impl Iterator<Item = &ActiveLink> {
        self.entries.values().filter_map(|entry| entry.up.as_ref())
    }
}

impl Entry {
    fn is_due(&self, wanted: &Wanted, now: Instant) -> bool {
        self.tried != *wanted || matches!(self.state, State::Failed { retry_at, .. } if retry_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, ConfigName, Delivery, HostResult, Outcome, SecretMap, wanted};
    use crate::links::tests::{link, table};
    use crate::records::Configs;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;
    use trellis_lattice::message::inventory::LinkState;
    use trellis_provider_sdk::{Role, StringMap};

    fn none(_: &[ConfigName]) -> HostResult<SecretMap> {
        Ok(SecretMap::new())
    }

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        let config = |value: &str| Arc::new(StringMap::from([("address".to_owned(), value.to_owned())]));
        pairs.iter().map(|(name, value)| (name.parse().expect("valid"), config(value))).collect()
    }

    /// What is planned, as words; each planned delivery then succeeds or fails.
    fn run(
        delivery: &mut Delivery,
        links: &super::Table,
        configs: &Configs,
        fails: Outcome,
        now: Instant,
    ) -> Vec<String> {
        let wanted = wanted(&"kv".parse().expect("valid"), links, configs, &none);
        delivery.forget(&wanted);
        let plan = delivery.plan(&wanted, now);
        let told = plan.iter().map(|action| match action {
            Action::Up(_, wanted) => match &wanted.ready {
                Ok(active) => format!("up {} {:?}", wanted.link.source_id, active.config.get("address")),
                Err(error) => format!("fail {error}"),
            },
            Action::Down(_, active) => format!("down {}", active.link.source_id),
        });
        let told = told.collect();
        for action in plan {
            match action {
                Action::Up(key, wanted) => delivery.tried(key, wanted, fails.clone(), now),
                Action::Down(key, _) => delivery.removed(&key),
            }
        }
        told
    }

    #[test]
    fn links_come_change_and_go_once_each() {
        let mut first = link("a", "default", "wasi:keyvalue/store", "kv");
        first.target_config = vec!["c".parse().expect("valid")];
        let second = link("b", "default", "wasi:keyvalue/store", "kv");
        let (both, one) = (table(&[first, second.clone()]), table(&[second]));
        let mut delivery = Delivery::default();
        let now = Instant::now();
        let mut check = |links, configs: &Configs, expected: &[&str]| {
            assert_eq!(run(&mut delivery, links, configs, Outcome::Established, now), expected);
        };
        check(&both, &configs(&[("c", "1")]), &["up a Some(\"1\")", "up b None"]);
        check(&both, &configs(&[("c", "1")]), &[]);
        check(&both, &configs(&[("c", "2")]), &["up a Some(\"2\")"]);
        check(&one, &configs(&[("c", "2")]), &["down a"]);
        check(&one, &configs(&[]), &[]);
    }

    #[test]
    fn a_link_that_fails_is_tried_again_later_and_at_once_when_it_changed() {
        let links = table(&[link("a", "default", "wasi:keyvalue/store", "kv")]);
        let mut delivery = Delivery::default();
        let start = Instant::now();
        let mut at = |millis, links: &super::Table| {
            let now = start + Duration::from_millis(millis);
            run(&mut delivery, links, &configs(&[]), Outcome::Failed("no".to_owned()), now).len()
        };
        assert_eq!((at(0, &links), at(999, &links), at(1_000, &links)), (1, 0, 1));
        assert_eq!((at(2_999, &links), at(3_000, &links)), (0, 1), "the wait doubles");
        let mut changed = link("a", "default", "wasi:keyvalue/store", "kv");
        changed.interfaces.push("atomics".to_owned());
        assert_eq!(at(3_001, &table(&[changed])), 1);
        assert_eq!(at(3_002, &table(&[])), 0, "it was never up, so it does not go down");
    }

    #[test]
    fn a_missing_config_fails_the_link_and_leaves_what_is_up() {
        let mut linked = link("a", "default", "wasi:keyvalue/store", "kv");
        linked.target_config = vec!["c".parse().expect("valid")];
        let links = table(&[linked]);
        let mut delivery = Delivery::default();
        let now = Instant::now();
        run(&mut delivery, &links, &configs(&[("c", "1")]), Outcome::Established, now);
        let told = run(&mut delivery, &links, &configs(&[]), Outcome::Failed("no".to_owned()), now);
        assert!(told[0].contains("no such config: c"), "{told:?}");
        assert_eq!(delivery.up().count(), 1);
        assert_eq!(run(&mut delivery, &table(&[]), &configs(&[]), Outcome::Established, now), ["down a"]);
    }

    #[test]
    fn a_provider_is_told_which_end_it_is() {
        let links = table(&[link("http", "default", "wasi:http/incoming-handler", "app")]);
        let roles = |id: &str| {
            let wanted = wanted(&id.parse().expect("valid"), &links, &configs(&[]), &none);
            wanted.into_values().map(|wanted| wanted.ready.expect("no configs").role).collect::<Vec<_>>()
        };
        assert_eq!(roles("http"), [Role::Source]);
        assert_eq!(roles("app"), [Role::Target]);
        assert_eq!(roles("other"), []);
    }

    #[test]
    fn a_link_is_pending_until_its_present_content_was_tried() {
        let mut linked = link("a", "default", "wasi:keyvalue/store", "kv");
        linked.target_config = vec!["c".parse().expect("valid")];
        let links = table(&[linked]);
        let mut delivery = Delivery::default();
        let standing = |delivery: &Delivery, configs: &Configs| {
            let wanted = wanted(&"kv".parse().expect("valid"), &links, configs, &none);
            let (key, wanted) = wanted.first_key_value().expect("one link");
            let told = delivery.standing(key, wanted);
            (told.state, told.reason, told.fingerprint)
        };
        let (one, two) = (configs(&[("c", "1")]), configs(&[("c", "2")]));
        let before = standing(&delivery, &one);
        assert_eq!((before.0, before.1), (LinkState::Pending, None));
        run(&mut delivery, &links, &one, Outcome::Failed("port in use".to_owned()), Instant::now());
        assert_eq!(standing(&delivery, &one), (LinkState::Failed, Some("port in use".to_owned()), before.2.clone()));
        let changed = standing(&delivery, &two);
        assert_eq!(changed.0, LinkState::Pending);
        assert_ne!(changed.2, before.2);
        run(&mut delivery, &links, &two, Outcome::Established, Instant::now());
        assert_eq!(standing(&delivery, &two), (LinkState::Up, None, changed.2));
        assert_eq!(standing(&delivery, &configs(&[])).2, None, "its config is gone");
    }
}
