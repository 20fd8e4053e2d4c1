//! Applications as tables.

use trellis_wadm::api::{Client, EventInfo, ModelSummary, ScalerStatus, StatusType, VersionInfo};

use super::{found, request, stands};
use crate::context::Context;
use crate::output::say;

/// How one application stands: a line for each part, then what is wrong or waited for.
pub(super) async fn status(context: &Context, client: &Client, app: &str) -> anyhow::Result<()> {
    let reply = client.status(app).await?;
    stands(reply.result, &reply.message)?;
    let status = reply.status.unwrap_or_default();
    let row = |scaler: &ScalerStatus| {
        [
            scaler.name.clone(),
            scaler.kind.clone(),
            word(scaler.info.status_type).to_owned(),
            format!("{}/{}", scaler.ready, scaler.wanted),
            scaler.info.message.clone(),
        ]
    };
    context.output.list(&status, ["part", "kind", "status", "ready", "message"], status.scalers.iter().map(row))?;
    let version = if status.version.is_empty() { String::new() } else { format!(" {}", status.version) };
    say(format_args!("{app}{version}: {} {}", word(status.info.status_type), status.info.message));
    for problem in &status.problems {
        say(format_args!("problem: {problem}"));
    }
    for wait in &status.waits {
        say(format_args!("waiting: {wait}"));
    }
    Ok(())
}

/// All applications.
pub(super) async fn list(context: &Context, client: &Client) -> anyhow::Result<()> {
    let reply = client.list().await?;
    found(reply.result, &reply.message)?;
    let row = |app: &ModelSummary| {
        [
            app.name.clone(),
            app.deployed_version.clone().unwrap_or_default(),
            app.version.clone(),
            word(app.status).to_owned(),
            app.detailed_status.info.message.clone(),
            app.description.clone().unwrap_or_default(),
        ]
    };
    let header = ["name", "deployed", "latest", "status", "message", "description"];
    context.output.list(&reply.models, header, reply.models.iter().map(row))
}

/// A manifest, as JSON in either format: that is how wadm has it.
pub(super) async fn manifest(
    context: &Context,
    client: &Client,
    app: &str,
    version: Option<String>,
) -> anyhow::Result<()> {
    let reply = client.get(app, &request(version)).await?;
    found(reply.result, &reply.message)?;
    context.output.result(&reply.manifest, serde_json::to_string_pretty(&reply.manifest)?)
}

/// The versions of an application.
pub(super) async fn versions(context: &Context, client: &Client, app: &str) -> anyhow::Result<()> {
    let reply = client.versions(app).await?;
    found(reply.result, &reply.message)?;
    let row = |version: &VersionInfo| {
        let deployed = if version.deployed { "deployed" } else { "" };
        [version.version.clone(), deployed.to_owned()]
    };
    context.output.list(&reply.versions, ["version", "deployed"], reply.versions.iter().map(row))
}

/// What was done to an application.
pub(super) async fn history(context: &Context, client: &Client, app: &str) -> anyhow::Result<()> {
    let reply = client.history(app).await?;
    found(reply.result, &reply.message)?;
    let row = |event: &EventInfo| {
        let version = event.version.clone().unwrap_or_default();
        [event.time.clone(), event.what.clone(), version, event.who.clone(), event.why.clone()]
    };
    context.output.list(&reply.history, ["time", "what", "version", "who", "why"], reply.history.iter().map(row))
}

/// A status in a word.
pub(super) fn word(status: StatusType) -> &'static str {
    match status {
        StatusType::Waiting => "waiting",
        StatusType::Undeployed => "undeployed",
        StatusType::Reconciling => "reconciling",
        StatusType::Deployed => "deployed",
        StatusType::Failed => "failed",
        StatusType::Unhealthy => "unhealthy",
    }
}
