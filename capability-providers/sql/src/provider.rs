//! The provider: calls to statements and transactions, on the database of their link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use trellis_interfaces::sql::{DATABASE, Error};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, Body, CallError, Description, EntityId, Environment, Factory, Head, Interface,
    Invocation, LinkError, LinkName, Provider, Role, StringMap, wire,
};

use crate::call::Link;
use crate::config::{self, LinkConfig, Place};
use crate::database::Database;
use crate::deadline::Deadline;
use crate::open::Open;
use crate::postgres::{self, Postgres};
use crate::sqlite::{self, Files, Sqlite};
use crate::statement::Access;

/// The name after `builtin:`.
pub const NAME: &str = "sql";

/// How long a link may take to open its database, migrations included.
const OPEN: Duration = Duration::from_secs(9);

/// The keys that may be secrets.
const SECRETS: [&str; 2] = ["url", "password"];

/// Makes SQL providers.
pub fn factory() -> Factory {
    Arc::new(|environment| Ok(Arc::new(Sql::start(environment))))
}

/// A link and how it stands.
enum Standing {
    Up(StringMap, Arc<Link>),
    /// Says why it is not.
    Down(String),
}

type Links = HashMap<(EntityId, LinkName), Arc<Standing>>;

/// SQL databases for actors.
pub struct Sql {
    environment: Environment,
    files: Files,
    links: ArcSwap<Links>,
    calls: TaskTracker,
}

impl Sql {
    /// Opens nothing until the first link comes.
    pub fn start(environment: Environment) -> Self {
        Self { environment, files: Files::default(), links: ArcSwap::default(), calls: TaskTracker::new() }
    }

    fn set(&self, link: &ActiveLink, standing: Option<Standing>) {
        let key = (link.link.source_id.clone(), link.link.name.clone());
        let standing = standing.map(Arc::new);
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            match &standing {
                Some(standing) => links.insert(key.clone(), Arc::clone(standing)),
                None => links.remove(&key),
            };
            links
        });
    }

    fn standing(&self, source: &EntityId, name: &LinkName) -> Option<Arc<Standing>> {
        self.links.load().get(&(source.clone(), name.clone())).cloned()
    }

    /// The link's config over the provider's own, and over both the secrets that a database is opened with.
    fn merged(&self, link: &ActiveLink) -> StringMap {
        let mut config = self.environment.config.clone();
        config.extend(link.config.iter().map(|(key, value)| (key.clone(), value.clone())));
        for key in SECRETS {
            let secret = link.secrets.get(key).or_else(|| self.environment.secrets.get(key));
            if let Some(text) = secret.and_then(|secret| std::str::from_utf8(secret.reveal()).ok()) {
                config.insert(key.to_owned(), text.to_owned());
            }
        }
        config
    }

    async fn open(&self, actor: &EntityId, config: &StringMap) -> Result<Link, LinkError> {
        let config = LinkConfig::parse(config)?;
        let deadline = Deadline::within(Instant::now(), OPEN);
        let migrations = tokio::task::spawn_blocking(|| config.migrations.read());
        let migrations = migrations.await.map_err(|error| LinkError::Unavailable(error.to_string()))??;
        let LinkConfig { access, limits, connections, timeout, idle, retries, .. } = config;
        if access == Access::Read && !migrations.is_empty() {
            let text = "a link with `access: read` has migrations: give them to another link of that database";
            return Err(LinkError::Unavailable(text.to_owned()));
        }
        let database: Box<dyn Database> = match config.place {
            Place::Sqlite(place) => {
                let settings = sqlite::Settings { access, fsync: place.fsync, limits, connections };
                let path = self.path(actor, place.name.as_deref())?;
                Box::new(Sqlite::open(self.files.get(path), settings, migrations, deadline).await?)
            }
            Place::Postgres(place) => {
                let settings = postgres::Settings { access, limits, connections, timeout, idle, retries };
                Box::new(Postgres::open(*place, settings, migrations, deadline).await?)
            }
        };
        let open = Open::new(config.transactions, idle);
        Ok(Link { database, open, access, isolation: config.isolation, timeout })
    }

    /// The file of a database: one that the link names, or the actor's own.
    fn path(&self, actor: &EntityId, name: Option<&str>) -> Result<std::path::PathBuf, LinkError> {
        let folder = match name {
            Some(_) => self.environment.data_dir.clone(),
            None => self.environment.data_dir.join("actors"),
        };
        let made = std::fs::create_dir_all(&folder);
        made.map_err(|error| LinkError::Unavailable(format!("cannot make {}: {error}", folder.display())))?;
        Ok(folder.join(format!("{}.sqlite3", name.unwrap_or(actor.as_str()))))
    }

    fn link(&self, head: &Head) -> Result<Result<Arc<Link>, Error>, CallError> {
        if self.calls.is_closed() {
            return Err(CallError::no_target(format!("{} is closed", self.environment.id)));
        }
        let standing = self.standing(&head.source, &head.link).ok_or_else(|| self.environment.link_not_up(head))?;
        Ok(match &*standing {
            Standing::Up(_, link) => Ok(Arc::clone(link)),
            Standing::Down(reason) => Err(Error::Unavailable(reason.clone())),
        })
    }
}

#[async_trait]
impl Provider for Sql {
    fn description(&self) -> Description {
        let serves = vec![Interface::parse(DATABASE).expect("a constant of ours")];
        Description { name: "SQL (SQLite, PostgreSQL)".into(), serves, calls: Vec::new() }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        config::check_keys(&self.environment.config, link)?;
        LinkConfig::parse(&self.merged(link)).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        if link.role != Role::Target {
            let text = "a database is the target of its links, not the source";
            return Err(LinkError::Unavailable(text.to_owned()));
        }
        let config = self.merged(link);
        let standing = self.standing(&link.link.source_id, &link.link.name);
        if matches!(standing.as_deref(), Some(Standing::Up(known, _)) if *known == config) {
            return Ok(());
        }
        let checked = config::check_keys(&self.environment.config, link);
        let opened = match checked {
            Ok(()) => self.open(&link.link.source_id, &config).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(opened) => {
                self.set(link, Some(Standing::Up(config, Arc::new(opened))));
                Ok(())
            }
            Err(error) => {
                self.set(link, Some(Standing::Down(error.to_string())));
                Err(error)
            }
        }
    }

    async fn link_down(&self, link: &ActiveLink) {
        self.set(link, None);
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        match LinkConfig::parse(&self.merged(link)).map(|config| config.place) {
            Ok(Place::Postgres(_)) => Backing::Server,
            Ok(Place::Sqlite(_)) | Err(_) => Backing::Machine,
        }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let _call = self.calls.token();
        let Invocation { head, args, .. } = invocation;
        let value = match self.link(&head)? {
            Ok(link) => link.call(&head, &args).await?,
            Err(error) => encode(&Err::<(), _>(error))?,
        };
        Ok(Answer { value, body: Body::Empty })
    }

    async fn drain(&self, limit: Duration) {
        self.calls.close();
        let _ = tokio::time::timeout(limit, self.calls.wait()).await;
        self.links.store(Arc::default());
    }
}

/// A result as it travels.
pub(crate) fn encode<T: Serialize>(result: &Result<T, Error>) -> Result<Args, CallError> {
    wire::encode(result)
}
