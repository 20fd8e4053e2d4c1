//! Starting a provider of any kind, and replacing one that runs as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::{ConfigName, EntityId, HostId, LatticeName};
use trellis_lattice::message::command::StringMap;
use trellis_provider_sdk as sdk;
use trellis_provider_sdk::process::WithHost;

use super::process::{Keeper, Plan, temporary_dir};
use super::program::Programs;
use super::reference::Reference;
use super::standing::Board;
use super::supervisor::Supervisor;
use super::{Running, builtin};
use crate::announce::Announcer;
use crate::config::User;
use crate::error::{Error, ErrorKind, Result};
use crate::records::Records;
use crate::resilience::Defaults;
use crate::router::{ProviderCaller, Router};
use crate::secrets::Vault;

/// Which provider to start.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Its id in the lattice.
    pub(crate) id: EntityId,
    /// See [`Reference`].
    pub(crate) reference: String,
    /// Its configs merged.
    pub(crate) config: StringMap,
    /// Its own secrets.
    pub(crate) secrets: sdk::SecretMap,
    /// The names of its configs, references to secrets among them.
    pub(crate) config_names: Vec<ConfigName>,
    /// Where it keeps its state; made if absent.
    pub(crate) data_dir: PathBuf,
}

/// What starting a provider needs of the host.
pub(crate) struct Start<'a> {
    /// The factories by name.
    pub(crate) builtins: &'a BTreeMap<String, sdk::Factory>,
    /// Where programs come from, and which may run.
    pub(crate) programs: Programs<'a>,
    /// The host.
    pub(crate) host: &'a HostId,
    /// The lattice.
    pub(crate) lattice: &'a LatticeName,
    /// Links, configs and secrets.
    pub(crate) vault: &'a Arc<Vault>,
    /// For what its instances share.
    pub(crate) records: &'a Records,
    /// For its calls.
    pub(crate) router: &'a Arc<Router>,
    /// For its health and its links' failures.
    pub(crate) announcer: &'a Announcer,
}

/// Makes the provider and gives it a task of its own, which brings it its links.
///
/// # Errors
/// `Config` when the reference means nothing, `Refused` when it may not run here, `Unavailable` when it cannot be made,
/// and what fetching it fails with.
pub(crate) async fn start(with: Start<'_>, spec: Spec) -> Result<Arc<Running>> {
    let (provider, keeper) = match Reference::parse(&spec.reference, with.builtins, with.programs.native)? {
        Reference::Builtin(factory) => {
            make_private_dir(&spec.data_dir).map_err(|error| cannot_make(&spec.data_dir, error))?;
            let environment = sdk::Environment {
                id: spec.id.clone(),
                config: spec.config,
                secrets: spec.secrets,
                data_dir: spec.data_dir,
                caller: ProviderCaller::new(spec.id.clone(), Arc::clone(with.router)),
                records: with.records.of_provider(&spec.id),
            };
            (builtin::make(factory, environment).await?, None)
        }
        reference => {
            let plan = plan(&with, reference, &spec).await?;
            // What a process that ended left there is nobody's.
            let _ = std::fs::remove_dir_all(temporary_dir(&plan.data_dir));
            make_own_dir(&temporary_dir(&plan.data_dir), plan.native.user)?;
            let (keeper, provider) = Keeper::start(plan).await?;
            (provider, Some(keeper))
        }
    };
    Ok(run(&with, (spec.id, spec.config_names), provider, keeper))
}

/// Runs `spec` in the place of `running`, without a gap.
///
/// # Errors
/// As [`start`]; `Refused` when one of the two is built in, which can only be stopped and started.
pub(crate) async fn replace(with: Start<'_>, spec: Spec, running: &Running, drain: Duration) -> Result<()> {
    let reference = Reference::parse(&spec.reference, with.builtins, with.programs.native)?;
    let keeper = match (&running.keeper, &reference) {
        (None, _) | (_, Reference::Builtin(_)) => {
            let message = format!(
                "provider {} runs already, and what is built in cannot be replaced: stop it, then start it",
                spec.id
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        (Some(keeper), _) => keeper,
    };
    let description = keeper.replace(plan(&with, reference, &spec).await?, drain).await?;
    running.description.store(Arc::new(description));
    Ok(())
}

async fn plan(with: &Start<'_>, reference: Reference<'_>, spec: &Spec) -> Result<Plan> {
    let native = with.programs.native;
    let program = with.programs.find(reference, &spec.id).await?;
    let data_dir = match &native.dir {
        Some(dir) => dir.join(spec.id.as_str()),
        None => spec.data_dir.clone(),
    };
    // The process has another working directory.
    let data_dir = std::path::absolute(&data_dir).map_err(|error| cannot_make(&data_dir, error))?;
    make_own_dir(&data_dir, native.user)?;
    Ok(Plan {
        id: spec.id.clone(),
        host: with.host.to_string(),
        lattice: with.lattice.to_string(),
        program,
        config: spec.config.clone(),
        secrets: spec.secrets.clone(),
        data_dir,
        native: Arc::clone(native),
        caller: WithHost::new(
            ProviderCaller::new(spec.id.clone(), Arc::clone(with.router)),
            with.records.of_provider(&spec.id),
        ),
    })
}

fn run(
    with: &Start<'_>,
    (id, config_names): (EntityId, Vec<ConfigName>),
    provider: Arc<dyn sdk::Provider>,
    keeper: Option<Keeper>,
) -> Arc<Running> {
    let (drain, drain_limit) = watch::channel(Duration::ZERO);
    let stop = CancellationToken::new();
    let (board, standing) = Board::new();
    let defaults = Arc::<Defaults>::default();
    let supervisor = Supervisor {
        id: id.clone(),
        host: with.host.clone(),
        provider: Arc::clone(&provider),
        vault: Arc::clone(with.vault),
        config_names,
        announcer: with.announcer.clone(),
        board,
        defaults: Arc::clone(&defaults),
        drain_limit,
        relink: keeper.as_ref().map_or_else(|| watch::channel(0).1, |keeper| keeper.relink.clone()),
        stop: stop.clone(),
    };
    let ended = CancellationToken::new();
    let says_so = ended.clone().drop_guard();
    let task = tokio::spawn(async move {
        let _says_so = says_so;
        supervisor.run().await;
    });
    let task = AbortOnDropHandle::new(task);
    let description = ArcSwap::from_pointee(provider.description());
    Arc::new(Running { id, description, provider, keeper, drain, stop, ended, standing, defaults, task })
}

/// Makes `dir` and what is above it, readable by its owner only.
pub(crate) fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes `dir` for a process that runs as `user`.
fn make_own_dir(dir: &Path, user: Option<User>) -> Result<()> {
    let made = make_private_dir(dir).and_then(|()| match user {
        Some(User { uid, gid }) => std::os::unix::fs::chown(dir, Some(uid), Some(gid)),
        None => Ok(()),
    });
    made.map_err(|error| cannot_make(dir, error))
}

fn cannot_make(dir: &Path, error: std::io::Error) -> Error {
    let message = format!("cannot make the directory {}: {error}", dir.display());
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
