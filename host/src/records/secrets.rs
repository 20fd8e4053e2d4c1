//! Secrets in the store: records that only the lattice's authority can sign, and none that is older than one known.

use std::collections::BTreeMap;
use std::sync::Arc;

use trellis_lattice::id::{IssuerId, LatticeName, SecretName};
use trellis_lattice::secrets::{SealedSecret, SecretRecord};
use trellis_lattice::store::{Expect, Record, Revision};

use super::write::{is_conflict, json, within};
use super::{Records, View, key};
use crate::error::{Error, ErrorKind, Result};

/// How often a write is tried again when another writer was first: hosts seal secrets to others at any time.
const ATTEMPTS: usize = 8;

/// A secret and the revision of its record.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The secret.
    pub(crate) record: Arc<SecretRecord>,
    /// The revision at which it was seen.
    pub(crate) revision: Revision,
}

/// All secrets at one moment, sealed.
pub(crate) type Secrets = BTreeMap<SecretName, Held>;

/// Whose secrets count.
#[derive(Debug, Clone)]
pub(crate) struct Believed {
    /// In which lattice.
    pub(crate) lattice: LatticeName,
    /// Who signs them.
    pub(crate) authority: IssuerId,
}

impl Believed {
    fn verify(&self, name: &SecretName, secret: SealedSecret) -> Result<SecretRecord> {
        let verified = secret.verify(&self.lattice, name, self.authority.as_str());
        verified.map_err(|error| Error::new(ErrorKind::Refused, error.to_string()).with_source(error))
    }

    /// The secrets in `records`, over what was known `before`: one that does not hold, or is older than what was known
    /// by its name, changes nothing. `complain` is told.
    pub(super) fn read<'a>(
        &self,
        records: impl Iterator<Item = &'a Record>,
        before: &Secrets,
        mut complain: impl FnMut(&SecretName, &str),
    ) -> Secrets {
        let mut secrets = Secrets::new();
        for record in records {
            let name = record.key.as_str().strip_prefix(key::SECRETS).and_then(|name| SecretName::parse(name).ok());
            let Some(name) = name else { continue };
            let known = before.get(&name);
            if let Some(same) = known.filter(|known| known.revision == record.revision) {
                secrets.insert(name, same.clone());
                continue;
            }
            let read = self.read_one(&name, record, known).unwrap_or_else(|error| {
                complain(&name, &error);
                known.map(|known| Arc::clone(&known.record))
            });
            if let Some(read) = read {
                secrets.insert(name, Held { record: read, revision: record.revision });
            }
        }
        secrets
    }

    fn read_one(
        &self,
        name: &SecretName,
        record: &Record,
        known: Option<&Held>,
    ) -> Result<Option<Arc<SecretRecord>>, String> {
        let sealed = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let read = self.verify(name, sealed).map_err(|error| error.to_string())?;
        if known.is_some_and(|known| known.record.statement().signed_at_ms > read.statement().signed_at_ms) {
            return Err("it is older than what was known".to_owned());
        }
        Ok(Some(Arc::new(read)))
    }
}

impl Records {
    /// Writes a secret and waits a moment until this host goes by it.
    ///
    /// # Errors
    /// `Refused` when the authority did not sign it, or what is there is newer.
    pub(crate) async fn put_secret(&self, name: &SecretName, secret: SealedSecret) -> Result<()> {
        let record = self.believed.verify(name, secret)?;
        let signed_at_ms = record.statement().signed_at_ms;
        for _ in 0..ATTEMPTS {
            let current = self.get_secret(name).await?;
            let held = current.as_ref().and_then(|(sealed, _)| self.believed.verify(name, sealed.clone()).ok());
            // What is stored may be forged: then what this host goes by is what counts.
            let known = self.view.secrets().get(name).map(|known| known.record.statement().signed_at_ms);
            if held.map(|held| held.statement().signed_at_ms).max(known) >= Some(signed_at_ms) {
                let message = format!("secret {name} was written by somebody else in the meantime; try again");
                return Err(Error::new(ErrorKind::Refused, message));
            }
            let expect = current.map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
            if self.write_secret(name, &record, expect).await? {
                let is_seen = |view: &View| {
                    view.secrets().get(name).is_some_and(|held| held.record.statement().signed_at_ms >= signed_at_ms)
                };
                self.until_seen(is_seen).await;
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("secret {name} is being written by others")))
    }

    /// Writes the same secret, sealed to more hosts, if the record is still at `revision`.
    pub(crate) async fn share_secret(&self, name: &SecretName, record: &SecretRecord, at: Revision) -> Result<bool> {
        self.write_secret(name, record, Expect::At(at)).await
    }

    /// Whether it was written; not when another writer was first.
    async fn write_secret(&self, name: &SecretName, record: &SecretRecord, expect: Expect) -> Result<bool> {
        let written = within("write a secret", self.store.put(&key::secret(name), json(record.sealed()), expect)).await;
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The secret `name` and its revision, as the store has it.
    pub(crate) async fn get_secret(&self, name: &SecretName) -> Result<Option<(SealedSecret, Revision)>> {
        let record = within("read a secret", self.store.get(&key::secret(name))).await?;
        let parse = |record: Record| {
            let sealed = serde_json::from_slice(&record.value).map_err(|error| {
                let message = format!("the record of secret {name} is damaged; delete it and put it again");
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })?;
            Ok((sealed, record.revision))
        };
        record.map(parse).transpose()
    }

    /// The names of all secrets.
    pub(crate) async fn list_secrets(&self) -> Result<Vec<SecretName>> {
        let records = within("read secrets", self.store.list(key::SECRETS)).await?;
        let name = |record: &Record| SecretName::parse(record.key.as_str().strip_prefix(key::SECRETS)?).ok();
        Ok(records.iter().filter_map(name).collect())
    }

    /// Deletes the secret `name`. That it is not there is a success.
    pub(crate) async fn delete_secret(&self, name: &SecretName) -> Result<()> {
        within("delete a secret", self.store.delete(&key::secret(name), Expect::Any)).await?;
        self.until_seen(|view| !view.secrets().contains_key(name)).await;
        Ok(())
    }
}
