//! The own disk: records and manifests by their keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tracing::error;
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::store::{Expect, Key, SharedStore};

use super::app::App;
use super::manifest::Stored;
use super::mirror::in_time;
use super::seal::Seal;
use crate::intent::AppName;
use crate::manifest::Manifest;

/// Under this, with the application's name, are the records.
pub(super) const RECORDS: &str = "wadm/app/";
const MANIFESTS: &str = "wadm/manifest/";

/// The own disk, and the mirror to look for manifests that are not on it.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    own: SharedStore,
    mirror: Option<SharedStore>,
    seal: Arc<Seal>,
}

impl Shelf {
    pub(super) fn new(own: SharedStore, mirror: Option<SharedStore>, seal: Arc<Seal>) -> Self {
        Self { own, mirror, seal }
    }

    /// All records that are believed; the others are logged.
    pub(super) async fn records(&self) -> Result<BTreeMap<AppName, App>> {
        let mut apps = BTreeMap::new();
        for record in self.own.list(RECORDS).await? {
            let Some(name) = app_of(&record.key) else { continue };
            match self.seal.open(&name, &record.value) {
                Ok(app) => drop(apps.insert(name, app)),
                Err(error) => {
                    error!(error = %error, "record on the own disk not believed; its application is left alone")
                }
            }
        }
        Ok(apps)
    }

    /// Writes a record; it is on the disk when this returns.
    pub(super) async fn save(&self, app: &App) -> Result<()> {
        self.own.put(&record_key(&app.name), self.seal.close(app), Expect::Any).await.map(drop)
    }

    /// Writes a manifest; it is on the disk when this returns.
    pub(super) async fn save_manifest(&self, app: &AppName, digest: &str, json: &Bytes) -> Result<()> {
        self.own.put(&manifest_key(app, digest), json.clone(), Expect::Any).await.map(drop)
    }

    /// Deletes manifests that no version of `after` has and one of `before` had.
    pub(super) async fn tidy(&self, before: &App, after: &App) -> Result<()> {
        for digest in dropped(before, after) {
            self.own.delete(&manifest_key(&after.name, &digest), Expect::Any).await?;
        }
        Ok(())
    }

    /// The stored form of a manifest, from the own disk.
    pub(super) async fn json(&self, app: &AppName, digest: &str) -> Result<Option<Bytes>> {
        Ok(self.own.get(&manifest_key(app, digest)).await?.map(|record| record.value))
    }

    /// A manifest, from the own disk or else from the mirror, from where it is taken to the own disk.
    pub(super) async fn manifest(&self, app: &AppName, digest: &str) -> Result<Arc<Manifest>> {
        if let Some(json) = self.json(app, digest).await? {
            return Stored::read(&json, digest);
        }
        let missing = || {
            let message =
                format!("manifest {digest} of application {app} is neither on the own disk nor in the mirror");
            Error::new(ErrorKind::Malformed, message)
        };
        let mirror = self.mirror.as_ref().ok_or_else(missing)?;
        let record = in_time(mirror.get(&manifest_key(app, digest))).await?.ok_or_else(missing)?;
        let manifest = Stored::read(&record.value, digest)?;
        self.save_manifest(app, digest, &record.value).await?;
        Ok(manifest)
    }
}

/// Digests of manifests that only `before` has.
pub(super) fn dropped(before: &App, after: &App) -> BTreeSet<String> {
    let digests = |app: &App| -> BTreeSet<String> { app.versions.iter().map(|v| v.digest.clone()).collect() };
    &digests(before) - &digests(after)
}

pub(super) fn record_key(app: &AppName) -> Key {
    Key::parse(&format!("{RECORDS}{app}")).expect("names of applications are short and plain")
}

pub(super) fn manifest_key(app: &AppName, digest: &str) -> Key {
    let plain: String = digest.chars().filter(char::is_ascii_hexdigit).take(64).collect();
    Key::parse(&format!("{MANIFESTS}{app}/{plain}")).expect("names of applications and digests are short and plain")
}

/// Whose record is at `key`.
pub(super) fn app_of(key: &Key) -> Option<AppName> {
    AppName::parse(key.as_str().strip_prefix(RECORDS)?).ok()
}
