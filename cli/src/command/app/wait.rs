//! Waiting until an application is as it was asked for, with its status meanwhile.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use tokio::time::Instant;
use trellis_wadm::api::{Client, Status, StatusType};

use super::show;
use crate::context::Context;
use crate::output::say;

/// How often the status is asked for; what changes is shown.
const LOOK: Duration = Duration::from_millis(50);

/// Whether and how long to wait.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wait {
    /// Wait until it is done; fails if it cannot be, with the reasons
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS", requires = "wait")]
    pub(crate) timeout: u64,
}

impl Wait {
    /// Shows the status of `app`: at once, or when generation `generation` stands.
    pub(super) async fn run(
        &self,
        context: &Context,
        client: &Client,
        app: &str,
        generation: Option<u64>,
    ) -> anyhow::Result<()> {
        if self.wait {
            until_it_stands(client, app, generation.unwrap_or(0), Duration::from_secs(self.timeout)).await?;
        }
        show::status(context, client, app).await
    }
}

/// Waits until `app` stands as of `generation`, and says what happens on the way.
pub(crate) async fn until_it_stands(
    client: &Client,
    app: &str,
    generation: u64,
    timeout: Duration,
) -> anyhow::Result<Status> {
    let latest = Instant::now() + timeout;
    let mut said = String::new();
    loop {
        let reply = client.status(app).await?;
        super::stands(reply.result, &reply.message)?;
        let status = reply.status.unwrap_or_default();
        if status.generation >= generation {
            match status.info.status_type {
                StatusType::Deployed | StatusType::Undeployed => return Ok(status),
                StatusType::Failed => bail!("{app} failed: {}", reasons(&status)),
                StatusType::Waiting | StatusType::Reconciling | StatusType::Unhealthy => {}
            }
        }
        if Instant::now() >= latest {
            bail!("{app} does not stand after {} s: {}", timeout.as_secs(), reasons(&status));
        }
        let now = reasons(&status);
        if now != said {
            say(format_args!("{app}: {now}"));
            said = now;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why a status is what it is, in a line.
fn reasons(status: &Status) -> String {
    let of_scalers = status.scalers.iter().filter(|scaler| scaler.info.status_type != StatusType::Deployed);
    let mut reasons: Vec<String> = status.problems.clone();
    reasons.extend(of_scalers.map(|scaler| format!("{}: {}", scaler.name, scaler.info.message)));
    reasons.extend(status.waits.iter().cloned());
    if reasons.is_empty() && !status.info.message.is_empty() {
        reasons.push(status.info.message.clone());
    }
    reasons.dedup();
    if reasons.is_empty() { show::word(status.info.status_type).to_owned() } else { reasons.join("; ") }
}
