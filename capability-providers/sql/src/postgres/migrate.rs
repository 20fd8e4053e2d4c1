//! Running migrations, on one host of the lattice at a time.

use std::collections::BTreeMap;

use tokio::time::timeout_at;
use tokio_postgres::Client;
use trellis_provider_sdk::LinkError;

use super::error;
use super::pool::Lease;
use super::run::Phase;
use crate::deadline::Deadline;
use crate::migration::{CREATE, INSERT, Migration, SELECT, TABLE, pending, refused};

/// What hosts lock while they run migrations: any number that others are unlikely to use.
const LOCK: &str = "select pg_advisory_lock(7237954812076397)";
const UNLOCK: &str = "select pg_advisory_unlock(7237954812076397)";
/// Making a table that is there needs the right to make it, so that this is asked first.
const IS_THERE: &str = "select to_regclass('trellis_migrations') is not null";

/// Runs those of `migrations` that were not run yet, each in a transaction of its own.
pub(super) async fn migrate(
    lease: &mut Lease,
    migrations: Vec<Migration>,
    deadline: Deadline,
) -> Result<(), LinkError> {
    let client = &lease.connection().client;
    let work = async {
        client.batch_execute(LOCK).await.map_err(failed)?;
        if !client.query_one(IS_THERE, &[]).await.map_err(failed)?.get::<_, bool>(0) {
            client.batch_execute(CREATE).await.map_err(failed)?;
        }
        let applied = applied(client).await.map_err(failed)?;
        for migration in pending(migrations, &applied)? {
            run(client, &migration)
                .await
                .map_err(|problem| refused(&migration.name, &error::of(&problem, Phase::Harmless)))?;
            tracing::info!(migration = migration.name, table = TABLE, "migration applied");
        }
        client.batch_execute(UNLOCK).await.map_err(failed)
    };
    let too_long = |_| LinkError::Unavailable("migrations took too long, or another host is running them".to_owned());
    timeout_at(deadline.stop, work).await.map_err(too_long)?
}

fn failed(problem: tokio_postgres::Error) -> LinkError {
    LinkError::Unavailable(format!("migrations cannot be run: {}", error::of(&problem, Phase::Harmless)))
}

async fn applied(client: &Client) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    let rows = client.query(SELECT, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn run(client: &Client, migration: &Migration) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    client.batch_execute(&migration.text).await?;
    client.execute(INSERT, &[&migration.name, &migration.digest]).await?;
    client.batch_execute("commit").await
}
