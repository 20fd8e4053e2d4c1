//! Changing the records: every write says what it expects to find, so that concurrent writers lose nothing.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use trellis_lattice::error::ErrorKind as LatticeErrorKind;
use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::{DeleteLink, StringMap};
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{Policy, name_of, says_something};
use trellis_lattice::secrets::{Reference, is_reference};
use trellis_lattice::store::{Expect, Record, Revision};

use super::{Configs, Records, STORE_TIMEOUT, key, merge_with_policies, missing_configs};
use crate::error::{Error, ErrorKind, Result};
use crate::links;

/// How often a write is tried again when another writer was first.
const ATTEMPTS: usize = 8;

impl Records {
    /// Writes `link`; the same link again changes its interfaces and configs.
    ///
    /// # Errors
    /// `Config` when it names no valid interface, or what its source's side says of calls cannot be read; `NotFound` when
    /// a named config is missing, `Refused` when another link of that source and name leads one of its interfaces
    /// elsewhere.
    pub(crate) async fn put_link(&self, link: &Link) -> Result<()> {
        if let Some(defect) = links::defect(link) {
            return Err(Error::new(ErrorKind::Config, defect));
        }
        if let Some(policy) = link.target_config.iter().find_map(name_of) {
            let message = format!(
                "link {} of {} names policy {policy} at its target's side: how calls behave is said at the source's",
                link.name, link.source_id
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.require_configs(link.target_config.iter()).await?;
        let source = self.require_configs(link.source_config.iter()).await?;
        check(link, &source.into_iter().flatten().collect())?;
        for _ in 0..ATTEMPTS {
            if let Some(revision) = self.try_put_link(link).await? {
                return self.withdraw_if_second(link, revision).await;
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("link {} of {} is being written by others", link.name, link.source_id),
        ))
    }

    /// One attempt; `None` when another writer was first.
    async fn try_put_link(&self, link: &Link) -> Result<Option<Revision>> {
        let siblings = self.siblings(link).await?;
        if let Some(other) = links::conflict(siblings.iter().map(|(_, link)| link), link) {
            return Err(conflicting(link, other));
        }
        let key = key::link(link);
        let current = siblings.iter().find(|(record, _)| record.key == key);
        let expect = match current {
            Some((record, known)) if known == link => return Ok(Some(record.revision)),
            Some((record, _)) => Expect::At(record.revision),
            None => Expect::Absent,
        };
        match within("write a link", self.store.put(&key, json(link), expect)).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Two links that exclude each other may be written at once, each by a writer that did not see the other: the
    /// one with the later revision goes.
    async fn withdraw_if_second(&self, link: &Link, revision: Revision) -> Result<()> {
        let siblings = self.siblings(link).await?;
        let earlier = siblings.iter().filter(|(record, _)| record.revision < revision).map(|(_, link)| link);
        let Some(other) = links::conflict(earlier, link) else { return Ok(()) };
        let withdrawn = within("withdraw a link", self.store.delete(&key::link(link), Expect::At(revision))).await;
        match withdrawn {
            Err(error) if !is_conflict(&error) => Err(error),
            _ => Err(conflicting(link, other)),
        }
    }

    /// All links with the source, name and package of `link`.
    async fn siblings(&self, link: &Link) -> Result<Vec<(Record, Link)>> {
        let prefix = key::links_of(&link.source_id, &link.name, &link.wit_namespace, &link.wit_package);
        self.links_under(&prefix).await
    }

    async fn links_under(&self, prefix: &str) -> Result<Vec<(Record, Link)>> {
        let records = within("read links", self.store.list(prefix)).await?;
        let parsed = records.into_iter().filter_map(|record| {
            let link = serde_json::from_slice(&record.value).ok()?;
            Some((record, link))
        });
        Ok(parsed.collect())
    }

    /// All links, as the store has them.
    pub(crate) async fn list_links(&self) -> Result<Vec<Link>> {
        Ok(self.links_under(key::LINKS).await?.into_iter().map(|(_, link)| link).collect())
    }

    /// Deletes the links that `which` means, and returns them. None is a success.
    pub(crate) async fn delete_links(&self, which: &DeleteLink) -> Result<Vec<Link>> {
        let prefix = key::links_of(&which.source_id, &which.name, &which.wit_namespace, &which.wit_package);
        let found = self.links_under(&prefix).await?;
        for (record, _) in &found {
            within("delete a link", self.store.delete(&record.key, Expect::Any)).await?;
        }
        Ok(found.into_iter().map(|(_, link)| link).collect())
    }

    /// The configs `names`, in order.
    async fn require_configs(&self, names: impl Iterator<Item = &ConfigName>) -> Result<Vec<StringMap>> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.get_config(name).await? {
                Some(config) => found.push(config),
                None => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(Error::new(ErrorKind::NotFound, missing_configs(&missing))) }
    }

    /// The config `name`, as the store has it.
    pub(crate) async fn get_config(&self, name: &ConfigName) -> Result<Option<StringMap>> {
        let record = within("read a config", self.store.get(&key::config(name))).await?;
        let parse = |record: Record| {
            serde_json::from_slice(&record.value).map_err(|error| {
                let message = format!("the record of config {name} is damaged; put it again");
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })
        };
        record.map(parse).transpose()
    }

    /// Writes the config `name`; the last writer wins. Actors of this host see it at their next call.
    ///
    /// # Errors
    /// `Config` when it is to be a reference to a secret or a policy and cannot be read, or when a link that this host
    /// knows has it at its source's side and could not be read with it.
    pub(crate) async fn put_config(&self, name: &ConfigName, config: &StringMap) -> Result<()> {
        if let Some(policy) = name_of(name) {
            let invalid = |error| Error::new(ErrorKind::Config, format!("policy {policy}: {error}"));
            Policy::parse(config).map_err(invalid)?;
        }
        if says_something(config) {
            self.check_users(name, config)?;
        }
        if is_reference(name) {
            let invalid = |error: trellis_lattice::error::Error| Error::new(ErrorKind::Config, error.to_string());
            Reference::parse(name, config).map_err(invalid)?;
        }
        within("write a config", self.store.put(&key::config(name), json(config), Expect::Any)).await?;
        self.until_seen(|view| view.configs().get(name).is_some_and(|seen| **seen == *config)).await;
        Ok(())
    }

    fn check_users(&self, name: &ConfigName, config: &StringMap) -> Result<()> {
        let mut configs = Configs::clone(&self.view.configs());
        configs.insert(name.clone(), Arc::new(config.clone()));
        for entry in self.view.links().iter().filter(|entry| entry.link.source_config.contains(name)) {
            // One that lacks another config says so itself.
            if let Ok(merged) = merge_with_policies(&configs, &entry.link.source_config) {
                check(&entry.link, &merged)?;
            }
        }
        Ok(())
    }

    /// Deletes the config `name`. That it is not there is a success.
    pub(crate) async fn delete_config(&self, name: &ConfigName) -> Result<()> {
        within("delete a config", self.store.delete(&key::config(name), Expect::Any)).await
    }

    /// Keeps what the claims of `subject`, a public nkey, say, for `claims.get`.
    pub(crate) async fn put_claims(&self, subject: &str, claims: &StringMap) -> Result<()> {
        let key = key::claims(subject);
        let value = json(claims);
        let current = within("read claims", self.store.get(&key)).await?;
        if current.is_some_and(|record| record.value == value) {
            return Ok(());
        }
        within("write claims", self.store.put(&key, value, Expect::Any)).await.map(drop)
    }

    /// All claims that hosts of this lattice have seen.
    pub(crate) async fn list_claims(&self) -> Result<Vec<StringMap>> {
        let records = within("read claims", self.store.list(key::CLAIMS)).await?;
        Ok(records.iter().filter_map(|record| serde_json::from_slice(&record.value).ok()).collect())
    }
}

/// Whether `config` of its source's side says of a link what can be read.
fn check(link: &Link, config: &StringMap) -> Result<()> {
    let of_link = |error| Error::new(ErrorKind::Config, format!("link {} of {}: {error}", link.name, link.source_id));
    Policy::of_config(config).map(drop).map_err(of_link)
}

fn conflicting(wanted: &Link, other: &Link) -> Error {
    let message = format!(
        "link {} of {} already leads {}:{}/{} to {}; delete that link first, or give this one another name",
        other.name,
        other.source_id,
        other.wit_namespace,
        other.wit_package,
        wanted.interfaces.iter().find(|name| other.interfaces.contains(name)).map_or("", String::as_str),
        other.target
    );
    Error::new(ErrorKind::Refused, message)
}

pub(super) fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("maps of strings and links have a JSON form").into()
}

pub(super) fn is_conflict(error: &Error) -> bool {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<trellis_lattice::error::Error>());
    source.is_some_and(|source| source.kind() == LatticeErrorKind::Conflict)
}

/// Waits for one operation on the store, which is outside.
pub(super) async fn within<T>(
    what: &str,
    operation: impl Future<Output = trellis_lattice::error::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(STORE_TIMEOUT, operation).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Unavailable, format!("cannot {what}: {error}")).with_source(error)),
        Err(_) => {
            let message = format!("cannot {what}: the store did not answer within {} s", STORE_TIMEOUT.as_secs());
            Err(Error::new(ErrorKind::Unavailable, message))
        }
    }
}
