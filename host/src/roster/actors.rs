//! Carrying out orders for actors.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use trellis_lattice::identity::claims::{ActorClaims, Verified};
use trellis_lattice::identity::component;
use trellis_lattice::message::command::{ScaleComponent, StringMap};
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::pin;
use trellis_lattice::message::readiness::Rule;

use super::owner::{Change, Done};
use super::{ActorEntry, Context};
use crate::actor::{Actor, Spec};
use crate::announce;
use crate::artifact::{self, Artifact};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{self, Grants, Needs, Origin, Refusals};
use crate::pulse::Taken;
use crate::readiness::Follower;
use crate::runtime::{Compiled, Limits};
use crate::setup::Setup;

/// How long a start waits for links, configs and secrets that may be on their way here.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest that a component may take to be compiled.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(300);

/// A command, as it was taken.
pub(super) struct Ordered {
    pub(super) command: ScaleComponent,
    pub(super) taken: Taken,
}

/// Runs an actor as `command` says: a new one, or the one that runs with other limits, config or code. With `digest`
/// its bytes are those that were kept.
pub(super) async fn scale(
    context: Arc<Context>,
    Ordered { command, taken }: Ordered,
    digest: Option<String>,
    current: Option<Arc<ActorEntry>>,
) -> Done {
    let is_first = current.is_none();
    let before = current.as_ref().map(|current| Arc::clone(&current.component));
    let entry = match current {
        Some(current) if current.command.component_ref == command.component_ref => adjust(&context, &command, &current),
        Some(current) if !command.allow_update => {
            let kept = ScaleComponent { component_ref: current.command.component_ref.clone(), ..command.clone() };
            adjust(&context, &kept, &current)
        }
        Some(_) | None => start(&context, (&command, &taken), digest).await,
    };
    match entry {
        Ok(entry) => {
            // An order may come twice, if its acknowledgement was lost: what ran goes on then.
            if before.is_some_and(|before| Arc::ptr_eq(&before, &entry.component)) {
                tracing::info!(actor_id = %command.component_id, max = command.count, "actor scaled");
            } else {
                tracing::info!(actor_id = %command.component_id, digest = %entry.digest, "actor started");
            }
            let data = announce::scaled(&context.host, &entry.command, entry.claims.as_deref());
            // Hosts of lattice v1 say so twice on the first start, and clients count on it.
            let times = if is_first { 2 } else { 1 };
            let events = vec![(EventName::ComponentScaled, data); times];
            Done { id: command.component_id, change: Change::Actor(Box::new(entry)), events }
        }
        Err(error) => refuse(context, command, error.to_string()).await,
    }
}

/// Says that a command failed.
pub(super) async fn refuse(context: Arc<Context>, command: ScaleComponent, error: String) -> Done {
    tracing::warn!(actor_id = %command.component_id, error, "actor not started");
    let data = announce::scale_failed(&context.host, &command, &error);
    Done { id: command.component_id, change: Change::None, events: vec![(EventName::ComponentScaleFailed, data)] }
}

/// Drains an actor that is gone from the roster. That it did not run is a success.
pub(super) async fn stop(context: Arc<Context>, command: ScaleComponent, stopped: Option<Arc<ActorEntry>>) -> Done {
    let mut told = command;
    let mut claims = None;
    if let Some(entry) = stopped {
        entry.actor.drain(context.config.drain).await;
        tracing::info!(actor_id = %told.component_id, "actor stopped");
        told.component_ref.clone_from(&entry.command.component_ref);
        told.annotations = told.annotations.or_else(|| entry.command.annotations.clone());
        claims.clone_from(&entry.claims);
    }
    let data = announce::scaled(&context.host, &told, claims.as_deref());
    Done { id: told.component_id, change: Change::None, events: vec![(EventName::ComponentScaled, data)] }
}

/// The same code with another maximum, config or limits.
fn adjust(context: &Context, command: &ScaleComponent, current: &ActorEntry) -> Result<ActorEntry> {
    let limits = limits(command)?;
    let setup = Setup::new(&context.vault, &command.component_id, &command.config)?;
    let rule = rule(command)?;
    let only_maximum = Limits { max_instances: current.limits.max_instances, ..limits } == current.limits;
    let actor = if only_maximum {
        current.actor.set_max_instances(limits.max_instances);
        current.actor.set_up(setup);
        Arc::clone(&current.actor)
    } else {
        run(context, command, Arc::clone(&current.component), (limits, setup))?
    };
    let known = current.readiness.as_ref().filter(|known| Some(known.rule()) == rule.as_ref());
    let readiness = match known.filter(|_| Arc::ptr_eq(&actor, &current.actor)) {
        Some(known) => Some(Arc::clone(known)),
        None => follow(context, &actor, rule)?,
    };
    Ok(ActorEntry {
        command: command.clone(),
        digest: current.digest.clone(),
        claims: current.claims.clone(),
        limits,
        component: Arc::clone(&current.component),
        actor,
        readiness,
    })
}

/// When the actor counts as ready, as the command says it.
fn rule(command: &ScaleComponent) -> Result<Option<Rule>> {
    Rule::of(command.annotations.as_ref()).map_err(|wrong| Error::new(ErrorKind::Config, wrong))
}

fn follow(context: &Context, actor: &Arc<Actor>, rule: Option<Rule>) -> Result<Option<Arc<Follower>>> {
    let start = |rule| Follower::start(Arc::clone(actor), rule, context.announcer.clone()).map(Arc::new);
    rule.map(start).transpose()
}

async fn start(
    context: &Context,
    (command, taken): (&ScaleComponent, &Taken),
    digest: Option<String>,
) -> Result<ActorEntry> {
    let (limits, rule) = (limits(command)?, rule(command)?);
    // What ran here before was recorded then; a host that is cut off must not wait for the store.
    let is_recorded = digest.is_some();
    let artifact = match digest {
        Some(digest) => context.artifacts.cache.get(&digest).await?,
        None => fetch(context, command).await?,
    };
    let (artifact, claims) = verify(artifact).await?;
    let id = &command.component_id;
    let named = || artifact::path_of(&command.component_ref).map(|path| artifact::canonical(&path));
    let path = artifact.path.clone().or_else(named);
    let origin = Origin { digest: &artifact.digest, path: path.as_deref() };
    let grants = policy::may_run(id, origin, claims.as_deref(), &context.trust, &context.config.unsigned)?;
    let component = compile(context, command, &artifact).await?;
    let setup = wait_for_needs(context, command, &component, &grants).await?;
    context.pulse.check(taken).map_err(|late| Error::new(ErrorKind::Refused, late))?;
    let actor = run(context, command, Arc::clone(&component), (limits, setup))?;
    let readiness = follow(context, &actor, rule)?;
    if let Err(error) = context.artifacts.cache.keep(&artifact).await {
        tracing::warn!(actor_id = %id, error = %error, "component was not kept for a restart");
    }
    let claims = claims.map(|claims| Arc::new(ActorClaims::clone(&claims)));
    if let Some(claims) = claims.as_ref().filter(|_| !is_recorded)
        && let Err(error) = context.records.put_claims(&claims.subject, &as_strings(claims)).await
    {
        tracing::warn!(actor_id = %id, error = %error, "claims were not recorded");
    }
    Ok(ActorEntry { command: command.clone(), digest: artifact.digest, claims, limits, component, actor, readiness })
}

/// The bytes that the command means: those that it names by digest, else what its reference means now.
async fn fetch(context: &Context, command: &ScaleComponent) -> Result<Artifact> {
    let reference = &command.component_ref;
    let pinned = pin::digest_of(command.annotations.as_ref(), reference);
    match pinned.map_err(|wrong| Error::new(ErrorKind::Config, wrong))? {
        Some(digest) => context.artifacts.fetch_pinned(reference, digest).await,
        None => context.artifacts.fetch(reference).await,
    }
}

/// Checks the claims, off the async threads: a hash over megabytes takes milliseconds.
async fn verify(artifact: Artifact) -> Result<(Artifact, Option<Verified<ActorClaims>>)> {
    let work = move || {
        let claims = component::verify(&artifact.bytes, now_unix_seconds());
        (artifact, claims)
    };
    let broke = |error| Error::new(ErrorKind::Component, "checking the claims broke off").with_source(error);
    let (artifact, claims) = tokio::task::spawn_blocking(work).await.map_err(broke)?;
    match claims {
        Ok(claims) => Ok((artifact, claims)),
        Err(error) => Err(Error::new(ErrorKind::Component, error.to_string()).with_source(error)),
    }
}

async fn compile(context: &Context, command: &ScaleComponent, artifact: &Artifact) -> Result<Arc<Compiled>> {
    let load = context.runtime.load(artifact.bytes.clone());
    let component = tokio::time::timeout(COMPILE_TIMEOUT, load).await.map_err(|_| {
        let message = format!("{} was not compiled within {} s", command.component_ref, COMPILE_TIMEOUT.as_secs());
        Error::new(ErrorKind::Component, message)
    })??;
    if component.exports().is_empty() {
        let message = format!(
            "{} exports no interface that could be called: let its world export one, e.g. wasi:http/incoming-handler",
            command.component_ref
        );
        return Err(Error::new(ErrorKind::Component, message));
    }
    Ok(component)
}

/// What the actor is set up with, as soon as nothing stands against its start.
async fn wait_for_needs(
    context: &Context,
    command: &ScaleComponent,
    component: &Compiled,
    grants: &Grants,
) -> Result<Setup> {
    let view = context.records.view();
    let mut changes = view.changes();
    let patience = Instant::now() + PATIENCE;
    let needs = Needs { id: &command.component_id, imports: component.imports(), grants };
    loop {
        let refusals = Refusals::of(needs, &view.links(), context.config.unlinked);
        let is_final = !refusals.not_granted.is_empty();
        let error = if refusals.is_empty() {
            match Setup::new(&context.vault, &command.component_id, &command.config) {
                Ok(setup) => return Ok(setup),
                Err(error) => error,
            }
        } else {
            refusals.into_error(&command.component_id)
        };
        if is_final || tokio::time::timeout_at(patience, changes.next()).await.is_err() {
            return Err(error);
        }
    }
}

fn run(
    context: &Context,
    command: &ScaleComponent,
    component: Arc<Compiled>,
    (limits, setup): (Limits, Setup),
) -> Result<Arc<Actor>> {
    let spec = Spec { id: command.component_id.clone(), component, limits, setup };
    Actor::start(&context.runtime, spec, Arc::clone(&context.router))
}

/// The limits that a command asks for.
fn limits(command: &ScaleComponent) -> Result<Limits> {
    let mut limits = Limits { max_instances: command.count, ..Limits::default() };
    let Some(wanted) = &command.component_limits else { return Ok(limits) };
    if let Some(text) = &wanted.max_memory_limit {
        limits.memory_bytes = number("max_memory_limit", "bytes", text)?;
    }
    if let Some(text) = &wanted.max_execution_time {
        limits.execution_time = Duration::from_millis(number("max_execution_time", "milliseconds", text)?);
    }
    Ok(limits)
}

fn number<N: std::str::FromStr + PartialOrd + From<u8>>(key: &str, unit: &str, text: &str) -> Result<N> {
    let number = text.trim().parse::<N>().ok().filter(|number| *number >= N::from(1));
    number.ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        Error::new(
            ErrorKind::Config,
            format!("component limit {key} is {shown:?}: give a number of {unit}, at least 1"),
        )
    })
}

/// The claims as `claims.get` lists them.
fn as_strings(claims: &ActorClaims) -> StringMap {
    let revision = claims.revision.unwrap_or_default().to_string();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let entries = [
        ("iss", claims.issuer.to_string()),
        ("issuer", claims.issuer.to_string()),
        ("name", text(&claims.name)),
        ("rev", revision.clone()),
        ("revision", revision),
        ("sub", claims.subject.clone()),
        ("subject", claims.subject.clone()),
        ("version", text(&claims.version)),
        ("call_alias", text(&claims.call_alias)),
        ("tags", claims.tags.join(",")),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(crate) fn now_unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::limits;
    use std::time::Duration;
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::command::{ComponentLimits, ScaleComponent};

    fn command(memory: &str, time: &str) -> ScaleComponent {
        ScaleComponent {
            component_ref: "a.wasm".to_owned(),
            component_id: "a".parse().expect("valid"),
            count: 7,
            host_id: Key::generate(KeyKind::Host).public().parse().expect("a host"),
            config: Vec::new(),
            allow_update: false,
            annotations: None,
            component_limits: Some(ComponentLimits {
                max_memory_limit: Some(memory.to_owned()),
                max_execution_time: Some(time.to_owned()),
            }),
        }
    }

    #[test]
    fn limits_are_numbers_in_texts() {
        let parsed = limits(&command("1048576", "250")).expect("valid");
        assert_eq!((parsed.max_instances, parsed.memory_bytes), (7, 1 << 20));
        assert_eq!(parsed.execution_time, Duration::from_millis(250));
        for (memory, time, key) in [("1 MB", "1", "max_memory_limit"), ("1", "0", "max_execution_time")] {
            let error = limits(&command(memory, time)).expect_err("wrong").to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
