//! Running migrations, on a connection of their own. Blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use trellis_provider_sdk::LinkError;

use super::connection;
use crate::config::Fsync;
use crate::deadline::Deadline;
use crate::migration::{CREATE, INSERT, Migration, SELECT, TABLE, pending, refused};

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: std::ffi::c_int = 10_000;

/// Runs those of `migrations` that were not run yet, each in a transaction of its own.
pub(super) fn migrate(
    path: &Path,
    fsync: Fsync,
    migrations: Vec<Migration>,
    deadline: Deadline,
) -> Result<(), LinkError> {
    if migrations.is_empty() {
        return Ok(());
    }
    let failed = |error: rusqlite::Error| LinkError::Unavailable(format!("database {}: {error}", path.display()));
    let mut connection = connection::open(path, fsync).map_err(failed)?;
    let stop = deadline.stop.into_std();
    connection.progress_handler(STEPS, Some(move || Instant::now() >= stop)).map_err(failed)?;
    connection.busy_timeout(deadline.remaining()).map_err(failed)?;
    connection.execute_batch(CREATE).map_err(failed)?;
    let applied = applied(&connection).map_err(failed)?;
    for migration in pending(migrations, &applied)? {
        run(&mut connection, &migration).map_err(|error| refused(&migration.name, &error))?;
        tracing::info!(migration = migration.name, table = TABLE, "migration applied");
    }
    Ok(())
}

fn applied(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(SELECT)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn run(connection: &mut Connection, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(&migration.text)?;
    transaction.execute(INSERT, (&migration.name, &migration.digest))?;
    transaction.commit()
}
