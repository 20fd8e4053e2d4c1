//! Configs and links of one application, and the ledger that says which of them are its own.

use std::collections::BTreeMap;

use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::link::Link;

use super::action::{Deed, Stage};
use super::desired::{App, WantedLink};
use super::draft::{Draft, For, Proposed};
use crate::intent::AppName;
use crate::observe::{Host, LinkKey, Observed, Owned};

/// What is known of the records that concern one application, and what is wanted of them.
pub(super) struct Records<'r> {
    pub(super) observed: &'r Observed,
    pub(super) who: For<'r>,
    /// `None` for an application that is to be removed.
    pub(super) app: Option<&'r App>,
    /// Whether what is no longer wanted may go now.
    pub(super) may_erase: bool,
}

/// How the links and configs of an application stand: trouble by scaler id; no entry means as desired.
pub(super) type Standing = BTreeMap<String, Standpoint>;

/// How a link or config stands, when not as desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standpoint {
    /// On the way.
    Moving(String),
    /// Waits for something else.
    Waiting(String),
    /// Does not get there by itself.
    Stuck(String),
}

impl Records<'_> {
    /// Proposes what is to be written and deleted. `ready` tells whether a component of this application is.
    pub(super) fn run(&self, draft: &mut Draft<'_>, ready: impl Fn(&EntityId) -> bool) -> Standing {
        let mut standing = Standing::new();
        let Some(ledger) = &self.observed.owned else {
            let is_empty = self.app.is_some_and(|app| app.links.is_empty() && app.configs.is_empty());
            if !is_empty {
                draft.wait(self.who.app, "the ledger of what it made could not be read", None);
            }
            return standing;
        };
        let known = ledger.get(self.who.app);
        let none = Owned::default();
        let mut turn = Turn { records: self, known: known.unwrap_or(&none), adds: Owned::default(), draft };
        turn.put_configs(&mut standing);
        turn.put_links(&mut standing, ready);
        let adds = std::mem::take(&mut turn.adds);
        let erased = self.erase(known.unwrap_or(&none), draft);
        self.record(known, adds, &erased, draft);
        standing
    }

    fn is_wanted_config(&self, name: &ConfigName) -> bool {
        self.app.is_some_and(|app| app.configs.contains_key(name))
    }

    fn is_wanted_link(&self, key: &LinkKey) -> bool {
        self.app.is_some_and(|app| app.links.iter().any(|wanted| LinkKey::of(&wanted.link) == *key))
    }

    /// Writes the ledger when it lacks something that is about to be made, or names what was `erased`.
    fn record(&self, known: Option<&Owned>, adds: Owned, erased: &Owned, draft: &mut Draft<'_>) {
        let before = known.cloned().unwrap_or_default();
        let mut owned = before.clone();
        owned.configs.extend(adds.configs);
        owned.links.extend(adds.links);
        let stage = if owned == before { Stage::Forget } else { Stage::Record };
        if stage == Stage::Forget {
            owned.configs.retain(|name| !erased.configs.contains(name));
            owned.links.retain(|key| !erased.links.contains(key));
        }
        if owned != before {
            draft.propose_at(self.who, stage, Deed::RecordOwned { instead_of: known.cloned(), owned });
        }
    }

    /// Deletes what the ledger names and nobody wants; gives what may be struck from it once that was acknowledged.
    ///
    /// What is not to be seen is deleted as well before it is struck: the store may answer from the past, and what was
    /// struck without having been deleted would stay for ever. And it is not struck before the last put that may be under
    /// way is over.
    fn erase(&self, known: &Owned, draft: &mut Draft<'_>) -> Owned {
        let mut erased = Owned::default();
        let (Some(links), Some(configs)) = (&self.observed.links, &self.observed.configs) else { return erased };
        let unwanted: Vec<&LinkKey> = known.links.iter().filter(|key| !self.is_wanted_link(key)).collect();
        let configs_unwanted: Vec<_> = known.configs.iter().filter(|name| !self.is_wanted_config(name)).collect();
        if unwanted.is_empty() && configs_unwanted.is_empty() {
            return erased;
        }
        if !self.may_erase {
            let reason = "links and configs that are no longer wanted go when the rest is done";
            draft.wait(self.who.app, reason, None);
            return erased;
        }
        let late = draft.late_puts(self.who.app);
        if late.is_some() {
            draft.wait(self.who.app, "links and configs that were put earlier may yet appear", late);
        }
        // Without a host there is nobody to delete anything, and nobody who could have made it.
        let is_answered = self.observed.hosts.values().any(Host::is_here);
        let mut deleted = Vec::new();
        for key in unwanted {
            let is_seen = links.contains_key(key);
            if late.is_some() && !is_seen {
                continue;
            }
            let is_sent = if is_seen || (is_answered && !self.is_replaced(key)) {
                deleted.push(key.clone());
                draft.propose(self.who, Deed::DeleteLink { link: key.clone() }).is_sent()
            } else {
                true
            };
            if is_sent && !is_seen {
                erased.links.insert(key.clone());
            }
        }
        self.restore(&deleted, Stage::Forget, draft);
        for name in configs_unwanted {
            let is_seen = configs.contains_key(name);
            if late.is_some() && !is_seen {
                continue;
            }
            let is_sent = !(is_seen || is_answered)
                || draft.propose(self.who, Deed::DeleteConfig { name: name.clone() }).is_sent();
            if is_sent && !is_seen {
                erased.configs.insert(name.clone());
            }
        }
        erased
    }

    /// Whether a link is gone and another one has, or is to have, its source, name and package: to delete the one would
    /// be to delete the other.
    fn is_replaced(&self, key: &LinkKey) -> bool {
        let Some(links) = &self.observed.links else { return false };
        let mut wanted = self.app.into_iter().flat_map(|app| &app.links).map(|wanted| LinkKey::of(&wanted.link));
        let mut has_heir = || wanted.any(|wanted| wanted.is_sibling_of(key)) || siblings(links, key).next().is_some();
        !links.contains_key(key) && has_heir()
    }

    /// Lattice v1 deletes links by source, name and package, whatever their targets: those to other targets are put
    /// again.
    fn restore(&self, deleted: &[LinkKey], stage: Stage, draft: &mut Draft<'_>) {
        let Some(links) = &self.observed.links else { return };
        let others = deleted.iter().flat_map(|key| siblings(links, key)).filter(|(key, _)| !deleted.contains(key));
        let others: BTreeMap<&LinkKey, &Link> = others.collect();
        for link in others.into_values() {
            draft.propose_at(self.who, stage, Deed::RestoreLink { link: link.clone() });
        }
    }
}

/// One pass over what is wanted.
struct Turn<'t, 'r, 'a> {
    records: &'t Records<'r>,
    known: &'t Owned,
    /// What the ledger has to name before it is made.
    adds: Owned,
    draft: &'t mut Draft<'a>,
}

impl Turn<'_, '_, '_> {
    fn put_configs(&mut self, standing: &mut Standing) {
        let (Some(app), Some(configs)) = (self.records.app, &self.records.observed.configs) else { return };
        for (name, wanted) in &app.configs {
            let standpoint = match configs.get(name) {
                Some(values) if *values == wanted.values => continue,
                Some(_) if !self.known.configs.contains(name) => {
                    let message = format!(
                        "config {name} is there with other content and was not made by this application: delete or rename one"
                    );
                    self.draft.problem(&app.name, &wanted.title, message.as_str());
                    Standpoint::Stuck(message)
                }
                _ => {
                    self.adds.configs.insert(name.clone());
                    let deed = Deed::PutConfig { name: name.clone(), values: wanted.values.clone() };
                    standpoint(self.draft.propose(self.records.who, deed))
                }
            };
            standing.insert(wanted.scaler.clone(), standpoint);
        }
    }

    fn put_links(&mut self, standing: &mut Standing, ready: impl Fn(&EntityId) -> bool) {
        let (Some(app), Some(links)) = (self.records.app, &self.records.observed.links) else { return };
        for wanted in &app.links {
            let key = LinkKey::of(&wanted.link);
            let standpoint = match links.get(&key) {
                Some(link) if *link == wanted.link => continue,
                Some(_) if !self.known.links.contains(&key) => self.foreign(wanted, &key),
                Some(_) => self.put_link(wanted, key),
                None => match missing(&wanted.external, self.records.observed) {
                    Some(message) => {
                        self.draft.problem(&app.name, &wanted.title, message.as_str());
                        Standpoint::Waiting(message)
                    }
                    None => self.make_way(wanted, key, links, &ready),
                },
            };
            standing.insert(wanted.scaler.clone(), standpoint);
        }
    }

    fn foreign(&mut self, wanted: &WantedLink, key: &LinkKey) -> Standpoint {
        let others = self.records.observed.owned.iter().flatten();
        let other = others.into_iter().find(|(_, owned)| owned.links.contains(key)).map(|(name, _)| name);
        let whose = other.map_or_else(|| "was put by hand".to_owned(), |name| format!("belongs to {name}"));
        let message =
            format!("link {key} is there with other content and {whose}: delete it or name this one differently");
        self.draft.problem(self.records.who.app, &wanted.title, message.as_str());
        Standpoint::Stuck(message)
    }

    /// A link to one target excludes one to another target with the same source, name and interface. When that is
    /// our own from before, it goes once the new target is ready.
    fn make_way(
        &mut self,
        wanted: &WantedLink,
        key: LinkKey,
        links: &BTreeMap<LinkKey, Link>,
        ready: impl Fn(&EntityId) -> bool,
    ) -> Standpoint {
        for (other_key, other) in siblings(links, &key) {
            if !other.interfaces.iter().any(|interface| wanted.link.interfaces.contains(interface)) {
                continue;
            }
            if !self.known.links.contains(other_key) {
                return self.foreign(wanted, other_key);
            }
            if self.records.is_wanted_link(other_key) {
                let message = format!("it excludes link {other_key} of the same application: give one of them a name");
                self.draft.problem(self.records.who.app, &wanted.title, message.as_str());
                return Standpoint::Stuck(message);
            }
            if !ready(&wanted.link.target) {
                let message = format!("it replaces link {other_key} when {} is ready", wanted.link.target);
                self.draft.wait(self.records.who.app, message.as_str(), None);
                return Standpoint::Moving(message);
            }
            let deed = Deed::DeleteLink { link: other_key.clone() };
            let proposed = self.draft.propose_at(self.records.who, Stage::Unlink, deed);
            if let Some(trouble) = proposed.trouble() {
                return Standpoint::Moving(trouble.to_owned());
            }
            self.records.restore(std::slice::from_ref(other_key), Stage::Link, self.draft);
        }
        self.put_link(wanted, key)
    }

    fn put_link(&mut self, wanted: &WantedLink, key: LinkKey) -> Standpoint {
        self.adds.links.insert(key);
        standpoint(self.draft.propose(self.records.who, Deed::PutLink { link: wanted.link.clone() }))
    }
}

fn standpoint(proposed: Proposed) -> Standpoint {
    match proposed {
        Proposed::Planned | Proposed::Underway => Standpoint::Moving(String::new()),
        Proposed::Held(reason) => Standpoint::Moving(reason),
        Proposed::GivenUp(reason) => Standpoint::Stuck(reason),
    }
}

/// Links with the same source, name and package as `key`, to other targets.
fn siblings<'l>(links: &'l BTreeMap<LinkKey, Link>, key: &LinkKey) -> impl Iterator<Item = (&'l LinkKey, &'l Link)> {
    let first = EntityId::parse("-").expect("`-` is the least id there is");
    let start = LinkKey { target: first, ..key.clone() };
    let key = key.clone();
    links
        .range(start..)
        .map_while(move |(other, link)| key.is_sibling_of(other).then_some((*other != key).then_some((other, link))))
        .flatten()
}

/// What is missing of configs that others manage, and the way out.
pub(super) fn missing(external: &[ConfigName], observed: &Observed) -> Option<String> {
    let configs = observed.configs.as_ref()?;
    let missing: Vec<&str> =
        external.iter().filter(|name| !configs.contains_key(*name)).map(ConfigName::as_str).collect();
    (!missing.is_empty()).then(|| {
        let names = missing.join(", ");
        format!(
            "config {names} does not exist and is managed elsewhere: put it, or give it `properties` in the manifest"
        )
    })
}

/// Whether an application has nothing in its ledger that still exists.
pub(super) fn is_clean(observed: &Observed, app: &AppName) -> bool {
    observed
        .owned
        .as_ref()
        .is_some_and(|ledger| ledger.get(app).is_none_or(|owned| owned.links.is_empty() && owned.configs.is_empty()))
}
