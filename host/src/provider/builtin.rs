//! Starting a provider that is built into this binary: `builtin:<name>`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_provider_sdk as sdk;

use super::Running;
use super::standing::Board;
use super::supervisor::{Supervisor, guarded};
use crate::announce::Announcer;
use crate::error::{Error, ErrorKind, Result};
use crate::records::{Records, View};
use crate::router::{ProviderCaller, Router};

/// What a reference to a built-in provider begins with.
const SCHEME: &str = "builtin:";

/// Which provider to start.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Its id in the lattice.
    pub(crate) id: EntityId,
    /// `builtin:<name>`.
    pub(crate) reference: String,
    /// Its configs merged.
    pub(crate) config: StringMap,
    /// Where it keeps its state; made if absent.
    pub(crate) data_dir: PathBuf,
}

/// What starting a provider needs of the host.
pub(crate) struct Start<'a> {
    /// The factories by name.
    pub(crate) builtins: &'a BTreeMap<String, sdk::Factory>,
    /// The host.
    pub(crate) host: &'a HostId,
    /// Links and configs.
    pub(crate) view: &'a Arc<View>,
    /// For what its instances share.
    pub(crate) records: &'a Records,
    /// For its calls.
    pub(crate) router: &'a Arc<Router>,
    /// For its health and its links' failures.
    pub(crate) announcer: &'a Announcer,
}

/// The factory that `reference` names.
///
/// # Errors
/// `Config` when it names none, with those that there are.
pub(crate) fn factory<'a>(builtins: &'a BTreeMap<String, sdk::Factory>, reference: &str) -> Result<&'a sdk::Factory> {
    let shown: String = reference.chars().take(200).collect();
    let known = || builtins.keys().map(|name| format!("{SCHEME}{name}")).collect::<Vec<_>>().join(", ");
    let Some(name) = reference.strip_prefix(SCHEME) else {
        let message = format!(
            "{shown:?} is not a built-in provider, and providers that run as processes are not supported yet; built \
             in are: {}",
            known()
        );
        return Err(Error::new(ErrorKind::Config, message));
    };
    let unknown =
        || Error::new(ErrorKind::Config, format!("{shown:?} is not built into this host; there are: {}", known()));
    builtins.get(name).ok_or_else(unknown)
}

/// Makes the provider and gives it a task of its own, which brings it its links.
///
/// # Errors
/// `Config` when the reference names no built-in provider; `Unavailable` when it cannot be made.
pub(crate) async fn start(with: Start<'_>, spec: Spec) -> Result<Arc<Running>> {
    let factory = Arc::clone(factory(with.builtins, &spec.reference)?);
    make_private_dir(&spec.data_dir).map_err(|error| {
        let message = format!("cannot make the directory {}: {error}", spec.data_dir.display());
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })?;
    let environment = sdk::Environment {
        id: spec.id.clone(),
        config: spec.config,
        data_dir: spec.data_dir,
        caller: ProviderCaller::new(spec.id.clone(), Arc::clone(with.router)),
        records: with.records.of_provider(&spec.id),
    };
    let provider = guarded(async { factory(environment) }).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("provider {}: {error}", spec.id)).with_source(error)
    })?;
    let (drain, drain_limit) = tokio::sync::watch::channel(Duration::ZERO);
    let stop = CancellationToken::new();
    let (board, standing) = Board::new();
    let supervisor = Supervisor {
        id: spec.id.clone(),
        host: with.host.clone(),
        provider: Arc::clone(&provider),
        view: Arc::clone(with.view),
        announcer: with.announcer.clone(),
        board,
        drain_limit,
        stop: stop.clone(),
    };
    let ended = CancellationToken::new();
    let says_so = ended.clone().drop_guard();
    let task = tokio::spawn(async move {
        let _says_so = says_so;
        supervisor.run().await;
    });
    let task = AbortOnDropHandle::new(task);
    let description = provider.description();
    Ok(Arc::new(Running { id: spec.id, description, provider, drain, stop, ended, standing, task }))
}

/// Makes `dir` and what is above it, readable by its owner only.
pub(crate) fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
