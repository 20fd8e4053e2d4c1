//! The [`Provider`] trait, and what a provider is given when it starts.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ActiveLink, Answer, Args, Call, CallError, EntityId, Head, Interface, Invocation, LinkError, LinkName, Records,
    SecretMap, StringMap,
};

/// What a provider calls actors with.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// Calls over one of the provider's own links. Dropping the future cancels the call.
    async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError>;

    /// Whether some host runs the target of the provider's own link `link`, as far as is known at this moment; where
    /// nothing is known of that, as in tests, it does.
    async fn is_running(&self, _link: &LinkName, _interface: &Interface) -> bool {
        true
    }
}

/// What a provider is given when it starts.
#[derive(Clone)]
pub struct Environment {
    /// Its id in the lattice: the source of its calls.
    pub id: EntityId,
    /// Its configs merged, later ones over earlier ones.
    pub config: StringMap,
    /// Its own secrets as they are when it starts; its links have them as they are later.
    pub secrets: SecretMap,
    /// A directory of its own, mode 0700; exists.
    pub data_dir: PathBuf,
    /// To call actors with.
    pub caller: Arc<dyn Caller>,
    /// What it shares with the instances of it on other hosts.
    pub records: Arc<dyn Records>,
}

impl Environment {
    /// What a call ends with whose link the provider does not have up. The host has checked that there is such a link: it
    /// is not established yet, or failed, or is going away. The call had no effect, and may be tried elsewhere.
    pub fn link_not_up(&self, head: &Head) -> CallError {
        let (link, source, id) = (&head.link, &head.source, &self.id);
        CallError::no_target(format!(
            "link {link} of {source} is not up at {id} (`trellis get links` says how it stands)"
        ))
    }
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// For people, e.g. `key-value (embedded)`.
    pub name: Cow<'static, str>,
    /// The interfaces it serves to actors that link to it.
    pub serves: Vec<Interface>,
    /// The interfaces of actors that it calls over its links.
    pub calls: Vec<Interface>,
}

/// What is behind a link: what a host goes by in how calls over it behave when nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backing {
    /// What this machine has: calls end as soon as it does its work.
    Machine,
    /// One server, or servers that are one: when it is away, all calls over the link fail.
    Server,
    /// Whoever a call names.
    Network,
}

/// Makes a provider of one kind: `builtin:<name>` finds its factory by name.
pub type Factory = Arc<dyn Fn(Environment) -> Result<Arc<dyn Provider>, LinkError> + Send + Sync>;

/// How a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Healthy,
    /// Something is not; says what.
    Unhealthy(String),
}

/// A capability provider. All methods are called on the host's async threads: they may await, never block.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What it is. Constant.
    fn description(&self) -> Description;

    /// Whether the config of a link can be read. Asked when a link is put, and before it is written, so that whoever puts
    /// it is told; reaches and changes nothing.
    ///
    /// # Errors
    /// As [`Self::link_up`] for what is wrong with the config alone.
    async fn check(&self, _link: &ActiveLink) -> Result<(), LinkError> {
        Ok(())
    }

    /// A link to or from this provider was put, or its config changed. Called again for the same link when it is
    /// already up: the new config replaces the old one. Links come one at a time, in any order, before or while calls
    /// come. An error leaves the link down.
    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError>;

    /// The link is gone; what it needed is given back. Idempotent. Calls in flight may finish.
    async fn link_down(&self, link: &ActiveLink);

    /// What is behind a link of which it is the target; asked after each [`Self::link_up`] that succeeded.
    fn backing(&self, _link: &ActiveLink) -> Backing {
        Backing::Machine
    }

    /// An actor calls over a link that was granted; `invocation.head` says which. May run many times at once.
    /// The future is dropped when the caller leaves or the deadline passes.
    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError>;

    /// Asked every few seconds, with a timeout that counts as unhealthy.
    async fn health(&self) -> Health {
        Health::Healthy
    }

    /// The host goes away: take no new work, finish what is there, at most for `limit`. Then it is dropped.
    async fn drain(&self, limit: Duration);
}
