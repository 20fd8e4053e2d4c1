//! One connection to a server, for all links that have the same: it comes back by itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, ScriptInvocation};
use arc_swap::ArcSwap;
use trellis_provider_sdk::LinkError;

use super::fault::{failure, reason};
use crate::backend::Failure;
use crate::config::{Server, wrong};

/// How long connecting may take, and the pauses between attempts while calls wait for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
const RETRIES: usize = 2;

/// Calls that may wait for their answers at once; more wait to be sent.
const IN_FLIGHT: usize = 4_096;

/// So many calls in a row that were given up mean that the other end is gone without a word.
const MAX_UNANSWERED: u32 = 16;

/// Whether a command changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It does not: it may be sent again.
    Read,
    /// It does.
    Write,
}

/// A connection. Closes when it is dropped.
pub(crate) struct Connection {
    client: Client,
    /// Replaced when it cannot help itself.
    manager: ArcSwap<ConnectionManager>,
    unanswered: AtomicU32,
    /// `host:port`, for messages.
    server: String,
}

impl Connection {
    /// Connects, and asks whether we are let in.
    ///
    /// # Errors
    /// `Config` for a URL that is none; `Unavailable` when the server is not there, is another, or refuses us.
    pub(crate) async fn open(server: &Server) -> Result<Self, LinkError> {
        let info = server.url.reveal().into_connection_info().map_err(|_| url())?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &server.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &server.password {
            settings = settings.set_password(password.reveal());
        }
        let info = info.set_redis_settings(settings);
        let server = info.addr().to_string();
        let client = Client::open(info).map_err(|_| url())?;
        let manager = ArcSwap::from_pointee(manage(&client).map_err(|error| unavailable(&server, &error))?);
        let connection = Self { client, manager, unanswered: AtomicU32::new(0), server };
        let ping = ::redis::cmd("PING");
        match tokio::time::timeout(CONNECT_TIMEOUT * 2, connection.query::<String>(&ping)).await {
            Ok(Ok(_)) => Ok(connection),
            Ok(Err(error)) => Err(unavailable(&connection.server, &error)),
            Err(_elapsed) => Err(LinkError::Unavailable(format!("redis at {} does not answer", connection.server))),
        }
    }

    /// `host:port`, for messages.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// What a connection for subscriptions is made by.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a command that changes nothing; once more when the connection turns out to be broken.
    pub(super) async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let result = match self.query(command).await {
            Err(error) if error.is_connection_dropped() => self.query(command).await,
            result => result,
        };
        result.map_err(|error| failure(&self.server, &error, Effect::Read, None))
    }

    /// As [`Connection::read`], for several at once.
    pub(super) async fn read_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Failure> {
        let result = match self.query_all(commands).await {
            Err(error) if error.is_connection_dropped() => self.query_all(commands).await,
            result => result,
        };
        result.map_err(|error| failure(&self.server, &error, Effect::Read, None))
    }

    /// Sends commands that change something.
    pub(super) async fn write(&self, commands: &Pipeline) -> Result<(), Failure> {
        let result = self.query_all(commands).await;
        result.map_err(|error| failure(&self.server, &error, Effect::Write, None))
    }

    /// Runs a script; `key` is the one that it increments.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        effect: Effect,
        key: Option<&str>,
    ) -> Result<T, Failure> {
        let guard = self.guard();
        let result = script.invoke_async(&mut guard.manager()).await;
        let result = guard.answered(result);
        result.map_err(|error| failure(&self.server, &error, effect, key))
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let guard = self.guard();
        let result = command.query_async(&mut guard.manager()).await;
        guard.answered(result)
    }

    async fn query_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let guard = self.guard();
        let result = commands.query_async(&mut guard.manager()).await;
        guard.answered(result)
    }

    fn guard(&self) -> Guard<'_> {
        Guard { connection: self, is_answered: false }
    }

    /// Begins anew. Calls that wait on the old connection still do.
    fn replace(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
        if let Ok(manager) = manage(&self.client) {
            self.manager.store(manager.into());
        }
    }
}

/// Sees whether a call gets an answer, or is given up.
struct Guard<'a> {
    connection: &'a Connection,
    is_answered: bool,
}

impl Guard<'_> {
    fn manager(&self) -> ConnectionManager {
        ConnectionManager::clone(&self.connection.manager.load())
    }

    fn answered<T>(mut self, result: Result<T, RedisError>) -> Result<T, RedisError> {
        self.is_answered = true;
        self.connection.unanswered.store(0, Ordering::Relaxed);
        // The manager keeps such an outcome of connecting for ever.
        let is_lasting = |error: &RedisError| {
            matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::Parse | ErrorKind::Client)
                || matches!(error.kind(), ErrorKind::Extension) && matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        };
        if result.as_ref().is_err_and(is_lasting) {
            self.connection.replace();
        }
        result
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.is_answered && self.connection.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_UNANSWERED {
            self.connection.replace();
        }
    }
}

fn manage(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_min_delay(MIN_PAUSE)
        .set_max_delay(MAX_PAUSE)
        .set_number_of_retries(RETRIES)
        .set_concurrency_limit(IN_FLIGHT)
        // Each call has a deadline of its own.
        .set_response_timeout(None);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn url() -> LinkError {
    wrong(
        "url",
        "is not a URL of Redis",
        "`redis://` or `rediss://`, host, port and database",
        "redis://127.0.0.1:6379/0",
    )
}

fn unavailable(server: &str, error: &RedisError) -> LinkError {
    LinkError::Unavailable(format!("redis at {server} {}", reason(error)))
}
