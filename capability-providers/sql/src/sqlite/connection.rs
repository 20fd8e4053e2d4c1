//! Opening a connection, and what may be done over it.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::Settings;
use crate::config::Fsync;
use crate::migration;
use crate::statement::{Access, MAX_PARAMS};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;
/// The largest value, and the largest row.
const MAX_VALUE_BYTES: i32 = 16 << 20;
/// What the log of changes shrinks to after it was written into the file.
const MAX_LOG_BYTES: i64 = 64 << 20;
/// Tables that SQLite's extensions read their own state by.
const INNER_PRAGMAS: &[&str] = &["data_version", "page_size"];

/// Opens `path` for migrations: everything may be done, but with other files.
pub(super) fn open(path: &Path, fsync: Fsync) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous(fsync))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // With these on, "a" is the text a where there is no column of that name.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_VARIABLE_NUMBER, i32::try_from(MAX_PARAMS).unwrap_or(i32::MAX))?;
    Ok(connection)
}

/// Opens `path` for an actor.
pub(super) fn open_for(path: &Path, settings: Settings) -> rusqlite::Result<Connection> {
    let mut connection = open(path, settings.fsync)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "query_only", settings.access == Access::Read)?;
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if is_allowed(&context.action, settings.access) { Authorization::Allow } else { Authorization::Deny }
    }))?;
    Ok(connection)
}

fn synchronous(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::Always => "full",
        Fsync::Checkpoint => "normal",
        Fsync::Never => "off",
    }
}

/// Whether a link with `access` may do `action`. Beginning and ending transactions is ours: the statements for it were
/// told by their first word.
fn is_allowed(action: &AuthAction<'_>, access: Access) -> bool {
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => true,
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => {
            access >= Access::Write && (is_rows(table_name) || access == Access::Schema && is_schema(table_name))
        }
        AuthAction::Pragma { pragma_name, .. } => INNER_PRAGMAS.contains(pragma_name),
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateVtable { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropVtable { .. }
        | AuthAction::AlterTable { .. }
        | AuthAction::Reindex { .. }
        | AuthAction::Analyze { .. } => access == Access::Schema,
        _ => false,
    }
}

/// Whether a table is the actor's: neither SQLite's nor that of the migrations.
fn is_rows(table: &str) -> bool {
    !is_schema(table) && !table.eq_ignore_ascii_case(migration::TABLE)
}

fn is_schema(table: &str) -> bool {
    table.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("sqlite_"))
}
