//! What an actor is set up with: its configs and secrets, looked up in the records at each use, so that its next call
//! sees what was put before it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::secret::SecretValue;

use crate::error::{Error, ErrorKind, Result};
use crate::records::{Configs, merge};
use crate::secrets::{References, Vault, references};

/// The setup of one actor. The default has nothing.
#[derive(Debug, Default)]
pub struct Setup {
    source: Option<Source>,
    /// What the configs came to when they were looked at last.
    read: ArcSwap<Read>,
}

#[derive(Debug)]
struct Source {
    vault: Arc<Vault>,
    reader: EntityId,
    names: Vec<ConfigName>,
}

#[derive(Debug, Default)]
struct Read {
    of: Arc<Configs>,
    config: Arc<StringMap>,
    references: References,
}

impl Read {
    fn new(of: Arc<Configs>, names: &[ConfigName]) -> Result<Self> {
        Ok(Self { config: Arc::new(merge(&of, names)?), references: references(&of, names)?, of })
    }
}

impl Setup {
    /// What `names` come to for the actor `reader`.
    ///
    /// # Errors
    /// `NotFound` when a config is missing; as [`Vault::resolve`] when a secret cannot be read.
    pub(crate) fn new(vault: &Arc<Vault>, reader: &EntityId, names: &[ConfigName]) -> Result<Self> {
        let read = Read::new(vault.view().configs(), names)?;
        drop(vault.resolve(&read.references, reader)?);
        let source = Source { vault: Arc::clone(vault), reader: reader.clone(), names: names.to_vec() };
        Ok(Self { source: Some(source), read: ArcSwap::from_pointee(read) })
    }

    /// A setup that never changes.
    #[cfg(test)]
    pub(crate) fn fixed(config: StringMap) -> Self {
        let read = Read { config: Arc::new(config), ..Read::default() };
        Self { source: None, read: ArcSwap::from_pointee(read) }
    }

    /// The configs merged, as they are now. Where one was lost, or cannot be read, those before.
    pub(crate) fn config(&self) -> Arc<StringMap> {
        Arc::clone(&self.read().config)
    }

    /// The value of the secret that the actor reads as `name`, as it is now.
    ///
    /// # Errors
    /// `NotFound` when it has no such secret, or the secret is gone; `Refused` when it is no longer granted.
    pub(crate) fn secret(&self, name: &str) -> Result<SecretValue> {
        let read = self.read();
        match (&self.source, read.references.get(name)) {
            (Some(source), Some(reference)) => source.vault.read(reference, &source.reader),
            _ => Err(Error::new(ErrorKind::NotFound, "the actor has no secret of that name")),
        }
    }

    fn read(&self) -> Arc<Read> {
        let read = self.read.load_full();
        let Some(source) = &self.source else { return read };
        let configs = source.vault.view().configs();
        if Arc::ptr_eq(&read.of, &configs) {
            return read;
        }
        let next = Read::new(Arc::clone(&configs), &source.names).unwrap_or_else(|error| {
            tracing::warn!(actor_id = %source.reader, error = %error, "actor keeps its old config");
            Read { of: configs, config: Arc::clone(&read.config), references: read.references.clone() }
        });
        let next = Arc::new(next);
        self.read.store(Arc::clone(&next));
        next
    }
}
