//! The copy of the catalog in the lattice's store: writing by compare-and-swap, following what others write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tracing::warn;
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::store::{Change, Expect, Revision, SharedStore, Watch};

use super::app::App;
use super::seal::Seal;
use super::shelf::{RECORDS, Shelf, app_of, dropped, manifest_key, record_key};
use crate::intent::AppName;

/// The longest that the store of the lattice is waited for.
const DEADLINE: Duration = Duration::from_secs(2);

/// The mirror, as far as it is known.
#[derive(Debug)]
pub(super) struct Mirror {
    store: SharedStore,
    seal: Arc<Seal>,
    watch: Option<Watch>,
    /// Where each record stands in the store; what the watch has not told yet is not here.
    there: BTreeMap<AppName, Revision>,
    /// Manifests that are known to be there.
    manifests: BTreeSet<String>,
}

/// News of the mirror.
#[derive(Debug)]
pub(super) enum News {
    /// A record that is believed.
    Record(Box<App>),
    /// The record of this application is gone, or cannot be believed: it is to be written again.
    Lost(AppName),
    /// Everything that is there has been told.
    Complete,
    /// Nothing that matters.
    Nothing,
}

/// What came of writing a record.
#[derive(Debug)]
pub(super) enum Written {
    /// It is there.
    Done,
    /// Another one is there, at least as new.
    Newer(Box<App>),
}

impl Mirror {
    pub(super) fn new(store: SharedStore, seal: Arc<Seal>) -> Self {
        Self { store, seal, watch: None, there: BTreeMap::new(), manifests: BTreeSet::new() }
    }

    /// Whether it is followed.
    pub(super) fn is_followed(&self) -> bool {
        self.watch.is_some()
    }

    /// Begins to follow it.
    pub(super) async fn follow(&mut self) -> Result<()> {
        self.forget();
        self.watch = Some(in_time(self.store.watch(RECORDS)).await?);
        Ok(())
    }

    /// Stops following it.
    pub(super) fn leave(&mut self) {
        self.watch = None;
    }

    /// Waits for news; for ever while it is not followed. Cancel safe.
    pub(super) async fn news(&mut self) -> News {
        let Some(watch) = &mut self.watch else { return std::future::pending().await };
        match watch.next().await {
            Some(Change::Put(record)) => {
                let Some(name) = app_of(&record.key) else { return News::Nothing };
                self.there.insert(name.clone(), record.revision);
                match self.seal.open(&name, &record.value) {
                    Ok(app) => News::Record(Box::new(app)),
                    Err(error) => {
                        warn!(error = %error, "record in the store of the lattice not believed");
                        // A wadm that we do not believe may not believe us either: who writes last would never end.
                        if error.kind() == ErrorKind::Unauthorized { News::Nothing } else { News::Lost(name) }
                    }
                }
            }
            Some(Change::Delete(key)) => match app_of(&key) {
                Some(name) => {
                    self.there.remove(&name);
                    self.manifests.clear();
                    News::Lost(name)
                }
                None => News::Nothing,
            },
            Some(Change::Ready) => News::Complete,
            Some(Change::Restart) => {
                self.forget();
                News::Nothing
            }
            None => {
                self.watch = None;
                News::Nothing
            }
        }
    }

    /// The record of `name`, if there is one that is believed.
    pub(super) async fn read(&mut self, name: &AppName) -> Result<Option<App>> {
        let found = in_time(self.store.get(&record_key(name))).await?;
        Ok(found.and_then(|record| self.seal.open(name, &record.value).ok()))
    }

    /// Whether a record of `name` is there, whoever wrote it.
    pub(super) fn has(&self, name: &AppName) -> bool {
        self.there.contains_key(name)
    }

    /// Writes `app` and its manifests, unless a record is there that is at least as new.
    pub(super) async fn write(&mut self, app: &App, shelf: &Shelf) -> Result<Written> {
        for version in &app.versions {
            self.write_manifest(&app.name, &version.digest, shelf).await?;
        }
        let (key, bytes) = (record_key(&app.name), self.seal.close(app));
        let expect = self.there.get(&app.name).map_or(Expect::Absent, |revision| Expect::At(*revision));
        match in_time(self.store.put(&key, bytes.clone(), expect)).await {
            Ok(revision) => {
                self.there.insert(app.name.clone(), revision);
                return Ok(Written::Done);
            }
            Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
            Err(_) => {}
        }
        let found = in_time(self.store.get(&key)).await?;
        let expect = match &found {
            None => Expect::Absent,
            Some(record) => match self.seal.open(&app.name, &record.value) {
                Ok(theirs) if theirs == *app => Expect::At(record.revision),
                Ok(theirs) if is_newer(&theirs, app) || theirs.revision == app.revision => {
                    self.there.insert(app.name.clone(), record.revision);
                    return Ok(Written::Newer(Box::new(theirs)));
                }
                _ => Expect::At(record.revision),
            },
        };
        let revision = in_time(self.store.put(&key, bytes, expect)).await?;
        self.there.insert(app.name.clone(), revision);
        Ok(Written::Done)
    }

    async fn write_manifest(&mut self, app: &AppName, digest: &str, shelf: &Shelf) -> Result<()> {
        if self.manifests.contains(digest) {
            return Ok(());
        }
        // One that is not on the own disk came from the mirror and is there.
        if let Some(json) = shelf.json(app, digest).await? {
            in_time(self.store.put(&manifest_key(app, digest), json, Expect::Any)).await?;
        }
        self.manifests.insert(digest.to_owned());
        Ok(())
    }

    /// Deletes manifests that no version has any more; what fails is left over.
    pub(super) async fn tidy(&mut self, before: &App, after: &App) {
        for digest in dropped(before, after) {
            self.manifests.remove(&digest);
            if let Err(error) = in_time(self.store.delete(&manifest_key(&after.name, &digest), Expect::Any)).await {
                warn!(app = %after.name, error = %error, "manifest left in the store of the lattice");
            }
        }
    }

    fn forget(&mut self) {
        self.there.clear();
        self.manifests.clear();
    }
}

/// Whether `one` holds against `other`: the higher revision; of two wadms that wrote the same one while they did not
/// see each other, the one with the later change, and then any, as long as both wadms choose the same.
pub(super) fn is_newer(one: &App, other: &App) -> bool {
    let rank = |app: &App| {
        let last = app.history.last().map_or(0, |event| event.stamp.at_ms);
        (app.revision, last, serde_json::to_string(app).expect("a record has a JSON form"))
    };
    rank(one) > rank(other)
}

/// The result of `work`, or `Timeout`.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("the store of the lattice did not answer within {DEADLINE:?}");
            Err(Error::new(ErrorKind::Timeout, text))
        }
    }
}
