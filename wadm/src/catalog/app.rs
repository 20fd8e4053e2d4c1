//! The record of one application, and what changes it. Pure: time comes in with a [`Stamp`].

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::intent::AppName;

/// So many versions are kept; of more, the oldest that is not deployed goes.
const MOST_VERSIONS: usize = 100;
/// So much of what happened is kept.
const MOST_EVENTS: usize = 200;

/// An application: its versions, which one is deployed, what happened. Without versions it is deleted, and stays to
/// tell so to those who missed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Grows with every change; of two copies the higher one holds.
    pub revision: u64,
    /// Grows with every deploy and undeploy; 0 when there was none yet.
    pub generation: u64,
    /// The name of the version that is to run.
    pub deployed: Option<String>,
    /// In the order in which they were put.
    pub versions: Vec<Version>,
    /// The last things that happened, oldest first.
    pub history: Vec<Event>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// What its manifest is stored by: the hash of its content.
    pub digest: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who did it, when and why.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// What.
    pub what: Deed,
    /// Of which version, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The generation since then.
    pub generation: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as the operations that do it")]
pub enum Deed {
    Put,
    Deploy,
    Undeploy,
    Rollback,
    Delete,
}

/// Who does something, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as they call themselves.
    pub who: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Stamp {
    /// `who`, now.
    pub fn now(who: impl Into<String>) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let who = who.into().chars().take(200).collect();
        Self { at_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), who, why: String::new() }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(mut self, why: &str) -> Self {
        self.why = why.chars().take(500).collect();
        self
    }
}

impl App {
    /// One that nothing happened to yet.
    pub(super) fn new(name: AppName) -> Self {
        Self { name, revision: 0, generation: 0, deployed: None, versions: Vec::new(), history: Vec::new() }
    }

    /// Whether it has no versions any more.
    pub fn is_deleted(&self) -> bool {
        self.versions.is_empty()
    }

    /// The version that was put last.
    pub fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The version of this name; `latest` and none mean the last one.
    pub fn version(&self, name: Option<&str>) -> Option<&Version> {
        match name {
            None | Some("" | "latest") => self.latest(),
            Some(name) => self.versions.iter().find(|version| version.name == name),
        }
    }

    /// Adds a version; whether it is new.
    pub(super) fn put(&mut self, version: Version, stamp: Stamp) -> Result<(), Refusal> {
        if let Some(there) = self.versions.iter().find(|there| there.name == version.name) {
            return match there.digest == version.digest {
                true => Ok(()),
                false => Err(Refusal::conflict(format!(
                    "version {} of application {} is there already with other content: name the new one differently",
                    version.name, self.name
                ))),
            };
        }
        self.note(stamp, Deed::Put, Some(&version.name));
        self.versions.push(version);
        while self.versions.len() > MOST_VERSIONS {
            let oldest = self.versions.iter().position(|version| self.deployed.as_ref() != Some(&version.name));
            self.versions.remove(oldest.expect("only one of them is deployed"));
        }
        Ok(())
    }

    /// Deploys a version, again if it is deployed: with a new generation, so that what was given up is tried again.
    pub(super) fn deploy(&mut self, version: Option<&str>, stamp: Stamp, what: Deed) -> Result<String, Refusal> {
        let Some(found) = self.version(version) else {
            return Err(self.no_version(version.unwrap_or("latest")));
        };
        let name = found.name.clone();
        self.deployed = Some(name.clone());
        self.generation += 1;
        self.note(stamp, what, Some(&name));
        Ok(name)
    }

    /// Deploys an earlier version: `to`, or the one that was deployed before this one.
    pub(super) fn roll_back(
        &mut self,
        to: Option<&str>,
        from_generation: Option<u64>,
        stamp: Stamp,
    ) -> Result<String, Refusal> {
        if let Some(generation) = from_generation.filter(|generation| *generation != self.generation) {
            let (name, now) = (&self.name, self.generation);
            let message = format!("application {name} is at generation {now}, not at {generation} any more");
            return Err(Refusal::overtaken(message));
        }
        let to = match to {
            Some(to) => to.to_owned(),
            None => self.before().ok_or_else(|| {
                let message = format!("application {} was never deployed in another version that is there", self.name);
                Refusal::conflict(message)
            })?,
        };
        self.deploy(Some(&to), stamp, Deed::Rollback)
    }

    /// The version that was deployed before the one that is, or was last.
    fn before(&self) -> Option<String> {
        let deploys = self.history.iter().rev().filter(|event| matches!(event.what, Deed::Deploy | Deed::Rollback));
        let mut versions = deploys.filter_map(|event| event.version.as_ref());
        let now = self.deployed.clone().or_else(|| versions.next().cloned())?;
        versions.find(|name| **name != now && self.version(Some(name)).is_some()).cloned()
    }

    /// Nothing of it is to run any more. Changes nothing when that is so already.
    pub(super) fn undeploy(&mut self, stamp: Stamp) -> Result<(), Refusal> {
        if self.is_deleted() {
            return Err(Refusal::not_found(format!("there is no application {}", self.name)));
        }
        if let Some(version) = self.deployed.take() {
            self.generation += 1;
            self.note(stamp, Deed::Undeploy, Some(&version));
        }
        Ok(())
    }

    /// Deletes a version, or all; whether it was there, and whether it was deployed.
    pub(super) fn delete(&mut self, version: Option<&str>, stamp: Stamp) -> Deleted {
        let before = self.versions.len();
        self.versions.retain(|there| version.is_some_and(|version| there.name != version));
        if self.versions.len() == before {
            return Deleted::Nothing;
        }
        let was_deployed =
            self.deployed.take_if(|deployed| version.is_none_or(|version| version == deployed)).is_some();
        if was_deployed {
            self.generation += 1;
        }
        self.note(stamp, Deed::Delete, version);
        if was_deployed { Deleted::Deployed } else { Deleted::Idle }
    }

    fn note(&mut self, stamp: Stamp, what: Deed, version: Option<&str>) {
        let version = version.map(str::to_owned);
        self.history.push(Event { stamp, what, version, generation: self.generation });
        let excess = self.history.len().saturating_sub(MOST_EVENTS);
        self.history.drain(..excess);
    }

    /// That it has no version of that name.
    pub(crate) fn no_version(&self, version: &str) -> Refusal {
        let name = &self.name;
        match self.is_deleted() {
            true => Refusal::not_found(format!("there is no application {name}: put a manifest first")),
            false => {
                let known: Vec<&str> = self.versions.iter().map(|version| version.name.as_str()).collect();
                let shown: String = version.chars().take(64).collect();
                let message = format!("application {name} has no version {shown}: it has {}", known.join(", "));
                Refusal::not_found(message)
            }
        }
    }
}

/// What deleting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    /// There was nothing.
    Nothing,
    /// It was not deployed.
    Idle,
    /// It was deployed and is not any more.
    Deployed,
}

#[cfg(test)]
mod tests {
    use super::{App, Deed, Deleted, MOST_VERSIONS, Stamp, Version};
    use crate::catalog::RefusalKind;
    use crate::intent::AppName;

    fn stamp() -> Stamp {
        Stamp { at_ms: 1, who: "me".to_owned(), why: String::new() }
    }

    fn app(versions: &[&str]) -> App {
        let mut app = App::new(AppName::parse("shop").expect("valid"));
        for name in versions {
            app.put(version(name, name), stamp()).expect("new");
        }
        app
    }

    fn version(name: &str, digest: &str) -> Version {
        Version { name: name.to_owned(), digest: digest.to_owned(), description: None }
    }

    #[test]
    fn a_version_with_other_content_is_refused_and_the_same_changes_nothing() {
        let mut app = app(&["v1"]);
        let before = app.clone();
        app.put(version("v1", "v1"), stamp()).expect("the same");
        assert_eq!(app, before);
        let refused = app.put(version("v1", "other"), stamp()).expect_err("other content");
        assert_eq!(refused.kind(), RefusalKind::Conflict);
        assert_eq!(app, before);
    }

    #[test]
    fn every_deploy_and_undeploy_makes_a_generation() {
        let mut app = app(&["v1", "v2"]);
        assert_eq!(app.deploy(None, stamp(), Deed::Deploy), Ok("v2".to_owned()));
        assert_eq!(app.deploy(Some("v1"), stamp(), Deed::Deploy), Ok("v1".to_owned()));
        assert_eq!(app.deploy(Some("latest"), stamp(), Deed::Deploy), Ok("v2".to_owned()));
        app.undeploy(stamp()).expect("there");
        assert_eq!((app.generation, app.deployed.clone()), (4, None));
        app.undeploy(stamp()).expect("there");
        assert_eq!(app.generation, 4, "nothing was deployed");
        assert_eq!(app.deploy(Some("v3"), stamp(), Deed::Deploy).expect_err("unknown").kind(), RefusalKind::NotFound);
    }

    #[test]
    fn rolling_back_takes_the_version_that_ran_before() {
        let mut app = app(&["v1", "v2", "v3"]);
        assert_eq!(app.roll_back(None, None, stamp()).expect_err("never deployed").kind(), RefusalKind::Conflict);
        for version in ["v1", "v3", "v3"] {
            app.deploy(Some(version), stamp(), Deed::Deploy).expect("there");
        }
        assert_eq!(app.roll_back(None, Some(2), stamp()).expect_err("old").kind(), RefusalKind::Overtaken);
        assert_eq!(app.roll_back(None, Some(3), stamp()), Ok("v1".to_owned()));
        assert_eq!(app.generation, 4);
        app.undeploy(stamp()).expect("there");
        assert_eq!(app.roll_back(None, None, stamp()), Ok("v3".to_owned()), "v1 was the last one");
    }

    #[test]
    fn deleting_what_is_deployed_undeploys_it_and_leaves_a_tombstone() {
        let mut app = app(&["v1", "v2"]);
        app.deploy(Some("v1"), stamp(), Deed::Deploy).expect("there");
        assert_eq!(app.delete(Some("v9"), stamp()), Deleted::Nothing);
        assert_eq!(app.delete(Some("v2"), stamp()), Deleted::Idle);
        assert_eq!((app.generation, app.deployed.as_deref()), (1, Some("v1")));
        assert_eq!(app.delete(None, stamp()), Deleted::Deployed);
        assert_eq!((app.generation, app.deployed.as_deref(), app.is_deleted()), (2, None, true));
        assert_eq!(app.delete(None, stamp()), Deleted::Nothing);
        assert_eq!(app.undeploy(stamp()).expect_err("deleted").kind(), RefusalKind::NotFound);
    }

    #[test]
    fn the_oldest_versions_go_but_never_the_one_that_is_deployed() {
        let mut app = app(&["first"]);
        app.deploy(None, stamp(), Deed::Deploy).expect("there");
        for i in 0..MOST_VERSIONS {
            app.put(version(&format!("v{i}"), "x"), stamp()).expect("new");
        }
        assert_eq!(app.versions.len(), MOST_VERSIONS);
        assert!(app.version(Some("first")).is_some() && app.version(Some("v0")).is_none());
    }
}
