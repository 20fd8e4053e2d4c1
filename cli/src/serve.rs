//! What `trellis up` and `trellis host` share: what hosts are made of, and how they run until they are ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use trellis_host::host::Host;
use trellis_host::runtime::{Runtime, Settings};
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::Key;
use trellis_lattice::message::command::StringMap;
use trellis_provider_sdk::Factory;

use crate::data_dir::{DataDir, make_private_dir};
use crate::key_store::{Grant, issue, public_halves};
use crate::output::say;

/// How long a token holds that a host signs for itself at each start.
const OWN_TOKEN_SECONDS: u64 = 10 * 365 * 86_400;

/// Instances of actors that may exist at once in this process.
const MAX_INSTANCES: u32 = 1_000;

/// The providers that are built in, by the name after `builtin:`.
pub(crate) fn builtins() -> BTreeMap<String, Factory> {
    BTreeMap::from([
        (trellis_provider_http_client::NAME.to_owned(), trellis_provider_http_client::factory()),
        (trellis_provider_http_server::NAME.to_owned(), trellis_provider_http_server::factory()),
        (trellis_provider_keyvalue::NAME.to_owned(), trellis_provider_keyvalue::factory()),
        (trellis_provider_blobstore::NAME.to_owned(), trellis_provider_blobstore::factory()),
        (trellis_provider_messaging::NAME.to_owned(), trellis_provider_messaging::factory()),
        (trellis_provider_sql::NAME.to_owned(), trellis_provider_sql::factory()),
        (trellis_provider_timer::NAME.to_owned(), trellis_provider_timer::factory()),
    ])
}

/// Engines with their code cache in `data`.
pub(crate) async fn runtime(data: &DataDir) -> anyhow::Result<Arc<Runtime>> {
    let cache = data.code_cache();
    let build = move || -> anyhow::Result<Arc<Runtime>> {
        make_private_dir(&cache)?;
        Ok(Runtime::new(Settings { cache_dir: Some(cache), max_instances: MAX_INSTANCES })?)
    };
    tokio::task::spawn_blocking(build).await.context("build the engines")?
}

/// A token for a host whose authority's key is here.
pub(crate) fn own_token(
    authority: &Key,
    lattice: &LatticeName,
    host: &Key,
    labels: StringMap,
) -> anyhow::Result<String> {
    let grant = Grant { labels, lifetime_seconds: OWN_TOKEN_SECONDS, ..Grant::default() };
    issue(authority, lattice, public_halves(host)?, grant)
}

/// The signals that end a server. Listened to from before it starts, so that none is lost.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Whether one came while what serves already was still being added to.
    asked: bool,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            asked: false,
        })
    }

    /// Waits for one.
    pub(crate) async fn ended(&mut self) {
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Awaits `start`; a signal breaks it off.
    pub(crate) async fn unless_ended<T>(
        &mut self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            result = start => result,
            () = self.next() => bail!("ended while starting"),
        }
    }

    /// Awaits `work` of a server that answers already; a signal breaks it off, and [`Self::run`] ends in order at once.
    pub(crate) async fn until_ended(&mut self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        tokio::select! {
            result = work => result,
            () = self.next() => {
                self.asked = true;
                Ok(())
            }
        }
    }

    /// Runs `hosts` until all are stopped by command, or a signal asks to; then they drain for at most `drain`. A
    /// second signal ends the wait.
    pub(crate) async fn run(mut self, hosts: Vec<Host>, drain: Duration) -> anyhow::Result<()> {
        let (end, ended) = watch::channel(false);
        let mut running = JoinSet::new();
        for host in hosts {
            running.spawn(run_host(host, ended.clone(), drain));
        }
        let mut all = std::pin::pin!(async { while running.join_next().await.is_some() {} });
        if !self.asked {
            tokio::select! {
                () = &mut all => return Ok(()),
                () = self.next() => {}
            }
        }
        say("stopping: calls in flight are finished; the same signal again quits at once");
        end.send_replace(true);
        tokio::select! {
            () = &mut all => Ok(()),
            () = self.next() => bail!("quit before all calls were finished"),
        }
    }
}

async fn run_host(host: Host, mut ended: watch::Receiver<bool>, drain: Duration) {
    let limit = tokio::select! {
        asked = host.stopped() => asked,
        // An error means that the sender is gone, and with it the wish to go on.
        _ = ended.wait_for(|ended| *ended) => drain,
    };
    host.stop(limit).await;
}
