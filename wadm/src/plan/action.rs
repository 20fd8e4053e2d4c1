//! What a plan asks for: commands to hosts, writes to the lattice's records, and changes of the intent.

use std::fmt;
use std::sync::Arc;

use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

use crate::intent::AppName;
use crate::observe::{Limits, LinkKey, Owned, Owner};

/// One thing to do. Doing it twice is the same as doing it once.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What it is about; the same in each plan that asks for it, so that attempts are counted by it.
    pub key: ActionKey,
    /// For which application.
    pub app: AppName,
    /// For which generation of it; goes with the command.
    pub generation: u64,
    /// Within an application, an action is sent when all of earlier stages were acknowledged; an earlier stage that
    /// failed holds back later ones of the same application, but for stops.
    pub stage: Stage,
    /// What to do.
    pub deed: Deed,
}

/// The order within an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Write down what will be made.
    Record,
    /// Configs.
    Config,
    /// Links that stand in the way of others.
    Unlink,
    /// Providers.
    Provider,
    /// Links.
    Link,
    /// Actors: they are refused where their imports are not linked.
    Actor,
    /// What is no longer wanted, and nothing depends on any more.
    Stop,
    /// Links and configs that nobody needs any more.
    Erase,
    /// Strike from the ledger what is gone.
    Forget,
}

/// What an action is about, as a text like `actor/N…/shop-cart`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionKey(Arc<str>);

impl ActionKey {
    /// The key with that text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Write an application's ledger: it replaces `instead_of` (`None`: there was none), else it fails.
    RecordOwned {
        /// What the planner saw.
        instead_of: Option<Owned>,
        /// What to write.
        owned: Owned,
    },
    /// Write a config.
    PutConfig {
        /// Its name in the lattice.
        name: ConfigName,
        /// Its content.
        values: StringMap,
    },
    /// Delete a config.
    DeleteConfig {
        /// Its name in the lattice.
        name: ConfigName,
    },
    /// Write a link.
    PutLink {
        /// The link.
        link: Link,
    },
    /// Write a link again that is deleted along with another one; whose it is does not matter.
    RestoreLink {
        /// The link.
        link: Link,
    },
    /// Delete a link: this one, and no other one with the same source, name and package.
    DeleteLink {
        /// Which.
        link: LinkKey,
    },
    /// Run an actor with so many instances, or change that, its limits, configs or annotations (`component.scale`).
    ScaleActor(ScaleActor),
    /// Replace a running actor's bytes without losing a request (`component.scale` with `allow_update`, since that
    /// carries everything else too).
    UpdateActor(ScaleActor),
    /// Stop an actor on one host (`component.scale` to 0).
    StopActor {
        /// The host.
        host: HostId,
        /// The actor.
        id: EntityId,
        /// What runs, which the command must name.
        reference: Arc<str>,
        /// Whose it is.
        owner: Arc<Owner>,
    },
    /// Start a provider.
    StartProvider(StartProvider),
    /// Run another one in the place of a running provider without losing a call (`provider.start` with `allow_update`).
    UpdateProvider(StartProvider),
    /// Stop a provider on one host.
    StopProvider {
        /// The host.
        host: HostId,
        /// The provider.
        id: EntityId,
    },
    /// Deploy an earlier version: the rollout failed.
    RollBack {
        /// The version to go back to.
        to: String,
        /// Why, for people.
        why: String,
    },
}

/// How an actor is to run on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleActor {
    /// The host.
    pub host: HostId,
    /// The actor's id.
    pub id: EntityId,
    /// Where its bytes are.
    pub reference: Arc<str>,
    /// Hex of the SHA-256 of the bytes that run of this reference already, and that it is to mean there too.
    pub digest: Option<Arc<str>>,
    /// At most so many instances at once; not 0.
    pub count: u32,
    /// Its limits.
    pub limits: Limits,
    /// When it counts as ready, as an annotation has it.
    pub readiness: Option<Arc<str>>,
    /// Its configs, later ones win.
    pub config: Arc<[ConfigName]>,
    /// Its annotations.
    pub owner: Arc<Owner>,
}

/// How a provider is to run on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct StartProvider {
    /// The host.
    pub host: HostId,
    /// The provider's id.
    pub id: EntityId,
    /// Where it is.
    pub reference: Arc<str>,
    /// Its configs, later ones win.
    pub config: Arc<[ConfigName]>,
    /// Its annotations.
    pub owner: Arc<Owner>,
}

impl Deed {
    /// The key of an action of `app` that does this.
    pub fn key(&self, app: &AppName) -> ActionKey {
        ActionKey::new(match self {
            Self::RecordOwned { .. } => format!("owned/{app}"),
            Self::PutConfig { name, .. } => format!("config/{name}"),
            Self::DeleteConfig { name } => format!("erase-config/{name}"),
            Self::PutLink { link } | Self::RestoreLink { link } => format!("link/{}", link_text(&LinkKey::of(link))),
            Self::DeleteLink { link } => format!("erase-link/{}", link_text(link)),
            Self::ScaleActor(actor) | Self::UpdateActor(actor) => format!("actor/{}/{}", actor.host, actor.id),
            Self::StopActor { host, id, .. } => format!("stop-actor/{host}/{id}"),
            Self::StartProvider(provider) | Self::UpdateProvider(provider) => {
                format!("provider/{}/{}", provider.host, provider.id)
            }
            Self::StopProvider { host, id } => format!("stop-provider/{host}/{id}"),
            Self::RollBack { .. } => format!("roll-back/{app}"),
        })
    }

    /// When in the order of its application it is done.
    pub fn stage(&self) -> Stage {
        match self {
            Self::RecordOwned { .. } => Stage::Record,
            Self::PutConfig { .. } => Stage::Config,
            Self::StartProvider(_) | Self::UpdateProvider(_) => Stage::Provider,
            Self::PutLink { .. } | Self::RestoreLink { .. } => Stage::Link,
            Self::ScaleActor(_) | Self::UpdateActor(_) => Stage::Actor,
            Self::StopActor { .. } | Self::StopProvider { .. } => Stage::Stop,
            Self::DeleteConfig { .. } | Self::DeleteLink { .. } => Stage::Erase,
            Self::RollBack { .. } => Stage::Forget,
        }
    }
}

fn link_text(link: &LinkKey) -> String {
    let LinkKey { source, name, namespace, package, target } = link;
    format!("{source}/{name}/{namespace}/{package}/{target}")
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deed {
            Deed::RecordOwned { owned, .. } => {
                write!(f, "record {} links and {} configs of {}", owned.links.len(), owned.configs.len(), self.app)
            }
            Deed::PutConfig { name, .. } => write!(f, "put config {name}"),
            Deed::DeleteConfig { name } => write!(f, "delete config {name}"),
            Deed::PutLink { link } => write!(f, "put link {}", LinkKey::of(link)),
            Deed::RestoreLink { link } => write!(f, "put link {} again", LinkKey::of(link)),
            Deed::DeleteLink { link } => write!(f, "delete link {link}"),
            Deed::ScaleActor(actor) => {
                write!(f, "scale actor {} on {} to {}{}", actor.id, actor.host, actor.count, pin(actor))
            }
            Deed::UpdateActor(actor) => {
                write!(f, "update actor {} on {} to {}{}", actor.id, actor.host, actor.reference, pin(actor))
            }
            Deed::StopActor { host, id, .. } => write!(f, "stop actor {id} on {host}"),
            Deed::StartProvider(provider) => write!(f, "start provider {} on {}", provider.id, provider.host),
            Deed::UpdateProvider(provider) => {
                write!(f, "update provider {} on {} to {}", provider.id, provider.host, provider.reference)
            }
            Deed::StopProvider { host, id } => write!(f, "stop provider {id} on {host}"),
            Deed::RollBack { to, why } => write!(f, "roll {} back to version {to}: {why}", self.app),
        }
    }
}

/// The bytes that an actor's reference is to mean, as far as people need to see them.
fn pin(actor: &ScaleActor) -> String {
    let digest = actor.digest.as_ref().map(|digest| digest.get(..12).unwrap_or(digest));
    digest.map_or_else(String::new, |digest| format!(" as {digest}"))
}
