//! How far the rollouts of applications are: kept in the lattice's store, so that whoever acts next goes on with them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::debug;
use trellis_lattice::store::{Expect, Key, SharedStore};

use crate::intent::{AppIntent, AppName, Intent};
use crate::observe::{Progress, Rollout};
use crate::plan::{Plan, State};

/// What the keys begin with; the rest is the application's name.
const ROLLOUTS: &str = "wadm.rollout.";

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The rollouts of all deployed applications.
#[derive(Debug)]
pub(crate) struct Rollouts {
    store: SharedStore,
    kept: BTreeMap<AppName, Kept>,
    current: BTreeMap<AppName, Rollout>,
}

/// The last version of an application that was deployed in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    generation: u64,
    version: String,
    /// The one before it, to go back to if this same generation is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

impl Rollouts {
    /// None yet.
    pub(crate) fn new(store: SharedStore) -> Self {
        Self { store, kept: BTreeMap::new(), current: BTreeMap::new() }
    }

    /// Reads what was kept. What cannot be read is as if it had not been: there is no version to go back to.
    pub(crate) async fn read(&mut self) {
        let records = match timeout(PATIENCE, self.store.list(ROLLOUTS)).await {
            Ok(Ok(records)) => records,
            Ok(Err(error)) => return debug!(%error, "rollouts not read"),
            Err(_) => return debug!("rollouts not read in time"),
        };
        for record in records {
            let app = record.key.as_str().strip_prefix(ROLLOUTS).and_then(|app| AppName::parse(app).ok());
            if let (Some(app), Ok(kept)) = (app, serde_json::from_slice(&record.value)) {
                self.kept.insert(app, kept);
            }
        }
        self.current.clear();
    }

    /// Begins the rollouts of what was deployed since the last time, and forgets those of what is not any more.
    pub(crate) fn follow(&mut self, intent: &Intent, now: Duration) {
        let generation = |app: &AppName| match intent.apps.get(app) {
            Some(AppIntent::Deployed(deployed)) => Some(deployed.generation),
            _ => None,
        };
        self.current.retain(|app, rollout| generation(app) == Some(rollout.generation));
        for (app, wanted) in &intent.apps {
            let AppIntent::Deployed(deployed) = wanted else { continue };
            if !self.current.contains_key(app) {
                let rollout = begin(self.kept.get(app), deployed.generation, now);
                self.current.insert(app.clone(), rollout);
            }
        }
    }

    /// All of them.
    pub(crate) fn known(&self) -> BTreeMap<AppName, Rollout> {
        self.current.clone()
    }

    /// Takes note of what is deployed in full, and keeps it.
    pub(crate) async fn learn(&mut self, plan: &Plan) {
        for (app, status) in &plan.apps {
            let Some(rollout) = self.current.get_mut(app) else { continue };
            let is_complete = status.state == State::Deployed && status.generation == rollout.generation;
            if !is_complete || rollout.progress == Progress::Complete {
                continue;
            }
            rollout.progress = Progress::Complete;
            let Some(version) = status.version.clone() else { continue };
            let kept = Kept { generation: status.generation, version, before: rollout.previous.clone() };
            if self.kept.get(app) != Some(&kept) {
                self.kept.insert(app.clone(), kept.clone());
                keep(&self.store, app, &kept).await;
            }
        }
    }
}

fn begin(kept: Option<&Kept>, generation: u64, now: Duration) -> Rollout {
    let same = kept.filter(|kept| kept.generation == generation);
    let previous = match same {
        Some(same) => same.before.clone(),
        None => kept.map(|kept| kept.version.clone()),
    };
    let progress = if same.is_some() { Progress::Complete } else { Progress::Ongoing };
    Rollout { generation, since: now, previous, progress }
}

async fn keep(store: &SharedStore, app: &AppName, kept: &Kept) {
    let key = Key::parse(&format!("{ROLLOUTS}{app}")).expect("an application's name fits into a key");
    let value = serde_json::to_vec(kept).expect("texts and numbers");
    match timeout(PATIENCE, store.put(&key, value.into(), Expect::Any)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(%app, %error, "rollout not kept"),
        Err(_) => debug!(%app, "rollout not kept in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Kept, begin};
    use crate::observe::Progress;

    #[test]
    fn a_new_generation_goes_back_to_the_last_complete_version_and_the_same_one_to_the_one_before() {
        let kept = Kept { generation: 3, version: "v2".to_owned(), before: Some("v1".to_owned()) };
        let check = |generation, previous: &str, progress| {
            let rollout = begin(Some(&kept), generation, Duration::ZERO);
            assert_eq!((rollout.previous.as_deref(), rollout.progress), (Some(previous), progress));
        };
        check(4, "v2", Progress::Ongoing);
        check(3, "v1", Progress::Complete);
        assert_eq!(begin(None, 1, Duration::ZERO).previous, None);
    }
}
