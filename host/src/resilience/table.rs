//! The guards of all links that have a policy.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::{LinkBreaker, LinkTraffic};
use trellis_lattice::message::invocation::Head;
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{Policy, says_something};

use super::guard::Guard;
use crate::links;
use crate::records::{Configs, merge_with_policies};

/// The guards of links that have a policy, at one moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Guards(HashMap<EntityId, HashMap<LinkName, Vec<Guarded>>>);

#[derive(Debug, Clone)]
struct Guarded {
    link: Arc<Link>,
    guard: Arc<Guard>,
}

impl Guards {
    /// The guards of `links`. A link whose policy is the same as in `before` keeps its guard with what it counted; so
    /// does one whose policy cannot be read, which `complain` is told.
    pub(crate) fn new(
        links: &links::Table,
        configs: &Configs,
        before: &Self,
        mut complain: impl FnMut(&Link, &str),
    ) -> Self {
        let mut guards = Self::default();
        for entry in links.iter() {
            let link = &entry.link;
            let known = before.of(link);
            let guard = match policy(link, configs) {
                Ok(None) => continue,
                Ok(Some(policy)) => {
                    let same = known.filter(|guard| *guard.policy() == policy).cloned();
                    same.unwrap_or_else(|| Arc::new(Guard::new(link, policy)))
                }
                Err(error) => {
                    complain(link, &error);
                    let Some(known) = known else { continue };
                    Arc::clone(known)
                }
            };
            guards.push(Guarded { link: Arc::clone(link), guard });
        }
        guards
    }

    /// The same with a guard for `link`, which has `policy`; if it had that before, it keeps what it counted.
    pub(super) fn with(&self, link: &Link, policy: Policy) -> Self {
        let known = self.of(link).filter(|guard| *guard.policy() == policy).cloned();
        let guard = known.unwrap_or_else(|| Arc::new(Guard::new(link, policy)));
        let mut guards = self.without(link);
        guards.push(Guarded { link: Arc::new(link.clone()), guard });
        guards
    }

    /// The same without a guard for `link`.
    pub(super) fn without(&self, link: &Link) -> Self {
        let mut guards = self.clone();
        if let Some(of_name) = guards.0.get_mut(&link.source_id).and_then(|names| names.get_mut(&link.name)) {
            of_name.retain(|guarded| !guarded.is_of(link));
        }
        guards
    }

    fn push(&mut self, guarded: Guarded) {
        let names = self.0.entry(guarded.link.source_id.clone()).or_default();
        names.entry(guarded.link.name.clone()).or_default().push(guarded);
    }

    /// The guard of the link that a call goes over; with no policy in the lattice, that costs a comparison.
    pub(crate) fn find(&self, head: &Head) -> Option<Arc<Guard>> {
        if self.0.is_empty() {
            return None;
        }
        let guarded = self.0.get(&head.source)?.get(&head.link)?;
        let is_it = |guarded: &&Guarded| guarded.link.target == head.target && guarded.link.covers(&head.interface);
        guarded.iter().find(is_it).map(|guarded| Arc::clone(&guarded.guard))
    }

    /// The breakers that do not let calls pass as usual, in the order of their links.
    pub(crate) fn troubles(&self, now: Instant) -> Vec<LinkBreaker> {
        let all = self.0.values().flat_map(HashMap::values).flatten();
        let mut troubles: Vec<_> = all.filter_map(|guarded| guarded.trouble(now)).collect();
        let key = |breaker: &LinkBreaker| (breaker.source_id.clone(), breaker.name.clone(), breaker.target.clone());
        troubles.sort_by_cached_key(key);
        troubles
    }

    /// The links over which calls are in flight, in the order of their links.
    pub(crate) fn traffic(&self) -> Vec<LinkTraffic> {
        let all = self.0.values().flat_map(HashMap::values).flatten();
        let mut traffic: Vec<_> = all.filter_map(Guarded::traffic).collect();
        let key = |traffic: &LinkTraffic| (traffic.source_id.clone(), traffic.name.clone(), traffic.target.clone());
        traffic.sort_by_cached_key(key);
        traffic
    }

    fn of(&self, link: &Link) -> Option<&Arc<Guard>> {
        let guarded = self.0.get(&link.source_id)?.get(&link.name)?.iter().find(|guarded| guarded.is_of(link))?;
        Some(&guarded.guard)
    }
}

impl Guarded {
    /// Whether it guards `link`, which may have got other interfaces and configs.
    fn is_of(&self, link: &Link) -> bool {
        let known = &self.link;
        known.target == link.target
            && known.wit_namespace == link.wit_namespace
            && known.wit_package == link.wit_package
    }

    fn traffic(&self) -> Option<LinkTraffic> {
        let (in_flight, limit) = self.guard.in_flight();
        let Link { source_id, target, name, wit_namespace, wit_package, .. } = &*self.link;
        (in_flight > 0).then(|| LinkTraffic {
            source_id: source_id.clone(),
            target: target.clone(),
            name: name.clone(),
            wit_namespace: wit_namespace.clone(),
            wit_package: wit_package.clone(),
            in_flight,
            limit,
        })
    }

    fn trouble(&self, now: Instant) -> Option<LinkBreaker> {
        let state = self.guard.trouble(now)?;
        let Link { source_id, target, name, wit_namespace, wit_package, .. } = &*self.link;
        Some(LinkBreaker {
            source_id: source_id.clone(),
            target: target.clone(),
            name: name.clone(),
            wit_namespace: wit_namespace.clone(),
            wit_package: wit_package.clone(),
            state,
        })
    }
}

/// The policy of a link, if it has one.
fn policy(link: &Link, configs: &Configs) -> Result<Option<Policy>, String> {
    let says = |config: &Arc<StringMap>| says_something(config);
    if !link.source_config.iter().filter_map(|name| configs.get(name)).any(says) {
        return Ok(None);
    }
    let config = merge_with_policies(configs, &link.source_config).map_err(|error| error.to_string())?;
    Policy::of_config(&config).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use trellis_lattice::message::invocation::{Context, Encoding, Head};
    use trellis_lattice::message::link::Link;

    use super::{Configs, Guard, Guards};
    use crate::links::tests::{link, table};

    #[test]
    fn a_policy_that_many_links_name_holds_for_each_of_them_by_itself() {
        let named = |source: &str, more: &[&str]| {
            let names = ["POLICY_careful"].iter().chain(more).map(|name| name.parse().expect("valid"));
            Link { source_config: names.collect(), ..link(source, "default", "wasi:keyvalue/store", "kv") }
        };
        let links = table(&[named("a", &[]), named("b", &["own"])]);
        let configs = |retries: &str| {
            let config = |key: &str, value: &str| Arc::new([(key.to_owned(), value.to_owned())].into());
            let policy = ("POLICY_careful".parse().expect("valid"), config("retries", retries));
            Configs::from([policy, ("own".parse().expect("valid"), config("timeout", "1s"))])
        };
        let none = |link: &Link, error: &str| panic!("{link:?}: {error}");
        let of = |guards: &Guards, source: &str| guards.of(&named(source, &[])).cloned().expect("guarded");
        let first = Guards::new(&links, &configs("1"), &Guards::default(), none);
        let (a, b) = (of(&first, "a"), of(&first, "b"));
        assert!(!Arc::ptr_eq(&a, &b));
        assert_eq!((a.policy().retries.most, b.policy().retries.most), (1, 1));
        assert_eq!((a.policy().timeout, b.policy().timeout), (None, Some(Duration::from_secs(1))));
        let changed = Guards::new(&links, &configs("2"), &first, none);
        assert_eq!(of(&changed, "a").policy().retries.most, 2, "all links follow the policy");
        assert_eq!(of(&changed, "b").policy().retries.most, 2);
    }

    fn configs(retries: &str) -> Configs {
        let config = [("retries".to_owned(), retries.to_owned())].into();
        Configs::from([("c".parse().expect("valid"), Arc::new(config))])
    }

    fn guarded() -> Link {
        Link { source_config: vec!["c".parse().expect("valid")], ..link("a", "default", "wasi:keyvalue/store", "kv") }
    }

    /// Of a call of `a` to `kv` over its default link.
    pub(crate) fn head(interface: &str) -> Head {
        Head {
            id: uuid::Uuid::nil(),
            source: "a".parse().expect("valid"),
            target: "kv".parse().expect("valid"),
            link: Default::default(),
            interface: interface.parse().expect("valid"),
            function: "get".into(),
            signature: None,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch: 0,
            context: Context::root(Duration::from_secs(1)),
        }
    }

    fn found(guards: &Guards, interface: &str) -> Option<Arc<Guard>> {
        guards.find(&head(interface))
    }

    #[test]
    fn a_guard_lasts_as_long_as_its_policy() {
        let links = table(&[guarded(), link("a", "default", "wasi:blobstore/store", "kv")]);
        let none = |link: &Link, error: &str| panic!("{link:?}: {error}");
        let first = Guards::new(&links, &configs("1"), &Guards::default(), none);
        let guard = found(&first, "wasi:keyvalue/store@0.2.0-draft").expect("guarded");
        assert!(found(&first, "wasi:blobstore/store").is_none(), "another link");

        let mut more = guarded();
        more.interfaces.push("atomics".to_owned());
        let same = Guards::new(&table(&[more]), &configs("1"), &first, none);
        assert!(Arc::ptr_eq(&found(&same, "wasi:keyvalue/atomics").expect("guarded"), &guard));

        let mut complaints = Vec::new();
        let wrong = Guards::new(&links, &configs("many"), &same, |_, error| complaints.push(error.to_owned()));
        assert!(complaints[0].contains("\"retries\" is \"many\""), "{complaints:?}");
        assert!(Arc::ptr_eq(&found(&wrong, "wasi:keyvalue/store").expect("as before"), &guard));

        let other = Guards::new(&links, &configs("2"), &wrong, none);
        assert!(!Arc::ptr_eq(&found(&other, "wasi:keyvalue/store").expect("guarded"), &guard));
        assert!(found(&Guards::new(&links, &Configs::new(), &other, none), "wasi:keyvalue/store").is_none());
    }
}
