//! Where secrets are kept: in the lattice, signed by its authority, or in files of one host, signed by that host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use trellis_lattice::id::{EntityId, HostId, IssuerId, LatticeName, SecretName};
use trellis_lattice::identity::claims::{PeerClaims, Verified};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::identity::token::verify_peer;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::rpc::{Join, Peer};
use trellis_lattice::secrets::{Backend, HostGrant, Recipient, Reference, SealedSecret, SecretRecord, Terms};

use super::Grants;
use crate::context::{Connected, Context};
use crate::data_dir;
use crate::key_store::{Grant, issue, now_unix_seconds, public_halves};
use crate::output::say;

/// How long hosts that are there are waited for to show their keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether they did.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the token holds by which this command hears them.
const TOKEN_SECONDS: u64 = 300;

/// Where secrets are kept.
pub(super) enum Place<'a> {
    Lattice { lattice: Connected, authority: Key, is_one_box: bool },
    Files { context: &'a Context, lattice: LatticeName, key: Key, dir: PathBuf },
}

impl<'a> Place<'a> {
    /// The files of the host that is named, or else the lattice.
    pub(super) async fn open(context: &'a Context, host: Option<&EntityId>) -> anyhow::Result<Self> {
        if let Some(host) = host {
            let key = context.keys.get(KeyKind::Host, host.as_str())?;
            let dir = context.data.host(host.as_str()).join("secrets");
            return Ok(Self::Files { context, lattice: context.lattice()?, key, dir });
        }
        let authority = context.keys.authority()?.ok_or_else(|| {
            anyhow!(
                "secrets are signed by the lattice's authority, and data directory {} does not have its key: run this \
                 where it is",
                context.data.path().display()
            )
        })?;
        let is_one_box = context.nats.nats_url.is_empty();
        Ok(Self::Lattice { lattice: context.connect().await?, authority, is_one_box })
    }

    /// Who signs, and can open what was sealed.
    pub(super) fn signer(&self) -> &Key {
        match self {
            Self::Lattice { authority, .. } => authority,
            Self::Files { key, .. } => key,
        }
    }

    pub(super) fn lattice(&self) -> &LatticeName {
        match self {
            Self::Lattice { lattice, .. } => &lattice.lattice,
            Self::Files { lattice, .. } => lattice,
        }
    }

    /// The hosts that may open a secret when nobody said which.
    pub(super) fn default_hosts(&self) -> Option<HostGrant> {
        match self {
            Self::Lattice { is_one_box, .. } => is_one_box.then_some(HostGrant::All),
            Self::Files { key, .. } => HostId::parse(&key.public()).ok().map(HostGrant::Host),
        }
    }

    /// What the command line grants.
    pub(super) async fn terms(&self, grants: &Grants) -> anyhow::Result<Terms> {
        let mut terms = Terms { readers: grants.readers.iter().cloned().collect(), ..Terms::default() };
        terms.hosts.extend(grants.host_label.iter().map(|labels| labels.0.clone()));
        terms.hosts.extend(grants.all_hosts.then_some(HostGrant::All));
        match self {
            Self::Lattice { lattice, .. } => {
                for name in &grants.host {
                    // A host that is not there now can be named by its key.
                    let id = match HostId::parse(name) {
                        Ok(id) => id,
                        Err(_) => lattice.host(name).await?,
                    };
                    terms.hosts.insert(HostGrant::Host(id));
                }
            }
            Self::Files { .. } if terms.hosts.is_empty() && grants.host.is_empty() => {}
            Self::Files { .. } => bail!("a secret in files is for their host only: grant it no other hosts"),
        }
        Ok(terms)
    }

    /// The hosts that are there and that `terms` mean.
    pub(super) async fn recipients(&self, terms: &Terms) -> anyhow::Result<Vec<Recipient>> {
        let Self::Lattice { lattice, authority, .. } = self else { return Ok(Vec::new()) };
        let present = present(lattice, authority).await?;
        let meant = present.iter().filter(|claims| terms.hosts.iter().any(|grant| grant.means(claims)));
        let recipients: Vec<_> = meant.map(|claims| Recipient::from(&**claims)).collect();
        if recipients.is_empty() {
            say("none of these hosts is there now: the secret is sealed to them with the next grant or value");
        }
        Ok(recipients)
    }

    /// The secret `name`, if it is there.
    pub(super) async fn load(&self, name: &SecretName) -> anyhow::Result<Option<SecretRecord>> {
        let sealed = match self {
            Self::Lattice { lattice, .. } => lattice.client.secret(name).await?,
            Self::Files { dir, .. } => {
                let file = file_of(dir, name);
                match std::fs::read(&file) {
                    Ok(text) => {
                        let parsed: SealedSecret = serde_json::from_slice(&text)
                            .map_err(|_| anyhow!("{} is not as it was written", file.display()))?;
                        Some(parsed)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(error) => return Err(anyhow!(error).context(format!("read {}", file.display()))),
                }
            }
        };
        let verify = |sealed: SealedSecret| sealed.verify(self.lattice(), name, &self.signer().public());
        Ok(sealed.map(verify).transpose()?)
    }

    pub(super) async fn save(&self, name: &SecretName, record: &SecretRecord) -> anyhow::Result<()> {
        match self {
            Self::Lattice { lattice, .. } => drop(lattice.client.put_secret(name, record.sealed()).await?),
            Self::Files { dir, .. } => {
                let text = serde_json::to_string(record.sealed()).context("write the secret")?;
                data_dir::replace_private(&file_of(dir, name), &text)?;
            }
        }
        Ok(())
    }

    /// Writes the config by which actors, providers and links refer to the secret.
    pub(super) async fn put_reference(&self, name: &SecretName) -> anyhow::Result<()> {
        let config = Reference::config_name(name)?;
        match self {
            Self::Lattice { lattice, .. } => {
                let reference = Reference::plain(name, Backend::Lattice);
                lattice.client.put_config(&config, &reference.to_record()).await?;
            }
            Self::Files { context, .. } => {
                let reference = Reference::plain(name, Backend::File).to_record();
                let put = async { anyhow::Ok(context.connect().await?.client.put_config(&config, &reference).await?) };
                if put.await.is_err() {
                    say(format_args!(
                        "the lattice is not reached, so `--secret {name}` is not known there: an application can refer \
                         to it by a policy with backend `file`"
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn delete(&self, name: &SecretName) -> anyhow::Result<()> {
        match self {
            Self::Lattice { lattice, .. } => drop(lattice.client.delete_secret(name).await?),
            Self::Files { dir, .. } => {
                let file = file_of(dir, name);
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(anyhow!(error).context(format!("delete {}", file.display())));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The names of all secrets.
    pub(super) async fn names(&self) -> anyhow::Result<Vec<SecretName>> {
        match self {
            Self::Lattice { lattice, .. } => Ok(lattice.client.secrets().await?),
            Self::Files { dir, .. } => {
                let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
                let name = |entry: std::fs::DirEntry| {
                    SecretName::parse(entry.file_name().to_str()?.strip_suffix(".json")?).ok()
                };
                let mut names: Vec<_> = entries.filter_map(name).collect();
                names.sort();
                Ok(names)
            }
        }
    }
}

fn file_of(dir: &std::path::Path, name: &SecretName) -> PathBuf {
    dir.join(format!("{name}.json"))
}

/// What the authority says of the hosts that are there, by the tokens that they show.
async fn present(lattice: &Connected, authority: &Key) -> anyhow::Result<Vec<Verified<PeerClaims>>> {
    let hosts = lattice.client.hosts().await.context("ask which hosts are there")?;
    let key = Key::generate(KeyKind::User);
    let grant = Grant { lifetime_seconds: TOKEN_SECONDS, ..Grant::default() };
    let token = issue(authority, &lattice.lattice, public_halves(&key)?, grant)?;
    let identity = Identity::new(&key, token, now_unix_seconds())?;
    let trust = Trust { authority: IssuerId::parse(&authority.public())?, issuers: [].into() };
    let join = Join { lattice: lattice.lattice.clone(), identity, trust: Arc::new(trust), site: None };
    let peer =
        Peer::join(Arc::clone(&lattice.transport), join, None).await.context("join the lattice to see its hosts")?;
    let all_shown = async {
        let is_shown = |host: &HostId| peer.present().iter().any(|presence| presence.peer.as_str() == host.as_str());
        while !hosts.iter().all(|host| is_shown(&host.id)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all_shown).await.is_err() {
        say("some hosts did not show a token of this authority; the secret is not sealed to them");
    }
    let verified = peer.present().iter().filter_map(|p| verify_peer(&p.token, now_unix_seconds()).ok()).collect();
    peer.leave(Duration::ZERO).await;
    Ok(verified)
}
