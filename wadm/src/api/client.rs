//! A client of the API, for the command line.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::id::{InvalidId, LatticeName};
use trellis_lattice::subject::{ModelOperation, Models, Subject};
use trellis_lattice::transport::{SharedTransport, Subscription};

use super::message::{
    DeleteReply, DeployReply, GetReply, HistoryReply, ListReply, PutReply, Request, StatusReply, VersionsReply,
};
use super::planned::PlanReply;
use super::server::json;

/// Asks the wadm of a lattice. Errors are those of the way there (`NoResponders` when no wadm runs, `Timeout`) and
/// `Malformed` answers; what wadm refuses is in its replies.
#[derive(Debug, Clone)]
pub struct Client {
    transport: SharedTransport,
    models: Models,
    timeout: Duration,
}

impl Client {
    /// A client for `lattice`, which waits at most `timeout` for an answer.
    pub fn new(transport: SharedTransport, lattice: &LatticeName, timeout: Duration) -> Self {
        Self { transport, models: Models::new(lattice), timeout }
    }

    /// Adds a version: `manifest` is YAML or JSON.
    pub async fn put(&self, manifest: Bytes) -> Result<PutReply> {
        self.ask(self.models.on_all(ModelOperation::Put), manifest).await
    }

    /// What deploying `manifest`, which is YAML or JSON, would do.
    pub async fn plan(&self, manifest: Bytes) -> Result<PlanReply> {
        self.ask(self.models.on_all(ModelOperation::Plan), manifest).await
    }

    /// What deploying a version that was put would do.
    pub async fn plan_version(&self, app: &str, request: &Request) -> Result<PlanReply> {
        self.on_app(ModelOperation::Plan, app, request).await
    }

    /// All applications.
    pub async fn list(&self) -> Result<ListReply> {
        self.ask(self.models.on_all(ModelOperation::Get), Bytes::new()).await
    }

    /// The manifest of a version; of the last one if none is named.
    pub async fn get(&self, app: &str, request: &Request) -> Result<GetReply> {
        self.on_app(ModelOperation::Get, app, request).await
    }

    /// The versions of an application.
    pub async fn versions(&self, app: &str) -> Result<VersionsReply> {
        self.on_app(ModelOperation::Versions, app, &Request::default()).await
    }

    /// Deletes a version; all of them if none is named.
    pub async fn delete(&self, app: &str, request: &Request) -> Result<DeleteReply> {
        self.on_app(ModelOperation::Del, app, request).await
    }

    /// Deploys a version; the last one if none is named.
    pub async fn deploy(&self, app: &str, request: &Request) -> Result<DeployReply> {
        self.on_app(ModelOperation::Deploy, app, request).await
    }

    /// Stops what runs of an application; its versions stay.
    pub async fn undeploy(&self, app: &str, request: &Request) -> Result<DeployReply> {
        self.on_app(ModelOperation::Undeploy, app, request).await
    }

    /// Deploys an earlier version; the one that was deployed before if none is named.
    pub async fn roll_back(&self, app: &str, request: &Request) -> Result<DeployReply> {
        self.on_app(ModelOperation::Rollback, app, request).await
    }

    /// How an application stands.
    pub async fn status(&self, app: &str) -> Result<StatusReply> {
        self.on_app(ModelOperation::Status, app, &Request::default()).await
    }

    /// What happened to an application.
    pub async fn history(&self, app: &str) -> Result<HistoryReply> {
        self.on_app(ModelOperation::History, app, &Request::default()).await
    }

    /// The statuses of an application from now on, each a [`super::Status`] in JSON, when it changes.
    pub async fn follow(&self, app: &str) -> Result<Subscription> {
        let subject = self.models.status(app).map_err(invalid)?;
        self.transport.subscribe(subject, None).await
    }

    async fn on_app<T: DeserializeOwned>(&self, operation: ModelOperation, app: &str, request: &Request) -> Result<T> {
        let subject = self.models.on_app(operation, app).map_err(invalid)?;
        self.ask(subject, json(request).into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, subject: Subject, body: Bytes) -> Result<T> {
        let answer = self.transport.request(subject, body, self.timeout).await?;
        serde_json::from_slice(&answer.payload).map_err(|error| {
            // Where wadm does not understand the request, it says no more than this.
            let failed = serde_json::from_slice::<serde_json::Value>(&answer.payload).ok();
            let message = failed.as_ref().and_then(|failed| failed.get("message")?.as_str());
            let message = message.map_or_else(|| format!("wadm's answer cannot be read: {error}"), str::to_owned);
            Error::new(ErrorKind::Malformed, message)
        })
    }
}

fn invalid(error: InvalidId) -> Error {
    Error::new(ErrorKind::Malformed, error.to_string())
}
