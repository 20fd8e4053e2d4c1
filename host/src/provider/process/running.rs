//! One process that is ready: how it comes to be, is given links, and ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use trellis_provider_sdk::process::{Bootstrap, Order, VERSION};
use trellis_provider_sdk::{ActiveLink, Backing, Description};

use super::connection::{Connection, Done, Refusal};
use super::disk::Watch;
use super::keeper::Plan;
use super::launch::{Process, launch};

/// The longest that a process may take for one link.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);
/// A process that closes its socket is most often just about to end; how it does tells more.
const LAST_WORD: Duration = Duration::from_millis(200);
/// How long a program may be busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked at what may have changed.
const LOOK: Duration = Duration::from_millis(10);

/// A process that is ready.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) connection: Arc<Connection>,
    disk: Watch,
}

impl Running {
    /// Ends it: it sees its socket close, and goes.
    pub(super) async fn end(self) {
        let Self { process, connection, .. } = self;
        drop(connection);
        process.end().await;
    }
}

/// Starts a process and waits until it is ready.
pub(super) async fn run(plan: &Plan) -> Result<(Running, Description), String> {
    let (mut process, stream) = launch_idle(plan).await.map_err(|error| format!("cannot be started: {error}"))?;
    let bootstrap = Bootstrap {
        version: VERSION,
        provider_id: plan.id.clone(),
        host_id: plan.host.clone(),
        lattice: plan.lattice.clone(),
        config: plan.config.clone(),
        secrets: plan.secrets.clone(),
        data_dir: plan.data_dir.clone(),
        log: "info".to_owned(),
    };
    match Connection::open(stream, Arc::clone(&plan.caller), bootstrap, Arc::clone(&plan.native)).await {
        Ok((connection, description)) => {
            let disk = Watch::start(&plan.data_dir, plan.native.limits.disk_bytes);
            Ok((Running { process, connection: Arc::new(connection), disk }, description))
        }
        Err(reason) => match timeout(LAST_WORD, process.ended()).await {
            Ok(status) => Err(format!("{reason} ({status})")),
            Err(_) => Err(reason),
        },
    }
}

/// Starts a program. One that was just written may seem to be written still: another process that is being started at
/// the moment has its file open until it is another program.
async fn launch_idle(plan: &Plan) -> std::io::Result<(Process, UnixStream)> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match launch(&plan.program, &plan.native, (&plan.id, &plan.data_dir)) {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < give_up => {
                sleep(LOOK).await;
            }
            outcome => return outcome,
        }
    }
}

/// Gives a link to a process, and learns what is behind it; or why it did not take it.
pub(super) async fn link_up(connection: &Connection, link: &ActiveLink) -> Result<Backing, Refusal> {
    let link = link.clone();
    match timeout(LINK_TIMEOUT, connection.order(|id| Order::LinkUp { id, link })).await {
        // One of an older SDK does not say it.
        Ok(Ok(Done { refusal: None, backing })) => Ok(backing.unwrap_or(Backing::Machine)),
        Ok(Ok(Done { refusal: Some(refusal), .. })) => {
            Err(Refusal { reason: connection.explained(refusal.reason), is_held: refusal.is_held })
        }
        Ok(Err(error)) => Err(error.message.into()),
        Err(_) => Err(format!("the process did not take the link within {} s", LINK_TIMEOUT.as_secs()).into()),
    }
}

/// Takes a link from a process.
pub(super) async fn link_down(connection: &Connection, link: ActiveLink) {
    // One that does not answer, or is gone, will be started again without it.
    let _ = timeout(LINK_TIMEOUT, connection.ask(|id| Order::LinkDown { id, link })).await;
}

/// Waits until the process ends or breaks the rules; says how.
pub(super) async fn gone(running: Option<&mut Running>) -> String {
    let Some(Running { process, connection, disk, .. }) = running else { return std::future::pending().await };
    tokio::select! {
        status = process.ended() => status,
        reason = disk.over() => reason,
        () = connection.closed() => {
            let reason = connection.reason().unwrap_or_else(|| "it said what nobody asked".to_owned());
            match timeout(LAST_WORD, process.ended()).await {
                Ok(status) => status,
                Err(_) => format!("it broke the channel and was killed: {reason}"),
            }
        }
    }
}

/// Lets a process that was replaced finish, at most for `limit`, and ends it.
pub(super) async fn retire(old: Running, limit: Duration) {
    let drain = async {
        // Whoever took the old connection before it was replaced may be about to call: such a call comes before the
        // order to drain.
        while Arc::strong_count(&old.connection) > 1 {
            sleep(LOOK).await;
        }
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        old.connection.ask(|id| Order::Drain { id, limit_ms }).await
    };
    // Late or lost is the same: it ends now.
    let _ = timeout(limit, drain).await;
    old.end().await;
}
