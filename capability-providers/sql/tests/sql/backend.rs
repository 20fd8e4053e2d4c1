//! Both backends in the same terms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use trellis_provider_sdk::testing::{environment, nobody};
use trellis_provider_sdk::{LinkError, Provider};
use trellis_provider_sql::factory;

use crate::actor::Actor;
use crate::server::Server;

/// A provider with a backend.
pub(crate) struct Backend {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) server: Option<Server>,
    pub(crate) data: TempDir,
    next: AtomicU32,
}

/// A database of a backend, as link config.
pub(crate) struct Database(Vec<(String, String)>);

impl Backend {
    pub(crate) fn sqlite() -> Self {
        Self::new(None)
    }

    pub(crate) fn postgres() -> Self {
        Self::new(Some(Server::start()))
    }

    fn new(server: Option<Server>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let provider = factory()(environment("sql", data.path(), nobody())).unwrap();
        Self { provider, server, data, next: AtomicU32::default() }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    /// A database that nobody else has.
    pub(crate) fn database(&self) -> Database {
        let name = format!("db{}", self.next.fetch_add(1, Ordering::Relaxed));
        let pairs = match &self.server {
            None => vec![("database", name)],
            Some(server) => {
                server.add_user(&name);
                vec![("backend", "postgres".to_owned()), ("url", server.url(&name))]
            }
        };
        Database(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(crate) async fn try_link(
        &self,
        actor: &str,
        database: &Database,
        pairs: &[(&str, &str)],
    ) -> Result<Actor, LinkError> {
        let own = database.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let pairs: Vec<_> = own.chain(pairs.iter().copied()).collect();
        Actor::try_linked(&self.provider, actor, &pairs).await
    }

    pub(crate) async fn link(&self, actor: &str, database: &Database, pairs: &[(&str, &str)]) -> Actor {
        self.try_link(actor, database, pairs).await.unwrap()
    }

    /// An actor that may change tables, with a database of its own.
    pub(crate) async fn actor(&self, name: &str) -> Actor {
        self.link(name, &self.database(), &[("access", "schema")]).await
    }

    /// A statement that runs until it is told to stop.
    pub(crate) fn endless(&self) -> &'static str {
        if self.is_sqlite() {
            // Known for a reading one by its first word: those that may write wait for each other.
            "select (with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n)"
        } else {
            "select pg_sleep(600)"
        }
    }
}

/// Makes one test a backend of each function, all with a provider of their own.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&$crate::backend::Backend::sqlite()).await;
            })*
        }

        /// One server for all of them, as starting one takes its time.
        #[tokio::test(flavor = "multi_thread")]
        async fn postgres() {
            let backend = $crate::backend::Backend::postgres();
            $(
                eprintln!("{}", stringify!($name));
                $name(&backend).await;
            )*
        }
    };
}
pub(crate) use on_both;
