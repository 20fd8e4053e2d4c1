//! One answer for each request: the operations of the API over catalog, status and preview.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trellis_lattice::subject::{ModelOperation, Models};
use trellis_lattice::transport::Message;

use super::message::{
    DeleteReply, DeleteResult, DeployReply, DeployResult, EventInfo, GetReply, GetResult, HistoryReply, ListReply,
    ModelSummary, PutReply, PutResult, Request, Status, StatusReply, StatusResult, VersionInfo, VersionsReply,
};
use super::preview;
use super::server::{Preview, Services, json};
use super::standing::standing;
use crate::catalog::{App, Catalog, Change, Deed, Effect, Event, Outcome, RefusalKind, Stamp};
use crate::intent::AppName;
use crate::manifest::{Format, Manifest, Problems, parse};
use crate::status::Board;

/// The longest body of a request other than a manifest, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Answers requests.
pub(super) struct Answers {
    models: Models,
    catalog: Catalog,
    board: Board,
    preview: Preview,
}

/// How soon a request can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once, from memory.
    Quick,
    /// When a disk, the lattice's store or a thread that may be busy is done with it.
    Slow,
}

/// What every reply with an error has.
#[derive(Serialize)]
struct Failure {
    result: &'static str,
    message: String,
}

impl Answers {
    pub(super) fn new(models: Models, services: &Services) -> Self {
        let Services { catalog, board, preview, .. } = services;
        Self { models, catalog: catalog.clone(), board: board.clone(), preview: preview.clone() }
    }

    /// How soon `request` can be answered.
    pub(super) fn pace(&self, request: &Message) -> Pace {
        use ModelOperation::{Get, History, List, Status, Versions};
        match self.models.parse(&request.subject) {
            None | Some((Get, None) | (List | Versions | Status | History, _)) => Pace::Quick,
            Some(_) => Pace::Slow,
        }
    }

    /// The answer to `request`, as JSON.
    pub(super) async fn answer(&self, request: &Message) -> Vec<u8> {
        let Some((operation, app)) = self.models.parse(&request.subject) else {
            return failure(format!("{} is no operation of wadm", request.subject));
        };
        match (operation, app) {
            (ModelOperation::Put, None) => json(&self.put(request).await),
            (ModelOperation::Plan, None) => json(&self.plan_manifest(request).await),
            (ModelOperation::List, None) => json(&self.summaries()),
            (ModelOperation::Get, None) => {
                let (result, message) = (GetResult::Success, String::new());
                json(&ListReply { result, message, models: self.summaries() })
            }
            (_, Some(name)) => match (AppName::parse(name), body(request)) {
                (Ok(name), Ok(body)) => self.on_app(operation, &name, body).await,
                (Err(error), _) => failure(error.to_string()),
                (_, Err(message)) => failure(message),
            },
            (_, None) => failure(format!("{} needs the name of an application", operation.as_str())),
        }
    }

    async fn on_app(&self, operation: ModelOperation, name: &AppName, body: Request) -> Vec<u8> {
        // Requests go to any wadm of the lattice, and whoever deployed by one asks the next one how it stands.
        self.catalog.look_up(name).await;
        match operation {
            ModelOperation::Get => json(&self.get(name, body.version.as_deref()).await),
            ModelOperation::Versions => json(&self.versions(name)),
            ModelOperation::Status => json(&self.status(name)),
            ModelOperation::History => json(&self.history(name)),
            ModelOperation::Del => json(&self.delete(name, body).await),
            ModelOperation::Deploy => {
                let change = Change::Deploy { version: body.version.clone() };
                json(&self.deploy(name, change, body).await)
            }
            ModelOperation::Rollback => {
                let change = Change::RollBack { to: body.version.clone(), from_generation: None };
                json(&self.deploy(name, change, body).await)
            }
            ModelOperation::Undeploy => json(&self.deploy(name, Change::Undeploy, body).await),
            ModelOperation::Plan => json(&self.plan_version(name, body.version.as_deref()).await),
            ModelOperation::Put | ModelOperation::List => {
                failure(format!("{} takes no name of an application", operation.as_str()))
            }
        }
    }

    async fn put(&self, request: &Message) -> PutReply {
        let refused = |message: String, problems| PutReply {
            result: PutResult::Error,
            total_versions: 0,
            current_version: String::new(),
            message,
            name: String::new(),
            problems,
        };
        let manifest = match manifest(request).await {
            Ok(manifest) => manifest,
            Err(problems) => return refused(problems.to_string(), problems.problems),
        };
        let name = manifest.metadata.name.clone();
        match self.catalog.put(&manifest, stamp(request)).await {
            Err(refusal) => PutReply { name, ..refused(refusal.to_string(), Vec::new()) },
            Ok(Outcome { app, effect, version }) => {
                let version = version.unwrap_or_default();
                let message = match effect {
                    Effect::None => format!("version {version} of application {name} was there already"),
                    _ => format!("put version {version} of application {name}"),
                };
                let result = if effect == Effect::Created { PutResult::Created } else { PutResult::NewVersion };
                let total_versions = app.versions.len();
                PutReply { result, total_versions, current_version: version, message, name, problems: Vec::new() }
            }
        }
    }

    async fn get(&self, name: &AppName, version: Option<&str>) -> GetReply {
        let reply = |result, message| GetReply { result, message, manifest: None };
        let Some(app) = self.catalog.app(name.as_str()) else {
            return reply(GetResult::NotFound, no_app(name));
        };
        let Some(found) = app.version(version) else {
            return reply(GetResult::NotFound, app.no_version(version.unwrap_or("latest")).to_string());
        };
        match self.catalog.manifest(name, found).await {
            Ok(manifest) => {
                let message = format!("version {} of application {name}", found.name);
                GetReply { result: GetResult::Success, message, manifest: Some((*manifest).clone()) }
            }
            Err(refusal) => reply(GetResult::Error, refusal.to_string()),
        }
    }

    fn versions(&self, name: &AppName) -> VersionsReply {
        let Some(app) = self.catalog.app(name.as_str()) else {
            return VersionsReply { result: GetResult::NotFound, message: no_app(name), versions: Vec::new() };
        };
        let versions = app.versions.iter().map(|version| VersionInfo {
            version: version.name.clone(),
            deployed: app.deployed.as_ref() == Some(&version.name),
        });
        let message = format!("{} versions", app.versions.len());
        VersionsReply { result: GetResult::Success, message, versions: versions.collect() }
    }

    fn status(&self, name: &AppName) -> StatusReply {
        // One that was deleted has a status as long as something of it is being stopped.
        let apps = self.catalog.apps();
        let found = apps.get(name).map(|app| (app, standing(app, &self.board.now())));
        match found {
            Some((app, status)) if !app.is_deleted() || is_going(&status) => {
                StatusReply { result: StatusResult::Ok, message: status.info.message.clone(), status: Some(status) }
            }
            _ => StatusReply { result: StatusResult::NotFound, message: no_app(name), status: None },
        }
    }

    fn history(&self, name: &AppName) -> HistoryReply {
        match self.catalog.apps().get(name) {
            None => HistoryReply { result: GetResult::NotFound, message: no_app(name), history: Vec::new() },
            Some(app) => {
                let message = format!("application {name} is at generation {}", app.generation);
                let history = app.history.iter().map(event).collect();
                HistoryReply { result: GetResult::Success, message, history }
            }
        }
    }

    async fn delete(&self, name: &AppName, body: Request) -> DeleteReply {
        let change = Change::Delete { version: body.version.clone() };
        match self.catalog.change(name.clone(), change, stamp_of(&body)).await {
            Err(refusal) => DeleteReply { result: DeleteResult::Error, message: refusal.to_string(), undeploy: false },
            Ok(outcome) => {
                let version = outcome.version.map(|version| format!("version {version} of ")).unwrap_or_default();
                let (result, done) = match outcome.effect {
                    Effect::None => (DeleteResult::Noop, "there was nothing to delete:"),
                    _ => (DeleteResult::Deleted, "deleted"),
                };
                let message = format!("{done} {version}application {name}");
                DeleteReply { result, message, undeploy: outcome.effect == Effect::Intent }
            }
        }
    }

    async fn deploy(&self, name: &AppName, change: Change, body: Request) -> DeployReply {
        match self.catalog.change(name.clone(), change, stamp_of(&body)).await {
            Ok(Outcome { app, version, .. }) => {
                let message = match &app.deployed {
                    Some(version) => format!("version {version} of application {name} is to run"),
                    None => format!("nothing of application {name} is to run"),
                };
                let (result, generation) = (DeployResult::Acknowledged, Some(app.generation));
                DeployReply { result, message, name: name.to_string(), version, generation }
            }
            Err(refusal) => {
                let result = match refusal.kind() {
                    RefusalKind::NotFound => DeployResult::NotFound,
                    _ => DeployResult::Error,
                };
                let message = refusal.to_string();
                DeployReply { result, message, name: name.to_string(), version: None, generation: None }
            }
        }
    }

    async fn plan_manifest(&self, request: &Message) -> super::planned::PlanReply {
        match manifest(request).await {
            Ok(manifest) => preview::plan(&self.catalog, &self.preview, manifest).await,
            Err(problems) => preview::wrong(problems),
        }
    }

    async fn plan_version(&self, name: &AppName, version: Option<&str>) -> super::planned::PlanReply {
        let Some(app) = self.catalog.app(name.as_str()) else {
            return preview::refused(GetResult::NotFound, no_app(name));
        };
        let Some(found) = app.version(version) else {
            let refusal = app.no_version(version.unwrap_or("latest"));
            return preview::refused(GetResult::NotFound, refusal.to_string());
        };
        match self.catalog.manifest(name, found).await {
            Ok(manifest) => preview::plan(&self.catalog, &self.preview, (*manifest).clone()).await,
            Err(refusal) => preview::refused(GetResult::Error, refusal.to_string()),
        }
    }

    fn summaries(&self) -> Vec<ModelSummary> {
        let (apps, board) = (self.catalog.apps(), self.board.now());
        let there = apps.values().filter(|app| !app.is_deleted());
        there.map(|app| summary(app, standing(app, &board))).collect()
    }
}

fn summary(app: &App, status: Status) -> ModelSummary {
    let latest = app.latest();
    ModelSummary {
        name: app.name.to_string(),
        version: latest.map(|version| version.name.clone()).unwrap_or_default(),
        description: latest.and_then(|version| version.description.clone()),
        deployed_version: app.deployed.clone(),
        status: status.info.status_type,
        status_message: Some(status.info.message.clone()),
        detailed_status: status,
    }
}

fn is_going(status: &Status) -> bool {
    status.info.status_type != super::message::StatusType::Undeployed
}

fn event(event: &Event) -> EventInfo {
    let nanos = i128::from(event.stamp.at_ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|time| time.format(&Rfc3339).ok());
    let what = match event.what {
        Deed::Put => "put",
        Deed::Deploy => "deploy",
        Deed::Undeploy => "undeploy",
        Deed::Rollback => "rollback",
        Deed::Delete => "delete",
    };
    EventInfo {
        time: time.unwrap_or_else(|| event.stamp.at_ms.to_string()),
        who: event.stamp.who.clone(),
        what: what.to_owned(),
        version: event.version.clone(),
        generation: event.generation,
        why: event.stamp.why.clone(),
    }
}

fn no_app(name: &AppName) -> String {
    format!("there is no application {name}")
}

fn failure(message: String) -> Vec<u8> {
    json(&Failure { result: "error", message })
}

/// The manifest in the body of `request`, read on a thread that may be busy.
async fn manifest(request: &Message) -> Result<Manifest, Problems> {
    let format = match header(request, "content-type") {
        Some("application/json") => Format::Json,
        Some("application/yaml" | "application/x-yaml" | "text/yaml") => Format::Yaml,
        _ => Format::Unknown,
    };
    let payload = request.payload.clone();
    let read = tokio::task::spawn_blocking(move || parse(&payload, format));
    read.await.expect("reading a manifest does not panic")
}

fn header<'a>(request: &'a Message, wanted: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim())
}

/// The body of a request: empty, or JSON.
fn body(request: &Message) -> Result<Request, String> {
    if request.payload.is_empty() {
        return Ok(Request::default());
    }
    if request.payload.len() > MAX_REQUEST_BYTES {
        return Err(format!("a request of {} bytes is over {MAX_REQUEST_BYTES}", request.payload.len()));
    }
    serde_json::from_slice(&request.payload)
        .map_err(|error| format!("the request is no JSON object like {{\"version\": \"v1\"}}: {error}"))
}

fn stamp(request: &Message) -> Stamp {
    Stamp::now(header(request, "trellis-user").unwrap_or("unknown"))
}

fn stamp_of(body: &Request) -> Stamp {
    Stamp::now(body.who.as_deref().unwrap_or("unknown")).because(body.why.as_deref().unwrap_or_default())
}
