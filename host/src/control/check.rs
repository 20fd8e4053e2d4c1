//! Whether the providers at the ends of a link can read what its configs say of it: asked before a link is written, of
//! the host that runs them.
//!
//! What can only be found out by trying, as that a server refuses a password, the link's standing tells later. Nor is a
//! link refused because somebody did not answer: providers may be started after their links.

use std::time::Duration;

use bytes::Bytes;
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
use crate::secrets::references;

/// How long the host is waited for that runs the provider.
const PATIENCE: Duration = Duration::from_secs(1);

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
        let mut end = End { link: link.clone(), role, config: StringMap::new() };
        for name in end.config_names().to_vec().iter().filter(|name| !is_reference(name) && !is_policy(name)) {
            // One that is missing is told by whoever writes the link.
            end.config.extend(shared.context.records.get_config(name).await.ok().flatten().unwrap_or_default());
        }
        if shared.roster.snapshot().providers.contains_key(end.id()) {
            here(shared, end).await?;
        } else if let Some(host) = shared.context.router.host_of(end.id()) {
            elsewhere(shared, &host, &end).await?;
        }
    }
    Ok(())
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
