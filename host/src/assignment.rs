//! The last assignment: what this host was told to run, on its own disk, so that a restart, also one that is cut off
//! from everyone, takes it up again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::{ScaleComponent, StartProvider};

use crate::artifact::write_atomically;
use crate::error::{Error, ErrorKind, Result};
use crate::kept;
use crate::roster::Snapshot;
use crate::standing::Standing;

/// What a host is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// Providers.
    pub(crate) providers: Vec<StartProvider>,
    /// Actors.
    pub(crate) actors: Vec<Assigned>,
    /// What else it was told.
    #[serde(default)]
    pub(crate) standing: Standing,
}

/// An actor and the bytes that it ran with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    /// As it was ordered last.
    pub(crate) command: ScaleComponent,
    /// Hex of the SHA-256 of its bytes, which are kept.
    pub(crate) digest: String,
}

impl Assignment {
    /// Drops what is assigned for `id`.
    pub(crate) fn forget(&mut self, id: &EntityId) {
        self.providers.retain(|provider| provider.provider_id != *id);
        self.actors.retain(|actor| actor.command.component_id != *id);
    }

    /// This and what runs, and what else was told.
    pub(crate) fn with(&self, runs: &Snapshot, standing: Standing) -> Self {
        let mut all = Self { standing, ..self.clone() };
        all.providers.extend(runs.providers.values().map(|entry| entry.command.clone()));
        let assigned = |entry: &Arc<crate::roster::ActorEntry>| Assigned {
            command: entry.command.clone(),
            digest: entry.digest.clone(),
        };
        all.actors.extend(runs.actors.values().map(assigned));
        all
    }

    /// The assignment in `file`; empty when there is none. Blocks.
    ///
    /// # Errors
    /// `Config` when the file cannot be read or is damaged.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let message = format!("cannot read the last assignment in {}: {error}", file.display());
                return Err(Error::new(ErrorKind::Config, message).with_source(error));
            }
        };
        kept::decode(&text).map_err(|error| {
            let message = format!(
                "the last assignment in {} is damaged ({error}); remove the file to start with nothing",
                file.display()
            );
            Error::new(ErrorKind::Config, message)
        })
    }
}

/// How long a change waits for others: actors are started by the dozen, and each write waits for the disk.
const GATHERING: Duration = Duration::from_millis(20);

/// Writes assignments to a file, on a task of its own; of several that wait the last is written.
#[derive(Debug)]
pub(crate) struct Writer {
    wanted: watch::Sender<Option<Arc<Assignment>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    /// To `file`.
    pub(crate) fn new(file: PathBuf) -> Self {
        let (wanted, changes) = watch::channel(None);
        Self { wanted, task: tokio::spawn(write_each(file, changes)) }
    }

    /// Writes `assignment` soon.
    pub(crate) fn write(&self, assignment: Assignment) {
        self.wanted.send_replace(Some(Arc::new(assignment)));
    }

    /// Waits until the last one is written.
    pub(crate) async fn finish(&mut self) {
        let (ended, _) = watch::channel(None);
        drop(std::mem::replace(&mut self.wanted, ended));
        if let Err(error) = (&mut self.task).await {
            tracing::warn!(error = %error, "assignment writer broke off");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write_each(file: PathBuf, mut changes: watch::Receiver<Option<Arc<Assignment>>>) {
    while changes.changed().await.is_ok() {
        let _ = timeout(GATHERING, async { while changes.changed().await.is_ok() {} }).await;
        let Some(assignment) = changes.borrow_and_update().clone() else { continue };
        let file = file.clone();
        let write = move || write_atomically(&file, &kept::encode(&*assignment));
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "assignment was not written"),
            Err(error) => tracing::error!(error = %error, "assignment writer broke off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Assignment, Writer};
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::command::StartProvider;

    fn with_provider(id: &str) -> Assignment {
        let host_id = Key::generate(KeyKind::Host).public().parse().expect("a host");
        let provider = StartProvider {
            provider_id: id.parse().expect("valid"),
            provider_ref: "builtin:kv".to_owned(),
            host_id,
            config: Vec::new(),
            allow_update: false,
            annotations: None,
        };
        Assignment { providers: vec![provider], actors: Vec::new(), ..Assignment::default() }
    }

    #[tokio::test]
    async fn the_last_assignment_is_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("assignment.json");
        assert_eq!(Assignment::read(&file).expect("absent is empty"), Assignment::default());
        let mut writer = Writer::new(file.clone());
        let last = with_provider("kv2");
        writer.write(with_provider("kv1"));
        writer.write(last.clone());
        writer.finish().await;
        assert_eq!(Assignment::read(&file).expect("written"), last);
        std::fs::write(&file, b"{").expect("written");
        let error = Assignment::read(&file).expect_err("damaged").to_string();
        assert!(error.contains("assignment.json") && error.contains("remove the file"), "{error}");
    }
}
