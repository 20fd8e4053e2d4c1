//! The one task that changes the catalog: own disk, then mirror, then everyone is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};
use trellis_lattice::error::Result;

use super::app::{App, Stamp};
use super::change::{Change, Effect, Outcome};
use super::error::{Refusal, RefusalKind};
use super::mirror::{Mirror, News, Written, is_newer};
use super::shelf::Shelf;
use crate::intent::{AppIntent, AppName, Deployed, Intent};

/// How often the mirror is tried again while it does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// How often a change is applied anew because another wadm was faster.
const MOST_ROUNDS: usize = 8;

/// What the keeper is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// To change an application.
    Change(Ordered),
    /// To look into the mirror for what another wadm did to that application; told when it has looked.
    LookUp(AppName, oneshot::Sender<()>),
}

/// A change and where its outcome goes.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) app: AppName,
    pub(super) change: Change,
    pub(super) stamp: Stamp,
    pub(super) reply: oneshot::Sender<std::result::Result<Outcome, Refusal>>,
}

/// The catalog at one moment.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// All records, of deleted applications too.
    pub apps: Arc<BTreeMap<AppName, App>>,
}

/// Who is told.
pub(super) struct Audience {
    /// Of everything.
    pub(super) publish: watch::Sender<Published>,
    /// Of what is wanted, only when that is another one.
    pub(super) intend: watch::Sender<Arc<Intent>>,
}

/// Owns the catalog.
pub(super) struct Keeper {
    apps: BTreeMap<AppName, App>,
    intent: Intent,
    shelf: Shelf,
    mirror: Option<Mirror>,
    /// What the mirror does not have yet.
    behind: BTreeSet<AppName>,
    audience: Audience,
}

impl Keeper {
    /// Reads what is on the own disk.
    pub(super) async fn load(shelf: Shelf, mirror: Option<Mirror>, audience: Audience) -> Result<Self> {
        let apps = shelf.records().await?;
        let behind = apps.keys().cloned().collect();
        let mut keeper = Self { apps: BTreeMap::new(), intent: Intent::default(), shelf, mirror, behind, audience };
        for app in apps.into_values() {
            keeper.hold(app).await;
        }
        keeper.tell();
        Ok(keeper)
    }

    /// Carries out orders and follows the mirror, until nobody can order any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut retry: Interval = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Change(ordered)) => self.carry_out(ordered).await,
                    // Whoever asked may have left: a mirror that says nothing must not hold up changes.
                    Some(Order::LookUp(_, done)) if done.is_closed() => {}
                    Some(Order::LookUp(app, done)) => {
                        self.look_up(&app).await;
                        let _ = done.send(());
                    }
                    None => return,
                },
                news = news(&mut self.mirror) => self.take_in(news).await,
                _ = retry.tick() => self.catch_up().await,
            }
        }
    }

    async fn carry_out(&mut self, ordered: Ordered) {
        let Ordered { app, change, stamp, reply } = ordered;
        let mut result = self.change(&app, &change, &stamp).await;
        // What another wadm did a moment ago may not have been told yet, and to whom it was asked it is there.
        let may_be_old = match &result {
            Ok(outcome) => outcome.effect == Effect::None,
            Err(refusal) => refusal.kind() == RefusalKind::NotFound,
        };
        if may_be_old && self.look_up(&app).await {
            result = self.change(&app, &change, &stamp).await;
        }
        match &result {
            Ok(outcome) if outcome.effect != Effect::None => {
                info!(app = %app, revision = outcome.app.revision, generation = outcome.app.generation, "catalog changed");
            }
            Ok(_) => {}
            Err(refusal) => info!(app = %app, error = %refusal, "change of the catalog refused"),
        }
        // Whoever asked may have left; the change holds all the same.
        let _ = reply.send(result);
    }

    async fn change(
        &mut self,
        name: &AppName,
        change: &Change,
        stamp: &Stamp,
    ) -> std::result::Result<Outcome, Refusal> {
        for _ in 0..MOST_ROUNDS {
            let before = self.apps.get(name).cloned().unwrap_or_else(|| App::new(name.clone()));
            let mut after = before.clone();
            let version = change.apply(&mut after, stamp.clone())?;
            let effect = Effect::between(&before, &after);
            if effect == Effect::None {
                return Ok(Outcome { app: before, effect, version });
            }
            after.revision += 1;
            if let Change::Put { manifest, .. } = change {
                let saved = self.shelf.save_manifest(name, manifest.digest(), manifest.json()).await;
                saved.map_err(Refusal::store)?;
            }
            self.shelf.save(&after).await.map_err(Refusal::store)?;
            if let Some(theirs) = self.write(&after).await {
                // Another wadm changed it meanwhile: what is asked for now is asked of what that came to.
                self.adopt(theirs).await;
                continue;
            }
            self.tidy(&before, &after).await;
            self.hold(after.clone()).await;
            self.tell();
            return Ok(Outcome { app: after, effect, version });
        }
        Err(Refusal::conflict(format!("application {name} is being changed by others all the time: try again")))
    }

    /// Writes to the mirror; what is there instead if that holds.
    async fn write(&mut self, app: &App) -> Option<App> {
        let mirror = self.mirror.as_mut()?;
        match mirror.write(app, &self.shelf).await {
            Ok(Written::Done) => {
                self.behind.remove(&app.name);
                None
            }
            Ok(Written::Newer(theirs)) => Some(*theirs),
            Err(error) => {
                warn!(app = %app.name, error = %error, "not mirrored yet; it is on the own disk and is tried again");
                self.behind.insert(app.name.clone());
                None
            }
        }
    }

    /// Reads the record of `name` in the mirror; whether that was news.
    async fn look_up(&mut self, name: &AppName) -> bool {
        let Some(mirror) = &mut self.mirror else { return false };
        match mirror.read(name).await {
            Ok(Some(theirs)) if self.apps.get(name).is_none_or(|ours| is_newer(&theirs, ours)) => {
                self.adopt(theirs).await;
                true
            }
            // The own disk holds.
            Ok(_) | Err(_) => false,
        }
    }

    async fn tidy(&mut self, before: &App, after: &App) {
        if let Err(error) = self.shelf.tidy(before, after).await {
            warn!(app = %after.name, error = %error, "manifest left on the own disk");
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.tidy(before, after).await;
        }
    }

    async fn take_in(&mut self, news: News) {
        match news {
            News::Record(theirs) => match self.apps.get(&theirs.name) {
                Some(ours) if *ours == *theirs => drop(self.behind.remove(&theirs.name)),
                Some(ours) if is_newer(ours, &theirs) => drop(self.behind.insert(theirs.name.clone())),
                _ => self.adopt(*theirs).await,
            },
            News::Lost(name) => {
                if self.apps.contains_key(&name) {
                    self.behind.insert(name);
                }
            }
            News::Complete => {
                let Some(mirror) = &self.mirror else { return };
                self.behind.extend(self.apps.keys().filter(|name| !mirror.has(name)).cloned());
                self.push().await;
            }
            News::Nothing => {}
        }
    }

    /// Takes over a record of another wadm, onto the own disk first.
    async fn adopt(&mut self, theirs: App) {
        let name = theirs.name.clone();
        if let Some(deployed) = theirs.deployed.as_deref().and_then(|version| theirs.version(Some(version)))
            && let Err(error) = self.shelf.manifest(&name, &deployed.digest).await
        {
            warn!(app = %name, error = %error, "record of another wadm not taken over yet");
            // Everything is told again when it is followed again, which is a moment from now.
            self.mirror.iter_mut().for_each(Mirror::leave);
            return;
        }
        if let Err(error) = self.shelf.save(&theirs).await {
            error!(app = %name, error = %error, "record of another wadm cannot be kept");
            return;
        }
        info!(app = %name, revision = theirs.revision, "record of another wadm taken over");
        self.behind.remove(&name);
        self.hold(theirs).await;
        self.tell();
    }

    /// Follows the mirror again if it is not followed, and writes what it lacks.
    async fn catch_up(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        if !mirror.is_followed()
            && let Err(error) = mirror.follow().await
        {
            warn!(error = %error, "store of the lattice not followed; the own disk holds");
            return;
        }
        self.push().await;
    }

    async fn push(&mut self) {
        for name in self.behind.clone() {
            let Some(app) = self.apps.get(&name).cloned() else { continue };
            if let Some(theirs) = self.write(&app).await
                && is_newer(&theirs, &app)
            {
                self.adopt(theirs).await;
            }
            if self.behind.contains(&name) {
                // It does not answer: no need to wait for that once for each application.
                return;
            }
        }
    }

    /// Holds `app` in memory, and what is wanted of it.
    async fn hold(&mut self, app: App) {
        match wanted(&self.shelf, &app).await {
            Some(wanted) => drop(self.intent.apps.insert(app.name.clone(), wanted)),
            None => drop(self.intent.apps.remove(&app.name)),
        }
        self.apps.insert(app.name.clone(), app);
    }

    fn tell(&self) {
        self.audience.intend.send_if_modified(|told| {
            let is_news = **told != self.intent;
            if is_news {
                *told = Arc::new(self.intent.clone());
            }
            is_news
        });
        self.audience.publish.send_replace(Published { apps: Arc::new(self.apps.clone()) });
    }
}

async fn news(mirror: &mut Option<Mirror>) -> News {
    match mirror {
        Some(mirror) => mirror.news().await,
        None => std::future::pending().await,
    }
}

/// What is wanted of it; nothing that touches it when that is not known.
async fn wanted(shelf: &Shelf, app: &App) -> Option<AppIntent> {
    let generation = app.generation;
    let Some(deployed) = &app.deployed else {
        return (generation > 0).then_some(AppIntent::Undeployed { generation });
    };
    let version = app.version(Some(deployed))?;
    match shelf.manifest(&app.name, &version.digest).await {
        Ok(manifest) => Some(AppIntent::Deployed(Deployed { version: deployed.clone(), generation, manifest })),
        Err(error) => {
            error!(app = %app.name, error = %error, "what is deployed cannot be read; it is left alone");
            None
        }
    }
}
