//! Whether the providers at the ends of a link can read what its configs say of it: asked before a link or one of its
//! configs is written, of the host that runs them.
//!
//! What can only be found out by trying, as that a server refuses a password, the link's standing tells later. Nor is a
//! link refused because somebody did not answer: providers may be started after their links.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::{Reply, StringMap};
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::is_policy;
use trellis_lattice::secrets::is_reference;
use trellis_lattice::subject::{Control, LatticeOperation};
use trellis_lattice::transport::Message;
use trellis_provider_sdk::{ActiveLink, Role};

use super::{Shared, encode, parse};
use crate::links::Entry;
use crate::secrets::references;

/// How long the host is waited for that runs the provider.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many ends of links are asked about at once.
const AT_ONCE: usize = 16;

/// One end of a link, with its configs as they are in the store: the host that is asked may not have seen them yet.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    link: Link,
    role: Role,
    config: StringMap,
}

impl End {
    fn id(&self) -> &EntityId {
        match self.role {
            Role::Source => &self.link.source_id,
            Role::Target => &self.link.target,
        }
    }

    fn config_names(&self) -> &[ConfigName] {
        match self.role {
            Role::Source => &self.link.source_config,
            Role::Target => &self.link.target_config,
        }
    }
}

/// Checks both ends of `link`.
///
/// # Errors
/// What a provider says that cannot read its config: the key, the expected form and an example.
pub(super) async fn ends(shared: &Shared, link: &Link) -> Result<(), String> {
    for role in [Role::Source, Role::Target] {
        end(shared, End { link: link.clone(), role, config: StringMap::new() }, None).await?;
    }
    Ok(())
}

/// Checks the ends of all links that the config `name` is for, as if it said `config`.
///
/// # Errors
/// As of [`ends`], for one of them.
pub(super) async fn config(shared: &Shared, name: &ConfigName, config: &StringMap) -> Result<(), String> {
    let links = shared.context.records.view().links();
    let both = |entry: &Entry| [Role::Source, Role::Target].map(|role| (Arc::clone(&entry.link), role));
    let ends = links.iter().flat_map(both).map(|(link, role)| End {
        link: link.as_ref().clone(),
        role,
        config: StringMap::new(),
    });
    let concerned: Vec<End> = ends.filter(|end| end.config_names().contains(name)).collect();
    let checked = stream::iter(concerned.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |one| async { end(shared, one, Some((name, config))).await });
    // Who does not answer says nothing of it.
    timeout(PATIENCE * 2, checked).await.unwrap_or(Ok(()))
}

/// Checks one end with its configs as they are, or as one of them is about to be.
async fn end(shared: &Shared, mut end: End, changed: Option<(&ConfigName, &StringMap)>) -> Result<(), String> {
    for name in end.config_names().to_vec().iter().filter(|name| !is_reference(name) && !is_policy(name)) {
        let config = match changed.filter(|(changed, _)| *changed == name) {
            Some((_, config)) => Some(config.clone()),
            // One that is missing is told by whoever writes the link.
            None => shared.context.records.get_config(name).await.ok().flatten(),
        };
        end.config.extend(config.unwrap_or_default());
    }
    if shared.roster.snapshot().providers.contains_key(end.id()) {
        here(shared, end).await
    } else if let Some(host) = shared.context.router.host_of(end.id()) {
        elsewhere(shared, &host, &end).await
    } else {
        Ok(())
    }
}

/// Answers another host: `link.check`.
pub(super) async fn answer(shared: &Shared, payload: &[u8]) -> Result<Bytes, String> {
    here(shared, parse("link.check", payload)?).await?;
    Ok(encode(&Reply::<()>::accepted("")))
}

async fn here(shared: &Shared, end: End) -> Result<(), String> {
    let snapshot = shared.roster.snapshot();
    let Some(entry) = snapshot.providers.get(end.id()) else { return Ok(()) };
    let (id, configs) = (end.id().clone(), shared.context.records.view().configs());
    let names = entry.command.config.iter().chain(end.config_names());
    let secrets = references(&configs, names).and_then(|secrets| shared.context.vault.resolve(&secrets, &id));
    // Without its secrets nothing can be said of it.
    let Ok(secrets) = secrets else { return Ok(()) };
    let End { link, role, config } = end;
    let active = ActiveLink { link, role, config, secrets };
    let Err(error) = entry.running.check(&active).await else { return Ok(()) };
    Err(format!("link {} of {}: provider {id}: {error}", active.link.name, active.link.source_id))
}

async fn elsewhere(shared: &Shared, host: &HostId, end: &End) -> Result<(), String> {
    let control = Control::new(&shared.context.config.lattice);
    let Some(subject) = control.named(&control.on_lattice(LatticeOperation::LinkCheck), host) else { return Ok(()) };
    let request = serde_json::to_vec(end).expect("links and maps of strings have a JSON form");
    let asked = timeout(PATIENCE, shared.transport.request(subject.clone(), request.into(), PATIENCE)).await;
    let Ok(Ok(Message { payload, .. })) = asked else { return Ok(()) };
    match serde_json::from_slice::<Reply<()>>(&payload) {
        // A host that does not know the question says nothing of the link.
        Ok(reply) if !reply.success && reply.message != super::UNSUPPORTED => Err(reply.message),
        _ => Ok(()),
    }
}
