//! Carrying out orders for providers.

use std::sync::Arc;

use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StartProvider;
use trellis_lattice::message::event::EventName;

use super::owner::{Change, Done};
use super::{Context, ProviderEntry};
use crate::announce;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{self, Programs, Running, Spec, Start};
use crate::pulse::Taken;
use crate::records::merge;
use crate::secrets::references;

/// Runs a provider.
pub(super) async fn start(context: Arc<Context>, command: StartProvider, taken: Taken) -> Done {
    let outcome = run(&context, &command, &taken).await;
    done(context, command, outcome).await
}

/// Runs another in the place of one that runs as a process.
pub(super) async fn replace(
    context: Arc<Context>,
    command: StartProvider,
    taken: Taken,
    entry: Arc<ProviderEntry>,
) -> Done {
    let outcome = change(&context, (&command, &taken), &entry.running).await;
    done(context, command, outcome).await
}

async fn done(context: Arc<Context>, command: StartProvider, outcome: Result<Arc<Running>>) -> Done {
    match outcome {
        Ok(running) => {
            let StartProvider { provider_id: id, provider_ref: reference, annotations, .. } = &command;
            tracing::info!(provider_id = %id, reference, "provider started");
            let data = announce::provider_started(&context.host, id, reference, annotations.as_ref());
            let events = vec![(EventName::ProviderStarted, data)];
            Done { id: id.clone(), change: Change::Provider(Box::new(ProviderEntry { command, running })), events }
        }
        Err(error) => refuse(context, command, error.to_string()).await,
    }
}

/// Says that a command failed.
pub(super) async fn refuse(context: Arc<Context>, command: StartProvider, error: String) -> Done {
    let StartProvider { provider_id: id, provider_ref: reference, .. } = &command;
    tracing::warn!(provider_id = %id, error, "provider not started");
    let data = announce::provider_start_failed(&context.host, id, reference, &error);
    Done { id: id.clone(), change: Change::None, events: vec![(EventName::ProviderStartFailed, data)] }
}

/// Stops a provider that is gone from the roster.
pub(super) async fn stop(context: Arc<Context>, id: EntityId, stopped: Option<Arc<ProviderEntry>>) -> Done {
    let mut events = Vec::new();
    if let Some(entry) = stopped {
        Arc::clone(&entry.running).stop(context.config.drain).await;
        tracing::info!(provider_id = %id, "provider stopped");
        let notes = entry.command.annotations.as_ref();
        let data = announce::provider_stopped(&context.host, &id, notes, "normal");
        events.push((EventName::ProviderStopped, data));
    }
    Done { id, change: Change::None, events }
}

async fn run(context: &Context, command: &StartProvider, taken: &Taken) -> Result<Arc<Running>> {
    let spec = spec(context, command)?;
    still_counts(context, taken)?;
    provider::start(with(context), spec).await
}

async fn change(
    context: &Context,
    (command, taken): (&StartProvider, &Taken),
    running: &Arc<Running>,
) -> Result<Arc<Running>> {
    let spec = spec(context, command)?;
    still_counts(context, taken)?;
    provider::replace(with(context), spec, running, context.config.drain).await?;
    Ok(Arc::clone(running))
}

fn still_counts(context: &Context, taken: &Taken) -> Result<()> {
    context.pulse.check(taken).map_err(|late| Error::new(ErrorKind::Refused, late))
}

fn with(context: &Context) -> Start<'_> {
    Start {
        builtins: &context.builtins,
        programs: Programs {
            native: &context.native,
            trust: &context.trust,
            artifacts: &context.artifacts,
            dir: &context.config.data_dir,
        },
        host: &context.host,
        records: &context.records,
        lattice: &context.config.lattice,
        vault: &context.vault,
        router: &context.router,
        announcer: &context.announcer,
    }
}

fn spec(context: &Context, command: &StartProvider) -> Result<Spec> {
    let configs = context.records.view().configs();
    Ok(Spec {
        id: command.provider_id.clone(),
        reference: command.provider_ref.clone(),
        config: merge(&configs, &command.config)?,
        secrets: context.vault.resolve(&references(&configs, &command.config)?, &command.provider_id)?,
        config_names: command.config.clone(),
        data_dir: context.config.data_dir.join("providers").join(command.provider_id.as_str()),
    })
}
